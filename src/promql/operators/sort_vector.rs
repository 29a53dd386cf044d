//! `sort(v)` and `sort_desc(v)` of an instant query.

use arrow::array::UInt64Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use super::{SeriesOperator, Table};
use crate::error::Error;

/// Orders rows by their one value; NaN goes last in both directions, and rows without a sample after that.
#[derive(Debug)]
pub struct SortVector {
    /// Largest first.
    pub descending: bool,
}

impl SeriesOperator for SortVector {
    fn describe(&self) -> String {
        if self.descending { "sort_desc" } else { "sort" }.to_owned()
    }

    fn step_count(&self) -> usize {
        1
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let mut rows: Vec<usize> = (0..table.row_count()).collect();
        rows.sort_by(|a, b| {
            let (a, b) = (table.cell(*a, 0).unwrap_or(f64::NAN), table.cell(*b, 0).unwrap_or(f64::NAN));
            a.is_nan().cmp(&b.is_nan()).then_with(|| {
                let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
                if self.descending { order.reverse() } else { order }
            })
        });
        let indices = UInt64Array::from_iter_values(rows.into_iter().map(|row| row as u64));
        take_record_batch(table.batch(), &indices).map_err(|error| Error::internal(error.to_string()))
    }
}
