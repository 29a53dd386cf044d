//! A steps table: typed view and builder.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryArray, BinaryBuilder, BooleanBufferBuilder, FixedSizeListArray, Float64Array,
    Int64Array, StructArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::record_batch::RecordBatch;

use super::native_histogram::{HistogramList, HistogramListBuilder, NativeHistogram, Sample, TimedHistogram};
use super::series_schema::{
    COLUMN_SAMPLE_TIMES, COLUMN_VALUES, ValuesColumn, child, column, labels_column, steps_schema, timed_steps_schema,
    times_column, values_column,
};
use super::{LabelsRef, is_stale};
use crate::error::Error;

/// A typed view of a steps table, timed or not.
#[derive(Clone, Copy, Debug)]
pub struct StepsTable<'a> {
    labels: &'a BinaryArray,
    values: ValuesColumn<'a>,
    sample_times: Option<&'a Int64Array>,
}

impl<'a> StepsTable<'a> {
    /// Fails on a batch of another shape.
    pub fn try_new(batch: &'a RecordBatch) -> Result<Self, Error> {
        let values = ValuesColumn::try_new(column::<StructArray>(batch, COLUMN_VALUES)?)?;
        let mut table = Self { labels: labels_column(batch)?, values, sample_times: None };
        if batch.column_by_name(COLUMN_SAMPLE_TIMES).is_some() {
            let times = column::<FixedSizeListArray>(batch, COLUMN_SAMPLE_TIMES)?;
            table.sample_times = Some(child::<Int64Array>(times.values(), COLUMN_SAMPLE_TIMES)?);
        }
        Ok(table)
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// How many cells a series has.
    pub fn step_count(&self) -> usize {
        self.values.step_count()
    }

    /// The label set of a series.
    pub fn labels(&self, row: usize) -> LabelsRef<'a> {
        LabelsRef::new(self.labels.value(row))
    }

    /// The number at a step, `None` where the series has none; it may have a histogram there.
    #[inline]
    pub fn cell(&self, row: usize, step: usize) -> Option<f64> {
        let at = row * self.values.step_count() + step;
        self.values.floats().is_valid(at).then(|| self.values.floats().value(at))
    }

    /// The numbers of all steps of a series.
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = Option<f64>> + use<'a> {
        let table = *self;
        (0..self.step_count()).map(move |step| table.cell(row, step))
    }

    /// The histograms of the series, by step.
    pub fn histograms(&self) -> HistogramList<'a> {
        self.values.histograms()
    }

    /// Number or histogram at each step of a series.
    pub fn samples(&self, row: usize) -> Result<Vec<Option<Sample>>, Error> {
        let mut samples: Vec<Option<Sample>> = self.row(row).map(|cell| cell.map(Sample::Float)).collect();
        if self.histograms().row_len(row) > 0 {
            for item in self.histograms().row(row)? {
                if let Some(place) = usize::try_from(item.at).ok().and_then(|step| samples.get_mut(step)) {
                    *place = Some(Sample::Histogram(item.histogram));
                }
            }
        }
        Ok(samples)
    }

    /// Is a stale marker among the numbers?
    pub fn has_stale_marker(&self) -> bool {
        // What stands below a null is never looked at by others, and costs a second look here at most.
        self.values.floats().values().iter().any(|value| is_stale(*value))
    }

    /// Has the series a number or a histogram at any step?
    pub fn has_step(&self, row: usize) -> bool {
        let step_count = self.step_count();
        let has_number = match self.values.floats().nulls() {
            None => step_count > 0,
            Some(nulls) => nulls.inner().slice(row * step_count, step_count).count_set_bits() > 0,
        };
        has_number || self.histograms().row_len(row) > 0
    }

    /// Has it a column of sample times?
    pub fn is_timed(&self) -> bool {
        self.sample_times.is_some()
    }

    /// The time of the sample in a cell; `None` where there is no sample or the table is not timed.
    pub fn sample_time(&self, row: usize, step: usize) -> Option<i64> {
        let times = self.sample_times?;
        let at = row * self.step_count() + step;
        times.is_valid(at).then(|| times.value(at))
    }
}

/// Step cells that are being built: numbers in one flat vector, histograms beside them.
#[derive(Debug)]
pub struct StepCells {
    floats: Vec<f64>,
    present: BooleanBufferBuilder,
    /// Position of the cell and what is in it; ascending.
    histograms: Vec<(usize, Arc<NativeHistogram>)>,
    step_count: usize,
}

impl StepCells {
    /// Room for `row_count` rows of `step_count` cells.
    pub fn with_capacity(step_count: usize, row_count: usize) -> Self {
        let capacity = step_count * row_count;
        Self {
            floats: Vec::with_capacity(capacity),
            present: BooleanBufferBuilder::new(capacity),
            histograms: Vec::new(),
            step_count,
        }
    }

    /// The next cell: a number or nothing.
    #[inline]
    pub fn push(&mut self, cell: Option<f64>) {
        self.floats.push(cell.unwrap_or(0.0));
        self.present.append(cell.is_some());
    }

    /// The next cell: a number, a histogram or nothing.
    pub fn push_sample(&mut self, sample: Option<Sample>) {
        match sample {
            Some(Sample::Histogram(histogram)) => self.push_histogram(histogram),
            Some(Sample::Float(value)) => self.push(Some(value)),
            None => self.push(None),
        }
    }

    /// The next cell: a histogram.
    pub fn push_histogram(&mut self, histogram: Arc<NativeHistogram>) {
        self.histograms.push((self.floats.len(), histogram));
        self.push(None);
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.floats.len()
    }

