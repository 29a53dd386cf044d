//! Lengths of time, and Prometheus' way of writing them.

use std::fmt;

use thiserror::Error;

/// Milliseconds; negative where PromQL allows it (`offset -5m`).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DurationMs(pub i64);

/// Why a text is not a Prometheus duration.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum ParseDurationError {
    /// Nothing to read.
    #[error("empty duration string")]
    Empty,
    /// Not of the form `1y2w3d4h5m6s7ms`.
    #[error("not a valid duration string: {0:?}")]
    Malformed(String),
    /// A unit that does not exist.
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// What stands where a unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Larger than Prometheus can hold (about 292 years).
    #[error("duration out of range")]
    OutOfRange,
}

/// Units in the order in which they must stand, with their length in milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Go holds durations as nanoseconds in an `i64`; what is longer is out of range.
const MAX_MS: i64 = i64::MAX / 1_000_000;

impl DurationMs {
    /// Reads `1h30m`, `5m`, `300ms`, `0`: units in descending order, each at most once.
    ///
    /// | text | result |
    /// |---|---|
    /// | `1d2h` | 93 600 000 ms |
    /// | `0` | 0 |
    /// | `2h1d`, `1h1h`, `5` | malformed |
    /// | `1.5h`, `5M` | an unknown unit, `.` and `M` |
    pub fn parse(text: &str) -> Result<Self, ParseDurationError> {
        if text.is_empty() {
            return Err(ParseDurationError::Empty);
        }
        if text == "0" {
            return Ok(Self(0));
        }
        let malformed = || ParseDurationError::Malformed(text.to_owned());
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(|byte| !byte.is_ascii_digit()).count();
            if digits == 0 || letters == 0 {
                return Err(malformed());
            }
            let unit = &rest[digits..digits + letters];
            if !UNITS.iter().any(|(name, _)| *name == unit) {
                return Err(ParseDurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
            }
            let count = rest[..digits].parse::<u64>().map_err(|_| malformed())?;
            let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
            let part = i64::try_from(count)
                .ok()
                .and_then(|count| count.checked_mul(*unit_ms))
                .ok_or(ParseDurationError::OutOfRange)?;
            total = total.checked_add(part).ok_or(ParseDurationError::OutOfRange)?;
            rest = &rest[digits + letters..];
        }
        if total > MAX_MS {
            return Err(ParseDurationError::OutOfRange);
        }
        Ok(Self(total))
    }

    /// Seconds as a float.
    pub fn as_float_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl From<DurationMs> for std::time::Duration {
    /// Negative lengths become zero: a wait cannot be negative.
    fn from(duration: DurationMs) -> Self {
        Self::from_millis(duration.0.max(0).unsigned_abs())
    }
}

/// As Prometheus' `model.Duration` prints: `1h30m`, `5m`, `0s`, `1d1h`; years and weeks only where nothing remains.
impl fmt::Display for DurationMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0.unsigned_abs();
        if ms == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        for (unit, unit_ms) in UNITS {
            let unit_ms = unit_ms.unsigned_abs();
            let only_exact = matches!(unit, "y" | "w");
            if only_exact && !ms.is_multiple_of(unit_ms) {
                continue;
            }
            if ms >= unit_ms {
                write!(f, "{}{unit}", ms / unit_ms)?;
                ms %= unit_ms;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_descending_and_unique() {
        for (text, ms) in
            [("1d2h", 93_600_000), ("5m", 300_000), ("1h30m", 5_400_000), ("59s500ms", 59_500), ("0s", 0), ("0", 0)]
        {
            assert_eq!(DurationMs::parse(text), Ok(DurationMs(ms)), "{text}");
        }
        for text in ["2h1d", "1h1h", "5", "h", "-5m", " 5m", "99999999999999999999s"] {
            assert!(matches!(DurationMs::parse(text), Err(ParseDurationError::Malformed(_))), "{text}");
        }
        for (text, unit) in [("1.5h", "."), ("5 m", " m"), ("5M", "M"), ("1h5mm", "mm"), ("5é", "é")] {
            let unknown = ParseDurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() };
            assert_eq!(DurationMs::parse(text), Err(unknown), "{text}");
        }
        assert_eq!(DurationMs::parse(""), Err(ParseDurationError::Empty));
        assert_eq!(DurationMs::parse("300y"), Err(ParseDurationError::OutOfRange));
        assert_eq!(DurationMs::parse("9999999999999999999s"), Err(ParseDurationError::OutOfRange));
    }

    #[test]
    fn prints_as_prometheus_does() {
        for (ms, text) in [
            (0, "0s"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
            (90_000_000, "1d1h"),
            (7_776_000_000, "90d"),
            (-1_500, "-1s500ms"),
            (604_800_000, "1w"),
        ] {
            assert_eq!(DurationMs(ms).to_string(), text);
        }
    }
}
