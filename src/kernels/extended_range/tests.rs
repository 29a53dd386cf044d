use proptest::prelude::*;

use super::super::cells::collect_cells;
use super::super::range_function::tests::series;
use super::super::windows::tests::{any_timestamps_with_gaps, any_windows, grid};
use super::ExtendedFunction::{Changes, Delta, Increase, Rate, Resets};
use super::WindowExtension::{Anchored, Smoothed};
use super::*;

const FUNCTIONS: [ExtendedFunction; 5] = [Changes, Delta, Increase, Rate, Resets];

/// A window of the last `range_seconds` before `time_seconds`, with a lookback of 30 s.
fn window(extension: WindowExtension, (time_seconds, range_seconds): (i64, i64)) -> ExtendedWindows {
    ExtendedWindows { windows: grid(time_seconds * 1000, 1, 1, range_seconds * 1000), extension, lookback_ms: 30_000 }
}

/// One value every 10 s, `_` for none.
fn check(
    function: ExtendedFunction,
    extension: WindowExtension,
    notation: &str,
    window_seconds: (i64, i64),
    expected: Option<f64>,
) {
    let (times, values) = series(notation);
    let windows = window(extension, window_seconds);
    let cells = collect_cells(|out| evaluate_extended_range(function, &times, &values, &windows, out));
    assert_eq!(cells, [expected], "{}({notation} {window_seconds:?} {extension:?})", function.name());
}

fn check_edges(extension: WindowExtension, notation: &str, window_seconds: (i64, i64), expected: &[(i64, f64)]) {
    let (times, values) = series(notation);
    let (times, values) = extend_to_edges(&times, &values, &window(extension, window_seconds));
    let points: Vec<(i64, f64)> = times.into_iter().map(|time| time / 1000).zip(values).collect();
    assert_eq!(points, expected, "{notation} {window_seconds:?} {extension:?}");
}

fn check_smooth(notation: &str, times_seconds: Range<i64>, expected: &[Option<f64>]) {
    let (times, values) = series(notation);
    let count = expected.len();
    let step_ms = (times_seconds.end - times_seconds.start) * 1000 / count as i64;
    let windows = grid(times_seconds.start * 1000, step_ms, count, 0);
    let windows = ExtendedWindows { windows, extension: Smoothed, lookback_ms: 30_000 };
    let cells = collect_cells(|out| smooth_to_steps(&times, &values, &windows, out));
    assert_eq!(cells, expected, "{notation}");
}

#[test]
fn the_last_sample_before_the_window_anchors_it() {
    check(Increase, Anchored, "1 2 _ 4 5", (30, 15), Some(2.0));
    check(Increase, Anchored, "1 2 3 4 5", (30, 15), Some(2.0));
    // On the left edge it is before the window.
    check(Increase, Anchored, "1 2 3 4 5", (30, 10), Some(1.0));
    check(Rate, Anchored, "1 2 3 4 5", (30, 10), Some(0.1));
    // Nothing before it: the first sample inside.
    check(Increase, Anchored, "_ _ 3 4 9", (40, 30), Some(6.0));
    check(Increase, Anchored, "_ _ 3", (40, 30), Some(0.0));
}

#[test]
fn without_a_sample_after_the_left_edge_there_is_nothing_to_measure() {
    for function in FUNCTIONS {
        check(function, Anchored, "1 2 3", (40, 20), None);
        check(function, Smoothed, "1 2 3", (40, 20), None);
        check(function, Smoothed, "", (40, 20), None);
        // Behind the window is too late.
        check(function, Smoothed, "_ _ _ 5", (20, 10), None);
        check(function, Anchored, "_ _ _ 5", (20, 10), None);
    }
}

