//! `/api/v1/format_query` and `/api/v1/parse_query`: nothing is evaluated.

use axum::extract::State;
use axum::response::Response;

use crate::error::Error;
use crate::serve::http::params::{Form, in_parameter};
use crate::serve::http::respond::{ApiError, success_response};
use crate::serve::http::state::ApiState;
use crate::syntax::{self, Expr};

/// The query in Prometheus' own layout.
pub(super) async fn format_query(State(state): State<ApiState>, form: Form) -> Result<Response, ApiError> {
    Ok(success_response(&syntax::pretty(&parsed(&state, &form)?)))
}

/// The tree of the query as JSON.
pub(super) async fn parse_query(State(state): State<ApiState>, form: Form) -> Result<Response, ApiError> {
    Ok(success_response(&syntax::to_json(&parsed(&state, &form)?)))
}

fn parsed(state: &ApiState, form: &Form) -> Result<Expr, Error> {
    let query = form.get("query");
    syntax::parse(query, &state.engine().options().features)
        .map_err(|error| in_parameter("query")(Error::bad_data(error.render(query))))
}
