use std::sync::Arc;

use proptest::prelude::*;

use super::super::cells::collect_cells;
use super::super::windows::tests::{any_timestamps_with_gaps, any_windows, grid};
use super::super::{MixedCells, MixedSeries, RangeNote, StartTimes};
use super::ExtendedFunction::{Changes, Delta, Increase, Rate, Resets};
use super::WindowExtension::{Anchored, Smoothed};
use super::*;
use crate::model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, NativeHistogram, Sample, TimedHistogram, stale_marker,
};

/// So many observations, all in one bucket.
fn histogram(count: f64, hint: CounterResetHint) -> NativeHistogram {
    let positive = Buckets { spans: vec![BucketSpan { offset: 1, length: 1 }], counts: vec![count] };
    NativeHistogram { counter_reset_hint: hint, count, sum: 2.0 * count, positive, ..NativeHistogram::default() }
}

fn with_bounds(count: f64, bounds: &[f64]) -> NativeHistogram {
    let plain = histogram(count, CounterResetHint::Unknown);
    let positive = Buckets { spans: vec![BucketSpan { offset: 0, length: 1 }], ..plain.positive };
    NativeHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_bounds: bounds.into(), positive, ..plain }
}

/// One word every 10 s: a number, `_`, or a histogram: `h3`, reset `r3`, not reset `n3`, gauge `g3`, custom bounds 1 and 2
/// `c3`, custom bounds 1 and 3 `d3`.
struct Series {
    times: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<TimedHistogram>,
}

impl Series {
    fn new(notation: &str) -> Self {
        let mut series = Self { times: Vec::new(), values: Vec::new(), histograms: Vec::new() };
        for (at, word) in notation.split_whitespace().enumerate().filter(|(_, word)| *word != "_") {
            let (kind, rest) = word.split_at(1);
            let count = || rest.parse::<f64>().expect("a count");
            let found = match kind {
                "h" => histogram(count(), CounterResetHint::Unknown),
                "r" => histogram(count(), CounterResetHint::Reset),
                "n" => histogram(count(), CounterResetHint::NotReset),
                "g" => histogram(count(), CounterResetHint::Gauge),
                "c" => with_bounds(count(), &[1.0, 2.0]),
                "d" => with_bounds(count(), &[1.0, 3.0]),
                _ => {
                    series.times.push(at as i64 * 10_000);
                    series.values.push(word.parse().expect("a number"));
                    continue;
                }
            };
            let at = at as i64 * 10_000;
            series.histograms.push(TimedHistogram { at, start_time: None, histogram: Arc::new(found) });
        }
        series
    }

    fn mixed(&self) -> MixedSeries<'_> {
        MixedSeries { timestamps: &self.times, values: &self.values, start_times: None, histograms: &self.histograms }
    }
}

/// Numbers as they are, of histograms the count.
fn numbers(cells: &MixedCells) -> Vec<Option<f64>> {
    let number = |sample: &Sample| match sample {
        Sample::Float(value) => *value,
        Sample::Histogram(histogram) => {
            assert_eq!(histogram.sum, 2.0 * histogram.count, "{histogram:?}");
            assert_eq!(histogram.positive.counts.iter().sum::<f64>(), histogram.count, "{histogram:?}");
            histogram.count
        }
    };
    cells.cells.iter().map(|cell| cell.as_ref().map(number)).collect()
}

/// A window of the last `range_seconds` before `time_seconds`, with a lookback of 30 s.
fn check(
    function: ExtendedFunction,
    extension: WindowExtension,
    notation: &str,
    (time_seconds, range_seconds): (i64, i64),
    (expected, notes): (Option<f64>, &[RangeNote]),
) -> MixedCells {
    let windows = grid(time_seconds * 1000, 1, 1, range_seconds * 1000);
    let windows = ExtendedWindows { windows, extension, lookback_ms: 30_000 };
    let series = Series::new(notation);
    let got = evaluate_mixed_extended_range(function, series.mixed(), &windows, StartTimes::Ignored);
    assert_eq!(numbers(&got), [expected], "{}({notation} {extension:?})", function.name());
    assert_eq!(got.notes.iter().collect::<Vec<_>>(), notes, "{}({notation} {extension:?})", function.name());
    got
}

