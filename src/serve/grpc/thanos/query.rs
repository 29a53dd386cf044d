//! `thanos.Query`: PromQL evaluated here for a Querier above.

use std::sync::Arc;

use http::HeaderMap;
use tonic::{Request, Response, Status};

use super::packs::{Packs, answer, packs};
use super::proto;
use super::proto::query_server::Query;
use super::request::{self, Failures};
use super::time_series::Rows;
use super::{Thanos, take_apart};
use crate::error::Error;
use crate::model::{DurationMs, Held, StepGrid, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, QueryResult};
use crate::runtime::CpuPool;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::proto::TimeRange;
use crate::serve::grpc::request::{evaluation_time, step_grid};
use crate::serve::grpc::status::status_of;
use crate::serve::http::{Evaluation, Notes, evaluate};

/// A batch of so much ends.
const MESSAGE_BYTES: usize = 1 << 20;

/// What the requests for one time and for a range have in common.
#[derive(Debug)]
struct Question {
    query: String,
    batch_size: usize,
    options: QueryOptions,
}

/// What is asked that we cannot do, and that must not be passed over.
struct Asked<'r> {
    replica_labels: &'r [String],
    merges_replicas: bool,
    store_matchers: &'r [proto::StoreMatchers],
    shard: Option<&'r proto::ShardInfo>,
}

impl Thanos {
    /// Refuses what would give other numbers than the caller takes them for.
    fn check(&self, asked: &Asked<'_>) -> Result<(), Error> {
        if !asked.store_matchers.is_empty() {
            return Err(Error::bad_data("storeMatchers: there are no stores to choose from here, leave them out"));
        }
        if asked.shard.is_some_and(|shard| shard.total_shards > 1) {
            return Err(Error::bad_data("shard_info: a query is not evaluated in shards here, leave it out"));
        }
        if !asked.merges_replicas {
            return Ok(());
        }
        let names = request::replica_labels(asked.replica_labels)?;
        let added = self.api.engine().source().fixed_labels();
        match names.iter().find(|name| added.iter().any(|labels| labels.get(name).is_some())) {
            None => Ok(()),
            Some(name) => Err(Error::execution(format!(
                "replica label {name:?} is a label that server groups add, so their series cannot be merged in a query: put the \
                 replicas into one group without that label"
            ))),
        }
    }

    fn options(
        &self,
        headers: &HeaderMap,
        timeout_seconds: i64,
        lookback_seconds: i64,
        is_partial_enough: bool,
    ) -> Result<QueryOptions, Error> {
        let failures = if is_partial_enough { Failures::Warn } else { Failures::Abort };
        let lookback = match lookback_seconds {
            ..=0 => None,
            seconds => Some(DurationMs(milliseconds("lookback_delta_seconds", seconds)?)),
        };
        Ok(QueryOptions { lookback, ..request::query_options(&self.api, headers, failures, timeout_seconds) })
    }

    fn query_at(&self, headers: &HeaderMap, request: proto::QueryRequest) -> Result<(Question, TimestampMs), Error> {
        self.check(&Asked {
            replica_labels: &request.replica_labels,
            merges_replicas: request.enable_dedup,
            store_matchers: &request.store_matchers,
            shard: request.shard_info.as_ref(),
        })?;
        let time = match request.time_seconds {
            0 => None,
            seconds => Some(milliseconds("time_seconds", seconds)?),
        };
        let (timeout, lookback) = (request.timeout_seconds, request.lookback_delta_seconds);
        let options = self.options(headers, timeout, lookback, request.enable_partial_response)?;
        let batch_size = usize::try_from(request.response_batch_size).unwrap_or(0);
        Ok((Question { query: request.query, batch_size, options }, evaluation_time(time)))
    }

    fn query_over(
        &self,
        headers: &HeaderMap,
        request: proto::QueryRangeRequest,
    ) -> Result<(Question, StepGrid, TimestampMs), Error> {
        self.check(&Asked {
            replica_labels: &request.replica_labels,
            merges_replicas: request.enable_dedup,
            store_matchers: &request.store_matchers,
            shard: request.shard_info.as_ref(),
        })?;
        let (grid, end) = step_grid(Some(&TimeRange {
            start_ms: milliseconds("start_time_seconds", request.start_time_seconds)?,
            end_ms: milliseconds("end_time_seconds", request.end_time_seconds)?,
            step_ms: milliseconds("interval_seconds", request.interval_seconds)?,
        }))?;
        let (timeout, lookback) = (request.timeout_seconds, request.lookback_delta_seconds);
        let options = self.options(headers, timeout, lookback, request.enable_partial_response)?;
        let batch_size = usize::try_from(request.response_batch_size).unwrap_or(0);
        Ok((Question { query: request.query, batch_size, options }, grid, end))
    }
}

fn milliseconds(field: &str, seconds: i64) -> Result<i64, Error> {
    let refused = || Error::bad_data(format!("{field}: {seconds} s are more than milliseconds can be counted for"));
    seconds.checked_mul(1_000).ok_or_else(refused)
}

