//! A server of a group with a time range: asked only for what the range allows, and heard only about that.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::{StreamExt, TryStreamExt};

use super::coverage::{Coverage, TimeRanges, TimeSpan};
use super::covered_steps::{on_whole_grid, spread_on_whole_grid};
use crate::downstream::{Ability, Downstream, KnownLeaf, SampleTimes, Selected, SelectedForm, TargetUrl};
use crate::error::Error;
use crate::merge::{SparseSteps, SparseStepsBuilder, TableForm, sort_replica};
use crate::model::{
    DurationMs, ExemplarSet, Held, Labels, Matcher, MetadataRequest, MetricMetadata, QueryContext, SamplesTable,
    SamplesTableBuilder, SelectForm, SelectRequest, SeriesStream, StepGrid, TimestampMs, held_tables,
};
use crate::telemetry::TargetMetrics;

/// A server with the time ranges of its group.
#[derive(Debug)]
pub(super) struct CoveredDownstream {
    inner: Arc<dyn Downstream>,
    ranges: TimeRanges,
}

impl CoveredDownstream {
    pub(super) fn new(inner: Arc<dyn Downstream>, ranges: TimeRanges) -> Self {
        Self { inner, ranges }
    }

    fn coverage(&self, context: &QueryContext) -> Coverage {
        self.ranges.at(context.now)
    }
}

#[async_trait]
impl Downstream for CoveredDownstream {
    fn url(&self) -> &TargetUrl {
        self.inner.url()
    }

    fn ability(&self) -> Option<Arc<Ability>> {
        self.inner.ability()
    }

    fn leaf(&self) -> KnownLeaf {
        self.inner.leaf()
    }

    fn metrics(&self) -> Option<&TargetMetrics> {
        self.inner.metrics()
    }

    fn set_alone(&self) {
        self.inner.set_alone();
    }

    async fn probe(&self) -> Result<(), Error> {
        self.inner.probe().await
    }

    async fn select(
        &self,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<Selected, Error> {
        let Some(covered) = self.coverage(context).select(&request.form) else {
            return Ok(Selected { form: SelectedForm::Samples, tables: futures::stream::empty().boxed() });
        };
        let whole = match request.form {
            SelectForm::Steps { grid, .. } => Some(grid),
            SelectForm::Samples { .. } => None,
        };
        let request = SelectRequest { matchers: request.matchers.clone(), form: covered.form };
        let Some(counted) = covered.counted else {
            let selected = self.inner.select(&request, sample_times, context).await?;
            return Ok(match (&request.form, whole) {
                (SelectForm::Steps { grid, .. }, Some(whole)) => placed(selected, *grid, whole),
                _ => selected,
            });
        };
        // Whether a sample counts shows in its time.
        let selected = self.inner.select(&request, SampleTimes::Needed, context).await?;
        match (selected.form, request.form) {
            (SelectedForm::Samples, _) => {
                let tables = selected.tables.map(move |table| counted_samples(&table?, counted));
                Ok(Selected { form: selected.form, tables: tables.boxed() })
            }
            (SelectedForm::SparseSteps, SelectForm::Steps { grid, lookback }) => {
                let steps = CountedSteps { server: &*self.inner, grid, lookback, counted, tail: covered.tail, context };
                steps.select(&request.matchers, selected.tables).await
            }
            (SelectedForm::TimedSteps, SelectForm::Steps { grid, lookback }) => {
                let steps = CountedSteps { server: &*self.inner, grid, lookback, counted, tail: covered.tail, context };
                steps.select_timed(&request.matchers, selected.tables, whole.unwrap_or(grid)).await
            }
            (SelectedForm::SparseSteps | SelectedForm::TimedSteps, SelectForm::Samples { .. }) => {
                Err(Error::internal("steps where samples were asked for"))
            }
        }
    }

    async fn promql_version(&self, context: &QueryContext) -> Option<(u32, u32)> {
        self.inner.promql_version(context).await
    }

    /// Asked only where all that the expression reads counts.
    async fn evaluate(
        &self,
        expression: &str,
        grid: StepGrid,
        lookback: DurationMs,
        context: &QueryContext,
    ) -> Result<Vec<(RecordBatch, Held)>, Error> {
        self.inner.evaluate(expression, grid, lookback, context).await
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        match self.coverage(context).metadata(request) {
            Some(request) => self.inner.label_names(&request, context).await,
            None => Ok(Vec::new()),
        }
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        match self.coverage(context).metadata(request) {
            Some(request) => self.inner.label_values(name, &request, context).await,
            None => Ok(Vec::new()),
        }
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        match self.coverage(context).metadata(request) {
            Some(request) => self.inner.series(&request, context).await,
            None => Ok(Vec::new()),
        }
    }

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        match self.coverage(context).metadata(request) {
            Some(request) => self.inner.exemplars(&request, context).await,
            None => Ok(ExemplarSet::default()),
        }
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.inner.metric_metadata(metric, context).await
    }
}

