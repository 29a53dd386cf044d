//! Functions that look at how a value moves: `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`.

use super::CellSink;
use super::range_function::{Window, WindowedSeries};
use super::sliding_count::{SlidingCount, SlidingFalls};

/// `rate`: see [`extrapolated`].
pub(crate) fn rate(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let per_seconds = series.windows.range_seconds();
    slide_counter(series, out, |factor| factor / per_seconds);
}

/// `increase`: see [`extrapolated`].
pub(crate) fn increase(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    slide_counter(series, out, |factor| factor);
}

/// O(1) a step and reset in its window, amortised.
fn slide_counter(series: &WindowedSeries<'_>, out: &mut CellSink<'_>, scale_factor: impl Fn(f64) -> f64) {
    let mut falls = SlidingFalls::default();
    series.slide(out, |window| {
        let before_falls = falls.within(series.values, window.samples());
        extrapolated(window, Movement::Counter { before_falls }, &scale_factor)
    });
}

/// `delta`: see [`extrapolated`]. O(1) a step.
pub(crate) fn delta(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    series.slide(out, |window| extrapolated(window, Movement::Gauge, |factor| factor));
}

/// `resets`: how often a value is below the one before. O(1) a step, amortised.
pub(crate) fn count_resets(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let mut count = SlidingCount::of(is_reset);
    series.slide(out, |window| Some(count.within(series.values, window.samples()) as f64));
}

/// `changes`: how often a value differs from the one before. O(1) a step, amortised.
pub(crate) fn count_changes(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let mut count = SlidingCount::of(is_change);
    series.slide(out, |window| Some(count.within(series.values, window.samples()) as f64));
}

/// How a value may move.
#[derive(Copy, Clone, Debug)]
enum Movement<'a> {
    /// Only up, from zero; a fall is a reset.
    Counter {
        /// The values before the falls inside the window, in order.
        before_falls: &'a [f64],
    },
    /// Up and down.
    Gauge,
}

/// How far a value moved in the window, carried on to the window's edges where the samples come close to them; `None` of
/// fewer than two samples. As Prometheus v3.14 `extrapolatedRate`.
fn extrapolated(window: &Window<'_>, movement: Movement<'_>, scale_factor: impl Fn(f64) -> f64) -> Option<f64> {
    let (Some(&first), Some(&last)) = (window.values.first(), window.values.last()) else { return None };
    let gap_count = window.values.len() - 1;
    if gap_count == 0 {
        return None;
    }
    let (first_ms, last_ms) = (window.timestamps[0], window.timestamps[gap_count]);

    let mut moved = last - first;
    if let Movement::Counter { before_falls } = movement {
        // One addition after the other to the difference, as Prometheus does: another order rounds otherwise.
        moved = before_falls.iter().fold(moved, |moved, before| moved + before);
    }

    let sampled_seconds = seconds_between(first_ms, last_ms);
    let gap_seconds = sampled_seconds / gap_count as f64;
    let mut start_gap = edge_gap(seconds_between(window.start_ms, first_ms), gap_seconds);
    if matches!(movement, Movement::Counter { .. }) && moved > 0.0 && first >= 0.0 {
        // A counter cannot have been negative: it was zero so long ago at most, and the window counts from there.
        let since_zero = sampled_seconds * (first / moved);
        if since_zero < start_gap {
            start_gap = since_zero;
        }
    }
    let end_gap = edge_gap(seconds_between(last_ms, window.end_ms), gap_seconds);

    let factor = (sampled_seconds + start_gap + end_gap) / sampled_seconds;
    Some(moved * scale_factor(factor))
}

/// How far to carry the movement on towards an edge: all the way when a sample could still have come before the edge (up
/// to 10 % late), else half a gap, which is our guess for where the series began or ended.
fn edge_gap(to_edge_seconds: f64, gap_seconds: f64) -> f64 {
    if to_edge_seconds >= gap_seconds * 1.1 { gap_seconds / 2.0 } else { to_edge_seconds }
}

