//! A query whose tables are handed out as they come, before the last server has answered.
//!
//! | what is asked | the tables | their order |
//! |---|---|---|
//! | an expression on a grid | steps tables | that of the plan: of a selector by labels |
//! | an expression at one time | steps tables of one step | as the query has ordered them |
//! | a range selector at one time | samples tables without stale markers | by labels |
//! | one selector as it is stored ([`QueryEngine::leaf`]) | samples tables or timed steps tables, with stale markers | by labels |
//!
//! Whoever needs all of a result sorted takes [`QueryEngine::range`].

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::stream::{self, BoxStream, StreamExt};
use xxhash_rust::xxh64::xxh64;

use super::collect::{query_error, samples_in_window, without_empty_rows};
use super::engine::{QueryEngine, QueryOptions, QueryTimes};
use crate::error::{Error, ErrorKind};
use crate::model::{
    Held, LabelsRef, PartAnswers, QueryContext, SamplesTable, SelectForm, SelectRequest, StepGrid, StepsTable,
    StreamOrder, TimestampMs, samples_schema, steps_schema, timed_steps_schema,
};
use crate::promql::PlannedValue;
use crate::scan::{SelectorForm, SeriesColumn, SeriesTable};

/// What a series that went by is counted as: its hashes, and the room that a set leaves.
const SEEN_BYTES: usize = 2 * size_of::<u128>();

/// What the tables of a [`QueryStream`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamedValue {
    /// One row without labels: a number at one time.
    Scalar {
        /// Evaluation time.
        time: TimestampMs,
    },
    /// There are no tables.
    String {
        /// Evaluation time.
        time: TimestampMs,
        /// The text.
        text: String,
    },
    /// Steps tables of one step.
    Vector {
        /// Evaluation time.
        time: TimestampMs,
    },
    /// Steps tables.
    Matrix {
        /// The times of the cells.
        grid: StepGrid,
    },
    /// Samples tables.
    Samples,
    /// Timed steps tables, stale markers as the numbers that they are.
    TimedSteps {
        /// The times of the cells.
        grid: StepGrid,
    },
}

impl StreamedValue {
    /// The schema of the tables.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Scalar { .. } | Self::String { .. } | Self::Vector { .. } => steps_schema(1),
            Self::Matrix { grid } => steps_schema(grid.step_count()),
            Self::Samples => samples_schema(),
            Self::TimedSteps { grid } => timed_steps_schema(grid.step_count()),
        }
    }
}

/// Tables on their way, each with the guard that counts it: whoever lets a table go drops its guard.
pub type CountedTables = BoxStream<'static, Result<(RecordBatch, Held), Error>>;

/// A query that runs. What it costs is computed by whoever polls its tables; dropping them ends its requests.
pub struct QueryStream {
    /// What is to come, known before anybody has answered.
    pub value: StreamedValue,
    /// No label set comes twice. An error ends the stream, and what came before it is no answer.
    pub tables: CountedTables,
    /// What was noted, read and asked so far; all of it once the tables have ended.
    pub context: QueryContext,
}

impl Debug for QueryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryStream").field("value", &self.value).finish_non_exhaustive()
    }
}

impl QueryEngine {
    /// Begins to evaluate, and returns once the query is planned: all servers are asked, nobody needs to have answered.
    ///
    /// # Errors
    /// What can be said before anybody has answered, such as a mistake in the query.
    pub async fn stream(&self, query: &str, times: QueryTimes, options: &QueryOptions) -> Result<QueryStream, Error> {
        let context = self.context(options);
        options.watch.begins(&context);
        self.stream_in(query, times, options, context).await
    }

    /// [`QueryEngine::stream`] in a context that may be another query's, too.
    pub(super) async fn stream_in(
        &self,
        query: &str,
        times: QueryTimes,
        options: &QueryOptions,
        context: QueryContext,
    ) -> Result<QueryStream, Error> {
        let running = Running::Query { query: query.to_owned(), times, options: options.clone() };
        self.begin(running, context).await
    }

