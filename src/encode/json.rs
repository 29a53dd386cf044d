//! The answers of `/api/v1/query` and `/api/v1/query_range`, streamed straight from the tables.

use std::collections::VecDeque;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::{SUCCESS_HEAD, write_tail};
use super::histogram_json::write_histogram;
use super::labels_json::write_labels;
use super::number::{write_api_float, write_float_seconds, write_plain_float, write_timestamp};
use super::text::{Dialect, write_text};
use crate::error::Error;
use crate::model::{
    HistogramList, LabelsRef, NativeHistogram, QueryValue, SamplesTable, StepGrid, StepsTable, TimestampMs,
};

/// A chunk goes out once it has reached this size. Large enough that per-chunk costs vanish, small enough that what waits
/// for a slow client is small.
const CHUNK_BYTES: usize = 128 * 1024;
/// A row is written in runs of so many cells, so that one wide row does not become one huge chunk.
const RUN_CELLS: usize = 1024;
/// … and its histograms, which are longer, in runs of so many.
const RUN_HISTOGRAMS: usize = 16;

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
        row_has_floats: false,
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
                let table = SamplesTable::try_new(&batch)?;
                !table.series(row).0.is_empty() || table.histograms().row_len(row) > 0
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
        batches.iter().try_for_each(|batch| {
            let table = StepsTable::try_new(batch)?;
            match table.step_count() {
                found if found == step_count => check_histograms(table.histograms(), batch.num_rows()),
                found => Err(Error::internal(format!("result table has {found} steps, expected {step_count}"))),
            }
        })
    };
    match value {
        QueryValue::Scalar { .. } | QueryValue::String { .. } => Ok(()),
        QueryValue::Vector { batches, .. } => check_steps(batches, 1),
        QueryValue::Matrix { grid, batches } => check_steps(batches, grid.step_count()),
        QueryValue::Samples { batches } => batches
            .iter()
            .try_for_each(|batch| check_histograms(SamplesTable::try_new(batch)?.histograms(), batch.num_rows())),
    }
}