#[test]
fn an_anchor_older_than_the_lookback_does_not_count() {
    check(Delta, Anchored, "1 _ _ _ _ 5 8", (60, 25), Some(3.0));
    // Its age is measured from the left edge: 25 s, and 30 s, which is out.
    check(Delta, Anchored, "1 _ _ _ 5 8", (50, 25), Some(7.0));
    check(Delta, Anchored, "1 _ _ _ 5 8", (50, 20), Some(3.0));
}

#[test]
fn edges_between_two_samples_lie_on_their_line() {
    check(Delta, Smoothed, "0 10 30 60", (25, 10), Some(45.0 - 20.0));
    // No sample inside at all.
    check(Delta, Smoothed, "0 _ _ 30", (20, 10), Some(10.0));
    // After the last sample and before the first the line is flat.
    check(Delta, Smoothed, "0 10 30", (35, 20), Some(30.0 - 20.0));
    check(Delta, Smoothed, "_ 10 30", (15, 15), Some(20.0 - 10.0));
}

#[test]
fn a_smoothed_counter_that_fell_starts_at_zero() {
    check(Increase, Smoothed, "100 10", (5, 20), Some(5.0 - 100.0 + 100.0));
    check(Delta, Smoothed, "100 10", (5, 20), Some(55.0 - 100.0));
    // The left edge lies in the fall: what was before does not count.
    check(Increase, Smoothed, "100 10", (10, 5), Some(5.0));
    check(Increase, Smoothed, "9 8 5 4", (25, 20), Some((2.0 - 4.0) + (8.0 + 5.0)));
}

#[test]
fn falls_and_changes_count_from_the_anchor_on() {
    check(Resets, Anchored, "9 8 9 8 7", (40, 25), Some(2.0));
    check(Changes, Anchored, "9 8 9 8 7", (40, 25), Some(3.0));
    check(Changes, Anchored, "9 9 9 8 8", (40, 20), Some(1.0));
    check(Increase, Anchored, "9 5 6 2 3", (40, 35), Some((3.0 - 9.0) + (9.0 + 6.0)));
    check(Increase, Anchored, "9 5 6 2", (30, 30), Some((2.0 - 9.0) + (9.0 + 6.0)));
}

#[test]
fn a_smoothed_selector_draws_lines() {
    check_smooth("1 2 4", 0..25, &[Some(1.0), Some(1.5), Some(2.0), Some(3.0), Some(4.0)]);
    // Carried on for less than a lookback; nothing before the first sample.
    check_smooth("_ 7", 0..50, &[None, Some(7.0), Some(7.0), Some(7.0), None]);
    // Both neighbours must be within the lookback; that behind may be exactly so far away.
    check_smooth("0 _ _ _ _ _ 60", 0..70, &[Some(0.0), Some(0.0), Some(0.0), None, None, None, Some(60.0)]);
    check_smooth("0 _ _ _ 40", 0..50, &[Some(0.0), Some(10.0), Some(20.0), None, Some(40.0)]);
}

#[test]
fn a_range_as_the_result_has_a_sample_at_each_edge() {
    check_edges(Anchored, "1 2 4 8", (25, 20), &[(5, 1.0), (10, 2.0), (20, 4.0), (25, 4.0)]);
    check_edges(Smoothed, "1 2 4 8", (25, 20), &[(5, 1.5), (10, 2.0), (20, 4.0), (25, 6.0)]);
    check_edges(Smoothed, "1 2 4 8", (20, 10), &[(10, 2.0), (20, 4.0)]);
    check_edges(Anchored, "1 2 4 8", (20, 10), &[(10, 2.0), (20, 4.0)]);
    check_edges(Anchored, "1", (20, 10), &[]);
    // No anchor, and none before: the first value stands at the edge as well.
    check_edges(Anchored, "_ 2", (15, 10), &[(5, 2.0), (10, 2.0), (15, 2.0)]);
    // As Prometheus: a sample behind the window fills it.
    check_edges(Smoothed, "_ _ _ 5", (20, 10), &[(10, 5.0), (20, 5.0)]);
    // It is not known to be a counter.
    check_edges(Smoothed, "100 10", (5, 20), &[(-15, 100.0), (0, 100.0), (5, 55.0)]);
}