/// Steps of a part of the grid that was asked for on all of it, where it matters where they stand.
fn placed(selected: Selected, asked: StepGrid, whole: StepGrid) -> Selected {
    if selected.form != SelectedForm::TimedSteps || asked == whole {
        return selected;
    }
    let tables = selected.tables.map(move |table| on_whole_grid(&table?, asked, whole, None));
    Selected { form: selected.form, tables: tables.boxed() }
}

/// Steps that a server evaluated by itself, some of which may show samples that do not count.
struct CountedSteps<'a> {
    server: &'a dyn Downstream,
    grid: StepGrid,
    lookback: DurationMs,
    counted: TimeSpan,
    tail: Option<StepGrid>,
    context: &'a QueryContext,
}

impl CountedSteps<'_> {
    async fn select(&self, matchers: &[Matcher], tables: SeriesStream) -> Result<Selected, Error> {
        let (mut counted, mut guards) = (Vec::new(), Vec::new());
        self.gather(tables, &mut counted, &mut guards, |table| counted_steps(table, self.counted)).await?;
        if let Some(tail) = self.tail {
            let form = SelectForm::Steps { grid: StepGrid::instant(self.counted.end), lookback: self.lookback };
            let request = SelectRequest { matchers: matchers.to_vec(), form };
            let at_end = self.server.select(&request, SampleTimes::Needed, self.context).await?;
            if at_end.form != SelectedForm::SparseSteps {
                return Err(Error::execution("answered one question with steps and the next with samples"));
            }
            let spread = |table: &RecordBatch| spread(table, tail, self.lookback, self.counted);
            self.gather(at_end.tables, &mut counted, &mut guards, spread).await?;
        }
        let sorted = sort_replica(TableForm::SparseSteps { grid: self.grid }, counted)?;
        drop(guards);
        let held = sorted.into_iter().map(|table| self.context.hold_table(&table).map(|held| (table, held)));
        let tables = held_tables(held.collect::<Result<Vec<_>, Error>>()?).boxed();
        Ok(Selected { form: SelectedForm::SparseSteps, tables })
    }

    /// The same of timed steps, which come out on the `whole` grid.
    async fn select_timed(
        &self,
        matchers: &[Matcher],
        tables: SeriesStream,
        whole: StepGrid,
    ) -> Result<Selected, Error> {
        let (mut counted, mut guards) = (Vec::new(), Vec::new());
        let placed = |table: &RecordBatch| on_whole_grid(table, self.grid, whole, Some(self.counted));
        self.gather(tables, &mut counted, &mut guards, placed).await?;
        if let Some(tail) = self.tail {
            let form = SelectForm::Steps { grid: StepGrid::instant(self.counted.end), lookback: self.lookback };
            let request = SelectRequest { matchers: matchers.to_vec(), form };
            let at_end = self.server.select(&request, SampleTimes::Needed, self.context).await?;
            if at_end.form != SelectedForm::TimedSteps {
                return Err(Error::execution("answered one question with timed steps and the next otherwise"));
            }
            let spread = |table: &RecordBatch| spread_on_whole_grid(table, tail, whole, self.lookback, self.counted);
            self.gather(at_end.tables, &mut counted, &mut guards, spread).await?;
        }
        let sorted = sort_replica(TableForm::TimedSteps { step_count: whole.step_count() }, counted)?;
        drop(guards);
        let held = sorted.into_iter().map(|table| self.context.hold_table(&table).map(|held| (table, held)));
        let tables = held_tables(held.collect::<Result<Vec<_>, Error>>()?).boxed();
        Ok(Selected { form: SelectedForm::TimedSteps, tables })
    }

    async fn gather(
        &self,
        mut tables: SeriesStream,
        gathered: &mut Vec<RecordBatch>,
        guards: &mut Vec<Held>,
        change: impl Fn(&RecordBatch) -> Result<RecordBatch, Error>,
    ) -> Result<(), Error> {
        while let Some(table) = tables.try_next().await? {
            let table = change(&table)?;
            guards.push(self.context.hold_table(&table)?);
            gathered.push(table);
        }
        Ok(())
    }
}

