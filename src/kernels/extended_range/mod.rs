//! `anchored` and `smoothed`: functions that also read samples beside their window.
//!
//! | modifier | reads | value at the left edge | value at the right edge |
//! |---|---|---|---|
//! | `anchored` | a lookback before the window too | the last sample at or before it, else the first one | the last sample |
//! | `smoothed` | a lookback on both sides too | on the line between its neighbours, else the first sample | likewise, else the last |
//!
//! Source: Prometheus v3.14 promql/functions.go extendedRate and pickFirstSampleIndices, promql/engine.go smoothSeries and
//! extendFloats.

#[cfg(test)]
mod histogram_tests;
mod histograms;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use histograms::{evaluate_mixed_extended_range, smooth_mixed_to_steps};

use super::windows::WindowSpan;
use super::{CellSink, RangeWindows, counter_functions};

/// Which samples beside its window a function reads.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum WindowExtension {
    /// Those up to a lookback before it, of which the last one stands at its left edge.
    Anchored,
    /// Those up to a lookback on either side; at its edges are values on the line between two samples.
    Smoothed,
}

impl WindowExtension {
    /// The modifier as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

/// The windows of an extended selector over the steps of a query.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct ExtendedWindows {
    /// The windows as they were written. Of an instant selector they have no length.
    pub windows: RangeWindows,
    /// On which sides more is read.
    pub extension: WindowExtension,
    /// How far beside a window samples count, in ms; never negative.
    pub lookback_ms: i64,
}

impl ExtendedWindows {
    /// What each step reads: `start - lookback < time ≤ end`, and of `smoothed` up to `end + lookback`.
    pub fn reads(&self) -> RangeWindows {
        let behind_ms = match self.extension {
            WindowExtension::Anchored => 0,
            WindowExtension::Smoothed => self.lookback_ms,
        };
        RangeWindows {
            first_end_ms: self.windows.first_end_ms.saturating_add(behind_ms),
            range_ms: self.windows.range_ms.saturating_add(self.lookback_ms).saturating_add(behind_ms),
            ..self.windows
        }
    }

    /// The samples that each step reads, with the edges of its own window.
    pub fn spans<'a>(&self, timestamps: &'a [i64]) -> impl Iterator<Item = WindowSpan> + use<'a> {
        let windows = self.windows;
        self.reads().spans(timestamps).map(move |read| {
            let end_ms = windows.end_ms(read.step);
            WindowSpan { start_ms: end_ms.saturating_sub(windows.range_ms), end_ms, ..read }
        })
    }
}

/// A function that takes an extended range selector.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum ExtendedFunction {
    /// `rate`
    Rate,
    /// `increase`
    Increase,
    /// `delta`
    Delta,
    /// `resets`; only anchored
    Resets,
    /// `changes`; only anchored
    Changes,
}

impl ExtendedFunction {
    /// The functions that take the modifier, in the order of their names.
    pub fn taking(extension: WindowExtension) -> &'static [Self] {
        match extension {
            WindowExtension::Anchored => &[Self::Changes, Self::Delta, Self::Increase, Self::Rate, Self::Resets],
            WindowExtension::Smoothed => &[Self::Delta, Self::Increase, Self::Rate],
        }
    }

    /// Its PromQL name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::Delta => "delta",
            Self::Resets => "resets",
            Self::Changes => "changes",
        }
    }

    /// The function of a PromQL name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::taking(WindowExtension::Anchored).iter().copied().find(|function| function.name() == name)
    }

    /// Is a fall of the value a reset to zero?
    pub fn is_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}

/// Which of the samples that a step reads count for it, as positions among them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct CountedSamples {
    /// The last one at or before the left edge, else the first one.
    pub(crate) first: usize,
    /// Anchored: the last one. Smoothed: the first one at or after the right edge, else the last one.
    pub(crate) last: usize,
}

