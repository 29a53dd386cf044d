//! A real Thanos Querier above us answers as we do.
//!
//! `QUIVER_TEST_THANOS` names a `thanos` binary; without it the tests say that they were left out. Figures go to standard error.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use quiver::testing::LoopbackGateway;
use quiver::testing::fake_prometheus::{FakeOptions, FakePrometheus, RemoteReadOptions};
use serde_json::Value;

use super::process::Process;
use super::{over_config, store};

/// Past the test's capture: figures are to be seen of a passing test, too.
macro_rules! say {
    ($($words:tt)*) => { writeln!(std::io::stderr(), $($words)*).expect("an error stream") };
}

/// Evaluated at one time and over a range. 300 values each, 15 s apart; `gone` ends, `late` begins later, counters are reset.
const QUERIES: [&str; 36] = [
    "up",
    r#"up{region="eu"}"#,
    r#"up{region=~"e.*|us", job!="web"}"#,
    r#"{__name__=~"up|load", pod!~"2|3"}"#,
    "nosuch",
    "absent(nosuch)",
    "gone or late",
    "1 + 2 * time()",
    "hits offset 5m",
    "hits @ 900",
    "sum(rate(hits[5m]))",
    "sum by (region, job) (rate(hits[5m]))",
    "avg without (pod) (hits)",
    "avg(load)",
    "min by (region) (load) - max by (region) (load)",
    "count by (job) (up)",
    "count_values(\"v\", up)",
    "group by (pod) (hits)",
    "stddev(load)",
    "quantile by (region) (0.3, load)",
    "topk by (region) (1, hits)",
    "increase(hits[10m])",
    "irate(hits[2m])",
    "max_over_time(load[7m])",
    "avg_over_time(load[7m])",
    "changes(load[7m])",
    "deriv(load[5m])",
    "predict_linear(load[5m], 600)",
    "max_over_time(sum by (region) (rate(hits[5m]))[10m:1m])",
    "hits * on (region, job, pod) group_left up",
    "hits and on (region) load > 3",
    r#"label_replace(up, "short", "$1", "job", "(.).*")"#,
    "histogram_quantile(0.9, sum by (le, region) (rate(latency_bucket[5m])))",
    "seconds",
    "sum by (region) (rate(seconds[5m]))",
    "histogram_quantile(0.9, sum(rate(seconds[5m])))",
];

