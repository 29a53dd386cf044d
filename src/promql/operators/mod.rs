//! Operators that need whole tables: vector matching, set operators, topk, histogram quantiles, absent, scalar, sorting.
//!
//! Each is a value with one pure method from tables to a table, in a file of its own. One logical node and one physical
//! operator carry them all through DataFusion. Why not joins and window functions: Prometheus decides per step whether a
//! match group is unique and names the offending series in its error; a join loses both (ADR 0012).

mod absent;
mod bucket_repair;
mod count_values;
mod exec;
mod histogram_function;
mod info;
mod info_series;
mod limit;
mod name_marks;
mod node;
mod quantile;
mod scalar_of;
mod set_operator;
mod sort_vector;
mod table;
mod top;
mod unique_series;
mod vector_match;

pub use absent::Absent;
pub use count_values::CountValues;
pub use histogram_function::{HistogramCall, HistogramFunction};
pub use info::Info;
pub use limit::{Limit, LimitKind};
pub use name_marks::UniteNameMarks;
pub use node::{SeriesNode, SeriesPlanner};
pub use quantile::GroupQuantile;
pub use scalar_of::ScalarOf;
pub use set_operator::{SetOperator, SetOperatorKind};
pub use sort_vector::{SortByLabel, SortVector};
pub use table::{Grouping, Table};
pub use top::{Parameter, Top, TopKind};
pub use unique_series::{Duplicates, UniqueSeries};
pub use vector_match::{ResultName, VectorMatch, match_group};

use std::fmt::Debug;

use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::scan::SeriesTable;

/// From steps tables to a steps table.
pub trait SeriesOperator: Debug + Send + Sync + 'static {
    /// Name and parameters, as EXPLAIN shows them. Two operators with the same description are the same.
    fn describe(&self) -> String;

    /// Steps of the result.
    fn step_count(&self) -> usize;

    /// Computes the result of whole inputs. Inputs have `labels` and `values`; what else they have is named by their maker.
    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error>;

    /// Series to be read beside the inputs, where only the inputs tell which.
    fn late_scan(&self, _inputs: &[Table]) -> Result<Option<SeriesTable>, Error> {
        Ok(None)
    }

    /// As [`SeriesOperator::evaluate`], with all rows of what [`SeriesOperator::late_scan`] asked for.
    fn evaluate_late(&self, inputs: &[Table], _late: Option<&RecordBatch>) -> Result<RecordBatch, Error> {
        self.evaluate(inputs)
    }

    /// The result in any number of batches: who passes its input on need not copy it.
    fn evaluate_batches(&self, inputs: &[Table], late: Option<&RecordBatch>) -> Result<Vec<RecordBatch>, Error> {
        self.evaluate_late(inputs, late).map(|batch| vec![batch])
    }

    /// Bytes that the evaluation takes beside its inputs, its result with them. Default: as much as a result of as many rows as
    /// the largest input has.
    fn working_bytes(&self, inputs: &[Table]) -> usize {
        cell_bytes(inputs, 9)
    }

    /// For an operator of one input that need not wait for the end of it.
    fn batch_by_batch(&self) -> Option<Box<dyn BatchOperator>> {
        None
    }
}

/// `bytes` for each cell of the largest input.
fn cell_bytes(inputs: &[Table], bytes: usize) -> usize {
    let cells = |table: &Table| table.row_count().saturating_mul(table.step_count());
    inputs.iter().map(cells).max().unwrap_or(0).saturating_mul(bytes)
}

/// One run of an operator over the batches of its input, as they come.
pub trait BatchOperator: Send {
    /// What becomes of the next batch.
    fn next(&mut self, batch: RecordBatch) -> Result<RecordBatch, Error>;

    /// Bytes that it keeps of the batches before.
    fn bytes(&self) -> usize;
}
