//! The windows of a range function over the steps of a query.

use std::ops::Range;

/// Where the window of each step lies.
///
/// The window of a step is left-open: it holds the samples with `end - range < time ≤ end` (since Prometheus 3.0). For a
/// plain selector the range is the lookback.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct RangeWindows {
    /// Right edge (inclusive) of the first window, in ms: step time minus offset, or the `@` time minus offset.
    pub first_end_ms: i64,
    /// How far the edge moves in a step, in ms. 0 for `@`; never negative.
    pub end_step_ms: i64,
    /// Evaluation time of the first step, in ms: the origin of `predict_linear`.
    pub first_eval_ms: i64,
    /// How far the evaluation time moves in a step, in ms.
    pub eval_step_ms: i64,
    /// How many steps, and so how many windows, there are.
    pub step_count: usize,
    /// Length of a window, in ms.
    pub range_ms: i64,
}

/// The window of one step, as positions in a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpan {
    /// Which step.
    pub step: usize,
    /// The samples inside, as positions; may be empty.
    pub samples: Range<usize>,
    /// Left edge, in ms; not part of the window.
    pub start_ms: i64,
    /// Right edge, in ms; part of the window.
    pub end_ms: i64,
    /// Evaluation time of the step, in ms.
    pub eval_ms: i64,
}

impl RangeWindows {
    /// Right edge of the window of a step, in ms.
    #[inline]
    pub fn end_ms(&self, step: usize) -> i64 {
        moved(self.first_end_ms, self.end_step_ms, step)
    }

    /// Evaluation time of a step, in ms.
    #[inline]
    pub fn eval_ms(&self, step: usize) -> i64 {
        moved(self.first_eval_ms, self.eval_step_ms, step)
    }

    /// The range in seconds, rounded as Go's `Duration.Seconds()`: whole seconds plus the fraction.
    pub fn range_seconds(&self) -> f64 {
        (self.range_ms / 1000) as f64 + ((self.range_ms % 1000) * 1_000_000) as f64 / 1e9
    }

    /// The windows in step order over ascending timestamps. Both edges only move forward, so the whole walk costs one pass
    /// over the samples, however many steps there are.
    pub fn spans<'a>(&self, timestamps: &'a [i64]) -> impl Iterator<Item = WindowSpan> + use<'a> {
        let windows = *self;
        let start_of_first = windows.first_end_ms.saturating_sub(windows.range_ms);
        let mut first = timestamps.partition_point(|time| *time <= start_of_first);
        let mut behind = first;
        (0..windows.step_count).map(move |step| {
            let end_ms = windows.end_ms(step);
            let start_ms = end_ms.saturating_sub(windows.range_ms);
            behind = advance(timestamps, behind, end_ms);
            first = advance(timestamps, first, start_ms);
            // A range below zero is never planned; it must not become a slice that ends before it starts.
            let samples = first.min(behind)..behind;
            WindowSpan { step, samples, start_ms, end_ms, eval_ms: windows.eval_ms(step) }
        })
    }
}

/// The first position from `from` on whose time is after `edge_ms`.
#[inline]
fn advance(timestamps: &[i64], from: usize, edge_ms: i64) -> usize {
    let mut at = from;
    while at < timestamps.len() && timestamps[at] <= edge_ms {
        at += 1;
    }
    at
}

