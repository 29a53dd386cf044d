//! Trees to plans, one file per kind of expression. No state, no I/O.

mod aggregation;
mod binary;
mod call;
mod histogram_parts;
mod info;
mod names;
mod pushdown;
mod relation;
mod selector;
mod subquery;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

pub(super) use self::aggregation::grouping_of;
use self::histogram_parts::HistogramParts;
use self::relation::Scalar;
use super::functions::steps::RepeatSteps;
use super::preprocess::{QueryBounds, is_step_invariant};
use crate::error::Error;
use crate::model::{DurationMs, EvaluationMode, QueryContext, SelectRequest, StepGrid, TimestampMs};
use crate::scan::{SeriesColumn, SeriesSource, SharedScan};
use crate::syntax::{Expr, ExprKind, Features, UnaryOp, ValueType};

/// What a plan depends on besides the tree.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The steps of the query.
    pub grid: StepGrid,
    /// The end that was asked for; it need not lie on the grid.
    pub end: TimestampMs,
    /// Is it an instant query?
    pub instant: bool,
    /// How far a plain selector looks back.
    pub lookback: DurationMs,
    /// Step of subqueries that give none.
    pub default_subquery_step: DurationMs,
    /// At most so many steps may a subquery have.
    pub subquery_steps_max: usize,
    /// Gated features that are on.
    pub features: Features,
    /// Where groups that say nothing themselves are evaluated.
    pub mode: EvaluationMode,
    /// The mode that this query asks for, whatever the groups say.
    pub asked_mode: Option<EvaluationMode>,
}

/// A plan and what its rows mean.
#[derive(Debug)]
pub struct PlannedQuery {
    /// What comes out.
    pub value: PlannedValue,
    /// The grid of the cells.
    pub grid: StepGrid,
    /// Sub-expressions that no server may compute for us, from the outside in, and why not.
    pub not_pushed: Vec<(String, String)>,
}

/// What a query evaluates to, before it is run.
#[derive(Debug)]
pub enum PlannedValue {
    /// A steps table of one row.
    Scalar(LogicalPlan),
    /// A text that needs no evaluation.
    String(String),
    /// A steps table.
    Vector(LogicalPlan),
    /// A samples table; only in an instant query. Samples outside of `start < t ≤ end` do not belong to the result.
    Samples {
        /// The plan.
        plan: LogicalPlan,
        /// Exclusive.
        start: TimestampMs,
        /// Inclusive.
        end: TimestampMs,
    },
}

/// Plans a checked tree over a source.
pub fn plan_query(
    expr: &Expr,
    options: PlanOptions,
    source: &Arc<dyn SeriesSource>,
    context: &QueryContext,
) -> Result<PlannedQuery, Error> {
    let step = if options.instant { DurationMs(0) } else { options.grid.step() };
    let bounds = QueryBounds { start: options.grid.start(), end: options.end, step };
    let grid = options.grid;
    let planner = Planner {
        bounds,
        options,
        source,
        context,
        scan_count: Cell::new(0),
        scans: RefCell::default(),
        histogram_parts: Cell::default(),
        is_pushed: Cell::new(false),
        not_pushed: RefCell::default(),
    };
    let value = match expr.value_type() {
        ValueType::String => PlannedValue::String(planner.plan_string(expr)?),
        ValueType::Scalar => {
            let scalar = planner.plan_scalar(expr, grid)?;
            PlannedValue::Scalar(scalar.into_plan(grid)?)
        }
        ValueType::Vector => PlannedValue::Vector(planner.finish_names(planner.plan_vector(expr, grid)?, grid)?),
        ValueType::Matrix => planner.plan_top_level_range(expr, grid)?,
    };
    Ok(PlannedQuery { value, grid, not_pushed: planner.not_pushed.into_inner() })
}

/// Plans one query. Everything is asked of it with the grid on which the answer is wanted.
struct Planner<'a> {
    bounds: QueryBounds,
    options: PlanOptions,
    source: &'a Arc<dyn SeriesSource>,
    context: &'a QueryContext,
    scan_count: Cell<usize>,
    /// Leaves that ask for the same are asked once.
    scans: RefCell<HashMap<(SelectRequest, SeriesColumn), Arc<SharedScan>>>,
    /// What is looked at further out than the expression that is being planned.
    histogram_parts: Cell<HistogramParts>,
    /// Is everything further in to be evaluated here?
    is_pushed: Cell<bool>,
    not_pushed: RefCell<Vec<(String, String)>>,
}

impl Planner<'_> {
    /// A steps table of an instant vector.
    fn plan_vector(&self, expr: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        if grid.step_count() > 1 && is_step_invariant(expr) {
            let once = self.plan_vector_stepwise(expr, StepGrid::instant(grid.start()))?;
            return relation::map_values(once, RepeatSteps { step_count: grid.step_count() });
        }
        self.plan_vector_stepwise(expr, grid)
    }

    fn plan_vector_kind(&self, expr: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.plan_vector(inner, grid),
            ExprKind::Unary(UnaryOp::Plus, inner) => self.plan_vector(inner, grid),
            ExprKind::Unary(UnaryOp::Minus, inner) => self.plan_negation(inner, grid),
            ExprKind::Binary(binary) => self.plan_binary_vector(binary, grid),
            ExprKind::Aggregate(aggregate) => self.plan_aggregate(aggregate, &expr.span, grid),
            ExprKind::Call(call) => self.plan_vector_call(call, expr, grid),
            ExprKind::VectorSelector(selector) => self.plan_vector_selector(selector, &expr.span, grid),
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::MatrixSelector(_) | ExprKind::Subquery(_) => {
                Err(Error::internal(format!("expected an instant vector, found {:?}", expr.value_type())))
            }
        }
    }

    /// One number a step.
    fn plan_scalar(&self, expr: &Expr, grid: StepGrid) -> Result<Scalar, Error> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Scalar::Constant(number.value)),
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.plan_scalar(inner, grid),
            ExprKind::Unary(UnaryOp::Minus, inner) => self.plan_scalar(inner, grid)?.negated(),
            ExprKind::Binary(binary) => self.plan_binary_scalar(binary, grid),
            ExprKind::Call(call) => self.plan_scalar_call(call, grid),
            _ => Err(Error::internal(format!("expected a scalar, found {:?}", expr.value_type()))),
        }
    }

    /// A string literal.
    fn plan_string(&self, expr: &Expr) -> Result<String, Error> {
        match &expr.without_parens().kind {
            ExprKind::String(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            _ => Err(Error::internal("expected a string literal")),
        }
    }
}

/// A construct that the parser knows and the engine does not yet.
fn not_supported(what: &str) -> Error {
    Error::execution(format!("{what} is not supported yet by this version of Quiver"))
}
