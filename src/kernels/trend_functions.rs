//! Functions that fit a line or a curve: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use super::kahan_sum::KahanSum;
use super::range_function::{Window, WindowedSeries};
use super::{CellSink, KernelError, StepScalar};

/// A straight line through samples.
struct Line {
    slope_per_second: f64,
    intercept: f64,
}

/// Least squares with times in seconds relative to `origin_ms`. As Prometheus v3.14 `linearRegression`: values that are all
/// the same give slope 0 exactly, and NaN if they are infinite.
fn fit_line(window: &Window<'_>, origin_ms: i64) -> Line {
    let first = window.values[0];
    if window.values[1..].iter().all(|value| *value == first) {
        return match first.is_infinite() {
            true => Line { slope_per_second: f64::NAN, intercept: f64::NAN },
            false => Line { slope_per_second: 0.0, intercept: first },
        };
    }
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [KahanSum::default(); 4];
    for (time_ms, y) in window.timestamps.iter().zip(window.values) {
        let x = time_ms.saturating_sub(origin_ms) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(*y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let count = window.values.len() as f64;
    let [sum_x, sum_y, sum_xy, sum_xx] = [sum_x, sum_y, sum_xy, sum_xx].map(|sum| sum.sum + sum.compensation);
    let covariance = sum_xy - sum_x * sum_y / count;
    let variance = sum_xx - sum_x * sum_x / count;
    let slope_per_second = covariance / variance;
    Line { slope_per_second, intercept: sum_y / count - slope_per_second * sum_x / count }
}

/// `deriv`: slope per second; `None` of fewer than two samples. Times count from the first sample, so that they stay small
/// and exact.
pub(crate) fn derivative(window: &Window<'_>) -> Option<f64> {
    (window.values.len() >= 2).then(|| fit_line(window, window.timestamps[0]).slope_per_second)
}

/// `predict_linear`: the line's value `ahead_seconds` after the evaluation time (not moved by `offset`); `None` of fewer
/// than two samples.
pub(crate) fn predict_linear(window: &Window<'_>, ahead_seconds: f64) -> Option<f64> {
    if window.values.len() < 2 {
        return None;
    }
    let line = fit_line(window, window.eval_ms);
    Some(line.slope_per_second * ahead_seconds + line.intercept)
}

/// `double_exponential_smoothing`. Both factors must lie strictly between 0 and 1 at every step whose window has samples;
/// a NaN factor passes, as it does in Prometheus.
pub(crate) fn smoothed(
    series: &WindowedSeries<'_>,
    smoothing: StepScalar<'_>,
    trend: StepScalar<'_>,
    out: &mut CellSink<'_>,
) -> Result<(), KernelError> {
    series.try_slide(out, |window| {
        let (smoothing, trend) = (smoothing.at(window.step), trend.at(window.step));
        if smoothing <= 0.0 || smoothing >= 1.0 {
            return Err(KernelError::SmoothingFactor(smoothing));
        }
        if trend <= 0.0 || trend >= 1.0 {
            return Err(KernelError::TrendFactor(trend));
        }
        Ok(smooth(window.values, smoothing, trend))
    })
}

/// Holt's linear method; `None` of fewer than two samples. As Prometheus v3.14 `funcDoubleExponentialSmoothing`.
fn smooth(values: &[f64], smoothing: f64, trend_factor: f64) -> Option<f64> {
    let [first, second, ..] = values else { return None };
    let mut before = 0.0;
    let mut level = *first;
    let mut trend = second - first;
    for (at, value) in values.iter().enumerate().skip(1) {
        let weighted = smoothing * value;
        if at > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let carried = (1.0 - smoothing) * (level + trend);
        before = level;
        level = weighted + carried;
    }
    Some(level)
}
