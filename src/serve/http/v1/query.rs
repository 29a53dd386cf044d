//! `/api/v1/query` and `/api/v1/query_range`.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;

use super::evaluation::{Evaluation, Timings, evaluate, now, query_options};
use super::query_stats::QueryStats;
use crate::encode::{QueryResponseChunks, encode_query_response};
use crate::error::Error;
use crate::model::{AnnotationSink, Held};
use crate::query::{QueryEngine, QueryResult};
use crate::runtime::CpuPool;
use crate::serve::http::params::{Form, parse_grid, parse_limit, parse_optional_time};
use crate::serve::http::respond::{ApiError, Chunk, Notes, json_response, streamed_body};
use crate::serve::http::state::ApiState;

/// Chunks that wait for a slow client; each is a few hundred kilobytes at most.
const WAITING_CHUNKS_MAX: usize = 4;

/// One time: `query`, `time`, `timeout`, `limit`, `lookback_delta`, `stats`.
pub(super) async fn instant(
    State(state): State<ApiState>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let limit = parse_limit(&form)?;
    let time = parse_optional_time(&form, "time")?.unwrap_or_else(now);
    let options = query_options(&state, &headers, &form)?;
    let writing = Writing::new(&state, &form, limit);
    let noted = options.noted.clone();
    let query = form.get("query").to_owned();
    let evaluation = Evaluation {
        kind: "instant",
        timeout: options.timeout,
        start: move |engine: Arc<QueryEngine>| async move { engine.instant(&query, time, &options).await },
    };
    answer(&state, evaluation, writing, &noted, &form).await
}

/// A grid of times: `start`, `end`, `step` instead of `time`.
pub(super) async fn range(State(state): State<ApiState>, headers: HeaderMap, form: Form) -> Result<Response, ApiError> {
    let limit = parse_limit(&form)?;
    let (grid, end) = parse_grid(&form)?;
    let options = query_options(&state, &headers, &form)?;
    let writing = Writing::new(&state, &form, limit);
    let noted = options.noted.clone();
    let query = form.get("query").to_owned();
    let evaluation = Evaluation {
        kind: "range",
        timeout: options.timeout,
        start: move |engine: Arc<QueryEngine>| async move { engine.range_to(&query, grid, end, &options).await },
    };
    answer(&state, evaluation, writing, &noted, &form).await
}

/// The response, or the error with what was noted before it.
async fn answer<F, Fut>(
    state: &ApiState,
    evaluation: Evaluation<F>,
    writing: Writing,
    noted: &AnnotationSink,
    form: &Form,
) -> Result<Response, ApiError>
where
    F: FnOnce(Arc<QueryEngine>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<QueryResult, Error>> + Send + 'static,
{
    let body = evaluate(state, evaluation, move |result, timings| writing.body(result, timings)).await;
    match body.and_then(|body| body) {
        Ok(body) => Ok(json_response(StatusCode::OK, body)),
        Err(error) => Err(ApiError { error, notes: Notes::new(&noted.snapshot(), form.get("query")) }),
    }
}

/// What `stats` asks for.
#[derive(Copy, Clone, PartialEq, Eq)]
enum WantedStats {
    None,
    /// What Prometheus has.
    Prometheus,
    /// `all`: the targets, too.
    WithTargets,
}

/// How a result is put into words.
struct Writing {
    query: String,
    limit: Option<usize>,
    stats: WantedStats,
    cpu: CpuPool,
}

impl Writing {
    fn new(state: &ApiState, form: &Form, limit: Option<usize>) -> Self {
        let stats = match form.get("stats") {
            "" => WantedStats::None,
            "all" => WantedStats::WithTargets,
            _ => WantedStats::Prometheus,
        };
        Self { query: form.get("query").to_owned(), limit, stats, cpu: state.cpu() }
    }

    /// The body. A short one is complete at once and has a length; a long one is written as the client reads it.
    fn body(self, result: QueryResult, timings: Timings) -> Result<Body, Error> {
        let Notes { warnings, infos } = Notes::new(&result.annotations, &self.query);
        let stats = match self.stats {
            WantedStats::None => None,
            wanted => Some(print_stats(&result, timings, wanted)?),
        };
        let chunks = encode_query_response(result.value, &warnings, &infos, stats.as_deref(), self.limit)?;
        let mut chunks = CountedChunks { chunks, held: result.held.into() };
        let first = chunks.next().unwrap_or_default();
        let Some(second) = chunks.next() else {
            return Ok(Body::from(first));
        };
        let (sender, receiver) = mpsc::channel(WAITING_CHUNKS_MAX);
        // Ends by itself when the client goes: then nobody receives.
        self.cpu.detach(send_chunks(sender, [first, second], chunks));
        Ok(streamed_body(receiver))
    }
}

/// The chunks of a body, with the guards of the tables that are not written yet.
struct CountedChunks {
    chunks: QueryResponseChunks,
    held: VecDeque<Held>,
}

impl Iterator for CountedChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.next();
        let written = self.held.len().saturating_sub(self.chunks.tables_left());
        self.held.drain(..written);
        chunk
    }
}

/// Should the encoder panic, [`Chunk::End`] is not sent, and the client sees a broken transfer.
async fn send_chunks(sender: mpsc::Sender<Chunk>, begun: [Bytes; 2], rest: CountedChunks) {
    let chunks = begun.into_iter().chain(rest).map(Chunk::Data).chain([Chunk::End]);
    for chunk in chunks {
        if sender.send(chunk).await.is_err() {
            tracing::debug!("the client went before the end of its answer");
            return;
        }
    }
}

fn print_stats(result: &QueryResult, timings: Timings, wanted: WantedStats) -> Result<Box<RawValue>, Error> {
    let targets = (wanted == WantedStats::WithTargets).then_some(result.targets.as_slice());
    to_raw_value(&QueryStats::new(result, timings, targets))
        .map_err(|error| Error::internal(format!("cannot print the statistics: {error}")))
}
