//! From raw samples to the steps of a plain selector.

use std::sync::Arc;

use super::{CellSink, RangeWindows};
use crate::model::{Sample, TimedHistogram, is_stale};

/// The value of a plain selector at each step: the newest sample with `end - lookback < time ≤ end`, or nothing if there is
/// none or if it is the stale marker (older samples are not used then). `windows.range_ms` is the lookback.
///
/// `timestamps` ascend; `values` are raw, with stale markers. Pushes exactly `step_count` cells. As Prometheus v3.14
/// `vectorSelectorSingle`.
pub fn align_to_steps(timestamps: &[i64], values: &[f64], windows: &RangeWindows, out: &mut CellSink<'_>) {
    align_to_steps_timed(timestamps, values, windows, |cell| out.push(cell.map(|(value, _)| value)));
}

/// As [`align_to_steps`], and with the sample's own time in ms, which `timestamp()` asks for.
pub fn align_to_steps_timed(
    timestamps: &[i64],
    values: &[f64],
    windows: &RangeWindows,
    mut push: impl FnMut(Option<(f64, i64)>),
) {
    newest_at_steps(timestamps, values, windows, |cell| push(cell.filter(|(value, _)| !is_stale(*value))));
}

/// As [`align_to_steps_timed`], but a stale marker is a cell like any other: it ends the series for whoever holds older samples
/// of it elsewhere.
pub fn newest_at_steps(
    timestamps: &[i64],
    values: &[f64],
    windows: &RangeWindows,
    mut push: impl FnMut(Option<(f64, i64)>),
) {
    debug_assert_eq!(timestamps.len(), values.len());
    let length = timestamps.len().min(values.len());
    for span in windows.spans(&timestamps[..length]) {
        let newest = (!span.samples.is_empty()).then(|| span.samples.end - 1);
        push(newest.map(|at| (values[at], timestamps[at])));
    }
}

/// As [`align_to_steps_timed`], of a series that has histograms: the newest sample of either kind counts, and a stale marker of
/// either kind ends the series. Should there be both at one time, the histogram is the newer one.
pub fn align_mixed_to_steps(
    (timestamps, values): (&[i64], &[f64]),
    histograms: &[TimedHistogram],
    windows: &RangeWindows,
    mut push: impl FnMut(Option<(Sample, i64)>),
) {
    let is_shown = |cell: &(Sample, i64)| !cell.0.is_stale_marker();
    newest_mixed_at_steps((timestamps, values), histograms, windows, |cell| push(cell.filter(is_shown)));
}

/// As [`align_mixed_to_steps`], but a stale marker of either kind is a cell like any other.
pub fn newest_mixed_at_steps(
    (timestamps, values): (&[i64], &[f64]),
    histograms: &[TimedHistogram],
    windows: &RangeWindows,
    mut push: impl FnMut(Option<(Sample, i64)>),
) {
    debug_assert_eq!(timestamps.len(), values.len());
    let length = timestamps.len().min(values.len());
    let histogram_times: Vec<i64> = histograms.iter().map(|timed| timed.at).collect();
    for (floats, own) in windows.spans(&timestamps[..length]).zip(windows.spans(&histogram_times)) {
        let float = floats.samples.last().map(|at| (Sample::Float(values[at]), timestamps[at]));
        let histogram = own.samples.last().map(|at| &histograms[at]);
        let newest = match histogram {
            Some(timed) if float.as_ref().is_none_or(|(_, time)| *time <= timed.at) => {
                Some((Sample::Histogram(Arc::clone(&timed.histogram)), timed.at))
            }
            _ => float,
        };
        push(newest);
    }
}

