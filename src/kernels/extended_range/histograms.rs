//! `anchored` and `smoothed` over series with native histograms.
//!
//! Source: Prometheus v3.14 promql/functions.go extendedHistogramRate, interpolateHistograms, correctForCounterResetsHistogram,
//! funcResets and funcChanges; promql/engine.go smoothSeries.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::super::histogram_range::{
    MixedCells, MixedSeries, RangeNote, RangeNotes, StartTimes, changes_at, resets_at,
};
use super::super::native_histogram::{HistogramError, add, compact, detect_reset, divide, scale, subtract};
use super::{CountedSamples, ExtendedFunction, ExtendedWindows, Floats, Neighbours, WindowExtension, WindowSpan};
use crate::model::{CounterResetHint, NativeHistogram, Sample, TimedHistogram};

/// As [`evaluate_extended_range`](super::evaluate_extended_range) of a series that has histograms, or whose start timestamps
/// count. Gives exactly one cell a step.
pub fn evaluate_mixed_extended_range(
    function: ExtendedFunction,
    series: MixedSeries<'_>,
    windows: &ExtendedWindows,
    start_times: StartTimes,
) -> MixedCells {
    let extension = windows.extension;
    let per_seconds = (function == ExtendedFunction::Rate).then(|| windows.windows.range_seconds());
    walk(series, windows, |step, notes| match function {
        ExtendedFunction::Resets => Some(Sample::Float(resets_at(series, step.ranges_after_anchor()?, start_times))),
        ExtendedFunction::Changes => Some(Sample::Float(changes_at(series, step.ranges_after_anchor()?))),
        _ if step.histograms.times.is_empty() => {
            step.floats.evaluate(function, extension, &step.window, per_seconds).map(Sample::Float)
        }
        _ if step.floats.times.is_empty() => {
            let moved = step.histograms.moved(function, extension, &step.window, notes);
            let mut moved = or_note(moved, notes)?;
            if let Some(seconds) = per_seconds {
                divide(&mut moved, seconds);
            }
            moved.counter_reset_hint = CounterResetHint::Gauge;
            compact(&mut moved);
            Some(Sample::Histogram(Arc::new(moved)))
        }
        _ => {
            notes.insert(RangeNote::MixedFloatsAndHistograms);
            None
        }
    })
}

/// As [`smooth_to_steps`](super::smooth_to_steps) of a series that has histograms. Gives exactly one cell a step.
pub fn smooth_mixed_to_steps(series: MixedSeries<'_>, windows: &ExtendedWindows) -> MixedCells {
    walk(series, windows, |step, notes| {
        let time_ms = step.window.end_ms;
        if step.histograms.times.is_empty() {
            step.floats.smooth(time_ms).map(Sample::Float)
        } else if step.floats.times.is_empty() {
            let smooth = step.histograms.smooth(time_ms, notes);
            or_note(smooth, notes).map(Sample::Histogram)
        } else {
            notes.insert(RangeNote::MixedFloatsAndHistograms);
            None
        }
    })
}

/// What one step reads of either kind.
struct MixedStep<'a> {
    window: WindowSpan,
    floats: Floats<'a>,
    histograms: Histograms<'a>,
    /// Where they stand in the series.
    places: (Range<usize>, Range<usize>),
}

