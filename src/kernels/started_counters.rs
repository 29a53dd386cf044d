//! `rate`, `increase`, `irate` and `resets` of a series whose samples say when their counter began to count.
//!
//! A start timestamp shows resets that the values hide, and where it lies inside the window the counter was zero there: no
//! guess is needed. A series without any start timestamps goes through `counter_functions` and gives the same numbers.
//!
//! What is a reset is found once for the whole series; a window then costs as much as it has resets.

use std::ops::Range;

use super::start_time::{is_start_time_reset, start_times_overlap};
use super::{CellSink, RangeFunction, RangeWindows};

/// Samples without stale markers, with their start timestamps; three slices of one length.
#[derive(Copy, Clone, Debug)]
pub struct StartedSamples<'a> {
    /// Ascending times in ms.
    pub timestamps: &'a [i64],
    /// A value for each time.
    pub values: &'a [f64],
    /// When the counter behind each sample began, in ms; 0 = unknown.
    pub start_times: &'a [i64],
}

/// Does the function look at start timestamps?
pub fn looks_at_start_times(function: RangeFunction) -> bool {
    use RangeFunction::{Increase, Irate, Rate, Resets};
    matches!(function, Rate | Increase | Irate | Resets)
}

/// Evaluates a function that looks at start timestamps over one series, step by step; pushes exactly `windows.step_count`
/// cells. Gives the steps in whose windows `rate` or `increase` met a sample that claims to have begun before the sample
/// before it was taken.
///
/// As Prometheus v3.14 promql/functions.go `extrapolatedRate`, `instantValue` and `funcResets`.
pub fn evaluate_started_counter(
    function: RangeFunction,
    samples: StartedSamples<'_>,
    windows: &RangeWindows,
    out: &mut CellSink<'_>,
) -> Vec<usize> {
    debug_assert!(looks_at_start_times(function));
    debug_assert!(
        samples.timestamps.len() == samples.values.len() && samples.values.len() == samples.start_times.len()
    );
    let mut resets = SlidingPositions::find(samples.values.len(), |at| samples.is_reset(at));
    let mut overlaps = SlidingPositions::find(samples.values.len(), |at| samples.is_overlap(at));
    let per_seconds = match function {
        RangeFunction::Rate => windows.range_seconds(),
        _ => 1.0,
    };
    let mut overlapping_steps = Vec::new();
    for span in windows.spans(samples.timestamps) {
        if span.samples.is_empty() {
            out.push(None);
            continue;
        }
        let window = StartedWindow { samples, inside: span.samples, start_ms: span.start_ms, end_ms: span.end_ms };
        let resets = resets.within(&window.inside);
        out.push(match function {
            RangeFunction::Resets => Some(resets.len() as f64),
            RangeFunction::Irate => window.instant_rate(),
            _ => {
                if !overlaps.within(&window.inside).is_empty() {
                    overlapping_steps.push(span.step);
                }
                window.extrapolated(resets, per_seconds)
            }
        });
    }
    overlapping_steps
}

impl StartedSamples<'_> {
    /// Is there a reset between a sample and the one before it? A comparison with NaN is false.
    fn is_reset(&self, at: usize) -> bool {
        let before = at - 1;
        self.values[at] < self.values[before]
            || is_start_time_reset(
                self.start_times[before],
                self.timestamps[before],
                self.start_times[at],
                self.timestamps[at],
            )
    }

    fn is_overlap(&self, at: usize) -> bool {
        start_times_overlap(self.start_times[at - 1], self.timestamps[at - 1], self.start_times[at])
    }
}

/// Positions of samples that stand in some relation to the one before them, as windows move over the series.
struct SlidingPositions {
    positions: Vec<usize>,
    inside: Range<usize>,
}

impl SlidingPositions {
    fn find(length: usize, holds: impl Fn(usize) -> bool) -> Self {
        Self { positions: (1..length).filter(|at| holds(*at)).collect(), inside: 0..0 }
    }