/// Reads every histogram once: one that is broken must end the answer before it has begun.
fn check_histograms(histograms: HistogramList<'_>, row_count: usize) -> Result<(), Error> {
    if histograms.is_empty() {
        return Ok(());
    }
    (0..row_count).try_for_each(|row| {
        let mut starts = (0..histograms.row_len(row)).step_by(RUN_HISTOGRAMS);
        starts.try_for_each(|from| histograms.row_part(row, from..from + RUN_HISTOGRAMS).map(drop))
    })
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
    /// The current row has floats.
    row_has_floats: bool,
    /// The current list has a sample already.
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
    /// Tables that are not written to the end yet; the others are let go.
    pub fn tables_left(&self) -> usize {
        self.batches.len()
    }

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
                    let view = RowView {
                        labels: table.labels(row),
                        cell_count: times.len(),
                        histograms: table.histograms(),
                        histogram_time: &|at| at,
                    };
                    self.write_run(&view, |at| Some((times[at], values[at])));
                }
                RowForm::Matrix(grid) => {
                    let table = StepsTable::try_new(&batch).expect(CHECKED);
                    let view = RowView {
                        labels: table.labels(row),
                        cell_count: table.step_count(),
                        histograms: table.histograms(),
                        histogram_time: &|at| usize::try_from(at).map_or(0, |step| grid.time(step).0),
                    };
                    self.write_run(&view, |at| table.cell(row, at).map(|value| (grid.time(at).0, value)));
                }
                RowForm::Vector(time) => self.write_vector_row(&StepsTable::try_new(&batch).expect(CHECKED), time),
            }
        }
        if self.row < row_count {
            self.batches.push_front(batch);
        } else {
            self.row = 0;
        }
        true
    }

    fn open_row(&mut self, labels: LabelsRef<'_>) {
        let head: &[u8] = if self.is_first_row { b"{\"metric\":" } else { b",{\"metric\":" };
        self.out.extend_from_slice(head);
        self.is_first_row = false;
        write_labels(labels, &mut self.out);
    }

    /// Writes the one sample of the current row.
    fn write_vector_row(&mut self, table: &StepsTable<'_>, time: TimestampMs) {
        let row = self.row;
        self.row += 1;
        if !table.has_step(row) {
            return;
        }
        self.open_row(table.labels(row));
        match table.cell(row, 0) {
            Some(value) => {
                self.out.extend_from_slice(b",\"value\":");
                write_float_point(time.0, value, &mut self.out);
            }
            None => {
                self.out.extend_from_slice(b",\"histogram\":");
                let histograms = table.histograms().row_part(row, 0..1).unwrap_or_default();
                histograms.iter().for_each(|item| write_histogram_point(time.0, &item.histogram, &mut self.out));
            }
        }
        self.out.push(b'}');
    }

    /// Writes the next run of samples of the current row: first the floats, then the histograms, each with what belongs before
    /// the first and behind the last.
    fn write_run(&mut self, view: &RowView<'_>, float: impl Fn(usize) -> Option<(i64, f64)>) {
        let histogram_count = view.histograms.row_len(self.row);
        if self.cell == 0 {
            self.row_has_floats = (0..view.cell_count).any(|cell| float(cell).is_some());
            if !self.row_has_floats && histogram_count == 0 {
                self.row += 1;
                return;
            }
            self.open_row(view.labels);
            self.has_sample_before = false;
            if self.row_has_floats {
                self.out.extend_from_slice(b",\"values\":[");
            }
        }
        if self.cell < view.cell_count {
            self.write_floats(view.cell_count, float);
        } else {
            self.write_histograms(view, histogram_count);
        }
        if self.cell >= view.cell_count + histogram_count {
            self.out.push(b'}');
            self.cell = 0;
            self.row += 1;
        }
    }

    fn write_floats(&mut self, cell_count: usize, float: impl Fn(usize) -> Option<(i64, f64)>) {
        if !self.row_has_floats {
            self.cell = cell_count;
            return;
        }
        let end = cell_count.min(self.cell + RUN_CELLS);
        for (timestamp_ms, value) in (self.cell..end).filter_map(float) {
            if std::mem::replace(&mut self.has_sample_before, true) {
                self.out.push(b',');
            }
            write_float_point(timestamp_ms, value, &mut self.out);
        }
        self.cell = end;
        if end == cell_count {
            self.out.push(b']');
        }
    }

    fn write_histograms(&mut self, view: &RowView<'_>, histogram_count: usize) {
        let from = self.cell - view.cell_count;
        if from == 0 {
            self.out.extend_from_slice(b",\"histograms\":[");
        }
        let end = histogram_count.min(from + RUN_HISTOGRAMS);
        let run = view.histograms.row_part(self.row, from..end).unwrap_or_default();
        for (index, item) in run.iter().enumerate() {
            if from + index > 0 {
                self.out.push(b',');
            }
            write_histogram_point((view.histogram_time)(item.at), &item.histogram, &mut self.out);
        }
        self.cell = view.cell_count + end;
        if end == histogram_count {
            self.out.push(b']');
        }
    }
}

/// A row of a matrix that is being written.
struct RowView<'a> {
    labels: LabelsRef<'a>,
    /// Places where a float may be.
    cell_count: usize,
    histograms: HistogramList<'a>,
    /// The time (ms) of the place of a histogram.
    histogram_time: &'a dyn Fn(i64) -> i64,
}

#[inline]
fn write_float_point(timestamp_ms: i64, value: f64, out: &mut Vec<u8>) {
    out.push(b'[');
    write_timestamp(timestamp_ms, out);
    out.extend_from_slice(b",\"");
    write_api_float(value, out);
    out.extend_from_slice(b"\"]");
}

fn write_histogram_point(timestamp_ms: i64, histogram: &NativeHistogram, out: &mut Vec<u8>) {
    out.push(b'[');
    write_timestamp(timestamp_ms, out);
    out.push(b',');
    write_histogram(histogram, out);
    out.push(b']');
}

#[cfg(test)]
mod tests;