#[tonic::async_trait]
impl Query for Thanos {
    type QueryStream = Answer<proto::QueryResponse>;
    type QueryRangeStream = Answer<proto::QueryRangeResponse>;

    async fn query(&self, request: Request<proto::QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let (headers, request) = take_apart(request);
        let (question, time) = self.query_at(&headers, request).map_err(|error| status_of(&error))?;
        let Question { query, batch_size, options } = question;
        let text = query.clone();
        let evaluation = Evaluation {
            kind: "instant",
            timeout: options.timeout,
            start: move |engine: Arc<QueryEngine>| async move { engine.instant(&text, time, &options).await },
        };
        let result = evaluate(&self.api, evaluation, |result, _| result).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(result_answer(&self.api.cpu(), query, result, batch_size)))
    }

    async fn query_range(
        &self,
        request: Request<proto::QueryRangeRequest>,
    ) -> Result<Response<Self::QueryRangeStream>, Status> {
        let (headers, request) = take_apart(request);
        let (question, grid, end) = self.query_over(&headers, request).map_err(|error| status_of(&error))?;
        let Question { query, batch_size, options } = question;
        let text = query.clone();
        let evaluation = Evaluation {
            kind: "range",
            timeout: options.timeout,
            start: move |engine: Arc<QueryEngine>| async move { engine.range_to(&text, grid, end, &options).await },
        };
        let result = evaluate(&self.api, evaluation, |result, _| result).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(result_answer(&self.api.cpu(), query, result, batch_size)))
    }
}

/// A message of either answer.
#[derive(Debug)]
enum Part {
    Warning(String),
    Series(proto::TimeSeries),
    Batch(proto::TimeSeriesBatch),
    Stats(proto::QueryStats),
}

impl From<Part> for proto::QueryResponse {
    fn from(part: Part) -> Self {
        use proto::query_response::Result as Own;
        let result = match part {
            Part::Warning(text) => Own::Warnings(text),
            Part::Series(series) => Own::Timeseries(series),
            Part::Batch(batch) => Own::TimeseriesBatch(batch),
            Part::Stats(stats) => Own::Stats(stats),
        };
        Self { result: Some(result) }
    }
}

impl From<Part> for proto::QueryRangeResponse {
    fn from(part: Part) -> Self {
        use proto::query_range_response::Result as Own;
        let result = match part {
            Part::Warning(text) => Own::Warnings(text),
            Part::Series(series) => Own::Timeseries(series),
            Part::Batch(batch) => Own::TimeseriesBatch(batch),
            Part::Stats(stats) => Own::Stats(stats),
        };
        Self { result: Some(result) }
    }
}

/// A result put into messages on the cpu pool while the client reads.
fn result_answer<T: From<Part> + Send + 'static>(
    cpu: &CpuPool,
    query: String,
    result: QueryResult,
    batch_size: usize,
) -> Answer<T> {
    let (packs, receiver) = packs();
    let task = cpu.spawn(send_result(query, result, batch_size, packs));
    answer(receiver, task)
}

async fn send_result<T: From<Part>>(
    query: String,
    result: QueryResult,
    batch_size: usize,
    mut packs: Packs<T>,
) -> Result<(), Error> {
    let notes = Notes::new(&result.annotations, &query);
    for text in notes.warnings.into_iter().chain(notes.infos) {
        let bytes = text.len();
        packs.push(Part::Warning(text).into(), bytes).await?;
    }
    let rows = Rows::try_from(result.value)?;
    send_rows(rows, result.held, batch_size, &mut packs).await?;
    let stats = proto::QueryStats {
        samples_total: i64::try_from(result.samples_loaded).unwrap_or(i64::MAX),
        peak_samples: i64::try_from(result.peak_samples).unwrap_or(i64::MAX),
    };
    packs.push(Part::Stats(stats).into(), 0).await?;
    packs.flush().await
}

/// The tables stay as long as their guards do: all of them go with the last row.
async fn send_rows<T: From<Part>>(
    rows: Rows,
    _held: Vec<Held>,
    batch_size: usize,
    packs: &mut Packs<T>,
) -> Result<(), Error> {
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    for table in 0..rows.table_count() {
        for row in 0..rows.row_count(table) {
            let (series, bytes) = rows.series(table, row)?;
            if batch_size <= 1 {
                packs.push(Part::Series(series).into(), bytes).await?;
                continue;
            }
            batch.push(series);
            batch_bytes += bytes;
            if batch.len() >= batch_size || batch_bytes >= MESSAGE_BYTES {
                let series = std::mem::take(&mut batch);
                packs.push(Part::Batch(proto::TimeSeriesBatch { series }).into(), batch_bytes).await?;
                batch_bytes = 0;
            }
        }
    }
    match batch.is_empty() {
        true => Ok(()),
        false => packs.push(Part::Batch(proto::TimeSeriesBatch { series: batch }).into(), batch_bytes).await,
    }
}
