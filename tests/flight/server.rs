//! A server over a source, and answers put together.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use quiver::model::{DurationMs, ProcessBudget, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine};
use quiver::scan::SeriesSource;
use quiver::serve::grpc::proto::{self, flight_ticket};
use quiver::serve::http::{ApiOptions, ApiState};
use quiver::serve::{grpc, listen::ListenOptions};
use quiver::testing::MemoryStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

/// A server on a free port; it ends with the test.
pub struct Server {
    pub channel: Channel,
    pub origin: http::Uri,
    pub memory: Arc<ProcessBudget>,
    pub api: ApiState,
    _running: AbortOnDropHandle<()>,
}

impl Server {
    pub async fn start(source: Arc<dyn SeriesSource>) -> Self {
        Self::with_options(source, ApiOptions::default()).await
    }

    pub async fn with_options(source: Arc<dyn SeriesSource>, options: ApiOptions) -> Self {
        let memory = Arc::<ProcessBudget>::default();
        let engine_options = EngineOptions { memory: Arc::clone(&memory), ..EngineOptions::default() };
        let api = ApiState::new(QueryEngine::new(source, engine_options), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serving = grpc::serve(listener, api.clone(), ListenOptions::default(), CancellationToken::new());
        let running = AbortOnDropHandle::new(tokio::spawn(serving));
        let origin: http::Uri = format!("http://{address}").parse().expect("an address");
        let channel = Channel::builder(origin.clone()).connect().await.expect("it listens");
        Self { channel, origin, memory, api, _running: running }
    }

    pub fn client(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone())
    }

    /// The messages of a ticket as they are.
    pub async fn messages(&self, ticket: impl Into<Vec<u8>>) -> Result<Streaming<FlightData>, Status> {
        let ticket = Ticket { ticket: ticket.into().into() };
        Ok(self.client().do_get(Request::new(ticket)).await?.into_inner())
    }

    /// A whole answer.
    pub async fn get(&self, ticket: impl Into<Vec<u8>>) -> Result<Answer, Status> {
        Answer::read(self.messages(ticket).await?).await
    }

    /// Why a ticket is refused, or its query fails.
    pub async fn refusal(&self, ticket: impl Into<Vec<u8>>) -> (Code, String) {
        let status = self.get(ticket).await.expect_err("it is refused");
        (status.code(), status.message().to_owned())
    }
}

/// A whole answer, put together.
#[derive(Debug)]
pub struct Answer {
    pub header: serde_json::Value,
    pub schema: SchemaRef,
    /// Those with rows.
    pub batches: Vec<RecordBatch>,
    pub trailer: serde_json::Value,
    /// The size of the largest message.
    pub largest: usize,
    /// The size of all messages.
    pub bytes: usize,
}

impl Answer {
    pub async fn read(stream: Streaming<FlightData>) -> Result<Self, Status> {
        let messages: Vec<FlightData> = stream.try_collect().await?;
        let sizes = messages.iter().map(Message::encoded_len).collect::<Vec<_>>();
        let json = |message: &FlightData| serde_json::from_slice(&message.app_metadata).expect("JSON");
        let header = json(messages.first().expect("a schema"));
        let trailer = json(messages.last().expect("a last message"));
        let between = &messages[1..messages.len() - 1];
        assert!(between.iter().all(|message| message.app_metadata.is_empty()));
        let mut decoder = FlightDataDecoder::new(futures::stream::iter(messages).map(Ok));
        let (mut schema, mut batches) = (None, Vec::new());
        while let Some(decoded) = decoder.next().await {
            match decoded.expect("a message of Flight").payload {
                DecodedPayload::Schema(own) => assert!(schema.replace(own).is_none(), "one schema"),
                DecodedPayload::RecordBatch(batch) => batches.push(batch),
                DecodedPayload::None => panic!("a message without anything"),
            }
        }
        assert_eq!(batches.pop().map(|last| last.num_rows()), Some(0), "the last table is for its metadata");
        Ok(Self {
            header,
            schema: schema.expect("a schema"),
            batches,
            trailer,
            largest: sizes.iter().copied().max().unwrap_or(0),
            bytes: sizes.iter().sum(),
        })
    }

