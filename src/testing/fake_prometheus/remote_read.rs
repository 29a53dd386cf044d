//! `/api/v1/read`: what a Prometheus 3.14 answers to a remote read.
//!
//! Source: Prometheus v3.14 storage/remote/read_handler.go and codec.go.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::sync::Semaphore;

use super::samples_message;
use crate::downstream::SampleTimes;
use crate::downstream::prometheus_proto::label_matcher::Type;
use crate::downstream::prometheus_proto::read_request::ResponseType;
use crate::downstream::prometheus_proto::{LabelMatcher, Query, ReadRequest};
use crate::encode::{EncodedChunk, encode_row_chunks, write_series_frames};
use crate::error::Error;
use crate::model::{
    CounterResetHint, EncodedLabels, Labels, LabelsBuilder, LabelsRef, MatchOp, Matcher, NativeHistogram, QueryContext,
    SamplesTable, SamplesTableBuilder, SelectForm, SelectRequest, TimedHistogram, TimestampMs,
};
use crate::scan::{ScanRequest, SeriesSource};
use crate::testing::MemoryStore;

/// How a server speaks remote read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteReadOptions {
    /// Does it know the stream of chunks? Prometheus does since 2.13; without it, all answers are samples.
    pub streams_chunks: bool,
    /// Samples of a chunk at most.
    pub chunk_samples: usize,
    /// Bytes of a frame, about.
    pub frame_bytes: usize,
    /// Reads at a time; others wait.
    pub reads_max: usize,
}

impl Default for RemoteReadOptions {
    /// As a Prometheus without flags.
    fn default() -> Self {
        Self { streams_chunks: true, chunk_samples: 120, frame_bytes: 1 << 20, reads_max: 10 }
    }
}

/// What the handler needs.
#[derive(Debug)]
pub(super) struct ReadHandler {
    store: Arc<MemoryStore>,
    options: RemoteReadOptions,
    external_labels: Labels,
    gate: Semaphore,
}

impl ReadHandler {
    pub(super) fn new(store: Arc<MemoryStore>, options: RemoteReadOptions, external_labels: Labels) -> Self {
        let gate = Semaphore::new(options.reads_max.max(1));
        Self { store, options, external_labels, gate }
    }
}

pub(super) async fn read(State(handler): State<Arc<ReadHandler>>, body: Bytes) -> Response<Body> {
    let Ok(_permit) = handler.gate.acquire().await else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the server ends");
    };
    let request = match decode_request(&body) {
        Ok(request) => request,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error),
    };
    let accepted = request.accepted_response_types.iter().map(|code| ResponseType::try_from(*code));
    let known = |kind: &ResponseType| *kind == ResponseType::Samples || handler.options.streams_chunks;
    let form = match accepted.flatten().find(known) {
        Some(form) => form,
        None if request.accepted_response_types.is_empty() => ResponseType::Samples,
        None => return refusal(StatusCode::BAD_REQUEST, "server does not support any of the requested response types"),
    };
    let answer = match form {
        ResponseType::Samples => handler.samples(&request).await,
        ResponseType::StreamedXorChunks => handler.frames(&request).await,
    };
    match answer {
        Ok(body) => success(form, body),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

pub(super) fn decode_request(body: &[u8]) -> Result<ReadRequest, String> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| error.to_string())?;
    ReadRequest::decode(plain.as_slice()).map_err(|error| error.to_string())
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn success(form: ResponseType, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    match form {
        ResponseType::Samples => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        }
        ResponseType::StreamedXorChunks => {
            let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
    }
    response
}

