//! Functions and operators that work cell by cell.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{Cells, ScalarArgument, cells_argument, step_count_of};
use super::sample_operator::{OperatorNote, TrimSide};
use crate::error::Error;
use crate::kernels::native_histogram::{histogram_avg, histogram_stddev, histogram_stdvar, negate};
use crate::kernels::{
    ArithmeticOp, ComparisonOp, InstantFunction, StepScalar, clamp, clamp_max, clamp_min, round_to_nearest,
};
use crate::model::{AnnotationSink, NativeHistogram, Sample, values_type};
use crate::syntax::Span;

/// `prom_abs(values)` and its siblings.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct InstantCall {
    /// Which function.
    pub function: InstantFunction,
}

impl RowFunction for InstantCall {
    fn name(&self) -> String {
        format!("prom_{}", self.function.name())
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(step_count_of(argument_types, 0)?))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        cells_argument(arguments, 0, row_count)?.map(|value| self.function.apply(value))
    }
}

/// `negate(values)`: unary minus.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Negate;

impl RowFunction for Negate {
    fn name(&self) -> String {
        "negate".to_owned()
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(step_count_of(argument_types, 0)?))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let cells = cells_argument(arguments, 0, row_count)?;
        if !cells.has_histograms() {
            return cells.map(|value| -value);
        }
        cells.map_samples(|_, _, sample| {
            Some(match sample {
                Sample::Float(value) => Sample::Float(-value),
                Sample::Histogram(mut histogram) => {
                    negate(Arc::make_mut(&mut histogram));
                    Sample::Histogram(histogram)
                }
            })
        })
    }
}

/// Functions of a cell and scalar arguments.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScalarFunctionKind {
    /// `round(v, to_nearest)`
    Round,
    /// `clamp(v, min, max)`
    Clamp,
    /// `clamp_min(v, min)`
    ClampMin,
    /// `clamp_max(v, max)`
    ClampMax,
}

/// `prom_clamp(values, scalars…)` and its siblings.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ScalarCall {
    /// Which function.
    pub function: ScalarFunctionKind,
}

impl RowFunction for ScalarCall {
    fn name(&self) -> String {
        match self.function {
            ScalarFunctionKind::Round => "prom_round",
            ScalarFunctionKind::Clamp => "prom_clamp",
            ScalarFunctionKind::ClampMin => "prom_clamp_min",
            ScalarFunctionKind::ClampMax => "prom_clamp_max",
        }
        .to_owned()
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(step_count_of(argument_types, 0)?))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let cells = cells_argument(arguments, 0, row_count)?;
        let scalars = (1..arguments.len())
            .map(|index| ScalarArgument::read(arguments, index, row_count))
            .collect::<Result<Vec<_>, _>>()?;
        let scalars: Vec<_> = scalars.iter().map(ScalarArgument::as_step_scalar).collect();
        cells.map_steps(|_, step, value| {
            let scalar = |index: usize| scalars.get(index).map_or(f64::NAN, |scalar| scalar.at(step));
            match self.function {
                ScalarFunctionKind::Round => Some(round_to_nearest(value, scalar(0))),
                ScalarFunctionKind::Clamp => clamp(value, scalar(0), scalar(1)),
                ScalarFunctionKind::ClampMin => Some(clamp_min(value, scalar(0))),
                ScalarFunctionKind::ClampMax => Some(clamp_max(value, scalar(0))),
            }
        })
    }
}

/// A binary operator on two cells.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CellOperator {
    /// Always a number.
    Arithmetic(ArithmeticOp),
    /// Keeps a value where the comparison holds.
    Filter(ComparisonOp),
    /// 1 where the comparison holds, else 0.
    Bool(ComparisonOp),
    /// Cuts a histogram at a number; numbers have no result.
    Trim(TrimSide),
}

impl CellOperator {
    /// The number that `a op b` gives; a filter keeps `kept`.
    pub fn apply(self, a: f64, b: f64, kept: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(op) => Some(op.apply(a, b)),
            Self::Filter(op) => op.holds(a, b).then_some(kept),
            Self::Bool(op) => Some(if op.holds(a, b) { 1.0 } else { 0.0 }),
            Self::Trim(_) => None,
        }
    }

    /// As EXPLAIN shows it.
    pub fn label(self) -> String {
        match self {
            Self::Arithmetic(op) => format!("{op:?}"),
            Self::Filter(op) => format!("{op:?}"),
            Self::Bool(op) => format!("{op:?} bool"),
            Self::Trim(side) => format!("Trim{side:?}"),
        }
    }
}

