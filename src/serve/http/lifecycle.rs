//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::oneshot;

use super::respond::text_response;
use super::state::{ApiState, LifecycleRequest};

/// Is the process alive? Always, if it can answer.
pub(super) async fn healthy() -> Response {
    text_response(StatusCode::OK, "Quiver is Healthy.\n")
}

/// Should requests be sent here? Not while shutting down.
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    if state.is_ready() {
        text_response(StatusCode::OK, "Quiver is Ready.\n")
    } else {
        text_response(StatusCode::SERVICE_UNAVAILABLE, "Quiver is Stopping.\n")
    }
}

/// Reads the config again, and answers when the new one runs or has been refused.
pub(super) async fn reload(State(state): State<ApiState>) -> Response {
    let Some(lifecycle) = &state.options().lifecycle else {
        return not_enabled();
    };
    let (answer, outcome) = oneshot::channel();
    if lifecycle.send(LifecycleRequest::Reload(answer)).await.is_err() {
        return stopping();
    }
    match outcome.await {
        Ok(Ok(())) => text_response(StatusCode::OK, ""),
        Ok(Err(why)) => text_response(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n")),
        Err(_) => stopping(),
    }
}

/// Ends the process as SIGTERM does.
pub(super) async fn quit(State(state): State<ApiState>) -> Response {
    let Some(lifecycle) = &state.options().lifecycle else {
        return not_enabled();
    };
    match lifecycle.send(LifecycleRequest::Quit).await {
        Ok(()) => text_response(StatusCode::OK, "Requesting termination... Goodbye!"),
        Err(_) => stopping(),
    }
}

/// A GET of `/-/reload` or `/-/quit`: a link must not do that.
pub(super) async fn wrong_method() -> Response {
    text_response(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed")
}

fn not_enabled() -> Response {
    text_response(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
}

fn stopping() -> Response {
    text_response(StatusCode::SERVICE_UNAVAILABLE, "Quiver is Stopping.\n")
}
