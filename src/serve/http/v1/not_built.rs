//! Endpoints of Prometheus that have no honest answer here. An empty success would claim that there is nothing.

use axum::http::StatusCode;
use axum::response::Response;

use crate::error::ErrorKind;
use crate::serve::http::respond::{Notes, error_response};

fn not_found(message: &str) -> Response {
    error_response(StatusCode::NOT_FOUND, ErrorKind::NotFound.api_type(), message, &Notes::default())
}

/// Quiver scrapes nothing; its downstreams do.
pub(super) async fn targets() -> Response {
    not_found("quiver scrapes no targets; ask the downstreams")
}

/// Quiver stores nothing.
pub(super) async fn storage() -> Response {
    not_found("quiver has no storage of its own; ask the downstreams")
}

/// Prometheus answers a DELETE of series so, too.
pub(super) async fn delete_series() -> Response {
    error_response(StatusCode::INTERNAL_SERVER_ERROR, "internal", "not implemented", &Notes::default())
}

/// There is nowhere to write to.
pub(super) async fn remote_write() -> Response {
    not_found("quiver has no storage of its own: send samples to a Prometheus")
}
