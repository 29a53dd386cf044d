//! `/api/v1/metadata`: type, help and unit of metric names.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::series_request::{Limited, answer};
use crate::encode::encode_metric_metadata;
use crate::error::Error;
use crate::model::MetricMetadata;
use crate::serve::http::params::{Form, parse_go_int};
use crate::serve::http::respond::ApiError;
use crate::serve::http::state::ApiState;

/// By metric name; `limit` names, `limit_per_metric` entries of each, `metric` only this one.
pub(super) async fn metadata(
    State(state): State<ApiState>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let names_max = parse_count(&form, "limit")?;
    let entries_max = parse_count(&form, "limit_per_metric")?.filter(|entries| *entries > 0);
    let metric = Some(form.get("metric").to_owned()).filter(|metric| !metric.is_empty());
    answer(&state, &headers, &form, encode_metric_metadata, move |source, context| async move {
        let all = source.metric_metadata(metric.as_deref(), &context).await?;
        // Prometheus says nothing when it cuts here, so neither do we.
        Ok(Limited { value: shorten(all, names_max, entries_max), was_cut: false })
    })
    .await
}

/// The first names in order: which ones a Prometheus keeps is chance, but the same question should get the same answer.
fn shorten(
    all: BTreeMap<String, Vec<MetricMetadata>>,
    names_max: Option<usize>,
    entries_max: Option<usize>,
) -> BTreeMap<String, Vec<MetricMetadata>> {
    let mut kept: BTreeMap<_, _> = all.into_iter().take(names_max.unwrap_or(usize::MAX)).collect();
    for entries in kept.values_mut() {
        entries.truncate(entries_max.unwrap_or(usize::MAX));
    }
    kept
}

/// `None` where there is no bound; a negative number is none either.
fn parse_count(form: &Form, name: &str) -> Result<Option<usize>, Error> {
    match form.get(name) {
        "" => Ok(None),
        text => match parse_go_int(text) {
            Ok(count) => Ok(usize::try_from(count).ok()),
            Err(_) => Err(Error::bad_data(format!("{name} must be a number"))),
        },
    }
}
