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
use parking_lot::Mutex;

use super::{ScanRequest, SeriesColumn, SeriesSource};
use crate::downstream::SampleTimes;
use crate::model::{
    QueryContext, SelectForm, SelectRequest, Selector, SeriesStream, samples_schema, timed_steps_schema,
};
use crate::servergroup::PartLeaf;

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
    opened: Mutex<OpenedParts>,
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
            opened: Mutex::default(),
        }
    }

    /// All parts are asked when the first of them is executed.
    fn open_part(&self, partition: usize, execution: &Arc<TaskContext>) -> SeriesStream {
        let mut opened = self.opened.lock();
        if let Some(stream) = opened.take(partition, execution) {
            return stream;
        }
        let sample_times = match self.column {
            SeriesColumn::Values => SampleTimes::StepTimes,
            SeriesColumn::SampleTimes | SeriesColumn::ValuesAndTimes | SeriesColumn::WithStaleMarkers => {
                SampleTimes::Needed
            }
        };
        let parts = execution.session_config().get_extension::<ScannedParts>().map(|parts| Arc::clone(&parts.0));
        let scan = ScanRequest { select: self.request.clone(), sample_times, parts };
        let streams = self.source.open(&scan, &self.context).into_iter().map(Some).collect();
        *opened = OpenedParts { execution: Some(Arc::clone(execution)), streams };
        opened.take(partition, execution).unwrap_or_else(|| futures::stream::empty().boxed())
    }

    /// What it asks for.
    pub fn request(&self) -> &SelectRequest {
        &self.request
    }

    /// How each part would be read, without asking anybody.
    pub fn leaves(&self, context: &QueryContext) -> Vec<PartLeaf> {
        self.source.leaves(&self.request, context)
    }

    /// How many parts are asked.
    pub fn part_count(&self) -> usize {
        self.properties.partitioning.partition_count()
    }
}

/// The streams of one execution that nobody has taken yet. All partitions of an execution come with the same task context.
#[derive(Default)]
struct OpenedParts {
    execution: Option<Arc<TaskContext>>,
    streams: Vec<Option<SeriesStream>>,
}

impl fmt::Debug for OpenedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedParts").field("count", &self.streams.len()).finish_non_exhaustive()
    }
}

impl OpenedParts {
    fn take(&mut self, partition: usize, execution: &Arc<TaskContext>) -> Option<SeriesStream> {
        let is_same = self.execution.as_ref().is_some_and(|own| Arc::ptr_eq(own, execution));
        let taken = is_same.then(|| self.streams.get_mut(partition)?.take()).flatten();
        if self.streams.iter().all(Option::is_none) {
            *self = Self::default();
        }
        taken
    }
}

/// Which parts of a source an execution asks, one flag a part; an extension of its session config. Without it: all.
#[derive(Clone, Debug)]
pub struct ScannedParts(pub Arc<[bool]>);

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

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), BATCHES_AHEAD);
        let sender = builder.tx();
        let mut batches = self.open_part(partition, &context);
        let rows = BaselineMetrics::new(&self.metrics, partition);
        // Dropping the stream aborts the task, and with it the downstream requests.
        builder.spawn(async move {
            let external = |error| DataFusionError::External(Box::new(error));
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
