//! `/api/v1/query_exemplars`: exemplars of the series that a query reads.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::series_request::{Limited, answer};
use crate::encode::encode_exemplars;
use crate::error::Error;
use crate::model::{ExemplarSet, Matcher, MetadataRequest};
use crate::serve::http::params::{Form, parse_optional_time};
use crate::serve::http::respond::ApiError;
use crate::serve::http::state::ApiState;
use crate::syntax::{ExprKind, parse, walk};

/// `query` stands for its selectors: neither their ranges nor their offsets play a part, only `start` and `end`. A query without
/// a selector has no answer.
pub(super) async fn exemplars(
    State(state): State<ApiState>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let start = parse_optional_time(&form, "start")?;
    let end = parse_optional_time(&form, "end")?;
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        return Err(Error::bad_data("end timestamp must not be before start timestamp").into());
    }
    let selectors = selectors_of(form.get("query"), &state)?;
    if selectors.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let request = MetadataRequest { selectors, start, end, limit: None };
    let write =
        |found: &ExemplarSet, warnings: &[String], infos: &[String]| encode_exemplars(&found.series, warnings, infos);
    answer(&state, &headers, &form, write, move |source, context| async move {
        Ok(Limited { value: source.exemplars(&request, &context).await?, was_cut: false })
    })
    .await
}

/// The selectors of an expression, each once.
fn selectors_of(query: &str, state: &ApiState) -> Result<Vec<Vec<Matcher>>, Error> {
    let expr =
        parse(query, &state.engine().options().features).map_err(|error| Error::bad_data(error.render(query)))?;
    let (mut selectors, mut seen) = (Vec::new(), HashSet::new());
    walk(&expr, &mut |expr| {
        let selector = match &expr.kind {
            ExprKind::VectorSelector(selector) => selector,
            ExprKind::MatrixSelector(matrix) => &matrix.selector,
            _ => return,
        };
        if seen.insert(selector.matchers.clone()) {
            selectors.push(selector.matchers.clone());
        }
    });
    Ok(selectors)
}
