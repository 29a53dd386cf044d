//! `/api/v1/series`: label sets.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::series_request::{answer, cut_to, selector_of, with_one_more};
use crate::encode::encode_series;
use crate::error::Error;
use crate::serve::http::params::{Form, in_parameter, parse_metadata_window, parse_selectors};
use crate::serve::http::respond::ApiError;
use crate::serve::http::state::ApiState;

/// Label sets that any `match[]` selects; at least one is needed.
pub(super) async fn series(
    State(state): State<ApiState>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    if form.all("match[]").next().is_none() {
        return Err(Error::bad_data("no match[] parameter provided").into());
    }
    let mut request = parse_metadata_window(&form)?;
    request.selectors = parse_selectors(&form, selector_of).map_err(in_parameter("match[]"))?;
    let limit = request.limit;
    answer(&state, &headers, &form, |series: &Vec<_>, warnings, infos| encode_series(series, warnings, infos), move |source, context| async move {
        Ok(cut_to(source.series(&with_one_more(request), &context).await?, limit))
    })
    .await
}