impl ReadHandler {
    /// A stream of frames. Chunks are cut from the whole series and sent whole, so they hold samples outside of the window.
    async fn frames(&self, request: &ReadRequest) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for (index, query) in request.queries.iter().enumerate() {
            let (from, to) = window(query);
            for batch in self.select(query, i64::MIN, i64::MAX).await? {
                let batch = with_chunk_begins(&batch)?;
                let table = SamplesTable::try_new(&batch)?;
                for row in 0..table.row_count() {
                    let mut chunks = encode_row_chunks(&table, row, self.options.chunk_samples)?;
                    chunks.retain(|chunk: &EncodedChunk| chunk.max_time_ms >= from && chunk.min_time_ms <= to);
                    let labels = self.with_external_labels(table.labels(row));
                    write_series_frames(labels.as_ref(), &chunks, index as u64, self.options.frame_bytes, &mut out);
                }
            }
        }
        Ok(out)
    }

    /// One message with every sample of the window, compressed.
    async fn samples(&self, request: &ReadRequest) -> Result<Vec<u8>, Error> {
        let mut results = Vec::with_capacity(request.queries.len());
        for query in &request.queries {
            let (from, to) = window(query);
            let mut series = Vec::new();
            for batch in self.select(query, from.saturating_sub(1), to).await? {
                let table = SamplesTable::try_new(&batch)?;
                for row in 0..table.row_count() {
                    let labels = self.with_external_labels(table.labels(row));
                    series.push(samples_message::time_series(labels.as_ref(), &table, row)?);
                }
            }
            results.push(samples_message::QueryResult { timeseries: series });
        }
        let plain = samples_message::ReadResponse { results }.encode_to_vec();
        snap::raw::Encoder::new().compress_vec(&plain).map_err(|error| Error::internal(error.to_string()))
    }

    /// Samples with `start < t ≤ end`, sorted by the labels that are stored.
    async fn select(&self, query: &Query, start: i64, end: i64) -> Result<Vec<RecordBatch>, Error> {
        let matchers = query.matchers.iter().map(|matcher| self.stored_matcher(matcher)).collect::<Result<_, _>>()?;
        let form = SelectForm::Samples { start: TimestampMs(start), end: TimestampMs(end) };
        let scan = ScanRequest::of_all(SelectRequest { matchers, form }, SampleTimes::Needed);
        let context = QueryContext::new(None, u64::MAX);
        stream::iter(self.store.open(&scan, &context)).flatten().try_collect().await
    }

    /// Prometheus takes an equality with an external label as one with the empty text: the label is not in its storage. So it
    /// misses series that have it stored.
    fn stored_matcher(&self, matcher: &LabelMatcher) -> Result<Matcher, Error> {
        let op = match Type::try_from(matcher.r#type) {
            Ok(Type::Eq) => MatchOp::Equal,
            Ok(Type::Neq) => MatchOp::NotEqual,
            Ok(Type::Re) => MatchOp::Regex,
            Ok(Type::Nre) => MatchOp::NotRegex,
            Err(_) => return Err(Error::bad_data("invalid matcher type")),
        };
        let is_external = self.external_labels.get(&matcher.name).unwrap_or("") == matcher.value;
        let value = if op == MatchOp::Equal && is_external { "" } else { &matcher.value };
        Ok(Matcher::new(&matcher.name, op, value))
    }

    /// Stored labels win.
    fn with_external_labels(&self, stored: LabelsRef<'_>) -> EncodedLabels {
        let mut all = LabelsBuilder::from(&self.external_labels);
        for (name, value) in stored.iter() {
            all.set(&name, &value);
        }
        all.finish().encode()
    }
}

/// The store says `unknown` of a histogram where it has begun a chunk with it, and there the encoder is to begin one too: it
/// does so at a reset, and every first histogram of a chunk is read back as `unknown`.
fn with_chunk_begins(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let table = SamplesTable::try_new(batch)?;
    let mut builder = SamplesTableBuilder::default();
    for row in 0..table.row_count() {
        let (times, values) = table.series(row);
        let starts = table.start_times(row);
        for (at, (time, value)) in times.iter().zip(values).enumerate() {
            builder.push_started_sample(*time, starts.map_or(0, |starts| starts[at]), *value);
        }
        let histograms = if table.histograms().row_len(row) > 0 { table.histograms().row(row)? } else { Vec::new() };
        for TimedHistogram { at, start_time, histogram } in histograms {
            let begins = histogram.counter_reset_hint == CounterResetHint::Unknown && !histogram.is_stale_marker();
            let histogram = match begins {
                true => {
                    let counter_reset_hint = CounterResetHint::Reset;
                    Arc::new(NativeHistogram { counter_reset_hint, ..Arc::unwrap_or_clone(histogram) })
                }
                false => histogram,
            };
            builder.push_histogram(at, start_time, histogram);
        }
        builder.finish_series(table.labels(row).as_bytes());
    }
    Ok(builder.finish())
}

/// The times that are read, both inclusive: those of the hints where there are any.
fn window(query: &Query) -> (i64, i64) {
    match &query.hints {
        Some(hints) => (hints.start_ms, hints.end_ms),
        None => (query.start_timestamp_ms, query.end_timestamp_ms),
    }
}
