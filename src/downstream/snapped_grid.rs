//! Grids for servers that move range queries to multiples of their step (`align_query_range_with_step`), as Mimir and Cortex can.
//!
//! Such a server evaluates at other times than it was asked for. It is asked for multiples, which it leaves alone, and its
//! selectors look ahead by what the multiples are too early: `x offset -5s` at 60 s is `x` at 65 s. So the values are those of
//! the steps, where promxy shows those of up to a step before.
//!
//! | steps | asked | of | the answer is moved by |
//! |---|---|---|---|
//! | 65, 125, 185 s | 60, 120, 180 s | `x offset -5000ms` | 5 s |
//! | 60, 120, 180 s | 60, 120, 180 s | `x` | nothing |
//! | 65 s alone | 65 s, which no server moves | `x` | nothing |

use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{DurationMs, SamplesTable, SamplesTableBuilder, StepGrid};

/// How far the steps of a grid lie behind the multiples of its step.
pub(super) fn behind_multiples(grid: StepGrid) -> DurationMs {
    if grid.step_count() == 1 || grid.step().0 <= 0 {
        return DurationMs(0);
    }
    DurationMs(grid.start().0.rem_euclid(grid.step().0))
}

/// A selector that sees at a time what the plain one sees `by` later.
pub(super) fn looking_ahead(selector: &str, by: DurationMs) -> String {
    if by.0 == 0 { selector.to_owned() } else { format!("{selector} offset -{}ms", by.0) }
}

/// The samples, as many milliseconds later.
pub(super) fn later(table: RecordBatch, by: DurationMs) -> Result<RecordBatch, Error> {
    if by.0 == 0 {
        return Ok(table);
    }
    let view = SamplesTable::try_new(&table)?;
    let mut builder = SamplesTableBuilder::default();
    let mut moved = Vec::new();
    for row in 0..view.row_count() {
        let (times, values) = view.series(row);
        moved.clear();
        moved.extend(times.iter().map(|time| time.saturating_add(by.0)));
        builder.extend_samples(&moved, values);
        builder.finish_series(view.labels(row).as_bytes());
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimestampMs;

    #[test]
    fn grids_are_asked_on_multiples_of_their_step() {
        for (start, step, step_count, behind) in
            [(65, 60, 3, 5), (60, 60, 3, 0), (-5, 60, 3, 55), (65, 60, 1, 0), (7, 10, 2, 7), (7, 1, 2, 0)]
        {
            let grid = StepGrid::with_count(TimestampMs(start), DurationMs(step), step_count);
            let by = behind_multiples(grid);
            assert_eq!(by, DurationMs(behind), "{start} {step}");
            if step_count > 1 {
                assert!(grid.shifted_back(by).times().all(|time| time.0.rem_euclid(step) == 0));
            }
        }
    }

    #[test]
    fn samples_are_moved_with_their_series() {
        let mut builder = SamplesTableBuilder::default();
        builder.extend_samples(&[60, 120], &[1.0, 2.0]);
        builder.finish_series(b"a\0x\0");
        let moved = later(builder.finish(), DurationMs(5)).expect("a samples table");
        let view = SamplesTable::try_new(&moved).expect("a samples table");
        assert_eq!((view.series(0), view.labels(0).as_bytes()), ((&[65, 125][..], &[1.0, 2.0][..]), &b"a\0x\0"[..]));
        assert_eq!(looking_ahead("x{a=\"b\"}", DurationMs(5)), "x{a=\"b\"} offset -5ms");
        assert_eq!(looking_ahead("x", DurationMs(0)), "x");
    }
}