fn seconds_between(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

/// `irate`: after a reset the last value is itself the increase. `None` of fewer than two samples or of two at one time.
pub(crate) fn instant_rate(window: &Window<'_>) -> Option<f64> {
    let LastTwo { before, last, apart_ms } = LastTwo::of(window)?;
    let moved = if last < before { last } else { last - before };
    Some(moved / (apart_ms as f64 / 1000.0))
}

/// `idelta`. `None` of fewer than two samples or of two at one time.
pub(crate) fn instant_delta(window: &Window<'_>) -> Option<f64> {
    LastTwo::of(window).map(|LastTwo { before, last, .. }| last - before)
}

struct LastTwo {
    before: f64,
    last: f64,
    apart_ms: i64,
}

impl LastTwo {
    fn of(window: &Window<'_>) -> Option<Self> {
        let ([.., before, last], [.., before_ms, last_ms]) = (window.values, window.timestamps) else { return None };
        let apart_ms = last_ms.saturating_sub(*before_ms);
        (apart_ms != 0).then_some(Self { before: *before, last: *last, apart_ms })
    }
}

/// `resets` of values. A comparison with NaN is false, so a NaN is not a reset.
pub(crate) fn resets(values: &[f64]) -> f64 {
    values.windows(2).filter(|pair| is_reset(pair[0], pair[1])).count() as f64
}

/// `changes` of values; NaN after NaN is no change.
pub(crate) fn changes(values: &[f64]) -> f64 {
    values.windows(2).filter(|pair| is_change(pair[0], pair[1])).count() as f64
}

fn is_reset(before: f64, value: f64) -> bool {
    value < before
}

fn is_change(before: f64, value: f64) -> bool {
    before != value && !(before.is_nan() && value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::super::RangeFunction::{Changes, Delta, Idelta, Increase, Irate, Rate, Resets};
    use super::super::range_function::tests::check;

    #[test]
    fn a_counter_that_grows_evenly_grows_so_over_the_whole_window() {
        check(Increase, "0 10 20 30 40 50", (50, 50), &[], Some(50.0));
        check(Rate, "0 10 20 30 40 50", (50, 50), &[], Some(1.0));
        check(Rate, "0 10 20 30 40 50", (55, 50), &[], Some(1.0));
    }

    #[test]
    fn one_sample_has_no_rate() {
        for function in [Rate, Increase, Delta, Irate, Idelta] {
            check(function, "0 _ _ 30", (30, 30), &[], None);
        }
    }

    #[test]
    fn the_value_before_a_fall_is_added() {
        check(Increase, "5 10 20 3 8", (40, 40), &[], Some((8.0 - 10.0 + 20.0) / 30.0 * 40.0));
        check(Delta, "5 10 20 3 8", (40, 40), &[], Some(-2.0 * (40.0 / 30.0)));
    }

    #[test]
    fn a_gap_of_more_than_a_tenth_over_the_spacing_is_carried_on_by_half_a_spacing() {
        // Samples at 30, 40, 50 s; 20 s are missing at the left, 12 s at the right.
        check(Delta, "_ _ _ 1 2 3", (62, 52), &[], Some(2.0 * (30.0 / 20.0)));
        // At 10.9 s the window still belongs to the series.
        let (timestamps, values) = super::super::range_function::tests::series("_ _ _ 1 2 3");
        let windows = super::super::windows::tests::grid(60_900, 1, 1, 40_900);
        let cells = super::super::cells::collect_cells(|out| {
            super::super::evaluate_range_function(Delta, &timestamps, &values, &windows, &[], out)
                .expect("no parameters");
        });
        assert_eq!(cells, [Some(2.0 * ((20.0 + 10.0 + 10.9) / 20.0))]);
    }

    #[test]
    fn a_counter_is_not_carried_below_zero_but_a_gauge_is() {
        // It was zero 2 s before the first sample.
        check(Increase, "_ 2 12 22", (30, 30), &[], Some(20.0 * ((20.0 + 2.0) / 20.0)));
        check(Delta, "_ 2 12 22", (30, 30), &[], Some(20.0 * (30.0 / 20.0)));
        // The limit does not hold for a first value below zero or without growth.
        check(Increase, "_ -2 8 18", (30, 30), &[], Some(20.0 * (30.0 / 20.0)));
        check(Increase, "_ 5 5 5", (30, 30), &[], Some(0.0));
    }

    #[test]
    fn nan_is_not_a_reset_but_spoils_the_sum_where_it_counts() {
        check(Increase, "0 10 NaN 30 40", (40, 50), &[], Some(40.0));
        check(Increase, "0 10 20 NaN", (30, 40), &[], Some(f64::NAN));
        check(Resets, "5 NaN 3 2", (30, 40), &[], Some(1.0));
    }

    #[test]
    fn instant_functions_look_at_the_last_two_samples() {
        check(Irate, "0 10 30 60", (30, 40), &[], Some(3.0));
        check(Irate, "0 10 30 _ 7", (40, 50), &[], Some(7.0 / 20.0));
        check(Idelta, "0 10 30 7", (30, 40), &[], Some(-23.0));
        check(Irate, "0 10 NaN", (20, 40), &[], Some(f64::NAN));
    }

    #[test]
    fn two_samples_at_one_time_have_no_instant_rate() {
        let windows = super::super::windows::tests::grid(10, 1, 1, 100);
        for function in [Irate, Idelta] {
            let cells = super::super::cells::collect_cells(|out| {
                let result = super::super::evaluate_range_function(function, &[5, 5], &[1.0, 2.0], &windows, &[], out);
                result.expect("no parameters");
            });
            assert_eq!(cells, [None]);
        }
    }

    #[test]
    fn resets_and_changes_are_counted() {
        check(Resets, "1 2 1 0 5 5 4", (60, 100), &[], Some(3.0));
        check(Changes, "1 2 1 0 5 5 4", (60, 100), &[], Some(5.0));
        check(Changes, "1 NaN NaN 2 2", (60, 100), &[], Some(2.0));
        check(Resets, "7", (0, 10), &[], Some(0.0));
        check(Changes, "7", (0, 10), &[], Some(0.0));
    }
}
