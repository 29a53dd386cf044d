//! What is left of native histograms where a query asks for their count and sum alone.

use std::sync::Arc;

use super::RangeWindows;
use super::native_histogram::detect_reset;
use crate::model::{CounterResetHint, NativeHistogram, TimedHistogram};

/// The histogram without its buckets, as `histogram_count`, `histogram_sum` and `histogram_avg` look at it.
pub fn without_buckets(histogram: &NativeHistogram) -> NativeHistogram {
    NativeHistogram {
        counter_reset_hint: histogram.counter_reset_hint,
        schema: histogram.schema,
        count: histogram.count,
        sum: histogram.sum,
        ..NativeHistogram::default()
    }
}

/// The histograms of a series without their buckets. Where nothing was known of a reset, the hint now says what the buckets
/// said: nobody can see it later. A histogram is compared with the one before it, if Prometheus reads that one just before.
///
/// `reads` are the windows that are read, here with their left edges: a range selector reads the sample there, too.
///
/// Prometheus does so to save work, and it can be seen: sums warn of conflicting hints, bounds need no reconciliation, and
/// `==` compares counts and sums. Source: Prometheus v3.14 promql/histogram_stats_iterator.go.
///
/// | hint | read just before | becomes |
/// |---|---|---|
/// | reset, not reset, gauge | any | stays |
/// | unknown | nothing | unknown |
/// | unknown | a histogram | reset or not reset |
pub fn histogram_stats(histograms: &[TimedHistogram], reads: &RangeWindows) -> Vec<TimedHistogram> {
    let mut previous: Option<&TimedHistogram> = None;
    let stats_of = |timed: &TimedHistogram, hint: CounterResetHint| TimedHistogram {
        histogram: Arc::new(NativeHistogram { counter_reset_hint: hint, ..without_buckets(&timed.histogram) }),
        ..timed.clone()
    };
    let mut stats = Vec::with_capacity(histograms.len());
    for timed in histograms {
        let known = timed.histogram.counter_reset_hint;
        if timed.histogram.is_stale_marker() {
            stats.push(stats_of(timed, known));
            continue;
        }
        let before = previous.replace(timed).filter(|before| in_one_stretch(before.at, timed.at, reads));
        let hint = match before {
            Some(before) if known == CounterResetHint::Unknown => {
                if detect_reset(&timed.histogram, &before.histogram) {
                    CounterResetHint::Reset
                } else {
                    CounterResetHint::NotReset
                }
            }
            _ => known,
        };
        stats.push(stats_of(timed, hint));
    }
    stats
}

/// Does Prometheus read two neighbours without jumping in between? It jumps to the left edge of a window once it has come past
/// the window before, to a sample that lies left of that edge; then it knows nothing of what was before.
fn in_one_stretch(before_ms: i64, time_ms: i64, reads: &RangeWindows) -> bool {
    if reads.end_step_ms <= reads.range_ms {
        return true;
    }
    let left_edge = |end_ms: i64| end_ms.saturating_sub(reads.range_ms);
    let own_end_ms = first_end_from(time_ms, reads);
    let end_before_ms = own_end_ms.saturating_sub(reads.end_step_ms);
    before_ms >= left_edge(own_end_ms)
        || (before_ms < end_before_ms && before_ms >= left_edge(first_end_from(before_ms, reads)))
}

/// The end of the first window that ends at a time or later.
fn first_end_from(time_ms: i64, reads: &RangeWindows) -> i64 {
    let since_first = time_ms.saturating_sub(reads.first_end_ms).saturating_add(reads.end_step_ms - 1);
    let step = since_first.div_euclid(reads.end_step_ms);
    reads.first_end_ms.saturating_add(step.saturating_mul(reads.end_step_ms))
}

#[cfg(test)]
mod tests {
    use super::super::windows::tests::grid;
    use super::*;
    use crate::model::{BucketSpan, Buckets, stale_marker};

    fn timed(at: i64, counts: &[f64]) -> TimedHistogram {
        let spans = vec![BucketSpan { offset: 0, length: counts.len() as u32 }];
        let positive = Buckets { spans, counts: counts.to_vec() };
        let count = counts.iter().sum();
        let histogram = NativeHistogram { count, sum: 1.0, positive, ..NativeHistogram::default() };
        TimedHistogram { at, start_time: None, histogram: Arc::new(histogram) }
    }

    fn hints(histograms: &[TimedHistogram], windows: &RangeWindows) -> Vec<CounterResetHint> {
        let stats = histogram_stats(histograms, windows);
        assert!(stats.iter().all(|timed| timed.histogram.positive == Buckets::default()));
        assert!(stats.iter().zip(histograms).all(|(new, old)| new.at == old.at));
        stats.iter().map(|timed| timed.histogram.counter_reset_hint).collect()
    }

    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};

    #[test]
    fn what_the_buckets_said_of_resets_is_kept_in_the_hint() {
        let windows = grid(100, 1, 1, 100);
        // The count grows, but a bucket fell.
        let series = [timed(10, &[2.0, 1.0]), timed(20, &[1.0, 5.0]), timed(30, &[2.0, 5.0])];
        assert_eq!(hints(&series, &windows), [Unknown, Reset, NotReset]);
    }

    #[test]
    fn a_known_hint_stays_and_stale_markers_are_passed_over() {
        let windows = grid(100, 1, 1, 100);
        let with = |mut timed: TimedHistogram, hint| {
            Arc::make_mut(&mut timed.histogram).counter_reset_hint = hint;
            timed
        };
        let mut stale = timed(20, &[]);
        Arc::make_mut(&mut stale.histogram).sum = stale_marker();
        let series = [timed(10, &[5.0]), stale, timed(30, &[1.0]), with(timed(40, &[1.0]), Gauge), timed(50, &[3.0])];
        assert_eq!(hints(&series, &windows), [Unknown, Unknown, Reset, Gauge, NotReset]);
        assert!(histogram_stats(&series, &windows)[1].histogram.is_stale_marker());
    }

    #[test]
    fn nothing_is_known_across_the_gap_between_two_windows() {
        // Windows (0, 20], (100, 120], …
        let windows = grid(20, 100, 3, 20);
        let series = [5, 15, 60, 101, 120, 205].map(|at| timed(at, &[1.0]));
        assert_eq!(hints(&series, &windows), [Unknown, NotReset, NotReset, Unknown, NotReset, Unknown]);
        // The sample at the left edge is read, though no window holds it.
        assert_eq!(hints(&[60, 100, 101].map(|at| timed(at, &[1.0])), &windows), [Unknown, Unknown, NotReset]);
        // Nothing lies between the windows, so nothing is jumped over.
        assert_eq!(hints(&[5, 15, 101].map(|at| timed(at, &[1.0])), &windows)[1..], [NotReset; 2]);
        // Windows that touch leave no gap.
        assert_eq!(hints(&series, &grid(20, 20, 20, 20))[1..], [NotReset; 5]);
    }
}
