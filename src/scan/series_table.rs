//! One selector of a query as a DataFusion table.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

use super::{DownstreamExec, SeriesSource, SharedScan, UniteSeriesExec};
use crate::model::{
    COLUMN_LABELS, QueryContext, SelectForm, SelectRequest, Selector, samples_schema, steps_schema, timed_steps_schema,
};

/// What the cells of a steps scan hold.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum SeriesColumn {
    /// The samples' values.
    Values,
    /// The samples' own times in seconds, as `timestamp()` gives them.
    SampleTimes,
    /// Both: a timed steps table.
    ValuesAndTimes,
    /// Both, and stale markers as the cells that they are: for whoever looks back further than this source.
    WithStaleMarkers,
}

impl SeriesColumn {
    /// The table that a scan of a form gives.
    pub fn schema(self, form: &SelectForm) -> SchemaRef {
        match (form, self) {
            (SelectForm::Samples { .. }, _) => samples_schema(),
            (SelectForm::Steps { grid, .. }, Self::ValuesAndTimes | Self::WithStaleMarkers) => {
                timed_steps_schema(grid.step_count())
            }
            (SelectForm::Steps { grid, .. }, Self::Values | Self::SampleTimes) => steps_schema(grid.step_count()),
        }
    }
}

/// All series that a selector selects, over all parts of a source. Built by the planner for one selector of one query.
///
/// The scan is `DownstreamExec` (a partition per part), merged by labels, then [`UniteSeriesExec`], which makes one series
/// of what two parts hold of it.
#[derive(Debug)]
pub struct SeriesTable {
    source: Arc<dyn SeriesSource>,
    request: SelectRequest,
    column: SeriesColumn,
    context: QueryContext,
    shared: Option<Arc<SharedScan>>,
}

impl SeriesTable {
    /// A table of one request. `column` matters only for a steps request.
    pub fn new(
        source: Arc<dyn SeriesSource>,
        request: SelectRequest,
        column: SeriesColumn,
        context: QueryContext,
    ) -> Self {
        Self { source, request, column, context, shared: None }
    }

    /// A table of a request that other tables of the query may make, too: all of them come with the same `shared`.
    pub fn shared(self, shared: Arc<SharedScan>) -> Self {
        shared.add_leaf();
        Self { shared: Some(shared), ..self }
    }

    /// All columns of all series: the leaf, merged and united.
    pub fn execution_plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let source = Arc::clone(&self.source);
        let leaf = Arc::new(DownstreamExec::new(source, self.request.clone(), self.column, self.context.clone()));
        let part_count = leaf.part_count();
        let mut plan: Arc<dyn ExecutionPlan> = leaf;
        if part_count > 1 {
            let labels = PhysicalSortExpr::new(col(COLUMN_LABELS, &plan.schema())?, SortOptions::default());
            let ordering = LexOrdering::new([labels]).expect("one expression makes an ordering");
            plan = Arc::new(SortPreservingMergeExec::new(ordering, plan));
        }
        let united = UniteSeriesExec::new(plan, self.request.form.clone(), self.column, part_count > 1);
        Ok(match &self.shared {
            Some(shared) => shared.leaf(Arc::new(united)),
            None => Arc::new(united),
        })
    }

    /// The selector as PromQL, for EXPLAIN.
    pub fn selector_text(&self) -> String {
        Selector { matchers: self.request.matchers.clone() }.to_string()
    }
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        self.column.schema(&self.request.form)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.execution_plan()?;
        let schema = plan.schema();
        match projection {
            Some(columns) if columns.len() != schema.fields().len() => {
                let expressions = columns
                    .iter()
                    .map(|index| {
                        let name = schema.field(*index).name();
                        Ok((col(name, &schema)?, name.clone()))
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(Arc::new(ProjectionExec::try_new(expressions, plan)?))
            }
            _ => Ok(plan),
        }
    }
}
