//! Cross-origin requests: which web pages may read the API.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::state::ApiState;
use crate::model::{GoRegex, GoRegexError};

/// The origins that are allowed (`--web.cors.origin`), as an anchored pattern.
#[derive(Clone, Debug)]
pub struct CorsOrigin(GoRegex);

impl CorsOrigin {
    /// `.*` allows every page.
    pub fn try_new(pattern: &str) -> Result<Self, GoRegexError> {
        GoRegex::anchored(pattern).map(Self)
    }
}

/// Adds Prometheus' CORS headers to every answer to a request that has an origin.
pub(super) async fn add_cors_headers(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    if let (Some(allowed), Some(origin)) = (&state.options().cors_origin, origin) {
        set_cors_headers(allowed, &origin, response.headers_mut());
    }
    response
}

fn set_cors_headers(allowed: &CorsOrigin, origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
    // Not `*`, even for `.*`: a cache must tell the answers to two pages apart, and promxy names the origin too.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if origin.to_str().is_ok_and(|origin| allowed.0.is_match(origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}
