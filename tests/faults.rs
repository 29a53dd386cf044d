//! Every kind of fault during every kind of call: the right answer with a warning that names the replica, or an error in good
//! form; never a wrong number, and never later than the deadline. Real sockets, no sleeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quiver::config;
use quiver::model::{DurationMs, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine};
use quiver::scan::GroupsSource;
use quiver::serve::http::{ApiOptions, ApiState, router};
use quiver::servergroup::ServerGroupSet;
use quiver::testing::MemoryStore;
use quiver::testing::fake_prometheus::{FakePrometheus, Fault, FaultBody, Lie};
use serde_json::Value;
use tokio::net::TcpListener;

/// How long the group waits for a replica that says nothing.
const GROUP_TIMEOUT: Duration = Duration::from_millis(400);

/// How long any call may take: far above the group's timeout, far below a hang.
const PATIENCE: Duration = Duration::from_secs(8);

const CALLS: [&str; 5] = [
    "query?query=sum%20by%20(job)%20(x)&time=600&timeout=5s",
    "query?query=sum(rate(x%5B5m%5D))&time=600&timeout=5s",
    "query_range?query=x&start=0&end=600&step=60&timeout=5s",
    "series?match%5B%5D=x&start=0&end=600",
    "labels?start=0&end=600",
];

struct Gateway {
    replicas: Vec<FakePrometheus>,
    url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One group of two equal replicas, and the gateway's HTTP API in front.
async fn gateway() -> Gateway {
    let store = MemoryStore::new();
    let lines = [r#"x{job="a",i="1"} 0+60x20"#, r#"x{job="a",i="2"} 0+30x20"#, r#"x{job="b",i="1"} 5x20"#];
    store.load(&lines, TimestampMs(0), DurationMs(60_000)).expect("good notation");
    let store = Arc::new(store);
    let replicas = vec![
        FakePrometheus::start(Arc::clone(&store)).await.expect("a free port"),
        FakePrometheus::start(store).await.expect("a free port"),
    ];
    let text = format!(
        "promxy:\n  server_groups:\n  - name: eu\n    timeout: {}ms\n    http_client: {{dial_timeout: 5s}}\n    static_configs: [{{targets: [\"{}\", \"{}\"]}}]\n",
        GROUP_TIMEOUT.as_millis(),
        replicas[0].target(),
        replicas[1].target(),
    );
    let config = config::parse(&text, "faults.yml").expect("a good config").config;
    let set = ServerGroupSet::try_new(&config.promxy).expect("good groups");
    let engine = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(set))), EngineOptions::default());
    let routes = router(ApiState::new(engine, ApiOptions::default()));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}/api/v1/", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("serving does not fail") });
    Gateway { replicas, url, server }
}

/// Status and body of a call. An answer that is late or no JSON is a failure of the test.
async fn call(gateway: &Gateway, path: &str) -> (u16, Value) {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("{}{path}", gateway.url).parse().expect("a good address");
    let started = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, async {
        let response = client.get(uri).await.expect("the gateway lives");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
        (status, serde_json::from_slice(&body).expect("the answer is JSON"))
    });
    answer.await.unwrap_or_else(|_| panic!("{path} hangs for {:?}", started.elapsed()))
}

fn warnings(answer: &Value) -> Vec<&str> {
    answer["warnings"].as_array().map_or(vec![], |all| all.iter().filter_map(Value::as_str).collect())
}

/// What happens to the replica that fails so.
#[derive(Copy, Clone, PartialEq)]
enum Outcome {
    /// Its answer counts.
    Good,
    /// Its answer does not count, and a warning says so.
    Refused,
    /// As good where there is nothing to be wrong with, else refused.
    GoodOrRefused,
}

