//! Unary minus and binary operators.

use datafusion::logical_expr::{LogicalPlan, col};

use super::Planner;
use super::relation::{Scalar, apply, arithmetic, project, with_scalar};
use crate::error::Error;
use crate::kernels::ComparisonOp;
use crate::model::{COLUMN_LABELS, COLUMN_VALUES, LabelNames, StepGrid};
use crate::promql::functions::call;
use crate::promql::functions::instant::{BinaryWithScalar, CellOperator, Negate, OperatorNotes, ScalarSide};
use crate::promql::functions::labels::{LabelSelection, NameRemoval};
use crate::promql::functions::sample_operator::TrimSide;
use crate::promql::operators::{Duplicates, ResultName, SetOperator, SetOperatorKind, VectorMatch, match_group};
use crate::syntax::{Binary, BinaryOp, Expr, ValueType, VectorMatching};

impl Planner<'_> {
    /// `-v`
    pub fn plan_negation(&self, inner: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let plan = self.plan_vector(inner, grid)?;
        let negated = project(plan, self.labels_without_name(), call(Negate, vec![col(COLUMN_VALUES)]))?;
        self.unique_by_series(negated, grid, Duplicates::GlueDisjoint)
    }

    /// Both operands are scalars.
    pub fn plan_binary_scalar(&self, binary: &Binary, grid: StepGrid) -> Result<Scalar, Error> {
        let operator = match cell_operator(binary)? {
            // The parser refuses scalar comparisons without `bool`.
            CellOperator::Filter(op) => CellOperator::Bool(op),
            CellOperator::Trim(_) => {
                let symbol = binary.op.symbol();
                return Err(Error::execution(format!("operator {symbol:?} not allowed for Scalar operations")));
            }
            operator => operator,
        };
        let (lhs, rhs) = (self.plan_scalar(&binary.lhs, grid)?, self.plan_scalar(&binary.rhs, grid)?);
        lhs.combined(operator, rhs, grid)
    }

    /// At least one operand is a vector.
    pub fn plan_binary_vector(&self, binary: &Binary, grid: StepGrid) -> Result<LogicalPlan, Error> {
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Vector, ValueType::Scalar) => {
                self.plan_vector_scalar(binary, &binary.lhs, &binary.rhs, ScalarSide::Right, grid)
            }
            (ValueType::Scalar, ValueType::Vector) => {
                self.plan_vector_scalar(binary, &binary.rhs, &binary.lhs, ScalarSide::Left, grid)
            }
            _ if binary.op.is_set_operator() => self.plan_set_operator(binary, grid),
            _ => self.plan_vector_vector(binary, grid),
        }
    }

    fn plan_vector_scalar(
        &self,
        binary: &Binary,
        vector: &Expr,
        scalar: &Expr,
        scalar_side: ScalarSide,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let operator = cell_operator(binary)?;
        let drops_name = drops_name(operator);
        let notes = Some(self.operator_notes(binary));
        let (vector, scalar) = (self.plan_vector(vector, grid)?, self.plan_scalar(scalar, grid)?);
        let plan = with_scalar(vector, scalar, |scalar| {
            let labels = if drops_name { self.labels_without_name() } else { col(COLUMN_LABELS) };
            (labels, call(BinaryWithScalar { operator, scalar_side, notes }, vec![col(COLUMN_VALUES), scalar]))
        })?;
        if drops_name { self.unique_by_step(plan, grid) } else { Ok(plan) }
    }

    fn plan_set_operator(&self, binary: &Binary, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let kind = match binary.op {
            BinaryOp::And => SetOperatorKind::And,
            BinaryOp::Or => SetOperatorKind::Or,
            _ => SetOperatorKind::Unless,
        };
        let matching = match_group(&matching_labels(matching_of(binary)?));
        let inputs = vec![self.plan_vector(&binary.lhs, grid)?, self.plan_vector(&binary.rhs, grid)?];
        let duplicates = self.step_duplicates(grid);
        apply(SetOperator { kind, matching, duplicates, step_count: grid.step_count() }, inputs)
    }

    fn plan_vector_vector(&self, binary: &Binary, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let matching = matching_of(binary)?;
        let operator = cell_operator(binary)?;
        let inputs = vec![self.plan_vector(&binary.lhs, grid)?, self.plan_vector(&binary.rhs, grid)?];
        let node = VectorMatch {
            operator,
            cardinality: matching.cardinality,
            labels: matching_labels(matching),
            include: matching.include.clone(),
            fill_left: matching.fill_left,
            fill_right: matching.fill_right,
            name: self.result_name(operator),
            duplicates: self.step_duplicates(grid),
            step_count: grid.step_count(),
            notes: self.operator_notes(binary),
        };
        apply(node, inputs)
    }

    fn operator_notes(&self, binary: &Binary) -> OperatorNotes {
        OperatorNotes {
            symbol: binary.op.symbol(),
            span: binary.lhs.span.start..binary.rhs.span.end,
            annotations: self.context.annotations.clone(),
        }
    }
}

impl Planner<'_> {
    /// What becomes of the name between two vectors. Delayed removal is only for `bool`: arithmetic drops the name at once,
    /// and a filter passes the name on whatever its operands have lost.
    ///
    /// Source: Prometheus v3.14 promql/engine.go VectorBinop, resultMetric.
    fn result_name(&self, operator: CellOperator) -> ResultName {
        match (operator, self.name_removal()) {
            (CellOperator::Filter(_) | CellOperator::Trim(_), _) => ResultName::Keep,
            (CellOperator::Bool(_), NameRemoval::AtEnd) => ResultName::Mark,
            _ => ResultName::Drop,
        }
    }
}

fn matching_of(binary: &Binary) -> Result<&VectorMatching, Error> {
    binary.matching.as_ref().ok_or_else(|| Error::internal("two vectors have a matching in every checked tree"))
}

fn matching_labels(matching: &VectorMatching) -> LabelSelection {
    let names = LabelNames::new(&matching.labels);
    if matching.on { LabelSelection::Keep(names) } else { LabelSelection::Drop(names) }
}

/// Arithmetic and `bool` make something new, which has no name; a filter passes samples on, and what is trimmed keeps it too.
fn drops_name(operator: CellOperator) -> bool {
    !matches!(operator, CellOperator::Filter(_) | CellOperator::Trim(_))
}

fn cell_operator(binary: &Binary) -> Result<CellOperator, Error> {
    if let Some(op) = arithmetic(binary.op) {
        return Ok(CellOperator::Arithmetic(op));
    }
    let comparison = match binary.op {
        BinaryOp::Equal => ComparisonOp::Equal,
        BinaryOp::NotEqual => ComparisonOp::NotEqual,
        BinaryOp::Less => ComparisonOp::Less,
        BinaryOp::LessOrEqual => ComparisonOp::LessOrEqual,
        BinaryOp::Greater => ComparisonOp::Greater,
        BinaryOp::GreaterOrEqual => ComparisonOp::GreaterOrEqual,
        BinaryOp::TrimUpper => return Ok(CellOperator::Trim(TrimSide::Upper)),
        BinaryOp::TrimLower => return Ok(CellOperator::Trim(TrimSide::Lower)),
        other => return Err(Error::internal(format!("{:?} does not go cell by cell", other.symbol()))),
    };
    Ok(if binary.return_bool { CellOperator::Bool(comparison) } else { CellOperator::Filter(comparison) })
}