/// The samples of the span, with histograms and start times; series that have none there leave no row.
fn counted_samples(table: &RecordBatch, counted: TimeSpan) -> Result<RecordBatch, Error> {
    let view = SamplesTable::try_new(table)?;
    let mut builder = SamplesTableBuilder::default();
    for row in 0..view.row_count() {
        let (times, values) = view.series(row);
        let from = times.partition_point(|time| *time < counted.start.0);
        let to = times.partition_point(|time| *time <= counted.end.0).max(from);
        match view.start_times(row) {
            None => builder.extend_samples(&times[from..to], &values[from..to]),
            Some(starts) => {
                for at in from..to {
                    builder.push_started_sample(times[at], starts[at], values[at]);
                }
            }
        }
        let mut has_samples = from < to;
        if view.histograms().row_len(row) > 0 {
            for item in view.histograms().row(row)? {
                if counted.contains(TimestampMs(item.at)) {
                    builder.push_histogram(item.at, item.start_time, item.histogram);
                    has_samples = true;
                }
            }
        }
        if has_samples {
            builder.finish_series(view.labels(row).as_bytes());
        }
    }
    Ok(builder.finish())
}

/// The steps up to the end of the span whose samples lie in it. What is seen at the steps behind it is another question.
fn counted_steps(table: &RecordBatch, counted: TimeSpan) -> Result<RecordBatch, Error> {
    let view = SparseSteps::try_new(table)?;
    let mut builder = SparseStepsBuilder::default();
    for row in 0..table.num_rows() {
        let is_counted =
            |(step, _, time): &(i64, f64, i64)| *step <= counted.end.0 && counted.contains(TimestampMs(*time));
        let mut has_step = false;
        for (step, value, time) in view.steps(row).filter(is_counted) {
            builder.push_step(step, value, time);
            has_step = true;
        }
        if has_step {
            builder.finish_series(view.labels(row).as_bytes());
        }
    }
    Ok(builder.finish())
}

