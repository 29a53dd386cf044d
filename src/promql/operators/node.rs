//! The one logical node that carries a [`SeriesOperator`], and its planner.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::SeriesOperator;
use super::exec::SeriesOperatorExec;
use crate::model::steps_schema;

/// An operator over inputs.
#[derive(Clone, Debug)]
pub struct SeriesNode {
    operator: Arc<dyn SeriesOperator>,
    inputs: Vec<LogicalPlan>,
    schema: DFSchemaRef,
}

impl SeriesNode {
    /// The plan that applies an operator to inputs.
    pub fn plan(operator: Arc<dyn SeriesOperator>, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
        let schema = DFSchema::try_from(steps_schema(operator.step_count()).as_ref().clone())?;
        let node = Self { operator, inputs, schema: Arc::new(schema) };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

impl PartialEq for SeriesNode {
    fn eq(&self, other: &Self) -> bool {
        self.operator.describe() == other.operator.describe() && self.inputs == other.inputs
    }
}
impl Eq for SeriesNode {}
impl Hash for SeriesNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.describe().hash(state);
        self.inputs.hash(state);
    }
}
impl PartialOrd for SeriesNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.operator.describe().partial_cmp(&other.operator.describe())
    }
}

impl UserDefinedLogicalNodeCore for SeriesNode {
    fn name(&self) -> &'static str {
        "SeriesNode"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operator.describe())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { operator: Arc::clone(&self.operator), inputs, schema: Arc::clone(&self.schema) })
    }
}

/// Plans [`SeriesNode`] as [`SeriesOperatorExec`].
#[derive(Debug)]
pub struct SeriesPlanner;

#[async_trait]
impl ExtensionPlanner for SeriesPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning_context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<SeriesNode>() else {
            return Ok(None);
        };
        Ok(Some(Arc::new(SeriesOperatorExec::new(Arc::clone(&node.operator), physical_inputs.to_vec()))))
    }
}
