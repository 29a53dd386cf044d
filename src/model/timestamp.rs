//! Points in time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::SystemTime;

use super::DurationMs;

/// Milliseconds since the Unix epoch; may be negative. The only clock value that crosses a module seam.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// What the system's clock says.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// Rounds float seconds to milliseconds, half away from zero, as Prometheus' `timestamp.FromFloatSeconds` does.
    /// `None` where the result does not fit.
    pub fn from_float_seconds(seconds: f64) -> Option<Self> {
        let ms = (seconds * 1000.0).round();
        // 2^63 as a float is the first value that does not fit.
        (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&ms).then_some(Self(ms as i64))
    }

    /// Seconds as a float, as PromQL's `time()` and `timestamp()` give them.
    pub fn as_float_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The later time, clamped to the range of `i64`.
    pub fn saturating_add(self, duration: DurationMs) -> Self {
        Self(self.0.saturating_add(duration.0))
    }

    /// The earlier time, clamped to the range of `i64`.
    pub fn saturating_sub(self, duration: DurationMs) -> Self {
        Self(self.0.saturating_sub(duration.0))
    }
}

impl Add<DurationMs> for TimestampMs {
    type Output = Self;
    fn add(self, duration: DurationMs) -> Self {
        self.saturating_add(duration)
    }
}

impl Sub<DurationMs> for TimestampMs {
    type Output = Self;
    fn sub(self, duration: DurationMs) -> Self {
        self.saturating_sub(duration)
    }
}

impl Sub for TimestampMs {
    type Output = DurationMs;
    fn sub(self, other: Self) -> DurationMs {
        DurationMs(self.0.saturating_sub(other.0))
    }
}

/// Decimal seconds with up to three fraction digits: `1.5`, the form that the HTTP API reads.
impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ms = self.0.unsigned_abs();
        match ms % 1000 {
            0 => write!(f, "{sign}{}", ms / 1000),
            fraction => write!(f, "{sign}{}.{fraction:03}", ms / 1000),
        }
    }
}
