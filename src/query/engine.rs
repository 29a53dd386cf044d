//! Text in, tables out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::PhysicalPlanner;
use futures::TryStreamExt;

use super::collect::{Collected, query_error};
use super::limits::shared_runtime;
use super::query_watch::QueryWatch;
use super::session::{Rules, physical_planner, session_state};
use crate::error::{Error, ErrorKind};
use crate::model::{
    Annotation, AnnotationSink, DurationMs, EvaluationMode, Held, PartEvaluation, PartialResponse, ProcessBudget,
    QueryContext, QueryLimits, QueryValue, SourcePolicy, StepGrid, StreamOrder, TargetReport, TimestampMs,
};
use crate::promql::{PlanOptions, PlannedQuery, PlannedValue, plan_query};
use crate::scan::SeriesSource;
use crate::syntax::{ValueType, parse};

/// A subquery of more steps than this is refused whatever the sample limit says: a row of it would be 80 MB.
const SUBQUERY_STEPS_MAX: usize = 10_000_000;

/// What holds for every query of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far a plain selector looks back. Default 5 m.
    pub lookback: DurationMs,
    /// Step of subqueries that give none (`global.evaluation_interval`). Default 1 m.
    pub default_subquery_step: DurationMs,
    /// At most so long may a query take. Default 2 m.
    pub timeout: Duration,
    /// At most so many samples may a query hold at a time. Default 50 million.
    pub samples_max: u64,
    /// At most so many bytes may a query hold at a time; 0 is no limit. Default none.
    pub query_bytes_max: u64,
    /// The memory of all queries; shared by all engines of a process. Default without limit.
    pub memory: Arc<ProcessBudget>,
    /// Gated PromQL features that are on (`--enable-feature`).
    pub features: crate::syntax::Features,
    /// Where expressions are evaluated, unless a server group says otherwise (`--query.mode`). Default: the cheaper way.
    pub mode: EvaluationMode,
    /// Rules that may rewrite plans. Default: all.
    pub rules: Rules,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: DurationMs(300_000),
            default_subquery_step: DurationMs(60_000),
            timeout: Duration::from_secs(120),
            samples_max: 50_000_000,
            mode: EvaluationMode::default(),
            query_bytes_max: 0,
            memory: Arc::default(),
            features: crate::syntax::Features::default(),
            rules: Rules::default(),
        }
    }
}

/// When a query is evaluated.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum QueryTimes {
    /// At one time.
    Instant(TimestampMs),
    /// At every step of a grid.
    Range {
        /// The steps.
        grid: StepGrid,
        /// What `end()` and `range()` mean; it need not lie on the grid.
        end: TimestampMs,
    },
}

/// What one request may change.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Shortens the engine's timeout, never lengthens it.
    pub timeout: Option<Duration>,
    /// From when on the timeout counts: when the client asked. `None` is when the query is evaluated.
    pub asked_at: Option<Instant>,
    /// Replaces the engine's lookback.
    pub lookback: Option<DurationMs>,
    /// Headers handed on to the downstreams.
    pub proxied_headers: Vec<(String, String)>,
    /// Where sub-expressions are evaluated, whatever the engine and the groups say.
    pub mode: Option<EvaluationMode>,
    /// What becomes of server groups that do not answer. Default: what their config says.
    pub partial_response: PartialResponse,
    /// Names of the server groups that are asked; the place in the config, counted from 0, where a group has none. The others
    /// give nothing. `None`: all.
    pub groups: Option<Vec<String>>,
    /// Shows how far the query is.
    pub watch: QueryWatch,
    /// Gets what was noted of the servers on the way of a query that fails; a result has its own annotations.
    pub noted: AnnotationSink,
}

/// A value with what was noted on the way.
#[derive(Debug)]
pub struct QueryResult {
    /// The value.
    pub value: QueryValue,
    /// Warnings and infos, without duplicates, in order of arrival; render them against the query text.
    pub annotations: Vec<Annotation>,
    /// Samples that were read from the source.
    pub samples_loaded: u64,
    /// The most samples that the query held at a time.
    pub peak_samples: u64,
    /// The most bytes that the query held at a time.
    pub peak_bytes: u64,
    /// Counts the tables of the value, one guard a table, in their order. Whoever lets a table go drops its guard.
    pub held: Vec<Held>,
    /// Which sub-expressions were computed by the servers of which part, and which could not be.
    pub part_evaluations: Vec<PartEvaluation>,
    /// What its requests cost, by target.
    pub targets: Vec<TargetReport>,
    /// How long its parts took.
    pub timings: QueryTimings,
}