    /// Those that stand in the window with the sample before them. Neither edge of a window may go back.
    fn within(&mut self, window: &Range<usize>) -> &[usize] {
        let is_before = |at: Option<&usize>, edge: usize| at.is_some_and(|at| *at < edge);
        while is_before(self.positions.get(self.inside.start), window.start + 1) {
            self.inside.start += 1;
        }
        self.inside.end = self.inside.end.max(self.inside.start);
        while is_before(self.positions.get(self.inside.end), window.end) {
            self.inside.end += 1;
        }
        &self.positions[self.inside.clone()]
    }
}

/// The samples in one window; never empty.
struct StartedWindow<'a> {
    samples: StartedSamples<'a>,
    inside: Range<usize>,
    start_ms: i64,
    end_ms: i64,
}

impl StartedWindow<'_> {
    /// How far the counter moved in the window. Where the first sample's counter began inside the window it was zero there;
    /// else the movement is carried on to the window's edges as without start timestamps.
    fn extrapolated(&self, resets: &[usize], per_seconds: f64) -> Option<f64> {
        let StartedSamples { timestamps, values, start_times } = self.samples;
        let (first, last) = (self.inside.start, self.inside.end - 1);
        let mut moved = resets.iter().fold(values[last] - values[first], |moved, at| moved + values[at - 1]);

        let gap_count = last - first;
        let mut sampled_seconds = seconds_between(timestamps[first], timestamps[last]);
        let gap_seconds = if gap_count > 0 { sampled_seconds / gap_count as f64 } else { 0.0 };
        let began = start_times[first];
        let start_gap = if began != 0 && began > self.start_ms && began < timestamps[first] {
            sampled_seconds = seconds_between(began, timestamps[last]);
            moved += values[first];
            0.0
        } else if gap_count == 0 {
            return None;
        } else {
            let start_gap = edge_gap(seconds_between(self.start_ms, timestamps[first]), gap_seconds);
            gap_since_zero(start_gap, sampled_seconds, values[first], moved)
        };
        let end_gap = edge_gap(seconds_between(timestamps[last], self.end_ms), gap_seconds);

        let mut factor = 1.0;
        if sampled_seconds != 0.0 {
            factor = (sampled_seconds + start_gap + end_gap) / sampled_seconds;
        }
        Some(moved * (factor / per_seconds))
    }

    /// After a reset the last value is itself the increase. `None` of fewer than two samples or of two at one time.
    fn instant_rate(&self) -> Option<f64> {
        let last = self.inside.end - 1;
        if last == self.inside.start {
            return None;
        }
        let StartedSamples { timestamps, values, .. } = self.samples;
        let apart_ms = timestamps[last].saturating_sub(timestamps[last - 1]);
        let moved = if self.samples.is_reset(last) { values[last] } else { values[last] - values[last - 1] };
        (apart_ms != 0).then(|| moved / (apart_ms as f64 / 1000.0))
    }
}

/// All the way to an edge if a sample could still have come before it (up to 10 % late), else half a gap.
fn edge_gap(to_edge_seconds: f64, gap_seconds: f64) -> f64 {
    if to_edge_seconds >= gap_seconds * 1.1 { gap_seconds / 2.0 } else { to_edge_seconds }
}

/// A counter cannot have been negative: it was zero so long before its first sample at most.
fn gap_since_zero(start_gap: f64, sampled_seconds: f64, first: f64, moved: f64) -> f64 {
    if moved > 0.0 && first >= 0.0 {
        let since_zero = sampled_seconds * (first / moved);
        if since_zero < start_gap {
            return since_zero;
        }
    }
    start_gap
}

