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
/// said: nobody can see it later. A histogram is compared with the one before it, unless no window holds that one.
///
/// Prometheus does so to save work, and it can be seen: sums warn of conflicting hints, bounds need no reconciliation, and
/// `==` compares counts and sums. Source: Prometheus v3.14 promql/histogram_stats_iterator.go.
///
/// | hint | before it in a window | becomes |
/// |---|---|---|
/// | reset, not reset, gauge | any | stays |
/// | unknown | nothing | unknown |
/// | unknown | a histogram | reset or not reset |
pub fn histogram_stats(histograms: &[TimedHistogram], windows: &RangeWindows) -> Vec<TimedHistogram> {
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
        let before = previous.replace(timed).filter(|before| in_one_stretch(before.at, timed.at, windows));
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

/// Do the windows cover both times and all between them? Prometheus jumps over what lies between windows, and then knows
/// nothing of what was before.
fn in_one_stretch(before_ms: i64, time_ms: i64, windows: &RangeWindows) -> bool {
    if windows.end_step_ms <= windows.range_ms {
        return true;
    }
    // Windows apart from each other: both must be in the same one.
    let step_of = |time: i64| time.saturating_sub(windows.first_end_ms).saturating_add(windows.end_step_ms - 1);
    let step = step_of(time_ms).div_euclid(windows.end_step_ms);
    let end_ms = windows.first_end_ms.saturating_add(step.saturating_mul(windows.end_step_ms));
    before_ms > end_ms.saturating_sub(windows.range_ms)
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
        assert_eq!(hints(&series, &windows), [Unknown, NotReset, Unknown, Unknown, NotReset, Unknown]);
        // Windows that touch leave no gap.
        assert_eq!(hints(&series, &grid(20, 20, 20, 20))[1..], [NotReset; 5]);
    }
}
