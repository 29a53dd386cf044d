//! `rate`, `increase` and `delta` over a window of histograms.

use super::{Outcome, RangeNote, RangeNotes, StartTimes};
use crate::kernels::native_histogram::{
    Combined, HistogramError, add, compact, detect_reset, scale, subtract, to_schema,
};
use crate::kernels::start_time::{is_start_time_reset, start_times_overlap};
use crate::model::{CounterResetHint, NativeHistogram, Sample, TimedHistogram};

/// What is measured, and where.
#[derive(Copy, Clone, Debug)]
pub(super) struct Measurement {
    /// Only up, from zero; a fall is a reset.
    pub(super) is_counter: bool,
    /// Divide by so many seconds.
    pub(super) per_seconds: Option<f64>,
    /// Left edge of the window in ms, exclusive.
    pub(super) start_ms: i64,
    /// Right edge of the window in ms, inclusive.
    pub(super) end_ms: i64,
    /// Do start timestamps count?
    pub(super) start_times: StartTimes,
}

/// How far the histograms moved in the window, carried on to its edges where samples come close to them. One histogram has
/// no movement unless its start timestamp lies in the window. As Prometheus v3.14 `extrapolatedRate`.
pub(super) fn extrapolated(histograms: &[TimedHistogram], measured: Measurement) -> Outcome {
    let (Some(first), Some(last)) = (histograms.first(), histograms.last()) else { return Outcome::default() };
    let mut notes = RangeNotes::default();
    let moved = if histograms.len() > 1 {
        match movement(histograms, measured, &mut notes) {
            Ok(moved) => Some(moved),
            Err(note) => {
                notes.insert(note);
                return Outcome { sample: None, notes };
            }
        }
    } else {
        None
    };
    let start_time = measured.start_times.of(first);
    let starts_inside =
        measured.is_counter && start_time != 0 && start_time > measured.start_ms && start_time < first.at;
    let moved = match (moved, starts_inside) {
        (None, false) => return Outcome { sample: None, notes },
        (None, true) => first.histogram.as_ref().clone(),
        (Some(moved), false) => moved,
        // The counter stood at zero at its start: the first histogram is growth, too.
        (Some(moved), true) => {
            match combine(add(&moved, &first.histogram), RangeNote::ReconciledInAddition, &mut notes) {
                Ok(moved) => moved,
                Err(note) => {
                    notes.insert(note);
                    return Outcome { sample: None, notes };
                }
            }
        }
    };
    let gap_count = (histograms.len() - 1) as f64;
    let sampled_seconds = seconds_between(first.at, last.at);
    let gap_seconds = if gap_count > 0.0 { sampled_seconds / gap_count } else { 0.0 };
    let end_gap = edge_gap(seconds_between(last.at, measured.end_ms), gap_seconds);
    let (sampled_seconds, start_gap) = if starts_inside {
        (seconds_between(start_time, last.at), 0.0)
    } else {
        let gap = edge_gap(seconds_between(measured.start_ms, first.at), gap_seconds);
        (sampled_seconds, limit_to_zero(gap, sampled_seconds, &first.histogram, &moved, measured.is_counter))
    };
    let mut factor = 1.0;
    if sampled_seconds != 0.0 {
        factor = (sampled_seconds + start_gap + end_gap) / sampled_seconds;
    }
    if let Some(seconds) = measured.per_seconds {
        factor /= seconds;
    }
    let mut moved = moved;
    scale(&mut moved, factor);
    Outcome { sample: Some(Sample::Histogram(moved.into())), notes }
}

/// A counter cannot have counted below zero: it began to count so long ago at most.
fn limit_to_zero(
    gap: f64,
    sampled_seconds: f64,
    first: &NativeHistogram,
    moved: &NativeHistogram,
    is_counter: bool,
) -> f64 {
    let has_grown = moved.count > 0.0 && first.count >= 0.0;
    if !is_counter || !has_grown {
        return gap;
    }
    let since_zero = sampled_seconds * (first.count / moved.count);
    if since_zero < gap { since_zero } else { gap }
}

/// As for numbers: all the way to the edge when a sample could still have come before it, else half a gap.
fn edge_gap(to_edge_seconds: f64, gap_seconds: f64) -> f64 {
    if to_edge_seconds >= gap_seconds * 1.1 { gap_seconds / 2.0 } else { to_edge_seconds }
}