/// Path and parameters of questions about series and labels.
const LISTS: [(&str, &str); 10] = [
    ("labels", ""),
    ("labels", r#"match[]=up{region="eu"}&start=0&end=4500"#),
    ("label/region/values", ""),
    ("label/__name__/values", "start=0&end=4500"),
    ("label/job/values", r#"match[]=up&match[]=load&start=0&end=4500"#),
    ("label/nosuch/values", ""),
    ("series", "match[]=up&start=0&end=4500"),
    ("series", r#"match[]={__name__=~"hits|load",region="us"}&match[]=gone&start=0&end=4500"#),
    ("series", "match[]=late&start=0&end=60"),
    ("series", r#"match[]=nosuch{a="b"}"#),
];

fn series_of(region: &str) -> Vec<String> {
    let step = if region == "eu" { 3 } else { 7 };
    let mut lines = Vec::new();
    for (at, job) in ["api", "web"].into_iter().enumerate() {
        for pod in 1..=3 {
            let (by, level) = (step * pod, at + 2 * pod);
            // Behind a reset a counter is far from zero: Thanos takes resets out before it looks how near zero a rate begins.
            let fallen = 10 * by;
            lines.push(format!("up{{job=\"{job}\",pod=\"{pod}\"}} 1x150 0x20 _x10 1x117"));
            lines.push(format!("hits{{job=\"{job}\",pod=\"{pod}\"}} 0+{by}x140 {fallen}+{by}x157"));
            lines.push(format!(
                "load{{job=\"{job}\",pod=\"{pod}\"}} {level}x90 {level}.5-0.01x110 NaN _x3 {level}+0.25x90"
            ));
        }
        lines.push(format!("seconds{{job=\"{job}\"}} {{{{schema:1 count:4 sum:5.5 z_bucket:1 z_bucket_w:0.01 buckets:[1 1 1]}}}}+{{{{schema:1 count:4 sum:{step} z_bucket:1 z_bucket_w:0.01 buckets:[1 1 1]}}}}x290"));
        for (le, count) in [("0.1", 2), ("1", 5), ("+Inf", 6)] {
            lines.push(format!("latency_bucket{{job=\"{job}\",le=\"{le}\"}} 0+{}x298", count * step));
        }
    }
    lines.push("gone{job=\"api\"} 1x80 stale".to_owned());
    lines.push("late{job=\"api\"} _x250 1x40".to_owned());
    lines
}

/// The binary, if there is one.
fn thanos() -> Option<String> {
    let thanos = std::env::var("QUIVER_TEST_THANOS").ok().filter(|path| !path.is_empty());
    if thanos.is_none() {
        say!("left out: QUIVER_TEST_THANOS names no thanos binary");
    }
    thanos
}

/// A Querier with one endpoint.
struct Querier {
    address: String,
    _process: Process,
}

impl Querier {
    fn start(thanos: &str, gateway: &LoopbackGateway, flags: &[&str]) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").to_string();
        let (address, grpc_address) = (free(), free());
        let mut command = Command::new(thanos);
        command.args(["query", &format!("--endpoint={}", gateway.grpc_address())]);
        command.args([format!("--http-address={address}"), format!("--grpc-address={grpc_address}")]).args(flags);
        let process = Process::start(&mut command, "adding new query with")
            .unwrap_or_else(|log| panic!("the Querier does not take us for an endpoint:\n{log}"));
        Self { address, _process: process }
    }
}

#[derive(Clone)]
struct Asker(Client<HttpConnector, Full<Bytes>>);

impl Asker {
    fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    async fn get(&self, address: &str, path: &str) -> Option<(StatusCode, Bytes)> {
        let request = Request::get(format!("http://{address}/{path}")).body(Full::default()).expect("a valid request");
        let response = self.0.request(request).await.ok()?;
        let status = response.status();
        Some((status, response.into_body().collect().await.ok()?.to_bytes()))
    }

    async fn until_ready(&self, querier: &Querier) {
        let started = Instant::now();
        while self.get(&querier.address, "-/ready").await.is_none_or(|(status, _)| status != StatusCode::OK) {
            assert!(started.elapsed() < Duration::from_secs(60), "the Querier does not become ready");
            tokio::task::yield_now().await;
        }
    }

    async fn ask(&self, address: &str, path: &str, parameters: &str) -> Value {
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let (_, body) = self.get(address, &format!("api/v1/{path}?{form}")).await.expect("an answer");
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body)))
    }

    /// How many queries of a kind we have answered.
    async fn answered(&self, gateway: &LoopbackGateway, kind: &str) -> u64 {
        let (_, page) = self.get(&gateway.target(), "metrics").await.expect("metrics");
        let name = format!("quiver_query_duration_seconds_count{{kind=\"{kind}\",outcome=\"success\"}} ");
        let page = String::from_utf8_lossy(&page).into_owned();
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    }
}

/// What is the same whoever answers: series by labels, lists in order.
fn in_order(mut answer: Value) -> Value {
    let list = match answer.pointer_mut("/data/result") {
        Some(result) => result.as_array_mut(),
        None => answer.pointer_mut("/data").and_then(Value::as_array_mut),
    };
    // A scalar is a pair, too.
    if let Some(list) = list.filter(|list| list.iter().all(|item| item.is_object() || item.is_string()))
        && list.first().is_some_and(|first| first.is_object())
    {
        list.sort_by_cached_key(|item| item.get("metric").unwrap_or(item).to_string());
    }
    answer
}

/// The answer alone: Thanos says more beside it.
fn answer_in(answer: &Value) -> &Value {
    answer.pointer("/data/result").unwrap_or(&answer["data"])
}

/// Thanos shows infos as warnings.
fn has_warnings(answer: &Value) -> bool {
    let texts = answer["warnings"].as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).any(|text| !text.contains("PromQL info: "))
}

/// Numbers, also as texts, may differ in their last digits: the order of additions is not promised.
fn is_near(expected: &Value, got: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse::<f64>().ok(),
        other => other.as_f64(),
    };
    match (expected, got) {
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| is_near(expected, got))
        }
        (Value::Object(expected), Value::Object(got)) => {
            let other = |key: &String| got.get(key);
            expected.len() == got.len()
                && expected.iter().all(|(key, value)| other(key).is_some_and(|own| is_near(value, own)))
        }
        (expected, got) => match (number(expected), number(got)) {
            (Some(a), Some(b)) => a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            _ => expected == got,
        },
    }
}

