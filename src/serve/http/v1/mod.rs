//! `/api/v1`.

pub(in crate::serve) mod evaluation;
mod exemplars;
mod explain;
mod labels;
mod metadata;
mod not_built;
mod query;
mod query_stats;
mod remote_read;
mod rules;
mod series;
pub(super) mod series_request;
pub(in crate::serve) mod status;
mod syntax;

use axum::Router;
use axum::routing::{get, post};

use super::state::ApiState;

/// All routes, relative to `/api/v1`.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/query", get(query::instant).post(query::instant).options(no_content))
        .route("/query_range", get(query::range).post(query::range).options(no_content))
        .route("/explain", get(explain::explain).post(explain::explain).options(no_content))
        .route("/series", get(series::series).post(series::series).delete(not_built::delete_series).options(no_content))
        .route("/labels", get(labels::names).post(labels::names).options(no_content))
        .route("/label/{name}/values", get(labels::values).options(no_content))
        .route("/metadata", get(metadata::metadata).options(no_content))
        .route("/rules", get(rules::rules).options(no_content))
        .route("/alerts", get(rules::alerts).options(no_content))
        .route("/alertmanagers", get(rules::alertmanagers).options(no_content))
        .route("/notifications", get(rules::notifications).options(no_content))
        .route("/status/buildinfo", get(status::build_info).options(no_content))
        .route("/status/runtimeinfo", get(status::runtime_info).options(no_content))
        .route("/status/config", get(status::config).options(no_content))
        .route("/status/flags", get(status::flags).options(no_content))
        .route("/format_query", get(syntax::format_query).post(syntax::format_query).options(no_content))
        .route("/parse_query", get(syntax::parse_query).post(syntax::parse_query).options(no_content))
        .route("/query_exemplars", get(exemplars::exemplars).post(exemplars::exemplars).options(no_content))
        .route("/targets", get(not_built::targets).options(no_content))
        .route("/targets/metadata", get(not_built::targets).options(no_content))
        .route("/scrape_pools", get(not_built::targets).options(no_content))
        .route("/status/tsdb", get(not_built::storage).options(no_content))
        .route("/status/walreplay", get(not_built::storage).options(no_content))
        .route("/read", post(remote_read::read).options(no_content))
        .route("/write", post(not_built::remote_write))
        .route("/otlp/v1/metrics", post(not_built::remote_write))
}

/// What a browser asks before it asks: the headers say everything.
async fn no_content() -> axum::http::StatusCode {
    axum::http::StatusCode::NO_CONTENT
}
