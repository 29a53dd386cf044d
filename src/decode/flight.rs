//! Tables of a gateway below, as they come over Arrow Flight: the model's own tables in Arrow IPC messages. Hostile until checked;
//! the numbers are not copied, unless their place in a message is one that the processor cannot read.
//!
//! | file | what it does |
//! |---|---|
//! | `schema.rs` | the first message: which table, in which version, on which grid |
//! | `record_batch.rs` | the others: Arrow columns of exactly this type, every length and offset checked |
//! | `check.rs` | what stands in them: labels, times, histograms |
//!
//! Arrow's own reader is not used: it panics on messages whose buffers lie outside of them.

mod check;
mod record_batch;
mod schema;

use bytes::Bytes;
use serde::Deserialize;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

use super::{DecodeError, TimeWindow};
use crate::error::Error;
use crate::model::{
    COLUMN_VALUES, DurationMs, Sample, SamplesTableBuilder, StepGrid, StepsTable, samples_schema, steps_schema,
    timed_steps_schema,
};
use check::Checker;

/// The version of the tables that is read here, as `quiver.format` says it. See proto/quiver/v1/flight.proto.
pub const FLIGHT_FORMAT: &str = "1";

/// What was asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FlightQuestion {
    /// Raw samples.
    Samples(TimeWindow),
    /// What a selector sees at each step. A gateway that looks back for nobody answers with the samples.
    Steps {
        /// The steps.
        grid: StepGrid,
        /// How old a sample may be.
        lookback: DurationMs,
    },
    /// The value of an expression at each step.
    Values(StepGrid),
}

/// Which tables an answer has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FlightForm {
    /// Samples tables.
    Samples,
    /// Steps tables without sample times.
    Steps,
    /// Timed steps tables.
    TimedSteps,
}

/// Reads one answer, message by message.
#[derive(Debug)]
pub struct FlightDecoder {
    form: FlightForm,
    checker: Checker,
}

impl FlightDecoder {
    /// Reads the schema message, which comes first. Fails on an answer that is not one to the question.
    pub fn try_new(question: FlightQuestion, header: &[u8]) -> Result<Self, DecodeError> {
        let form = schema::read_form(header)?;
        let (wanted, grid, window) = match (form, question) {
            (FlightForm::Samples, FlightQuestion::Samples(window)) => (samples_schema(), None, Some(window)),
            (FlightForm::Samples, FlightQuestion::Steps { grid, lookback }) => {
                let window = TimeWindow { start: grid.start() - lookback, end: grid.last() };
                (samples_schema(), None, Some(window))
            }
            (FlightForm::Steps, FlightQuestion::Steps { grid, .. } | FlightQuestion::Values(grid)) => {
                (steps_schema(grid.step_count()), Some(grid), None)
            }
            (FlightForm::TimedSteps, FlightQuestion::Steps { grid, .. }) => {
                (timed_steps_schema(grid.step_count()), Some(grid), None)
            }
            (form, _) => return Err(wrong(format!("tables of the form {form:?} are no answer to the question"))),
        };
        schema::check(header, &wanted, grid)?;
        let lookback = match question {
            FlightQuestion::Steps { lookback, .. } => Some(lookback),
            FlightQuestion::Samples(_) | FlightQuestion::Values(_) => None,
        };
        // Values come in the order of the query, a selector's series in that of their labels.
        let is_sorted = !matches!(question, FlightQuestion::Values(_));
        Ok(Self { form, checker: Checker::new(wanted, window, grid, lookback, is_sorted) })
    }

    /// Which tables come.
    pub fn form(&self) -> FlightForm {
        self.form
    }

    /// The table of a further message, which consists of a header and a body; `None` where it has no rows.
    pub fn read(&mut self, header: &[u8], body: Bytes) -> Result<Option<RecordBatch>, DecodeError> {
        let table = record_batch::read(self.checker.schema(), header, body)?;
        self.checker.check(&table)?;
        Ok((table.num_rows() > 0).then_some(table))
    }
}

/// What is said beside the last table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FlightRemarks {
    /// Warnings as the server below words them.
    pub warnings: Vec<String>,
    /// And infos.
    pub infos: Vec<String>,
}

/// The metadata of the last message.
pub fn decode_flight_remarks(json: &[u8]) -> Result<FlightRemarks, DecodeError> {
    serde_json::from_slice(json).map_err(|error| wrong(format!("what it says at its end is damaged: {error}")))
}

fn wrong(problem: impl Into<String>) -> DecodeError {
    DecodeError::Incomplete(problem.into())
}

/// Gives steps tables the times of their steps as the times of their samples. The times of all tables are the same memory.
#[derive(Debug)]
pub struct StepTimes {
    grid: StepGrid,
    times: ScalarBuffer<i64>,
}

impl StepTimes {
    /// For tables on this grid.
    pub fn new(grid: StepGrid) -> Self {
        Self { grid, times: ScalarBuffer::from(Vec::new()) }
    }

    /// A steps table as a timed steps table.
    pub fn attach(&mut self, table: &RecordBatch) -> Result<RecordBatch, Error> {
        let step_count = self.grid.step_count();
        let cells = table.num_rows() * step_count;
        if self.times.len() < cells {
            let row: Vec<i64> = self.grid.times().map(|time| time.0).collect();
            self.times = ScalarBuffer::from(row.repeat(table.num_rows()));
        }
        let steps = StepsTable::try_new(table)?;
        let present = if steps.histograms().is_empty() {
            let values =
                table.column_by_name(COLUMN_VALUES).map(|column| column.as_struct().column(0).as_fixed_size_list());
            let floats = values.map(|list| list.values().as_primitive::<Float64Type>());
            floats.and_then(|floats| floats.nulls().cloned())
        } else {
            let mut present = Vec::with_capacity(cells);
            for row in 0..steps.row_count() {
                present.extend(steps.samples(row)?.iter().map(Option::is_some));
            }
            Some(present.into())
        };
        let schema = timed_steps_schema(step_count);
        let DataType::FixedSizeList(item, length) = schema.field(2).data_type() else {
            return Err(Error::internal("sample times are no list"));
        };
        let internal = |error: arrow::error::ArrowError| Error::internal(error.to_string());
        let times = Int64Array::try_new(self.times.slice(0, cells), present).map_err(internal)?;
        let times: ArrayRef = Arc::new(
            FixedSizeListArray::try_new_with_length(Arc::clone(item), *length, Arc::new(times), None, table.num_rows())
                .map_err(internal)?,
        );
        let columns = table.columns().iter().cloned().chain([times]).collect();
        RecordBatch::try_new(schema, columns).map_err(internal)
    }
}

/// A steps table as a samples table whose times are the steps.
pub fn samples_at_steps(table: &RecordBatch, grid: StepGrid) -> Result<RecordBatch, Error> {
    let steps = StepsTable::try_new(table)?;
    let times: Vec<i64> = grid.times().map(|time| time.0).collect();
    let mut builder = SamplesTableBuilder::default();
    for row in 0..steps.row_count() {
        if steps.histograms().row_len(row) > 0 {
            for (sample, time) in steps.samples(row)?.into_iter().zip(&times) {
                match sample {
                    Some(Sample::Float(value)) => builder.push_sample(*time, value),
                    Some(Sample::Histogram(histogram)) => builder.push_histogram(*time, None, histogram),
                    None => {}
                }
            }
        } else {
            let cells = steps.row(row).zip(&times);
            cells.for_each(|(cell, time)| cell.into_iter().for_each(|value| builder.push_sample(*time, value)));
        }
        builder.finish_series(steps.labels(row).as_bytes());
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests;