    /// Is there no cell?
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// Is there a number or a histogram in this cell?
    pub fn is_present(&self, cell: usize) -> bool {
        self.present.get_bit(cell) || self.histograms.binary_search_by_key(&cell, |(at, _)| *at).is_ok()
    }

    /// The buffers of the numbers, for kernels that push whole rows of them.
    pub fn float_buffers(&mut self) -> (&mut Vec<f64>, &mut BooleanBufferBuilder) {
        (&mut self.floats, &mut self.present)
    }

    /// The finished `values` column, and which cells hold a number or a histogram; empty again.
    pub fn finish(&mut self, row_count: usize) -> Result<(StructArray, NullBuffer), Error> {
        let present = self.present.finish();
        let numbers = NullBuffer::new(present.clone());
        let histograms = std::mem::take(&mut self.histograms);
        let occupied = if histograms.is_empty() {
            numbers.clone()
        } else {
            let mut occupied = BooleanBufferBuilder::new(present.len());
            occupied.append_buffer(&present);
            histograms.iter().for_each(|(cell, _)| occupied.set_bit(*cell, true));
            NullBuffer::new(occupied.finish())
        };
        let cells = Float64Array::new(ScalarBuffer::from(std::mem::take(&mut self.floats)), Some(numbers));
        let mut lists = HistogramListBuilder::default();
        let mut next = histograms.into_iter().peekable();
        for row in 0..row_count {
            let row_end = (row + 1) * self.step_count;
            while let Some((cell, histogram)) = next.next_if(|(cell, _)| *cell < row_end) {
                let step = (cell - row * self.step_count) as i64;
                lists.push(TimedHistogram { at: step, start_time: None, histogram });
            }
            lists.finish_row();
        }
        Ok((values_column(cells, lists.finish(), self.step_count, row_count)?, occupied))
    }
}

/// Builds a steps table, cell by cell; timed if it was made so.
#[derive(Debug)]
pub struct StepsTableBuilder {
    labels: BinaryBuilder,
    cells: StepCells,
    sample_times: Option<Vec<i64>>,
}

impl StepsTableBuilder {
    /// A builder of rows of `step_count` cells.
    pub fn new(step_count: usize) -> Self {
        Self { labels: BinaryBuilder::new(), cells: StepCells::with_capacity(step_count, 0), sample_times: None }
    }

    /// A builder of a timed table.
    pub fn timed(step_count: usize) -> Self {
        Self { sample_times: Some(Vec::new()), ..Self::new(step_count) }
    }

    /// Adds the next cell of the row that is being built: a number or nothing.
    #[inline]
    pub fn push_cell(&mut self, cell: Option<f64>) {
        self.cells.push(cell);
    }

    /// Adds the next cell of the row that is being built: a number, a histogram or nothing.
    pub fn push_sample(&mut self, sample: Option<Sample>) {
        self.cells.push_sample(sample);
    }

    /// Adds the next cell of a timed row: value and the sample's own time.
    #[inline]
    pub fn push_timed_cell(&mut self, cell: Option<(f64, i64)>) {
        self.cells.push(cell.map(|(value, _)| value));
        if let Some(times) = &mut self.sample_times {
            times.push(cell.map_or(0, |(_, time)| time));
        }
    }

    /// Adds the next cell of a timed row: sample and its own time.
    pub fn push_timed_sample(&mut self, sample: Option<(Sample, i64)>) {
        if let Some(times) = &mut self.sample_times {
            times.push(sample.as_ref().map_or(0, |(_, time)| *time));
        }
        self.cells.push_sample(sample.map(|(sample, _)| sample));
    }

    /// Ends the row with its label set (canonical bytes). The row must have got exactly `step_count` cells.
    pub fn finish_series(&mut self, labels: &[u8]) {
        self.labels.append_value(labels);
        debug_assert_eq!(self.cells.len(), self.labels.len() * self.cells.step_count);
    }

    /// How many finished rows.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// The finished table; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let step_count = self.cells.step_count;
        let row_count = self.labels.len();
        let (values, occupied) = self.cells.finish(row_count).expect("every row has step_count cells");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.labels.finish()), Arc::new(values)];
        let schema = match &mut self.sample_times {
            None => steps_schema(step_count),
            Some(times) => {
                columns.push(times_column(std::mem::take(times), occupied, step_count, row_count));
                timed_steps_schema(step_count)
            }
        };
        RecordBatch::try_new(schema, columns).expect("columns are of equal length by construction")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_may_hold_numbers_and_histograms_and_knows_which_is_where() {
        let histogram = Arc::new(NativeHistogram { count: 2.0, ..NativeHistogram::default() });
        let sample = || Some((Sample::Histogram(Arc::clone(&histogram)), 70));
        let mut builder = StepsTableBuilder::timed(3);
        for row in [[None, None, None], [Some((Sample::Float(1.0), 50)), None, sample()], [sample(), None, None]] {
            row.into_iter().for_each(|cell| builder.push_timed_sample(cell));
            builder.finish_series(b"");
        }
        let batch = builder.finish();
        let table = StepsTable::try_new(&batch).expect("a steps table");
        assert_eq!((0..3).map(|row| table.has_step(row)).collect::<Vec<_>>(), [false, true, true]);
        let shared = Some(Sample::Histogram(histogram));
        assert_eq!(table.samples(1).expect("readable"), [Some(Sample::Float(1.0)), None, shared.clone()]);
        assert_eq!(table.samples(2).expect("readable"), [shared, None, None]);
        assert_eq!(table.cell(1, 2), None);
        let times: Vec<_> = (0..3).map(|step| table.sample_time(1, step)).collect();
        assert_eq!(times, [Some(50), None, Some(70)]);
        assert_eq!(table.histograms().row_len(0), 0);
    }
}
