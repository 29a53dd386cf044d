//! Lengths of time as config files write them: Prometheus' way (`1d`), Go's way (`1.5h`), or both at once.

use super::problem::quote;
use crate::model::DurationMs;

/// Units with their length in nanoseconds.
const UNITS: [(&str, i128); 11] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // micro sign
    ("μs", 1_000), // Greek mu
    ("ms", NS_PER_MS),
    ("s", 1_000 * NS_PER_MS),
    ("m", 60_000 * NS_PER_MS),
    ("h", 3_600_000 * NS_PER_MS),
    ("d", 86_400_000 * NS_PER_MS),
    ("w", 7 * 86_400_000 * NS_PER_MS),
    ("y", 365 * 86_400_000 * NS_PER_MS),
];

const NS_PER_MS: i128 = 1_000_000;

/// Go and Prometheus hold durations as nanoseconds in 64 bits.
const MAX_NS: i128 = i64::MAX as i128;

/// Digits of one number; more than this is out of range in every unit, or finer than a nanosecond.
const DIGITS_MAX: usize = 19;

/// Nanoseconds, or what is wrong with the text.
///
/// | text | result |
/// |---|---|
/// | `1h30m`, `1.5h`, `90m` | 5 400 s |
/// | `1d`, `24h` | 86 400 s |
/// | `0`, `-5s` | 0, −5 s |
/// | `10` | `"10" has no unit, write "10s"` |
pub fn parse_duration_ns(text: &str) -> Result<i128, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits == "0" {
        return Ok(0);
    }
    if digits.is_empty() && !text.is_empty() {
        return Err(malformed(text));
    }
    if text.is_empty() {
        return Err("is empty, write for example \"10s\"".to_owned());
    }
    if digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(format!("{} has no unit, write {}", quote(text), quote(&format!("{text}s"))));
    }
    let mut rest = digits;
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (part, after) = take_part(text, rest)?;
        total += part;
        if total > MAX_NS {
            return Err(too_long(text));
        }
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

/// A duration in whole milliseconds, from zero up.
pub fn parse_duration_ms(text: &str) -> Result<DurationMs, String> {
    let ns = parse_duration_ns(text)?;
    if ns < 0 {
        return Err(format!("{} is negative", quote(text)));
    }
    if ns % NS_PER_MS != 0 {
        return Err(format!("{} is finer than a millisecond, write whole milliseconds", quote(text)));
    }
    Ok(DurationMs(i64::try_from(ns / NS_PER_MS).map_err(|_| too_long(text))?))
}

/// One number with its unit, and what follows it.
fn take_part<'a>(text: &str, rest: &'a str) -> Result<(i128, &'a str), String> {
    let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
    let fraction = match rest[whole..].strip_prefix('.') {
        Some(after) => after.bytes().take_while(u8::is_ascii_digit).count() + 1,
        None => 0,
    };
    let number = &rest[..whole + fraction];
    if !number.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(malformed(text));
    }
    let after = &rest[whole + fraction..];
    let unit_length = after.find(|letter: char| !letter.is_alphabetic()).unwrap_or(after.len());
    let unit = &after[..unit_length];
    if unit.is_empty() {
        let ends = after.is_empty();
        return Err(if ends { format!("{} ends with a number without a unit", quote(text)) } else { malformed(text) });
    }
    let Some((_, unit_ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("{} has an unknown unit {}, known are ms, s, m, h, d, w and y", quote(text), quote(unit)));
    };
    let part =
        scale(&rest[..whole], number[whole..].trim_start_matches('.'), *unit_ns).ok_or_else(|| too_long(text))?;
    Ok((part, &after[unit_length..]))
}

/// `whole.fraction` units in nanoseconds; what is finer is cut off, as Go does. None if it is far out of range.
fn scale(whole: &str, fraction: &str, unit_ns: i128) -> Option<i128> {
    let whole = whole.trim_start_matches('0');
    if whole.len() > DIGITS_MAX {
        return None;
    }
    let count: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(DIGITS_MAX)];
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<i128>().ok()? * unit_ns / 10_i128.pow(u32::try_from(fraction.len()).ok()?)
    };
    Some(count * unit_ns + part)
}

fn malformed(text: &str) -> String {
    format!("{} is not a duration, write for example \"10s\", \"1m30s\" or \"200ms\"", quote(text))
}

fn too_long(text: &str) -> String {
    format!("{} is longer than 292 years", quote(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations_as_go_and_as_prometheus_write_them() {
        for (text, ms) in [
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("200ms", 200),
            ("1d", 86_400_000),
            ("1w2d", 777_600_000),
            ("1y", 31_536_000_000),
            ("30m1h", 5_400_000),
            ("1h1h", 7_200_000),
            ("1d12.5h", 131_400_000),
            ("1000000ns", 1),
            ("2000us", 2),
            ("2000µs", 2),
            ("+5m", 300_000),
            ("0", 0),
            ("0s", 0),
            ("-0", 0),
            ("0.0001s0.9ms", 1),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(DurationMs(ms)), "{text}");
        }
        assert_eq!(parse_duration_ns("-1.5s"), Ok(-1_500_000_000));
    }

    #[test]
    fn what_is_not_a_duration_says_what_to_write() {
        for (text, message) in [
            ("10", "\"10\" has no unit, write \"10s\""),
            ("1.5", "\"1.5\" has no unit, write \"1.5s\""),
            ("-10", "\"-10\" has no unit, write \"-10s\""),
            ("", "is empty, write for example \"10s\""),
            ("soon", "\"soon\" is not a duration, write for example \"10s\", \"1m30s\" or \"200ms\""),
            ("-", "\"-\" is not a duration, write for example \"10s\", \"1m30s\" or \"200ms\""),
            (".s", "\".s\" is not a duration, write for example \"10s\", \"1m30s\" or \"200ms\""),
            ("5 m", "\"5 m\" is not a duration, write for example \"10s\", \"1m30s\" or \"200ms\""),
            ("1h30", "\"1h30\" ends with a number without a unit"),
            ("10sec", "\"10sec\" has an unknown unit \"sec\", known are ms, s, m, h, d, w and y"),
            ("5M", "\"5M\" has an unknown unit \"M\", known are ms, s, m, h, d, w and y"),
            ("300y", "\"300y\" is longer than 292 years"),
            ("99999999999999999999999s", "\"99999999999999999999999s\" is longer than 292 years"),
            ("-5s", "\"-5s\" is negative"),
            ("500us", "\"500us\" is finer than a millisecond, write whole milliseconds"),
            ("1e3s", "\"1e3s\" has an unknown unit \"e\", known are ms, s, m, h, d, w and y"),
        ] {
            assert_eq!(parse_duration_ms(text), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_prometheus_duration_means_the_same_here(text in "([0-9]{1,4}(y|w|d|h|m|s|ms)){1,4}") {
            if let Ok(expected) = DurationMs::parse(&text) {
                prop_assert_eq!(parse_duration_ms(&text), Ok(expected));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+.0-9a-zµμ ]{0,30}") {
            let _: Result<i128, String> = parse_duration_ns(&text);
        }
    }
}
