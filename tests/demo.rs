//! The demo from outside: what a client sees through its gateway.

use axum::body::Body;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quiver::model::{DurationMs, TimestampMs};
use quiver::testing::demo::{Demo, DemoOptions, SCRAPE_INTERVAL};
use serde_json::Value;

/// Some time in 2026, not on a scrape.
const NOW: TimestampMs = TimestampMs(1_790_000_123_456);

async fn demo() -> Demo {
    let options = DemoOptions { bind_addr: "127.0.0.1:0".to_owned(), grpc_bind_addr: None, cpu: None };
    Demo::start(&options, NOW).await.expect("starts on free ports")
}

/// `data.result` of an answer that must be a success without warnings.
async fn ask(demo: &Demo, call: &str, parameters: &[(&str, &str)]) -> Vec<Value> {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let url = format!("{}/api/v1/{call}?{form}", demo.url());
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let response = client.get(url.parse().expect("a URL")).await.expect("an answer");
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    let mut answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(answer["status"], "success", "{answer}");
    assert_eq!(answer["warnings"], Value::Null, "{answer}");
    match answer["data"]["result"].take() {
        Value::Array(result) => result,
        other => panic!("no list but {other}"),
    }
}

fn values(series: &Value) -> Vec<f64> {
    let samples = series["values"].as_array().expect("a matrix");
    samples.iter().map(|sample| sample[1].as_str().expect("a text").parse().expect("a number")).collect()
}

#[tokio::test]
async fn holes_of_single_replicas_do_not_show_through_the_gateway() {
    let demo = demo().await;
    // The first window begins where the servers' memory does.
    let (start, end) = ((NOW - DurationMs(110 * 60_000)).to_string(), NOW.to_string());
    let parameters = [("query", "count_over_time(up[5m])"), ("start", &start), ("end", &end), ("step", "15")];
    let result = ask(&demo, "query_range", &parameters).await;
    assert_eq!(result.len(), 8, "two regions of two jobs of two instances");
    let samples_in_range = (300_000 / SCRAPE_INTERVAL.0) as f64;
    for series in &result {
        let counts = values(series);
        assert_eq!(counts.len(), 110 * 4 + 1);
        let [least, most] =
            [counts.iter().copied().fold(f64::MAX, f64::min), counts.iter().copied().fold(0.0, f64::max)];
        assert!(least >= samples_in_range - 1.0, "dips to {least}: {}", series["metric"]);
        assert!(most <= samples_in_range + 1.0, "rises to {most}: {}", series["metric"]);
    }
}

#[tokio::test]
async fn each_replica_alone_has_a_hole() {
    let demo = demo().await;
    for (region, number, server) in demo.servers() {
        let end = NOW.0;
        let store = server.store();
        let mut longest = 0;
        let mut previous: Option<i64> = None;
        for batch in all_samples(store, end) {
            let table = quiver::model::SamplesTable::try_new(&batch).expect("samples");
            for time in table.series(0).0 {
                longest = longest.max(previous.map_or(0, |previous| time - previous));
                previous = Some(*time);
            }
        }
        assert!(longest > 4 * 60_000, "{region} {number}: longest gap {longest} ms");
    }
}

fn all_samples(store: &quiver::testing::MemoryStore, end: i64) -> Vec<arrow::record_batch::RecordBatch> {
    use quiver::model::{Matcher, QueryContext, SelectForm, SelectRequest};
    let matchers = vec![Matcher::equal("__name__", "up"), Matcher::equal("instance", "shop-0:8080")];
    let form = SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(end) };
    store.select(0, &SelectRequest { matchers, form }, &QueryContext::default()).expect("selects")
}

#[tokio::test]
async fn the_example_queries_return_data_and_time_moves_on() {
    let mut demo = demo().await;
    let banner = demo.banner();
    let queries: Vec<&str> =
        banner.lines().filter_map(|line| line.split_once("--data-urlencode 'query=")?.1.strip_suffix('\'')).collect();
    assert!(queries.len() >= 5, "{banner}");
    let later = NOW + DurationMs(10 * 60_000);
    for now in [NOW, later] {
        demo.advance(now);
        for query in &queries {
            let result = ask(&demo, "query", &[("query", query), ("time", &now.to_string())]).await;
            assert!(!result.is_empty(), "{query} at {now}");
        }
    }
    let rates = ask(&demo, "query", &[("query", queries[0]), ("time", &later.to_string())]).await;
    let rate: f64 = rates[0]["value"][1].as_str().expect("a text").parse().expect("a number");
    // 2 instances of (12 + 7) GET requests a second and a quarter of that as POST, swinging by half.
    assert!((20.0..80.0).contains(&rate), "{rate}");
}

#[tokio::test]
async fn its_config_is_a_config_file() {
    let demo = demo().await;
    let config = quiver::config::parse(demo.config_text(), "demo.yml").expect("valid").config;
    assert_eq!(config.promxy.server_groups.len(), 2);
}
