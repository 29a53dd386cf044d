//! What a client asks, checked and in the words of the model.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::proto;
use super::status::call_timeout;
use crate::error::Error;
use crate::model::{DurationMs, EvaluationMode, Matcher, MetadataRequest, PartialResponse, StepGrid, TimestampMs};
use crate::query::QueryOptions;
use crate::serve::http::{ApiState, RANGE_INTERVALS_MAX, check_groups, now, proxied_headers};
use crate::syntax::{self, ExprKind, Features};

/// The evaluation time of an instant query.
pub(super) fn evaluation_time(time_ms: Option<i64>) -> TimestampMs {
    time_ms.map_or_else(now, TimestampMs)
}

/// The steps of a range query, and its end, which need not be one of them.
pub(super) fn step_grid(range: Option<&proto::TimeRange>) -> Result<(StepGrid, TimestampMs), Error> {
    let Some(proto::TimeRange { start_ms, end_ms, step_ms }) = range else {
        return Err(Error::bad_data("range is missing"));
    };
    if end_ms < start_ms {
        return Err(Error::bad_data("end timestamp must not be before start time"));
    }
    let refused =
        || Error::bad_data("zero or negative query resolution step widths are not accepted. Try a positive integer");
    if *step_ms <= 0 {
        return Err(refused());
    }
    if (i128::from(*end_ms) - i128::from(*start_ms)) / i128::from(*step_ms) > RANGE_INTERVALS_MAX {
        return Err(Error::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (step_ms)",
        ));
    }
    let end = TimestampMs(*end_ms);
    StepGrid::try_new(TimestampMs(*start_ms), end, DurationMs(*step_ms)).map(|grid| (grid, end)).ok_or_else(refused)
}

/// Timeout (the shorter of the request's and the call's), lookback, who is asked and how, and the headers that are passed on.
pub(super) fn query_options(
    api: &ApiState,
    headers: &HeaderMap,
    options: Option<&proto::QueryOptions>,
) -> Result<QueryOptions, Error> {
    let asked = options.and_then(|options| options.timeout_ms);
    let asked = asked.map(|timeout_ms| Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)));
    let lookback_ms = options.and_then(|options| options.lookback_ms).filter(|lookback_ms| *lookback_ms > 0);
    let (mode, partial_response) = match options {
        Some(options) => (evaluation_mode(options)?, partial_response(options)?),
        None => (None, PartialResponse::default()),
    };
    let groups = options.map(|options| options.groups.clone()).filter(|groups| !groups.is_empty());
    check_groups(api, groups.as_deref())?;
    Ok(QueryOptions {
        mode,
        partial_response,
        groups,
        asked_at: Some(Instant::now()),
        timeout: asked.into_iter().chain(call_timeout(headers)).min(),
        lookback: lookback_ms.map(DurationMs),
        proxied_headers: proxied_headers(api, headers),
        ..QueryOptions::default()
    })
}

fn evaluation_mode(options: &proto::QueryOptions) -> Result<Option<EvaluationMode>, Error> {
    let unknown = |_| Error::bad_data(format!("there is no mode of evaluation number {}", options.mode));
    Ok(match proto::EvaluationMode::try_from(options.mode).map_err(unknown)? {
        proto::EvaluationMode::Unspecified => None,
        proto::EvaluationMode::Exact => Some(EvaluationMode::Exact),
        proto::EvaluationMode::Pushdown => Some(EvaluationMode::Pushdown),
        proto::EvaluationMode::Trust => Some(EvaluationMode::Trust),
        proto::EvaluationMode::Auto => Some(EvaluationMode::Auto),
    })
}

fn partial_response(options: &proto::QueryOptions) -> Result<PartialResponse, Error> {
    let asked = options.partial_response;
    let unknown = |_| Error::bad_data(format!("there is no way number {asked} to take partial responses"));
    Ok(match proto::PartialResponse::try_from(asked).map_err(unknown)? {
        proto::PartialResponse::Unspecified => PartialResponse::ByGroup,
        proto::PartialResponse::Refuse => PartialResponse::Refuse,
        proto::PartialResponse::Allow => PartialResponse::Allow,
    })
}

/// The shortest interval in which a query says how far it is: a message costs more than the client learns from it.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How often a query is to say how far it is; `None`: never.
pub(super) fn progress_interval(options: Option<&proto::QueryOptions>) -> Result<Option<Duration>, Error> {
    match options.map_or(0, |options| options.progress_interval_ms) {
        0 => Ok(None),
        asked => match u64::try_from(asked).map(Duration::from_millis) {
            Ok(interval) if interval >= PROGRESS_INTERVAL_MIN => Ok(Some(interval)),
            _ => {
                let least = PROGRESS_INTERVAL_MIN.as_millis();
                Err(Error::bad_data(format!(
                    "progress_interval_ms is {asked}, it must be at least {least}, or 0 for none"
                )))
            }
        },
    }
}

/// Which series are meant; `limit` is not yet in it.
pub(super) fn metadata_request(filter: Option<&proto::SeriesFilter>) -> Result<MetadataRequest, Error> {
    let Some(filter) = filter else {
        return Ok(MetadataRequest { selectors: Vec::new(), start: None, end: None, limit: None });
    };
    Ok(MetadataRequest {
        selectors: filter.selectors.iter().map(|text| selector(text)).collect::<Result<_, _>>()?,
        start: filter.start_ms.map(TimestampMs),
        end: filter.end_ms.map(TimestampMs),
        limit: None,
    })
}

/// A PromQL selector without a range, an offset or a time.
pub(super) fn selector(text: &str) -> Result<Vec<Matcher>, Error> {
    // No gate concerns a plain selector.
    let expr = syntax::parse(text, &Features::default()).map_err(|error| Error::bad_data(error.render(text)))?;
    match expr.kind {
        ExprKind::VectorSelector(selector)
            if selector.offset.is_none() && selector.at.is_none() && selector.extension.is_none() =>
        {
            Ok(selector.matchers)
        }
        _ => Err(Error::bad_data(format!("{text:?} is not a selector of series, such as up{{job=\"a\"}}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_before_they_cost_anything() {
        let grid = |start_ms, end_ms, step_ms| step_grid(Some(&proto::TimeRange { start_ms, end_ms, step_ms }));
        assert_eq!(step_grid(None).expect_err("none").message(), "range is missing");
        for (start, end, step, why) in [
            (1, 0, 1, "end timestamp must not be before start time"),
            (0, 1, 0, "zero or negative query resolution"),
            (0, 1, -1, "zero or negative query resolution"),
            (0, 11_001, 1, "exceeded maximum resolution"),
            (i64::MIN, i64::MAX, 1, "exceeded maximum resolution"),
        ] {
            let error = grid(start, end, step).expect_err(why);
            assert!(error.message().starts_with(why), "{error}");
        }
        let (grid, end) = grid(0, 95, 10).expect("fits");
        assert_eq!((grid.step_count(), end), (10, TimestampMs(95)));
    }

    #[test]
    fn selectors_are_plain() {
        assert_eq!(selector("up{job=\"a\"}").expect("plain").len(), 2);
        for (text, why) in [
            ("up[5m]", "\"up[5m]\" is not a selector of series, such as up{job=\"a\"}"),
            ("up offset 5m", "\"up offset 5m\" is not a selector of series, such as up{job=\"a\"}"),
            ("1", "\"1\" is not a selector of series, such as up{job=\"a\"}"),
        ] {
            assert_eq!(selector(text).expect_err(why).message(), why);
        }
        assert!(selector("{}").expect_err("everything").message().contains("at least one non-empty matcher"));
    }
}
