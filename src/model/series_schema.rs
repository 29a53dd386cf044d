//! The two tables that cross module seams, and typed views and builders for them. One row is one series.
//!
//! | table | columns |
//! |---|---|
//! | samples | `labels: Binary`, `timestamps: List<Int64>` (ms, ascending), `samples: List<Float64>` (stale markers as their NaN) |
//! | steps | `labels: Binary`, `values: FixedSizeList<Float64, N>`: one cell a step, null = no sample |
//! | timed steps | steps, and `sample_times: FixedSizeList<Int64, N>`: when the sample of a cell was taken (ms), null where the cell is |

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryArray, BinaryBuilder, BooleanBufferBuilder, FixedSizeListArray, Float64Array,
    Int64Array, ListArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::LabelsRef;
use crate::error::Error;

/// Canonical bytes of the label set.
pub const COLUMN_LABELS: &str = "labels";
/// Times of raw samples.
pub const COLUMN_TIMESTAMPS: &str = "timestamps";
/// Values of raw samples.
pub const COLUMN_SAMPLES: &str = "samples";
/// Cells on the step grid.
pub const COLUMN_VALUES: &str = "values";
/// When the sample of a cell was taken.
pub const COLUMN_SAMPLE_TIMES: &str = "sample_times";

static FLOAT_ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Float64, true)));
static TIME_ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Int64, true)));

/// The type of a column of step cells.
pub fn values_type(step_count: usize) -> DataType {
    DataType::FixedSizeList(Arc::clone(&FLOAT_ITEM), fixed_length(step_count))
}

fn sample_times_type(step_count: usize) -> DataType {
    DataType::FixedSizeList(Arc::clone(&TIME_ITEM), fixed_length(step_count))
}

fn fixed_length(step_count: usize) -> i32 {
    i32::try_from(step_count).expect("grids are bounded far below 2^31 steps")
}

fn labels_field() -> Field {
    Field::new(COLUMN_LABELS, DataType::Binary, false)
}

/// Schema of a samples table.
pub fn samples_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        labels_field(),
        Field::new(COLUMN_TIMESTAMPS, DataType::List(Arc::clone(&TIME_ITEM)), false),
        Field::new(COLUMN_SAMPLES, DataType::List(Arc::clone(&FLOAT_ITEM)), false),
    ]))
}

/// Schema of a steps table of `step_count` steps.
pub fn steps_schema(step_count: usize) -> SchemaRef {
    Arc::new(Schema::new(vec![labels_field(), Field::new(COLUMN_VALUES, values_type(step_count), false)]))
}

/// Schema of a timed steps table of `step_count` steps.
pub fn timed_steps_schema(step_count: usize) -> SchemaRef {
    Arc::new(Schema::new(vec![
        labels_field(),
        Field::new(COLUMN_VALUES, values_type(step_count), false),
        Field::new(COLUMN_SAMPLE_TIMES, sample_times_type(step_count), false),
    ]))
}

fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, Error> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<A>())
        .ok_or_else(|| Error::internal(format!("batch has no column {name:?} of the expected type")))
}

fn child<'a, A: 'static>(list: &'a ArrayRef, name: &str) -> Result<&'a A, Error> {
    list.as_any()
        .downcast_ref::<A>()
        .ok_or_else(|| Error::internal(format!("column {name:?} holds items of an unexpected type")))
}

/// A typed view of a samples table.
#[derive(Clone, Copy, Debug)]
pub struct SamplesTable<'a> {
    labels: &'a BinaryArray,
    offsets: &'a [i32],
    timestamps: &'a [i64],
    samples: &'a [f64],
}

impl<'a> SamplesTable<'a> {
    /// Fails on a batch of another shape, or whose two lists differ in length.
    pub fn try_new(batch: &'a RecordBatch) -> Result<Self, Error> {
        let labels = column::<BinaryArray>(batch, COLUMN_LABELS)?;
        let timestamps = column::<ListArray>(batch, COLUMN_TIMESTAMPS)?;
        let samples = column::<ListArray>(batch, COLUMN_SAMPLES)?;
        Self::from_arrays(labels, timestamps, samples)
    }

