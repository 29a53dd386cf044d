//! Sums, means, and the ends of a window that has histograms.

use std::sync::Arc;

use super::{Outcome, RangeNote, RangeNotes, Window};
use crate::kernels::native_histogram::{HistogramError, HistogramMean, HistogramSum};
use crate::model::{NativeHistogram, Sample, TimedHistogram};

/// `sum_over_time`: compensated, not compacted. As Prometheus v3.14 `funcSumOverTime`.
pub(super) fn sum(histograms: &[TimedHistogram]) -> Outcome {
    let Some((first, others)) = histograms.split_first() else { return Outcome::default() };
    let mut sum = HistogramSum::new(&first.histogram);
    match others.iter().try_for_each(|other| sum.add(&other.histogram)) {
        Err(HistogramError::IncompatibleSchema) => mixed_schemas(),
        Ok(()) => {
            let notes = notes_of(sum.counter_reset_collision(), sum.bounds_reconciled());
            Outcome { sample: Some(histogram(sum.finish())), notes }
        }
    }
}

/// `avg_over_time`: compensated, not compacted. As Prometheus v3.14 `funcAvgOverTime`.
pub(super) fn average(histograms: &[TimedHistogram]) -> Outcome {
    let Some((first, others)) = histograms.split_first() else { return Outcome::default() };
    let mut mean = HistogramMean::new(&first.histogram);
    match others.iter().try_for_each(|other| mean.add(&other.histogram)) {
        Err(HistogramError::IncompatibleSchema) => mixed_schemas(),
        Ok(()) => {
            let notes = notes_of(mean.counter_reset_collision(), mean.bounds_reconciled());
            Outcome { sample: Some(histogram(mean.finish())), notes }
        }
    }
}

fn histogram(histogram: NativeHistogram) -> Sample {
    Sample::Histogram(Arc::new(histogram))
}

fn mixed_schemas() -> Outcome {
    Outcome { sample: None, notes: RangeNotes::only(RangeNote::MixedSchemas) }
}

fn notes_of(reset_collision: bool, bounds_reconciled: bool) -> RangeNotes {
    let mut notes = RangeNotes::default();
    if reset_collision {
        notes.insert(RangeNote::ResetCollision);
    }
    if bounds_reconciled {
        notes.insert(RangeNote::ReconciledInAggregation);
    }
    notes
}

/// `first_over_time`
pub(super) fn first(window: Window<'_>) -> Outcome {
    let float = window.timestamps.first().zip(window.values.first());
    match (float, window.histograms.first()) {
        (Some((time, value)), next) if next.is_none_or(|next| *time < next.at) => Outcome::of(Sample::Float(*value)),
        (_, timed) => timed.map_or_else(Outcome::default, shared),
    }
}

/// `last_over_time`
pub(super) fn last(window: Window<'_>) -> Outcome {
    let float = window.timestamps.last().zip(window.values.last());
    match (float, window.histograms.last()) {
        (Some((time, value)), other) if other.is_none_or(|other| other.at < *time) => {
            Outcome::of(Sample::Float(*value))
        }
        (_, timed) => timed.map_or_else(Outcome::default, shared),
    }
}

fn shared(timed: &TimedHistogram) -> Outcome {
    Outcome::of(Sample::Histogram(Arc::clone(&timed.histogram)))
}

/// Time of the first sample of either kind.
pub(super) fn first_ms(window: Window<'_>) -> i64 {
    let float = window.timestamps.first().copied().unwrap_or(i64::MAX);
    window.histograms.first().map_or(float, |timed| timed.at.min(float))
}

/// Time of the last sample of either kind.
pub(super) fn last_ms(window: Window<'_>) -> i64 {
    let float = window.timestamps.last().copied().unwrap_or(i64::MIN);
    window.histograms.last().map_or(float, |timed| timed.at.max(float))
}

pub(super) fn seconds(time_ms: i64) -> f64 {
    time_ms as f64 / 1000.0
}
