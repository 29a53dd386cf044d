//! When what comes: before the last server has answered, as fast as the client reads, and no longer than it wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use async_trait::async_trait;
use futures::StreamExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use prost::Message;
use quiver::config::{PromxyConfig, ServerGroupConfig, StaticConfig};
use quiver::error::{Error, ErrorKind};
use quiver::model::{
    Annotation, Labels, MetadataRequest, MetricMetadata, ProcessBudget, QueryContext, SamplesTableBuilder, SeriesStream,
};
use quiver::query::EngineOptions;
use quiver::scan::{GroupsSource, ScanRequest, SelectorForm, SeriesSource};
use quiver::serve::grpc::proto;
use quiver::serve::http::ApiOptions;
use quiver::servergroup::{GroupTarget, ServerGroup, ServerGroupSet};
use quiver::testing::{GroupShape, MemoryDownstream, MemoryStore, TestGateway, Transport};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Request};

use super::server::{Answer, Server, instant_ticket, query_ticket, range_ticket};
use super::support::{Reply, Server as Prometheus};

/// What the machine may take for anything; no test waits that long.
const LONG: Duration = Duration::from_secs(60);

fn groups(downstream: Vec<GroupTarget>) -> Arc<dyn SeriesSource> {
    let group = ServerGroup::with_targets(0, &ServerGroupConfig::default(), downstream);
    Arc::new(GroupsSource::new(Arc::new(ServerGroupSet::from_groups(vec![group]))))
}

/// One group of one server that answers from a store.
pub fn groups_of(store: Arc<MemoryStore>) -> Arc<dyn SeriesSource> {
    let downstream = Arc::new(MemoryDownstream::try_new("memory", store).expect("a name"));
    groups(vec![GroupTarget { labels: Labels::default(), downstream }])
}

/// What a part will say, and who is told when it is dropped.
type FedPart = (mpsc::UnboundedReceiver<Result<RecordBatch, Error>>, TellOnDrop);

/// A source whose parts say what the test says, when it says it; they end when their feeder is dropped.
#[derive(Debug)]
struct Fed {
    parts: Mutex<Vec<Option<FedPart>>>,
    count: usize,
    warning: Option<&'static str>,
}

/// Feeds one part.
struct Feeder {
    tables: mpsc::UnboundedSender<Result<RecordBatch, Error>>,
    /// Rings when the part is dropped.
    dropped: oneshot::Receiver<()>,
}

#[derive(Debug)]
struct TellOnDrop(Option<oneshot::Sender<()>>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            // The test may have ended already.
            let _ = sender.send(());
        }
    }
}

impl Fed {
    fn new(count: usize) -> (Self, Vec<Feeder>) {
        let (mut parts, mut feeders) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (tables, receiver) = mpsc::unbounded_channel();
            let (dropped_sender, dropped) = oneshot::channel();
            parts.push(Some((receiver, TellOnDrop(Some(dropped_sender)))));
            feeders.push(Feeder { tables, dropped });
        }
        (Self { parts: Mutex::new(parts), count, warning: None }, feeders)
    }
}

impl Feeder {
    /// One series `x{row="…"}` with so many samples, a second apart up to `last_s`.
    fn feed(&self, row: &str, samples: i64, last_s: i64) {
        let mut builder = SamplesTableBuilder::default();
        for sample in 0..samples {
            builder.push_sample((last_s - samples + 1 + sample) * 1_000, sample as f64);
        }
        builder.finish_series(Labels::from_pairs([("__name__", "x"), ("row", row)]).encode().as_bytes());
        self.tables.send(Ok(builder.finish())).expect("somebody reads");
    }

    async fn drops(self) {
        tokio::time::timeout(LONG, self.dropped).await.expect("within its time").expect("it tells so");
    }
}

#[async_trait]
impl SeriesSource for Fed {
    fn part_names(&self) -> Vec<String> {
        (0..self.count).map(|part| part.to_string()).collect()
    }

    fn selector_form(&self) -> SelectorForm {
        SelectorForm::Samples
    }