    /// The same from the three columns.
    pub fn from_arrays(
        labels: &'a BinaryArray,
        timestamps: &'a ListArray,
        samples: &'a ListArray,
    ) -> Result<Self, Error> {
        if timestamps.value_offsets() != samples.value_offsets() {
            return Err(Error::internal("timestamps and samples of a samples table differ in length"));
        }
        Ok(Self {
            labels,
            offsets: timestamps.value_offsets(),
            timestamps: child::<Int64Array>(timestamps.values(), COLUMN_TIMESTAMPS)?.values(),
            samples: child::<Float64Array>(samples.values(), COLUMN_SAMPLES)?.values(),
        })
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// The label set of a series.
    pub fn labels(&self, row: usize) -> LabelsRef<'a> {
        LabelsRef::new(self.labels.value(row))
    }

    /// Times (ms, ascending) and values of a series, of equal length.
    pub fn series(&self, row: usize) -> (&'a [i64], &'a [f64]) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        (&self.timestamps[range.clone()], &self.samples[range])
    }
}

/// Builds a samples table series by series.
#[derive(Debug, Default)]
pub struct SamplesTableBuilder {
    labels: BinaryBuilder,
    offsets: Vec<i32>,
    timestamps: Vec<i64>,
    samples: Vec<f64>,
}

impl SamplesTableBuilder {
    /// Adds one sample to the series that is being built.
    #[inline]
    pub fn push_sample(&mut self, timestamp_ms: i64, value: f64) {
        self.timestamps.push(timestamp_ms);
        self.samples.push(value);
    }

    /// Adds many samples to the series that is being built; slices of equal length.
    pub fn extend_samples(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        debug_assert_eq!(timestamps_ms.len(), values.len());
        self.timestamps.extend_from_slice(timestamps_ms);
        self.samples.extend_from_slice(values);
    }

    /// Ends the series with its label set (canonical bytes).
    pub fn finish_series(&mut self, labels: &[u8]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.labels.append_value(labels);
        self.offsets.push(i32::try_from(self.samples.len()).expect("batches are cut long before 2^31 samples"));
    }

    /// How many finished series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// How many samples, with those of the unfinished series.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// The finished table; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let mut offsets = std::mem::take(&mut self.offsets);
        if offsets.is_empty() {
            offsets.push(0);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        // A grown vector may be twice as large as what is in it, and the batch would keep and be charged for all of it.
        self.timestamps.shrink_to_fit();
        self.samples.shrink_to_fit();
        let timestamps = Int64Array::from(std::mem::take(&mut self.timestamps));
        let samples = Float64Array::from(std::mem::take(&mut self.samples));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.labels.finish()),
            Arc::new(ListArray::new(Arc::clone(&TIME_ITEM), offsets.clone(), Arc::new(timestamps), None)),
            Arc::new(ListArray::new(Arc::clone(&FLOAT_ITEM), offsets, Arc::new(samples), None)),
        ];
        RecordBatch::try_new(samples_schema(), columns).expect("columns are of equal length by construction")
    }
}

/// A typed view of a steps table, timed or not.
#[derive(Clone, Copy, Debug)]
pub struct StepsTable<'a> {
    labels: &'a BinaryArray,
    cells: &'a Float64Array,
    sample_times: Option<&'a Int64Array>,
    step_count: usize,
}

impl<'a> StepsTable<'a> {
    /// Fails on a batch of another shape.
    pub fn try_new(batch: &'a RecordBatch) -> Result<Self, Error> {
        let labels = column::<BinaryArray>(batch, COLUMN_LABELS)?;
        let values = column::<FixedSizeListArray>(batch, COLUMN_VALUES)?;
        let mut table = Self::from_arrays(labels, values)?;
        if batch.column_by_name(COLUMN_SAMPLE_TIMES).is_some() {
            let times = column::<FixedSizeListArray>(batch, COLUMN_SAMPLE_TIMES)?;
            table.sample_times = Some(child::<Int64Array>(times.values(), COLUMN_SAMPLE_TIMES)?);
        }
        Ok(table)
    }

    /// The same from the two columns.
    pub fn from_arrays(labels: &'a BinaryArray, values: &'a FixedSizeListArray) -> Result<Self, Error> {
        Ok(Self {
            labels,
            cells: child::<Float64Array>(values.values(), COLUMN_VALUES)?,
            sample_times: None,
            step_count: usize::try_from(values.value_length()).unwrap_or(0),
        })
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// How many cells a series has.
    pub fn step_count(&self) -> usize {
        self.step_count
    }

    /// The label set of a series.
    pub fn labels(&self, row: usize) -> LabelsRef<'a> {
        LabelsRef::new(self.labels.value(row))
    }

