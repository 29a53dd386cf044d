//! Functions that go from sample to sample, be it a number or a histogram: `irate`, `idelta`, `resets`, `changes`.

use super::extrapolated::combine;
use super::{Outcome, RangeNote, RangeNotes, Window};
use crate::kernels::native_histogram::{compact, detect_reset, divide, histograms_equal, subtract};
use crate::kernels::start_time::is_start_time_reset;
use crate::model::{CounterResetHint, NativeHistogram, Sample};

/// One sample of a window.
#[derive(Copy, Clone, Debug)]
struct InTurn<'a> {
    time: i64,
    /// 0 = unknown.
    start_time: i64,
    value: Value<'a>,
}

#[derive(Copy, Clone, Debug)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a NativeHistogram),
}

/// Numbers and histograms of a window by time.
struct Merged<'a> {
    window: Window<'a>,
    float: usize,
    histogram: usize,
}

impl<'a> Merged<'a> {
    fn new(window: Window<'a>) -> Self {
        Self { window, float: 0, histogram: 0 }
    }

    /// The last two samples alone.
    fn last_two(window: Window<'a>) -> Option<[InTurn<'a>; 2]> {
        let float = window.timestamps.len().saturating_sub(2);
        let histogram = window.histograms.len().saturating_sub(2);
        let mut tail = Self { window, float, histogram };
        let (mut before, mut last) = (tail.next()?, tail.next()?);
        for sample in tail {
            (before, last) = (last, sample);
        }
        Some([before, last])
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = InTurn<'a>;

    fn next(&mut self) -> Option<InTurn<'a>> {
        let window = self.window;
        let histogram = window.histograms.get(self.histogram);
        let float_time = window.timestamps.get(self.float).copied();
        match (float_time, histogram) {
            (None, None) => None,
            (Some(time), next) if next.is_none_or(|next| time < next.at) => {
                let at = self.float;
                self.float += 1;
                let start_time = window.start_times_of_floats.map_or(0, |starts| starts[at]);
                Some(InTurn { time, start_time, value: Value::Float(window.values[at]) })
            }
            (_, Some(next)) => {
                self.histogram += 1;
                let start_time = window.start_times.of(next);
                Some(InTurn { time: next.at, start_time, value: Value::Histogram(&next.histogram) })
            }
            (Some(_), None) => None,
        }
    }
}

fn start_time_reset(before: &InTurn<'_>, current: &InTurn<'_>) -> bool {
    is_start_time_reset(before.start_time, before.time, current.start_time, current.time)
}

/// The difference of the last two samples, for `irate` a second and with an eye on resets. As Prometheus v3.14
/// `instantValue`.
pub(super) fn instant_value(window: Window<'_>, is_rate: bool) -> Outcome {
    let Some([before, last]) = Merged::last_two(window) else { return Outcome::default() };
    let apart_ms = last.time.saturating_sub(before.time);
    if apart_ms == 0 {
        return Outcome::default();
    }
    let apart_seconds = apart_ms as f64 / 1000.0;
    let is_reset = is_rate && start_time_reset(&before, &last);
    match (before.value, last.value) {
        (Value::Float(from), Value::Float(to)) => {
            let moved = if is_reset || (is_rate && to < from) { to } else { to - from };
            Outcome::of(Sample::Float(if is_rate { moved / apart_seconds } else { moved }))
        }
        (Value::Histogram(from), Value::Histogram(to)) => {
            let is_reset = is_reset || (is_rate && detect_reset(to, from));
            let mut notes = note_kind([from, to], is_rate);
            let moved = if is_reset {
                Ok(to.clone())
            } else {
                combine(subtract(to, from), RangeNote::ReconciledInSubtraction, &mut notes)
            };
            let sample = match moved {
                Ok(mut moved) => {
                    moved.counter_reset_hint = CounterResetHint::Gauge;
                    compact(&mut moved);
                    if is_rate {
                        divide(&mut moved, apart_seconds);
                    }
                    Some(Sample::Histogram(moved.into()))
                }
                Err(note) => {
                    notes.insert(note);
                    None
                }
            };
            Outcome { sample, notes }
        }
        _ => Outcome { sample: None, notes: RangeNotes::only(RangeNote::MixedFloatsAndHistograms) },
    }
}

/// `irate` wants counters, `idelta` gauges.
fn note_kind(pair: [&NativeHistogram; 2], is_rate: bool) -> RangeNotes {
    let mut gauges = pair.iter().map(|histogram| histogram.counter_reset_hint == CounterResetHint::Gauge);
    if is_rate && gauges.clone().any(|is_gauge| is_gauge) {
        RangeNotes::only(RangeNote::NotCounter)
    } else if !is_rate && !gauges.all(|is_gauge| is_gauge) {
        RangeNotes::only(RangeNote::NotGauge)
    } else {
        RangeNotes::default()
    }
}

/// `resets`: a fall, a histogram that was reset, or a change of kind. As Prometheus v3.14 `funcResets`.
pub(super) fn resets(window: Window<'_>) -> f64 {
    count_pairs(window, |before, current| match (before.value, current.value) {
        (Value::Float(from), Value::Float(to)) => to < from || start_time_reset(before, current),
        (Value::Histogram(from), Value::Histogram(to)) => start_time_reset(before, current) || detect_reset(to, from),
        _ => true,
    })
}

/// `changes`: a difference or a change of kind; NaN after NaN is none. As Prometheus v3.14 `funcChanges`.
pub(super) fn changes(window: Window<'_>) -> f64 {
    count_pairs(window, |before, current| match (before.value, current.value) {
        (Value::Float(from), Value::Float(to)) => to != from && !(to.is_nan() && from.is_nan()),
        (Value::Histogram(from), Value::Histogram(to)) => !histograms_equal(to, from),
        _ => true,
    })
}

fn count_pairs(window: Window<'_>, counts: impl Fn(&InTurn<'_>, &InTurn<'_>) -> bool) -> f64 {
    let mut merged = Merged::new(window);
    let Some(mut before) = merged.next() else { return 0.0 };
    let mut count = 0_u64;
    for current in merged {
        count += u64::from(counts(&before, &current));
        before = current;
    }
    count as f64
}
