//! The functions over range vectors, and the loop that runs them.

use std::convert::Infallible;
use std::ops::Range;

use super::windows::WindowSpan;
use super::{CellSink, KernelError, RangeWindows, StepScalar, counter_functions, over_time_functions, trend_functions};

/// A PromQL function from a window of float samples to one number.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RangeFunction {
    /// `rate`: increase per second, extrapolated to the window.
    Rate,
    /// `increase`: growth of a counter, extrapolated to the window.
    Increase,
    /// `delta`: difference of a gauge, extrapolated to the window.
    Delta,
    /// `irate`: increase per second between the last two samples.
    Irate,
    /// `idelta`: difference of the last two samples.
    Idelta,
    /// `resets`: how often the value fell.
    Resets,
    /// `changes`: how often the value changed.
    Changes,
    /// `deriv`: slope per second by least squares.
    Deriv,
    /// `predict_linear`: value in so many seconds by least squares.
    PredictLinear,
    /// `sum_over_time`
    SumOverTime,
    /// `avg_over_time`
    AvgOverTime,
    /// `min_over_time`
    MinOverTime,
    /// `max_over_time`
    MaxOverTime,
    /// `count_over_time`
    CountOverTime,
    /// `last_over_time`; keeps the metric name.
    LastOverTime,
    /// `first_over_time`; keeps the metric name.
    FirstOverTime,
    /// `present_over_time`: 1 where there is a sample.
    PresentOverTime,
    /// `stddev_over_time`: population standard deviation.
    StddevOverTime,
    /// `stdvar_over_time`: population variance.
    StdvarOverTime,
    /// `quantile_over_time`
    QuantileOverTime,
    /// `mad_over_time`: median absolute deviation.
    MadOverTime,
    /// `ts_of_first_over_time`: time of the first sample, in seconds.
    TsOfFirstOverTime,
    /// `ts_of_last_over_time`: time of the last sample, in seconds.
    TsOfLastOverTime,
    /// `ts_of_min_over_time`: time of the last smallest sample, in seconds.
    TsOfMinOverTime,
    /// `ts_of_max_over_time`: time of the last largest sample, in seconds.
    TsOfMaxOverTime,
    /// `double_exponential_smoothing`
    DoubleExponentialSmoothing,
}

/// Every function with its PromQL name.
const NAMES: [(RangeFunction, &str); 26] = [
    (RangeFunction::Rate, "rate"),
    (RangeFunction::Increase, "increase"),
    (RangeFunction::Delta, "delta"),
    (RangeFunction::Irate, "irate"),
    (RangeFunction::Idelta, "idelta"),
    (RangeFunction::Resets, "resets"),
    (RangeFunction::Changes, "changes"),
    (RangeFunction::Deriv, "deriv"),
    (RangeFunction::PredictLinear, "predict_linear"),
    (RangeFunction::SumOverTime, "sum_over_time"),
    (RangeFunction::AvgOverTime, "avg_over_time"),
    (RangeFunction::MinOverTime, "min_over_time"),
    (RangeFunction::MaxOverTime, "max_over_time"),
    (RangeFunction::CountOverTime, "count_over_time"),
    (RangeFunction::LastOverTime, "last_over_time"),
    (RangeFunction::FirstOverTime, "first_over_time"),
    (RangeFunction::PresentOverTime, "present_over_time"),
    (RangeFunction::StddevOverTime, "stddev_over_time"),
    (RangeFunction::StdvarOverTime, "stdvar_over_time"),
    (RangeFunction::QuantileOverTime, "quantile_over_time"),
    (RangeFunction::MadOverTime, "mad_over_time"),
    (RangeFunction::TsOfFirstOverTime, "ts_of_first_over_time"),
    (RangeFunction::TsOfLastOverTime, "ts_of_last_over_time"),
    (RangeFunction::TsOfMinOverTime, "ts_of_min_over_time"),
    (RangeFunction::TsOfMaxOverTime, "ts_of_max_over_time"),
    (RangeFunction::DoubleExponentialSmoothing, "double_exponential_smoothing"),
];

