//! `absent(v)` and the last step of `absent_over_time(r)`.

use arrow::record_batch::RecordBatch;

use super::{SeriesOperator, Table};
use crate::error::Error;
use crate::model::{EncodedLabels, LabelsRef, StepsTableBuilder};

/// 1 at every step where no series has a sample.
#[derive(Debug)]
pub struct Absent {
    /// Steps a row.
    pub step_count: usize,
    /// Labels of the answer: what the selector's equalities say.
    pub labels: EncodedLabels,
}

impl SeriesOperator for Absent {
    fn describe(&self) -> String {
        format!("absent {}", LabelsRef::new(self.labels.as_bytes()))
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn working_bytes(&self, _inputs: &[Table]) -> usize {
        9 * self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let mut builder = StepsTableBuilder::new(self.step_count);
        for step in 0..self.step_count {
            builder.push_cell((!inputs[0].any_at(step)).then_some(1.0));
        }
        builder.finish_series(self.labels.as_bytes());
        Ok(builder.finish())
    }
}
