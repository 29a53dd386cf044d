//! Functions between step cells and other shapes: repeating, and the way back to samples that a subquery needs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{CellsBuilder, cells_argument, step_count_of};
use crate::error::Error;
use crate::model::{
    CounterResetHint, HistogramListBuilder, Sample, StepGrid, TimedHistogram, no_start_times, samples_column,
    samples_type, values_type,
};

/// `repeat_steps(values)`: the one cell of a step-invariant row, at every step.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RepeatSteps {
    /// Steps of the result.
    pub step_count: usize,
}

impl RowFunction for RepeatSteps {
    fn name(&self) -> String {
        "repeat_steps".to_owned()
    }

    fn parameters(&self) -> String {
        self.step_count.to_string()
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(self.step_count))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let input = cells_argument(arguments, 0, row_count)?;
        if input.step_count != 1 {
            return Err(Error::internal("only rows of one step are repeated"));
        }
        let mut builder = CellsBuilder::with_capacity(self.step_count, row_count);
        for row in 0..row_count {
            let sample = input.sample(row, 0);
            for _ in 0..self.step_count {
                builder.push_sample(sample.clone());
            }
        }
        builder.finish(row_count)
    }
}

/// `samples_from_steps(values)`: the present cells of a grid as raw samples; a subquery's inner result. What is known of
/// resets is forgotten: it was known of neighbours that need not be neighbours here.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SamplesFromSteps {
    /// The grid of the cells.
    pub grid: StepGrid,
}

impl SamplesFromSteps {
    fn histogram_samples(&self, items: &[TimedHistogram]) -> impl Iterator<Item = TimedHistogram> {
        items.iter().map(|item| {
            let step = usize::try_from(item.at).unwrap_or(0);
            let mut histogram = Arc::clone(&item.histogram);
            if !matches!(histogram.counter_reset_hint, CounterResetHint::Gauge | CounterResetHint::Unknown) {
                Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
            }
            TimedHistogram { at: self.grid.time(step).0, start_time: None, histogram }
        })
    }
}

impl RowFunction for SamplesFromSteps {
    fn name(&self) -> String {
        "samples_from_steps".to_owned()
    }

    fn parameters(&self) -> String {
        format!("first={} step={}", self.grid.start(), self.grid.step())
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(samples_type())
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let input = cells_argument(arguments, 0, row_count)?;
        let present_count = input.cells.len() - input.cells.null_count();
        if i32::try_from(present_count).is_err() {
            return Err(Error::execution("a subquery's result is too large"));
        }
        let (mut times, mut values) = (Vec::with_capacity(present_count), Vec::with_capacity(present_count));
        let mut row_ends = Vec::with_capacity(row_count);
        let step_times: Vec<i64> = (0..input.step_count).map(|step| self.grid.time(step).0).collect();
        let mut histograms = HistogramListBuilder::default();
        for row in 0..row_count {
            let cells = row * input.step_count;
            let row_values = &input.cells.values()[cells..cells + input.step_count];
            if present_count == input.cells.len() {
                times.extend_from_slice(&step_times);
                values.extend_from_slice(row_values);
            } else {
                for (step, (time, value)) in step_times.iter().zip(row_values).enumerate() {
                    if input.cells.is_valid(cells + step) {
                        times.push(*time);
                        values.push(*value);
                    }
                }
            }
            row_ends.push(values.len());
            self.histogram_samples(input.histograms(row)).for_each(|item| histograms.push(item));
            histograms.finish_row();
        }
        let column = samples_column(&row_ends, times, values, no_start_times(row_count), histograms.finish());
        Ok(Arc::new(column))
    }
}

/// `step_times(values)`: the evaluation time in seconds of every present cell.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct StepTimes {
    /// The grid of the cells.
    pub grid: StepGrid,
}

impl RowFunction for StepTimes {
    fn name(&self) -> String {
        "step_times".to_owned()
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(self.grid.step_count()))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let seconds = |step| Some(Sample::Float(self.grid.time(step).as_float_seconds()));
        cells_argument(arguments, 0, row_count)?.map_samples(|_, step, _| seconds(step))
    }
}

/// `numbers_only(values)`: histograms go.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct NumbersOnly;

impl RowFunction for NumbersOnly {
    fn name(&self) -> String {
        "numbers_only".to_owned()
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(step_count_of(argument_types, 0)?))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        cells_argument(arguments, 0, row_count)?.map(|value| value)
    }
}
