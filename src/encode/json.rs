//! The answers of `/api/v1/query` and `/api/v1/query_range`, streamed straight from the tables.

use std::collections::VecDeque;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::{SUCCESS_HEAD, write_tail};
use super::labels_json::write_labels;
use super::number::{write_api_float, write_float_seconds, write_plain_float, write_timestamp};
use super::text::{Dialect, write_text};
use crate::error::Error;
use crate::model::{LabelsRef, QueryValue, SamplesTable, StepGrid, StepsTable, TimestampMs};

/// A chunk goes out once it has reached this size. Large enough that per-chunk costs vanish, small enough that what waits
/// for a slow client is small.
const CHUNK_BYTES: usize = 128 * 1024;
/// A row is written in runs of so many cells, so that one wide row does not become one huge chunk.
const RUN_CELLS: usize = 1024;

/// Prometheus' warning when `limit` cut series off.
pub const TRUNCATED_WARNING: &str = "results truncated due to limit";

/// Encodes a query's answer, exactly as Prometheus prints it. Rows without any sample are left out.
///
/// `limit` of 0 or `None` keeps all series; otherwise further ones are cut off and [`TRUNCATED_WARNING`] is added.
/// `stats` goes into `data` behind the result. Fails on tables of the wrong shape, before the first chunk.
pub fn encode_query_response(
    mut value: QueryValue,
    warnings: &[String],
    infos: &[String],
    stats: Option<&RawValue>,
    limit: Option<usize>,
) -> Result<QueryResponseChunks, Error> {
    check_shape(&value)?;
    let mut tail = Vec::new();
    if let Some(stats) = stats {
        tail.extend_from_slice(b",\"stats\":");
        tail.extend_from_slice(stats.get().as_bytes());
    }
    tail.push(b'}');
    if truncate_series(&mut value, limit)? {
        let warnings: Vec<String> = warnings.iter().cloned().chain([TRUNCATED_WARNING.to_owned()]).collect();
        write_tail(&warnings, infos, &mut tail);
    } else {
        write_tail(warnings, infos, &mut tail);
    }
    let mut out = SUCCESS_HEAD.to_vec();
    let (form, batches) = open_result(value, &mut out);
    if form.is_some() {
        tail.insert(0, b']');
    }
    Ok(QueryResponseChunks {
        form,
        batches: batches.into(),
        row: 0,
        cell: 0,
        is_first_row: true,
        has_sample_before: false,
        out,
        tail: Some(tail),
    })
}

/// Keeps the first `limit` series that have a sample. Returns whether any was cut off; 0 and `None` cut none. Scalars and
/// strings are left alone. Fails on tables of the wrong shape.
pub fn truncate_series(value: &mut QueryValue, limit: Option<usize>) -> Result<bool, Error> {
    let Some(limit) = limit.filter(|limit| *limit > 0) else { return Ok(false) };
    let is_samples = matches!(value, QueryValue::Samples { .. });
    let (QueryValue::Vector { batches, .. } | QueryValue::Matrix { batches, .. } | QueryValue::Samples { batches }) =
        value
    else {
        return Ok(false);
    };
    let mut kept = 0;
    for index in 0..batches.len() {
        let batch = batches[index].clone();
        for row in 0..batch.num_rows() {
            let has_sample = if is_samples {
                !SamplesTable::try_new(&batch)?.series(row).0.is_empty()
            } else {
                StepsTable::try_new(&batch)?.has_step(row)
            };
            if has_sample && kept == limit {
                batches.truncate(index);
                batches.push(batch.slice(0, row));
                return Ok(true);
            }
            kept += usize::from(has_sample);
        }
    }
    Ok(false)
}

fn check_shape(value: &QueryValue) -> Result<(), Error> {
    let check_steps = |batches: &[RecordBatch], step_count: usize| {
        batches.iter().try_for_each(|batch| match StepsTable::try_new(batch)?.step_count() {
            found if found == step_count => Ok(()),
            found => Err(Error::internal(format!("result table has {found} steps, expected {step_count}"))),
        })
    };
    match value {
        QueryValue::Scalar { .. } | QueryValue::String { .. } => Ok(()),
        QueryValue::Vector { batches, .. } => check_steps(batches, 1),
        QueryValue::Matrix { grid, batches } => check_steps(batches, grid.step_count()),
        QueryValue::Samples { batches } => batches.iter().try_for_each(|batch| SamplesTable::try_new(batch).map(drop)),
    }
}

/// How the rows of a table become series.
#[derive(Copy, Clone, Debug)]
enum RowForm {
    /// One sample at this time.
    Vector(TimestampMs),
    /// A sample a step.
    Matrix(StepGrid),
    /// Samples with times of their own.
    Samples,
}

