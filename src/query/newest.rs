//! The newest sample of each series, with its own time: what another collector is given (`/federate`).

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::execute_stream;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::collect::query_error;
use super::engine::{QueryEngine, QueryOptions, note};
use crate::error::{Error, ErrorKind};
use crate::model::{
    Annotation, DurationMs, EncodedLabelName, Held, LabelsRef, METRIC_NAME, Matcher, QueryContext, SelectForm,
    SelectRequest, StepGrid, StepsTable, StreamOrder, TimestampMs,
};
use crate::scan::{SeriesColumn, SeriesTable};

/// So many selectors are asked for at a time.
const SELECTORS_AT_A_TIME: usize = 8;

/// Series with one sample each.
#[derive(Debug)]
pub struct NewestSamples {
    /// Timed steps tables of one step.
    pub tables: Vec<RecordBatch>,
    /// The series as table and row, each label set once: by metric name, those of one name by labels. Series without a name
    /// are left out.
    pub rows: Vec<(u32, u32)>,
    /// Warnings and infos, without duplicates, in order of arrival.
    pub annotations: Vec<Annotation>,
    /// Samples that were read from the source.
    pub samples_loaded: u64,
    /// Counts all of it.
    pub held: Vec<Held>,
}

impl QueryEngine {
    /// The newest sample of every series that any of `selectors` selects, if it is not older than the lookback: both
    /// `time - lookback` and `time` count, as for Prometheus' `/federate`. Series that have ended by a stale marker are left
    /// out.
    ///
    /// # Errors
    /// Those of an instant query.
    pub async fn newest(
        &self,
        selectors: &[Vec<Matcher>],
        time: TimestampMs,
        options: &QueryOptions,
    ) -> Result<NewestSamples, Error> {
        let mut context = self.context(options);
        let mut result = self.newest_in(selectors, time, options, &context).await;
        if result.is_err() && context.stream_order.is_broken() {
            let mut again = self.context(options);
            again.deadline = context.deadline;
            again.stream_order = StreamOrder::distrusted();
            context = again;
            result = self.newest_in(selectors, time, options, &context).await;
        }
        result.inspect_err(|_| note(&context, options))
    }

    async fn newest_in(
        &self,
        selectors: &[Vec<Matcher>],
        time: TimestampMs,
        options: &QueryOptions,
        context: &QueryContext,
    ) -> Result<NewestSamples, Error> {
        self.source().check_groups(&context.sources)?;
        let lookback = options.lookback.unwrap_or(self.options().lookback);
        // A lookback is open to the left, and here its left end counts.
        let lookback = DurationMs(lookback.0.saturating_add(1));
        let form = SelectForm::Steps { grid: StepGrid::instant(time), lookback };
        let of_selector = |matchers: &Vec<Matcher>| SelectRequest { matchers: matchers.clone(), form: form.clone() };
        // A selector without matchers selects nothing here, as in Prometheus.
        let selectors = selectors.iter().filter(|matchers| !matchers.is_empty());
        let requests: Vec<SelectRequest> = selectors.map(of_selector).collect();
        let asked = requests.into_iter().map(|request| self.newest_of(request, context));
        let work = stream::iter(asked).buffered(SELECTORS_AT_A_TIME).try_collect::<Vec<_>>();
        let found = match context.deadline {
            None => work.await?,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "query timed out in expression evaluation")))?,
        };
        context.sources.judge()?;
        let (tables, mut held): (Vec<RecordBatch>, Vec<Held>) = found.into_iter().flatten().unzip();
        let (rows, rows_held) = rows_by_name(&tables, context)?;
        held.push(rows_held);
        Ok(NewestSamples {
            tables,
            rows,
            annotations: context.annotations.snapshot(),
            samples_loaded: context.samples_loaded(),
            held,
        })
    }

    async fn newest_of(
        &self,
        request: SelectRequest,
        context: &QueryContext,
    ) -> Result<Vec<(RecordBatch, Held)>, Error> {
        let column = SeriesColumn::ValuesAndTimes;
        let table = SeriesTable::new(Arc::clone(self.source()), request, column, context.clone());
        let plan = table.execution_plan().map_err(query_error)?;
        let mut batches = execute_stream(plan, self.session(1, context).task_ctx()).map_err(query_error)?;
        let mut tables = Vec::new();
        while let Some(batch) = batches.next().await.transpose().map_err(query_error)? {
            if batch.num_rows() > 0 {
                let held = context.hold_table(&batch)?;
                tables.push((batch, held));
            }
        }
        Ok(tables)
    }
}