impl CountedSamples {
    /// `None` where no sample is after the left edge.
    pub(crate) fn find(times: &[i64], extension: WindowExtension, span: &WindowSpan) -> Option<Self> {
        let newest = times.len().checked_sub(1)?;
        let first = times.partition_point(|time| *time <= span.start_ms).saturating_sub(1);
        let last = match extension {
            WindowExtension::Anchored => newest,
            WindowExtension::Smoothed => times.partition_point(|time| *time < span.end_ms).min(newest),
        };
        (times[last] > span.start_ms).then_some(Self { first, last })
    }

    /// The same for functions, which measure nothing either where all samples are behind the window.
    pub(crate) fn find_measurable(times: &[i64], extension: WindowExtension, span: &WindowSpan) -> Option<Self> {
        Self::find(times, extension, span).filter(|counted| times[counted.first] <= span.end_ms)
    }
}

/// Evaluates a function of an extended range over one series, step by step. `timestamps` ascend, `values` hold no stale
/// markers; both must reach as far as [`ExtendedWindows::reads`]. Pushes exactly one cell a step.
pub fn evaluate_extended_range(
    function: ExtendedFunction,
    timestamps: &[i64],
    values: &[f64],
    windows: &ExtendedWindows,
    out: &mut CellSink<'_>,
) {
    debug_assert_eq!(timestamps.len(), values.len());
    let timestamps = &timestamps[..timestamps.len().min(values.len())];
    let per_seconds = (function == ExtendedFunction::Rate).then(|| windows.windows.range_seconds());
    for span in windows.spans(timestamps) {
        let samples = Floats { times: &timestamps[span.samples.clone()], values: &values[span.samples.clone()] };
        out.push(samples.evaluate(function, windows.extension, &span, per_seconds));
    }
}

/// A `smoothed` instant selector at each step: the sample of that time, else the line between the samples on either side of
/// it, else the sample before it; nothing where there is none before. The windows have no length. As Prometheus v3.14
/// smoothSeries.
pub fn smooth_to_steps(timestamps: &[i64], values: &[f64], windows: &ExtendedWindows, out: &mut CellSink<'_>) {
    debug_assert_eq!(timestamps.len(), values.len());
    let timestamps = &timestamps[..timestamps.len().min(values.len())];
    for span in windows.spans(timestamps) {
        let samples = Floats { times: &timestamps[span.samples.clone()], values: &values[span.samples.clone()] };
        out.push(samples.smooth(span.end_ms));
    }
}

/// An extended range selector as a query of its own: the samples inside of the first step's window, between one at each of
/// its edges. Nothing where there is no sample after the left edge. As Prometheus v3.14 extendFloats, which does not look
/// for a counter, and which carries the first sample back even from behind the window.
pub fn extend_to_edges(timestamps: &[i64], values: &[f64], windows: &ExtendedWindows) -> (Vec<i64>, Vec<f64>) {
    debug_assert_eq!(timestamps.len(), values.len());
    let timestamps = &timestamps[..timestamps.len().min(values.len())];
    let first_step = ExtendedWindows { windows: RangeWindows { step_count: 1, ..windows.windows }, ..*windows };
    let Some(span) = first_step.spans(timestamps).next() else { return Default::default() };
    let samples = Floats { times: &timestamps[span.samples.clone()], values: &values[span.samples.clone()] };
    let Some(counted) = CountedSamples::find(samples.times, windows.extension, &span) else {
        return Default::default();
    };
    let edges = samples.edges(counted, windows.extension, &span, Fall::IsAFall);
    let inside = samples.inside(counted, &span);
    let times = [&[span.start_ms], &samples.times[inside.clone()], &[span.end_ms]].concat();
    let values = [&[edges.left], &samples.values[inside], &[edges.right]].concat();
    (times, values)
}

/// Where a time lies among ascending times.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// There is one at that very time.
    Same(usize),
    /// There is one before it, and the next one is after it.
    Both(usize),
    /// There is one before it and none after.
    Before(usize),
    /// There is none before it.
    None,
}

impl Neighbours {
    pub(crate) fn of(times: &[i64], time_ms: i64) -> Self {
        let behind = times.partition_point(|time| *time < time_ms);
        match (behind.checked_sub(1), times.get(behind)) {
            (_, Some(time)) if *time == time_ms => Self::Same(behind),
            (Some(before), Some(_)) => Self::Both(before),
            (Some(before), None) => Self::Before(before),
            (None, _) => Self::None,
        }
    }
}

