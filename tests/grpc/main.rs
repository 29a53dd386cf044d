//! The gRPC API, asked by the generated client over a socket.

mod groups;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int8Type, Int32Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use quiver::error::Error;
use quiver::model::{
    Annotation, DurationMs, Labels, MetadataRequest, MetricMetadata, QueryContext, SeriesStream, TimestampMs,
};
use quiver::query::{EngineOptions, QueryEngine};
use quiver::scan::{ScanRequest, SelectorForm, SeriesSource};
use quiver::serve::grpc::proto::query_service_client::QueryServiceClient;
use quiver::serve::grpc::proto::{self, ValueKind, query_response::Part};
use quiver::serve::http::{ApiOptions, ApiState};
use quiver::serve::{grpc, listen::ListenOptions};
use quiver::testing::MemoryStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

/// A server on a free port; it ends with the test.
struct Server {
    channel: Channel,
    origin: http::Uri,
    api: ApiState,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(source: Arc<dyn SeriesSource>) -> Self {
        Self::start_with(source, ApiOptions::default()).await
    }

    async fn start_with(source: Arc<dyn SeriesSource>, options: ApiOptions) -> Self {
        let api = ApiState::new(QueryEngine::new(source, EngineOptions::default()), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let serving = grpc::serve(listener, api.clone(), ListenOptions::default(), stop.clone());
        let running = tokio::spawn(serving);
        let origin: http::Uri = format!("http://{address}").parse().expect("an address");
        let channel = Channel::builder(origin.clone()).connect().await.expect("it listens");
        Self { channel, origin, api, stop, running }
    }

    fn client(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone())
    }
}

fn store(lines: &[&str]) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    store.load(lines, TimestampMs(0), DurationMs(10_000)).expect("series");
    Arc::new(store)
}

fn two_jobs() -> Arc<MemoryStore> {
    store(&[r#"hits{job="api",zone="é"} 0+10x60"#, r#"hits{job="web"} 5x10 _x50"#])
}

/// A whole answer, put together.
#[derive(Debug)]
struct Answer {
    header: proto::QueryHeader,
    batches: Vec<RecordBatch>,
    trailer: proto::QueryTrailer,
}

impl Answer {
    async fn read(mut stream: Streaming<proto::QueryResponse>) -> Result<Self, Status> {
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        Ok(Self::of(messages))
    }

    fn of(messages: Vec<proto::QueryResponse>) -> Self {
        let (mut header, mut bytes, mut trailer) = (None, Vec::new(), None);
        for message in messages {
            assert!(trailer.is_none(), "nothing comes after the trailer");
            match message.part.expect("no message is empty") {
                Part::Header(first) => {
                    assert!(bytes.is_empty() && header.replace(first).is_none(), "the header comes first, once");
                }
                Part::ArrowStream(piece) => bytes.extend_from_slice(&piece),
                Part::Trailer(last) => trailer = Some(last),
                Part::Progress(_) => assert!(header.is_none(), "progress comes before the header"),
            }
        }
        let batches = if bytes.is_empty() {
            Vec::new()
        } else {
            let reader = StreamReader::try_new(&bytes[..], None).expect("an Arrow stream");
            reader.collect::<Result<_, _>>().expect("record batches")
        };
        Self { header: header.expect("a header"), batches, trailer: trailer.expect("a trailer") }
    }

    fn kind(&self) -> ValueKind {
        self.header.kind()
    }

    fn grid(&self) -> (i64, i64, u64) {
        let grid = self.header.grid.expect("every header has a grid");
        (grid.start_ms, grid.step_ms, grid.step_count)
    }

    fn warnings(&self) -> &[String] {
        &self.trailer.notes.as_ref().expect("notes").warnings
    }

    /// Rows as `{a="b"} 1 _ 3`.
    fn rows(&self) -> Vec<String> {
        let rows = self.batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| {
                let values = batch.column_by_name("values").expect("values").as_fixed_size_list().value(row);
                let values = values.as_primitive::<Float64Type>();
                let cells = (0..values.len())
                    .map(|step| if values.is_valid(step) { values.value(step).to_string() } else { "_".to_owned() });
                format!("{} {}", labels_of(batch, row), cells.collect::<Vec<_>>().join(" "))
            })
        });
        rows.collect()
    }
}