/// When which part of an evaluation took how long.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryTimings {
    /// Reading the text, checking it, planning.
    pub preparation: Duration,
    /// From the first request to the last table.
    pub evaluation: Duration,
    /// Sorting, and checking the result as a whole.
    pub sorting: Duration,
}

/// Evaluates PromQL over a source of series. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    source: Arc<dyn SeriesSource>,
    options: Arc<EngineOptions>,
    runtime: Arc<RuntimeEnv>,
}

impl QueryEngine {
    /// An engine over a source.
    pub fn new(source: Arc<dyn SeriesSource>, options: EngineOptions) -> Self {
        Self { source, options: Arc::new(options), runtime: Arc::new(shared_runtime()) }
    }

    /// The source it reads from.
    pub fn source(&self) -> &Arc<dyn SeriesSource> {
        &self.source
    }

    /// What its queries share of DataFusion.
    #[cfg(feature = "sql")]
    pub(super) fn runtime(&self) -> &RuntimeEnv {
        &self.runtime
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// A context for one request: deadline, sample budget, headers.
    pub fn context(&self, options: &QueryOptions) -> QueryContext {
        let timeout = options.timeout.map_or(self.options.timeout, |asked| asked.min(self.options.timeout));
        let limits = QueryLimits { samples_max: self.options.samples_max, bytes_max: self.options.query_bytes_max };
        let deadline = options.asked_at.unwrap_or_else(Instant::now).checked_add(timeout);
        let mut context = QueryContext::with_limits(deadline, limits, &self.options.memory);
        context.proxied_headers = options.proxied_headers.clone().into();
        context.sources = SourcePolicy::new(options.partial_response, options.groups.as_deref());
        context
    }

    /// Evaluates at one time.
    pub async fn instant(&self, query: &str, time: TimestampMs, options: &QueryOptions) -> Result<QueryResult, Error> {
        self.run(query, QueryTimes::Instant(time), options).await
    }

    /// Evaluates at every step of a grid.
    pub async fn range(&self, query: &str, grid: StepGrid, options: &QueryOptions) -> Result<QueryResult, Error> {
        self.run(query, QueryTimes::Range { grid, end: grid.last() }, options).await
    }

    /// Evaluates at every step of a grid whose asked end lies behind its last step; `end()` and `range()` mean the asked one.
    pub async fn range_to(
        &self,
        query: &str,
        grid: StepGrid,
        end: TimestampMs,
        options: &QueryOptions,
    ) -> Result<QueryResult, Error> {
        self.run(query, QueryTimes::Range { grid, end }, options).await
    }

    pub(super) fn plan(
        &self,
        query: &str,
        evaluation: QueryTimes,
        options: &QueryOptions,
        context: &QueryContext,
    ) -> Result<PlannedQuery, Error> {
        let expr = parse(query, &self.options.features).map_err(|error| Error::bad_data(error.render(query)))?;
        self.source.check_groups(&context.sources)?;
        let (grid, end, instant) = match evaluation {
            QueryTimes::Instant(time) => (StepGrid::instant(time), time, true),
            QueryTimes::Range { grid, end } => (grid, end, false),
        };
        if !instant && !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
            let found = expr.value_type().documented_name();
            return Err(Error::bad_data(format!(
                "invalid expression type {found:?} for range query, must be Scalar or instant Vector"
            )));
        }
        let plan_options = PlanOptions {
            grid,
            end,
            instant,
            lookback: options.lookback.unwrap_or(self.options.lookback),
            default_subquery_step: self.options.default_subquery_step,
            subquery_steps_max: usize::try_from(self.options.samples_max).unwrap_or(usize::MAX).min(SUBQUERY_STEPS_MAX),
            features: self.options.features,
            mode: self.options.mode,
            asked_mode: options.mode,
        };
        plan_query(&expr, plan_options, &self.source, context)
    }

    async fn run(&self, query: &str, evaluation: QueryTimes, options: &QueryOptions) -> Result<QueryResult, Error> {
        let context = self.context(options);
        options.watch.begins(&context);
        let result = self.run_in(query, evaluation, options, &context).await;
        let is_over = result.is_ok() || !context.stream_order.is_broken();
        if is_over {
            return result.inspect_err(|_| note(&context, options));
        }
        let mut again = self.context(options);
        again.deadline = context.deadline;
        again.stream_order = StreamOrder::distrusted();
        again.targets = context.targets.clone();
        options.watch.begins(&again);
        self.run_in(query, evaluation, options, &again).await.inspect_err(|_| note(&again, options))
    }

