//! Aggregates of a window: `sum_over_time` and its kin.

use super::kahan_sum::{KahanMean, KahanSum};
use super::range_function::{Window, WindowedSeries};
use super::{CellSink, StepScalar, quantile};

/// `sum_over_time`: Kahan-Neumaier.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let mut sum = KahanSum::default();
    for value in values {
        sum.add(*value);
    }
    sum.value()
}

/// `avg_over_time`.
pub(crate) fn average(values: &[f64]) -> f64 {
    let mut mean = KahanMean::default();
    for value in values {
        mean.add(*value);
    }
    mean.value()
}

/// `min_over_time`: NaN only if all are.
pub(crate) fn smallest(values: &[f64]) -> f64 {
    values.iter().fold(f64::NAN, |least, value| if *value < least || least.is_nan() { *value } else { least })
}

/// `max_over_time`: NaN only if all are.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(f64::NAN, |most, value| if *value > most || most.is_nan() { *value } else { most })
}

/// Time of the last smallest value, in ms; of the last NaN if all are.
pub(crate) fn time_of_smallest(window: &Window<'_>) -> i64 {
    time_of_extreme(window, |value, least| value <= least)
}

/// Time of the last largest value, in ms; of the last NaN if all are.
pub(crate) fn time_of_largest(window: &Window<'_>) -> i64 {
    time_of_extreme(window, |value, most| value >= most)
}

fn time_of_extreme(window: &Window<'_>, replaces: impl Fn(f64, f64) -> bool) -> i64 {
    let mut extreme = f64::NAN;
    let mut time_ms = 0;
    for (value, at_ms) in window.values.iter().zip(window.timestamps) {
        if replaces(*value, extreme) || extreme.is_nan() {
            extreme = *value;
            time_ms = *at_ms;
        }
    }
    time_ms
}

/// `stdvar_over_time`: population variance, Welford's method with Kahan sums. As Prometheus v3.14 `varianceOverTime`.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = KahanSum::default();
    let mut squares = KahanSum::default();
    for value in values {
        count += 1.0;
        let from_old_mean = value - (mean.sum + mean.compensation);
        mean.add(from_old_mean / count);
        squares.add(from_old_mean * (value - (mean.sum + mean.compensation)));
    }
    (squares.sum + squares.compensation) / count
}

/// `quantile_over_time`, with one scratch buffer for all windows.
pub(crate) fn quantiles(series: &WindowedSeries<'_>, q: StepScalar<'_>, out: &mut CellSink<'_>) {
    let mut scratch = Vec::new();
    series.slide(out, |window| {
        refill(&mut scratch, window.values.iter().copied());
        Some(quantile(q.at(window.step), &mut scratch))
    });
}

/// `mad_over_time`: the median of the distances to the median; NaN as soon as one value is.
pub(crate) fn median_deviations(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let mut scratch = Vec::new();
    series.slide(out, |window| {
        if window.values.iter().any(|value| value.is_nan()) {
            return Some(f64::NAN);
        }
        refill(&mut scratch, window.values.iter().copied());
        let median = quantile(0.5, &mut scratch);
        refill(&mut scratch, window.values.iter().map(|value| (value - median).abs()));
        Some(quantile(0.5, &mut scratch))
    });
}

fn refill(scratch: &mut Vec<f64>, values: impl Iterator<Item = f64>) {
    scratch.clear();
    scratch.extend(values);
}
