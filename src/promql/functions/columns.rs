//! Columns of the two tables as arguments of functions, and step cells as results.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Float64Array, ListArray, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

use crate::error::Error;
use crate::kernels::{CellSink, StepScalar};
use crate::model::{
    HistogramListBuilder, Sample, SamplesColumn, StepCells, TimedHistogram, ValuesColumn, step_count_of_type,
    values_column as column_of_values,
};

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

/// A column of samples or of values as it is.
pub fn struct_argument(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<StructArray, Error> {
    array(arguments, index, row_count, "a column of samples or values")
}

/// The column with other histograms.
pub fn with_histograms(column: &StructArray, histograms: ListArray) -> Result<StructArray, Error> {
    let (fields, mut columns, nulls) = column.clone().into_parts();
    let at = fields.find("histograms").map(|(at, _)| at).ok_or_else(|| Error::internal("a column lacks histograms"))?;
    columns[at] = Arc::new(histograms);
    StructArray::try_new_with_length(fields, columns, nulls, column.len())
        .map_err(|error| Error::internal(error.to_string()))
}

/// A `samples` column.
pub fn samples_argument(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<SampleRows, Error> {
    let column: StructArray = array(arguments, index, row_count, "a samples column")?;
    let histograms = SamplesColumn::try_new(&column)?.histograms();
    let histograms = if histograms.is_empty() { Vec::new() } else { histograms.rows()? };
    Ok(SampleRows { column, histograms })
}

/// Raw samples of many rows.
#[derive(Clone, Debug)]
pub struct SampleRows {
    column: StructArray,
    /// By row; empty where no row has any.
    histograms: Vec<Vec<TimedHistogram>>,
}

impl SampleRows {
    /// The floats, with their start timestamps.
    pub fn floats(&self) -> Result<SamplesColumn<'_>, Error> {
        SamplesColumn::try_new(&self.column)
    }

    /// The histograms of a row, by time.
    pub fn histograms(&self, row: usize) -> &[TimedHistogram] {
        self.histograms.get(row).map_or(&[], Vec::as_slice)
    }
}

/// A `values` column with its cells: row i has cells `i·N .. (i+1)·N`.
pub fn cells_argument(arguments: &[ColumnarValue], index: usize, row_count: usize) -> Result<Cells, Error> {
    let column: StructArray = array(arguments, index, row_count, "a values column")?;
    let values = ValuesColumn::try_new(&column)?;
    let histograms = values.histograms();
    let histograms = if histograms.is_empty() { Vec::new() } else { histograms.rows()? };
    Ok(Cells {
        cells: values.floats().clone(),
        histograms,
        step_count: values.step_count(),
        row_count: values.row_count(),
    })
}

/// The number of steps in a `values` column's type.
pub fn step_count_of(argument_types: &[DataType], index: usize) -> Result<usize, Error> {
    argument_types.get(index).and_then(step_count_of_type).ok_or_else(|| wrong(index, "a values column"))
}

/// Step cells of many rows.
#[derive(Clone, Debug)]
pub struct Cells {
    /// `row_count · step_count` numbers, null = none.
    pub cells: Float64Array,
    /// Histograms by row and step; empty where no row has any.
    histograms: Vec<Vec<TimedHistogram>>,
    /// Cells a row.
    pub step_count: usize,
    /// Rows.
    pub row_count: usize,
}

impl Cells {
    /// Is any cell a histogram?
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histograms of a row, by step.
    pub fn histograms(&self, row: usize) -> &[TimedHistogram] {
        self.histograms.get(row).map_or(&[], Vec::as_slice)
    }

    /// The number at a step.
    #[inline]
    pub fn float(&self, row: usize, step: usize) -> Option<f64> {
        let at = row * self.step_count + step;
        self.cells.is_valid(at).then(|| self.cells.value(at))
    }

    /// Number or histogram at a step.
    pub fn sample(&self, row: usize, step: usize) -> Option<Sample> {
        if let Some(value) = self.float(row, step) {
            return Some(Sample::Float(value));
        }
        let own = self.histograms(row);
        let at = own.binary_search_by_key(&(step as i64), |item| item.at).ok()?;
        Some(Sample::Histogram(Arc::clone(&own[at].histogram)))
    }

    /// A new column of the numbers alone; absent cells stay absent and histograms go.
    pub fn map(&self, function: impl Fn(f64) -> f64) -> Result<ArrayRef, Error> {
        values_column(self.cells.unary(function), self.step_count, self.row_count)
    }

    /// A new column of the numbers alone, told the row and the step of each; `None` takes a cell away, and histograms go.
    pub fn map_steps(&self, function: impl Fn(usize, usize, f64) -> Option<f64>) -> Result<ArrayRef, Error> {
        let mut builder = CellsBuilder::with_capacity(self.step_count, self.row_count);
        for row in 0..self.row_count {
            for step in 0..self.step_count {
                builder.push(self.float(row, step).and_then(|value| function(row, step, value)));
            }
        }
        builder.finish(self.row_count)
    }

    /// A new column of the same shape out of numbers and histograms.
    pub fn map_samples(&self, function: impl Fn(usize, usize, Sample) -> Option<Sample>) -> Result<ArrayRef, Error> {
        let mut builder = CellsBuilder::with_capacity(self.step_count, self.row_count);
        for row in 0..self.row_count {
            for step in 0..self.step_count {
                builder.push_sample(self.sample(row, step).and_then(|sample| function(row, step, sample)));
            }
        }
        builder.finish(self.row_count)
    }
}

/// Builds a `values` column cell by cell.
#[derive(Debug)]
pub struct CellsBuilder {
    cells: StepCells,
    step_count: usize,
}

impl CellsBuilder {
    /// Room for `row_count` rows of `step_count` cells.
    pub fn with_capacity(step_count: usize, row_count: usize) -> Self {
        Self { cells: StepCells::with_capacity(step_count, row_count), step_count }
    }

    /// The next cell: a number or nothing.
    #[inline]
    pub fn push(&mut self, cell: Option<f64>) {
        self.cells.push(cell);
    }

    /// The next cell: a number, a histogram or nothing.
    pub fn push_sample(&mut self, sample: Option<Sample>) {
        self.cells.push_sample(sample);
    }

    /// The numbers of all cells so far.
    pub fn numbers(&mut self) -> Vec<Option<f64>> {
        let (floats, present) = self.cells.float_buffers();
        floats.iter().enumerate().map(|(at, value)| present.get_bit(at).then_some(*value)).collect()
    }

    /// Has the row that was pushed last any sample?
    pub fn last_row_has_cell(&self) -> bool {
        let end = self.cells.len();
        (end.saturating_sub(self.step_count)..end).any(|at| self.cells.is_present(at))
    }

    /// Has any row a sample at this step?
    pub fn has_cell_at(&self, step: usize) -> bool {
        (step..self.cells.len()).step_by(self.step_count.max(1)).any(|at| self.cells.is_present(at))
    }

    /// For kernels, which push whole rows of numbers.
    pub fn sink(&mut self) -> CellSink<'_> {
        let (floats, present) = self.cells.float_buffers();
        CellSink::new(floats, present)
    }

    /// The finished column.
    pub fn finish(mut self, row_count: usize) -> Result<ArrayRef, Error> {
        Ok(Arc::new(self.cells.finish(row_count)?.0))
    }
}

/// Wraps numbers into a `values` column without histograms.
pub fn values_column(cells: Float64Array, step_count: usize, row_count: usize) -> Result<ArrayRef, Error> {
    let mut histograms = HistogramListBuilder::default();
    (0..row_count).for_each(|_| histograms.finish_row());
    Ok(Arc::new(column_of_values(cells, histograms.finish(), step_count, row_count)?))
}

/// One row of a `values` column as a literal.
pub fn cells_literal(cells: &[f64]) -> ScalarValue {
    let list = values_column(Float64Array::from(cells.to_vec()), cells.len(), 1)
        .ok()
        .and_then(|column| column.as_any().downcast_ref::<StructArray>().cloned())
        .expect("as many cells as steps");
    ScalarValue::Struct(Arc::new(list))
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