fn walk(
    series: MixedSeries<'_>,
    windows: &ExtendedWindows,
    mut cell: impl FnMut(&MixedStep<'_>, &mut RangeNotes) -> Option<Sample>,
) -> MixedCells {
    debug_assert_eq!(series.timestamps.len(), series.values.len());
    let float_times = &series.timestamps[..series.timestamps.len().min(series.values.len())];
    let histogram_times: Vec<i64> = series.histograms.iter().map(|timed| timed.at).collect();
    let mut result = MixedCells::default();
    for (of_floats, window) in windows.spans(float_times).zip(windows.spans(&histogram_times)) {
        let places = (of_floats.samples, window.samples.clone());
        let step = MixedStep {
            floats: Floats { times: &float_times[places.0.clone()], values: &series.values[places.0.clone()] },
            histograms: Histograms {
                times: &histogram_times[places.1.clone()],
                items: &series.histograms[places.1.clone()],
            },
            window,
            places,
        };
        let sample = cell(&step, &mut result.notes);
        result.cells.push(sample);
    }
    result
}

impl MixedStep<'_> {
    /// The places of the samples from the anchor on: the newest of either kind at or before the left edge, else all. `None`
    /// where none is after the left edge.
    fn ranges_after_anchor(&self) -> Option<(Range<usize>, Range<usize>)> {
        let until_start = |times: &[i64]| times.partition_point(|time| *time <= self.window.start_ms);
        let (float, histogram) = (until_start(self.floats.times), until_start(self.histograms.times));
        if float == self.floats.times.len() && histogram == self.histograms.times.len() {
            return None;
        }
        let float_ms = float.checked_sub(1).map(|at| self.floats.times[at]);
        let histogram_ms = histogram.checked_sub(1).map(|at| self.histograms.times[at]);
        let (float, histogram) = match (float_ms, histogram_ms) {
            (None, None) => (0, 0),
            (float_ms, histogram_ms) if float_ms >= histogram_ms => (float - 1, histogram),
            _ => (float, histogram - 1),
        };
        let from = |places: &Range<usize>, count: usize| places.start + count..places.end;
        Some((from(&self.places.0, float), from(&self.places.1, histogram)))
    }
}

/// Nothing, and a note on why, where layouts do not go together.
fn or_note<T>(result: Result<Option<T>, HistogramError>, notes: &mut RangeNotes) -> Option<T> {
    result.unwrap_or_else(|HistogramError::IncompatibleSchema| {
        notes.insert(RangeNote::MixedSchemas);
        None
    })
}

fn plus(
    left: &NativeHistogram,
    right: &NativeHistogram,
    notes: &mut RangeNotes,
) -> Result<NativeHistogram, HistogramError> {
    let sum = add(left, right)?;
    if sum.bounds_reconciled {
        notes.insert(RangeNote::ReconciledInAddition);
    }
    Ok(sum.histogram)
}

fn minus(
    left: &NativeHistogram,
    right: &NativeHistogram,
    notes: &mut RangeNotes,
) -> Result<NativeHistogram, HistogramError> {
    let difference = subtract(left, right)?;
    if difference.bounds_reconciled {
        notes.insert(RangeNote::ReconciledInSubtraction);
    }
    Ok(difference.histogram)
}

fn is_gauge(histogram: &NativeHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

/// The histograms that one step reads.
#[derive(Copy, Clone)]
struct Histograms<'a> {
    times: &'a [i64],
    items: &'a [TimedHistogram],
}

