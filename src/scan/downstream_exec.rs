//! The leaf of every plan: asks the parts of a source for one selector.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};
use futures::StreamExt;

use super::{SeriesColumn, SeriesSource};
use crate::model::{QueryContext, SelectForm, SelectRequest, Selector, samples_schema, timed_steps_schema};

/// Batches that may wait for the operator above; more are not fetched ahead.
const BATCHES_AHEAD: usize = 2;

/// Fetches one selector; partition i is part i of the source. All partitions begin to fetch when they are executed, not when
/// they are first read, so that every leaf of a query is asked at once.
#[derive(Debug)]
pub struct DownstreamExec {
    source: Arc<dyn SeriesSource>,
    request: SelectRequest,
    column: SeriesColumn,
    context: QueryContext,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DownstreamExec {
    /// A leaf for one request, of which `column` will be read.
    pub fn new(
        source: Arc<dyn SeriesSource>,
        request: SelectRequest,
        column: SeriesColumn,
        context: QueryContext,
    ) -> Self {
        let schema = schema_of(&request.form);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(source.part_names().len().max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            source,
            request,
            column,
            context,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// How many parts are asked.
    pub fn part_count(&self) -> usize {
        self.properties.partitioning.partition_count()
    }
}

/// The table that a source answers a form with.
fn schema_of(form: &SelectForm) -> SchemaRef {
    match form {
        SelectForm::Samples { .. } => samples_schema(),
        SelectForm::Steps { grid, .. } => timed_steps_schema(grid.step_count()),
    }
}

impl DisplayAs for DownstreamExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = Selector { matchers: self.request.matchers.clone() };
        write!(f, "DownstreamExec: {selector} ")?;
        match &self.request.form {
            SelectForm::Samples { start, end } => write!(f, "samples=({start}, {end}]")?,
            SelectForm::Steps { grid, lookback } => {
                write!(f, "steps={}..{} step={} lookback={lookback}", grid.start(), grid.last(), grid.step())?
            }
        }
        write!(f, " groups=[{}]", self.source.part_names().join(", "))
    }
}

impl ExecutionPlan for DownstreamExec {
    fn name(&self) -> &'static str {
        "DownstreamExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), BATCHES_AHEAD);
        let sender = builder.tx();
        let (source, request, context) = (Arc::clone(&self.source), self.request.clone(), self.context.clone());
        let column = self.column;
        let rows = BaselineMetrics::new(&self.metrics, partition);
        // Dropping the stream aborts the task, and with it the downstream requests.
        builder.spawn(async move {
            let external = |error| DataFusionError::External(Box::new(error));
            let batches = match column {
                SeriesColumn::Values => source.select_for_values(partition, &request, &context).await,
                SeriesColumn::SampleTimes | SeriesColumn::ValuesAndTimes => {
                    source.select(partition, &request, &context).await
                }
            };
            let mut batches = batches.map_err(external)?;
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(external)?;
                rows.record_output(batch.num_rows());
                if sender.send(Ok(batch)).await.is_err() {
                    break; // nobody reads any more
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