/// What was seen at one moment, if it counts, at every later step whose lookback still reaches the sample.
fn spread(table: &RecordBatch, steps: StepGrid, lookback: DurationMs, counted: TimeSpan) -> Result<RecordBatch, Error> {
    let view = SparseSteps::try_new(table)?;
    let mut builder = SparseStepsBuilder::default();
    for row in 0..table.num_rows() {
        let is_counted = |(_, _, time): &(i64, f64, i64)| counted.contains(TimestampMs(*time));
        let Some((_, value, time)) = view.steps(row).next().filter(is_counted) else { continue };
        let mut has_step = false;
        for step in steps.times().take_while(|step| time > step.saturating_sub(lookback).0) {
            builder.push_step(step.0, value, time);
            has_step = true;
        }
        if has_step {
            builder.finish_series(view.labels(row).as_bytes());
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AbsoluteTimeRange, Scheme, ServerGroupConfig};

    /// Hands out the same raw samples whatever it is asked, and remembers the form of the question.
    #[derive(Debug)]
    struct RawServer {
        url: TargetUrl,
        table: RecordBatch,
        asked: parking_lot::Mutex<Vec<SelectForm>>,
    }

    fn not_asked<T>() -> Result<T, Error> {
        Err(Error::internal("the test does not ask for it"))
    }

    #[async_trait]
    impl Downstream for RawServer {
        fn url(&self) -> &TargetUrl {
            &self.url
        }
        async fn select(&self, request: &SelectRequest, _: SampleTimes, _: &QueryContext) -> Result<Selected, Error> {
            self.asked.lock().push(request.form.clone());
            let tables = futures::stream::iter([Ok(self.table.clone())]).boxed();
            Ok(Selected { form: SelectedForm::Samples, tables })
        }
        async fn label_names(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
            not_asked()
        }
        async fn label_values(&self, _: &str, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
            not_asked()
        }
        async fn series(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<Labels>, Error> {
            not_asked()
        }
        async fn metric_metadata(
            &self,
            _: Option<&str>,
            _: &QueryContext,
        ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
            not_asked()
        }
    }

    /// Floats at 0, 100, …, 900 with start times, histograms at 50, 150, …, 950; and a series that ends before 400.
    fn raw_table() -> RecordBatch {
        let labels = |name: &str| Labels::from_pairs([("__name__", name)]).encode();
        let mut builder = SamplesTableBuilder::default();
        for time in (0..1_000).step_by(100) {
            builder.push_started_sample(time, 7, time as f64);
            builder.push_histogram(time + 50, Some(9), Arc::default());
        }
        builder.finish_series(labels("a").as_bytes());
        builder.extend_samples(&[100, 200], &[1.0, 2.0]);
        builder.finish_series(labels("b").as_bytes());
        builder.finish()
    }

    #[tokio::test]
    async fn raw_samples_outside_of_a_truncated_range_are_taken_out_with_all_that_belongs_to_them() {
        let url = TargetUrl::try_new(Scheme::Http, "a:1", "").expect("a host");
        let server = Arc::new(RawServer { url, table: raw_table(), asked: parking_lot::Mutex::default() });
        let range = AbsoluteTimeRange { start: Some(TimestampMs(400)), end: Some(TimestampMs(600)), truncate: true };
        let config = ServerGroupConfig { absolute_time_range: Some(range), ..ServerGroupConfig::default() };
        let covered = CoveredDownstream::new(Arc::clone(&server) as _, TimeRanges::of(&config).expect("a range"));
        let grid = StepGrid::with_count(TimestampMs(0), DurationMs(100), 20);
        let form = SelectForm::Steps { grid, lookback: DurationMs(250) };
        let request = SelectRequest { matchers: Vec::new(), form };
        let selected = covered.select(&request, SampleTimes::StepTimes, &QueryContext::default()).await;
        let selected = selected.expect("an answer");
        assert_eq!(selected.form, SelectedForm::Samples);
        let tables: Vec<RecordBatch> = selected.tables.try_collect().await.expect("an answer");
        let [table] = &tables[..] else { panic!("one table") };
        let view = SamplesTable::try_new(table).expect("a samples table");
        assert_eq!(view.row_count(), 1, "nothing is left of the other series");
        assert_eq!(view.series(0), (&[400, 500, 600][..], &[400.0, 500.0, 600.0][..]));
        assert_eq!(view.start_times(0), Some(&[7, 7, 7][..]));
        let histograms = view.histograms().row(0).expect("readable");
        assert_eq!(
            histograms.iter().map(|item| (item.at, item.start_time)).collect::<Vec<_>>(),
            [(450, Some(9)), (550, Some(9))]
        );
        // Only the steps that look at the range, and no second question: the samples are there.
        let asked = SelectForm::Steps {
            grid: StepGrid::with_count(TimestampMs(400), DurationMs(100), 5),
            lookback: DurationMs(250),
        };
        assert_eq!(*server.asked.lock(), [asked]);
    }
}