    fn open(&self, _: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        if let Some(warning) = self.warning {
            context.annotations.add(Annotation::warning(warning));
        }
        let mut parts = self.parts.lock();
        let open = |part: &mut Option<_>| -> SeriesStream {
            // Who is asked again has nothing more.
            let Some((receiver, guard)) = part.take() else { return futures::stream::empty().boxed() };
            let tables = futures::stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
                let table: Result<RecordBatch, Error> = mpsc::UnboundedReceiver::recv(&mut receiver).await?;
                Some((table, (receiver, guard)))
            });
            tables.boxed()
        };
        parts.iter_mut().map(open).collect()
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

/// Waits until nothing is held any more.
async fn memory_is_back(memory: &ProcessBudget) {
    let back = async {
        while memory.bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, back).await.expect("memory is back where it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_comes_before_anybody_has_answered() {
    let (source, feeders) = Fed::new(1);
    let server = Server::start(Arc::new(source)).await;
    let mut messages = server.messages(instant_ticket("sum(x)", 60_000).encode_to_vec()).await.expect("begun");
    let first = messages.message().await.expect("no error").expect("a schema");
    assert!(arrow::datatypes::Schema::try_from(&first).is_ok());
    let header: serde_json::Value = serde_json::from_slice(&first.app_metadata).expect("JSON");
    assert_eq!(header["kind"], "vector");
    // Only now does anybody answer.
    feeders[0].feed("a", 1, 60);
    drop(feeders);
    let second = messages.message().await.expect("no error").expect("a table");
    assert!(second.app_metadata.is_empty());
    let last = messages.message().await.expect("no error").expect("the last table");
    assert!(!last.app_metadata.is_empty());
    assert!(messages.message().await.expect("no error").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_come_before_the_last_server_has_answered() {
    let (source, mut feeders) = Fed::new(2);
    let server = Server::start(Arc::new(source)).await;
    // Long rows, so that a message has few of them.
    let ticket = range_ticket("x", (0, 1_000_000_000, 100_000));
    let mut messages = server.messages(ticket.encode_to_vec()).await.expect("begun");
    let slow = feeders.pop().expect("two");
    let fast = feeders.pop().expect("two");
    ["a", "b", "c", "d", "e"].into_iter().for_each(|row| fast.feed(row, 5, 1_000));
    drop(fast);
    slow.feed("f", 5, 1_000);
    messages.message().await.expect("no error").expect("a schema");
    let table = messages.message().await.expect("no error").expect("what the fast one had");
    assert!(table.data_body.len() > 8 && table.app_metadata.is_empty());
    // The slow one still holds back its end.
    assert!(!slow.tables.is_closed());
    drop(slow);
    while messages.message().await.expect("no error").is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_the_middle_is_the_status_and_no_trailer() {
    let (source, feeders) = Fed::new(1);
    let server = Server::start(Arc::new(source)).await;
    let mut messages = server.messages(instant_ticket("x[1m]", 60_000).encode_to_vec()).await.expect("begun");
    feeders[0].feed("a", 1, 60);
    messages.message().await.expect("no error").expect("a schema");
    messages.message().await.expect("no error").expect("a table");
    let failed = Err(Error::new(ErrorKind::Unavailable, "server group \"eu\" went down"));
    feeders[0].tables.send(failed).expect("somebody reads");
    let status = messages.message().await.expect_err("it failed");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "server group \"eu\" went down"));
    memory_is_back(&server.memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_noted_comes_last() {
    let (source, feeders) = Fed::new(1);
    let server = Server::start(Arc::new(Fed { warning: Some("replica a failed"), ..source })).await;
    feeders[0].feed("a", 1, 60);
    drop(feeders);
    let messages = server.messages(instant_ticket("x", 60_000).encode_to_vec()).await.expect("begun");
    let answer = Answer::read(messages).await.expect("answered");
    assert_eq!(answer.trailer["warnings"], serde_json::json!(["replica a failed"]));
    assert_eq!(answer.trailer["stats"]["series_returned"], 1);
    memory_is_back(&server.memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_tells_how_each_target_did() {
    let shapes = [GroupShape::new("eu", 2)];
    let gateway = TestGateway::start(&shapes, Transport::Json, EngineOptions::default()).await.expect("a gateway");
    let server = Server::start(Arc::clone(gateway.engine().source())).await;
    let answer = server.get(instant_ticket("x", 60_000).encode_to_vec()).await.expect("answered");
    let targets = answer.trailer["targets"].as_array().expect("a list");
    assert!(targets.len() >= 2, "{targets:?}");
    for target in targets {
        assert_eq!((&target["group"], &target["outcome"]), (&"eu".into(), &"success".into()), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_ends_its_query() {
    let (source, mut feeders) = Fed::new(2);
    let server = Server::start(Arc::new(source)).await;
    // Before anybody has answered, and with an answer half read.
    for row in ["a", "b", "c"] {
        feeders[0].feed(row, 50_000, 60_000);
    }
    let mut messages = server.messages(instant_ticket("x[1d]", 60_000_000).encode_to_vec()).await.expect("begun");
    messages.message().await.expect("no error").expect("a schema");
    assert!(server.memory.bytes() > 0);
    drop(messages);
    for feeder in feeders.drain(..) {
        feeder.drops().await;
    }
    memory_is_back(&server.memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_client_that_goes_away_are_given_up() {
    let hanging = Prometheus::start(|_| Reply::Hang).await;
    let group = ServerGroupConfig {
        static_configs: vec![StaticConfig { targets: vec![hanging.address()], labels: Labels::default() }],
        ..ServerGroupConfig::default()
    };
    let set = ServerGroupSet::try_new(&PromxyConfig { server_groups: vec![group] }).expect("a good config");
    let server = Server::start(Arc::new(GroupsSource::new(Arc::new(set)))).await;
    let mut messages = server.messages(instant_ticket("x", 60_000).encode_to_vec()).await.expect("begun");
    messages.message().await.expect("no error").expect("a schema");
    drop(messages);
    tokio::time::timeout(LONG, hanging.hung_up.notified()).await.expect("the request is given up");
    memory_is_back(&server.memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_given_up() {
    let (source, mut feeders) = Fed::new(1);
    let options = ApiOptions { client_patience: Duration::from_millis(100), ..ApiOptions::default() };
    let server = Server::with_options(Arc::new(source), options).await;
    for row in 0..100 {
        feeders[0].feed(&format!("{row:03}"), 50_000, 60_000);
    }
    let mut messages = server.messages(instant_ticket("x[1d]", 60_000_000).encode_to_vec()).await.expect("begun");
    messages.message().await.expect("no error").expect("a schema");
    // Nobody reads on, and nobody hangs up.
    feeders.remove(0).drops().await;
    memory_is_back(&server.memory).await;
    let end = async {
        loop {
            match messages.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an answer that was cut short never ends well"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(LONG, end).await.expect("an end");
    assert_eq!((status.code(), status.message()), (Code::Cancelled, "the client took no message for 0.1 s"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_query() {
    for by_header in [false, true] {
        let (source, mut feeders) = Fed::new(1);
        let server = Server::start(Arc::new(source)).await;
        let status = if by_header {
            // Over a plain HTTP/2 client: tonic's channel would end the call by its own clock.
            let plain = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
            let mut client = FlightServiceClient::with_origin(plain, server.origin.clone());
            let ticket = query_ticket("x").encode_to_vec();
            let mut request = Request::new(Ticket { ticket: ticket.into() });
            request.metadata_mut().insert("grpc-timeout", "50m".parse().expect("ASCII"));
            let mut messages = client.do_get(request).await.expect("begun").into_inner();
            messages.message().await.expect("no error").expect("a schema");
            messages.message().await.expect_err("late")
        } else {
            let options = Some(proto::QueryOptions { timeout_ms: Some(50), ..Default::default() });
            let ticket = proto::FlightTicket { options, ..query_ticket("x") };
            server.get(ticket.encode_to_vec()).await.expect_err("late")
        };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(status.message().contains("query timed out"), "{status}");
        feeders.remove(0).drops().await;
        memory_is_back(&server.memory).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_keeps_its_slot_until_its_end() {
    let (source, mut feeders) = Fed::new(1);
    let options = ApiOptions { queries_max: Some(1), ..ApiOptions::default() };
    let server = Server::with_options(Arc::new(source), options).await;
    let mut messages = server.messages(instant_ticket("x", 60_000).encode_to_vec()).await.expect("begun");
    messages.message().await.expect("no error").expect("a schema");
    let (code, text) = server.refusal(r#"{"query": "x", "timeout": 0.05}"#).await;
    assert_eq!((code, text.as_str()), (Code::DeadlineExceeded, "query timed out in query queue"));
    drop(messages);
    feeders.remove(0).drops().await;
    assert_eq!(server.get(r#"{"query": "x"}"#).await.expect("its turn").row_count(), 0);
}
