//! What `histogram_quantile` tells of classic buckets whose counts it had to raise.

use crate::kernels::BucketQuantile;
use crate::model::TimestampMs;
use crate::promql::functions::range::format_go_g;

/// What was repaired over all steps and histograms that one note is about.
pub(super) struct Repair {
    lowest_bound: f64,
    highest_bound: f64,
    max_diff: f64,
    sample_count: usize,
    first: TimestampMs,
    last: TimestampMs,
}

impl Repair {
    pub(super) fn of(quantile: &BucketQuantile, time: TimestampMs) -> Self {
        Self {
            lowest_bound: quantile.min_bucket,
            highest_bound: quantile.max_bucket,
            max_diff: quantile.max_diff,
            sample_count: 1,
            first: time,
            last: time,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.lowest_bound = self.lowest_bound.min(other.lowest_bound);
        self.highest_bound = self.highest_bound.max(other.highest_bound);
        self.max_diff = self.max_diff.max(other.max_diff);
        self.sample_count += other.sample_count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Repair {
    /// In Prometheus' words; `metric` is empty or ` for metric name "x"`.
    pub(super) fn text(&self, metric: &str) -> String {
        format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){metric}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            format_go_g(self.lowest_bound),
            format_go_g(self.highest_bound),
            format_two_digits(self.max_diff),
            self.sample_count,
            format_rfc3339(self.first),
            format_rfc3339(self.last),
        )
    }
}

/// As Go's `%.2g`: at most two significant digits.
///
/// | value | text |
/// |---|---|
/// | 0.123 | 0.12 |
/// | 10 | 10 |
/// | 123 | 1.2e+02 |
fn format_two_digits(value: f64) -> String {
    let text = format!("{value:.1e}");
    let exponent = text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match exponent {
        Some((digits, exponent @ 2..)) => format!("{}e+{exponent:02}", digits.trim_end_matches(".0")),
        _ => format_go_g(text.parse().unwrap_or(value)),
    }
}

/// Whole seconds, UTC, as Go's `time.RFC3339`.
fn format_rfc3339(time: TimestampMs) -> String {
    match chrono::DateTime::from_timestamp(time.0 / 1_000, 0) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        None => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_printed_as_go_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (0.00001234, "1.2e-05"),
            (1.0, "1"),
            (9.96, "10"),
            (10.0, "10"),
            (99.4, "99"),
            (99.6, "1e+02"),
            (123.0, "1.2e+02"),
            (1.24e300, "1.2e+300"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_two_digits(value), text);
        }
    }
}