/// What a fall between two samples means for the line between them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Fall {
    /// The counter began anew: the line starts at zero.
    IsAReset,
    /// The line goes down.
    IsAFall,
}

/// Values at the edges of a window.
struct Edges {
    left: f64,
    right: f64,
}

/// The float samples that one step reads.
#[derive(Copy, Clone)]
struct Floats<'a> {
    times: &'a [i64],
    values: &'a [f64],
}

impl Floats<'_> {
    fn evaluate(
        &self,
        function: ExtendedFunction,
        extension: WindowExtension,
        span: &WindowSpan,
        per_seconds: Option<f64>,
    ) -> Option<f64> {
        let counted = CountedSamples::find_measurable(self.times, extension, span)?;
        match function {
            ExtendedFunction::Resets => return Some(counter_functions::resets(&self.values[counted.first..])),
            ExtendedFunction::Changes => return Some(counter_functions::changes(&self.values[counted.first..])),
            ExtendedFunction::Rate | ExtendedFunction::Increase | ExtendedFunction::Delta => {}
        }
        let fall = if function.is_counter() { Fall::IsAReset } else { Fall::IsAFall };
        let edges = self.edges(counted, extension, span, fall);
        let mut moved = edges.right - edges.left;
        if fall == Fall::IsAReset {
            moved += before_falls(&edges, &self.values[self.inside(counted, span)]);
        }
        Some(per_seconds.map_or(moved, |seconds| moved / seconds))
    }

    /// The values at the edges of the window. Anchored they are those of the first and the last sample.
    fn edges(&self, counted: CountedSamples, extension: WindowExtension, span: &WindowSpan, fall: Fall) -> Edges {
        let CountedSamples { first, last } = counted;
        let is_smoothed = extension == WindowExtension::Smoothed;
        let left_lies_between = is_smoothed && self.times[first] < span.start_ms;
        let right_lies_between = is_smoothed && last > 0 && self.times[last] > span.end_ms;
        Edges {
            left: if left_lies_between { self.line(first, span.start_ms, fall) } else { self.values[first] },
            right: if right_lies_between { self.line(last - 1, span.end_ms, fall) } else { self.values[last] },
        }
    }

    /// Positions of the counted samples that lie inside of the window and on neither edge.
    fn inside(&self, CountedSamples { first, last }: CountedSamples, span: &WindowSpan) -> Range<usize> {
        let from = first + usize::from(self.times[first] <= span.start_ms);
        let to = last + usize::from(self.times[last] < span.end_ms);
        from.min(to)..to
    }

    /// The value at a time: see [`smooth_to_steps`].
    fn smooth(&self, time_ms: i64) -> Option<f64> {
        match Neighbours::of(self.times, time_ms) {
            Neighbours::Same(at) | Neighbours::Before(at) => Some(self.values[at]),
            Neighbours::Both(before) => Some(self.line(before, time_ms, Fall::IsAFall)),
            Neighbours::None => None,
        }
    }

    /// The value at a time on the line from the sample at `before` to the next one; of the last sample its own value.
    fn line(&self, before: usize, time_ms: i64, fall: Fall) -> f64 {
        let (Some(&end), Some(&end_ms)) = (self.values.get(before + 1), self.times.get(before + 1)) else {
            return self.values[before];
        };
        let is_reset = fall == Fall::IsAReset && end < self.values[before];
        let start = if is_reset { 0.0 } else { self.values[before] };
        let start_ms = self.times[before];
        start + (end - start) * time_ms.saturating_sub(start_ms) as f64 / end_ms.saturating_sub(start_ms) as f64
    }
}

/// The sum of the values before each fall on the way from edge to edge. Comparisons with NaN are false: it is not a fall.
fn before_falls(edges: &Edges, inside: &[f64]) -> f64 {
    let mut lost = 0.0;
    let mut previous = edges.left;
    for &value in inside.iter().chain(std::iter::once(&edges.right)) {
        if value < previous {
            lost += previous;
        }
        previous = value;
    }
    lost
}