fn seconds_between(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cells::collect_cells;
    use super::super::evaluate_range_function;
    use super::super::windows::tests::{any_timestamps, any_windows, grid};
    use super::*;

    const FUNCTIONS: [RangeFunction; 4] =
        [RangeFunction::Rate, RangeFunction::Increase, RangeFunction::Irate, RangeFunction::Resets];

    fn started(function: RangeFunction, samples: StartedSamples<'_>, windows: &RangeWindows) -> Vec<Option<f64>> {
        collect_cells(|out| {
            evaluate_started_counter(function, samples, windows, out);
        })
    }

    /// Values a minute apart from 1 m on, with the distance of each start in seconds (`_` = unknown). The function at 6 m over 5 m.
    fn at_six_minutes(function: RangeFunction, notation: &str) -> (Option<f64>, usize) {
        let (mut timestamps, mut values, mut start_times) = (Vec::new(), Vec::new(), Vec::new());
        for (at, word) in notation.split_whitespace().enumerate().filter(|(_, word)| *word != "_") {
            let time = (at as i64 + 1) * 60_000;
            let (value, start) = word.split_once('@').expect("value@start");
            timestamps.push(time);
            values.push(value.parse::<f64>().expect("a number"));
            start_times.push(start.parse::<f64>().map_or(0, |seconds| time + (seconds * 1000.0) as i64));
        }
        let samples = StartedSamples { timestamps: &timestamps, values: &values, start_times: &start_times };
        let mut overlapping = Vec::new();
        let cells = collect_cells(|out| {
            overlapping = evaluate_started_counter(function, samples, &grid(360_000, 1, 1, 300_000), out);
        });
        (cells[0], overlapping.len())
    }

    #[test]
    fn a_start_shows_a_reset_that_the_values_hide() {
        use RangeFunction::{Increase, Irate, Resets};
        // The counter of the third sample began 30 s before it.
        let hidden = "_ 0@_ 60@_ 120@-30 180@-90 240@-150";
        assert_eq!(at_six_minutes(Resets, hidden), (Some(1.0), 0));
        assert_eq!(at_six_minutes(Increase, hidden), (Some(300.0), 0));
        assert_eq!(at_six_minutes(Resets, "_ 0@_ 60@_ 120@_ 180@_ 240@_"), (Some(0.0), 0));
        assert_eq!(at_six_minutes(Irate, "_ _ _ _ 60@_ 120@-30"), (Some(2.0), 0));
        assert_eq!(at_six_minutes(Irate, "_ _ _ _ 60@_ 120@_"), (Some(1.0), 0));
    }

    #[test]
    fn the_counter_was_zero_where_it_began_inside_of_the_window() {
        use RangeFunction::{Increase, Rate};
        assert_eq!(at_six_minutes(Increase, "_ 5@-30 7@-90 9@-150 11@-210 13@-270"), (Some(13.0), 0));
        // One sample is enough then.
        assert_eq!(at_six_minutes(Increase, "_ _ _ 3@-60 _ _"), (Some(3.0), 0));
        assert_eq!(at_six_minutes(Rate, "_ _ _ 3@-60 _ _"), (Some(3.0 * (1.0 / 300.0)), 0));
        // Not at its edge, nor at or after the sample.
        for start in ["-180", "-200", "0", "1", "_"] {
            assert_eq!(at_six_minutes(Increase, &format!("_ _ _ 3@{start} _ _")), (None, 0), "{start}");
        }
    }

    #[test]
    fn a_start_before_the_previous_sample_that_is_not_its_start_is_counted() {
        assert_eq!(at_six_minutes(RangeFunction::Rate, "_ _ _ 60@-120 120@-120 180@-120").1, 1);
        assert_eq!(at_six_minutes(RangeFunction::Rate, "_ _ _ 60@-60 120@-60 180@-60").1, 0);
        assert_eq!(at_six_minutes(RangeFunction::Irate, "_ _ _ 60@-120 120@-120 180@-120").1, 0);
    }

    /// The same in the words of the source, one window at a time.
    fn slow(function: RangeFunction, samples: StartedSamples<'_>, windows: &RangeWindows) -> Vec<Option<f64>> {
        let cell = |end: i64| {
            let start = end - windows.range_ms;
            let inside: Vec<(i64, f64, i64)> = (0..samples.values.len())
                .map(|at| (samples.timestamps[at], samples.values[at], samples.start_times[at]))
                .filter(|(time, ..)| start < *time && *time <= end)
                .collect();
            let is_reset = |pair: &[(i64, f64, i64)]| {
                pair[1].1 < pair[0].1 || is_start_time_reset(pair[0].2, pair[0].0, pair[1].2, pair[1].0)
            };
            let (first, last) = (*inside.first()?, *inside.last()?);
            match function {
                RangeFunction::Resets => return Some(inside.windows(2).filter(|pair| is_reset(pair)).count() as f64),
                RangeFunction::Irate => {
                    let pair = inside.get(inside.len().checked_sub(2)?..)?;
                    let moved = if is_reset(pair) { pair[1].1 } else { pair[1].1 - pair[0].1 };
                    return Some(moved / ((pair[1].0 - pair[0].0) as f64 / 1000.0));
                }
                _ => {}
            }
            let mut moved = last.1 - first.1;
            for pair in inside.windows(2).filter(|pair| is_reset(pair)) {
                moved += pair[0].1;
            }
            let mut to_start = (first.0 - start) as f64 / 1000.0;
            let mut to_end = (end - last.0) as f64 / 1000.0;
            let mut sampled = (last.0 - first.0) as f64 / 1000.0;
            let average = if inside.len() > 1 { sampled / (inside.len() - 1) as f64 } else { 0.0 };
            if first.2 != 0 && first.2 > start && first.2 < first.0 {
                to_start = 0.0;
                sampled = (last.0 - first.2) as f64 / 1000.0;
                moved += first.1;
            } else if inside.len() == 1 {
                return None;
            } else {
                if to_start >= average * 1.1 {
                    to_start = average / 2.0;
                }
                if moved > 0.0 && first.1 >= 0.0 && sampled * (first.1 / moved) < to_start {
                    to_start = sampled * (first.1 / moved);
                }
            }
            if to_end >= average * 1.1 {
                to_end = average / 2.0;
            }
            let mut factor = (sampled + to_start + to_end) / sampled;
            if function == RangeFunction::Rate {
                factor /= windows.range_ms as f64 / 1000.0;
            }
            Some(moved * factor)
        };
        (0..windows.step_count).map(|step| cell(windows.end_ms(step))).collect()
    }

    /// Bits, with every NaN the same.
    fn bits(cells: &[Option<f64>]) -> Vec<Option<u64>> {
        cells.iter().map(|cell| cell.map(|value| if value.is_nan() { u64::MAX } else { value.to_bits() })).collect()
    }

    proptest! {
        #[test]
        fn windows_give_what_the_slow_version_gives(
            timestamps in any_timestamps(),
            windows in any_windows(),
            drawn in proptest::collection::vec((0u8..12, -3i64..4, -90_000i64..30_000), 60),
        ) {
            let values: Vec<f64> = drawn.iter().map(|(kind, small, _)| match kind {
                0 => f64::NAN,
                1 => f64::INFINITY,
                _ => f64::from(*kind) * 0.7 + *small as f64,
            }).collect();
            // Unknown, at, before and around the sample before, or anywhere.
            let start_times: Vec<i64> = timestamps.iter().enumerate().map(|(at, time)| match drawn[at].0 {
                0..3 => 0,
                3..6 if at > 0 => timestamps[at - 1] + drawn[at].1.min(0),
                6 if at > 0 => timestamps[at - 1] + drawn[at].1,
                _ => time + drawn[at].2,
            }).collect();
            let samples = StartedSamples {
                timestamps: &timestamps,
                values: &values[..timestamps.len()],
                start_times: &start_times,
            };
            for function in FUNCTIONS {
                prop_assert_eq!(
                    bits(&started(function, samples, &windows)),
                    bits(&slow(function, samples, &windows)),
                    "{}", function.name()
                );
            }
        }

        #[test]
        fn unknown_starts_change_nothing(timestamps in any_timestamps(), windows in any_windows(), seed in any::<u64>()) {
            let values: Vec<f64> = (0..timestamps.len() as u64).map(|at| (seed.wrapping_mul(at * at + 1) % 100) as f64).collect();
            let unknown = vec![0; timestamps.len()];
            let samples = StartedSamples { timestamps: &timestamps, values: &values, start_times: &unknown };
            for function in FUNCTIONS {
                let plain = collect_cells(|out| {
                    evaluate_range_function(function, &timestamps, &values, &windows, &[], out).expect("no parameters");
                });
                prop_assert_eq!(bits(&started(function, samples, &windows)), bits(&plain), "{}", function.name());
            }
        }
    }
}
