//! `relative_time_range` and `absolute_time_range`: when a server group has samples.

use chrono::{DateTime, NaiveDate};

use super::duration::parse_duration_ns;
use super::known_keys::{Key, KeyTable};
use super::problem::{Problems, quote};
use super::section::{Item, Section};
use crate::model::{DurationMs, TimestampMs};

/// The part of time, seen from now, for which a group has samples.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RelativeTimeRange {
    /// Added to the time of the question; mostly negative. `None` is open.
    pub start: Option<DurationMs>,
    /// Added to the time of the question; never before `start`. `None` is open.
    pub end: Option<DurationMs>,
    /// Samples outside of the range do not count.
    pub truncate: bool,
}

/// The part of time for which a group has samples.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AbsoluteTimeRange {
    /// Inclusive; `None` is open.
    pub start: Option<TimestampMs>,
    /// Inclusive, never before `start`; `None` is open.
    pub end: Option<TimestampMs>,
    /// Samples outside of the range do not count.
    pub truncate: bool,
}

const ABOUT_TRUNCATE: &str = "Samples outside of the range do not count, even where the group has them. Without it the range \
                              only decides whether the group is asked.";

/// The keys of `relative_time_range`.
pub static RELATIVE_TIME_RANGE_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].relative_time_range",
    about: "For which part of time the group has samples, seen from now. What lies outside is not asked for; what a query \
            looks at (`rate(x[1h])` looks an hour back) is taken into account. For long-term storage beside fresh data.",
    keys: &[
        Key {
            name: "start",
            form: "duration, may be negative",
            default: "none, the range is open",
            about: "First moment. `-2h` is two hours ago.",
            example: "start: -2h",
        },
        Key {
            name: "end",
            form: "duration, may be negative",
            default: "none, the range is open",
            about: "Last moment, not before the start.",
            example: "end: -1h",
        },
        Key {
            name: "truncate",
            form: "true or false",
            default: "false",
            about: ABOUT_TRUNCATE,
            example: "truncate: true",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// The keys of `absolute_time_range`.
pub static ABSOLUTE_TIME_RANGE_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].absolute_time_range",
    about: "For which part of time the group has samples. With `relative_time_range`, both must hold.",
    keys: &[
        Key {
            name: "start",
            form: "time",
            default: "none, the range is open",
            about: "First moment: RFC 3339, a date (its first moment in UTC), or seconds since 1970.",
            example: "start: 2026-01-31T12:00:00Z",
        },
        Key {
            name: "end",
            form: "time",
            default: "none, the range is open",
            about: "Last moment, not before the start.",
            example: "end: 2026-12-31T23:59:59.999Z",
        },
        Key {
            name: "truncate",
            form: "true or false",
            default: "false",
            about: ABOUT_TRUNCATE,
            example: "truncate: true",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// `relative_time_range`.
pub(super) fn read_relative_time_range(item: &Item<'_>, problems: &mut Problems) -> RelativeTimeRange {
    let section = Section::open(item, &RELATIVE_TIME_RANGE_KEYS, &[], problems);
    let bound = |key, problems: &mut Problems| section.get(key).and_then(|item| read_offset(item, problems));
    let (start, end) = (bound("start", problems), bound("end", problems));
    check_order(&section, start, end, problems);
    RelativeTimeRange { start, end, truncate: read_truncate(&section, problems) }
}

/// `absolute_time_range`.
pub(super) fn read_absolute_time_range(item: &Item<'_>, problems: &mut Problems) -> AbsoluteTimeRange {
    let section = Section::open(item, &ABSOLUTE_TIME_RANGE_KEYS, &[], problems);
    let bound = |key, problems: &mut Problems| section.get(key).and_then(|item| read_time(item, problems));
    let (start, end) = (bound("start", problems), bound("end", problems));
    check_order(&section, start, end, problems);
    AbsoluteTimeRange { start, end, truncate: read_truncate(&section, problems) }
}

fn check_order<T: PartialOrd>(section: &Section<'_>, start: Option<T>, end: Option<T>, problems: &mut Problems) {
    if let (Some(start), Some(end), Some(item)) = (start, end, section.get("end"))
        && end < start
    {
        item.error(problems, "End must be after start");
    }
}

fn read_truncate(section: &Section<'_>, problems: &mut Problems) -> bool {
    let truncate = section.get("truncate").and_then(|item| item.truth(problems)).unwrap_or_default();
    if section.get("start").is_none()
        && section.get("end").is_none()
        && let Some(item) = section.get("truncate")
    {
        item.warn(problems, "has no effect: the range has neither start nor end");
    }
    truncate
}

/// A length of time of either sign, in whole milliseconds.
fn read_offset(item: &Item<'_>, problems: &mut Problems) -> Option<DurationMs> {
    let text = item.text(problems)?;
    match parse_duration_ns(&text) {
        Ok(ns) if ns % 1_000_000 == 0 => i64::try_from(ns / 1_000_000).ok().map(DurationMs),
        Ok(_) => {
            item.error(problems, format!("{} is finer than a millisecond, write whole milliseconds", quote(&text)));
            None
        }
        Err(message) => {
            item.error(problems, message);
            None
        }
    }
}

fn read_time(item: &Item<'_>, problems: &mut Problems) -> Option<TimestampMs> {
    let text = item.text(problems)?;
    let time = parse_time(&text);
    if time.is_none() {
        let text = quote(&text);
        item.error(problems, format!("{text} is not a time, write for example \"2026-01-31T12:00:00Z\""));
    }
    time
}

/// RFC 3339, a date, or seconds since 1970; whatever is finer than a millisecond is cut off.
fn parse_time(text: &str) -> Option<TimestampMs> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(TimestampMs(time.timestamp_millis()));
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(TimestampMs(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()));
    }
    text.parse::<f64>().ok().and_then(TimestampMs::from_float_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_forms() {
        for (text, ms) in [
            ("2026-01-31T12:00:00Z", Some(1_769_860_800_000)),
            ("2026-01-31T13:00:00.5+01:00", Some(1_769_860_800_500)),
            ("2026-01-31", Some(1_769_817_600_000)),
            ("0", Some(0)),
            ("1769860800.25", Some(1_769_860_800_250)),
            ("-1", Some(-1000)),
            ("", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("yesterday", None),
            ("2026-02-30", None),
        ] {
            assert_eq!(parse_time(text), ms.map(TimestampMs), "{text}");
        }
    }
}
