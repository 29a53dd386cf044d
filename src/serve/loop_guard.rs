//! Refuses requests of a gateway to itself, over HTTP and gRPC, before anybody looks at them.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::grpc::status::status_of;
use super::http::{ApiError, ApiState, gateway_path};
use crate::error::Error;
use crate::model::PATH_HEADER;

/// Lets a request pass unless it has passed this gateway before.
pub(super) async fn refuse_loops(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let Err(error) = check(&api, &request) else { return next.run(request).await };
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.starts_with("application/grpc") {
        status_of(&error).into_http()
    } else {
        ApiError::from(error).into_response()
    }
}

fn check(api: &ApiState, request: &Request) -> Result<(), Error> {
    let headers = request.headers();
    if headers.get_all(PATH_HEADER).into_iter().any(|value| value.to_str().is_err()) {
        return Err(Error::bad_data(format!("header {PATH_HEADER}: it is not text")));
    }
    api.gateway().check_path(gateway_path(headers))
}
