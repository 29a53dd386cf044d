//! Timed steps of a part of a grid on all of it, and without the samples that do not count.

use arrow::record_batch::RecordBatch;

use super::coverage::TimeSpan;
use crate::error::Error;
use crate::model::{DurationMs, StepGrid, StepsTable, StepsTableBuilder, TimestampMs};

/// A timed steps table on the steps `asked` as one on the steps `whole`, of which they are a part. Of `counted`, only the steps
/// up to its end whose samples lie in it stay: what is seen at the steps behind it is another question.
pub(super) fn on_whole_grid(
    table: &RecordBatch,
    asked: StepGrid,
    whole: StepGrid,
    counted: Option<TimeSpan>,
) -> Result<RecordBatch, Error> {
    let is_kept = |step: TimestampMs, time: i64| {
        counted.is_none_or(|counted| step <= counted.end && counted.contains(TimestampMs(time)))
    };
    rebuilt(table, whole, |step| asked.index_of(step), is_kept)
}

/// What was seen at one moment, if it counts, at every later step of `tail` whose lookback still reaches the sample.
pub(super) fn spread_on_whole_grid(
    table: &RecordBatch,
    tail: StepGrid,
    whole: StepGrid,
    lookback: DurationMs,
    counted: TimeSpan,
) -> Result<RecordBatch, Error> {
    let is_kept =
        |step: TimestampMs, time: i64| counted.contains(TimestampMs(time)) && time > step.saturating_sub(lookback).0;
    rebuilt(table, whole, |step| tail.index_of(step).map(|_| 0), is_kept)
}

/// Each step of `whole` gets the cell that `cell_of` names, if the step and the sample's time are kept.
fn rebuilt(
    table: &RecordBatch,
    whole: StepGrid,
    cell_of: impl Fn(TimestampMs) -> Option<usize>,
    is_kept: impl Fn(TimestampMs, i64) -> bool,
) -> Result<RecordBatch, Error> {
    let view = StepsTable::try_new(table)?;
    let cells: Vec<(TimestampMs, Option<usize>)> = whole.times().map(|step| (step, cell_of(step))).collect();
    let mut builder = StepsTableBuilder::timed(whole.step_count());
    for row in 0..view.row_count() {
        let samples = view.samples(row)?;
        let kept = |(step, cell): &(TimestampMs, Option<usize>)| {
            let cell = (*cell)?;
            let time = view.sample_time(row, cell).filter(|time| is_kept(*step, *time))?;
            Some((samples.get(cell)?.clone()?, time))
        };
        if cells.iter().any(|cell| kept(cell).is_some()) {
            cells.iter().for_each(|cell| builder.push_timed_sample(kept(cell)));
            builder.finish_series(view.labels(row).as_bytes());
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Sample};

    fn grid(start: i64, step_count: usize) -> StepGrid {
        StepGrid::with_count(TimestampMs(start), DurationMs(10), step_count)
    }

    fn table(cells: &[Option<i64>]) -> RecordBatch {
        let mut builder = StepsTableBuilder::timed(cells.len());
        cells.iter().for_each(|time| builder.push_timed_sample(time.map(|time| (Sample::Float(time as f64), time))));
        builder.finish_series(Labels::from_pairs([("a", "b")]).encode().as_bytes());
        builder.finish()
    }

    /// The sample times of the one series; nothing where it is gone.
    fn times(table: &RecordBatch) -> Vec<Option<i64>> {
        let view = StepsTable::try_new(table).expect("a steps table");
        (0..view.step_count()).filter(|_| view.row_count() > 0).map(|step| view.sample_time(0, step)).collect()
    }

    #[test]
    fn steps_find_their_places_and_lose_what_does_not_count() {
        let (asked, whole) = (grid(20, 3), grid(0, 6));
        let seen = table(&[Some(11), Some(30), Some(39)]);
        let placed = on_whole_grid(&seen, asked, whole, None).expect("a steps table");
        assert_eq!(times(&placed), [None, None, Some(11), Some(30), Some(39), None]);
        let counted = TimeSpan { start: TimestampMs(12), end: TimestampMs(35) };
        let placed = on_whole_grid(&seen, asked, whole, Some(counted)).expect("a steps table");
        assert_eq!(times(&placed), [None, None, None, Some(30), None, None]);
        let spread = spread_on_whole_grid(&table(&[Some(31)]), grid(40, 2), whole, DurationMs(19), counted);
        assert_eq!(times(&spread.expect("a steps table")), [None, None, None, None, Some(31), None]);
        let none = on_whole_grid(&table(&[Some(1), None, None]), asked, whole, Some(counted)).expect("a steps table");
        assert_eq!(times(&none), []);
    }
}