    /// The value at a step, `None` where the series has no sample.
    #[inline]
    pub fn cell(&self, row: usize, step: usize) -> Option<f64> {
        let at = row * self.step_count + step;
        self.cells.is_valid(at).then(|| self.cells.value(at))
    }

    /// All cells of a series; slots without a sample hold an unspecified number and are false in the second.
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = Option<f64>> + use<'a> {
        let table = *self;
        (0..self.step_count).map(move |step| table.cell(row, step))
    }

    /// Has the series a sample at any step?
    pub fn has_step(&self, row: usize) -> bool {
        match self.cells.nulls() {
            None => self.step_count > 0,
            Some(nulls) => nulls.inner().slice(row * self.step_count, self.step_count).count_set_bits() > 0,
        }
    }

    /// Has it a column of sample times?
    pub fn is_timed(&self) -> bool {
        self.sample_times.is_some()
    }

    /// The time of the sample in a cell; `None` where there is no sample or the table is not timed.
    pub fn sample_time(&self, row: usize, step: usize) -> Option<i64> {
        let times = self.sample_times?;
        let at = row * self.step_count + step;
        times.is_valid(at).then(|| times.value(at))
    }
}

/// Builds a steps table, cell by cell; timed if it was made so.
#[derive(Debug)]
pub struct StepsTableBuilder {
    labels: BinaryBuilder,
    cells: Vec<f64>,
    present: BooleanBufferBuilder,
    sample_times: Option<Vec<i64>>,
    step_count: usize,
}

impl StepsTableBuilder {
    /// A builder of rows of `step_count` cells.
    pub fn new(step_count: usize) -> Self {
        Self {
            labels: BinaryBuilder::new(),
            cells: Vec::new(),
            present: BooleanBufferBuilder::new(0),
            sample_times: None,
            step_count,
        }
    }

    /// A builder of a timed table.
    pub fn timed(step_count: usize) -> Self {
        Self { sample_times: Some(Vec::new()), ..Self::new(step_count) }
    }

    /// Adds the next cell of the row that is being built.
    #[inline]
    pub fn push_cell(&mut self, cell: Option<f64>) {
        self.cells.push(cell.unwrap_or(0.0));
        self.present.append(cell.is_some());
    }

    /// Adds the next cell of a timed row: value and the sample's own time.
    #[inline]
    pub fn push_timed_cell(&mut self, cell: Option<(f64, i64)>) {
        self.push_cell(cell.map(|(value, _)| value));
        if let Some(times) = &mut self.sample_times {
            times.push(cell.map_or(0, |(_, time)| time));
        }
    }

    /// Ends the row with its label set (canonical bytes). The row must have got exactly `step_count` cells.
    pub fn finish_series(&mut self, labels: &[u8]) {
        self.labels.append_value(labels);
        debug_assert_eq!(self.cells.len(), self.labels.len() * self.step_count);
    }

    /// How many finished rows.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// The finished table; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let length = fixed_length(self.step_count);
        let row_count = self.labels.len();
        let nulls = NullBuffer::new(self.present.finish());
        let cells = Float64Array::new(ScalarBuffer::from(std::mem::take(&mut self.cells)), Some(nulls.clone()));
        let values =
            FixedSizeListArray::try_new_with_length(Arc::clone(&FLOAT_ITEM), length, Arc::new(cells), None, row_count);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(self.labels.finish()), Arc::new(values.expect("every row has step_count cells"))];
        let schema = match &mut self.sample_times {
            None => steps_schema(self.step_count),
            Some(times) => {
                let times = Int64Array::new(ScalarBuffer::from(std::mem::take(times)), Some(nulls));
                let list = FixedSizeListArray::try_new_with_length(
                    Arc::clone(&TIME_ITEM),
                    length,
                    Arc::new(times),
                    None,
                    row_count,
                );
                columns.push(Arc::new(list.expect("every row has step_count cells")));
                timed_steps_schema(self.step_count)
            }
        };
        RecordBatch::try_new(schema, columns).expect("columns are of equal length by construction")
    }
}
