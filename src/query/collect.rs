//! Batches of a finished plan become the value of a query.

use std::collections::HashSet;

use arrow::array::UInt64Array;
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, ErrorKind};
use crate::model::{
    Held, QueryContext, QueryValue, SamplesTable, SamplesTableBuilder, StepGrid, StepsTable, TableSize, TimestampMs,
    is_stale,
};

/// Rows of more cells than this are put in order as slices; shorter ones are copied. A slice costs about a kilobyte.
const SLICED_CELLS_MIN: usize = 512;

/// A value, and the guards of its tables in their order.
type Counted = (QueryValue, Vec<Held>);

/// The tables of a result, counted as they come.
pub struct Collected {
    context: QueryContext,
    batches: Vec<RecordBatch>,
    held: Vec<Held>,
}

impl Collected {
    /// Nothing yet.
    pub fn new(context: QueryContext) -> Self {
        Self { context, batches: Vec::new(), held: Vec::new() }
    }

    /// The next table of the plan.
    pub fn push(&mut self, batch: RecordBatch) -> Result<(), Error> {
        if batch.num_rows() > 0 {
            self.held.push(self.context.hold_table(&batch)?);
            self.batches.push(batch);
        }
        Ok(())
    }

    /// The one number of a scalar at an instant, or its row over a range.
    pub fn into_scalar(self, grid: StepGrid, instant: bool) -> Result<Counted, Error> {
        if !instant {
            return Ok((QueryValue::Matrix { grid, batches: self.batches }, self.held));
        }
        let Some(first) = self.batches.first() else { return Err(Error::internal("a scalar plan gave no row")) };
        let value = StepsTable::try_new(first)?.cell(0, 0).unwrap_or(f64::NAN);
        Ok((QueryValue::Scalar { time: grid.start(), value }, Vec::new()))
    }

    /// A vector at an instant keeps its order; over a range series are sorted by labels. Rows without any sample are dropped.
    pub fn into_vector(mut self, grid: StepGrid, instant: bool) -> Result<Counted, Error> {
        for (batch, held) in self.batches.iter_mut().zip(&mut self.held) {
            if let Some(smaller) = without_empty_rows(batch)? {
                let size = TableSize::of(&smaller);
                *batch = smaller;
                held.resize(size.samples, size.bytes)?;
            }
        }
        let sorted = is_strictly_ascending(&self.batches)?;
        if !sorted {
            refuse_duplicates(&self.batches)?;
        }
        if instant {
            return Ok((QueryValue::Vector { time: grid.start(), batches: self.batches }, self.held));
        }
        if !sorted {
            self.sort_by_labels(grid.step_count())?;
        }
        Ok((QueryValue::Matrix { grid, batches: self.batches }, self.held))
    }

    fn sort_by_labels(&mut self, step_count: usize) -> Result<(), Error> {
        let tables = self.batches.iter().map(StepsTable::try_new).collect::<Result<Vec<_>, _>>()?;
        let all_rows = tables.iter().enumerate();
        let mut rows: Vec<(usize, usize)> =
            all_rows.flat_map(|(index, table)| (0..table.row_count()).map(move |row| (index, row))).collect();
        rows.sort_by_key(|(index, row)| tables[*index].labels(*row));
        if step_count < SLICED_CELLS_MIN {
            let copied = self.held.iter().map(Held::bytes).sum();
            let _both = self.context.hold(0, copied)?;
            let all: Vec<&RecordBatch> = self.batches.iter().collect();
            let sorted = interleave_record_batch(&all, &rows).map_err(|error| Error::internal(error.to_string()))?;
            drop(std::mem::take(&mut self.held));
            self.held = vec![self.context.hold_table(&sorted)?];
            self.batches = vec![sorted];
            return Ok(());
        }
        // The slices share the memory of their tables, so that there is no guard of one slice: all of it goes with the last.
        let sorted: Vec<RecordBatch> = rows.iter().map(|(index, row)| self.batches[*index].slice(*row, 1)).collect();
        self.batches = sorted;
        Ok(())
    }

    /// Raw samples in `start < t ≤ end` without stale markers, sorted by labels; series without samples are dropped.
    pub fn into_samples(self, start: TimestampMs, end: TimestampMs) -> Result<Counted, Error> {
        let value = samples_in_window(&self.batches, start, end)?;
        let held = self.context.hold_table(&value)?;
        Ok((QueryValue::Samples { batches: vec![value] }, vec![held]))
    }
}

