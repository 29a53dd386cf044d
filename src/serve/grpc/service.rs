//! `quiver.v1.QueryService`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::answer::{Answer, Writing, list_answer, query_answer, watched_answer};
use super::explanation::explain_response;
use super::progress::Watching;
use super::proto::{self, explain_request::Times, query_service_server::QueryService};
use super::request::{evaluation_time, metadata_request, progress_interval, query_options, step_grid};
use super::status::status_of;
use super::watch::{WATCHES_MAX, Watched, too_many_watches};
use crate::error::Error;
use crate::model::{Labels, MetadataRequest, QueryContext, StepGrid, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, QueryResult};
use crate::scan::SeriesSource;
use crate::serve::http::{ApiState, Evaluation, Notes, evaluate, within_deadline};

/// Answers from the same state as the HTTP API: the same engine, slots, counters and pool.
#[derive(Clone, Debug)]
pub(super) struct Service {
    api: ApiState,
    /// Places of watches.
    watches: Arc<Semaphore>,
}

impl Service {
    pub(super) fn new(api: ApiState) -> Self {
        Self { api, watches: Arc::new(Semaphore::new(WATCHES_MAX)) }
    }

    /// What a query is asked with, before it is known when it is evaluated.
    fn asked(&self, headers: &HeaderMap, options: Option<&proto::QueryOptions>) -> Result<Asked, Status> {
        let read = || -> Result<Asked, Error> {
            Ok(Asked {
                progress_interval: progress_interval(options)?,
                has_target_stats: options.is_some_and(|options| options.target_stats),
                options: query_options(&self.api, headers, options)?,
            })
        };
        read().map_err(|error| status_of(&error))
    }

    async fn query_stream<F, Fut>(
        &self,
        writing: Writing,
        progress: Option<Watching>,
        evaluation: Evaluation<F>,
    ) -> Result<Response<Answer<proto::QueryResponse>>, Status>
    where
        F: FnOnce(Arc<QueryEngine>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<QueryResult, Error>> + Send + 'static,
    {
        let cpu = self.api.cpu();
        if let Some(watching) = progress {
            let api = self.api.clone();
            let evaluated = async move { evaluate(&api, evaluation, |result, timings| (result, timings)).await };
            return Ok(Response::new(watched_answer(&cpu, writing, watching, evaluated)));
        }
        let evaluated = evaluate(&self.api, evaluation, |result, timings| (result, timings)).await;
        let (result, timings) = evaluated.map_err(|error| status_of(&error))?;
        Ok(Response::new(query_answer(&cpu, writing, result, timings)))
    }

    /// Asks the source of the running engine for a list, and cuts it to the limit.
    async fn ask<T, F, Fut>(
        &self,
        headers: &HeaderMap,
        filter: Option<&proto::SeriesFilter>,
        ask: F,
    ) -> Result<(Vec<T>, Notes), Status>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn SeriesSource>, MetadataRequest, QueryContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<T>, Error>> + Send + 'static,
    {
        let mut request = metadata_request(filter).map_err(|error| status_of(&error))?;
        let limit = filter.map(|filter| filter.limit).filter(|limit| *limit > 0);
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        // One more shows whether there is more.
        request.limit = limit.map(|limit| limit.saturating_add(1));
        let engine = self.api.engine();
        let options = query_options(&self.api, headers, None).map_err(|error| status_of(&error))?;
        let context = engine.context(&options);
        let annotations = context.annotations.clone();
        let source = Arc::clone(engine.source());
        let task = self.api.cpu().spawn(async move { ask(source, request, context).await });
        let mut list = within_deadline(timeout_of(&engine, &options), task).await.map_err(|error| status_of(&error))?;
        let mut notes = Notes::new(&annotations.snapshot(), "");
        if limit.is_some_and(|limit| list.len() > limit) {
            notes.add_truncated();
        }
        list.truncate(limit.unwrap_or(usize::MAX));
        Ok((list, notes))
    }
}

/// How a query is asked.
struct Asked {
    options: QueryOptions,
    progress_interval: Option<Duration>,
    has_target_stats: bool,
}

/// How long a request may take.
fn timeout_of(engine: &QueryEngine, options: &QueryOptions) -> Duration {
    options.timeout.map_or(engine.options().timeout, |asked| asked.min(engine.options().timeout))
}

#[tonic::async_trait]
impl QueryService for Service {
    type QueryStream = Answer<proto::QueryResponse>;
    type QueryRangeStream = Answer<proto::QueryResponse>;
    type WatchStream = Answer<proto::WatchResponse>;
    type SeriesStream = Answer<proto::SeriesResponse>;
    type LabelNamesStream = Answer<proto::LabelNamesResponse>;
    type LabelValuesStream = Answer<proto::LabelValuesResponse>;

