//! What a query may use: past a limit it fails with Prometheus' words, nothing else is harmed, and everything is given back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quiver::config;
use quiver::encode::encode_query_response;
use quiver::error::ErrorKind;
use quiver::model::{DurationMs, EvaluationMode, ProcessBudget, StepGrid, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::GroupsSource;
use quiver::servergroup::ServerGroupSet;
use quiver::testing::MemoryStore;
use quiver::testing::fake_prometheus::FakePrometheus;
use serde_json::Value;

const MINUTE: DurationMs = DurationMs(60_000);
const WIDE_SERIES: usize = 400;
const STEPS: usize = 101;

/// `wide` has 400 series, `narrow` fifty; each is its own number at all times.
fn store() -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let load = |line: String| store.load(&[&line], TimestampMs(0), MINUTE).expect("good notation");
    for index in 0..WIDE_SERIES {
        load(format!(r#"wide{{i="{index:03}",job="j{}"}} {index}x{}"#, index % 7, STEPS - 1));
    }
    (0..50).for_each(|index| load(format!(r#"narrow{{i="{index}"}} {index}x{}"#, STEPS - 1)));
    load(format!(r#"other{{i="001"}} 1x{}"#, STEPS - 1));
    Arc::new(store)
}

fn grid() -> StepGrid {
    StepGrid::with_count(TimestampMs(0), MINUTE, STEPS)
}

/// Runs a query over [`store`]; gives what the process holds while there is a result, and what it has held at most.
async fn run(
    query: &str,
    samples_max: u64,
    query_bytes_max: u64,
) -> (Result<(u64, u64, u64), (ErrorKind, String)>, u64) {
    let memory = Arc::new(ProcessBudget::new(0));
    let options =
        EngineOptions { samples_max, query_bytes_max, memory: Arc::clone(&memory), ..EngineOptions::default() };
    let engine = QueryEngine::new(store(), options);
    let outcome = engine.range(query, grid(), &QueryOptions::default()).await;
    let outcome = outcome.map(|result| (memory.bytes(), result.peak_samples, result.peak_bytes));
    (outcome.map_err(|error| (error.kind(), error.message().to_owned())), left(&memory).await)
}

/// What stays when all is over. The tasks of leaves that were aborted end when the runtime gets to them.
async fn left(memory: &ProcessBudget) -> u64 {
    let patience = Instant::now() + Duration::from_secs(10);
    while memory.bytes() > 0 && Instant::now() < patience {
        tokio::task::yield_now().await;
    }
    memory.bytes()
}

const ALL: u64 = 1 << 40;
const QUERIES: [&str; 11] = [
    "wide",
    "sum by (job) (rate(wide[5m]))",
    "wide / wide",
    "wide and wide",
    "topk(5, wide)",
    "max_over_time(wide[30m:1m])",
    "wide * scalar(sum(wide))",
    "sort(wide)",
    "wide + on (i) group_left other",
    "absent(wide)",
    r#"quantile by (job) (0.9, {__name__=~"wide|other"})"#,
];

#[tokio::test]
async fn everything_is_given_back_after_a_result() {
    for query in QUERIES {
        let (outcome, left) = run(query, ALL, 0).await;
        let (held, peak_samples, peak_bytes) = outcome.expect(query);
        assert_eq!(left, 0, "{query}");
        assert!(held > 0 && held <= peak_bytes, "{query}: {held} of {peak_bytes}");
        assert!(peak_samples > 0 && peak_samples * 8 <= peak_bytes, "{query}: {peak_samples} in {peak_bytes}");
    }
}

#[tokio::test]
async fn every_query_fails_in_good_form_below_what_it_needs_and_not_above() {
    for query in QUERIES {
        let (_, peak_samples, peak_bytes) = run(query, ALL, 0).await.0.expect(query);
        assert!(run(query, peak_samples, peak_bytes).await.0.is_ok(), "{query}: a limit may be reached");
        for part in [2, 10, 100] {
            let (outcome, left) = run(query, peak_samples / part, 0).await;
            let error = outcome.expect_err(query);
            let text = "query processing would load too many samples into memory in query execution";
            assert_eq!((error, left), ((ErrorKind::TooManySamples, text.to_owned()), 0), "{query} / {part}");
        }
        for part in [2, 10, peak_bytes] {
            let (outcome, left) = run(query, ALL, peak_bytes / part).await;
            let (kind, text) = outcome.expect_err(query);
            assert_eq!((kind, left), (ErrorKind::TooManySamples, 0), "{query} / {part}");
            let is_good = text
                .starts_with("query processing would use more memory than allowed in query execution (limit ")
                && text.ends_with("): raise --query.max-memory, ask for fewer series or a larger step");
            assert!(is_good, "{query} / {part}: {text}");
        }
    }
}

#[tokio::test]
async fn samples_are_counted_while_they_are_held_not_while_they_pass() {
    let (outcome, _) = run("sum(rate(wide[5m]))", ALL, 0).await;
    let all_samples = (WIDE_SERIES * STEPS) as u64;
    let (_, peak_samples, _) = outcome.expect("it fits");
    // The store hands a part out whole. What rate() makes of it passes by.
    assert!(peak_samples < all_samples + all_samples / 4, "{peak_samples} of {all_samples}");
    let (outcome, _) = run("wide / wide", ALL, 0).await;
    assert!(outcome.expect("it fits").1 >= 2 * all_samples, "both sides are held");
}

#[tokio::test]
async fn everything_is_given_back_after_an_error_a_panic_and_a_client_that_goes() {
    let memory = Arc::new(ProcessBudget::new(0));
    let options = EngineOptions { memory: Arc::clone(&memory), ..EngineOptions::default() };
    let engine = QueryEngine::new(store(), options);
    let ask = |query: &'static str| {
        let engine = engine.clone();
        async move { engine.range(query, grid(), &QueryOptions::default()).await }
    };
    let error = ask("wide + on (job) wide").await.expect_err("many to many");
    assert_eq!((error.kind(), left(&memory).await), (ErrorKind::Execution, 0));

    // Dropped wherever it stands: after so many polls.
    let mut finished = false;
    for polls in 1..200 {
        let mut query = Box::pin(ask("sum by (job) (wide / wide)"));
        for _ in 0..polls {
            finished |= futures::poll!(&mut query).is_ready();
            if finished {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(query);
        assert_eq!(left(&memory).await, 0, "after {polls} polls");
        if finished {
            break;
        }
    }
    assert!(finished, "the last of them came to its end");

    let held = ask("wide").await.expect("it fits");
    let panicked = std::panic::AssertUnwindSafe(async move {
        let _held = held;
        panic!("provoked");
    });
    assert!(panicked.catch_unwind().await.is_err());
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn the_wait_in_the_queue_is_a_part_of_the_timeout() {
    let engine = QueryEngine::new(store(), EngineOptions::default());
    let asked_at = Instant::now() - Duration::from_secs(30);
    let options = QueryOptions { asked_at: Some(asked_at), ..QueryOptions::default() };
    assert_eq!(engine.context(&options).deadline, Some(asked_at + Duration::from_secs(120)));
}

#[tokio::test]
async fn leaves_that_ask_for_the_same_are_asked_once() {
    let server = FakePrometheus::start(store()).await.expect("a free port");
    let text = format!("promxy:\n  server_groups:\n    - static_configs: [{{targets: ['{}']}}]\n", server.target());
    let config = config::parse(&text, "limits.yml").expect("a good config").config;
    let set = ServerGroupSet::try_new(&config.promxy).expect("good groups");
    let options = EngineOptions { mode: EvaluationMode::Exact, ..EngineOptions::default() };
    let engine = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(set))), options.clone());
    let alone = QueryEngine::new(store(), options);
    let answer = async |engine: &QueryEngine, query: &str| {
        let result = engine.range(query, grid(), &QueryOptions::default()).await.expect(query);
        let chunks = encode_query_response(result.value, &[], &[], None, None).expect("a good table");
        String::from_utf8(chunks.flatten().collect()).expect("text")
    };
    // What is asked once about the server itself.
    answer(&engine, "wide").await;
    let asked = async |query: &str| {
        server.forget_seen();
        assert_eq!(answer(&engine, query).await, answer(&alone, query).await, "{query}");
        server.seen().len()
    };
    for (query, once) in [
        ("wide / wide", "wide"),
        ("wide and wide or wide", "wide"),
        ("wide - scalar(sum(wide))", "wide"),
        ("sum(rate(wide[5m])) / count(increase(wide[5m]))", "rate(wide[5m])"),
        ("max_over_time(wide[5m:1m]) > min_over_time(wide[5m:1m])", "max_over_time(wide[5m:1m])"),
    ] {
        let expected = asked(once).await;
        assert!(expected > 0, "{once}");
        assert_eq!(asked(query).await, expected, "{query}");
    }
    assert_eq!(asked("wide / wide offset 1m").await, 2 * asked("wide").await, "not the same");
}

/// The gateway as a process of its own; killed at the end.
struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn start(target: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("quiver.yml");
        let text = format!("promxy:\n  server_groups:\n    - static_configs: [{{targets: ['{target}']}}]\n");
        std::fs::write(&file, text).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_quiver"))
            .arg(format!("--config={}", file.display()))
            .args(["--bind-addr=127.0.0.1:0", "--grpc.bind-addr=none", "--access-log-destination=none"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
        let address = lines.find_map(|line| Some(line.split_once("address=")?.1.trim().to_owned())).expect("it serves");
        lines.find(|line| line.contains("quiver is ready")).expect("it gets ready");
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: format!("http://{address}") }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let uri = format!("{}{path}", self.url).parse().expect("a good address");
        let response = client.get(uri).await.expect("the gateway lives");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_over_its_memory_fails_among_fifty_that_do_not() {
    let server = FakePrometheus::start(store()).await.expect("a free port");
    for (flags, error) in [
        (
            ["--query.max-memory=256KB", "--query.max-memory-total=1GB"],
            "query processing would use more memory than allowed in query execution (limit 256 KiB): raise --query.max-memory, \
             ask for fewer series or a larger step",
        ),
        (
            // Fifty narrow queries fit beside one that may have seven eighths.
            ["--query.max-memory=0", "--query.max-memory-total=2MB"],
            "query processing would use more memory than is left in query execution (all queries use ",
        ),
    ] {
        let gateway = Gateway::start(&server.target(), &flags);
        let range = |query: &str| format!("/api/v1/query_range?query={query}&start=0&end=6000&step=60");
        let wide = range("wide%20%2F%20(wide%20%2B%20wide)");
        let narrow: Vec<String> = (0..50).map(|index| range(&format!("narrow%7Bi%3D%22{index}%22%7D"))).collect();
        let all_narrow = futures::future::join_all(narrow.iter().map(|path| gateway.get(path)));
        let (failed, answers) = tokio::join!(gateway.get(&wide), all_narrow);

        let (status, body) = failed;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, body["errorType"].as_str()), (422, Some("execution")), "{body}");
        assert!(body["error"].as_str().is_some_and(|text| text.contains(error)), "{body}");
        for (index, (status, body)) in answers.into_iter().enumerate() {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(status, 200, "{body}");
            let values = body["data"]["result"][0]["values"].as_array().expect("one series");
            assert_eq!(values.len(), STEPS);
            assert!(values.iter().all(|point| point[1].as_str() == Some(&index.to_string())), "{index}: {values:?}");
        }
        // What the failed query had asked for is given up by tasks of their own.
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let (_, page) = gateway.get("/metrics").await;
            if page.lines().any(|line| line == "quiver_query_memory_bytes 0.0") {
                break;
            }
            assert!(Instant::now() < patience, "{page}");
        }
    }
}