#[test]
fn hostile_windows_and_samples_that_do_not_ascend_do_no_harm() {
    let times = [5, i64::MIN, i64::MAX, 5, 5];
    let values = [1.0, f64::NAN, f64::INFINITY, -1.0, 2.0];
    for (extension, start_ms, range_ms, lookback_ms) in [Anchored, Smoothed].into_iter().flat_map(|extension| {
        let edges = [i64::MIN, -1, 0, 6, i64::MAX];
        let pairs = edges.into_iter().flat_map(move |a| edges.into_iter().map(move |b| (a, b)));
        pairs.flat_map(move |(a, b)| edges.into_iter().map(move |c| (extension, a, b, c)))
    }) {
        let windows = ExtendedWindows { windows: grid(start_ms, 3, 3, range_ms), extension, lookback_ms };
        for function in FUNCTIONS {
            let cells = collect_cells(|out| evaluate_extended_range(function, &times, &values, &windows, out));
            assert_eq!(cells.len(), 3);
        }
        assert_eq!(collect_cells(|out| smooth_to_steps(&times, &values, &windows, out)).len(), 3);
        let (times, values) = extend_to_edges(&times, &values, &windows);
        assert_eq!(times.len(), values.len());
    }
}

/// The slow version: a counter or gauge as a line through points that were found by filters.
struct SlowSeries<'a> {
    points: &'a [(i64, f64)],
    falls_are_resets: bool,
}

impl SlowSeries<'_> {
    fn newest_until(&self, time: i64) -> Option<(i64, f64)> {
        self.points.iter().copied().rfind(|point| point.0 <= time)
    }

    fn oldest_from(&self, time: i64) -> Option<(i64, f64)> {
        self.points.iter().copied().find(|point| point.0 >= time)
    }

    fn smooth(&self, time: i64) -> Option<f64> {
        match (self.newest_until(time), self.oldest_from(time)) {
            (Some(before), Some(behind)) if before.0 < behind.0 => {
                let start = if self.falls_are_resets && behind.1 < before.1 { 0.0 } else { before.1 };
                Some(start + (behind.1 - start) * (time - before.0) as f64 / (behind.0 - before.0) as f64)
            }
            (before, behind) => before.or(behind).map(|point| point.1),
        }
    }

    /// The values at the edges and those between them; `None` where nothing is measured.
    fn walk(&self, extension: WindowExtension, start: i64, end: i64) -> Option<Vec<f64>> {
        self.points.iter().find(|point| start < point.0)?;
        self.newest_until(end).or(self.newest_until(start))?;
        let (left, right) = match extension {
            Anchored => (self.newest_until(start).or(self.oldest_from(start))?.1, self.newest_until(end)?.1),
            Smoothed => (self.smooth(start)?, self.smooth(end)?),
        };
        let inside = self.points.iter().filter(|point| start < point.0 && point.0 < end).map(|point| point.1);
        Some(std::iter::once(left).chain(inside).chain([right]).collect())
    }
}

fn slow(function: ExtendedFunction, points: &[(i64, f64)], windows: &ExtendedWindows, step: usize) -> Option<f64> {
    let end = windows.windows.first_end_ms + windows.windows.end_step_ms * step as i64;
    let start = end - windows.windows.range_ms;
    let reach = if windows.extension == Smoothed { windows.lookback_ms } else { 0 };
    let read: Vec<(i64, f64)> = points
        .iter()
        .copied()
        .filter(|(time, _)| start - windows.lookback_ms < *time && *time <= end + reach)
        .collect();
    let is_counter = matches!(function, Rate | Increase);
    let walk = SlowSeries { points: &read, falls_are_resets: is_counter }.walk(windows.extension, start, end)?;
    let falls = walk.windows(2).filter(|pair| pair[1] < pair[0]);
    let moved = walk[walk.len() - 1] - walk[0];
    Some(match function {
        Delta => moved,
        Increase => moved + falls.map(|pair| pair[0]).fold(0.0, |sum, value| sum + value),
        Rate => {
            (moved + falls.map(|pair| pair[0]).fold(0.0, |sum, value| sum + value)) / windows.windows.range_seconds()
        }
        Resets => falls.count() as f64,
        Changes => walk.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64,
    })
}