fn labels_of(batch: &RecordBatch, row: usize) -> Labels {
    let pairs = batch.column_by_name("labels").expect("labels").as_map().value(row);
    let (names, values) = (pairs.column(0).as_string::<i32>(), pairs.column(1).as_string::<i32>());
    Labels::from_pairs(names.iter().flatten().zip(values.iter().flatten()))
}

async fn instant(server: &Server, query: &str, time_ms: i64) -> Result<Answer, Status> {
    let request = proto::QueryRequest { query: query.to_owned(), time_ms: Some(time_ms), options: None };
    Answer::read(server.client().query(request).await?.into_inner()).await
}

async fn range(server: &Server, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Answer, Status> {
    let range = Some(proto::TimeRange { start_ms, end_ms, step_ms });
    let request = proto::QueryRangeRequest { query: query.to_owned(), range, options: None };
    Answer::read(server.client().query_range(request).await?.into_inner()).await
}

#[tokio::test]
async fn an_instant_query_is_a_table_of_one_step() {
    let server = Server::start(two_jobs()).await;
    let answer = instant(&server, "hits", 100_000).await.expect("an answer");
    assert_eq!((answer.kind(), answer.grid()), (ValueKind::Vector, (100_000, 1, 1)));
    assert_eq!(answer.rows(), [r#"{__name__="hits", job="api", zone="é"} 100"#, r#"{__name__="hits", job="web"} 5"#]);
    let stats = answer.trailer.stats.expect("stats");
    assert_eq!(stats.series_returned, 2);
    assert!(stats.samples_loaded > 0);
    // Prometheus: a sum of nothing is nothing; the table is there all the same.
    let nothing = instant(&server, "sum(nosuch)", 100_000).await.expect("an answer");
    assert_eq!((nothing.kind(), nothing.rows().len()), (ValueKind::Vector, 0));
}

#[tokio::test]
async fn a_range_query_has_one_cell_a_step_and_gaps_are_null() {
    let server = Server::start(two_jobs()).await;
    let answer = range(&server, r#"sum by (job) (hits)"#, 0, 595_000, 200_000).await.expect("an answer");
    assert_eq!((answer.kind(), answer.grid()), (ValueKind::Matrix, (0, 200_000, 3)));
    assert_eq!(answer.rows(), [r#"{job="api"} 0 200 400"#, r#"{job="web"} 5 5 _"#]);
}

#[tokio::test]
async fn scalars_strings_and_raw_samples_have_their_forms() {
    let server = Server::start(two_jobs()).await;
    let scalar = instant(&server, "1 + 1", 7_000).await.expect("an answer");
    assert_eq!((scalar.kind(), scalar.header.scalar, scalar.grid()), (ValueKind::Scalar, 2.0, (7_000, 1, 1)));
    let text = instant(&server, r#""é""#, 7_000).await.expect("an answer");
    assert_eq!((text.kind(), text.header.text.as_str()), (ValueKind::String, "é"));
    assert!(scalar.batches.is_empty() && text.batches.is_empty());

    let samples = instant(&server, r#"hits{job="web"}[30s]"#, 100_000).await.expect("an answer");
    assert_eq!(samples.kind(), ValueKind::Samples);
    let batch = &samples.batches[0];
    let times = batch.column_by_name("timestamps").expect("times").as_list::<i32>().value(0);
    assert_eq!(times.as_primitive::<Int64Type>().values(), &[80_000, 90_000, 100_000]);
    let values = batch.column_by_name("samples").expect("samples").as_list::<i32>().value(0);
    assert_eq!(values.as_primitive::<Float64Type>().values(), &[5.0, 5.0, 5.0]);
}

#[tokio::test]
async fn histograms_are_a_column_of_their_own_field_by_field() {
    let server = Server::start(store(&[
        "mixed 1 {{schema:1 count:7 sum:-2.5 z_bucket:1 z_bucket_w:0.5 offset:-3 buckets:[1 2] n_offset:4 n_buckets:[3]}}x1",
        "numbers 1 2 3",
    ]))
    .await;
    let answer = range(&server, "{__name__=~'mixed|numbers'}", 0, 20_000, 10_000).await.expect("an answer");
    assert_eq!(answer.rows(), [r#"{__name__="mixed"} 1 _ _"#, r#"{__name__="numbers"} 1 2 3"#]);
    let column = answer.batches[0].column_by_name("histograms").expect("histograms").as_list::<i32>();
    assert_eq!((column.value(0).len(), column.value(1).len()), (2, 0));
    let items = column.value(0);
    let items = items.as_struct();
    let field = |name: &str| items.column_by_name(name).expect("a field");
    let integers = |name: &str| field(name).as_primitive::<Int64Type>().values().to_vec();
    let floats = |name: &str| field(name).as_primitive::<Float64Type>().values().to_vec();
    let float_list = |name: &str| field(name).as_list::<i32>().value(1).as_primitive::<Float64Type>().values().to_vec();
    let spans = |name: &str| {
        let packed = field(name).as_list::<i32>().value(1);
        let packed = packed.as_primitive::<Int64Type>().values().to_vec();
        packed.into_iter().map(|span| (span >> 32, span & 0xffff_ffff)).collect::<Vec<_>>()
    };
    assert_eq!(integers("at"), [1, 2]);
    assert_eq!(field("start_time").null_count(), 2);
    assert_eq!(field("counter_reset_hint").as_primitive::<Int8Type>().values(), &[0, 2]);
    assert_eq!(field("schema").as_primitive::<Int32Type>().values(), &[1, 1]);
    assert_eq!([floats("zero_threshold"), floats("zero_count")], [[0.5, 0.5], [1.0, 1.0]]);
    assert_eq!([floats("count"), floats("sum")], [[7.0, 7.0], [-2.5, -2.5]]);
    assert_eq!((spans("positive_spans"), float_list("positive_counts")), (vec![(-3, 2)], vec![1.0, 2.0]));
    assert_eq!((spans("negative_spans"), float_list("negative_counts")), (vec![(4, 1)], vec![3.0]));
    assert_eq!(float_list("custom_bounds"), [0.0; 0]);

    let raw = instant(&server, "mixed[1m]", 20_000).await.expect("an answer");
    assert_eq!(raw.kind(), ValueKind::Samples);
    let batch = &raw.batches[0];
    let times = batch.column_by_name("timestamps").expect("times").as_list::<i32>().value(0);
    assert_eq!(times.as_primitive::<Int64Type>().values(), &[0]);
    let histograms = batch.column_by_name("histograms").expect("histograms").as_list::<i32>().value(0);
    let at = histograms.as_struct().column_by_name("at").expect("times").as_primitive::<Int64Type>();
    assert_eq!(at.values(), &[10_000, 20_000]);
}

#[tokio::test]
async fn an_answer_larger_than_a_message_comes_in_pieces() {
    let lines: Vec<String> = (0..2_000).map(|series| format!("wide{{series=\"{series:04}\"}} 0+1x60")).collect();
    let server = Server::start(store(&lines.iter().map(String::as_str).collect::<Vec<_>>())).await;
    // 2,000 series of 601 steps are 9.6 MB; the client takes messages of 4 MiB.
    let answer = range(&server, "wide", 0, 600_000, 1_000).await.expect("an answer");
    let rows: usize = answer.batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!((rows, answer.trailer.stats.expect("stats").series_returned), (2_000, 2_000));
    assert_eq!(answer.grid().2, 601);
    assert_eq!(labels_of(answer.batches.last().expect("batches"), 0).get("__name__"), Some("wide"));
}

#[tokio::test]
async fn errors_have_prometheus_texts_and_grpc_codes() {
    let server = Server::start(two_jobs()).await;
    let error = instant(&server, "sum(", 0).await.expect_err("not PromQL");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("parse error"), "{error}");
    let error = instant(&server, "hits + on() group_left() hits", 100_000).await.expect_err("many to many");
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    let error = range(&server, "hits", 0, 1_000_000_000, 1).await.expect_err("too many steps");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("exceeded maximum resolution of 11,000 points"), "{error}");
    let missing = proto::QueryRangeRequest { query: "hits".to_owned(), ..Default::default() };
    assert_eq!(server.client().query_range(missing).await.expect_err("no range").message(), "range is missing");
}

#[tokio::test]
async fn series_names_and_values_are_listed_and_cut() {
    let server = Server::start(two_jobs()).await;
    let mut client = server.client();
    let filter = |limit| {
        Some(proto::SeriesFilter { selectors: vec!["hits".to_owned()], limit, ..proto::SeriesFilter::default() })
    };

    let mut stream = client.series(proto::SeriesRequest { filter: filter(0) }).await.expect("an answer").into_inner();
    let message = stream.message().await.expect("a message").expect("one");
    assert_eq!(message.series.len(), 2);
    assert_eq!(message.series[0].labels[0].value, "hits");
    assert!(message.notes.expect("the last message has notes").warnings.is_empty());
    assert!(stream.message().await.expect("the end").is_none());

    let request = proto::LabelNamesRequest { filter: None };
    let names = client.label_names(request).await.expect("an answer").into_inner().message().await;
    assert_eq!(names.expect("a message").expect("one").names, ["__name__", "job", "zone"]);

    let request = proto::LabelValuesRequest { name: "job".to_owned(), filter: filter(1) };
    let values = client.label_values(request).await.expect("an answer").into_inner().message().await;
    let values = values.expect("a message").expect("one");
    assert_eq!(values.values, ["api"]);
    assert_eq!(values.notes.expect("notes").warnings, ["results truncated due to limit"]);

    let everything = client.series(proto::SeriesRequest { filter: None }).await.expect_err("no selector");
    assert_eq!((everything.code(), everything.message()), (Code::InvalidArgument, "no selector was given"));
    let request = proto::LabelValuesRequest { name: String::new(), filter: None };
    assert_eq!(client.label_values(request).await.expect_err("no name").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn explain_shows_the_plan() {
    let server = Server::start(two_jobs()).await;
    let times =
        Some(proto::explain_request::Times::Range(proto::TimeRange { start_ms: 0, end_ms: 60_000, step_ms: 1_000 }));
    let request = proto::ExplainRequest { query: "sum(rate(hits[1m]))".to_owned(), times, options: None };
    let plan = server.client().explain(request).await.expect("a plan").into_inner().plan;
    assert!(plan.contains("hits"), "{plan}");
}

#[tokio::test]
async fn a_new_engine_answers_the_next_request() {
    let server = Server::start(store(&["x 1"])).await;
    assert_eq!(instant(&server, "x", 0).await.expect("an answer").rows(), [r#"{__name__="x"} 1"#]);
    server.api.swap_engine(QueryEngine::new(store(&["x 2"]), EngineOptions::default()));
    assert_eq!(instant(&server, "x", 0).await.expect("an answer").rows(), [r#"{__name__="x"} 2"#]);
}

#[tokio::test]
async fn health_and_reflection_are_served_and_the_end_is_orderly() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let server = Server::start(two_jobs()).await;
    let mut health = HealthClient::new(server.channel.clone());
    for service in ["", "quiver.v1.QueryService", "quiver.v1.StatusService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.expect("a status").into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
    }

    // As `/-/ready` does, before anything else ends.
    let mut watched = health.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
    let mut told = async || watched.message().await.expect("a message").expect("no end").status();
    assert_eq!(told().await, ServingStatus::Serving);
    server.api.set_ready(false);
    assert_eq!(told().await, ServingStatus::NotServing);
    server.api.set_ready(true);
    assert_eq!(told().await, ServingStatus::Serving);

    let mut reflection = ServerReflectionClient::new(server.channel.clone());
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter([list])).await.expect("an answer").into_inner();
    let answer = answers.message().await.expect("a message").expect("one");
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("not a list of services");
    };
    let names: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"quiver.v1.QueryService") && names.contains(&"grpc.health.v1.Health"), "{names:?}");

    server.stop.cancel();
    drop((health, reflection, answers, server.channel));
    server.running.await.expect("it ends by itself");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_connection_lives() {
    let server = Server::start(two_jobs()).await;
    let padded = |bytes: usize| format!("1{}", " ".repeat(bytes));
    let request = |query| proto::QueryRequest { query, ..Default::default() };
    let refused = server.client().query(request(padded(3 << 20))).await.expect_err("3 MiB");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("the limit is: 2097152 bytes"), "{refused}");
    // Compressed it is a few kilobytes.
    let mut client = server.client().send_compressed(CompressionEncoding::Gzip);
    let refused = client.query(request(padded(8 << 20))).await.expect_err("8 MiB when it is unpacked");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("of 2097152 bytes"), "{refused}");
    let long = server.client().query(request(padded(1 << 20))).await.expect_err("longer than a query may be");
    assert_eq!(long.code(), Code::InvalidArgument, "{long}");
    assert_eq!(instant(&server, "hits", 100_000).await.expect("an answer").rows().len(), 2);
}

#[tokio::test]
async fn warnings_of_the_source_come_in_the_trailer() {
    let server = Server::start(Arc::new(Slow::new(SlowMode::Warns))).await;
    let answer = instant(&server, "x", 0).await.expect("an answer");
    assert_eq!(answer.warnings(), ["replica a failed"]);
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_its_query() {
    let source = Slow::new(SlowMode::Hangs);
    let (_, ended) = source.watch();
    let server = Server::start(Arc::new(source)).await;
    // Over a plain HTTP/2 client: tonic's channel would end the call by its own clock.
    let plain = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    let mut client = QueryServiceClient::with_origin(plain, server.origin.clone());
    let mut request = Request::new(proto::QueryRequest { query: "x".to_owned(), ..Default::default() });
    request.metadata_mut().insert("grpc-timeout", "50m".parse().expect("ASCII"));
    let error = client.query(request).await.expect_err("it hangs");
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert!(error.message().contains("timed out"), "{error}");
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the fetch is dropped").expect("it tells so");

    let options = Some(proto::QueryOptions { timeout_ms: Some(0), ..Default::default() });
    let request = proto::QueryRequest { query: "x".to_owned(), time_ms: None, options };
    let error = server.client().query(request).await.expect_err("no time at all");
    assert_eq!((error.code(), error.message()), (Code::DeadlineExceeded, "query timed out in query queue"));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let source = Slow::new(SlowMode::Hangs);
    let (started, ended) = source.watch();
    let server = Server::start(Arc::new(source)).await;
    let mut client = server.client();
    let call = tokio::spawn(async move {
        client.query(proto::QueryRequest { query: "x".to_owned(), ..Default::default() }).await.map(|_| ())
    });
    started.await.expect("the source is asked");
    call.abort();
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the fetch is dropped").expect("it tells so");
}

/// What a source does when it is asked for a selector.
#[derive(Debug)]
enum SlowMode {
    Warns,
    Hangs,
}

/// Tells when a fetch begins and when it is dropped.
#[derive(Debug)]
struct Slow {
    mode: SlowMode,
    signals: Mutex<Option<(oneshot::Sender<()>, oneshot::Sender<()>)>>,
}

impl Slow {
    fn new(mode: SlowMode) -> Self {
        Self { mode, signals: Mutex::new(None) }
    }

    fn watch(&self) -> (oneshot::Receiver<()>, oneshot::Receiver<()>) {
        let (started_sender, started) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        *self.signals.lock() = Some((started_sender, ended_sender));
        (started, ended)
    }
}

struct TellOnDrop(Option<oneshot::Sender<()>>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            // The test may have ended already.
            let _ = sender.send(());
        }
    }
}

#[async_trait]
impl SeriesSource for Slow {
    fn part_names(&self) -> Vec<String> {
        vec!["slow".to_owned()]
    }

    fn selector_form(&self) -> SelectorForm {
        SelectorForm::Samples
    }

    fn open(&self, _: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        match self.mode {
            SlowMode::Warns => {
                context.annotations.add(Annotation::warning("replica a failed"));
                vec![Box::pin(futures::stream::empty())]
            }
            SlowMode::Hangs => {
                let signals = self.signals.lock().take();
                let tell = signals.map(|(started, ended)| {
                    // The test may have ended already.
                    let _ = started.send(());
                    TellOnDrop(Some(ended))
                });
                vec![Box::pin(futures::stream::once(async move {
                    let _tell = tell;
                    std::future::pending().await
                }))]
            }
        }
    }

    async fn label_names(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn label_values(&self, _: &str, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn series(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<Labels>, Error> {
        Ok(Vec::new())
    }

    async fn metric_metadata(
        &self,
        _: Option<&str>,
        _: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        Ok(BTreeMap::new())
    }
}
