//! Functions between step cells and other shapes: repeating, and the way back to samples that a subquery needs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{CellsBuilder, cells_argument, float_item};
use crate::error::Error;
use crate::model::{StepGrid, values_type};

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
            let cell = input.cells.is_valid(row).then(|| input.cells.value(row));
            for _ in 0..self.step_count {
                builder.push(cell);
            }
        }
        builder.finish(row_count)
    }
}

/// Which half of a samples table is made.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum SampleHalf {
    /// The times of the present cells.
    Timestamps,
    /// Their values.
    Samples,
}

/// `samples_from_steps(values)`: the present cells of a grid as raw samples; a subquery's inner result.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SamplesFromSteps {
    /// The grid of the cells.
    pub grid: StepGrid,
    /// Times or values.
    pub half: SampleHalf,
}

impl RowFunction for SamplesFromSteps {
    fn name(&self) -> String {
        match self.half {
            SampleHalf::Timestamps => "timestamps_from_steps",
            SampleHalf::Samples => "samples_from_steps",
        }
        .to_owned()
    }

    fn parameters(&self) -> String {
        format!("first={} step={}", self.grid.start(), self.grid.step())
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(match self.half {
            SampleHalf::Timestamps => DataType::List(Arc::new(Field::new("item", DataType::Int64, true))),
            SampleHalf::Samples => DataType::List(float_item()),
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let input = cells_argument(arguments, 0, row_count)?;
        let present_count = input.cells.len() - input.cells.null_count();
        let mut offsets = Vec::with_capacity(row_count + 1);
        offsets.push(0i32);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        match self.half {
            SampleHalf::Timestamps => times.reserve(present_count),
            SampleHalf::Samples => values.reserve(present_count),
        }
        let mut length = 0usize;
        for row in 0..row_count {
            for step in 0..input.step_count {
                let at = row * input.step_count + step;
                if input.cells.is_valid(at) {
                    length += 1;
                    match self.half {
                        SampleHalf::Timestamps => times.push(self.grid.time(step).0),
                        SampleHalf::Samples => values.push(input.cells.value(at)),
                    }
                }
            }
            offsets.push(i32::try_from(length).map_err(|_| Error::execution("a subquery's result is too large"))?);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(match self.half {
            SampleHalf::Timestamps => {
                let item = Arc::new(Field::new("item", DataType::Int64, true));
                Arc::new(ListArray::new(item, offsets, Arc::new(Int64Array::from(times)), None))
            }
            SampleHalf::Samples => {
                Arc::new(ListArray::new(float_item(), offsets, Arc::new(Float64Array::from(values)), None))
            }
        })
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
        cells_argument(arguments, 0, row_count)?.map_steps(|_, step, _| Some(self.grid.time(step).as_float_seconds()))
    }
}
