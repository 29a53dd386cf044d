//! Columns of the two tables as arguments of functions, and step cells as results.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanBufferBuilder, FixedSizeListArray, Float64Array, ListArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

use crate::error::Error;
use crate::kernels::{CellSink, StepScalar};
use crate::model::values_type;

fn wrong(index: usize, wanted: &str) -> Error {
    Error::internal(format!("argument {index} of a plan function is not {wanted}"))
}

fn array<A: Array + Clone + 'static>(
    arguments: &[ColumnarValue],
    index: usize,
    row_count: usize,
    wanted: &str,
) -> Result<A, Error> {
    let column = match arguments.get(index) {
        Some(ColumnarValue::Array(column)) => Arc::clone(column),
        Some(ColumnarValue::Scalar(scalar)) => {
            scalar.to_array_of_size(row_count).map_err(|error| Error::internal(error.to_string()))?
        }
        None => return Err(wrong(index, wanted)),
    };
    column.as_any().downcast_ref::<A>().cloned().ok_or_else(|| wrong(index, wanted))
}

/// A `labels` column.
pub fn labels_argument(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<BinaryArray, Error> {
    array(arguments, index, row_count, "a labels column")
}

/// A `timestamps` or `samples` column.
pub fn list_argument(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<ListArray, Error> {
    array(arguments, index, row_count, "a list column")
}

/// A `values` column with its cells: row i has cells `i·N .. (i+1)·N`.
pub fn cells_argument(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<Cells, Error> {
    let list: FixedSizeListArray = array(arguments, index, row_count, "a values column")?;
    let cells = list.values().as_any().downcast_ref::<Float64Array>().ok_or_else(|| wrong(index, "of floats"))?;
    let step_count = usize::try_from(list.value_length()).unwrap_or(0);
    Ok(Cells { cells: cells.clone(), step_count, row_count: list.len() })
}

/// The number of steps in a `values` column's type.
pub fn step_count_of(argument_types: &[DataType], index: usize) -> Result<usize, Error> {
    match argument_types.get(index) {
        Some(DataType::FixedSizeList(_, length)) => {
            usize::try_from(*length).map_err(|_| wrong(index, "a values column"))
        }
        _ => Err(wrong(index, "a values column")),
    }
}

/// Step cells of many rows in one array.
#[derive(Clone, Debug)]
pub struct Cells {
    /// `row_count · step_count` cells, null = no sample.
    pub cells: Float64Array,
    /// Cells a row.
    pub step_count: usize,
    /// Rows.
    pub row_count: usize,
}

impl Cells {
    /// A new column of the same shape; absent cells stay absent.
    pub fn map(&self, function: impl Fn(f64) -> f64) -> Result<ArrayRef, Error> {
        values_column(self.cells.unary(function), self.step_count, self.row_count)
    }

    /// A new column of the same shape, told the row and the step of each present cell; `None` takes a cell away.
    pub fn map_steps(&self, function: impl Fn(usize, usize, f64) -> Option<f64>) -> Result<ArrayRef, Error> {
        let mut builder = CellsBuilder::with_capacity(self.step_count, self.row_count);
        for row in 0..self.row_count {
            for step in 0..self.step_count {
                let at = row * self.step_count + step;
                let cell = self.cells.is_valid(at).then(|| self.cells.value(at));
                builder.push(cell.and_then(|value| function(row, step, value)));
            }
        }
        builder.finish(self.row_count)
    }
}

/// Builds a `values` column cell by cell.
#[derive(Debug)]
pub struct CellsBuilder {
    values: Vec<f64>,
    present: BooleanBufferBuilder,
    step_count: usize,
}

impl CellsBuilder {
    /// Room for `row_count` rows of `step_count` cells.
    pub fn with_capacity(step_count: usize, row_count: usize) -> Self {
        let capacity = step_count * row_count;
        Self { values: Vec::with_capacity(capacity), present: BooleanBufferBuilder::new(capacity), step_count }
    }

    /// The next cell.
    pub fn push(&mut self, cell: Option<f64>) {
        self.values.push(cell.unwrap_or(0.0));
        self.present.append(cell.is_some());
    }

    /// Has the row that was pushed last any sample?
    pub fn last_row_has_cell(&self) -> bool {
        (self.present.len().saturating_sub(self.step_count)..self.present.len()).any(|at| self.present.get_bit(at))
    }

    /// Has any row a sample at this step?
    pub fn has_cell_at(&self, step: usize) -> bool {
        (step..self.present.len()).step_by(self.step_count.max(1)).any(|at| self.present.get_bit(at))
    }

    /// For kernels, which push whole rows.
    pub fn sink(&mut self) -> CellSink<'_> {
        CellSink::new(&mut self.values, &mut self.present)
    }

    /// The finished column.
    pub fn finish(mut self, row_count: usize) -> Result<ArrayRef, Error> {
        let nulls = NullBuffer::new(self.present.finish());
        values_column(Float64Array::new(ScalarBuffer::from(self.values), Some(nulls)), self.step_count, row_count)
    }
}

/// Wraps cells into a `values` column.
pub fn values_column(cells: Float64Array, step_count: usize, row_count: usize) -> Result<ArrayRef, Error> {
    let DataType::FixedSizeList(item, length) = values_type(step_count) else {
        return Err(Error::internal("values are fixed-size lists"));
    };
    FixedSizeListArray::try_new_with_length(item, length, Arc::new(cells), None, row_count)
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| Error::internal(error.to_string()))
}

/// One row of a `values` column as a literal.
pub fn cells_literal(cells: &[f64]) -> ScalarValue {
    let list = values_column(Float64Array::from(cells.to_vec()), cells.len(), 1)
        .ok()
        .and_then(|column| column.as_any().downcast_ref::<FixedSizeListArray>().cloned())
        .expect("as many cells as steps");
    ScalarValue::FixedSizeList(Arc::new(list))
}

/// The item field of list columns.
pub fn float_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, true))
}

/// A scalar argument: one number, one a step, or a column that holds the same row for every series.
#[derive(Debug)]
pub enum ScalarArgument {
    /// One number for all steps.
    Constant(f64),
    /// One number a step, in row 0.
    Steps(Cells),
}

impl ScalarArgument {
    /// Reads argument `index`.
    pub fn read(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<Self, Error> {
        match arguments.get(index) {
            Some(ColumnarValue::Scalar(ScalarValue::Float64(Some(value)))) => Ok(Self::Constant(*value)),
            // The column of a cross join repeats one row: the first stands for all.
            Some(ColumnarValue::Array(column)) => {
                let first = [ColumnarValue::Array(column.slice(0, column.len().min(1)))];
                Ok(Self::Steps(cells_argument(&first, 0, 1)?))
            }
            Some(ColumnarValue::Scalar(_)) => Ok(Self::Steps(cells_argument(arguments, index, row_count.min(1))?)),
            None => Err(wrong(index, "there")),
        }
    }

    /// The form in which kernels take it. A column without rows (a batch without series) counts as NaN.
    pub fn as_step_scalar(&self) -> StepScalar<'_> {
        match self {
            Self::Constant(value) => StepScalar::Constant(*value),
            Self::Steps(cells) if cells.row_count == 0 => StepScalar::Constant(f64::NAN),
            Self::Steps(cells) => {
                let start = 0;
                StepScalar::PerStep(&cells.cells.values()[start..start + cells.step_count])
            }
        }
    }
}