impl<'a> Histograms<'a> {
    fn histogram(&self, at: usize) -> &'a NativeHistogram {
        &self.items[at].histogram
    }

    /// What the histogram moved by from edge to edge; of a counter with what was lost in resets.
    fn moved(
        &self,
        function: ExtendedFunction,
        extension: WindowExtension,
        span: &WindowSpan,
        notes: &mut RangeNotes,
    ) -> Result<Option<NativeHistogram>, HistogramError> {
        let Some(counted) = CountedSamples::find_measurable(self.times, extension, span) else { return Ok(None) };
        let is_counter = function.is_counter();
        self.check_kinds(counted, is_counter, notes)?;
        let is_smoothed = extension == WindowExtension::Smoothed;
        let left = if is_smoothed && self.times[counted.first] < span.start_ms {
            Cow::Owned(self.between(counted.first, span.start_ms, is_counter, notes)?)
        } else {
            Cow::Borrowed(self.histogram(counted.first))
        };
        let right = if is_smoothed && counted.last > 0 && self.times[counted.last] > span.end_ms {
            Cow::Owned(self.between(counted.last - 1, span.end_ms, is_counter, notes)?)
        } else {
            Cow::Borrowed(self.histogram(counted.last))
        };
        let are_gauges = is_gauge(&left) && is_gauge(&right);
        if !is_counter && !are_gauges {
            notes.insert(RangeNote::NotGauge);
        }
        let mut moved = minus(&right, &left, notes)?;
        if is_counter {
            let left_is_behind_reset = is_smoothed
                && self.times[counted.first] < span.start_ms
                && counted.first < counted.last
                && detect_reset(self.histogram(counted.first + 1), self.histogram(counted.first));
            if let Some(lost) = self.lost_in_resets(counted, left_is_behind_reset, (&left, &right), notes)? {
                moved = plus(&moved, &lost, notes)?;
            }
        }
        Ok(Some(moved))
    }

    /// All counted histograms must have buckets of one kind; a counter function says so if one is a gauge.
    fn check_kinds(
        &self,
        CountedSamples { first, last }: CountedSamples,
        is_counter: bool,
        notes: &mut RangeNotes,
    ) -> Result<(), HistogramError> {
        let uses_custom_buckets = self.histogram(first).uses_custom_buckets();
        for TimedHistogram { histogram, .. } in self.items.get(first..=last).unwrap_or_default() {
            if histogram.uses_custom_buckets() != uses_custom_buckets {
                return Err(HistogramError::IncompatibleSchema);
            }
            if is_counter && is_gauge(histogram) {
                notes.insert(RangeNote::NotCounter);
            }
        }
        Ok(())
    }

    /// The sum of what stood before each reset on the way from edge to edge. The last histogram is not on the way: the right
    /// edge is made of it and inherits its hint, which would be seen twice. If the left edge lies in a reset, the one behind
    /// that is not on the way either; it has been counted.
    fn lost_in_resets(
        &self,
        CountedSamples { first, last }: CountedSamples,
        left_is_behind_reset: bool,
        (left, right): (&NativeHistogram, &NativeHistogram),
        notes: &mut RangeNotes,
    ) -> Result<Option<NativeHistogram>, HistogramError> {
        let mut previous = left;
        let mut next = first + 1;
        if left_is_behind_reset {
            previous = self.histogram(next);
            next += 1;
        }
        let Some(inside) = self.items.get(next..last.max(next)).filter(|_| next <= last) else { return Ok(None) };
        let mut lost: Option<NativeHistogram> = None;
        for histogram in inside.iter().map(|timed| &*timed.histogram).chain([right]) {
            if detect_reset(histogram, previous) {
                lost = Some(match lost {
                    None => previous.clone(),
                    Some(lost) => plus(&lost, previous, notes)?,
                });
            }
            previous = histogram;
        }
        Ok(lost)
    }

    /// The histogram at a time on the line from the one at `before` to the next one. Of a counter that was reset between them
    /// the line starts at zero.
    fn between(
        &self,
        before: usize,
        time_ms: i64,
        is_counter: bool,
        notes: &mut RangeNotes,
    ) -> Result<NativeHistogram, HistogramError> {
        let start = self.histogram(before);
        let Some(TimedHistogram { at: end_ms, histogram: end, .. }) = self.items.get(before + 1) else {
            return Ok(start.clone());
        };
        let start_ms = self.times[before];
        let part = time_ms.saturating_sub(start_ms) as f64 / end_ms.saturating_sub(start_ms) as f64;
        if is_counter && detect_reset(end, start) {
            let mut grown = NativeHistogram::clone(end);
            scale(&mut grown, part);
            return Ok(grown);
        }
        let mut moved = minus(end, start, notes)?;
        scale(&mut moved, part);
        plus(&moved, start, notes)
    }

    /// The histogram at a time: see [`smooth_to_steps`](super::smooth_to_steps). It is a counter unless both neighbours say
    /// that they are gauges.
    fn smooth(&self, time_ms: i64, notes: &mut RangeNotes) -> Result<Option<Arc<NativeHistogram>>, HistogramError> {
        Ok(match Neighbours::of(self.times, time_ms) {
            Neighbours::Same(at) => Some(Arc::clone(&self.items[at].histogram)),
            Neighbours::Both(at) => {
                let neighbours = || self.items[at..].iter().take(2).map(|timed| &*timed.histogram);
                if neighbours().filter(|neighbour| neighbour.uses_custom_buckets()).count() == 1 {
                    return Err(HistogramError::IncompatibleSchema);
                }
                Some(Arc::new(self.between(at, time_ms, !neighbours().all(is_gauge), notes)?))
            }
            // The hint was about the sample before it, not about this time.
            Neighbours::Before(at) => Some(Arc::new(NativeHistogram {
                counter_reset_hint: CounterResetHint::Unknown,
                ..self.histogram(at).clone()
            })),
            Neighbours::None => None,
        })
    }
}