/// The samples without stale markers, as range functions want them; `None` when there is none to remove, so that the
/// usual series costs no copy.
pub fn remove_stale(timestamps: &[i64], values: &[f64]) -> Option<(Vec<i64>, Vec<f64>)> {
    debug_assert_eq!(timestamps.len(), values.len());
    let first_stale = values.iter().position(|value| is_stale(*value))?;
    let mut kept_timestamps = timestamps[..first_stale].to_vec();
    let mut kept_values = values[..first_stale].to_vec();
    for (time, value) in timestamps[first_stale..].iter().zip(&values[first_stale..]) {
        if !is_stale(*value) {
            kept_timestamps.push(*time);
            kept_values.push(*value);
        }
    }
    Some((kept_timestamps, kept_values))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cells::collect_cells;
    use super::super::windows::tests::{any_timestamps, any_windows, grid};
    use super::*;
    use crate::model::{NativeHistogram, stale_marker};

    fn aligned(timestamps: &[i64], values: &[f64], windows: &RangeWindows) -> Vec<Option<f64>> {
        collect_cells(|out| align_to_steps(timestamps, values, windows, out))
    }

    #[test]
    fn a_sample_as_old_as_the_lookback_is_out() {
        assert_eq!(aligned(&[0], &[7.0], &grid(299_999, 1, 2, 300_000)), [Some(7.0), None]);
    }

    #[test]
    fn a_stale_marker_ends_the_series_at_once_and_older_samples_are_not_used() {
        let times = [0, 10_000, 20_000];
        let values = [1.0, stale_marker(), 3.0];
        assert_eq!(
            aligned(&times, &values, &grid(0, 5_000, 5, 300_000)),
            [Some(1.0), Some(1.0), None, None, Some(3.0)]
        );
    }

    #[test]
    fn an_ordinary_nan_is_a_value() {
        let cells = aligned(&[0], &[f64::NAN], &grid(0, 1_000, 1, 300_000));
        assert!(cells[0].expect("a sample").is_nan());
    }

    #[test]
    fn the_time_of_the_sample_is_told_not_that_of_the_step() {
        let mut cells = Vec::new();
        align_to_steps_timed(&[1_234], &[5.0], &grid(1_000, 1_000, 3, 1_500), |cell| cells.push(cell));
        assert_eq!(cells, [None, Some((5.0, 1_234)), None]);
    }

    fn counted(at: i64, sum: f64) -> TimedHistogram {
        let histogram = NativeHistogram { sum, ..NativeHistogram::default() };
        TimedHistogram { at, start_time: None, histogram: Arc::new(histogram) }
    }

    /// Sums of histograms are written as they are, numbers as their negative.
    fn aligned_mixed(
        floats: (&[i64], &[f64]),
        histograms: &[TimedHistogram],
        windows: &RangeWindows,
    ) -> Vec<Option<(f64, i64)>> {
        let mut cells = Vec::new();
        align_mixed_to_steps(floats, histograms, windows, |cell| {
            cells.push(cell.map(|(sample, time)| match sample {
                Sample::Float(value) => (-value, time),
                Sample::Histogram(histogram) => (histogram.sum, time),
            }));
        });
        cells
    }

    #[test]
    fn the_newest_sample_of_either_kind_counts_and_a_stale_marker_of_either_kind_ends_the_series() {
        let floats = (&[0, 20_000, 50_000][..], &[1.0, 2.0, stale_marker()][..]);
        let histograms = [counted(10_000, 5.0), counted(30_000, stale_marker()), counted(60_000, 6.0)];
        assert_eq!(
            aligned_mixed(floats, &histograms, &grid(0, 10_000, 7, 15_000)),
            [Some((-1.0, 0)), Some((5.0, 10_000)), Some((-2.0, 20_000)), None, None, None, Some((6.0, 60_000)),]
        );
    }

    #[test]
    fn only_stale_markers_are_removed() {
        assert_eq!(remove_stale(&[1, 2], &[1.0, f64::NAN]), None);
        let (times, values) = remove_stale(&[1, 2, 3], &[1.0, stale_marker(), f64::INFINITY]).expect("one removed");
        assert_eq!((times, values), (vec![1, 3], vec![1.0, f64::INFINITY]));
        assert_eq!(remove_stale(&[1], &[stale_marker()]), Some((vec![], vec![])));
    }

    proptest! {
        #[test]
        fn lookback_is_the_last_of_a_filter(
            timestamps in any_timestamps(),
            windows in any_windows(),
            seed in proptest::collection::vec(0u8..4, 60),
        ) {
            let values: Vec<f64> = timestamps.iter().zip(&seed)
                .map(|(time, kind)| if *kind == 0 { stale_marker() } else { *time as f64 }).collect();
            let cells = aligned(&timestamps, &values, &windows);
            prop_assert_eq!(cells.len(), windows.step_count);
            for (step, cell) in cells.iter().enumerate() {
                let end = windows.first_end_ms + step as i64 * windows.end_step_ms;
                let slow = timestamps.iter().zip(&values)
                    .rfind(|(time, _)| end - windows.range_ms < **time && **time <= end)
                    .map(|(_, value)| *value)
                    .filter(|value| !is_stale(*value));
                prop_assert_eq!(*cell, slow);
            }
        }

        #[test]
        fn looking_back_on_both_kinds_is_the_last_of_a_filter(
            timestamps in any_timestamps(),
            windows in any_windows(),
            seed in proptest::collection::vec(0u8..6, 60),
        ) {
            let (mut times, mut values, mut histograms, mut all) = (vec![], vec![], vec![], vec![]);
            for (time, kind) in timestamps.iter().zip(&seed) {
                let value = if kind % 3 == 0 { stale_marker() } else { *time as f64 };
                if *kind < 3 {
                    times.push(*time);
                    values.push(value);
                } else {
                    histograms.push(counted(*time, value));
                }
                all.push((*time, if *kind < 3 { -value } else { value }, is_stale(value)));
            }
            let cells = aligned_mixed((&times, &values), &histograms, &windows);
            prop_assert_eq!(cells.len(), windows.step_count);
            for (step, cell) in cells.iter().enumerate() {
                let end = windows.end_ms(step);
                let slow = all.iter().rfind(|(time, ..)| end - windows.range_ms < *time && *time <= end);
                let slow = slow.filter(|(.., stale)| !stale).map(|(time, value, _)| (*value, *time));
                prop_assert_eq!(*cell, slow);
            }
        }
    }
}