/// Writes the result up to its rows, or all of it where it has none.
fn open_result(value: QueryValue, out: &mut Vec<u8>) -> (Option<RowForm>, Vec<RecordBatch>) {
    let mut open = |result_type: &str| {
        out.extend_from_slice(format!(r#"{{"resultType":"{result_type}","result":["#).as_bytes());
    };
    match value {
        QueryValue::Vector { time, batches } => {
            open("vector");
            (Some(RowForm::Vector(time)), batches)
        }
        QueryValue::Matrix { grid, batches } => {
            open("matrix");
            (Some(RowForm::Matrix(grid)), batches)
        }
        QueryValue::Samples { batches } => {
            open("matrix");
            (Some(RowForm::Samples), batches)
        }
        QueryValue::Scalar { time, value } => {
            open("scalar");
            write_float_seconds(time.0, out);
            out.extend_from_slice(b",\"");
            write_plain_float(value, out);
            out.extend_from_slice(b"\"]");
            (None, Vec::new())
        }
        QueryValue::String { time, text } => {
            open("string");
            write_float_seconds(time.0, out);
            out.push(b',');
            write_text(&text, Dialect::Standard, out);
            out.push(b']');
            (None, Vec::new())
        }
    }
}

/// An answer in chunks of about 128 KiB. Each table is let go once it is written.
#[derive(Debug)]
pub struct QueryResponseChunks {
    /// `None`: there are no rows.
    form: Option<RowForm>,
    batches: VecDeque<RecordBatch>,
    /// Where in the first of `batches` the writing is.
    row: usize,
    cell: usize,
    is_first_row: bool,
    /// The current row has a sample already.
    has_sample_before: bool,
    out: Vec<u8>,
    /// What comes behind the rows, until it is written.
    tail: Option<Vec<u8>>,
}

impl Iterator for QueryResponseChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.out.len() < CHUNK_BYTES {
            if self.write_rows() {
                continue;
            }
            let Some(tail) = self.tail.take() else { break };
            self.out.extend_from_slice(&tail);
        }
        if self.out.is_empty() {
            return None;
        }
        let next_bytes = if self.tail.is_some() { CHUNK_BYTES + CHUNK_BYTES / 4 } else { 0 };
        Some(Bytes::from(std::mem::replace(&mut self.out, Vec::with_capacity(next_bytes))))
    }
}

impl QueryResponseChunks {
    /// Writes rows until the chunk is full. Returns whether there may be more.
    fn write_rows(&mut self) -> bool {
        let (Some(form), Some(batch)) = (self.form, self.batches.pop_front()) else { return false };
        const CHECKED: &str = "the shape was checked when the answer was begun";
        let row_count = batch.num_rows();
        while self.row < row_count && self.out.len() < CHUNK_BYTES {
            let row = self.row;
            match form {
                RowForm::Samples => {
                    let table = SamplesTable::try_new(&batch).expect(CHECKED);
                    let (times, values) = table.series(row);
                    let sample = |at: usize| Some((times[at], values[at]));
                    self.write_run(table.labels(row), "values", times.len(), !times.is_empty(), sample);
                }
                RowForm::Matrix(grid) => {
                    let table = StepsTable::try_new(&batch).expect(CHECKED);
                    let sample = |at| table.cell(row, at).map(|value| (grid.time(at).0, value));
                    self.write_run(table.labels(row), "values", table.step_count(), table.has_step(row), sample);
                }
                RowForm::Vector(time) => {
                    let table = StepsTable::try_new(&batch).expect(CHECKED);
                    let sample = |at| table.cell(row, at).map(|value| (time.0, value));
                    self.write_run(table.labels(row), "value", 1, table.has_step(row), sample);
                }
            }
        }
        if self.row < row_count {
            self.batches.push_front(batch);
        } else {
            self.row = 0;
        }
        true
    }

    /// Writes the next run of cells of the current row, with what belongs before the first and behind the last.
    fn write_run(
        &mut self,
        labels: LabelsRef<'_>,
        key: &str,
        cell_count: usize,
        has_sample: bool,
        sample: impl Fn(usize) -> Option<(i64, f64)>,
    ) {
        if !has_sample {
            self.row += 1;
            return;
        }
        let is_list = key == "values";
        if self.cell == 0 {
            let head: &[u8] = if self.is_first_row { b"{\"metric\":" } else { b",{\"metric\":" };
            self.out.extend_from_slice(head);
            self.is_first_row = false;
            self.has_sample_before = false;
            write_labels(labels, &mut self.out);
            self.out.extend_from_slice(if is_list { b",\"values\":[" } else { b",\"value\":" });
        }
        let end = cell_count.min(self.cell + RUN_CELLS);
        for (timestamp_ms, value) in (self.cell..end).filter_map(sample) {
            if std::mem::replace(&mut self.has_sample_before, true) {
                self.out.push(b',');
            }
            self.out.push(b'[');
            write_timestamp(timestamp_ms, &mut self.out);
            self.out.extend_from_slice(b",\"");
            write_api_float(value, &mut self.out);
            self.out.extend_from_slice(b"\"]");
        }
        self.cell = end;
        if end == cell_count {
            self.out.extend_from_slice(if is_list { b"]}" } else { b"}" });
            self.cell = 0;
            self.row += 1;
        }
    }
}

#[cfg(test)]
mod tests;
