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
        check_factors(smoothing, trend)?;
        Ok(smooth(window.values, smoothing, trend))
    })
}

/// Refuses factors outside of (0, 1); NaN passes, as in Prometheus.
pub(crate) fn check_factors(smoothing: f64, trend: f64) -> Result<(), KernelError> {
    if smoothing <= 0.0 || smoothing >= 1.0 {
        return Err(KernelError::SmoothingFactor(smoothing));
    }
    if trend <= 0.0 || trend >= 1.0 {
        return Err(KernelError::TrendFactor(trend));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::RangeFunction::{Deriv, DoubleExponentialSmoothing, PredictLinear};
    use super::super::cells::collect_cells;
    use super::super::range_function::tests::{check, evaluate_at, series};
    use super::super::windows::tests::grid;
    use super::super::{RangeWindows, evaluate_range_function};
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn a_straight_line_is_found() {
        check(Deriv, "0 10 20 30", (30, 40), &[], Some(1.0));
        check(PredictLinear, "0 10 20 30", (30, 40), &[60.0], Some(90.0));
        check(Deriv, "7", (0, 40), &[], None);
        check(PredictLinear, "7", (0, 40), &[60.0], None);
    }

    #[test]
    fn equal_values_have_slope_zero_and_equal_infinities_none() {
        check(Deriv, "0.1 0.1 0.1 0.1", (30, 40), &[], Some(0.0));
        check(PredictLinear, "0.1 0.1 0.1", (30, 40), &[1e9], Some(0.1));
        check(Deriv, "Inf Inf", (30, 40), &[], Some(NAN));
        check(Deriv, "NaN NaN", (30, 40), &[], Some(NAN));
    }

    #[test]
    fn a_prediction_starts_at_the_evaluation_time_not_where_offset_moved_the_window() {
        let (timestamps, values) = series("0 10 20 30");
        let windows = RangeWindows { first_eval_ms: 130_000, ..grid(30_000, 1, 1, 40_000) };
        let cells = collect_cells(|out| {
            let ahead = [StepScalar::Constant(60.0)];
            evaluate_range_function(PredictLinear, &timestamps, &values, &windows, &ahead, out).expect("valid");
        });
        assert_eq!(cells, [Some(190.0)]);
    }

    #[test]
    fn smoothing_follows_level_and_trend() {
        check(DoubleExponentialSmoothing, "0 10 20 30", (30, 40), &[0.3, 0.6], Some(30.0));
        check(DoubleExponentialSmoothing, "5", (30, 40), &[0.5, 0.5], None);
        // Level 1, trend 3; then 0.5·4 + 0.5·(1+3) = 4; then trend 0.5·3 + 0.5·3, level 0.5·1 + 0.5·(4+3).
        check(DoubleExponentialSmoothing, "1 4 1", (30, 40), &[0.5, 0.5], Some(4.0));
    }

    #[test]
    fn factors_must_lie_between_0_and_1_where_there_are_samples() {
        let (timestamps, values) = series("1 2 3");
        let result = |at_seconds: i64, smoothing: f64, trend: f64| {
            let windows = grid(at_seconds * 1000, 1, 1, 40_000);
            let params = [StepScalar::Constant(smoothing), StepScalar::Constant(trend)];
            let mut result = Ok(());
            collect_cells(|out| {
                result =
                    evaluate_range_function(DoubleExponentialSmoothing, &timestamps, &values, &windows, &params, out);
            });
            result
        };
        assert_eq!(result(20, 0.0, 0.5), Err(KernelError::SmoothingFactor(0.0)));
        assert_eq!(result(20, 1.0, 0.5), Err(KernelError::SmoothingFactor(1.0)));
        assert_eq!(result(20, 0.5, -1.0), Err(KernelError::TrendFactor(-1.0)));
        assert_eq!(result(20, 0.5, 1.5), Err(KernelError::TrendFactor(1.5)));
        assert_eq!(result(500, 7.0, 7.0), Ok(()));
        assert!(evaluate_at(DoubleExponentialSmoothing, "1 2 3", 20, 40, &[NAN, 0.5]).is_some_and(f64::is_nan));
    }
}