fn any_extended() -> impl Strategy<Value = ExtendedWindows> {
    (any_windows(), prop_oneof![Just(Anchored), Just(Smoothed)], 1i64..200_000)
        .prop_map(|(windows, extension, lookback_ms)| ExtendedWindows { windows, extension, lookback_ms })
}

/// Times and few different values, so that falls and equal neighbours are frequent.
fn any_series() -> impl Strategy<Value = Vec<(i64, f64)>> {
    (any_timestamps_with_gaps(1..90_000), proptest::collection::vec(-2i32..9, 60))
        .prop_map(|(times, values)| times.into_iter().zip(values.into_iter().map(f64::from)).collect())
}

proptest! {
    #[test]
    fn functions_agree_with_a_walk_from_edge_to_edge(points in any_series(), windows in any_extended()) {
        let (times, values): (Vec<i64>, Vec<f64>) = points.iter().copied().unzip();
        for function in ExtendedFunction::taking(windows.extension) {
            let cells = collect_cells(|out| evaluate_extended_range(*function, &times, &values, &windows, out));
            let expected: Vec<_> = (0..windows.windows.step_count).map(|step| slow(*function, &points, &windows, step)).collect();
            prop_assert_eq!(cells, expected, "{:?}", function);
        }
    }

    #[test]
    fn a_smoothed_selector_agrees_with_a_search(points in any_series(), windows in any_extended()) {
        let windows = ExtendedWindows { extension: Smoothed, windows: RangeWindows { range_ms: 0, ..windows.windows }, ..windows };
        let (times, values): (Vec<i64>, Vec<f64>) = points.iter().copied().unzip();
        let cells = collect_cells(|out| smooth_to_steps(&times, &values, &windows, out));
        let expected: Vec<_> = (0..windows.windows.step_count).map(|step| {
            let time = windows.windows.first_end_ms + windows.windows.end_step_ms * step as i64;
            let read: Vec<(i64, f64)> = points.iter().copied().filter(|point| (point.0 - time) > -windows.lookback_ms && point.0 - time <= windows.lookback_ms).collect();
            let series = SlowSeries { points: &read, falls_are_resets: false };
            series.newest_until(time).and_then(|_| series.smooth(time))
        }).collect();
        prop_assert_eq!(cells, expected);
    }

    #[test]
    fn a_range_as_the_result_is_the_same_walk(points in any_series(), windows in any_extended()) {
        let windows = ExtendedWindows { windows: RangeWindows { step_count: 1, ..windows.windows }, ..windows };
        let (times, values): (Vec<i64>, Vec<f64>) = points.iter().copied().unzip();
        let (result_times, result) = extend_to_edges(&times, &values, &windows);
        prop_assert_eq!(result_times.len(), result.len());
        prop_assert!(result_times.is_sorted());
        if let (Some(moved), [first, .., last]) = (slow(Delta, &points, &windows, 0), &result[..]) {
            prop_assert_eq!(moved, last - first);
            prop_assert_eq!(result_times[0], windows.windows.first_end_ms - windows.windows.range_ms);
            prop_assert_eq!(result_times[result_times.len() - 1], windows.windows.first_end_ms);
            let between = |time: &&i64| result_times[0] < **time && **time < windows.windows.first_end_ms;
            prop_assert_eq!(times.iter().filter(between).count(), result_times.len() - 2);
        }
    }
}
