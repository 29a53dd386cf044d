//! A client of remote read and of the HTTP API that looks at every byte.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use quiver::decode::{
    ChunkStreamDecoder, ChunkStreamLimits, EverySeries, ReadSamplesLimits, TimeWindow, decode_read_samples,
};
use quiver::downstream::prometheus_proto::{LabelMatcher, Query, ReadHints, ReadRequest};
use quiver::encode::write_frame;
use quiver::testing::format_tables;

pub const SAMPLES: i32 = 0;
pub const CHUNKS: i32 = 1;
/// `=`, `!=`, `=~`, `!~`
pub const EQ: i32 = 0;
pub const NEQ: i32 = 1;
pub const RE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct ChunkedReadResponse {
    #[prost(message, repeated, tag = "1")]
    pub chunked_series: Vec<ChunkedSeries>,
    #[prost(int64, tag = "2")]
    pub query_index: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ChunkedSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub chunks: Vec<Chunk>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Chunk {
    #[prost(int64, tag = "1")]
    pub min_time_ms: i64,
    #[prost(int64, tag = "2")]
    pub max_time_ms: i64,
    #[prost(int32, tag = "3")]
    pub encoding: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// What came back, to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The frames, each with a right checksum.
    pub fn frames(&self) -> Vec<ChunkedReadResponse> {
        let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
        assert_eq!((self.status, self.header("content-type"), self.header("content-encoding")), (200, kind, ""));
        let mut rest = &self.body[..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let length = prost::encoding::decode_varint(&mut rest).expect("a length") as usize;
            let (checksum, behind) = rest.split_first_chunk::<4>().expect("a checksum");
            let (message, behind) = behind.split_at(length);
            assert_eq!(crc32c::crc32c(message).to_be_bytes(), *checksum);
            frames.push(ChunkedReadResponse::decode(message).expect("a frame"));
            rest = behind;
        }
        frames
    }

    /// The rows of each query that has any, of chunks.
    pub fn chunk_rows(&self) -> BTreeMap<i64, Vec<String>> {
        let mut streams = BTreeMap::<i64, Vec<u8>>::new();
        for frame in self.frames() {
            let stream = streams.entry(frame.query_index).or_default();
            write_frame(&ChunkedReadResponse { query_index: 0, ..frame }.encode_to_vec(), stream);
        }
        streams.into_iter().map(|(query, stream)| (query, rows(&decode_frames(&stream)))).collect()
    }

    /// The message of samples.
    pub fn message(&self) -> ReadResponse {
        let message = snap::raw::Decoder::new().decompress_vec(&self.body).expect("snappy");
        ReadResponse::decode(&*message).expect("an answer")
    }

    /// The rows of the only query, of samples.
    pub fn sample_rows(&self) -> Vec<String> {
        let head = (self.status, self.header("content-type"), self.header("content-encoding"));
        assert_eq!(head, (200, "application/x-protobuf", "snappy"), "{:?}", self.body);
        let limits = ReadSamplesLimits::default();
        let tables = decode_read_samples(&self.body, TimeWindow::ALL, &mut EverySeries::default(), limits);
        rows(&tables.expect("an answer"))
    }
}

fn decode_frames(stream: &[u8]) -> Vec<RecordBatch> {
    let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), ChunkStreamLimits::default());
    decoder.feed(stream).expect("good frames");
    decoder.finish().expect("whole frames")
}

/// One line a series.
pub fn rows(tables: &[RecordBatch]) -> Vec<String> {
    format_tables(tables).expect("samples tables")
}

pub fn matcher(kind: i32, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher { r#type: kind, name: name.to_owned(), value: value.to_owned() }
}

/// Both ends inclusive (ms).
pub fn query(matchers: &[LabelMatcher], start_timestamp_ms: i64, end_timestamp_ms: i64) -> Query {
    Query { start_timestamp_ms, end_timestamp_ms, matchers: matchers.to_vec(), hints: None }
}

pub fn hints(start_ms: i64, end_ms: i64, func: &str) -> Option<ReadHints> {
    Some(ReadHints { start_ms, end_ms, func: func.to_owned(), ..ReadHints::default() })
}

/// The body of a request.
pub fn read_request(queries: &[Query], accepted: &[i32]) -> Vec<u8> {
    let request = ReadRequest { queries: queries.to_vec(), accepted_response_types: accepted.to_vec() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("short")
}

/// What every Prometheus says.
pub const PROMETHEUS_HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("accept-encoding", "snappy"),
    ("x-prometheus-remote-read-version", "0.1.0"),
];

/// An answer whose head is there; its body is read, or not.
pub async fn open(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> http::Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let method = if body.is_some() { http::Method::POST } else { http::Method::GET };
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body.unwrap_or_default())).expect("a request");
    client.request(request).await.expect("an answer")
}

/// POST with a body, GET without.
pub async fn ask(address: &str, path: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Answer {
    let response = open(address, path, headers, body).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    Answer { status, headers, body }
}

/// Asks for one query or more.
pub async fn read(address: &str, queries: &[Query], accepted: &[i32]) -> Answer {
    ask(address, "/api/v1/read", &PROMETHEUS_HEADERS, Some(read_request(queries, accepted))).await
}
