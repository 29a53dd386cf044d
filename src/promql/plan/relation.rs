//! Pieces of plans, and the only places where two plans are put together.

use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};

use super::Error;
use crate::kernels::ArithmeticOp;
use crate::model::{COLUMN_LABELS, COLUMN_VALUES, StepGrid, step_count_of_type};
use crate::promql::functions::columns::cells_literal;
use crate::promql::functions::instant::{BinaryWithScalar, CellOperator, Negate, ScalarSide};
use crate::promql::functions::labels::{LabelSelection, NAME_LABELS, SelectLabels};
use crate::promql::functions::{RowFunction, call};
use crate::promql::operators::{Duplicates, Parameter, SeriesNode, SeriesOperator, UniqueSeries};

/// DataFusion's planning errors are defects of ours: the tree was checked before.
pub fn plan_error(error: DataFusionError) -> Error {
    Error::internal(format!("planning failed: {error}"))
}

/// Projects to `labels` and `values`.
pub fn project(plan: LogicalPlan, labels: Expr, values: Expr) -> Result<LogicalPlan, Error> {
    LogicalPlanBuilder::from(plan)
        .project(vec![labels.alias(COLUMN_LABELS), values.alias(COLUMN_VALUES)])
        .and_then(LogicalPlanBuilder::build)
        .map_err(plan_error)
}

/// Applies a function to the cells, labels stay.
pub fn map_values<F: RowFunction>(plan: LogicalPlan, function: F) -> Result<LogicalPlan, Error> {
    project(plan, col(COLUMN_LABELS), call(function, vec![col(COLUMN_VALUES)]))
}

/// The labels without the metric name and what belongs to it. Results that lose their name go through
/// [`super::Planner::labels_without_name`].
pub fn without_name() -> Expr {
    call(SelectLabels(LabelSelection::Drop(NAME_LABELS.clone())), vec![col(COLUMN_LABELS)])
}

/// Applies an operator to whole tables, all on the operator's grid.
pub fn apply(operator: impl SeriesOperator, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan, Error> {
    for input in &inputs {
        check_same_grid(step_count_of(input), Some(operator.step_count()))?;
    }
    SeriesNode::plan(std::sync::Arc::new(operator), inputs).map_err(plan_error)
}

/// How many cells a row of a plan has; `None` for a samples table.
fn step_count_of(plan: &LogicalPlan) -> Option<usize> {
    step_count_of_type(plan.schema().field_with_unqualified_name(COLUMN_VALUES).ok()?.data_type())
}

/// DataFusion would join and unite lists of different lengths without a word.
fn check_same_grid(a: Option<usize>, b: Option<usize>) -> Result<(), Error> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(Error::internal(format!("a plan puts {a} steps beside {b}"))),
        _ => Ok(()),
    }
}

/// Checks that no label set stands twice, after labels have changed. Which rule holds is said in `names.rs`.
pub fn unique(plan: LogicalPlan, grid: StepGrid, duplicates: Duplicates) -> Result<LogicalPlan, Error> {
    apply(UniqueSeries { step_count: grid.step_count(), duplicates }, vec![plan])
}

/// A row of literals: the empty label set and these cells.
pub fn literal_row(cells: &[f64]) -> Result<LogicalPlan, Error> {
    let labels = lit(ScalarValue::Binary(Some(Vec::new())));
    project_one_row(labels, Expr::Literal(cells_literal(cells), None))
}

fn project_one_row(labels: Expr, values: Expr) -> Result<LogicalPlan, Error> {
    LogicalPlanBuilder::empty(true)
        .project(vec![labels.alias(COLUMN_LABELS), values.alias(COLUMN_VALUES)])
        .and_then(LogicalPlanBuilder::build)
        .map_err(plan_error)
}

/// One number a step: known when planning, or a plan of one row.
#[derive(Clone, Debug)]
pub enum Scalar {
    /// The same at every step.
    Constant(f64),
    /// Known for every step of the grid.
    PerStep(Vec<f64>),
    /// A steps table of one row.
    Plan(Box<LogicalPlan>),
}

impl Scalar {
    /// As a steps table of one row with no labels.
    pub fn into_plan(self, grid: StepGrid) -> Result<LogicalPlan, Error> {
        match self {
            Self::Constant(value) => literal_row(&vec![value; grid.step_count()]),
            Self::PerStep(values) => literal_row(&values),
            Self::Plan(plan) => Ok(*plan),
        }
    }

    /// Unary minus.
    pub fn negated(self) -> Result<Self, Error> {
        Ok(match self {
            Self::Constant(value) => Self::Constant(-value),
            Self::PerStep(values) => Self::PerStep(values.into_iter().map(|value| -value).collect()),
            Self::Plan(plan) => Self::Plan(Box::new(map_values(*plan, Negate)?)),
        })
    }

