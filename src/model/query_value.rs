//! The answer to a query, still as Arrow tables.

use arrow::record_batch::RecordBatch;

use super::{StepGrid, TimestampMs};

/// What a PromQL query evaluates to.
#[derive(Clone, Debug)]
pub enum QueryValue {
    /// A scalar at an instant.
    Scalar {
        /// Evaluation time.
        time: TimestampMs,
        /// The value.
        value: f64,
    },
    /// A string literal at an instant.
    String {
        /// Evaluation time.
        time: TimestampMs,
        /// The text.
        text: String,
    },
    /// An instant vector: steps tables of one step, in evaluation order.
    Vector {
        /// Evaluation time, carried by every sample.
        time: TimestampMs,
        /// Steps tables with N = 1.
        batches: Vec<RecordBatch>,
    },
    /// A range query's result: steps tables on `grid`, sorted by labels.
    Matrix {
        /// The grid of the cells.
        grid: StepGrid,
        /// Steps tables with N = `grid.step_count()`.
        batches: Vec<RecordBatch>,
    },
    /// An instant query of a range selector: samples tables, sorted by labels, without stale markers.
    Samples {
        /// Samples tables.
        batches: Vec<RecordBatch>,
    },
}
