//! `/api/v1/labels` and `/api/v1/label/<name>/values`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::series_request::{answer, cut_to, selector_of, with_one_more};
use crate::encode::encode_strings;
use crate::error::Error;
use crate::serve::http::params::{Form, parse_metadata_window, parse_selectors, unescape_label_name};
use crate::serve::http::respond::ApiError;
use crate::serve::http::state::ApiState;

/// Names of labels.
pub(super) async fn names(State(state): State<ApiState>, headers: HeaderMap, form: Form) -> Result<Response, ApiError> {
    let mut request = parse_metadata_window(&form)?;
    request.selectors = parse_selectors(&form, selector_of)?;
    let limit = request.limit;
    answer(
        &state,
        &headers,
        &form,
        |names: &Vec<_>, warnings, infos| encode_strings(names, warnings, infos),
        move |source, context| async move {
            Ok(cut_to(source.label_names(&with_one_more(request), &context).await?, limit))
        },
    )
    .await
}

/// Values of one label; its name may be escaped (`U__…`).
pub(super) async fn values(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let name = unescape_label_name(&name);
    if name.is_empty() {
        return Err(Error::bad_data(format!("invalid label name: {name:?}")).into());
    }
    let mut request = parse_metadata_window(&form)?;
    request.selectors = parse_selectors(&form, selector_of)?;
    let limit = request.limit;
    answer(
        &state,
        &headers,
        &form,
        |names: &Vec<_>, warnings, infos| encode_strings(names, warnings, infos),
        move |source, context| async move {
            Ok(cut_to(source.label_values(&name, &with_one_more(request), &context).await?, limit))
        },
    )
    .await
}