    /// Begins to read one selector over all parts, as it is stored: raw samples, or what is at each step with the times of
    /// those samples; stale markers included as far as the servers tell of them. This is what a gateway above asks for.
    ///
    /// A source that looks back for nobody answers a request for steps with raw samples of
    /// `first step - lookback < t ≤ last step`; [`QueryStream::value`] tells.
    ///
    /// # Errors
    /// As [`QueryEngine::stream`].
    pub async fn leaf(&self, request: &SelectRequest, options: &QueryOptions) -> Result<QueryStream, Error> {
        let context = self.context(options);
        self.begin(Running::Leaf(request.clone()), context).await
    }

    async fn begin(&self, running: Running, context: QueryContext) -> Result<QueryStream, Error> {
        let Begun { value, shaping, batches } = running.start(self, &context).await?;
        let Some(batches) = batches else { return Ok(QueryStream { value, tables: stream::empty().boxed(), context }) };
        let seen = SeenSeries { hashes: HashSet::new(), held: context.hold(0, 0)? };
        let reader = Reader {
            engine: self.clone(),
            running,
            context: context.clone(),
            batches,
            shaping,
            seen,
            has_begun: false,
        };
        let tables = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(table)) => Some((Ok(table), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(QueryStream { value, tables: tables.boxed(), context })
    }

    async fn begin_query(
        &self,
        query: &str,
        times: QueryTimes,
        options: &QueryOptions,
        context: &QueryContext,
    ) -> Result<Begun, Error> {
        let planned = self.plan(query, times, options, context)?;
        let time = planned.grid.start();
        let is_instant = matches!(times, QueryTimes::Instant(_));
        let (plan, value, shaping) = match &planned.value {
            PlannedValue::String(text) => {
                let value = StreamedValue::String { time, text: text.clone() };
                return Ok(Begun { value, shaping: Shaping::None, batches: None });
            }
            PlannedValue::Scalar(plan) if is_instant => (plan, StreamedValue::Scalar { time }, Shaping::None),
            PlannedValue::Scalar(plan) => (plan, StreamedValue::Matrix { grid: planned.grid }, Shaping::None),
            PlannedValue::Vector(plan) if is_instant => (plan, StreamedValue::Vector { time }, Shaping::Steps),
            PlannedValue::Vector(plan) => (plan, StreamedValue::Matrix { grid: planned.grid }, Shaping::Steps),
            PlannedValue::Samples { plan, start, end } => {
                (plan, StreamedValue::Samples, Shaping::Samples { start: *start, end: *end })
            }
        };
        let (physical, state) = self.physical_plan(plan, planned.grid, context).await?;
        let batches = execute_stream(physical, state.task_ctx()).map_err(query_error)?;
        Ok(Begun { value, shaping, batches: Some(batches) })
    }

    fn begin_leaf(&self, request: &SelectRequest, context: &QueryContext) -> Result<Begun, Error> {
        let mut request = request.clone();
        let (value, step_count) = match request.form {
            SelectForm::Steps { grid, .. } if self.source().selector_form() == SelectorForm::Steps => {
                (StreamedValue::TimedSteps { grid }, grid.step_count())
            }
            SelectForm::Steps { grid, lookback } => {
                request.form = SelectForm::Samples { start: grid.start() - lookback, end: grid.last() };
                (StreamedValue::Samples, 1)
            }
            SelectForm::Samples { .. } => (StreamedValue::Samples, 1),
        };
        let column = SeriesColumn::WithStaleMarkers;
        let table = SeriesTable::new(Arc::clone(self.source()), request, column, context.clone());
        let plan = table.execution_plan().map_err(query_error)?;
        let batches = execute_stream(plan, self.session(step_count, context).task_ctx()).map_err(query_error)?;
        Ok(Begun { value, shaping: Shaping::None, batches: Some(batches) })
    }
}

/// What is evaluated, as far as it takes to begin anew.
#[derive(Clone, Debug)]
enum Running {
    Query { query: String, times: QueryTimes, options: QueryOptions },
    Leaf(SelectRequest),
}

impl Running {
    async fn start(&self, engine: &QueryEngine, context: &QueryContext) -> Result<Begun, Error> {
        match self {
            Self::Query { query, times, options } => engine.begin_query(query, *times, options, context).await,
            Self::Leaf(request) => engine.begin_leaf(request, context),
        }
    }
}

/// A plan that runs.
struct Begun {
    value: StreamedValue,
    shaping: Shaping,
    batches: Option<SendableRecordBatchStream>,
}

/// What becomes of the plan's tables.
#[derive(Copy, Clone, Debug)]
enum Shaping {
    /// They are the answer.
    None,
    /// Rows without any sample are left out.
    Steps,
    /// Samples outside of `start < t ≤ end`, stale markers, and then rows without any sample are left out.
    Samples { start: TimestampMs, end: TimestampMs },
}

impl Shaping {
    fn apply(self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        match self {
            Self::None => Ok(batch),
            Self::Steps => Ok(without_empty_rows(&batch)?.unwrap_or(batch)),
            Self::Samples { start, end } => samples_in_window(&[batch], start, end),
        }
    }
}

struct Reader {
    engine: QueryEngine,
    running: Running,
    context: QueryContext,
    batches: SendableRecordBatchStream,
    shaping: Shaping,
    seen: SeenSeries,
    /// Has a table been handed out?
    has_begun: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<(RecordBatch, Held)>, Error> {
        loop {
            let batch = match self.next_batch().await {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    self.context.sources.judge()?;
                    return Ok(None);
                }
                Err(_) if !self.has_begun && self.context.stream_order.is_broken() => {
                    // A stream was not sorted as it should be; nobody has seen anything of it.
                    self.context.stream_order = StreamOrder::distrusted();
                    self.context.sources.answers = PartAnswers::default();
                    let begun = self.running.start(&self.engine, &self.context).await?;
                    self.batches = begun.batches.ok_or_else(|| Error::internal("a query became a text"))?;
                    self.seen.hashes.clear();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let batch = self.shaping.apply(batch)?;
            if batch.num_rows() == 0 {
                continue;
            }
            if !matches!(self.shaping, Shaping::None) {
                self.seen.add(&batch)?;
            }
            let held = self.context.hold_table(&batch)?;
            self.has_begun = true;
            return Ok(Some((batch, held)));
        }
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let next = self.batches.next();
        let next = match self.context.deadline {
            None => next.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), next)
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "query timed out in expression evaluation"))?,
        };
        next.transpose().map_err(query_error)
    }
}

