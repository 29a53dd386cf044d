//! One row a series.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Float64Array, Int64Array, ListArray, StructArray,
};
use arrow::array::{UInt32Array, new_null_array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::edge_columns::{histogram_list, histogram_type, histograms, item, timestamp_type, timestamps};
use super::tables::{field, histograms_field, items, repeated};
use crate::error::Error;
use crate::model::{StepGrid, TimestampMs};
use crate::serve::grpc::arrow_stream::labels_map;

/// A grid of one step: `labels`, `timestamp`, `value`, `histogram`.
pub(super) fn per_series_vector(
    labels: &BinaryArray,
    values: &StructArray,
    time: TimestampMs,
) -> Result<Vec<ArrayRef>, Error> {
    let floats = field::<FixedSizeListArray>(values, "floats")?;
    if floats.value_length() != 1 {
        return Err(Error::internal("a vector has more than one step"));
    }
    let list = histograms_field(values)?;
    let (offsets, found) = histograms(list, |_| time.0)?;
    let histogram = if found.is_empty() {
        new_null_array(&histogram_type(), labels.len())
    } else {
        let rows = offsets.windows(2).map(|row| (row[1] > row[0]).then_some(row[0] as u32));
        let rows: UInt32Array = rows.collect();
        take(&found, &rows, None).map_err(|error| Error::internal(error.to_string()))?
    };
    let timestamp = timestamps(repeated(time.0, labels.len()), None);
    Ok(vec![labels_map(labels)?, timestamp, Arc::clone(floats.values()), histogram])
}

/// Cells on a grid: `labels`, `timestamps`, `values`, `histograms`, without the steps that have no sample.
pub(super) fn per_series_range(
    labels: &BinaryArray,
    values: &StructArray,
    grid: StepGrid,
) -> Result<Vec<ArrayRef>, Error> {
    let step_times: Vec<i64> = grid.times().map(|time| time.0).collect();
    let floats = field::<FixedSizeListArray>(values, "floats")?;
    let (offsets, times, numbers) = present_cells(floats, &step_times)?;
    let list = histograms_field(values)?;
    let histograms = histograms(list, |step| time_of_step(&step_times, step))?;
    Ok(vec![
        labels_map(labels)?,
        Arc::new(ListArray::new(item(timestamp_type()), offsets.clone(), timestamps(times, None), None)),
        Arc::new(ListArray::new(item(DataType::Float64), offsets, Arc::new(numbers), None)),
        histogram_list(histograms),
    ])
}

/// The time of a step by its number. A number beyond the grid has the time of its end.
pub(super) fn time_of_step(step_times: &[i64], step: i64) -> i64 {
    let at = usize::try_from(step).unwrap_or(0).min(step_times.len().saturating_sub(1));
    step_times.get(at).copied().unwrap_or(0)
}

/// The cells that hold a number, with the times of their steps: where each row ends, the times, the numbers.
fn present_cells(
    floats: &FixedSizeListArray,
    step_times: &[i64],
) -> Result<(OffsetBuffer<i32>, ScalarBuffer<i64>, Float64Array), Error> {
    let cells = items::<Float64Array>(floats.values().as_ref())?;
    let (rows, steps) = (floats.len(), step_times.len());
    if cells.len() != rows * steps {
        return Err(Error::internal("the cells of a steps table do not fit its grid"));
    }
    let Some(nulls) = cells.nulls().filter(|nulls| nulls.null_count() > 0) else {
        let offsets = OffsetBuffer::from_repeated_length(steps, rows);
        let cells = Float64Array::new(cells.values().clone(), None);
        return Ok((offsets, step_times.repeat(rows).into(), cells));
    };
    let present = cells.len() - nulls.null_count();
    let (mut times, mut numbers) = (Vec::with_capacity(present), Vec::with_capacity(present));
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let before = numbers.len();
        let row_cells = &cells.values()[row * steps..(row + 1) * steps];
        for (from, to) in nulls.slice(row * steps, steps).valid_slices() {
            times.extend_from_slice(&step_times[from..to]);
            numbers.extend_from_slice(&row_cells[from..to]);
        }
        lengths.push(numbers.len() - before);
    }
    Ok((OffsetBuffer::from_lengths(lengths), times.into(), Float64Array::from(numbers)))
}

/// Raw samples: `labels`, `timestamps`, `values`, `histograms`. No copy but of the labels and the histograms.
pub(super) fn per_series_samples(labels: &BinaryArray, samples: &StructArray) -> Result<Vec<ArrayRef>, Error> {
    let times = field::<ListArray>(samples, "timestamps")?;
    let floats = field::<ListArray>(samples, "floats")?;
    let milliseconds = items::<Int64Array>(times.values().as_ref())?;
    let values = timestamps(milliseconds.values().clone(), None);
    let histograms = histograms(histograms_field(samples)?, |time| time)?;
    Ok(vec![
        labels_map(labels)?,
        Arc::new(ListArray::new(item(timestamp_type()), times.offsets().clone(), values, None)),
        Arc::new(ListArray::new(item(DataType::Float64), floats.offsets().clone(), Arc::clone(floats.values()), None)),
        histogram_list(histograms),
    ])
}
