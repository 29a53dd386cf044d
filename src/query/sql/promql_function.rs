//! The table function `promql`.

use std::sync::Arc;

use chrono::DateTime;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;

use super::query_rows::QueryRows;
use super::{SqlRun, through};
use crate::error::Error;
use crate::model::{DurationMs, StepGrid, TimestampMs};
use crate::query::engine::QueryTimes;

/// As in Prometheus' API: more intervals than this in a range are refused.
const RANGE_INTERVALS_MAX: i128 = 11_000;

const USAGE: &str = "write promql('up'), promql('up', time) or promql('up', start, end, step[, lookback])";

/// `promql(query)`, `promql(query, time)`, `promql(query, start, end, step[, lookback])`.
#[derive(Debug)]
pub(super) struct PromqlFunction(pub(super) SqlRun);

impl TableFunctionImpl for PromqlFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let rows = self.rows(args.exprs()).map_err(through)?;
        Ok(Arc::new(rows.into_table()?))
    }
}

impl PromqlFunction {
    fn rows(&self, args: &[Expr]) -> std::result::Result<QueryRows, Error> {
        let Self(run) = self;
        let values = args.iter().map(literal).collect::<std::result::Result<Vec<_>, _>>()?;
        let mut options = run.options.clone();
        let (query, times) = match values.as_slice() {
            [query] => (query, QueryTimes::Instant(run.now)),
            [query, time] => (query, QueryTimes::Instant(read_time("time", time)?)),
            [query, start, end, step, rest @ ..] if rest.len() <= 1 => {
                if let [lookback] = rest {
                    options.lookback = Some(read_length("lookback", lookback)?);
                }
                (query, read_range(start, end, step)?)
            }
            other => {
                return Err(Error::bad_data(format!(
                    "promql takes 1, 2, 4 or 5 arguments, not {}: {USAGE}",
                    other.len()
                )));
            }
        };
        let query = query
            .try_as_str()
            .flatten()
            .ok_or_else(|| Error::bad_data(format!("the query of promql must be text in single quotes: {USAGE}")))?;
        QueryRows::try_new(run, query.to_owned(), times, options)
    }
}

fn literal(arg: &Expr) -> std::result::Result<&ScalarValue, Error> {
    match arg {
        Expr::Literal(value, _) => Ok(value),
        other => Err(Error::bad_data(format!("{other} is no constant: {USAGE}"))),
    }
}

fn read_range(start: &ScalarValue, end: &ScalarValue, step: &ScalarValue) -> std::result::Result<QueryTimes, Error> {
    let (start, end) = (read_time("start", start)?, read_time("end", end)?);
    let step = read_length("step", step)?;
    if end < start {
        return Err(Error::bad_data("promql: end lies before start"));
    }
    if (i128::from(end.0) - i128::from(start.0)) / i128::from(step.0) > RANGE_INTERVALS_MAX {
        let most = RANGE_INTERVALS_MAX + 1;
        return Err(Error::bad_data(format!("promql: more than {most} steps from start to end, take a longer step")));
    }
    let grid =
        StepGrid::try_new(start, end, step).ok_or_else(|| Error::bad_data("promql: no steps from start to end"))?;
    Ok(QueryTimes::Range { grid, end })
}

/// Seconds, a timestamp, or text of either.
pub(super) fn read_time(name: &str, value: &ScalarValue) -> std::result::Result<TimestampMs, Error> {
    let time = match value {
        ScalarValue::TimestampSecond(Some(seconds), _) => seconds.checked_mul(1_000).map(TimestampMs),
        ScalarValue::TimestampMillisecond(Some(ms), _) => Some(TimestampMs(*ms)),
        ScalarValue::TimestampMicrosecond(Some(us), _) => Some(TimestampMs(us.div_euclid(1_000))),
        ScalarValue::TimestampNanosecond(Some(ns), _) => Some(TimestampMs(ns.div_euclid(1_000_000))),
        other => match text_or_seconds(other) {
            Some(Ok(seconds)) => TimestampMs::from_float_seconds(seconds),
            Some(Err(text)) => DateTime::parse_from_rfc3339(text).ok().map(|time| TimestampMs(time.timestamp_millis())),
            None => None,
        },
    };
    time.ok_or_else(|| {
        Error::bad_data(format!(
            "promql: {name} is {value}, it must be seconds since 1970, a timestamp, or text such as '2026-01-02T03:04:05Z'"
        ))
    })
}

/// Seconds, an interval without months, or text such as `5m`; positive.
fn read_length(name: &str, value: &ScalarValue) -> std::result::Result<DurationMs, Error> {
    const DAY_MS: i64 = 86_400_000;
    let ms = match value {
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * DAY_MS + i64::from(interval.milliseconds))
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            (i64::from(interval.days) * DAY_MS).checked_add(interval.nanoseconds / 1_000_000)
        }
        other => match text_or_seconds(other) {
            // What does not fit becomes the greatest length, which no grid has.
            Some(Ok(seconds)) if !seconds.is_nan() => Some((seconds * 1e3) as i64),
            Some(Err(text)) => DurationMs::parse(text).ok().map(|length| length.0),
            _ => None,
        },
    };
    match ms {
        Some(ms @ 1..) => Ok(DurationMs(ms)),
        Some(_) => Err(Error::bad_data(format!("promql: {name} is {value}, it must be a millisecond or more"))),
        None => Err(Error::bad_data(format!(
            "promql: {name} is {value}, it must be seconds, an interval, or text such as '5m'"
        ))),
    }
}

/// A number of seconds, or text that is none.
fn text_or_seconds(value: &ScalarValue) -> Option<std::result::Result<f64, &str>> {
    Some(match value {
        ScalarValue::Int64(Some(seconds)) => Ok(*seconds as f64),
        ScalarValue::UInt64(Some(seconds)) => Ok(*seconds as f64),
        ScalarValue::Float64(Some(seconds)) => Ok(*seconds),
        other => {
            let text = other.try_as_str().flatten()?;
            text.parse::<f64>().map_err(|_| text)
        }
    })
}