impl RangeFunction {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(function, _)| *function)
    }

    /// Its PromQL name.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The function of a PromQL name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(function, _)| *function)
    }

    /// How many scalar parameters it takes beside the range vector.
    pub fn param_count(self) -> usize {
        match self {
            Self::QuantileOverTime | Self::PredictLinear => 1,
            Self::DoubleExponentialSmoothing => 2,
            _ => 0,
        }
    }
}

/// The samples in the window of one step.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Window<'a> {
    /// Which step.
    pub(crate) step: usize,
    /// Position of its first sample in the series.
    pub(crate) first: usize,
    /// Ascending times in ms; never empty, of the same length as `values`.
    pub(crate) timestamps: &'a [i64],
    /// Values without stale markers.
    pub(crate) values: &'a [f64],
    /// Left edge in ms, exclusive.
    pub(crate) start_ms: i64,
    /// Right edge in ms, inclusive.
    pub(crate) end_ms: i64,
    /// Evaluation time of the step in ms.
    pub(crate) eval_ms: i64,
}

/// One series and its windows: what every range function is given.
#[derive(Copy, Clone, Debug)]
pub(crate) struct WindowedSeries<'a> {
    /// Ascending times in ms.
    pub(crate) timestamps: &'a [i64],
    /// A value for each time.
    pub(crate) values: &'a [f64],
    /// Where the windows lie.
    pub(crate) windows: &'a RangeWindows,
}

impl Window<'_> {
    /// Its samples, as positions in the series.
    pub(crate) fn samples(&self) -> Range<usize> {
        self.first..self.first + self.values.len()
    }
}

impl<'a> WindowedSeries<'a> {
    /// What any of the windows can see of a series, cut to the shorter of the two slices.
    pub(crate) fn new(timestamps: &'a [i64], values: &'a [f64], windows: &'a RangeWindows) -> Self {
        debug_assert_eq!(timestamps.len(), values.len());
        let length = timestamps.len().min(values.len());
        let timestamps = &timestamps[..length];
        let start_ms = windows.first_end_ms.saturating_sub(windows.range_ms);
        let end_ms = windows.end_ms(windows.step_count.saturating_sub(1));
        let first = timestamps.partition_point(|time| *time <= start_ms);
        // Steps never go back, but if they were asked to, the first window must not lose its samples.
        let behind = timestamps.partition_point(|time| *time <= end_ms.max(windows.first_end_ms)).max(first);
        Self { timestamps: &timestamps[first..behind], values: &values[first..behind], windows }
    }

    /// Calls `visit` with the window of every step in order, `None` where it is empty.
    pub(crate) fn for_each_window(&self, mut visit: impl FnMut(Option<Window<'a>>)) {
        for span in self.windows.spans(self.timestamps) {
            visit((!span.samples.is_empty()).then(|| self.window(&span)));
        }
    }

    /// About how many windows a sample is in.
    pub(crate) fn overlap(&self) -> usize {
        let steps = self.windows.range_ms.max(0) / self.windows.end_step_ms.max(1);
        usize::try_from(steps).map_or(usize::MAX, |steps| steps.min(self.windows.step_count))
    }

    /// About how many samples a window has, if they are evenly spaced.
    pub(crate) fn window_len(&self) -> usize {
        let (Some(first), Some(last)) = (self.timestamps.first(), self.timestamps.last()) else { return 0 };
        let share = self.windows.range_ms as f64 / last.saturating_sub(*first).max(1) as f64;
        ((self.values.len() as f64 * share) as usize).min(self.values.len())
    }

    /// Pushes `kernel(window)` for every step, absent where the window is empty. Windows come in order and both their
    /// edges only move forward, so a kernel may keep state from one to the next.
    pub(crate) fn slide(&self, out: &mut CellSink<'_>, mut kernel: impl FnMut(&Window<'a>) -> Option<f64>) {
        let Ok(()) = self.try_slide(out, |window| Ok::<_, Infallible>(kernel(window)));
    }

    /// As [`Self::slide`], ending at the first error.
    pub(crate) fn try_slide<E>(
        &self,
        out: &mut CellSink<'_>,
        mut kernel: impl FnMut(&Window<'a>) -> Result<Option<f64>, E>,
    ) -> Result<(), E> {
        for span in self.windows.spans(self.timestamps) {
            let cell = if span.samples.is_empty() { None } else { kernel(&self.window(&span))? };
            out.push(cell);
        }
        Ok(())
    }

    fn window(&self, span: &WindowSpan) -> Window<'a> {
        Window {
            step: span.step,
            first: span.samples.start,
            timestamps: &self.timestamps[span.samples.clone()],
            values: &self.values[span.samples.clone()],
            start_ms: span.start_ms,
            end_ms: span.end_ms,
            eval_ms: span.eval_ms,
        }
    }
}

