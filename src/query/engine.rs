//! Text in, tables out.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::model::{Annotation, DurationMs, QueryContext, QueryValue, StepGrid, TimestampMs};
use crate::scan::SeriesSource;

/// What holds for every query of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far a plain selector looks back. Default 5 m.
    pub lookback: DurationMs,
    /// Step of subqueries that give none (`global.evaluation_interval`). Default 1 m.
    pub default_subquery_step: DurationMs,
    /// At most so long may a query take. Default 2 m.
    pub timeout: Duration,
    /// At most so many samples may a query load. Default 50 million.
    pub samples_max: u64,
    /// Gated PromQL features that are on (`--enable-feature`).
    pub features: crate::syntax::Features,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: DurationMs(300_000),
            default_subquery_step: DurationMs(60_000),
            timeout: Duration::from_secs(120),
            samples_max: 50_000_000,
            features: crate::syntax::Features::default(),
        }
    }
}

/// What one request may change.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Shortens the engine's timeout, never lengthens it.
    pub timeout: Option<Duration>,
    /// Replaces the engine's lookback.
    pub lookback: Option<DurationMs>,
    /// Headers handed on to the downstreams.
    pub proxied_headers: Vec<(String, String)>,
}

/// A value with what was noted on the way.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The value.
    pub value: QueryValue,
    /// Warnings and infos, without duplicates, in order of arrival; render them against the query text.
    pub annotations: Vec<Annotation>,
    /// Samples that were read from the source.
    pub samples_loaded: u64,
}

/// Evaluates PromQL over a source of series. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    source: Arc<dyn SeriesSource>,
    options: Arc<EngineOptions>,
}

impl QueryEngine {
    /// An engine over a source.
    pub fn new(source: Arc<dyn SeriesSource>, options: EngineOptions) -> Self {
        Self { source, options: Arc::new(options) }
    }

    /// The source it reads from.
    pub fn source(&self) -> &Arc<dyn SeriesSource> {
        &self.source
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// A context for one request: deadline, sample budget, headers.
    pub fn context(&self, options: &QueryOptions) -> QueryContext {
        let timeout = options.timeout.map_or(self.options.timeout, |asked| asked.min(self.options.timeout));
        let mut context = QueryContext::new(std::time::Instant::now().checked_add(timeout), self.options.samples_max);
        context.proxied_headers = options.proxied_headers.clone().into();
        context
    }

    /// Evaluates at one time.
    pub async fn instant(
        &self,
        _query: &str,
        _time: TimestampMs,
        _options: &QueryOptions,
    ) -> Result<QueryResult, Error> {
        Err(Error::internal("the planner has not landed yet"))
    }

    /// Evaluates at every step of a grid.
    pub async fn range(&self, _query: &str, _grid: StepGrid, _options: &QueryOptions) -> Result<QueryResult, Error> {
        Err(Error::internal("the planner has not landed yet"))
    }

    /// The plan of a query as text: logical, optimised, physical. Nothing is fetched.
    pub async fn explain(&self, _query: &str, _grid: StepGrid, _options: &QueryOptions) -> Result<String, Error> {
        Err(Error::internal("the planner has not landed yet"))
    }
}