fn check_smooth(notation: &str, time_seconds: i64, expected: Option<f64>, notes: &[RangeNote]) -> MixedCells {
    let windows = grid(time_seconds * 1000, 1, 1, 0);
    let windows = ExtendedWindows { windows, extension: Smoothed, lookback_ms: 30_000 };
    let got = smooth_mixed_to_steps(Series::new(notation).mixed(), &windows);
    assert_eq!(numbers(&got), [expected], "{notation} at {time_seconds}");
    assert_eq!(got.notes.iter().collect::<Vec<_>>(), notes, "{notation} at {time_seconds}");
    got
}

fn hint_of(cells: &MixedCells) -> CounterResetHint {
    let sample = cells.cells[0].as_ref().and_then(Sample::as_histogram);
    sample.expect("a histogram").counter_reset_hint
}

#[test]
fn a_histogram_moves_from_edge_to_edge_and_is_a_gauge_then() {
    let got = check(Increase, Anchored, "h1 h2 h4 h8", (30, 15), (Some(6.0), &[]));
    assert_eq!(hint_of(&got), CounterResetHint::Gauge);
    check(Rate, Anchored, "h1 h2 h4 h8", (30, 20), (Some(0.3), &[]));
    check(Increase, Smoothed, "h1 h2 h4 h8", (25, 20), (Some(4.5), &[]));
    check(Delta, Anchored, "g9 g2 g4 g8", (30, 30), (Some(-1.0), &[]));
    check(Increase, Anchored, "h1 h2", (50, 20), (None, &[]));
    check(Increase, Smoothed, "_ _ _ h2", (20, 10), (None, &[]));
}

#[test]
fn what_stood_before_a_reset_is_added_once() {
    check(Increase, Anchored, "h5 h9 h3 h4", (30, 30), (Some(8.0), &[]));
    // The hint of the last one is seen once, though it is the right edge, too.
    check(Increase, Anchored, "h5 h9 r9", (25, 25), (Some(13.0), &[]));
    check(Increase, Anchored, "h5 r5", (10, 10), (Some(5.0), &[]));
    // The left edge lies in a reset: it is on the line from zero, and that reset is not added again.
    check(Increase, Smoothed, "n8 r4 n6", (20, 15), (Some(4.0), &[]));
    check(Increase, Smoothed, "h8 r4 r2 h4", (25, 20), (Some(5.0), &[]));
    check(Increase, Smoothed, "h8 r4", (8, 4), (Some(1.6), &[]));
    check(Increase, Smoothed, "h5 h9 r4", (15, 10), (Some((2.0 - 7.0) + 9.0), &[]));
}

#[test]
fn a_gauge_is_no_counter_and_a_counter_no_gauge() {
    check(Increase, Anchored, "h1 g2 h4", (20, 20), (Some(3.0), &[RangeNote::NotCounter]));
    check(Delta, Anchored, "h1 g2 h4", (20, 20), (Some(3.0), &[RangeNote::NotGauge]));
    check(Delta, Anchored, "g1 h2 g4", (20, 20), (Some(3.0), &[]));
    // Nothing is said about what lies outside.
    check(Increase, Anchored, "g1 h1 h2", (20, 10), (Some(1.0), &[]));
}

#[test]
fn kinds_of_samples_and_of_buckets_do_not_mix() {
    check(Increase, Anchored, "1 h2 h4", (20, 15), (None, &[RangeNote::MixedFloatsAndHistograms]));
    // What is read counts, even if it is older than the anchor.
    check(Increase, Anchored, "1 h2 h4", (20, 10), (None, &[RangeNote::MixedFloatsAndHistograms]));
    check(Increase, Smoothed, "_ h2 h4 5", (20, 10), (None, &[RangeNote::MixedFloatsAndHistograms]));
    check(Increase, Anchored, "_ 2 5", (20, 10), (Some(3.0), &[]));
    check(Increase, Anchored, "h1 c2 h4", (20, 20), (None, &[RangeNote::MixedSchemas]));
    check(Delta, Smoothed, "h1 c2", (15, 10), (None, &[RangeNote::MixedSchemas]));
    check(Increase, Anchored, "c1 c4", (10, 10), (Some(3.0), &[]));
    check(Increase, Anchored, "c1 d4", (10, 10), (Some(3.0), &[RangeNote::ReconciledInSubtraction]));
}

