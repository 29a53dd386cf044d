//! Functions that fit a line or a curve: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use super::kahan_sum::KahanSum;
use super::range_function::{Window, WindowedSeries};
use super::window_lanes::{LANES, Lane, LaneSums, LaneWindows, shared_len, slide_lanes, suit_lanes};
use super::{CellSink, KernelError, StepScalar};

/// A straight line through samples.
struct Line {
    slope_per_second: f64,
    intercept: f64,
}

impl Line {
    /// The line of least squares from the sums over `count` samples.
    fn from_sums(count: f64, [sum_x, sum_y, sum_xy, sum_xx]: [f64; 4]) -> Self {
        let covariance = sum_xy - sum_x * sum_y / count;
        let variance = sum_xx - sum_x * sum_x / count;
        let slope_per_second = covariance / variance;
        Self { slope_per_second, intercept: sum_y / count - slope_per_second * sum_x / count }
    }
}

/// Least squares of one window with times in seconds relative to `origin_ms`. As Prometheus v3.14 `linearRegression`: values that are all
/// the same give slope 0 exactly, and NaN if they are infinite.
fn fit_line(window: &Window<'_>, origin_ms: i64) -> Line {
    if let Some(line) = constant_line(window.values) {
        return line;
    }
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [KahanSum::default(); 4];
    for (time_ms, y) in window.timestamps.iter().zip(window.values) {
        let x = time_ms.saturating_sub(origin_ms) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(*y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let sums = [sum_x, sum_y, sum_xy, sum_xx].map(|sum| sum.sum + sum.compensation);
    Line::from_sums(window.values.len() as f64, sums)
}

/// The line through values that are all the same; `None` if they are not, as NaN never is.
fn constant_line(values: &[f64]) -> Option<Line> {
    let (first, others) = values.split_first()?;
    others.iter().all(|value| value == first).then(|| match first.is_infinite() {
        true => Line { slope_per_second: f64::NAN, intercept: f64::NAN },
        false => Line { slope_per_second: 0.0, intercept: *first },
    })
}

/// `deriv`: slope per second; `None` of fewer than two samples. Times count from the first sample, so that they stay small
/// and exact. O(n) a step, windows side by side.
pub(crate) fn derivatives(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let origin_ms = |window: &Window<'_>| window.timestamps[0];
    slide_lines(series, out, origin_ms, |line, _| line.slope_per_second);
}

/// `predict_linear`: the line's value so many seconds after the evaluation time (not moved by `offset`); `None` of fewer than
/// two samples. O(n) a step, windows side by side.
pub(crate) fn predictions(series: &WindowedSeries<'_>, ahead_seconds: StepScalar<'_>, out: &mut CellSink<'_>) {
    let origin_ms = |window: &Window<'_>| window.eval_ms;
    slide_lines(series, out, origin_ms, |line, window| {
        line.slope_per_second * ahead_seconds.at(window.step) + line.intercept
    });
}

fn slide_lines(
    series: &WindowedSeries<'_>,
    out: &mut CellSink<'_>,
    origin_ms: impl Fn(&Window<'_>) -> i64,
    result: impl Fn(&Line, &Window<'_>) -> f64,
) {
    let has_line = |window: &Window<'_>| window.values.len() >= 2;
    let Some(times) = LaneTimes::of(series).filter(|_| suit_lanes(series)) else {
        series.slide(out, |window| has_line(window).then(|| result(&fit_line(window, origin_ms(window)), window)));
        return;
    };
    let never = |_: &Window<'_>, _: &Window<'_>| false;
    slide_lanes(series, out, never, |windows| {
        let lines = times.fit_lines(windows, windows.map(|window| origin_ms(&window)));
        std::array::from_fn(|lane| has_line(&windows[lane]).then(|| result(&lines[lane], &windows[lane])))
    });
}

/// The times of a series as floats, for lines fitted in lanes.
struct LaneTimes(Vec<f64>);

/// Times up to so many ms from the epoch, and their differences, are exact as floats.
const EXACT_TIME_MAX_MS: i64 = 1 << 52;

impl LaneTimes {
    /// `None` if a time or an evaluation time is too large to be exact.
    fn of(series: &WindowedSeries<'_>) -> Option<Self> {
        let windows = series.windows;
        let last_step = windows.step_count.saturating_sub(1);
        let edges = [series.timestamps.first(), series.timestamps.last()].map(|time| time.copied().unwrap_or(0));
        let all = [edges[0], edges[1], windows.eval_ms(0), windows.eval_ms(last_step)];
        let is_exact = all.iter().all(|time| (-EXACT_TIME_MAX_MS..=EXACT_TIME_MAX_MS).contains(time));
        is_exact.then(|| Self(series.timestamps.iter().map(|time| *time as f64).collect()))
    }

    /// As [`fit_line`] for each window of tame values, with times relative to the lane's origin.
    fn fit_lines(&self, windows: &LaneWindows<'_>, origins_ms: [i64; LANES]) -> [Line; LANES] {
        let origins = origins_ms.map(|origin| origin as f64);
        let shared = shared_len(windows);
        let times = windows.map(|window| &self.0[window.samples()]);
        let mut sums = LineSums::shared(
            times.map(|times| &times[..shared]),
            windows.map(|window| &window.values[..shared]),
            &origins,
        );
        for (lane, window) in windows.iter().enumerate() {
            for (time, y) in times[lane][shared..].iter().zip(&window.values[shared..]) {
                sums.add_at(lane, (time - origins[lane]) / 1e3, *y);
            }
        }
        std::array::from_fn(|lane| match constant_line(windows[lane].values) {
            Some(line) => line,
            None => sums.line(lane, windows[lane].values.len() as f64),
        })
    }
}

/// What least squares add up, in each lane.
#[derive(Copy, Clone, Default)]
struct LineSums {
    x: LaneSums,
    y: LaneSums,
    xy: LaneSums,
    xx: LaneSums,
}

impl LineSums {
    /// The sums over slices of one length. A function of its own, whose sums never leave the registers: nobody asks it for
    /// one lane.
    #[inline(never)]
    fn shared(times: [&[f64]; LANES], values: [&[f64]; LANES], origins: &Lane) -> Self {
        let mut sums = Self::default();
        for at in 0..times[0].len() {
            let x: Lane = std::array::from_fn(|lane| (times[lane][at] - origins[lane]) / 1e3);
            let y: Lane = std::array::from_fn(|lane| values[lane][at]);
            sums.add(&x, &y);
        }
        sums
    }

    #[inline(always)]
    fn add(&mut self, x: &Lane, y: &Lane) {
        self.x.add(x);
        self.y.add(y);
        self.xy.add(&std::array::from_fn(|lane| x[lane] * y[lane]));
        self.xx.add(&x.map(|x| x * x));
    }

    fn add_at(&mut self, lane: usize, x: f64, y: f64) {
        self.x.add_at(lane, x);
        self.y.add_at(lane, y);
        self.xy.add_at(lane, x * y);
        self.xx.add_at(lane, x * x);
    }

    fn line(&self, lane: usize, count: f64) -> Line {
        let total = |sums: &LaneSums| sums.sum[lane] + sums.compensation[lane];
        Line::from_sums(count, [total(&self.x), total(&self.y), total(&self.xy), total(&self.xx)])
    }
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
