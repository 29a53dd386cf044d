//! Makes one series of the rows that several parts hold of it, and a steps table of a timed one.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, FixedSizeListArray, Float64Array, Int64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};
use futures::StreamExt;

use super::SeriesColumn;
use super::task_config::with_config;
use crate::error::Error;
use crate::merge::{MergePolicy, StartedSamples, StepCell, is_mixed_row, merge_samples, merge_steps, mixed_cells};
use crate::model::{
    COLUMN_LABELS, COLUMN_SAMPLE_TIMES, COLUMN_VALUES, HistogramListBuilder, SamplesTable, SamplesTableBuilder,
    SelectForm, StepsTable, StepsTableBuilder, steps_schema, values_column,
};

/// A time and a value each: a mebibyte.
const BATCH_CELLS: usize = 64 * 1024;
const BATCH_ROWS_MAX: usize = 8_192;
const USUAL_SCRAPE_INTERVAL_MS: i64 = 15_000;

/// Across groups a sample is the same only at the very same time.
const ACROSS_GROUPS: MergePolicy = MergePolicy { anti_affinity_ms: 0, dynamic: false, prefer_max: false };

/// Reads rows sorted by labels; equal neighbours become one. Streams: holds back no more than the last series.
#[derive(Debug)]
pub struct UniteSeriesExec {
    input: Arc<dyn ExecutionPlan>,
    form: SelectForm,
    column: SeriesColumn,
    may_repeat: bool,
    properties: Arc<PlanProperties>,
}

impl UniteSeriesExec {
    /// `may_repeat`: can a label set occur twice, because the rows come from several parts?
    pub fn new(input: Arc<dyn ExecutionPlan>, form: SelectForm, column: SeriesColumn, may_repeat: bool) -> Self {
        let schema = column.schema(&form);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, form, column, may_repeat, properties: Arc::new(properties) }
    }
}

impl DisplayAs for UniteSeriesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniteSeriesExec: column={:?} may_repeat={}", self.column, self.may_repeat)
    }
}

impl ExecutionPlan for UniteSeriesExec {
    fn name(&self) -> &'static str {
        "UniteSeriesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().ok_or_else(|| internal("UniteSeriesExec has one child"))?;
        Ok(Arc::new(Self::new(input, self.form.clone(), self.column, self.may_repeat)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().ok_or_else(|| internal("UniteSeriesExec has one child"))?;
        Ok(Arc::new(Self::new(input, self.form.clone(), self.column, self.may_repeat)))
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let column = self.column;
        let context = if self.may_repeat {
            // The merge below collects so many rows before it hands them on, and those of a scan can be far longer than those
            // of the result.
            with_config(&context, |config| config.with_batch_size(rows_of_a_batch(&self.form)))
        } else {
            context
        };
        let input = self.input.execute(0, context)?;
        if !self.may_repeat {
            let batches = input.map(move |batch| finish(&batch?, column));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)));
        }
        let united =
            futures::stream::try_unfold((input, None::<RecordBatch>), move |(mut input, mut held)| async move {
                loop {
                    let Some(batch) = input.next().await.transpose()? else {
                        let Some(last) = held.take() else { return Ok(None) };
                        let last = unite_rows(&last).map_err(external)?;
                        return Ok(Some((finish(&last, column)?, (input, None))));
                    };
                    if batch.num_rows() == 0 {
                        continue;
                    }
                    let batch = match held.take() {
                        None => batch,
                        Some(earlier) => concat_batches(&batch.schema(), [&earlier, &batch])?,
                    };
                    let keep = start_of_last_series(&batch).map_err(external)?;
                    held = Some(batch.slice(keep, batch.num_rows() - keep));
                    if keep > 0 {
                        let done = unite_rows(&batch.slice(0, keep)).map_err(external)?;
                        return Ok(Some((finish(&done, column)?, (input, held))));
                    }
                }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, united)))
    }
}

/// How many rows of a form are about a mebibyte, as far as that can be told before they come: of raw samples, if they are
/// [`USUAL_SCRAPE_INTERVAL_MS`] apart.
fn rows_of_a_batch(form: &SelectForm) -> usize {
    let cells = match form {
        SelectForm::Samples { start, end } => (*end - *start).0 / USUAL_SCRAPE_INTERVAL_MS,
        SelectForm::Steps { grid, .. } => i64::try_from(grid.step_count()).unwrap_or(i64::MAX),
    };
    let cells = usize::try_from(cells).unwrap_or(0).max(1);
    (BATCH_CELLS / cells).clamp(1, BATCH_ROWS_MAX)
}