#[test]
fn resets_and_changes_go_from_the_newest_sample_of_either_kind() {
    for (function, expected) in [(Resets, 1.0), (Changes, 1.0)] {
        check(function, Anchored, "1 2 3 h4", (30, 10), (Some(expected), &[]));
        check(function, Anchored, "h1 h2 h3 5", (30, 10), (Some(expected), &[]));
        check(function, Anchored, "h1 h2 5 2 3", (30, 10), (Some(expected), &[]));
        check(function, Anchored, "h1 h2", (40, 20), (None, &[]));
    }
    check(Resets, Anchored, "h1 h2 5 2 3", (40, 10), (Some(0.0), &[]));
    check(Changes, Anchored, "h1 h1 h1 h2", (30, 15), (Some(1.0), &[]));
    check(Changes, Anchored, "5 _ _ h1 h1", (40, 15), (Some(1.0), &[]));
}

#[test]
fn a_start_timestamp_behind_the_sample_before_is_a_reset_where_they_count() {
    let windows = ExtendedWindows { windows: grid(20_000, 1, 1, 10_000), extension: Anchored, lookback_ms: 30_000 };
    let numbers_of = |starts: &[i64], use_of_starts| {
        let series = MixedSeries {
            timestamps: &[0, 10_000, 20_000],
            values: &[1.0, 2.0, 3.0],
            start_times: Some(starts),
            histograms: &[],
        };
        numbers(&evaluate_mixed_extended_range(Resets, series, &windows, use_of_starts))
    };
    assert_eq!(numbers_of(&[0, 5_000, 15_000], StartTimes::Used), [Some(1.0)]);
    assert_eq!(numbers_of(&[0, 5_000, 15_000], StartTimes::Ignored), [Some(0.0)]);
    // Before the anchor nobody looks.
    assert_eq!(numbers_of(&[0, 5_000, 5_000], StartTimes::Used), [Some(0.0)]);
}

#[test]
fn a_smoothed_selector_draws_lines_between_histograms() {
    check_smooth("h1 h2", 5, Some(1.5), &[]);
    check_smooth("_ h2", 5, None, &[]);
    check_smooth("h8 r4", 5, Some(2.0), &[]);
    check_smooth("h8 h4", 5, Some(2.0), &[]);
    // A gauge has no resets, if both say that they are gauges.
    check_smooth("g8 g4", 5, Some(6.0), &[]);
    check_smooth("g8 h4", 5, Some(2.0), &[]);
    // The hint holds where the sample is, not behind it.
    assert_eq!(hint_of(&check_smooth("h8 r4", 10, Some(4.0), &[])), CounterResetHint::Reset);
    assert_eq!(hint_of(&check_smooth("h8 r4", 15, Some(4.0), &[])), CounterResetHint::Unknown);
    check_smooth("h8 c9", 5, None, &[RangeNote::MixedSchemas]);
    check_smooth("c8 d9", 5, Some(8.5), &[RangeNote::ReconciledInAddition, RangeNote::ReconciledInSubtraction]);
    check_smooth("1 h9", 15, None, &[RangeNote::MixedFloatsAndHistograms]);
    check_smooth("1 _ _ _ _ _ h9", 20, Some(1.0), &[]);
}

