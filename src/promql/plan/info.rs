//! `info(v, {…})`: which info series are wanted, and as of when.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use super::Planner;
use super::call::argument;
use super::relation::apply;
use crate::error::Error;
use crate::model::{DurationMs, StepGrid, TimestampMs};
use crate::promql::operators::Info;
use crate::syntax::{AtModifier, Call, DurationExpr, Expr, ExprKind, ValueType};

/// When the samples of a vector were taken: at a fixed time, or so long before each step.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Reference {
    Fixed(TimestampMs),
    BeforeStep(DurationMs),
}

/// The reference of all the vectors that an expression is made of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Shared {
    /// No vector contributes: a scalar, a literal.
    NoVector,
    One(Reference),
    /// Several, or a vector that no selector stands behind.
    None,
}

impl Shared {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoVector, shared) | (shared, Self::NoVector) => shared,
            (one, other) if one == other => one,
            _ => Self::None,
        }
    }
}

impl Planner<'_> {
    /// Info series are looked up as of the time of the samples that they describe, so that `info(x @ 0)` is the same at every
    /// step. Where an expression mixes samples of different times, the time of the step holds.
    ///
    /// Prometheus v3.14 honours `@` and `offset` only for what it reads, not for when it looks; the correction came after it
    /// (prometheus/prometheus#19266 and #19387) and is followed here.
    pub fn plan_info(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = argument(function, 0)?;
        let matchers = match function.args.get(1).map(|selector| &selector.kind) {
            None => Vec::new(),
            Some(ExprKind::VectorSelector(selector)) => selector.matchers.clone(),
            Some(_) => return Err(Error::internal("info() has label selectors in every checked tree")),
        };
        let reference = match self.shared_reference(vector, Reference::BeforeStep(DurationMs(0)))? {
            Shared::One(Reference::Fixed(time)) => StepGrid::instant(time),
            Shared::One(Reference::BeforeStep(offset)) => grid.shifted_back(offset),
            Shared::NoVector | Shared::None => grid,
        };
        let info = Info {
            matchers,
            source: Arc::clone(self.source),
            context: self.context.clone(),
            reference,
            lookback: self.options.lookback,
            step_count: grid.step_count(),
        };
        apply(info, vec![self.plan_vector(vector, grid)?])
    }

    /// `outer` is the reference of what stands around the expression.
    fn shared_reference(&self, expr: &Expr, outer: Reference) -> Result<Shared, Error> {
        if !matches!(expr.value_type(), ValueType::Vector | ValueType::Matrix) {
            return Ok(Shared::NoVector);
        }
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => Ok(Shared::NoVector),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.shared_reference(inner, outer),
            ExprKind::Binary(binary) => {
                let left = self.shared_reference(&binary.lhs, outer)?;
                Ok(left.and(self.shared_reference(&binary.rhs, outer)?))
            }
            ExprKind::Aggregate(aggregate) => self.shared_reference(&aggregate.expr, outer),
            ExprKind::VectorSelector(selector) => {
                self.moved(outer, selector.at, selector.offset.as_ref()).map(Shared::One)
            }
            ExprKind::MatrixSelector(matrix) => {
                self.moved(outer, matrix.selector.at, matrix.selector.offset.as_ref()).map(Shared::One)
            }
            ExprKind::Subquery(subquery) => {
                let inner = self.moved(outer, subquery.at, subquery.offset.as_ref())?;
                self.shared_reference(&subquery.expr, inner)
            }
            ExprKind::Call(call) => {
                // The second argument of info() is no vector, though it is written like one.
                let count = if call.function.name == "info" { 1 } else { call.args.len() };
                let mut shared = Shared::NoVector;
                for arg in call.args.iter().take(count) {
                    shared = shared.and(self.shared_reference(arg, outer)?);
                }
                Ok(if shared == Shared::NoVector { Shared::None } else { shared })
            }
        }
    }

    fn moved(
        &self,
        outer: Reference,
        at: Option<AtModifier>,
        offset: Option<&DurationExpr>,
    ) -> Result<Reference, Error> {
        let offset = self.bounds.offset(offset)?;
        Ok(match (at, outer) {
            (Some(at), _) => Reference::Fixed(self.bounds.resolve(at) - offset),
            (None, Reference::Fixed(time)) => Reference::Fixed(time - offset),
            (None, Reference::BeforeStep(before)) => {
                Reference::BeforeStep(DurationMs(before.0.saturating_add(offset.0)))
            }
        })
    }
}
