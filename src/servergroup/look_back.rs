//! Raw samples as what a plain selector sees at each step.

use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::kernels::{RangeWindows, newest_at_steps, newest_mixed_at_steps};
use crate::model::{DurationMs, Sample, SamplesTable, StepGrid, StepsTableBuilder, stale_marker};

/// A samples table as a timed steps table: at each step the newest sample not older than `lookback`. A stale marker is the
/// number that it is, whichever kind of sample it ends: another group may hold older samples of the series, which are not to be
/// seen any more. Series without any step leave no row.
pub(super) fn look_back(table: &RecordBatch, grid: StepGrid, lookback: DurationMs) -> Result<RecordBatch, Error> {
    let samples = SamplesTable::try_new(table)?;
    let windows = RangeWindows {
        first_end_ms: grid.start().0,
        end_step_ms: grid.step().0,
        first_eval_ms: grid.start().0,
        eval_step_ms: grid.step().0,
        step_count: grid.step_count(),
        range_ms: lookback.0,
    };
    let mut builder = StepsTableBuilder::timed(grid.step_count());
    let (mut cells, mut mixed_cells) = (Vec::with_capacity(grid.step_count()), Vec::new());
    for row in 0..samples.row_count() {
        let (times, values) = samples.series(row);
        if samples.histograms().row_len(row) > 0 {
            let histograms = samples.histograms().row(row)?;
            mixed_cells.clear();
            newest_mixed_at_steps((times, values), &histograms, &windows, |cell| {
                mixed_cells.push(cell.map(plain_marker))
            });
            if mixed_cells.iter().any(Option::is_some) {
                mixed_cells.drain(..).for_each(|cell| builder.push_timed_sample(cell));
                builder.finish_series(samples.labels(row).as_bytes());
            }
            continue;
        }
        cells.clear();
        newest_at_steps(times, values, &windows, |cell| cells.push(cell));
        if cells.iter().any(Option::is_some) {
            cells.iter().for_each(|cell| builder.push_timed_cell(*cell));
            builder.finish_series(samples.labels(row).as_bytes());
        }
    }
    Ok(builder.finish())
}

fn plain_marker((sample, time): (Sample, i64)) -> (Sample, i64) {
    if sample.is_stale_marker() { (Sample::Float(stale_marker()), time) } else { (sample, time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, SamplesTableBuilder, StepsTable, TimestampMs};

    #[test]
    fn each_step_sees_the_newest_sample_within_the_lookback() {
        let labels = |name: &str| Labels::from_pairs([("__name__", name)]).encode();
        let mut builder = SamplesTableBuilder::default();
        builder.extend_samples(&[5, 15], &[1.0, stale_marker()]);
        builder.finish_series(labels("ended").as_bytes());
        builder.extend_samples(&[-10], &[1.0]);
        builder.finish_series(labels("old").as_bytes());
        builder.extend_samples(&[5], &[1.0]);
        builder.push_histogram(15, None, std::sync::Arc::default());
        builder.finish_series(labels("with a histogram").as_bytes());
        let grid = StepGrid::with_count(TimestampMs(0), DurationMs(10), 4);
        let table = look_back(&builder.finish(), grid, DurationMs(10)).expect("a samples table");
        let steps = StepsTable::try_new(&table).expect("a steps table");
        let times = |row| (0..4).map(|step| steps.sample_time(row, step)).collect::<Vec<_>>();
        assert_eq!(steps.row_count(), 2);
        assert_eq!(times(0), [None, Some(5), Some(15), None]);
        assert!(steps.cell(0, 2).is_some_and(crate::model::is_stale), "older samples elsewhere are ended too");
        assert_eq!(times(1), [None, Some(5), Some(15), None]);
        assert_eq!((steps.cell(1, 1), steps.cell(1, 2)), (Some(1.0), None), "the last is a histogram");
    }
}
