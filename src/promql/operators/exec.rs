//! The physical operator: reads its inputs whole, all at the same time, and lets the operator compute; or lets it compute
//! batch by batch, where it can.

use std::fmt;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::{Stream, StreamExt, TryStreamExt};

use super::{BatchOperator, SeriesOperator, Table};
use crate::error::Error;
use crate::model::{Held, QueryBudget, TableSize, steps_schema};
use crate::promql::functions::external;

/// Runs a [`SeriesOperator`]. Counts its inputs, and what it will take to compute, in the query's budget.
#[derive(Debug)]
pub struct SeriesOperatorExec {
    operator: Arc<dyn SeriesOperator>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl SeriesOperatorExec {
    /// An operator over physical inputs.
    pub fn new(operator: Arc<dyn SeriesOperator>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(steps_schema(operator.step_count())),
            Partitioning::UnknownPartitioning(1),
            if operator.batch_by_batch().is_some() { EmissionType::Incremental } else { EmissionType::Final },
            Boundedness::Bounded,
        );
        Self { operator, inputs, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SeriesOperatorExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesOperatorExec: {}", self.operator.describe())
    }
}

impl ExecutionPlan for SeriesOperatorExec {
    fn name(&self) -> &'static str {
        "SeriesOperatorExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.inputs.len()])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(Arc::clone(&self.operator), children)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(Arc::clone(&self.operator), children)))
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // Every input is executed before any is read, so that all leaves below are asked at once.
        let mut streams =
            self.inputs.iter().map(|input| input.execute(0, Arc::clone(&context))).collect::<Result<Vec<_>>>()?;
        let held = Held::none(&budget_of(&context)?);
        if let (Some(operator), [_]) = (self.operator.batch_by_batch(), streams.as_slice()) {
            let batches = batch_by_batch(streams.swap_remove(0), operator, held);
            return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)));
        }
        let result = evaluate(Arc::clone(&self.operator), streams, held, context);
        let batches = futures::stream::once(result).map_ok(|batches| futures::stream::iter(batches).map(Ok));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches.try_flatten())))
    }
}

/// The budget of the query that runs.
fn budget_of(context: &TaskContext) -> Result<Arc<QueryBudget>> {
    let budget = context.session_config().get_extension::<QueryBudget>();
    budget.ok_or_else(|| external(Error::internal("an operator runs outside of a query")))
}

fn batch_by_batch(
    input: SendableRecordBatchStream,
    mut operator: Box<dyn BatchOperator>,
    mut held: Held,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    input.map(move |batch| {
        let batch = operator.next(batch?).map_err(external)?;
        held.resize(0, operator.bytes()).map_err(external)?;
        Ok(batch)
    })
}

/// Reads all inputs at the same time, and computes.
async fn evaluate(
    operator: Arc<dyn SeriesOperator>,
    streams: Vec<SendableRecordBatchStream>,
    mut held: Held,
    context: Arc<TaskContext>,
) -> Result<Vec<RecordBatch>> {
    let collected = streams.into_iter().map(|stream| collect(stream, Held::none(held.budget())));
    let collected = futures::future::try_join_all(collected).await?;
    let (tables, _inputs): (Vec<Table>, Vec<Held>) = collected.into_iter().unzip();
    held.grow(0, operator.working_bytes(&tables)).map_err(external)?;
    let Some(scan) = operator.late_scan(&tables).map_err(external)? else {
        return operator.evaluate_batches(&tables, None).map_err(external);
    };
    let stream = scan.execution_plan()?.execute(0, Arc::clone(&context))?;
    let (schema, batches, mut late_held) = read_all(stream, Held::none(held.budget())).await?;
    // The copy; the batches go when it is made.
    late_held.grow(0, late_held.bytes()).map_err(external)?;
    let late = concat_batches(&schema, &batches)?;
    drop(batches);
    late_held.resize(late_held.samples(), TableSize::of(&late).bytes).map_err(external)?;
    operator.evaluate_batches(&tables, Some(&late)).map_err(external)
}

/// Reads a stream of steps tables whole. The guard lives as long as the table is used.
async fn collect(stream: SendableRecordBatchStream, held: Held) -> Result<(Table, Held)> {
    let (schema, batches, held) = read_all(stream, held).await?;
    Ok((Table::of_batches(&schema, batches).map_err(external)?, held))
}

async fn read_all(
    mut stream: SendableRecordBatchStream,
    mut held: Held,
) -> Result<(SchemaRef, Vec<RecordBatch>, Held)> {
    let schema = stream.schema();
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        let TableSize { samples, bytes } = TableSize::of(&batch);
        held.grow(samples, bytes).map_err(external)?;
        batches.push(batch);
    }
    Ok((schema, batches, held))
}
