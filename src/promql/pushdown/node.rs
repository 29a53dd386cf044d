//! The logical node of a sub-expression that servers may compute, over its exact plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::{PushdownExec, Recombination};
use crate::model::QueryContext;
use crate::scan::SeriesSource;
use crate::servergroup::EvaluateRequest;

/// What a pushdown needs to run.
#[derive(Clone, Debug)]
pub struct Pushdown {
    /// What every part is asked.
    pub request: Arc<EvaluateRequest>,
    /// How their answers become one.
    pub recombination: Recombination,
    /// Who is asked.
    pub source: Arc<dyn SeriesSource>,
    /// The query it belongs to.
    pub context: QueryContext,
    /// The sub-expression, as it stands in the query.
    pub text: String,
}

impl Pushdown {
    /// What is asked, and what becomes of it.
    pub fn describe(&self) -> String {
        let asked: Vec<String> = self.request.expressions.iter().map(ToString::to_string).collect();
        format!("{} => {}", asked.join(" ; "), self.recombination.describe())
    }

    fn is_same(&self, other: &Self) -> bool {
        self.request == other.request
            && self.recombination == other.recombination
            && Arc::ptr_eq(&self.source, &other.source)
    }
}

/// A sub-expression that servers may compute; its input is the plan that computes it here.
#[derive(Clone, Debug)]
pub struct PushdownNode {
    pushdown: Pushdown,
    exact: LogicalPlan,
}

impl PushdownNode {
    /// The plan that asks the servers where they may be asked, and else runs `exact`.
    pub fn plan(pushdown: Pushdown, exact: LogicalPlan) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Self { pushdown, exact }) })
    }
}

impl PartialEq for PushdownNode {
    fn eq(&self, other: &Self) -> bool {
        self.pushdown.is_same(&other.pushdown) && self.exact == other.exact
    }
}
impl Eq for PushdownNode {}
impl Hash for PushdownNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pushdown.describe().hash(state);
        self.exact.hash(state);
    }
}
impl PartialOrd for PushdownNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.pushdown.describe().partial_cmp(&other.pushdown.describe())
    }
}

impl UserDefinedLogicalNodeCore for PushdownNode {
    fn name(&self) -> &'static str {
        "PushdownNode"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.exact]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.exact.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pushdown: {}", self.pushdown.describe())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let exact = inputs.into_iter().next().unwrap_or_else(|| self.exact.clone());
        Ok(Self { pushdown: self.pushdown.clone(), exact })
    }
}

/// Plans [`PushdownNode`] as [`PushdownExec`].
#[derive(Debug)]
pub struct PushdownPlanner;

#[async_trait]
impl ExtensionPlanner for PushdownPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning_context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        match (node.as_any().downcast_ref::<PushdownNode>(), physical_inputs) {
            (Some(node), [exact]) => Ok(Some(
                Arc::new(PushdownExec::new(node.pushdown.clone(), Arc::clone(exact))) as Arc<dyn ExecutionPlan>
            )),
            _ => Ok(None),
        }
    }
}
