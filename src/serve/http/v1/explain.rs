//! `/api/v1/explain`: the plan of a query. Ours; Prometheus has nothing like it.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::evaluation::{now, query_options, within_deadline};
use crate::model::StepGrid;
use crate::serve::http::params::{Form, in_parameter, parse_grid, parse_optional_time};
use crate::serve::http::respond::{ApiError, success_response, text_response};
use crate::serve::http::state::ApiState;

/// The plan as text, or in an envelope where the client accepts JSON. With `start`, `end` and `step` that of a range
/// query, else with `time` that of an instant query.
pub(super) async fn explain(
    State(state): State<ApiState>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let grid = match form.get("step") {
        "" => StepGrid::instant(parse_optional_time(&form, "time")?.unwrap_or_else(now)),
        _ => parse_grid(&form)?.0,
    };
    let options = query_options(&state, &headers, &form)?;
    let engine = state.engine();
    let timeout = options.timeout.unwrap_or(engine.options().timeout).min(engine.options().timeout);
    let query = form.get("query").to_owned();
    let task = state.cpu().spawn(async move { engine.explain(&query, grid, &options).await });
    let plan = within_deadline(timeout, task).await.map_err(|error| match error.kind() {
        crate::error::ErrorKind::BadData => in_parameter("query")(error),
        _ => error,
    })?;
    let wants_json = form.get("format") == "json"
        || headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| {
            accept.split(',').any(|part| part.split(';').next().unwrap_or("").trim() == "application/json")
        });
    let plan = plan.text;
    Ok(if wants_json { success_response(&plan) } else { text_response(StatusCode::OK, plan) })
}
