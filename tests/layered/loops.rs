//! A gateway that asks itself says so at the first query, whatever its groups forgive.

use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quiver::error::ErrorKind;
use quiver::model::{GatewayId, Labels, TimestampMs};
use quiver::query::{EngineOptions, QueryOptions};
use quiver::testing::fake_prometheus::FakePrometheus;
use quiver::testing::{LoopbackGateway, MemoryStore, Seat};

/// A group of these targets.
fn group(targets: &[String], more: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!("    - static_configs:\n        - targets: [{}]\n{more}", targets.join(", "))
}

fn config(groups: &[String]) -> String {
    format!("promxy:\n  server_groups:\n{}", groups.concat())
}

async fn seats<const N: usize>() -> [Seat; N] {
    futures::future::join_all((0..N).map(|_| Seat::take()))
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .expect("free ports")
        .try_into()
        .expect("N")
}

fn start(seat: Seat, groups: &[String]) -> LoopbackGateway {
    LoopbackGateway::over_groups(seat, &config(groups), EngineOptions::default()).expect("a good config")
}

/// A real server with one series.
async fn prometheus() -> FakePrometheus {
    let store = Arc::new(MemoryStore::new());
    store.append(&Labels::from_pairs([("__name__", "up")]), TimestampMs(0), 1.0).expect("stored");
    FakePrometheus::start(store).await.expect("a free port")
}

/// Status, whether it is said to be a loop, and body.
async fn get(gateway: &LoopbackGateway, path: &str, via: Option<&str>) -> (u16, bool, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let mut request = http::Request::get(format!("http://{}{path}", gateway.target()));
    if let Some(via) = via {
        request = request.header("quiver-via", via);
    }
    let response = client.request(request.body(Empty::new()).expect("a request")).await.expect("an answer");
    let (status, is_loop) = (response.status().as_u16(), response.headers().contains_key("quiver-loop"));
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    (status, is_loop, String::from_utf8_lossy(&body).into_owned())
}

#[track_caller]
fn assert_names_the_loop((status, is_loop, body): (u16, bool, String)) {
    assert_eq!((status, is_loop), (422, true), "{body}");
    assert!(body.contains("this gateway asks itself: take its own address out of server_groups"), "{body}");
    assert!(body.contains(r#""errorType":"execution""#), "{body}");
}

/// What asks the servers.
const QUESTIONS: [&str; 7] = [
    "/api/v1/query?query=up&time=1",
    "/api/v1/query?query=count(up)&time=1&mode=pushdown",
    "/api/v1/query_range?query=rate(up[5m])&start=0&end=100&step=10",
    "/api/v1/series?match[]=up",
    "/api/v1/labels",
    "/api/v1/label/job/values",
    "/api/v1/metadata",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_asks_itself_says_so_at_the_first_query() {
    for question in QUESTIONS {
        let [seat] = seats().await;
        let itself = group(&[seat.target()], "");
        assert_names_the_loop(get(&start(seat, &[itself]), question, None).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_over_another_gateway_is_found_and_all_on_the_way_are_named() {
    let [a, b, c] = seats().await;
    let addresses = [&a, &b, &c].map(Seat::target);
    let (to_b, to_c, to_a) = (group(&addresses[1..2], ""), group(&addresses[2..], ""), group(&addresses[..1], ""));
    let (a, _b, _c) = (start(a, &[to_b]), start(b, &[to_c]), start(c, &[to_a]));
    for question in QUESTIONS {
        let answer = get(&a, question, None).await;
        let named = format!("http://{}: http://{}: http://{}: this gateway", addresses[1], addresses[2], addresses[0]);
        assert!(answer.2.contains(&named), "{}", answer.2);
        assert_names_the_loop(answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_good_replica_nor_a_forgiving_policy_hides_a_loop() {
    let prometheus = prometheus().await;
    for policy in ["", "      ignore_error: true\n", "      downgrade_error: true\n", "      remote_read: false\n"] {
        for question in QUESTIONS {
            let [a, b] = seats().await;
            let pair = group(&[prometheus.target(), b.target()], policy);
            let others = group(&[prometheus.target()], "      labels: {region: us}\n");
            let to_a = group(&[a.target(), prometheus.target()], policy);
            let (a, _b) = (start(a, &[pair, others]), start(b, &[to_a]));
            assert_names_the_loop(get(&a, question, None).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_one_below_the_other_are_no_loop() {
    let prometheus = prometheus().await;
    let [a, b] = seats().await;
    let (to_b, down) = (group(&[b.target()], ""), group(&[prometheus.target()], ""));
    let (a, b) = (start(a, &[to_b]), start(b, &[down]));
    for question in QUESTIONS {
        let (status, is_loop, body) = get(&a, question, None).await;
        assert_eq!((status, is_loop), (200, false), "{question}: {body}");
    }
    let paths: Vec<String> =
        prometheus.seen().iter().filter_map(|seen| seen.header("quiver-via").map(str::to_owned)).collect();
    let ids = [a.api().gateway(), b.api().gateway()].map(GatewayId::to_string);
    assert!(
        paths.iter().all(|path| *path == format!("{}, {}", ids[0], ids[1]) || *path == ids[1]),
        "{paths:?} of {ids:?}"
    );
    assert!(paths.iter().any(|path| path.contains(',')), "{paths:?}");
    assert_eq!(paths.len(), prometheus.seen().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_is_checked_before_anything_else() {
    let [seat] = seats().await;
    let gateway = start(seat, &[]);
    let own = gateway.api().gateway().to_string();
    assert_names_the_loop(get(&gateway, "/api/v1/status/buildinfo", Some(&own)).await);
    assert_names_the_loop(get(&gateway, "/nowhere", Some(&format!("a,{own}, b"))).await);
    assert_eq!(get(&gateway, "/api/v1/query?query=1", Some("a, b")).await.0, 200);
    let many = (0..17).map(|hop| format!("g{hop}")).collect::<Vec<_>>().join(",");
    let (status, is_loop, body) = get(&gateway, "/api/v1/query?query=1", Some(&many)).await;
    assert!(status == 422 && is_loop && body.contains("too many gateways"), "{body}");
    let (status, is_loop, body) = get(&gateway, "/api/v1/query?query=1", Some("a b")).await;
    assert!(status == 400 && !is_loop && body.contains(r#"\"a b\" is not the id of a gateway"#), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_tells_a_loop_as_such() {
    let [seat] = seats().await;
    let itself = group(&[seat.target()], "      ignore_error: true\n");
    let gateway = start(seat, &[itself]);
    // Without a client there is no path: the gateway's own id alone.
    let result = gateway.api().engine().instant("up", TimestampMs(0), &QueryOptions::default()).await;
    assert_eq!(result.expect_err("a loop").kind(), ErrorKind::Loop);
}
