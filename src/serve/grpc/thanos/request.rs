//! What the calls of Thanos' APIs say alike, checked and in the words of the model.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::proto;
use super::proto::label_matcher::Type;
use crate::error::Error;
use crate::model::{CompiledMatchers, MatchOp, Matcher, PartialResponse, TimestampMs};
use crate::query::QueryOptions;
use crate::serve::grpc::status::call_timeout;
use crate::serve::http::{ApiState, proxied_headers};

/// At most so many label names may a request list: every label of every series is looked for among them.
pub(super) const LABEL_NAMES_MAX: usize = 128;

/// The years 1 to 9999. Times outside of them mean "from the beginning" and "to the end", which Go clients say by the ends of what
/// their numbers hold; no server has samples there.
const FIRST_TIME_MS: i64 = -62_135_596_800_000;
const LAST_TIME_MS: i64 = 253_402_300_799_999;

/// The matchers, all of them with patterns that can be read.
pub(super) fn matchers(matchers: &[proto::LabelMatcher]) -> Result<Vec<Matcher>, Error> {
    let read = |matcher: &proto::LabelMatcher| {
        let op = match Type::try_from(matcher.r#type) {
            Ok(Type::Eq) => MatchOp::Equal,
            Ok(Type::Neq) => MatchOp::NotEqual,
            Ok(Type::Re) => MatchOp::Regex,
            Ok(Type::Nre) => MatchOp::NotRegex,
            Err(_) => {
                let (kind, name) = (matcher.r#type, &matcher.name);
                return Err(Error::bad_data(format!(
                    "matcher on label {name:?}: there is no type {kind}, types are 0 to 3"
                )));
            }
        };
        if matcher.name.is_empty() {
            return Err(Error::bad_data("invalid label name: \"\""));
        }
        Ok(Matcher::new(&matcher.name, op, &matcher.value))
    };
    let matchers = matchers.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    CompiledMatchers::compile(&matchers).map_err(|error| Error::bad_data(error.to_string()))?;
    Ok(matchers)
}

/// A range for samples, both ends inclusive.
pub(super) fn sample_times(min_time: i64, max_time: i64) -> Result<(TimestampMs, TimestampMs), Error> {
    if max_time < min_time {
        return Err(Error::bad_data(format!("max_time {max_time} is before min_time {min_time}")));
    }
    let within = |time: i64| TimestampMs(time.clamp(FIRST_TIME_MS, LAST_TIME_MS));
    Ok((within(min_time), within(max_time)))
}

/// A range for lists of labels. Who gives no times sends two zeros.
pub(super) fn label_times(start: i64, end: i64) -> (Option<TimestampMs>, Option<TimestampMs>) {
    if (start, end) == (0, 0) { (None, None) } else { series_times(start, end) }
}

/// A range for series without their samples, both ends inclusive, `None` where it is open.
pub(super) fn series_times(start: i64, end: i64) -> (Option<TimestampMs>, Option<TimestampMs>) {
    let start = (start > FIRST_TIME_MS).then_some(TimestampMs(start.min(LAST_TIME_MS)));
    (start, (end < LAST_TIME_MS).then_some(TimestampMs(end.max(FIRST_TIME_MS))))
}

/// A limit; 0 and less are none.
pub(super) fn limit(limit: i64) -> Option<usize> {
    usize::try_from(limit).ok().filter(|limit| *limit > 0)
}

/// Names of labels that are to be taken out of every series.
pub(super) fn replica_labels(names: &[String]) -> Result<&[String], Error> {
    match names.len() {
        0..=LABEL_NAMES_MAX => Ok(names),
        count => Err(Error::bad_data(format!(
            "without_replica_labels: {count} labels are named, at most {LABEL_NAMES_MAX} can be"
        ))),
    }
}

/// What becomes of parts that do not answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Failures {
    /// A warning.
    Warn,
    /// The call fails.
    Abort,
}

impl Failures {
    /// What the two fields say together. A strategy that does not exist is the stricter one.
    pub(super) fn of(strategy: i32, is_partial_response_disabled: bool) -> Self {
        let warns = strategy == i32::from(proto::PartialResponseStrategy::Warn);
        if warns && !is_partial_response_disabled { Self::Warn } else { Self::Abort }
    }
}

/// The options of a call. A timeout of 0 is that of the server.
pub(super) fn query_options(
    api: &ApiState,
    headers: &HeaderMap,
    failures: Failures,
    timeout_seconds: i64,
) -> QueryOptions {
    let asked = u64::try_from(timeout_seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    QueryOptions {
        asked_at: Some(Instant::now()),
        timeout: asked.into_iter().chain(call_timeout(headers)).min(),
        proxied_headers: proxied_headers(api, headers),
        partial_response: match failures {
            Failures::Warn => PartialResponse::Allow,
            Failures::Abort => PartialResponse::Refuse,
        },
        ..QueryOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_or_refused_with_what_is_wrong() {
        let read = |kind: i32, name: &str, value: &str| {
            matchers(&[proto::LabelMatcher { r#type: kind, name: name.into(), value: value.into() }])
        };
        for (kind, text) in [(0, "a=\"b\""), (1, "a!=\"b\""), (2, "a=~\"b\""), (3, "a!~\"b\"")] {
            assert_eq!(read(kind, "a", "b").expect(text)[0].to_string(), text);
        }
        for (kind, name, value, why) in [
            (4, "a", "", "matcher on label \"a\": there is no type 4, types are 0 to 3"),
            (-1, "a", "", "matcher on label \"a\": there is no type -1, types are 0 to 3"),
            (0, "", "b", "invalid label name: \"\""),
            (2, "a", "[", "error parsing regexp: missing closing ]: `[`"),
        ] {
            assert_eq!(read(kind, name, value).expect_err(why).message(), why);
        }
    }

    #[test]
    fn the_ends_of_time_are_open() {
        let times = |start, end| {
            let (start, end) = label_times(start, end);
            (start.map(|time| time.0), end.map(|time| time.0))
        };
        for (asked, expected) in [
            ((0, 0), (None, None)),
            ((5, 7), (Some(5), Some(7))),
            ((0, 7), (Some(0), Some(7))),
            ((i64::MIN, i64::MAX), (None, None)),
            ((FIRST_TIME_MS, LAST_TIME_MS), (None, None)),
            ((-1, LAST_TIME_MS - 1), (Some(-1), Some(LAST_TIME_MS - 1))),
            ((i64::MAX, i64::MIN), (Some(LAST_TIME_MS), Some(FIRST_TIME_MS))),
        ] {
            assert_eq!(times(asked.0, asked.1), expected, "{asked:?}");
        }
        assert_eq!(series_times(0, 0), (Some(TimestampMs(0)), Some(TimestampMs(0))));
        let all = (TimestampMs(FIRST_TIME_MS), TimestampMs(LAST_TIME_MS));
        assert_eq!(sample_times(i64::MIN, i64::MAX), Ok(all));
        assert_eq!(sample_times(3, 3), Ok((TimestampMs(3), TimestampMs(3))));
        assert_eq!(sample_times(3, 2).expect_err("turned").message(), "max_time 2 is before min_time 3");
    }

    #[test]
    fn the_stricter_of_both_fields_holds() {
        for (strategy, is_disabled, expected) in [
            (0, false, Failures::Warn),
            (0, true, Failures::Abort),
            (1, false, Failures::Abort),
            (7, false, Failures::Abort),
        ] {
            assert_eq!(Failures::of(strategy, is_disabled), expected);
        }
        assert_eq!([limit(-1), limit(0), limit(3)], [None, None, Some(3)]);
    }
}