    async fn query(&self, request: Request<proto::QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let (headers, request) = take_apart(request);
        let Asked { progress_interval, has_target_stats, options } = self.asked(&headers, request.options.as_ref())?;
        let time = evaluation_time(request.time_ms);
        let progress = progress_interval.map(|interval| Watching { interval, watch: options.watch.clone() });
        let query = request.query.clone();
        let evaluation = Evaluation {
            kind: "instant",
            timeout: options.timeout,
            start: move |engine: Arc<QueryEngine>| async move { engine.instant(&query, time, &options).await },
        };
        self.query_stream(Writing { query: request.query, time, has_target_stats }, progress, evaluation).await
    }

    async fn query_range(
        &self,
        request: Request<proto::QueryRangeRequest>,
    ) -> Result<Response<Self::QueryRangeStream>, Status> {
        let (headers, request) = take_apart(request);
        let Asked { progress_interval, has_target_stats, options } = self.asked(&headers, request.options.as_ref())?;
        let (grid, end) = step_grid(request.range.as_ref()).map_err(|error| status_of(&error))?;
        let progress = progress_interval.map(|interval| Watching { interval, watch: options.watch.clone() });
        let query = request.query.clone();
        let evaluation = Evaluation {
            kind: "range",
            timeout: options.timeout,
            start: move |engine: Arc<QueryEngine>| async move { engine.range_to(&query, grid, end, &options).await },
        };
        let writing = Writing { query: request.query, time: grid.start(), has_target_stats };
        self.query_stream(writing, progress, evaluation).await
    }

    async fn series(&self, request: Request<proto::SeriesRequest>) -> Result<Response<Self::SeriesStream>, Status> {
        let (headers, request) = take_apart(request);
        if request.filter.as_ref().is_none_or(|filter| filter.selectors.is_empty()) {
            return Err(status_of(&Error::bad_data("no selector was given")));
        }
        let asked = self.ask(&headers, request.filter.as_ref(), |source, request, context| async move {
            source.series(&request, &context).await
        });
        let (series, notes) = asked.await?;
        let bytes_of = |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        Ok(Response::new(list_answer(series, notes, bytes_of, |series, notes| proto::SeriesResponse {
            series: series.iter().map(label_set).collect(),
            notes,
        })))
    }

    async fn label_names(
        &self,
        request: Request<proto::LabelNamesRequest>,
    ) -> Result<Response<Self::LabelNamesStream>, Status> {
        let (headers, request) = take_apart(request);
        let asked = self.ask(&headers, request.filter.as_ref(), |source, request, context| async move {
            source.label_names(&request, &context).await
        });
        let (names, notes) = asked.await?;
        Ok(Response::new(list_answer(names, notes, String::len, |names, notes| proto::LabelNamesResponse {
            names,
            notes,
        })))
    }

    async fn label_values(
        &self,
        request: Request<proto::LabelValuesRequest>,
    ) -> Result<Response<Self::LabelValuesStream>, Status> {
        let (headers, request) = take_apart(request);
        if request.name.is_empty() {
            return Err(status_of(&Error::bad_data("invalid label name: \"\"")));
        }
        let name = request.name;
        let asked = self.ask(&headers, request.filter.as_ref(), |source, request, context| async move {
            source.label_values(&name, &request, &context).await
        });
        let (values, notes) = asked.await?;
        Ok(Response::new(list_answer(values, notes, String::len, |values, notes| proto::LabelValuesResponse {
            values,
            notes,
        })))
    }

    async fn explain(
        &self,
        request: Request<proto::ExplainRequest>,
    ) -> Result<Response<proto::ExplainResponse>, Status> {
        let (headers, request) = take_apart(request);
        let options = self.asked(&headers, request.options.as_ref())?.options;
        let grid = match &request.times {
            None => StepGrid::instant(evaluation_time(None)),
            Some(Times::TimeMs(time_ms)) => StepGrid::instant(TimestampMs(*time_ms)),
            Some(Times::Range(range)) => step_grid(Some(range)).map_err(|error| status_of(&error))?.0,
        };
        let engine = self.api.engine();
        let timeout = timeout_of(&engine, &options);
        let task = self.api.cpu().spawn(async move { engine.explain(&request.query, grid, &options).await });
        let explanation = within_deadline(timeout, task).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(explain_response(explanation)))
    }

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (headers, request) = take_apart(request);
        let options = query_options(&self.api, &headers, request.options.as_ref());
        let watched = options.and_then(|options| Watched::try_new(&self.api.engine(), request, options));
        let watched = watched.map_err(|error| status_of(&error))?;
        let place = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| too_many_watches())?;
        Ok(Response::new(watched.answer(&self.api, place)))
    }
}

/// Headers and message of a request.
fn take_apart<T>(request: Request<T>) -> (HeaderMap, T) {
    let (metadata, _, message) = request.into_parts();
    (metadata.into_headers(), message)
}

pub(super) fn label_set(labels: &Labels) -> proto::LabelSet {
    let pairs = labels.iter();
    proto::LabelSet {
        labels: pairs.map(|(name, value)| proto::Label { name: name.to_owned(), value: value.to_owned() }).collect(),
    }
}
