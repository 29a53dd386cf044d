//! `scalar(v)`.

use arrow::record_batch::RecordBatch;

use super::{SeriesOperator, Table};
use crate::error::Error;
use crate::model::StepsTableBuilder;

/// The value of the only sample at a step, else NaN; always a value.
#[derive(Debug)]
pub struct ScalarOf {
    /// Steps a row.
    pub step_count: usize,
}

impl SeriesOperator for ScalarOf {
    fn describe(&self) -> String {
        "scalar".to_owned()
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn working_bytes(&self, _inputs: &[Table]) -> usize {
        9 * self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let mut builder = StepsTableBuilder::new(self.step_count);
        for step in 0..self.step_count {
            let mut cells = (0..table.row_count()).filter_map(|row| table.cell(row, step));
            let only = match (cells.next(), cells.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            };
            builder.push_cell(Some(only));
        }
        builder.finish_series(&[]);
        Ok(builder.finish())
    }
}
