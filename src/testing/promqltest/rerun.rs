//! The same case asked in another way: as the middle of a range.

use crate::model::{DurationMs, StepGrid, TimestampMs};

/// The range of three steps with `time` in its middle.
pub fn surrounding_range(time: TimestampMs) -> StepGrid {
    const MINUTE: DurationMs = DurationMs(60_000);
    StepGrid::with_count(time - MINUTE, MINUTE, 3)
}

/// Would the query mean something else as a range query?
pub fn depends_on_range(query: &str) -> bool {
    ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call))
}