fn seconds_between(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

/// The last histogram less the first, plus the histogram before each reset; a compacted gauge. `Err` says why there is none.
/// As Prometheus v3.14 `histogramRate`.
///
/// `histograms` are at least two.
fn movement(
    histograms: &[TimedHistogram],
    measured: Measurement,
    notes: &mut RangeNotes,
) -> Result<NativeHistogram, RangeNote> {
    let is_gauge = |timed: &TimedHistogram| timed.histogram.counter_reset_hint == CounterResetHint::Gauge;
    let (first, last) = (&histograms[0], &histograms[histograms.len() - 1]);
    if measured.is_counter && (is_gauge(first) || is_gauge(last)) {
        notes.insert(RangeNote::NotCounter);
    }
    let blank;
    let mut previous: &NativeHistogram = &first.histogram;
    if measured.is_counter && is_reset(&histograms[0], &histograms[1], previous, measured.start_times) {
        // What was before the reset does not count, so its buckets need not fit either.
        blank = blank_like(&histograms[1].histogram);
        previous = &blank;
    }
    let uses_custom_buckets = previous.uses_custom_buckets();
    if last.histogram.uses_custom_buckets() != uses_custom_buckets {
        return Err(RangeNote::MixedSchemas);
    }
    let mut schema = last.histogram.schema.min(previous.schema);
    if measured.is_counter {
        for between in &histograms[1..histograms.len() - 1] {
            if is_gauge(between) {
                notes.insert(RangeNote::NotCounter);
            }
            schema = schema.min(between.histogram.schema);
            if between.histogram.uses_custom_buckets() != uses_custom_buckets {
                return Err(only_this(notes, RangeNote::MixedSchemas));
            }
        }
    }
    let difference = subtract(&to_schema(&last.histogram, schema), previous);
    let mut moved =
        combine(difference, RangeNote::ReconciledInSubtraction, notes).map_err(|note| only_this(notes, note))?;
    if measured.is_counter {
        add_resets(&mut moved, histograms, previous, measured.start_times, notes)
            .map_err(|note| only_this(notes, note))?;
    } else if !is_gauge(first) || !is_gauge(last) {
        notes.insert(RangeNote::NotGauge);
    }
    moved.counter_reset_hint = CounterResetHint::Gauge;
    compact(&mut moved);
    Ok(moved)
}

/// Where Prometheus gives up late it forgets what it had to say before.
fn only_this(notes: &mut RangeNotes, note: RangeNote) -> RangeNote {
    *notes = RangeNotes::default();
    note
}

fn add_resets(
    moved: &mut NativeHistogram,
    histograms: &[TimedHistogram],
    first: &NativeHistogram,
    start_times: StartTimes,
    notes: &mut RangeNotes,
) -> Result<(), RangeNote> {
    let mut previous = first;
    for pair in histograms.windows(2) {
        let [before, current] = pair else { continue };
        if start_times_overlap(start_times.of(before), before.at, start_times.of(current)) {
            notes.insert(RangeNote::StartTimesOverlap);
        }
        if is_reset(before, current, previous, start_times) {
            *moved = combine(add(moved, previous), RangeNote::ReconciledInAddition, notes)?;
        }
        previous = &current.histogram;
    }
    Ok(())
}

/// Was the counter reset between two neighbours? `previous` stands for the histogram of `before`.
fn is_reset(
    before: &TimedHistogram,
    current: &TimedHistogram,
    previous: &NativeHistogram,
    start_times: StartTimes,
) -> bool {
    is_start_time_reset(start_times.of(before), before.at, start_times.of(current), current.at)
        || detect_reset(&current.histogram, previous)
}

/// No observations, in the buckets of another.
fn blank_like(histogram: &NativeHistogram) -> NativeHistogram {
    NativeHistogram {
        schema: histogram.schema,
        custom_bounds: histogram.custom_bounds.clone(),
        ..NativeHistogram::default()
    }
}

/// Conflicting resets are not noted here: these functions look at resets themselves.
pub(super) fn combine(
    combined: Result<Combined, HistogramError>,
    reconciled: RangeNote,
    notes: &mut RangeNotes,
) -> Result<NativeHistogram, RangeNote> {
    let Combined { histogram, bounds_reconciled, .. } = combined.map_err(|error| match error {
        HistogramError::IncompatibleSchema => RangeNote::MixedSchemas,
    })?;
    if bounds_reconciled {
        notes.insert(reconciled);
    }
    Ok(histogram)
}
