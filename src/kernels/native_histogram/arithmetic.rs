//! `+`, `-`, `*` and `/`.

use super::HistogramError;
use super::working::Working;
use crate::model::{Buckets, CounterResetHint, NativeHistogram};

/// Two histograms made one.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// The result, not compacted.
    pub histogram: NativeHistogram,
    /// One of the two came right after a reset, the other certainly did not. Prometheus warns of it.
    pub counter_reset_collision: bool,
    /// The custom bounds differed; only those that both had are left. Prometheus informs of it.
    pub bounds_reconciled: bool,
}

/// `left + right`. As Prometheus v3.14 `FloatHistogram.Add`; the result is not compacted.
///
/// # Errors
/// On a mix of exponential and custom buckets.
pub fn add(left: &NativeHistogram, right: &NativeHistogram) -> Result<Combined, HistogramError> {
    combine(left, right, 1.0)
}

/// `left - right`. As Prometheus v3.14 `FloatHistogram.Sub`; the result is not compacted. Its hint is that of a sum: the
/// operator `-` makes a gauge of it, the mean does not.
///
/// # Errors
/// On a mix of exponential and custom buckets.
pub fn subtract(left: &NativeHistogram, right: &NativeHistogram) -> Result<Combined, HistogramError> {
    combine(left, right, -1.0)
}

fn combine(left: &NativeHistogram, right: &NativeHistogram, sign: f64) -> Result<Combined, HistogramError> {
    let mut working = Working::<f64>::of(left);
    let notes = working.add(right, sign)?;
    Ok(Combined {
        histogram: working.to_histogram(),
        counter_reset_collision: notes.counter_reset_collision,
        bounds_reconciled: notes.bounds_reconciled,
    })
}

/// Multiplies every number of the histogram; a negative factor makes a gauge of it. As Prometheus v3.14 `Mul`.
pub fn scale(histogram: &mut NativeHistogram, factor: f64) {
    for_each_number(histogram, |number| *number *= factor);
    if factor < 0.0 {
        histogram.counter_reset_hint = CounterResetHint::Gauge;
    }
}

/// Divides every number of the histogram; a negative divisor makes a gauge of it, and zero takes all buckets away. As
/// Prometheus v3.14 `Div`.
pub fn divide(histogram: &mut NativeHistogram, divisor: f64) {
    if divisor == 0.0 {
        histogram.positive = Buckets::default();
        histogram.negative = Buckets::default();
    }
    for_each_number(histogram, |number| *number /= divisor);
    if divisor < 0.0 {
        histogram.counter_reset_hint = CounterResetHint::Gauge;
    }
}

/// `-histogram`, a gauge.
pub fn negate(histogram: &mut NativeHistogram) {
    scale(histogram, -1.0);
}

fn for_each_number(histogram: &mut NativeHistogram, change: impl Fn(&mut f64)) {
    [&mut histogram.zero_count, &mut histogram.count, &mut histogram.sum].into_iter().for_each(&change);
    histogram.positive.counts.iter_mut().chain(&mut histogram.negative.counts).for_each(change);
}