/// All rows that have a name and a sample, in the order that [`NewestSamples`] promises.
fn rows_by_name(tables: &[RecordBatch], context: &QueryContext) -> Result<(Vec<(u32, u32)>, Held), Error> {
    let name = EncodedLabelName::new(METRIC_NAME);
    let views = tables.iter().map(StepsTable::try_new).collect::<Result<Vec<_>, Error>>()?;
    let row_count: usize = views.iter().map(StepsTable::row_count).sum();
    let held = context.hold(0, row_count * size_of::<(u32, u32)>())?;
    let labels = |(table, row): (u32, u32)| -> LabelsRef<'_> { views[table as usize].labels(row as usize) };
    let mut rows = Vec::with_capacity(row_count);
    for (table, view) in views.iter().enumerate() {
        for row in 0..view.row_count() {
            if view.has_step(row) && view.labels(row).get_encoded(&name).is_some() {
                rows.push((small(table)?, small(row)?));
            }
        }
    }
    // The tables of a selector are sorted, those of another begin anew: a stable sort finds the runs.
    if !rows.is_sorted_by(|a, b| labels(*a) < labels(*b)) {
        rows.sort_by(|a, b| labels(*a).cmp(&labels(*b)));
        rows.dedup_by(|later, earlier| labels(*later) == labels(*earlier));
    }
    // Labels sort by the name of their first label, which is another one where that begins with a capital letter.
    let name_of = |row: (u32, u32)| labels(row).get_encoded(&name);
    if !rows.is_sorted_by(|a, b| name_of(*a) <= name_of(*b)) {
        rows.sort_by(|a, b| name_of(*a).cmp(&name_of(*b)));
    }
    Ok((rows, held))
}

fn small(index: usize) -> Result<u32, Error> {
    u32::try_from(index).map_err(|_| Error::new(ErrorKind::TooManySamples, "more than 2^32 series or tables"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MatchOp;
    use crate::query::EngineOptions;
    use crate::testing::MemoryStore;

    fn engine(lines: &[&str]) -> QueryEngine {
        let store = MemoryStore::new();
        store.load(lines, TimestampMs(0), DurationMs(60_000)).expect("valid series");
        QueryEngine::new(Arc::new(store), EngineOptions::default())
    }

    fn selector(name: &str, op: MatchOp, value: &str) -> Vec<Matcher> {
        vec![Matcher::new(name, op, value)]
    }

    async fn newest(engine: &QueryEngine, selectors: &[Vec<Matcher>], seconds: i64) -> Vec<String> {
        let options = QueryOptions::default();
        let found = engine.newest(selectors, TimestampMs(seconds * 1000), &options).await.expect("an answer");
        let told = |(table, row): &(u32, u32)| {
            let view = StepsTable::try_new(&found.tables[*table as usize]).expect("a steps table");
            let row = *row as usize;
            let value = view.cell(row, 0).map_or("histogram".to_owned(), |value| value.to_string());
            let labels: Vec<String> = view.labels(row).iter().map(|(_, value)| value.into_owned()).collect();
            format!("{} {value}@{}", labels.join("-"), view.sample_time(row, 0).unwrap_or(-1) / 1000)
        };
        found.rows.iter().map(told).collect()
    }

    #[tokio::test]
    async fn each_series_shows_its_newest_sample_and_when_that_was() {
        let engine = engine(&["a 1 2 3", "ended 1 2 stale", "old 1", "gap 1 _ _ _ _ _ 7", "later _ _ _ 9"]);
        let all = [selector("__name__", MatchOp::Regex, ".+")];
        assert_eq!(newest(&engine, &all, 150).await, ["a 3@120", "gap 1@0", "old 1@0"]);
        // Five minutes back, that moment included.
        assert_eq!(newest(&engine, &all, 300).await, ["a 3@120", "gap 1@0", "later 9@180", "old 1@0"]);
        assert_eq!(newest(&engine, &all, 301).await, ["a 3@120", "later 9@180"]);
        assert_eq!(newest(&engine, &[], 150).await, [""; 0]);
        assert_eq!(newest(&engine, &[Vec::new()], 150).await, [""; 0]);
    }

    #[tokio::test]
    async fn several_selectors_make_one_answer_by_name_in_which_a_series_stands_once() {
        let engine = engine(&[
            r#"b{job="x"} 1"#,
            r#"b{Zone="z", job="x"} 2"#,
            r#"a{job="x"} 3"#,
            r#"a{job="y"} 4"#,
            r#"{job="x"} 5"#,
        ]);
        let selectors = [
            selector("job", MatchOp::Equal, "x"),
            selector("__name__", MatchOp::Equal, "a"),
            selector("job", MatchOp::Equal, "x"),
        ];
        let expected = ["a-x 3@0", "a-y 4@0", "z-b-x 2@0", "b-x 1@0"];
        assert_eq!(newest(&engine, &selectors, 0).await, expected);
    }

    #[tokio::test]
    async fn what_is_held_is_counted_and_bounded() {
        let store = MemoryStore::new();
        let lines: Vec<String> = (0..100).map(|index| format!("a{{i=\"{index}\"}} 1")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        store.load(&lines, TimestampMs(0), DurationMs(60_000)).expect("valid series");
        let options = EngineOptions { samples_max: 99, ..EngineOptions::default() };
        let engine = QueryEngine::new(Arc::new(store), options);
        let asked = [selector("__name__", MatchOp::Equal, "a")];
        let error = engine.newest(&asked, TimestampMs(0), &QueryOptions::default()).await.expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::TooManySamples);
    }
}