/// Evaluates a range function over one series, step by step. `timestamps` ascend, `values` hold no stale markers. Pushes
/// exactly `windows.step_count` cells, fewer only on an error.
///
/// Errors: the factors of `double_exponential_smoothing` where a window has samples, as Prometheus checks them only there;
/// too few `params`.
pub fn evaluate_range_function(
    function: RangeFunction,
    timestamps: &[i64],
    values: &[f64],
    windows: &RangeWindows,
    params: &[StepScalar<'_>],
    out: &mut CellSink<'_>,
) -> Result<(), KernelError> {
    let got = params.len();
    if got < function.param_count() {
        return Err(KernelError::MissingParameter { function, got });
    }
    if same_at_every_step(function, windows, params) {
        return evaluate_once(function, timestamps, values, windows, params, out);
    }
    let series = WindowedSeries::new(timestamps, values, windows);
    evaluate_sliding(function, &series, params, out)
}

/// Do all steps see the same window and the same parameters (`@`)?
fn same_at_every_step(function: RangeFunction, windows: &RangeWindows, params: &[StepScalar<'_>]) -> bool {
    windows.step_count > 1
        && windows.end_step_ms == 0
        && function != RangeFunction::PredictLinear
        && params.iter().all(StepScalar::is_constant)
}

fn evaluate_once(
    function: RangeFunction,
    timestamps: &[i64],
    values: &[f64],
    windows: &RangeWindows,
    params: &[StepScalar<'_>],
    out: &mut CellSink<'_>,
) -> Result<(), KernelError> {
    let first_step = RangeWindows { step_count: 1, ..*windows };
    let series = WindowedSeries::new(timestamps, values, &first_step);
    evaluate_sliding(function, &series, params, out)?;
    out.repeat_last(windows.step_count - 1);
    Ok(())
}

fn evaluate_sliding(
    function: RangeFunction,
    series: &WindowedSeries<'_>,
    params: &[StepScalar<'_>],
    out: &mut CellSink<'_>,
) -> Result<(), KernelError> {
    use RangeFunction as F;
    match function {
        F::Rate => counter_functions::rate(series, out),
        F::Increase => counter_functions::increase(series, out),
        F::Delta => counter_functions::delta(series, out),
        F::Irate => series.slide(out, counter_functions::instant_rate),
        F::Idelta => series.slide(out, counter_functions::instant_delta),
        F::Resets => counter_functions::count_resets(series, out),
        F::Changes => counter_functions::count_changes(series, out),
        F::Deriv => trend_functions::derivatives(series, out),
        F::PredictLinear => trend_functions::predictions(series, params[0], out),
        F::SumOverTime => over_time_functions::sums(series, out),
        F::AvgOverTime => over_time_functions::averages(series, out),
        F::MinOverTime => over_time_functions::extremes(series, out, |value, least| value < least),
        F::MaxOverTime => over_time_functions::extremes(series, out, |value, most| value > most),
        F::CountOverTime => series.slide(out, |window| Some(window.values.len() as f64)),
        F::LastOverTime => series.slide(out, |window| window.values.last().copied()),
        F::FirstOverTime => series.slide(out, |window| window.values.first().copied()),
        F::PresentOverTime => series.slide(out, |_| Some(1.0)),
        F::StddevOverTime => over_time_functions::variances(series, out, f64::sqrt),
        F::StdvarOverTime => over_time_functions::variances(series, out, |variance| variance),
        F::QuantileOverTime => over_time_functions::quantiles(series, params[0], out),
        F::MadOverTime => over_time_functions::median_deviations(series, out),
        F::TsOfFirstOverTime => series.slide(out, |window| window.timestamps.first().copied().map(seconds)),
        F::TsOfLastOverTime => series.slide(out, |window| window.timestamps.last().copied().map(seconds)),
        F::TsOfMinOverTime => over_time_functions::times_of_extremes(series, out, |value, least| value <= least),
        F::TsOfMaxOverTime => over_time_functions::times_of_extremes(series, out, |value, most| value >= most),
        F::DoubleExponentialSmoothing => return trend_functions::smoothed(series, params[0], params[1], out),
    }
    Ok(())
}

/// Seconds since the epoch.
pub(crate) fn seconds(time_ms: i64) -> f64 {
    time_ms as f64 / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::cells::collect_cells;
    use super::super::windows::tests::grid;
    use super::*;

    /// One value every 10 s from 0 s on, `_` for none: the notation of Prometheus' own tests.
    pub(crate) fn series(notation: &str) -> (Vec<i64>, Vec<f64>) {
        let samples = notation.split_whitespace().enumerate().filter(|(_, word)| *word != "_");
        samples.map(|(at, word)| (at as i64 * 10_000, word.parse::<f64>().expect("a number"))).unzip()
    }

    /// The function of the series at one time, over a range that ends there.
    pub(crate) fn evaluate_at(
        function: RangeFunction,
        notation: &str,
        time_seconds: i64,
        range_seconds: i64,
        params: &[f64],
    ) -> Option<f64> {
        let (timestamps, values) = series(notation);
        let windows = grid(time_seconds * 1000, 1, 1, range_seconds * 1000);
        let params: Vec<StepScalar<'_>> = params.iter().map(|value| StepScalar::Constant(*value)).collect();
        let cells = collect_cells(|out| {
            evaluate_range_function(function, &timestamps, &values, &windows, &params, out).expect("valid parameters");
        });
        cells[0]
    }

    /// Compares with what is expected; equal to the last digit, any NaN with any NaN.
    pub(crate) fn check(
        function: RangeFunction,
        notation: &str,
        (time_seconds, range_seconds): (i64, i64),
        params: &[f64],
        expected: Option<f64>,
    ) {
        let got = evaluate_at(function, notation, time_seconds, range_seconds, params);
        let is_same = match (got, expected) {
            (Some(got), Some(expected)) => got == expected || (got.is_nan() && expected.is_nan()),
            (got, expected) => got == expected,
        };
        assert!(is_same, "{}({notation} [{range_seconds}s]): {got:?}, not {expected:?}", function.name());
    }

    #[test]
    fn every_function_is_found_by_its_own_name() {
        for function in RangeFunction::all() {
            assert_eq!(RangeFunction::from_name(function.name()), Some(function));
        }
        assert_eq!(RangeFunction::all().count(), 26);
        assert_eq!(RangeFunction::DoubleExponentialSmoothing.name(), "double_exponential_smoothing");
        assert_eq!(RangeFunction::from_name("Rate"), None);
        assert_eq!(RangeFunction::from_name("absent_over_time"), None);
    }

    #[test]
    fn an_empty_window_gives_no_cell_whatever_the_function() {
        for function in RangeFunction::all() {
            check(function, "1 2 3", (100, 20), &[0.5, 0.5], None);
            check(function, "", (100, 200), &[0.5, 0.5], None);
        }
    }

    #[test]
    fn an_at_modifier_gives_every_step_the_same_cell_except_where_the_evaluation_time_counts() {
        let (timestamps, values) = series("1 4 2 8");
        let windows = RangeWindows { end_step_ms: 0, eval_step_ms: 60_000, ..grid(30_000, 1, 3, 40_000) };
        let params = [StepScalar::Constant(0.5), StepScalar::Constant(0.5)];
        for function in RangeFunction::all() {
            let cells = collect_cells(|out| {
                evaluate_range_function(function, &timestamps, &values, &windows, &params, out).expect("valid");
            });
            assert_eq!(cells.len(), 3, "{function:?}");
            assert_eq!(cells[0] == cells[2], function != RangeFunction::PredictLinear, "{function:?} {cells:?}");
        }
    }

    #[test]
    fn a_missing_parameter_is_an_error_of_ours() {
        let windows = grid(0, 1, 1, 1);
        let mut error = Ok(());
        collect_cells(|out| {
            error = evaluate_range_function(RangeFunction::PredictLinear, &[], &[], &windows, &[], out);
        });
        assert_eq!(error, Err(KernelError::MissingParameter { function: RangeFunction::PredictLinear, got: 0 }));
    }
}