#[test]
fn histograms_out_of_order_and_contradictory_ones_do_no_harm() {
    let odd = NativeHistogram {
        count: f64::NAN,
        sum: stale_marker(),
        positive: Buckets { spans: vec![BucketSpan { offset: i32::MAX, length: u32::MAX }], counts: vec![1.0] },
        ..NativeHistogram::default()
    };
    let items: Vec<TimedHistogram> = [7, i64::MIN, i64::MAX, 7, 6]
        .into_iter()
        .map(|at| TimedHistogram { at, start_time: Some(i64::MIN), histogram: Arc::new(odd.clone()) })
        .collect();
    let series = MixedSeries { timestamps: &[], values: &[], start_times: None, histograms: &items };
    for extension in [Anchored, Smoothed] {
        for range_ms in [i64::MIN, -1, 0, 1, i64::MAX] {
            let windows = ExtendedWindows { windows: grid(6, 1, 3, range_ms), extension, lookback_ms: 5 };
            for function in ExtendedFunction::taking(Anchored) {
                let got = evaluate_mixed_extended_range(*function, series, &windows, StartTimes::Used);
                assert_eq!(got.cells.len(), 3);
            }
            assert_eq!(smooth_mixed_to_steps(series, &windows).cells.len(), 3);
        }
    }
}

fn any_counts() -> impl Strategy<Value = Vec<(i64, f64)>> {
    (any_timestamps_with_gaps(1..90_000), proptest::collection::vec(0u8..9, 60))
        .prop_map(|(times, counts)| times.into_iter().zip(counts.into_iter().map(f64::from)).collect())
}

proptest! {
    #[test]
    fn histograms_of_one_bucket_move_as_their_counts(
        points in any_counts(),
        windows in any_windows(),
        is_smoothed in any::<bool>(),
        lookback_ms in 1i64..200_000,
    ) {
        let extension = if is_smoothed { Smoothed } else { Anchored };
        let windows = ExtendedWindows { windows, extension, lookback_ms };
        let (times, counts): (Vec<i64>, Vec<f64>) = points.iter().copied().unzip();
        let items: Vec<TimedHistogram> = points
            .iter()
            .map(|(at, count)| {
                let histogram = Arc::new(histogram(*count, CounterResetHint::Unknown));
                TimedHistogram { at: *at, start_time: None, histogram }
            })
            .collect();
        let series = MixedSeries { timestamps: &[], values: &[], start_times: None, histograms: &items };
        for function in ExtendedFunction::taking(extension) {
            let floats = collect_cells(|out| evaluate_extended_range(*function, &times, &counts, &windows, out));
            let got = evaluate_mixed_extended_range(*function, series, &windows, StartTimes::Ignored);
            let got: Vec<Option<f64>> = got.cells.iter().map(|cell| cell.as_ref().map(count_of)).collect();
            prop_assert!(are_near(&floats, &got), "{function:?}: {floats:?} but {got:?}");
        }
    }

    #[test]
    fn numbers_alone_are_what_they_are_without_histograms(
        points in any_counts(),
        windows in any_windows(),
        is_smoothed in any::<bool>(),
    ) {
        let extension = if is_smoothed { Smoothed } else { Anchored };
        let windows = ExtendedWindows { windows, extension, lookback_ms: 60_000 };
        let (timestamps, values): (Vec<i64>, Vec<f64>) = points.iter().copied().unzip();
        let series = MixedSeries { timestamps: &timestamps, values: &values, start_times: None, histograms: &[] };
        for function in ExtendedFunction::taking(extension) {
            let floats = collect_cells(|out| evaluate_extended_range(*function, &timestamps, &values, &windows, out));
            let got = evaluate_mixed_extended_range(*function, series, &windows, StartTimes::Ignored);
            let got: Vec<Option<f64>> = got.cells.iter().map(|cell| cell.as_ref().map(count_of)).collect();
            prop_assert_eq!(floats, got);
        }
        let floats = collect_cells(|out| smooth_to_steps(&timestamps, &values, &windows, out));
        let got = smooth_mixed_to_steps(series, &windows);
        prop_assert_eq!(floats, got.cells.iter().map(|cell| cell.as_ref().map(count_of)).collect::<Vec<_>>());
    }
}

fn count_of(sample: &Sample) -> f64 {
    match sample {
        Sample::Float(value) => *value,
        Sample::Histogram(histogram) => histogram.count,
    }
}

fn are_near(a: &[Option<f64>], b: &[Option<f64>]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|pair| match pair {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * (1.0 + a.abs()),
            (a, b) => a == b,
        })
}