/// The last line of defence for rule "one sample per label set and step" where rows are not kept: two hashes of each label set
/// that went by, 128 bits. That two of ten million sets share them has a probability of 10^-25.
struct SeenSeries {
    hashes: HashSet<u128>,
    held: Held,
}

impl SeenSeries {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.held.grow(0, batch.num_rows() * SEEN_BYTES)?;
        match SamplesTable::try_new(batch) {
            Ok(table) => (0..table.row_count()).try_for_each(|row| self.add_series(table.labels(row))),
            Err(_) => {
                let table = StepsTable::try_new(batch)?;
                (0..table.row_count()).try_for_each(|row| self.add_series(table.labels(row)))
            }
        }
    }

    fn add_series(&mut self, labels: LabelsRef<'_>) -> Result<(), Error> {
        let bytes = labels.as_bytes();
        let hash = u128::from(xxh64(bytes, 0)) << 64 | u128::from(xxh64(bytes, 1));
        match self.hashes.insert(hash) {
            true => Ok(()),
            false => Err(Error::execution("vector cannot contain metrics with the same labelset")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DurationMs, Matcher};
    use crate::query::EngineOptions;
    use crate::testing::MemoryStore;

    fn engine() -> QueryEngine {
        let store = MemoryStore::new();
        let lines = [r#"hits{job="web"} 0+1x5 stale _x3"#, r#"hits{job="api"} 10x20"#];
        store.load(&lines, TimestampMs(0), DurationMs(10_000)).expect("series");
        QueryEngine::new(Arc::new(store), EngineOptions::default())
    }

    async fn rows_of(stream: QueryStream) -> Result<usize, Error> {
        let QueryStream { mut tables, context, .. } = stream;
        let mut rows = 0;
        while let Some(table) = tables.next().await {
            let (table, _held) = table?;
            assert!(context.peak_bytes() > 0, "what is handed out is counted");
            rows += table.num_rows();
        }
        drop(tables);
        assert_eq!(context.budget().bytes(), 0, "nothing is held when all is read");
        Ok(rows)
    }

    #[tokio::test]
    async fn what_is_to_come_is_known_before_it_comes() {
        let engine = engine();
        let grid = StepGrid::with_count(TimestampMs(0), DurationMs(10_000), 5);
        let (instant, range) = (QueryTimes::Instant(TimestampMs(40_000)), QueryTimes::Range { grid, end: grid.last() });
        let time = TimestampMs(40_000);
        for (query, times, value, rows) in [
            ("1 + 1", instant, StreamedValue::Scalar { time }, 1),
            ("\"x\"", instant, StreamedValue::String { time, text: "x".into() }, 0),
            ("hits", instant, StreamedValue::Vector { time }, 2),
            ("sum(hits)", range, StreamedValue::Matrix { grid }, 1),
            ("2", range, StreamedValue::Matrix { grid }, 1),
            ("hits > 1000", range, StreamedValue::Matrix { grid }, 0),
            ("hits[15s]", instant, StreamedValue::Samples, 2),
        ] {
            let stream = engine.stream(query, times, &QueryOptions::default()).await.expect(query);
            assert_eq!(stream.value, value, "{query}");
            assert_eq!(rows_of(stream).await, Ok(rows), "{query}");
        }
    }

    #[tokio::test]
    async fn mistakes_come_before_the_stream_and_doubles_within_it() {
        let engine = engine();
        let times = QueryTimes::Instant(TimestampMs(40_000));
        let refused = engine.stream("hits +", times, &QueryOptions::default()).await.expect_err("no query");
        assert_eq!(refused.kind(), ErrorKind::BadData);
        let doubled = r#"label_replace(hits, "job", "x", "", "")"#;
        let stream = engine.stream(doubled, times, &QueryOptions::default()).await.expect("a plan");
        let error = rows_of(stream).await.expect_err("two series become one");
        assert_eq!(error.message(), "vector cannot contain metrics with the same labelset");
    }

    #[tokio::test]
    async fn a_leaf_has_everything_that_is_stored() {
        let engine = engine();
        let matchers = vec![Matcher::equal("job", "web")];
        let form = SelectForm::Samples { start: TimestampMs(-1), end: TimestampMs(100_000) };
        let leaf = engine
            .leaf(&SelectRequest { matchers: matchers.clone(), form }, &QueryOptions::default())
            .await
            .expect("a leaf");
        let (table, _held) = { leaf }.tables.next().await.expect("a table").expect("samples");
        let (times, values) = SamplesTable::try_new(&table).expect("samples").series(0);
        assert_eq!(times, [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
        assert!(crate::model::is_stale(values[6]), "the marker stays");

        // A store in memory looks back for nobody; tests/flight and the layouts of the test runner have sources that do.
        let grid = StepGrid::with_count(TimestampMs(45_000), DurationMs(10_000), 3);
        let form = SelectForm::Steps { grid, lookback: DurationMs(10_000) };
        let leaf = engine.leaf(&SelectRequest { matchers, form }, &QueryOptions::default()).await.expect("a leaf");
        assert_eq!(leaf.value, StreamedValue::Samples);
        let (table, _held) = { leaf }.tables.next().await.expect("a table").expect("samples");
        assert_eq!(SamplesTable::try_new(&table).expect("samples").series(0).0, [40_000, 50_000, 60_000]);
    }
}