fn internal(text: &str) -> DataFusionError {
    DataFusionError::Internal(text.to_owned())
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// United rows as they are read.
fn finish(batch: &RecordBatch, column: SeriesColumn) -> Result<RecordBatch> {
    if column == SeriesColumn::WithStaleMarkers {
        return Ok(batch.clone());
    }
    without_stale_markers(batch).and_then(|batch| project(&batch, column)).map_err(external)
}

/// Steps at which a series has ended are empty. Until here the marker was a cell, newer than what other parts hold.
fn without_stale_markers(batch: &RecordBatch) -> std::result::Result<RecordBatch, Error> {
    if batch.column_by_name(COLUMN_VALUES).is_none() || !StepsTable::try_new(batch)?.has_stale_marker() {
        return Ok(batch.clone());
    }
    let table = StepsTable::try_new(batch)?;
    let mut builder = StepsTableBuilder::timed(table.step_count());
    for row in 0..table.row_count() {
        let mut cells = table.samples(row)?;
        cells.iter_mut().for_each(|cell| drop(cell.take_if(|sample| sample.is_stale_marker())));
        if cells.iter().all(Option::is_none) {
            continue;
        }
        for (step, cell) in cells.into_iter().enumerate() {
            let time = table.sample_time(row, step).unwrap_or(i64::MIN);
            builder.push_timed_sample(cell.map(|sample| (sample, time)));
        }
        builder.finish_series(table.labels(row).as_bytes());
    }
    Ok(builder.finish())
}

/// The row where the run of equal labels at the end begins.
fn start_of_last_series(batch: &RecordBatch) -> std::result::Result<usize, Error> {
    let labels = labels_of(batch)?;
    let last = labels.value(labels.len() - 1);
    Ok((0..labels.len()).rev().take_while(|row| labels.value(*row) == last).last().unwrap_or(0))
}

fn labels_of(batch: &RecordBatch) -> std::result::Result<&arrow::array::BinaryArray, Error> {
    batch
        .column_by_name(COLUMN_LABELS)
        .and_then(|column| column.as_any().downcast_ref())
        .ok_or_else(|| Error::internal("a scan has no labels column"))
}

/// Merges runs of equal labels. The batch comes back as it is where there are none.
fn unite_rows(batch: &RecordBatch) -> std::result::Result<RecordBatch, Error> {
    let labels = labels_of(batch)?;
    let repeats = (1..labels.len()).any(|row| labels.value(row - 1) == labels.value(row));
    if !repeats {
        return Ok(batch.clone());
    }
    let mut runs = Vec::new();
    let mut start = 0;
    for row in 1..=labels.len() {
        if row == labels.len() || labels.value(row) != labels.value(start) {
            runs.push(start..row);
            start = row;
        }
    }
    if batch.column_by_name(COLUMN_VALUES).is_some() { unite_steps(batch, &runs) } else { unite_samples(batch, &runs) }
}

fn unite_samples(batch: &RecordBatch, runs: &[std::ops::Range<usize>]) -> std::result::Result<RecordBatch, Error> {
    let table = SamplesTable::try_new(batch)?;
    let mut builder = SamplesTableBuilder::default();
    let (mut timestamps, mut samples) = (Vec::new(), Vec::new());
    for run in runs {
        if run.len() == 1 {
            builder.extend_row(&table, run.start)?;
        } else if run.clone().any(|row| is_mixed_row(&table, row)) {
            let pieces = run.clone().map(|row| StartedSamples::of_row(&table, row, row));
            let pieces = pieces.collect::<std::result::Result<Vec<_>, Error>>()?;
            let pieces: Vec<_> = pieces.iter().map(StartedSamples::as_samples).collect();
            let mut merged = StartedSamples::default();
            merge_samples(&pieces, &ACROSS_GROUPS, &mut merged.times, &mut merged.samples);
            merged.push_into(&mut builder);
        } else {
            let pieces: Vec<_> = run.clone().map(|row| table.series(row)).collect();
            timestamps.clear();
            samples.clear();
            merge_samples(&pieces, &ACROSS_GROUPS, &mut timestamps, &mut samples);
            builder.extend_samples(&timestamps, &samples);
        }
        builder.finish_series(table.labels(run.start).as_bytes());
    }
    Ok(builder.finish())
}

fn unite_steps(batch: &RecordBatch, runs: &[std::ops::Range<usize>]) -> std::result::Result<RecordBatch, Error> {
    let table = StepsTable::try_new(batch)?;
    let mut builder = StepsTableBuilder::timed(table.step_count());
    let cells_of = |row: usize| -> Vec<StepCell> {
        (0..table.step_count())
            .map(|step| table.cell(row, step).map(|value| (value, table.sample_time(row, step).unwrap_or(i64::MIN))))
            .collect()
    };
    let mut merged = Vec::new();
    for run in runs {
        if run.clone().any(|row| table.histograms().row_len(row) > 0) {
            unite_mixed_steps(&table, run.clone(), &mut builder)?;
        } else {
            let rows: Vec<Vec<StepCell>> = run.clone().map(cells_of).collect();
            let rows: Vec<&[StepCell]> = rows.iter().map(Vec::as_slice).collect();
            merged.clear();
            merge_steps(&rows, &ACROSS_GROUPS, &mut merged);
            merged.iter().for_each(|cell| builder.push_timed_cell(*cell));
        }
        builder.finish_series(table.labels(run.start).as_bytes());
    }
    Ok(builder.finish())
}

/// One series with histograms among its cells.
fn unite_mixed_steps(
    table: &StepsTable<'_>,
    run: std::ops::Range<usize>,
    builder: &mut StepsTableBuilder,
) -> std::result::Result<(), Error> {
    if run.len() == 1 {
        // Nothing to merge: what the histograms know of resets still holds.
        let cells = table.samples(run.start)?.into_iter().enumerate();
        cells.for_each(|(step, sample)| {
            let time = table.sample_time(run.start, step).unwrap_or(i64::MIN);
            builder.push_timed_sample(sample.map(|sample| (sample, time)));
        });
        return Ok(());
    }
    let rows = run.map(|row| mixed_cells(table, row)).collect::<std::result::Result<Vec<_>, Error>>()?;
    let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
    let mut merged = Vec::new();
    merge_steps(&rows, &ACROSS_GROUPS, &mut merged);
    for cell in merged {
        builder.push_timed_sample(cell.map(|(value, time)| (value.sample, time)));
    }
    Ok(())
}

/// A samples table stays; of a timed steps table one of its two cell columns stays, or both.
fn project(batch: &RecordBatch, column: SeriesColumn) -> std::result::Result<RecordBatch, Error> {
    if batch.column_by_name(COLUMN_VALUES).is_none() || column == SeriesColumn::ValuesAndTimes {
        return Ok(batch.clone());
    }
    let missing = || Error::internal("a steps scan has no column of cells");
    let labels = Arc::clone(batch.column_by_name(COLUMN_LABELS).ok_or_else(missing)?);
    let cells = match column {
        SeriesColumn::Values | SeriesColumn::ValuesAndTimes | SeriesColumn::WithStaleMarkers => {
            Arc::clone(batch.column_by_name(COLUMN_VALUES).ok_or_else(missing)?)
        }
        SeriesColumn::SampleTimes => {
            let times = batch.column_by_name(COLUMN_SAMPLE_TIMES).ok_or_else(missing)?;
            let times = times.as_any().downcast_ref::<FixedSizeListArray>().ok_or_else(missing)?;
            let milliseconds = times.values().as_any().downcast_ref::<Int64Array>().ok_or_else(missing)?;
            let seconds: Float64Array = milliseconds.unary(|ms| ms as f64 / 1000.0);
            let mut histograms = HistogramListBuilder::default();
            (0..times.len()).for_each(|_| histograms.finish_row());
            let step_count = StepsTable::try_new(batch)?.step_count();
            Arc::new(values_column(seconds, histograms.finish(), step_count, times.len())?)
        }
    };
    let step_count = StepsTable::try_new(batch)?.step_count();
    RecordBatch::try_new(schema_of_steps(step_count), vec![labels, cells])
        .map_err(|error| Error::internal(error.to_string()))
}

fn schema_of_steps(step_count: usize) -> SchemaRef {
    steps_schema(step_count)
}
