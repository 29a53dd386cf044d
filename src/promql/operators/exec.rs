//! The physical operator: reads its inputs whole, all at the same time, and lets the operator compute.

use std::fmt;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt};

use super::{SeriesOperator, Table};
use crate::model::steps_schema;
use crate::promql::functions::external;

/// Runs a [`SeriesOperator`]. Reserves the size of its inputs from the query's memory before it computes.
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
            EmissionType::Final,
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
        let streams =
            self.inputs.iter().map(|input| input.execute(0, Arc::clone(&context))).collect::<Result<Vec<_>>>()?;
        let operator = Arc::clone(&self.operator);
        let result = async move {
            let reservations = streams.into_iter().enumerate().map(|(index, stream)| {
                let consumer = MemoryConsumer::new(format!("{}[{index}]", operator.describe()));
                collect(stream, consumer.register(context.memory_pool()))
            });
            let collected = futures::future::try_join_all(reservations).await?;
            let tables = collected
                .iter()
                .map(|(batch, _)| Table::try_new(batch.clone()))
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(external)?;
            let Some(scan) = operator.late_scan(&tables).map_err(external)? else {
                return operator.evaluate_late(&tables, None).map_err(external);
            };
            let consumer = MemoryConsumer::new(format!("{}[late]", operator.describe()));
            let stream = scan.execution_plan()?.execute(0, Arc::clone(&context))?;
            let (late, _reservation) = collect(stream, consumer.register(context.memory_pool())).await?;
            operator.evaluate_late(&tables, Some(&late)).map_err(external)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(result).boxed())))
    }
}

/// Reads a stream whole. The reservation lives as long as the batch is used.
async fn collect(
    mut stream: SendableRecordBatchStream,
    reservation: MemoryReservation,
) -> Result<(RecordBatch, MemoryReservation)> {
    let schema = stream.schema();
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        reservation.try_grow(batch.get_array_memory_size())?;
        batches.push(batch);
    }
    let batch = match batches.len() {
        1 => batches.swap_remove(0),
        _ => concat_batches(&schema, &batches)?,
    };
    Ok((batch, reservation))
}
