//! Which path is answered by whom, and what is done for every request.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::respond::{Notes, error_response, text_response};
use super::state::ApiState;
use super::{cors, federate, lifecycle, observe, page, v1};
use crate::error::ErrorKind;
use crate::serve::loop_guard::refuse_loops;
use crate::telemetry::Metrics;

/// Answers smaller than this cost more to compress than to send.
const COMPRESSED_BYTES_MIN: u64 = 1_024;

/// Chunks of remote read are compressed already, and each frame is to leave when it is ready.
const CHUNKS_STAY: NotForContentType = NotForContentType::const_new("application/x-streamed-protobuf");

/// Would the metrics stand where something else does? To be asked before [`router`] with paths that a user gave.
///
/// # Errors
/// The text for the user.
pub fn check_paths(route_prefix: &str, metrics_path: &str) -> Result<(), String> {
    let below_prefix = metrics_path.strip_prefix(route_prefix.trim_end_matches('/')).unwrap_or(metrics_path);
    let is_taken = metrics_path == "/"
        || ["", "/", "/api", "/-", "/federate"].contains(&below_prefix)
        || ["/api/", "/-/"].iter().any(|taken| below_prefix.starts_with(taken));
    match is_taken {
        true => Err(format!("--metrics-path={metrics_path} is the path of something else")),
        false => Ok(()),
    }
}

/// The whole server: API, management, metrics and the page at `/`, under the route prefix of the state's options.
///
/// # Panics
/// Where [`check_paths`] refuses the paths of the options.
pub fn router(state: ApiState) -> Router {
    let options = state.options();
    let prefix = options.route_prefix.trim_end_matches('/').to_owned();
    let metrics_path = options.metrics_path.clone();

    let api = v1::routes().layer(from_fn_with_state(state.clone(), cors::add_cors_headers));
    let mut served = Router::new()
        .route("/", get(page::index))
        .route("/federate", get(federate::federate))
        .route("/-/healthy", get(lifecycle::healthy))
        .route("/-/ready", get(lifecycle::ready))
        .route("/-/reload", post(lifecycle::reload).put(lifecycle::reload).fallback(lifecycle::wrong_method))
        .route("/-/quit", post(lifecycle::quit).put(lifecycle::quit).fallback(lifecycle::wrong_method))
        .nest("/api/v1", api);
    if metrics_path != format!("{prefix}/metrics") {
        served = served.route("/metrics", get(metrics));
    }
    let router = if prefix.is_empty() {
        served
    } else {
        let home = format!("{prefix}/");
        // A nested "/" is only the prefix without a slash at its end.
        Router::new()
            .route(&home, get(page::index))
            .nest(&prefix, served)
            .route("/", get(move || async move { Redirect::temporary(&home) }))
    };
    router
        .route(&metrics_path, get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), refuse_loops))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN).and(CHUNKS_STAY)),
        )
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

async fn metrics(State(state): State<ApiState>) -> Response {
    let page = Arc::clone(&state.options().metrics).render();
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], page).into_response()
}

async fn not_found() -> Response {
    text_response(StatusCode::NOT_FOUND, "404 page not found\n")
}

async fn method_not_allowed() -> Response {
    text_response(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
}

/// A panic in a handler is the error of one request. Its text is in the log, where the panic hook has put it.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    error_response(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Internal.api_type(),
        "the request was given up because of a defect in quiver; its log says where",
        &Notes::default(),
    )
}
