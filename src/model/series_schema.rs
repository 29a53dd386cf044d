//! The two tables that cross module seams. One row is one series; beside its labels it has one column that holds all of its
//! samples, so that whatever computes on samples takes one argument and gives one result.
//!
//! | table | columns |
//! |---|---|
//! | samples | `labels: Binary`, `samples: Struct` of `timestamps: List<Int64>` (ms, ascending), `floats: List<Float64>` (stale markers as their NaN), `start_times: List<Int64>` (ms, 0 = unknown; empty where no sample of the series has one), `histograms` |
//! | steps | `labels: Binary`, `values: Struct` of `floats: FixedSizeList<Float64, N>` (one cell a step, null = no number), `histograms` |
//! | timed steps | steps, and `sample_times: FixedSizeList<Int64, N>`: when the sample of a cell was taken (ms), null where the cell is |
//!
//! `histograms` is a sparse list ([`HistogramList`]) by time or by step: four bytes for a series without any. At one time or
//! step a series has a number or a histogram, never both.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Float64Array, Int64Array, ListArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::native_histogram::{HistogramList, histogram_list_type};
use crate::error::Error;

/// Canonical bytes of the label set.
pub const COLUMN_LABELS: &str = "labels";
/// Raw samples.
pub const COLUMN_SAMPLES: &str = "samples";
/// Cells on the step grid.
pub const COLUMN_VALUES: &str = "values";
/// When the sample of a cell was taken.
pub const COLUMN_SAMPLE_TIMES: &str = "sample_times";

pub(super) static FLOAT_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new("item", DataType::Float64, true)));
pub(super) static TIME_ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Int64, true)));
static SAMPLES_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let times = || DataType::List(Arc::clone(&TIME_ITEM));
    Fields::from(vec![
        Field::new("timestamps", times(), false),
        Field::new("floats", DataType::List(Arc::clone(&FLOAT_ITEM)), false),
        Field::new("start_times", times(), false),
        Field::new("histograms", histogram_list_type(), false),
    ])
});

fn values_fields(step_count: usize) -> Fields {
    Fields::from(vec![
        Field::new("floats", DataType::FixedSizeList(Arc::clone(&FLOAT_ITEM), fixed_length(step_count)), false),
        Field::new("histograms", histogram_list_type(), false),
    ])
}

/// The type of a column of step cells.
pub fn values_type(step_count: usize) -> DataType {
    DataType::Struct(values_fields(step_count))
}

/// The type of a column of raw samples.
pub fn samples_type() -> DataType {
    DataType::Struct(SAMPLES_FIELDS.clone())
}

/// How many cells a row has in a column of this type; `None` for a type that is not of step cells.
pub fn step_count_of_type(values_type: &DataType) -> Option<usize> {
    let DataType::Struct(fields) = values_type else { return None };
    match fields.first()?.data_type() {
        DataType::FixedSizeList(_, length) => usize::try_from(*length).ok(),
        _ => None,
    }
}

pub(super) fn fixed_length(step_count: usize) -> i32 {
    i32::try_from(step_count).expect("grids are bounded far below 2^31 steps")
}

fn labels_field() -> Field {
    Field::new(COLUMN_LABELS, DataType::Binary, false)
}

/// Schema of a samples table.
pub fn samples_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![labels_field(), Field::new(COLUMN_SAMPLES, samples_type(), false)]))
}

/// Schema of a steps table of `step_count` steps.
pub fn steps_schema(step_count: usize) -> SchemaRef {
    Arc::new(Schema::new(vec![labels_field(), Field::new(COLUMN_VALUES, values_type(step_count), false)]))
}

/// Schema of a timed steps table of `step_count` steps.
pub fn timed_steps_schema(step_count: usize) -> SchemaRef {
    let times = DataType::FixedSizeList(Arc::clone(&TIME_ITEM), fixed_length(step_count));
    Arc::new(Schema::new(vec![
        labels_field(),
        Field::new(COLUMN_VALUES, values_type(step_count), false),
        Field::new(COLUMN_SAMPLE_TIMES, times, false),
    ]))
}

pub(super) fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, Error> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<A>())
        .ok_or_else(|| Error::internal(format!("batch has no column {name:?} of the expected type")))
}

fn field<'a, A: 'static>(column: &'a StructArray, name: &str) -> Result<&'a A, Error> {
    column
        .column_by_name(name)
        .and_then(|field| field.as_any().downcast_ref::<A>())
        .ok_or_else(|| Error::internal(format!("a column of samples has no field {name:?} of the expected type")))
}

pub(super) fn child<'a, A: 'static>(list: &'a ArrayRef, name: &str) -> Result<&'a A, Error> {
    list.as_any()
        .downcast_ref::<A>()
        .ok_or_else(|| Error::internal(format!("column {name:?} holds items of an unexpected type")))
}

/// A typed view of a `samples` column: raw samples of many series.
#[derive(Clone, Copy, Debug)]
pub struct SamplesColumn<'a> {
    offsets: &'a [i32],
    timestamps: &'a [i64],
    floats: &'a [f64],
    start_offsets: &'a [i32],
    start_times: &'a [i64],
    histograms: HistogramList<'a>,
}

impl<'a> SamplesColumn<'a> {
    /// Fails on a column of another type, or whose lists differ in length.
    pub fn try_new(column: &'a StructArray) -> Result<Self, Error> {
        let timestamps = field::<ListArray>(column, "timestamps")?;
        let floats = field::<ListArray>(column, "floats")?;
        let start_times = field::<ListArray>(column, "start_times")?;
        if timestamps.value_offsets() != floats.value_offsets() {
            return Err(Error::internal("timestamps and floats of a samples column differ in length"));
        }
        Ok(Self {
            offsets: timestamps.value_offsets(),
            timestamps: child::<Int64Array>(timestamps.values(), "timestamps")?.values(),
            floats: child::<Float64Array>(floats.values(), "floats")?.values(),
            start_offsets: start_times.value_offsets(),
            start_times: child::<Int64Array>(start_times.values(), "start_times")?.values(),
            histograms: HistogramList::try_new(field::<ListArray>(column, "histograms")?)?,
        })
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Times (ms, ascending) and values of a series' floats, of equal length.
    pub fn floats(&self, row: usize) -> (&'a [i64], &'a [f64]) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        (&self.timestamps[range.clone()], &self.floats[range])
    }

    /// Start timestamps of a series' floats (ms, 0 = unknown), as many as floats; `None` where none is known.
    pub fn start_times(&self, row: usize) -> Option<&'a [i64]> {
        let range = self.start_offsets[row] as usize..self.start_offsets[row + 1] as usize;
        let floats = (self.offsets[row + 1] - self.offsets[row]) as usize;
        (range.len() == floats && floats > 0).then(|| &self.start_times[range])
    }

    /// The histograms of the series, by time.
    pub fn histograms(&self) -> HistogramList<'a> {
        self.histograms
    }
}

