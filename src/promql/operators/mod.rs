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
}