    async fn run_in(
        &self,
        query: &str,
        evaluation: QueryTimes,
        options: &QueryOptions,
        context: &QueryContext,
    ) -> Result<QueryResult, Error> {
        let began = Instant::now();
        let planned = self.plan(query, evaluation, options, context)?;
        let preparation = began.elapsed();
        let work = self.execute(planned, matches!(evaluation, QueryTimes::Instant(_)), context);
        let (value, held, timings) = match context.deadline {
            None => work.await?,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "query timed out in expression evaluation")))?,
        };
        context.sources.judge()?;
        Ok(QueryResult {
            value,
            annotations: context.annotations.snapshot(),
            samples_loaded: context.samples_loaded(),
            peak_samples: context.peak_samples(),
            peak_bytes: context.peak_bytes(),
            held,
            part_evaluations: context.part_evaluations.snapshot(),
            targets: context.targets.snapshot(),
            timings: QueryTimings { preparation, ..timings },
        })
    }

    async fn execute(
        &self,
        planned: PlannedQuery,
        instant: bool,
        context: &QueryContext,
    ) -> Result<(QueryValue, Vec<Held>, QueryTimings), Error> {
        let (grid, began) = (planned.grid, Instant::now());
        let collected = match &planned.value {
            PlannedValue::String(text) => {
                let value = QueryValue::String { time: grid.start(), text: text.clone() };
                return Ok((value, Vec::new(), QueryTimings::default()));
            }
            PlannedValue::Scalar(plan) | PlannedValue::Vector(plan) | PlannedValue::Samples { plan, .. } => {
                self.collect(plan, grid, context).await?
            }
        };
        let evaluation = began.elapsed();
        let (value, held) = match planned.value {
            PlannedValue::Samples { start, end, .. } => collected.into_samples(start, end)?,
            PlannedValue::Scalar(_) => collected.into_scalar(grid, instant)?,
            PlannedValue::Vector(_) | PlannedValue::String(_) => collected.into_vector(grid, instant)?,
        };
        let sorting = began.elapsed().saturating_sub(evaluation);
        Ok((value, held, QueryTimings { evaluation, sorting, ..QueryTimings::default() }))
    }

    /// Everything that comes before the first request to a server: parses, checks and plans. Tells how many operators there are.
    pub async fn prepare(&self, query: &str, grid: StepGrid, options: &QueryOptions) -> Result<usize, Error> {
        let context = self.context(options);
        let planned = self.plan(query, QueryTimes::Range { grid, end: grid.last() }, options, &context)?;
        match &planned.value {
            PlannedValue::String(_) => Ok(0),
            PlannedValue::Scalar(plan) | PlannedValue::Vector(plan) | PlannedValue::Samples { plan, .. } => {
                Ok(count_operators(&self.physical_plan(plan, grid, &context).await?.0))
            }
        }
    }

    /// The session of one query whose rows have `step_count` cells.
    pub(super) fn session(&self, step_count: usize, context: &QueryContext) -> SessionState {
        session_state(step_count, &self.runtime, context.budget(), self.options.rules)
    }

    pub(super) async fn physical_plan(
        &self,
        logical: &LogicalPlan,
        grid: StepGrid,
        context: &QueryContext,
    ) -> Result<(Arc<dyn ExecutionPlan>, SessionState), Error> {
        let state = self.session(grid.step_count(), context);
        let physical = physical_planner().create_physical_plan(logical, &state).await.map_err(query_error)?;
        Ok((physical, state))
    }

    async fn collect(&self, plan: &LogicalPlan, grid: StepGrid, context: &QueryContext) -> Result<Collected, Error> {
        let (physical, state) = self.physical_plan(plan, grid, context).await?;
        let mut stream = execute_stream(physical, state.task_ctx()).map_err(query_error)?;
        let mut collected = Collected::new(context.clone());
        while let Some(batch) = stream.try_next().await.map_err(query_error)? {
            collected.push(batch)?;
        }
        Ok(collected)
    }
}

/// Hands on what was noted before a query failed, such as replicas that failed. What concerns its text is left out, as
/// Prometheus leaves it out.
pub(super) fn note(context: &QueryContext, options: &QueryOptions) {
    let noted = context.annotations.snapshot().into_iter().filter(|annotation| annotation.span.is_none());
    noted.for_each(|annotation| options.noted.add(annotation));
}

fn count_operators(plan: &Arc<dyn ExecutionPlan>) -> usize {
    1 + plan.children().into_iter().map(count_operators).sum::<usize>()
}