    /// `self op other`, both scalars; comparisons give 0 or 1.
    pub fn combined(self, operator: CellOperator, other: Self, grid: StepGrid) -> Result<Self, Error> {
        let known = |scalar: &Self| !matches!(scalar, Self::Plan(_));
        if known(&self) && known(&other) {
            if let (Self::Constant(a), Self::Constant(b)) = (&self, &other) {
                return Ok(Self::Constant(operator.apply(*a, *b, *a).unwrap_or(f64::NAN)));
            }
            let cells = (0..grid.step_count())
                .map(|step| {
                    let (a, b) = (self.known_at(step), other.known_at(step));
                    operator.apply(a, b, a).unwrap_or(f64::NAN)
                })
                .collect();
            return Ok(Self::PerStep(cells));
        }
        let plan = with_scalar(self.into_plan(grid)?, other, |scalar| {
            let function = BinaryWithScalar { operator, scalar_side: ScalarSide::Right, notes: None };
            (col(COLUMN_LABELS), call(function, vec![col(COLUMN_VALUES), scalar]))
        })?;
        Ok(Self::Plan(Box::new(plan)))
    }

    fn known_at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values[step],
            Self::Plan(_) => f64::NAN,
        }
    }
}

/// A plan with scalars at hand: each is a literal, or a column that a cross join with its one row attached.
pub struct WithScalars {
    /// The plan, with the attached columns.
    pub plan: LogicalPlan,
    /// One expression a scalar.
    pub arguments: Vec<Expr>,
}

/// Attaches scalars to every row of a plan.
pub fn attach_scalars(plan: LogicalPlan, scalars: Vec<Scalar>) -> Result<WithScalars, Error> {
    let mut with = WithScalars { plan, arguments: Vec::new() };
    for (index, scalar) in scalars.into_iter().enumerate() {
        match scalar {
            Scalar::Constant(value) => {
                with.arguments.push(lit(value));
            }
            Scalar::PerStep(values) => {
                with.arguments.push(Expr::Literal(cells_literal(&values), None));
            }
            Scalar::Plan(scalar) => {
                check_same_grid(step_count_of(&with.plan), step_count_of(&scalar))?;
                let name = format!("scalar_{index}");
                let column = LogicalPlanBuilder::from(*scalar)
                    .project(vec![col(COLUMN_VALUES).alias(&name)])
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(plan_error)?;
                with.plan = LogicalPlanBuilder::from(column)
                    .cross_join(with.plan)
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(plan_error)?;
                with.arguments.push(col(&name));
            }
        }
    }
    Ok(with)
}

/// Scalars as parameters of an operator: those that are not known yet become further inputs of it. A column would be lost
/// where the vector has no rows.
pub fn operator_parameters(scalars: Vec<Scalar>, inputs: &mut Vec<LogicalPlan>) -> Vec<Parameter> {
    let parameter = |scalar| match scalar {
        Scalar::Constant(value) => Parameter::Constant(value),
        Scalar::PerStep(values) => Parameter::PerStep(values),
        Scalar::Plan(plan) => {
            inputs.push(*plan);
            Parameter::Input(inputs.len() - 1)
        }
    };
    scalars.into_iter().map(parameter).collect()
}

/// Projects a plan to labels and values that depend on a scalar.
pub fn with_scalar(
    plan: LogicalPlan,
    scalar: Scalar,
    columns: impl FnOnce(Expr) -> (Expr, Expr),
) -> Result<LogicalPlan, Error> {
    let mut with = attach_scalars(plan, vec![scalar])?;
    let argument = with.arguments.pop().ok_or_else(|| Error::internal("one scalar was attached"))?;
    let (labels, values) = columns(argument);
    project(with.plan, labels, values)
}

/// The arithmetic operator behind a PromQL operator.
pub fn arithmetic(op: crate::syntax::BinaryOp) -> Option<ArithmeticOp> {
    use crate::syntax::BinaryOp;
    Some(match op {
        BinaryOp::Add => ArithmeticOp::Add,
        BinaryOp::Sub => ArithmeticOp::Sub,
        BinaryOp::Mul => ArithmeticOp::Mul,
        BinaryOp::Div => ArithmeticOp::Div,
        BinaryOp::Mod => ArithmeticOp::Mod,
        BinaryOp::Pow => ArithmeticOp::Pow,
        BinaryOp::Atan2 => ArithmeticOp::Atan2,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_different_grids_are_never_put_together() {
        let row = |cells: &[f64]| literal_row(cells).expect("plans");
        let two_steps = StepGrid::with_count(crate::model::TimestampMs(0), crate::model::DurationMs(1), 2);
        assert!(unique(row(&[1.0, 2.0]), two_steps, Duplicates::Refuse).is_ok());
        let error = unique(row(&[1.0, 2.0, 3.0]), two_steps, Duplicates::Refuse).expect_err("three beside two");
        assert_eq!(error.message(), "a plan puts 3 steps beside 2");
        let scalar = Scalar::Plan(Box::new(row(&[1.0])));
        assert!(attach_scalars(row(&[1.0, 2.0]), vec![scalar.clone()]).is_err());
        assert!(attach_scalars(row(&[1.0]), vec![scalar]).is_ok());
    }
}
