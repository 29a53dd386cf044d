//! Functions that look at how a value moves: `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`.

use super::CellSink;
use super::range_function::{Window, WindowedSeries};

/// `rate`: see [`extrapolated`].
pub(crate) fn rate(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let per_seconds = series.windows.range_seconds();
    series.slide(out, |window| extrapolated(window, Movement::Counter, |factor| factor / per_seconds));
}

/// `increase`: see [`extrapolated`].
pub(crate) fn increase(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    series.slide(out, |window| extrapolated(window, Movement::Counter, |factor| factor));
}

/// `delta`: see [`extrapolated`].
pub(crate) fn delta(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    series.slide(out, |window| extrapolated(window, Movement::Gauge, |factor| factor));
}

/// How a value may move.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Movement {
    /// Only up, from zero; a fall is a reset.
    Counter,
    /// Up and down.
    Gauge,
}

/// How far a value moved in the window, carried on to the window's edges where the samples come close to them; `None` of
/// fewer than two samples. As Prometheus v3.14 `extrapolatedRate`.
fn extrapolated(window: &Window<'_>, movement: Movement, scale_factor: impl Fn(f64) -> f64) -> Option<f64> {
    let (Some(&first), Some(&last)) = (window.values.first(), window.values.last()) else { return None };
    let gap_count = window.values.len() - 1;
    if gap_count == 0 {
        return None;
    }
    let (first_ms, last_ms) = (window.timestamps[0], window.timestamps[gap_count]);

    let mut moved = last - first;
    if movement == Movement::Counter {
        moved = with_resets(moved, window.values);
    }

    let sampled_seconds = seconds_between(first_ms, last_ms);
    let gap_seconds = sampled_seconds / gap_count as f64;
    let mut start_gap = edge_gap(seconds_between(window.start_ms, first_ms), gap_seconds);
    if movement == Movement::Counter && moved > 0.0 && first >= 0.0 {
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

/// Adds the value before each fall. Comparisons with NaN are false, so a NaN is not a reset.
fn with_resets(moved: f64, values: &[f64]) -> f64 {
    values.windows(2).fold(moved, |sum, pair| if pair[1] < pair[0] { sum + pair[0] } else { sum })
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

/// `resets`: how often a value is below the one before.
pub(crate) fn resets(values: &[f64]) -> f64 {
    values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64
}

/// `changes`: how often a value differs from the one before; NaN after NaN is no change.
pub(crate) fn changes(values: &[f64]) -> f64 {
    values.windows(2).filter(|pair| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan())).count() as f64
}
