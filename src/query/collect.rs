//! Batches of a finished plan become the value of a query.

use arrow::array::UInt64Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, ErrorKind};
use crate::model::{QueryValue, SamplesTable, SamplesTableBuilder, StepGrid, StepsTable, TimestampMs, is_stale};

/// The one number of a scalar at an instant, or its row over a range.
pub fn scalar_value(batches: &[RecordBatch], grid: StepGrid, instant: bool) -> Result<QueryValue, Error> {
    if !instant {
        return Ok(QueryValue::Matrix { grid, batches: batches.to_vec() });
    }
    for batch in batches {
        let table = StepsTable::try_new(batch)?;
        if table.row_count() > 0 {
            return Ok(QueryValue::Scalar { time: grid.start(), value: table.cell(0, 0).unwrap_or(f64::NAN) });
        }
    }
    Err(Error::internal("a scalar plan gave no row"))
}

/// A vector at an instant keeps its order; over a range series are sorted by labels. Rows without any sample are dropped.
pub fn vector_value(batches: Vec<RecordBatch>, grid: StepGrid, instant: bool) -> Result<QueryValue, Error> {
    let batches = batches.into_iter().map(drop_empty_rows).collect::<Result<Vec<_>, _>>()?;
    refuse_duplicates(&batches)?;
    if instant {
        return Ok(QueryValue::Vector { time: grid.start(), batches });
    }
    Ok(QueryValue::Matrix { grid, batches: sort_by_labels(batches)? })
}

fn drop_empty_rows(batch: RecordBatch) -> Result<RecordBatch, Error> {
    let table = StepsTable::try_new(&batch)?;
    let kept: Vec<u64> = (0..table.row_count()).filter(|row| table.has_step(*row)).map(|row| row as u64).collect();
    if kept.len() == batch.num_rows() {
        return Ok(batch);
    }
    take(&batch, kept)
}

fn take(batch: &RecordBatch, rows: Vec<u64>) -> Result<RecordBatch, Error> {
    take_record_batch(batch, &UInt64Array::from(rows)).map_err(|error| Error::internal(error.to_string()))
}

/// The last line of defence for rule "one sample per label set and step".
fn refuse_duplicates(batches: &[RecordBatch]) -> Result<(), Error> {
    let mut seen = std::collections::HashSet::new();
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

fn sort_by_labels(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, Error> {
    let mut previous: Option<Vec<u8>> = None;
    let mut sorted = true;
    for batch in &batches {
        let table = StepsTable::try_new(batch)?;
        for row in 0..table.row_count() {
            let labels = table.labels(row).as_bytes();
            sorted &= previous.as_deref().is_none_or(|previous| previous <= labels);
            previous = Some(labels.to_vec());
        }
    }
    if sorted {
        return Ok(batches);
    }
    let schema = batches[0].schema();
    let all = concat_batches(&schema, &batches).map_err(|error| Error::internal(error.to_string()))?;
    let table = StepsTable::try_new(&all)?;
    let mut rows: Vec<u64> = (0..all.num_rows() as u64).collect();
    rows.sort_by_key(|row| table.labels(*row as usize));
    Ok(vec![take(&all, rows)?])
}

/// Raw samples in `start < t ≤ end` without stale markers, sorted by labels; series without samples are dropped.
pub fn samples_value(batches: &[RecordBatch], start: TimestampMs, end: TimestampMs) -> Result<QueryValue, Error> {
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
    Ok(QueryValue::Samples { batches: vec![builder.finish()] })
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
        DataFusionError::Shared(inner) => match inner.as_ref() {
            DataFusionError::External(inner) if inner.is::<Error>() => {
                inner.downcast_ref::<Error>().cloned().unwrap_or_else(|| Error::internal("lost error"))
            }
            other => Error::internal(other.to_string()),
        },
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