/// On which side of the operator the scalar stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScalarSide {
    /// `2 > v`
    Left,
    /// `v > 2`
    Right,
}

/// `vector op scalar`: `(values, scalar)`. A filter keeps the vector's value on whichever side it stands.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BinaryWithScalar {
    /// The operator.
    pub operator: CellOperator,
    /// The scalar's side.
    pub scalar_side: ScalarSide,
    /// Who is told of samples that the operator makes no sense of; nobody where both sides are scalars.
    pub notes: Option<OperatorNotes>,
}

/// Where an operator stands in the query, and who is told what it meets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperatorNotes {
    /// As it is written.
    pub symbol: &'static str,
    /// From its left operand to its right one.
    pub span: Span,
    /// Who is told.
    pub annotations: AnnotationSink,
}

impl OperatorNotes {
    /// Tells it.
    pub fn add(&self, note: OperatorNote) {
        self.annotations.add(note.annotation(self.symbol, self.span.clone()));
    }
}

impl BinaryWithScalar {
    /// Prometheus tells only the last that it meets at a step. Here all are alike: the operator decides which kind of sample
    /// it does not know, and the scalar's kind is known.
    fn evaluate_samples(&self, cells: &Cells, scalar: &StepScalar<'_>) -> Result<ArrayRef, Error> {
        cells.map_samples(|_, step, sample| {
            let number = Sample::Float(scalar.at(step));
            let (left, right) = match self.scalar_side {
                ScalarSide::Left => (&number, &sample),
                ScalarSide::Right => (&sample, &number),
            };
            match self.operator.apply_to_samples(left, right) {
                Ok(outcome) if !outcome.is_kept => None,
                Ok(_) if matches!(self.operator, CellOperator::Filter(_)) => Some(sample),
                Ok(outcome) => Some(outcome.sample),
                Err(note) => {
                    self.notes.iter().for_each(|notes| notes.add(note));
                    None
                }
            }
        })
    }
}

impl RowFunction for BinaryWithScalar {
    fn name(&self) -> String {
        "binary_with_scalar".to_owned()
    }

    fn parameters(&self) -> String {
        format!("{} scalar={:?}", self.operator.label(), self.scalar_side)
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(step_count_of(argument_types, 0)?))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let cells = cells_argument(arguments, 0, row_count)?;
        let scalar = ScalarArgument::read(arguments, 1, row_count)?;
        let scalar = scalar.as_step_scalar();
        if cells.has_histograms() || matches!(self.operator, CellOperator::Trim(_)) {
            return self.evaluate_samples(&cells, &scalar);
        }
        cells.map_steps(|_, step, value| match self.scalar_side {
            ScalarSide::Left => self.operator.apply(scalar.at(step), value, value),
            ScalarSide::Right => self.operator.apply(value, scalar.at(step), value),
        })
    }
}

/// What can be read from a native histogram without parameters.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum HistogramProperty {
    /// `histogram_avg`
    Avg,
    /// `histogram_count`
    Count,
    /// `histogram_sum`
    Sum,
    /// `histogram_stddev`
    Stddev,
    /// `histogram_stdvar`
    Stdvar,
}

impl HistogramProperty {
    const NAMES: [(Self, &str); 5] = [
        (Self::Avg, "histogram_avg"),
        (Self::Count, "histogram_count"),
        (Self::Sum, "histogram_sum"),
        (Self::Stddev, "histogram_stddev"),
        (Self::Stdvar, "histogram_stdvar"),
    ];

    /// The property that a PromQL function reads.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, own)| *own == name).map(|(property, _)| *property)
    }

    /// The PromQL function.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(property, _)| *property == self).map_or("", |(_, name)| name)
    }

    fn read(self, histogram: &NativeHistogram) -> f64 {
        match self {
            Self::Avg => histogram_avg(histogram),
            Self::Count => histogram.count,
            Self::Sum => histogram.sum,
            Self::Stddev => histogram_stddev(histogram),
            Self::Stdvar => histogram_stdvar(histogram),
        }
    }
}

/// `histogram_avg(values)` and its siblings: a number of each histogram; numbers have none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ReadHistogram {
    /// Which number.
    pub property: HistogramProperty,
}

impl RowFunction for ReadHistogram {
    fn name(&self) -> String {
        format!("prom_{}", self.property.name())
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(step_count_of(argument_types, 0)?))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        cells_argument(arguments, 0, row_count)?.map_samples(|_, _, sample| match sample {
            Sample::Float(_) => None,
            Sample::Histogram(histogram) => Some(Sample::Float(self.property.read(&histogram))),
        })
    }
}
