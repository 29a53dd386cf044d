//! Step answers as they come from a replica: only the steps at which a series has a sample.
//!
//! | column | holds |
//! |---|---|
//! | `labels` | as in every table |
//! | `samples` | the times of the steps (ms, ascending), and the values there |
//! | `sample_times` | when those samples were taken (ms), one for each of them |
//!
//! A steps table has a cell for every step; thousands of short-lived series on a grid of thousands of steps would not fit
//! into memory. So replicas' answers stay sparse until they are merged, batch by batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{COLUMN_SAMPLE_TIMES, LabelsRef, SamplesTable, SamplesTableBuilder, samples_timestamps};

/// Builds a table of sparse steps, series by series.
#[derive(Debug, Default)]
pub struct SparseStepsBuilder {
    steps: SamplesTableBuilder,
    sample_times: Vec<i64>,
}

impl SparseStepsBuilder {
    /// Adds a step to the series that is being built.
    #[inline]
    pub fn push_step(&mut self, step_ms: i64, value: f64, sample_time_ms: i64) {
        self.steps.push_sample(step_ms, value);
        self.sample_times.push(sample_time_ms);
    }

    /// Ends the series with its label set (canonical bytes).
    pub fn finish_series(&mut self, labels: &[u8]) {
        self.steps.finish_series(labels);
    }

    /// How many finished series.
    pub fn row_count(&self) -> usize {
        self.steps.row_count()
    }

    /// How many steps, with those of the unfinished series.
    pub fn sample_count(&self) -> usize {
        self.steps.sample_count()
    }

    /// The finished table; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let sample_times = Int64Array::from(std::mem::take(&mut self.sample_times));
        attach_sample_times(&self.steps.finish(), sample_times).expect("a sample time was pushed with every step")
    }
}

/// A samples table at step times as a table of sparse steps whose samples were taken at the steps themselves: what can be
/// said where sample times are not known. No copy.
pub fn sparse_steps_at_step_times(table: &RecordBatch) -> Result<RecordBatch, Error> {
    let times = Arc::new(samples_timestamps(table)?.clone());
    with_column(table, times)
}

fn attach_sample_times(table: &RecordBatch, sample_times: Int64Array) -> Result<RecordBatch, Error> {
    let list = samples_timestamps(table)?;
    let arrow::datatypes::DataType::List(item) = list.data_type() else {
        return Err(Error::internal("timestamps are no list"));
    };
    let times = ListArray::try_new(Arc::clone(item), list.offsets().clone(), Arc::new(sample_times), None);
    with_column(table, Arc::new(times.map_err(|error| Error::internal(error.to_string()))?))
}

fn with_column(table: &RecordBatch, sample_times: ArrayRef) -> Result<RecordBatch, Error> {
    let schema = table.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(COLUMN_SAMPLE_TIMES, sample_times.data_type().clone(), false)));
    let mut columns = table.columns().to_vec();
    columns.push(sample_times);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| Error::internal(error.to_string()))
}

fn list_column<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a ListArray, Error> {
    table
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<ListArray>())
        .ok_or_else(|| Error::internal(format!("table has no list column {name:?}")))
}

/// A typed view of a table of sparse steps.
#[derive(Clone, Copy, Debug)]
pub struct SparseSteps<'a> {
    steps: SamplesTable<'a>,
    offsets: &'a [i32],
    sample_times: &'a [i64],
}

impl<'a> SparseSteps<'a> {
    /// Fails on a batch of another shape.
    pub fn try_new(table: &'a RecordBatch) -> Result<Self, Error> {
        let steps = SamplesTable::try_new(table)?;
        if !steps.histograms().is_empty() {
            return Err(Error::internal("sparse steps cannot hold native histograms"));
        }
        let times = list_column(table, COLUMN_SAMPLE_TIMES)?;
        if times.value_offsets() != samples_timestamps(table)?.value_offsets() {
            return Err(Error::internal("sample times and steps differ in length"));
        }
        let items = times.values().as_any().downcast_ref::<Int64Array>();
        let sample_times = items.ok_or_else(|| Error::internal("sample times are no integers"))?.values();
        Ok(Self { steps, offsets: times.value_offsets(), sample_times })
    }

    /// The label set of a series.
    pub fn labels(&self, row: usize) -> LabelsRef<'a> {
        self.steps.labels(row)
    }

    /// Step time, value and sample time at each step of a series.
    pub fn steps(&self, row: usize) -> impl Iterator<Item = (i64, f64, i64)> + use<'a> {
        let (steps, values) = self.steps.series(row);
        let times = &self.sample_times[self.offsets[row] as usize..self.offsets[row + 1] as usize];
        steps.iter().zip(values).zip(times).map(|((step, value), time)| (*step, *value, *time))
    }
}