#[inline]
fn moved(first: i64, step_ms: i64, step: usize) -> i64 {
    first.saturating_add(step_ms.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX)))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Windows of a range query without offset.
    pub(crate) fn grid(start_ms: i64, step_ms: i64, step_count: usize, range_ms: i64) -> RangeWindows {
        RangeWindows {
            first_end_ms: start_ms,
            end_step_ms: step_ms,
            first_eval_ms: start_ms,
            eval_step_ms: step_ms,
            step_count,
            range_ms,
        }
    }

    /// Ascending times with gaps of 1 ms to 90 s, around the epoch.
    pub(crate) fn any_timestamps() -> impl Strategy<Value = Vec<i64>> {
        any_timestamps_with_gaps(1..90_000)
    }

    /// Ascending times with such gaps in ms, around the epoch.
    pub(crate) fn any_timestamps_with_gaps(gaps_ms: Range<i64>) -> impl Strategy<Value = Vec<i64>> {
        (-300_000i64..300_000, proptest::collection::vec(gaps_ms, 0..60)).prop_map(|(start, gaps)| {
            let next = |time: &mut i64, gap: i64| {
                *time += gap;
                Some(*time)
            };
            gaps.into_iter().scan(start, next).collect()
        })
    }

    /// Windows that overlap the times of [`any_timestamps`], or lie beside them.
    pub(crate) fn any_windows() -> impl Strategy<Value = RangeWindows> {
        (-400_000i64..1_500_000, 0i64..200_000, -50_000i64..50_000, 0usize..25, 1i64..400_000).prop_map(
            |(first_end_ms, end_step_ms, offset, step_count, range_ms)| RangeWindows {
                first_end_ms,
                end_step_ms,
                first_eval_ms: first_end_ms + offset,
                eval_step_ms: end_step_ms,
                step_count,
                range_ms,
            },
        )
    }

    #[test]
    fn a_five_minute_window_on_a_one_minute_grid_holds_five_samples() {
        let minutes: Vec<i64> = (0..=10).map(|minute| minute * 60_000).collect();
        let spans: Vec<WindowSpan> = grid(300_000, 300_000, 2, 300_000).spans(&minutes).collect();
        assert_eq!(spans[0].samples, 1..6);
        assert_eq!(spans[1].samples, 6..11);
        assert_eq!((spans[1].start_ms, spans[1].end_ms), (300_000, 600_000));
    }

    #[test]
    fn an_at_modifier_keeps_the_window_while_the_evaluation_time_moves() {
        let windows = RangeWindows { end_step_ms: 0, ..grid(120_000, 60_000, 3, 60_000) };
        let spans: Vec<WindowSpan> = windows.spans(&[60_000, 61_000, 120_000, 121_000]).collect();
        assert!(spans.iter().all(|span| span.samples == (1..3)));
        assert_eq!(spans[2].eval_ms, 240_000);
    }

    #[test]
    fn hostile_windows_neither_overflow_nor_panic() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        for range_ms in [i64::MIN, -1, 0, 1, i64::MAX] {
            for step_ms in [i64::MIN, -1, 0, 1, i64::MAX] {
                for start_ms in [i64::MIN, 0, i64::MAX] {
                    for span in grid(start_ms, step_ms, 4, range_ms).spans(&times) {
                        assert!(span.samples.start <= span.samples.end && span.samples.end <= times.len());
                    }
                }
            }
        }
    }

    #[test]
    fn the_range_in_seconds_is_rounded_as_go_rounds_it() {
        assert_eq!(grid(0, 1, 1, 300_000).range_seconds(), 300.0);
        assert_eq!(grid(0, 1, 1, 1_001).range_seconds(), 1.0 + 0.001);
    }

    proptest! {
        #[test]
        fn spans_are_those_of_a_filter(timestamps in any_timestamps(), windows in any_windows()) {
            let mut steps = 0;
            for span in windows.spans(&timestamps) {
                let end = windows.first_end_ms + span.step as i64 * windows.end_step_ms;
                let inside: Vec<i64> =
                    timestamps.iter().copied().filter(|time| end - windows.range_ms < *time && *time <= end).collect();
                prop_assert_eq!(&timestamps[span.samples.clone()], &inside[..]);
                prop_assert_eq!(span.eval_ms, windows.first_eval_ms + span.step as i64 * windows.eval_step_ms);
                prop_assert_eq!((span.start_ms, span.end_ms), (end - windows.range_ms, end));
                prop_assert_eq!(span.step, steps);
                steps += 1;
            }
            prop_assert_eq!(steps, windows.step_count);
        }
    }
}