    pub fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The columns' names.
    pub fn columns(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    pub fn metadata(&self) -> HashMap<String, String> {
        self.schema.metadata().clone()
    }

    /// Every row as `column=value …`, numbers as they are, times in seconds, absent values left out.
    pub fn rows(&self) -> Vec<String> {
        let rows = self.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| row_text(batch, row)));
        rows.collect()
    }
}

fn row_text(batch: &RecordBatch, row: usize) -> String {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    let cells = fields.filter(|(_, column)| column.is_valid(row)).map(|(field, column)| {
        let text = match field.name().as_str() {
            "labels" => labels_text(&column.as_map().value(row)),
            "timestamp" => seconds(column.as_primitive::<TimestampMillisecondType>().value(row)),
            "timestamps" => {
                let times = column.as_list::<i32>().value(row);
                let times = times.as_primitive::<TimestampMillisecondType>().values().to_vec();
                times.into_iter().map(seconds).collect::<Vec<_>>().join(",")
            }
            "value" => column.as_primitive::<Float64Type>().value(row).to_string(),
            "values" => {
                let values = column.as_list::<i32>().value(row);
                let values = values.as_primitive::<Float64Type>().values().to_vec();
                values.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
            }
            "histogram" => histogram_text(&column.slice(row, 1)),
            "histograms" => histogram_text(&column.as_list::<i32>().value(row)),
            "text" => column.as_string::<i32>().value(row).to_owned(),
            _ => {
                let words = column.as_dictionary::<Int32Type>();
                let key = usize::try_from(words.keys().value(row)).expect("a key");
                words.values().as_string::<i32>().value(key).to_owned()
            }
        };
        (field.name().clone(), text)
    });
    let cells = cells.filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}={text}"));
    cells.collect::<Vec<_>>().join(" ")
}

fn seconds(ms: i64) -> String {
    (ms as f64 / 1_000.0).to_string()
}

pub fn labels_text(pairs: &dyn Array) -> String {
    let pairs = pairs.as_struct();
    let texts = |column: usize| pairs.column(column).as_string::<i32>();
    let pairs = (0..pairs.len()).map(|at| format!("{}:{}", texts(0).value(at), texts(1).value(at)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// `time:count` of each.
fn histogram_text(items: &ArrayRef) -> String {
    let items = items.as_struct();
    let times = items.column_by_name("timestamp").expect("a time").as_primitive::<TimestampMillisecondType>();
    let counts = items.column_by_name("count").expect("a count").as_primitive::<Float64Type>();
    let items = (0..items.len()).map(|at| format!("{}:{}", seconds(times.value(at)), counts.value(at)));
    items.collect::<Vec<_>>().join(",")
}

/// Series every 10 s from 0.
pub fn store(lines: &[&str]) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    store.load(lines, TimestampMs(0), DurationMs(10_000)).expect("series");
    Arc::new(store)
}

pub fn two_jobs() -> Arc<MemoryStore> {
    store(&[r#"hits{job="api",zone="é"} 0+10x6"#, r#"hits{job="web"} 5x2 _x1 7x3"#])
}

/// `hits` has numbers, then histograms, then a number.
pub fn mixed() -> Arc<MemoryStore> {
    store(&[r#"hits{job="api"} 1 2 {{schema:0 sum:4 count:3 buckets:[1 2]}}x1 5"#, r#"hits{job="web"} 1x5"#])
}

pub fn query_ticket(query: &str) -> proto::FlightTicket {
    proto::FlightTicket {
        question: Some(flight_ticket::Question::Query(query.to_owned())),
        ..proto::FlightTicket::default()
    }
}

pub fn instant_ticket(query: &str, time_ms: i64) -> proto::FlightTicket {
    proto::FlightTicket { times: Some(flight_ticket::Times::TimeMs(time_ms)), ..query_ticket(query) }
}

pub fn range_ticket(query: &str, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> proto::FlightTicket {
    let range = proto::TimeRange { start_ms, end_ms, step_ms };
    proto::FlightTicket { times: Some(flight_ticket::Times::Range(range)), ..query_ticket(query) }
}
