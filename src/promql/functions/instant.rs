//! Functions and operators that work cell by cell.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{ScalarArgument, cells_argument, step_count_of};
use crate::error::Error;
use crate::kernels::{ArithmeticOp, ComparisonOp, InstantFunction, clamp, clamp_max, clamp_min, round_to_nearest};
use crate::model::values_type;

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
        cells_argument(arguments, 0, row_count)?.map(|value| -value)
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

/// A binary operator on two floats.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CellOperator {
    /// Always a number.
    Arithmetic(ArithmeticOp),
    /// Keeps a value where the comparison holds.
    Filter(ComparisonOp),
    /// 1 where the comparison holds, else 0.
    Bool(ComparisonOp),
}

impl CellOperator {
    /// The cell of `a op b`; a filter keeps `kept`.
    pub fn apply(self, a: f64, b: f64, kept: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(op) => Some(op.apply(a, b)),
            Self::Filter(op) => op.holds(a, b).then_some(kept),
            Self::Bool(op) => Some(if op.holds(a, b) { 1.0 } else { 0.0 }),
        }
    }

    /// As EXPLAIN shows it.
    pub fn label(self) -> String {
        match self {
            Self::Arithmetic(op) => format!("{op:?}"),
            Self::Filter(op) => format!("{op:?}"),
            Self::Bool(op) => format!("{op:?} bool"),
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
        cells.map_steps(|_, step, value| match self.scalar_side {
            ScalarSide::Left => self.operator.apply(scalar.at(step), value, value),
            ScalarSide::Right => self.operator.apply(value, scalar.at(step), value),
        })
    }
}