/// Two regions of one server each, or the same data twice as two replicas.
async fn gateway_of(groups: &[(&str, &str)]) -> (LoopbackGateway, Vec<FakePrometheus>) {
    let mut config = String::from("promxy:\n  server_groups:\n");
    let mut servers = Vec::new();
    for (labels, region) in groups {
        let lines = series_of(region);
        let store = store(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let options = FakeOptions { remote_read: Some(RemoteReadOptions::default()), ..FakeOptions::default() };
        let server = FakePrometheus::start_with(store, options).await.expect("a free port");
        config.push_str(&format!(
            "    - static_configs: [{{targets: [{}]}}]\n      labels: {{{labels}}}\n",
            server.target()
        ));
        servers.push(server);
    }
    (over_config(&config).await, servers)
}

/// Asks both everything, and tells what is not the same.
async fn compare(
    asker: &Asker,
    gateway: &LoopbackGateway,
    querier: &Querier,
    lists: &[(&'static str, &str)],
    strictness: &str,
) -> Vec<String> {
    let mut told = Vec::new();
    let mut same: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut questions: Vec<(&str, String)> = Vec::new();
    for query in QUERIES {
        questions.push(("query", format!("time=2400&{strictness}query={query}")));
        questions.push(("query_range", format!("start=300&end=4500&step=60&{strictness}query={query}")));
    }
    questions.extend(lists.iter().map(|(path, parameters)| (*path, format!("{strictness}{parameters}"))));
    for (path, parameters) in questions {
        let own = asker.ask(&gateway.target(), path, &parameters).await;
        let theirs = asker.ask(&querier.address, path, &parameters).await;
        assert_eq!(own["status"], "success", "{parameters}: {own}");
        let (own, theirs) = (in_order(own), in_order(theirs));
        let kind = if path.starts_with("query") { path } else { "lists" };
        let (right, all) = same.entry(kind).or_default();
        *all += 1;
        if theirs["status"] == "success" && is_near(answer_in(&own), answer_in(&theirs)) && !has_warnings(&theirs) {
            *right += 1;
        } else {
            let short = |value: &Value| value.to_string().chars().take(400).collect::<String>();
            told.push(format!("{path} {parameters}\n  ours:   {}\n  theirs: {}", short(&own), short(&theirs)));
        }
    }
    say!("the same: {same:?}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_querier_above_answers_as_we_do() {
    let Some(thanos) = thanos() else { return };
    let version = Command::new(&thanos).arg("--version").output().expect("it starts");
    let version = [version.stdout, version.stderr].concat();
    say!("{}", String::from_utf8_lossy(&version).lines().next().unwrap_or_default());
    let (gateway, _servers) = gateway_of(&[("region: eu", "eu"), ("region: us", "us")]).await;
    let asker = Asker::new();
    for (name, flags) in [
        ("Store API", &["--query.replica-label=replica"][..]),
        ("Store API, Thanos' engine", &["--query.promql-engine=thanos"][..]),
        (
            "Query API",
            &["--query.promql-engine=thanos", "--query.mode=distributed", "--query.replica-label=replica"][..],
        ),
    ] {
        let querier = Querier::start(&thanos, &gateway, flags);
        asker.until_ready(&querier).await;
        let before = (asker.answered(&gateway, "select").await, asker.answered(&gateway, "instant").await);
        say!("{name} ({})", flags.join(" "));
        // Where partial answers are refused, a Querier takes any warning of ours for a failure.
        let told = compare(&asker, &gateway, &querier, &LISTS, "partial_response=false&").await;
        assert!(told.is_empty(), "{} differ\n{}", told.len(), told.join("\n"));
        let selects = asker.answered(&gateway, "select").await - before.0;
        let instants = asker.answered(&gateway, "instant").await - before.1 - QUERIES.len() as u64;
        say!("it has asked for {selects} selectors and {instants} queries at one time");
        assert!(if name == "Query API" { instants > 20 } else { selects > 60 && instants == 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_querier_merges_replicas_that_we_keep_apart() {
    let Some(thanos) = thanos() else { return };
    let (single, _server) = gateway_of(&[("region: eu", "eu")]).await;
    let (pair, _servers) = gateway_of(&[("region: eu, replica: a", "eu"), ("region: eu, replica: b", "eu")]).await;
    let asker = Asker::new();
    let querier = Querier::start(&thanos, &pair, &["--query.replica-label=replica"]);
    asker.until_ready(&querier).await;
    // Among label names a Querier leaves the replica label.
    let told = compare(&asker, &single, &querier, &LISTS[2..], "").await;
    assert!(told.is_empty(), "{} differ\n{}", told.len(), told.join("\n"));
}