/// The times of a samples table's floats (ms), a list a series.
pub fn samples_timestamps(batch: &RecordBatch) -> Result<&ListArray, Error> {
    field(column::<StructArray>(batch, COLUMN_SAMPLES)?, "timestamps")
}

/// A `samples` column from its parts: floats as in [`SamplesColumn::floats`], all with the same row ends.
pub fn samples_column(
    row_ends: &[usize],
    timestamps: Vec<i64>,
    floats: Vec<f64>,
    start_times: ListArray,
    histograms: ListArray,
) -> StructArray {
    let offsets = offsets_of(row_ends);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ListArray::new(Arc::clone(&TIME_ITEM), offsets.clone(), Arc::new(Int64Array::from(timestamps)), None)),
        Arc::new(ListArray::new(Arc::clone(&FLOAT_ITEM), offsets, Arc::new(Float64Array::from(floats)), None)),
        Arc::new(start_times),
        Arc::new(histograms),
    ];
    StructArray::try_new_with_length(SAMPLES_FIELDS.clone(), columns, None, row_ends.len())
        .expect("fields are of equal length by construction")
}

/// A `start_times` field: `row_ends[i]` start times belong to rows 0 to i.
pub(super) fn start_times_list(row_ends: &[usize], start_times: Vec<i64>) -> ListArray {
    ListArray::new(Arc::clone(&TIME_ITEM), offsets_of(row_ends), Arc::new(Int64Array::from(start_times)), None)
}

/// A `start_times` field of rows that know none.
pub fn no_start_times(row_count: usize) -> ListArray {
    start_times_list(&vec![0; row_count], Vec::new())
}

fn offsets_of(row_ends: &[usize]) -> OffsetBuffer<i32> {
    let ends = std::iter::once(&0).chain(row_ends);
    let ends = ends.map(|end| i32::try_from(*end).expect("batches are cut long before 2^31 samples"));
    OffsetBuffer::new(ScalarBuffer::from(ends.collect::<Vec<i32>>()))
}

/// A typed view of a `values` column: step cells of many series.
#[derive(Clone, Copy, Debug)]
pub struct ValuesColumn<'a> {
    floats: &'a Float64Array,
    histograms: HistogramList<'a>,
    step_count: usize,
    row_count: usize,
}

impl<'a> ValuesColumn<'a> {
    /// Fails on a column of another type.
    pub fn try_new(column: &'a StructArray) -> Result<Self, Error> {
        let list = field::<FixedSizeListArray>(column, "floats")?;
        Ok(Self {
            floats: child::<Float64Array>(list.values(), "floats")?,
            histograms: HistogramList::try_new(field::<ListArray>(column, "histograms")?)?,
            step_count: usize::try_from(list.value_length()).unwrap_or(0),
            row_count: column.len(),
        })
    }

    /// The numbers: row `i` has cells `i·N .. (i+1)·N`; null = no number.
    pub fn floats(&self) -> &'a Float64Array {
        self.floats
    }

    /// The histograms, by step.
    pub fn histograms(&self) -> HistogramList<'a> {
        self.histograms
    }

    /// How many cells a series has.
    pub fn step_count(&self) -> usize {
        self.step_count
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.row_count
    }
}

/// A `values` column from its parts: `row_count · step_count` cells, and one list of histograms a row.
pub fn values_column(
    cells: Float64Array,
    histograms: ListArray,
    step_count: usize,
    row_count: usize,
) -> Result<StructArray, Error> {
    let item = Arc::clone(&FLOAT_ITEM);
    let floats =
        FixedSizeListArray::try_new_with_length(item, fixed_length(step_count), Arc::new(cells), None, row_count)
            .map_err(|error| Error::internal(error.to_string()))?;
    let columns: Vec<ArrayRef> = vec![Arc::new(floats), Arc::new(histograms)];
    StructArray::try_new_with_length(values_fields(step_count), columns, None, row_count)
        .map_err(|error| Error::internal(error.to_string()))
}

pub(super) fn times_column(times: Vec<i64>, nulls: NullBuffer, step_count: usize, row_count: usize) -> ArrayRef {
    let times = Int64Array::new(ScalarBuffer::from(times), Some(nulls));
    let item = Arc::clone(&TIME_ITEM);
    let list =
        FixedSizeListArray::try_new_with_length(item, fixed_length(step_count), Arc::new(times), None, row_count);
    Arc::new(list.expect("every row has step_count cells"))
}

pub(super) fn labels_column(batch: &RecordBatch) -> Result<&BinaryArray, Error> {
    column::<BinaryArray>(batch, COLUMN_LABELS)
}
