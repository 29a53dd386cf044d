//! A gateway below is recognised and asked over Arrow Flight, and what it says arrives.

use std::sync::Arc;
use std::time::Duration;

use quiver::model::{DurationMs, EvaluationMode, StepGrid, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions, QueryResult};
use quiver::serve::http::ApiOptions;
use quiver::testing::fake_prometheus::{FakePrometheus, Fault};
use quiver::testing::{LoopbackGateway, MemoryStore, Seat};

/// Floats, a series that ends, native histograms.
const SERIES: [&str; 4] = [
    r#"up{job="a"} 1 2 3 4 5 6 7 8"#,
    r#"up{job="b"} 1 2 stale"#,
    r#"up{job="c"} _ _ 1 NaN"#,
    r#"latency {{schema:1 count:4 sum:5 buckets:[1 2 1]}} {{schema:1 count:8 sum:10 buckets:[2 4 2]}}"#,
];

pub fn store() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    store.load(&SERIES, TimestampMs(0), DurationMs(15_000)).expect("good notation");
    store
}

pub async fn below() -> LoopbackGateway {
    let engine = QueryEngine::new(store() as _, EngineOptions::default());
    LoopbackGateway::over_engine(Seat::take().await.expect("free ports"), engine, ApiOptions::default())
}

/// A gateway over one group of these targets, with these further keys.
pub async fn above(targets: &[String], keys: &str) -> LoopbackGateway {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    let targets = targets.join(", ");
    let config = format!("promxy:\n  server_groups:\n    - static_configs: [{{targets: [{targets}]}}]\n      {keys}\n");
    let seat = Seat::take().await.expect("free ports");
    LoopbackGateway::over_groups(seat, &config, EngineOptions::default()).expect("a good config")
}

pub fn grid() -> StepGrid {
    StepGrid::with_count(TimestampMs(0), DurationMs(10_000), 12)
}

pub async fn range(gateway: &LoopbackGateway, query: &str) -> QueryResult {
    gateway
        .api()
        .engine()
        .range(query, grid(), &QueryOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// How the servers were asked, each way once.
pub fn leaves(result: &QueryResult) -> Vec<&'static str> {
    let mut leaves: Vec<_> = result.targets.iter().map(|target| target.leaf).collect();
    leaves.sort_unstable();
    leaves.dedup();
    leaves
}

fn text(result: &QueryResult) -> String {
    format!("{:?}", result.value)
}

const QUERIES: [&str; 8] = [
    "up",
    "{job=~\".+\"}",
    "rate(up[1m])",
    "latency",
    "histogram_quantile(0.9, rate(latency[1m]))",
    "sum(up)",
    "up offset 10s",
    "absent(nothing)",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_below_is_asked_over_flight_and_answers_what_it_has() {
    let below = below().await;
    let alone = QueryEngine::new(store() as _, EngineOptions::default());
    let towers = [above(&[below.target()], "").await, above(&[below.target(), below.target()], "").await];
    let higher = above(&[towers[0].target()], "").await;
    for query in QUERIES {
        let expected = alone.range(query, grid(), &QueryOptions::default()).await.expect("evaluates");
        for gateway in [&towers[0], &towers[1], &higher] {
            let result = range(gateway, query).await;
            assert_eq!(text(&result), text(&expected), "{query}");
            assert_eq!(leaves(&result), ["flight"], "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_chooses_and_what_flight_does_not_reach_is_asked_over_http() {
    let below = below().await;
    // A port at which nobody listens any more.
    let nobody = Seat::take().await.expect("free ports").target();
    let port = nobody.rsplit_once(':').expect("a port").1.to_owned();
    let grpc_port = below.grpc_address().port();
    for (keys, expected) in [
        ("flight: false".to_owned(), "json"),
        (format!("flight: \":{port}\""), "json"),
        // HTTP/1 and HTTP/2 are understood there, gRPC is not.
        ("flight: true".to_owned(), "json"),
        (format!("flight: \":{grpc_port}\""), "flight"),
        (format!("flight: 127.0.0.1:{grpc_port}"), "flight"),
    ] {
        let gateway = above(&[below.target()], &format!("{keys}\n      remote_read: false")).await;
        let result = range(&gateway, "up").await;
        assert_eq!(leaves(&result), [expected], "{keys}");
        assert_eq!(text(&result), text(&range(&below, "up").await), "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_is_done_without_until_it_is_back() {
    let first = below().await;
    let gateway = above(&[first.target()], "remote_read: false").await;
    assert_eq!(leaves(&range(&gateway, "up").await), ["flight"]);
    // Its HTTP API goes on, its gRPC does not.
    first.end_grpc();
    // Nobody is let in any more once its listener has been dropped; a connection may go on for a moment.
    while tokio::net::TcpStream::connect(first.grpc_address()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let mut result = range(&gateway, "up").await;
    while leaves(&result) == ["flight"] {
        result = range(&gateway, "up").await;
    }
    assert!(leaves(&result).contains(&"json"), "{:?}", result.targets);
    assert_eq!(text(&result), text(&range(&first, "up").await));
    assert_eq!(leaves(&range(&gateway, "up").await), ["json"], "not tried again at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_below_arrive_once_and_in_its_words() {
    let good = FakePrometheus::start(store()).await.expect("a free port");
    let gone = Seat::take().await.expect("free ports").target();
    let lower = above(&[good.target(), gone.clone()], "name: pair").await;
    let middle = above(&[lower.target()], "").await;
    let upper = above(&[middle.target()], "").await;
    for query in ["up", "rate(up[1m])"] {
        let result = range(&upper, query).await;
        let about: Vec<_> = result.annotations.iter().filter(|noted| noted.text.contains(&gone)).collect();
        let [warning] = &about[..] else { panic!("one warning: {:?}", result.annotations) };
        assert!(
            warning.text.starts_with("server group \"pair\": error in servergroup ord=0: error in target="),
            "{warning:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_aggregates_come_over_flight() {
    let below = below().await;
    let gateway = above(&[below.target()], "mode: pushdown").await;
    for query in ["sum by (job) (up)", "max(up)", "avg(up)", "count(rate(up[1m]))"] {
        let options = QueryOptions { mode: Some(EvaluationMode::Pushdown), ..QueryOptions::default() };
        let result = gateway.api().engine().range(query, grid(), &options).await.expect("evaluates");
        assert_eq!(text(&result), text(&range(&below, query).await), "{query}");
        assert_eq!(leaves(&result), ["flight"], "{query}");
        let calls: Vec<_> = result.targets.iter().map(|target| target.call).collect();
        assert!(calls.iter().all(|call| *call == "query_range"), "the values of steps, no samples: {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_given_up_ends_below() {
    let hanging = FakePrometheus::start(store()).await.expect("a free port");
    let middle = above(&[hanging.target()], "").await;
    let upper = above(&[middle.target()], "").await;
    range(&upper, "up").await;
    hanging.set_fault_everywhere(&Fault::Hang);
    let engine = upper.api().engine();
    let asking = tokio::spawn(async move { engine.range("up", grid(), &QueryOptions::default()).await.map(drop) });
    let mut look = tokio::time::interval(Duration::from_millis(2));
    let has = async |is_busy: bool, look: &mut tokio::time::Interval| {
        while (hanging.in_flight() > 0) != is_busy {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), has(true, &mut look)).await.expect("it is asked");
    asking.abort();
    tokio::time::timeout(Duration::from_secs(30), has(false, &mut look)).await.expect("nobody waits any more");
}
