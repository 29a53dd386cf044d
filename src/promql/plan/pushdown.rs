//! Where a plan leaves a sub-expression to the servers.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use super::Planner;
use crate::error::Error;
use crate::model::{EvaluationMode, StepGrid};
use crate::promql::pushdown::{Pushable, Pushdown, PushdownNode, Recombination, Surroundings, WhyNot, find_pushable};
use crate::servergroup::EvaluateRequest;
use crate::syntax::{Expr, ExprKind};

/// Of more expressions it is not said why they are evaluated here.
const REASONS_MAX: usize = 100;

impl Planner<'_> {
    /// An instant vector: by the servers where they may be asked, over the plan that evaluates it here. What is inside of a
    /// pushdown is planned exactly.
    pub fn plan_vector_stepwise(&self, expr: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let plan_here = || self.inside(expr, || self.plan_vector_kind(expr, grid));
        if self.is_pushed.get() || !self.may_ask_servers() {
            return plan_here();
        }
        let surroundings = Surroundings {
            bounds: self.bounds,
            default_subquery_step: self.options.default_subquery_step,
            lookback: self.options.lookback,
            features: self.options.features,
        };
        match find_pushable(expr, grid, &surroundings) {
            Err(why_not) => {
                self.note_why_not(expr, why_not);
                plan_here()
            }
            Ok(pushable) => {
                self.is_pushed.set(true);
                let exact = plan_here();
                self.is_pushed.set(false);
                Ok(PushdownNode::plan(self.pushdown(expr, pushable, grid), exact?))
            }
        }
    }

    /// The operand of what looks at the order of series: of equal values the first one stays. Servers' answers have lost it.
    pub fn plan_in_order(&self, expr: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let outside = self.is_pushed.replace(true);
        if !outside && self.may_ask_servers() {
            self.note_why_not(
                expr,
                WhyNot("which of equal values comes first matters to what stands above".to_owned()),
            );
        }
        let planned = self.plan_vector(expr, grid);
        self.is_pushed.set(outside);
        planned
    }

    fn may_ask_servers(&self) -> bool {
        self.options.asked_mode != Some(EvaluationMode::Exact) && self.source.evaluates()
    }

    fn pushdown(&self, expr: &Expr, pushable: Pushable, grid: StepGrid) -> Pushdown {
        let request = EvaluateRequest {
            is_aggregation: pushable.recombination != Recombination::Unite,
            expressions: pushable.expressions,
            matchers: pushable.matchers,
            grid,
            lookback: self.options.lookback,
            mode: self.options.mode,
            asked_mode: self.options.asked_mode,
            reads: pushable.reads,
            windows: pushable.windows,
            drops_name: pushable.drops_name,
            agreement_proves: pushable.agreement_proves,
        };
        Pushdown {
            request: Arc::new(request),
            recombination: pushable.recombination,
            source: Arc::clone(self.source),
            context: self.context.clone(),
            text: expr.to_string(),
        }
    }

    fn note_why_not(&self, expr: &Expr, WhyNot(reason): WhyNot) {
        let mut reasons = self.not_pushed.borrow_mut();
        if reasons.len() < REASONS_MAX && !matches!(expr.kind, ExprKind::Paren(_)) {
            reasons.push((expr.to_string(), reason));
        }
    }
}
