//! Range functions over series that have native histograms, alone or among numbers.
//!
//! Windows without histograms have the cell that `range_function` gave them; only the others are worked on here. Every
//! function costs one walk over the window a step, but steps that share a window share its result.

mod extrapolated;
mod in_turn;
mod notes;
mod over_time;
#[cfg(test)]
mod tests;

use std::ops::Range;

use extrapolated::{Measurement, extrapolated};
pub use notes::{RangeNote, RangeNotes};

use super::trend_functions::check_factors;
use super::{KernelError, RangeFunction, RangeWindows, StepScalar};
use crate::model::{Sample, TimedHistogram};

/// A series of numbers and histograms, both by time, both without stale markers; at one time it has one of the two.
#[derive(Copy, Clone, Debug)]
pub struct MixedSeries<'a> {
    /// Times of the numbers in ms.
    pub timestamps: &'a [i64],
    /// The numbers, as many as timestamps.
    pub values: &'a [f64],
    /// Start timestamps of the numbers in ms, 0 = unknown, as many as timestamps; `None` where none is known.
    pub start_times: Option<&'a [i64]>,
    /// The histograms, by time in ms.
    pub histograms: &'a [TimedHistogram],
}

/// Do start timestamps tell of counter resets (`use-start-timestamps`)?
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StartTimes {
    /// They do.
    Used,
    /// Nobody looks at them.
    Ignored,
}

impl StartTimes {
    /// In ms, 0 = unknown.
    fn of(self, timed: &TimedHistogram) -> i64 {
        if self == Self::Used { timed.start_time.unwrap_or(0) } else { 0 }
    }
}

/// What the steps of a series are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MixedCells {
    /// One a step.
    pub cells: Vec<Option<Sample>>,
    /// What there is to say, of all steps together.
    pub notes: RangeNotes,
    /// In how many windows the start timestamp of a histogram lies before the histogram before it.
    pub overlapping_count: usize,
}

/// What one step is.
#[derive(Clone, Debug, Default)]
struct Outcome {
    sample: Option<Sample>,
    notes: RangeNotes,
}

impl Outcome {
    fn of(sample: Sample) -> Self {
        Self { sample: Some(sample), notes: RangeNotes::default() }
    }
}

/// The samples in the window of a step.
#[derive(Copy, Clone, Debug)]
struct Window<'a> {
    timestamps: &'a [i64],
    values: &'a [f64],
    /// As many as timestamps, where they are known and count.
    start_times_of_floats: Option<&'a [i64]>,
    histograms: &'a [TimedHistogram],
    start_times: StartTimes,
    start_ms: i64,
    end_ms: i64,
}