fn faults() -> Vec<(Fault, Outcome)> {
    let status = |code, body| Fault::Status { code, body };
    vec![
        (Fault::Delay(Duration::from_millis(50)), Outcome::Good),
        (Fault::Trickle { piece_bytes: 1, every: Duration::from_millis(30) }, Outcome::Refused),
        (Fault::CutBody { after_bytes: 0 }, Outcome::Refused),
        (Fault::CutBody { after_bytes: 40 }, Outcome::Refused),
        (status(500, FaultBody::Html), Outcome::Refused),
        (status(503, FaultBody::Json), Outcome::Refused),
        (status(401, FaultBody::Empty), Outcome::Refused),
        (status(500, FaultBody::Success), Outcome::Refused),
        (status(200, FaultBody::Html), Outcome::Refused),
        (status(200, FaultBody::Empty), Outcome::Refused),
        (Fault::ContentLength { off_by: 10 }, Outcome::Refused),
        (Fault::ContentLength { off_by: -10 }, Outcome::Refused),
        (Fault::Hang, Outcome::Refused),
        (Fault::Lie(Lie::LeftOutSeries), Outcome::Good),
        (Fault::Lie(Lie::ReversedSeries), Outcome::Good),
        (Fault::Lie(Lie::DuplicateSeries), Outcome::GoodOrRefused),
        (Fault::Lie(Lie::ReversedSamples), Outcome::GoodOrRefused),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_faulty_replica_never_changes_the_answer() {
    for path in CALLS {
        let healthy_gateway = gateway().await;
        let (status, healthy) = call(&healthy_gateway, path).await;
        assert_eq!((status, warnings(&healthy).len()), (200, 0), "{path}: {healthy}");
        for (fault, outcome) in faults() {
            // A replica that has failed several times would not be asked.
            let gateway = gateway().await;
            gateway.replicas[1].set_fault_everywhere(&fault);
            let (status, answer) = call(&gateway, path).await;
            gateway.replicas[1].clear_faults();
            assert_eq!(status, 200, "{path} with {fault:?}: {answer}");
            assert_eq!(answer["data"], healthy["data"], "{path} with {fault:?}");
            let target = gateway.replicas[1].target();
            let named = warnings(&answer).iter().any(|text| text.contains(&target));
            match outcome {
                Outcome::Good => assert_eq!(warnings(&answer), [""; 0], "{path} with {fault:?}"),
                Outcome::Refused => assert!(named, "{path} with {fault:?}: no warning names {target}: {answer}"),
                Outcome::GoodOrRefused => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_a_good_replica_is_an_error() {
    let gateway = gateway().await;
    for path in CALLS {
        for (fault, _) in faults().into_iter().filter(|(_, outcome)| *outcome == Outcome::Refused) {
            gateway.replicas.iter().for_each(|replica| replica.set_fault_everywhere(&fault));
            let (status, answer) = call(&gateway, path).await;
            gateway.replicas.iter().for_each(FakePrometheus::clear_faults);
            assert!(status >= 400, "{path} with {fault:?} on both: {answer}");
            assert_eq!(answer["status"], "error", "{path} with {fault:?}");
            let text = answer["error"].as_str().unwrap_or_default();
            assert!(text.contains("eu") || text.contains("timed out"), "{path} with {fault:?}: {text}");
            assert!(!text.contains('?'), "the error shows a URL query: {text}");
        }
        let (status, answer) = call(&gateway, path).await;
        assert_eq!(status, 200, "{path} after all faults: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_carries_the_warnings_that_came_before_it() {
    let gateway = gateway().await;
    gateway.replicas[1].set_fault_everywhere(&Fault::CutBody { after_bytes: 40 });
    let (status, answer) = call(&gateway, "query?query=x%20*%20on()%20x&time=600&timeout=5s").await;
    assert_eq!((status, &answer["errorType"]), (422, &Value::from("execution")), "{answer}");
    let target = gateway.replicas[1].target();
    assert!(warnings(&answer).iter().any(|text| text.contains(&target)), "no warning names {target}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_tell_of_each_target_when_all_are_asked_for() {
    let gateway = gateway().await;
    let path = "query?query=count(x)&time=600&timeout=5s&stats=";
    let (_, some) = call(&gateway, &format!("{path}1")).await;
    let stats = &some["data"]["stats"];
    assert!(stats["timings"]["innerEvalTime"].as_f64() > Some(0.0), "{some}");
    assert!(stats["samples"]["totalQueryableSamples"].as_u64() > Some(0), "{some}");
    assert_eq!(stats["targets"], Value::Null, "{some}");
    let (_, all) = call(&gateway, &format!("{path}all")).await;
    let rows = all["data"]["stats"]["targets"].as_array().expect("rows");
    for replica in &gateway.replicas {
        let url = format!("http://{}", replica.target());
        let answered = |row: &&Value| row["target"] == url.as_str() && row["outcome"] == "success";
        let samples: u64 = rows.iter().filter(answered).filter_map(|row| row["samples"].as_u64()).sum();
        assert!(samples >= 3, "{url} gave its three series: {all}");
        assert!(rows.iter().any(|row| row["bytes"].as_u64() > Some(0) && row["group"] == "eu"), "{all}");
    }
}