/// The rows that have a sample, where not all have.
pub fn without_empty_rows(batch: &RecordBatch) -> Result<Option<RecordBatch>, Error> {
    let table = StepsTable::try_new(batch)?;
    if (0..table.row_count()).all(|row| table.has_step(row)) {
        return Ok(None);
    }
    let kept: Vec<u64> = (0..table.row_count()).filter(|row| table.has_step(*row)).map(|row| row as u64).collect();
    let kept = take_record_batch(batch, &UInt64Array::from(kept));
    kept.map(Some).map_err(|error| Error::internal(error.to_string()))
}

/// Is every row's label set greater than that of the row before? Then none is twice.
fn is_strictly_ascending(batches: &[RecordBatch]) -> Result<bool, Error> {
    let mut before: Option<&[u8]> = None;
    for batch in batches {
        let table = StepsTable::try_new(batch)?;
        for row in 0..table.row_count() {
            let labels = table.labels(row).as_bytes();
            if before.is_some_and(|before| before >= labels) {
                return Ok(false);
            }
            before = Some(labels);
        }
    }
    Ok(true)
}

/// The last line of defence for rule "one sample per label set and step".
fn refuse_duplicates(batches: &[RecordBatch]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for batch in batches {
        let table = StepsTable::try_new(batch)?;
        for row in 0..table.row_count() {
            if !seen.insert(table.labels(row).as_bytes()) {
                return Err(Error::execution("vector cannot contain metrics with the same labelset"));
            }
        }
    }
    Ok(())
}

/// Samples in `start < t ≤ end` without stale markers, sorted by labels; series without samples are dropped.
pub fn samples_in_window(batches: &[RecordBatch], start: TimestampMs, end: TimestampMs) -> Result<RecordBatch, Error> {
    let mut rows: Vec<(Vec<u8>, usize, usize)> = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let table = SamplesTable::try_new(batch)?;
        rows.extend((0..table.row_count()).map(|row| (table.labels(row).as_bytes().to_vec(), index, row)));
    }
    rows.sort();
    if rows.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::execution("vector cannot contain metrics with the same labelset"));
    }
    let mut builder = SamplesTableBuilder::default();
    for (labels, index, row) in &rows {
        let before = builder.sample_count();
        let table = SamplesTable::try_new(&batches[*index])?;
        let (times, values) = table.series(*row);
        let start_times = table.start_times(*row).unwrap_or_default();
        for (at, (time, value)) in times.iter().zip(values).enumerate() {
            if *time > start.0 && *time <= end.0 && !is_stale(*value) {
                builder.push_started_sample(*time, start_times.get(at).copied().unwrap_or(0), *value);
            }
        }
        if table.histograms().row_len(*row) > 0 {
            for item in table.histograms().row(*row)? {
                if item.at > start.0 && item.at <= end.0 && !item.histogram.is_stale_marker() {
                    builder.push_histogram(item.at, item.start_time, item.histogram);
                }
            }
        }
        if builder.sample_count() > before {
            builder.finish_series(labels);
        }
    }
    Ok(builder.finish())
}

/// Takes our error out of what DataFusion wrapped around it.
pub fn query_error(error: datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError;
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => match other.downcast::<DataFusionError>() {
                Ok(error) => query_error(*error),
                Err(other) => Error::internal(other.to_string()),
            },
        },
        DataFusionError::Context(_, inner) => query_error(*inner),
        DataFusionError::Shared(inner) => shared_error(&inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => query_error(errors.swap_remove(0)),
        DataFusionError::ArrowError(error, _) => match *error {
            arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => query_error(*error),
                Err(inner) => Error::internal(inner.to_string()),
            },
            error => Error::internal(error.to_string()),
        },
        DataFusionError::ResourcesExhausted(text) => Error::new(
            ErrorKind::TooManySamples,
            format!("query processing would use too much memory in query execution: {text}"),
        ),
        error => Error::internal(error.to_string()),
    }
}

/// The same of an error that several readers of one stream got.
fn shared_error(error: &datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError;
    match error {
        DataFusionError::External(inner) if inner.is::<Error>() => {
            inner.downcast_ref::<Error>().cloned().unwrap_or_else(|| Error::internal("lost error"))
        }
        DataFusionError::External(inner) if inner.is::<DataFusionError>() => {
            inner.downcast_ref().map_or_else(|| Error::internal("lost error"), shared_error)
        }
        DataFusionError::Context(_, inner) => shared_error(inner),
        DataFusionError::Shared(inner) => shared_error(inner),
        other => Error::internal(other.to_string()),
    }
}