/// Evaluates a range function over one series that has histograms, step by step.
///
/// `float_cells` are the cells of the series' numbers alone, as [`evaluate_range_function`](super::evaluate_range_function)
/// gives them; `windows.step_count` of them.
///
/// Errors: the factors of `double_exponential_smoothing` where a window has samples of any kind.
pub fn evaluate_mixed_range_function(
    function: RangeFunction,
    series: MixedSeries<'_>,
    windows: &RangeWindows,
    (params, start_times): (&[StepScalar<'_>], StartTimes),
    float_cells: &[Option<f64>],
) -> Result<MixedCells, KernelError> {
    let histogram_times: Vec<i64> = series.histograms.iter().map(|timed| timed.at).collect();
    let spans = windows.spans(series.timestamps).zip(windows.spans(&histogram_times));
    let mut result = MixedCells { cells: Vec::with_capacity(windows.step_count), ..MixedCells::default() };
    let mut previous: Option<(Place, Outcome)> = None;
    for ((floats, histograms), float_cell) in spans.zip(float_cells) {
        let place = Place { edge_ms: floats.end_ms, floats: floats.samples, histograms: histograms.samples };
        if place.histograms.is_empty() {
            result.cells.push(float_cell.map(Sample::Float));
            continue;
        }
        if function == RangeFunction::DoubleExponentialSmoothing
            && let [smoothing, trend, ..] = params
        {
            check_factors(smoothing.at(floats.step), trend.at(floats.step))?;
        }
        if looks_only_at_numbers(function) {
            if !place.floats.is_empty() {
                result.notes.insert(RangeNote::HistogramsIgnored);
            }
            result.cells.push(float_cell.map(Sample::Float));
            continue;
        }
        let outcome = match previous.take() {
            Some((last, outcome)) if last == place => outcome,
            _ => {
                let outcome = evaluate_window(function, series.cut(&place, floats.start_ms, start_times), windows);
                result.notes.extend(outcome.notes);
                outcome
            }
        };
        result.overlapping_count += usize::from(outcome.notes.iter().any(|note| note == RangeNote::StartTimesOverlap));
        result.cells.push(outcome.sample.clone());
        previous = Some((place, outcome));
    }
    Ok(result)
}

/// Which samples a window holds, and where it ends.
#[derive(PartialEq, Eq)]
struct Place {
    edge_ms: i64,
    floats: Range<usize>,
    histograms: Range<usize>,
}

impl<'a> MixedSeries<'a> {
    fn cut(&self, place: &Place, start_ms: i64, start_times: StartTimes) -> Window<'a> {
        let starts = self.start_times.filter(|_| start_times == StartTimes::Used);
        Window {
            timestamps: &self.timestamps[place.floats.clone()],
            values: &self.values[place.floats.clone()],
            start_times_of_floats: starts.and_then(|starts| starts.get(place.floats.clone())),
            histograms: &self.histograms[place.histograms.clone()],
            start_times,
            start_ms,
            end_ms: place.edge_ms,
        }
    }
}

/// `resets` of the floats and the histograms at such places.
pub(super) fn resets_at(
    series: MixedSeries<'_>,
    (floats, histograms): (Range<usize>, Range<usize>),
    start_times: StartTimes,
) -> f64 {
    in_turn::resets(series.cut(&Place { edge_ms: 0, floats, histograms }, 0, start_times))
}

/// `changes` of the floats and the histograms at such places.
pub(super) fn changes_at(series: MixedSeries<'_>, (floats, histograms): (Range<usize>, Range<usize>)) -> f64 {
    in_turn::changes(series.cut(&Place { edge_ms: 0, floats, histograms }, 0, StartTimes::Ignored))
}

/// Functions that ignore histograms, and say so of a window that has both.
fn looks_only_at_numbers(function: RangeFunction) -> bool {
    use RangeFunction as F;
    match function {
        F::Deriv
        | F::PredictLinear
        | F::MinOverTime
        | F::MaxOverTime
        | F::StddevOverTime
        | F::StdvarOverTime
        | F::QuantileOverTime
        | F::MadOverTime
        | F::TsOfMinOverTime
        | F::TsOfMaxOverTime
        | F::DoubleExponentialSmoothing => true,
        F::Rate
        | F::Increase
        | F::Delta
        | F::Irate
        | F::Idelta
        | F::Resets
        | F::Changes
        | F::SumOverTime
        | F::AvgOverTime
        | F::CountOverTime
        | F::LastOverTime
        | F::FirstOverTime
        | F::PresentOverTime
        | F::TsOfFirstOverTime
        | F::TsOfLastOverTime => false,
    }
}

/// A window with at least one histogram.
fn evaluate_window(function: RangeFunction, window: Window<'_>, windows: &RangeWindows) -> Outcome {
    use RangeFunction as F;
    let number = |value: f64| Outcome::of(Sample::Float(value));
    match function {
        F::Rate | F::Increase | F::Delta | F::SumOverTime | F::AvgOverTime if !window.timestamps.is_empty() => {
            Outcome { sample: None, notes: RangeNotes::only(RangeNote::MixedFloatsAndHistograms) }
        }
        F::Rate | F::Increase | F::Delta => extrapolated(
            window.histograms,
            Measurement {
                is_counter: function != F::Delta,
                per_seconds: (function == F::Rate).then(|| windows.range_seconds()),
                start_ms: window.start_ms,
                end_ms: window.end_ms,
                start_times: window.start_times,
            },
        ),
        F::SumOverTime => over_time::sum(window.histograms),
        F::AvgOverTime => over_time::average(window.histograms),
        F::Irate => in_turn::instant_value(window, true),
        F::Idelta => in_turn::instant_value(window, false),
        F::Resets => number(in_turn::resets(window)),
        F::Changes => number(in_turn::changes(window)),
        F::CountOverTime => number((window.values.len() + window.histograms.len()) as f64),
        F::PresentOverTime => number(1.0),
        F::FirstOverTime => over_time::first(window),
        F::LastOverTime => over_time::last(window),
        F::TsOfFirstOverTime => number(over_time::seconds(over_time::first_ms(window))),
        F::TsOfLastOverTime => number(over_time::seconds(over_time::last_ms(window))),
        F::Deriv
        | F::PredictLinear
        | F::MinOverTime
        | F::MaxOverTime
        | F::StddevOverTime
        | F::StdvarOverTime
        | F::QuantileOverTime
        | F::MadOverTime
        | F::TsOfMinOverTime
        | F::TsOfMaxOverTime
        | F::DoubleExponentialSmoothing => Outcome::default(),
    }
}
