//! What would be done for a query: its plan as text, and the decisions in it one by one. Nothing is fetched.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::engine::{QueryEngine, QueryOptions, QueryTimes};
use crate::error::Error;
use crate::model::{QueryContext, SelectRequest, StepGrid};
use crate::promql::{PlannedValue, PushdownExec};
use crate::scan::DownstreamExec;
use crate::servergroup::{Judgement, PartLeaf};

/// A query as it would be run.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// The logical plan, the physical plan, and what is not left to the servers, as text.
    pub text: String,
    /// The sub-expressions that servers may compute, each with a judgement for each part of the data.
    pub pushed: Vec<(String, Vec<(String, Judgement)>)>,
    /// Sub-expressions that no server may compute, from the outside in, and why not.
    pub evaluated_here: Vec<(String, String)>,
    /// The selectors that are read where an expression is evaluated here, each with how every part would be read.
    pub selectors: Vec<(SelectRequest, Vec<PartLeaf>)>,
}

impl QueryEngine {
    /// What would be done for a query.
    ///
    /// # Errors
    /// What can be said of it without asking anybody, such as a mistake in its text.
    pub async fn explain(&self, query: &str, grid: StepGrid, options: &QueryOptions) -> Result<Explanation, Error> {
        let context = self.context(options);
        let times = match grid.step_count() {
            1 => QueryTimes::Instant(grid.start()),
            _ => QueryTimes::Range { grid, end: grid.last() },
        };
        let planned = self.plan(query, times, options, &context)?;
        let logical = match &planned.value {
            PlannedValue::String(text) => {
                return Ok(Explanation { text: format!("string {text:?}\n"), ..Explanation::default() });
            }
            PlannedValue::Scalar(plan) | PlannedValue::Vector(plan) | PlannedValue::Samples { plan, .. } => plan,
        };
        let (physical, _) = self.physical_plan(logical, planned.grid, &context).await?;
        let mut text = format!(
            "logical plan\n{}\n\nphysical plan\n{}",
            logical.display_indent(),
            displayable(physical.as_ref()).indent(false)
        );
        if !planned.not_pushed.is_empty() {
            text.push_str("\nevaluated here\n");
            for (expression, reason) in &planned.not_pushed {
                text.push_str(&format!("{expression}: {reason}\n"));
            }
        }
        let mut explanation = Explanation { text, evaluated_here: planned.not_pushed, ..Explanation::default() };
        explanation.walk(&physical, &context);
        Ok(explanation)
    }
}

impl Explanation {
    fn walk(&mut self, plan: &Arc<dyn ExecutionPlan>, context: &QueryContext) {
        if let Some(pushdown) = plan.downcast_ref::<PushdownExec>() {
            self.pushed.push(pushdown.decisions());
        }
        if let Some(scan) = plan.downcast_ref::<DownstreamExec>() {
            // Of selectors that are asked once for several leaves, once is enough.
            if !self.selectors.iter().any(|(known, _)| known == scan.request()) {
                self.selectors.push((scan.request().clone(), scan.leaves(context)));
            }
        }
        plan.children().into_iter().for_each(|child| self.walk(child, context));
    }
}
