//! The gateway in front of real Prometheus servers answers as the one Prometheus that holds the union of their data.
//!
//! Two groups of two replicas, each of which has lost something that the other has, and the server of the union are started
//! from generated data; every question goes to the gateway and to the server of the union, over HTTP.
//!
//! `QUIVER_TEST_PROMETHEUS` and `QUIVER_TEST_PROMTOOL` name other programs than those on the path. A Prometheus 3.14 is
//! asked random queries, too: `QUIVER_RANDOM_QUERIES` says how many, `QUIVER_RANDOM_SEED` from which on.

mod api;
mod compare;
mod data;
mod expressions;
mod gateway;
mod process;
mod questions;
mod random;
mod reader;
mod scraped;
mod server;

use std::fmt::Write as _;
use std::io::Write;
use std::time::Instant;

use api::{Answer, Answered, ApiClient, Question};
use compare::{differences, different_texts};
use data::{GROUPS, REPLICAS, World};
use futures::StreamExt;
use gateway::{Gateway, Leaf};
use questions::Asked;
use server::{Programs, PrometheusServer};

/// Past the test's capture: which Prometheus ran is to be seen of a passing test, too.
macro_rules! say {
    ($($words:tt)*) => { writeln!(std::io::stderr(), $($words)*).expect("an error stream") };
}

/// More at a time only makes each wait for the other.
const QUESTIONS_AT_A_TIME: usize = 4;

/// Of two orders one comes up so often in a row in one of 30,000 cases.
const ASKED_AGAIN: usize = 15;

/// The servers, and the gateway in front of those that have lost something.
struct Stage {
    union: PrometheusServer,
    replicas: Vec<PrometheusServer>,
    gateways: Vec<(Leaf, Gateway)>,
    /// Is it the version whose texts the gateway's are? Then errors, warnings and infos must be the same, too.
    speaks_alike: bool,
}

impl Stage {
    fn set(programs: &Programs) -> Self {
        let world = World::generate();
        let texts = (0..GROUPS.len()).flat_map(|group| (0..REPLICAS).map(move |replica| (group, replica)));
        std::thread::scope(|scope| {
            let world = &world;
            let union = scope.spawn(|| PrometheusServer::start(programs, &world.text_of_union(), ""));
            let starting: Vec<_> = texts
                .map(|(group, replica)| {
                    scope.spawn(move || {
                        // What tells replicas apart leaves a server by remote read, and must not reach an answer.
                        let external_labels = format!("replica: r{replica}, rack: \"007\"");
                        PrometheusServer::start(programs, &world.text_of_replica(group, replica), &external_labels)
                    })
                })
                .collect();
            let replicas: Vec<PrometheusServer> =
                starting.into_iter().map(|started| started.join().expect("a replica starts")).collect();
            let addresses: Vec<&str> = replicas.iter().map(PrometheusServer::address).collect();
            let gateways = [Leaf::FoundOut, Leaf::QueryApi]
                .map(|leaf| (leaf, Gateway::start(&addresses, programs.features(), leaf)))
                .into();
            let union = union.join().expect("the server of the union starts");
            Self { union, replicas, gateways, speaks_alike: programs.version.contains("version 3.14.") }
        })
    }

    /// What the gateways answer otherwise than the server of the union; nothing, if all is well.
    async fn difference(&self, client: &ApiClient, asked: &Asked) -> Option<String> {
        let expected = client.ask(self.union.address(), &asked.question).await;
        let mut told = String::new();
        for (leaf, gateway) in &self.gateways {
            let got = client.ask(gateway.address(), &asked.question).await;
            if let Some(differences) = self.difference_of(client, asked, &expected, &got).await {
                write!(told, "{leaf:?}: {differences}").expect("a String takes everything");
            }
        }
        (!told.is_empty()).then_some(told)
    }

    async fn difference_of(
        &self,
        client: &ApiClient,
        asked: &Asked,
        expected: &Answered,
        got: &Answered,
    ) -> Option<String> {
        let mut told = differences(&expected.answer, &got.answer, asked.order);
        if self.speaks_alike {
            told.extend(different_texts(expected, got));
            if asked.may_be_left_open && !told.is_empty() && self.is_left_open(client, asked, expected).await {
                return None;
            }
        } else {
            // Prometheus 2 has no annotations; but none of ours may be about a server.
            told.extend(got.warnings.iter().filter(|text| !text.starts_with("PromQL warning: ")).cloned());
        }
        (!told.is_empty()).then(|| format!("{}\n    {}\n", asked.name, told.join("\n    ")))
    }

    /// Does the server of the union answer now so, now otherwise? On grids Prometheus hands groups and matched pairs on in the
    /// order of a Go map, and then `topk` takes any of equal values, and any of several errors is the one that is told.
    async fn is_left_open(&self, client: &ApiClient, asked: &Asked, expected: &Answered) -> bool {
        for _ in 0..ASKED_AGAIN {
            let again = client.ask(self.union.address(), &asked.question).await;
            let same = differences(&expected.answer, &again.answer, asked.order).is_empty();
            if !same || !different_texts(expected, &again).is_empty() {
                return true;
            }
        }
        false
    }

    /// Asks everything, and tells what differs.
    async fn compare(&self, client: &ApiClient, what: &str, questions: Vec<Asked>) -> String {
        let began = Instant::now();
        let asking = questions.iter().map(|asked| self.difference(client, asked));
        let told: Vec<String> =
            futures::stream::iter(asking).buffered(QUESTIONS_AT_A_TIME).filter_map(std::future::ready).collect().await;
        let (count, equal) = (questions.len(), questions.len() - told.len());
        say!("{what}: {equal} of {count} answers are equal, after {:?}", began.elapsed());
        told.concat()
    }
}

/// The programs; `None`, and a word of it, where they are not and need not be.
fn programs() -> Option<Programs> {
    let programs = Programs::find();
    if programs.is_none() {
        let text = "NOT TESTED: no prometheus and promtool here; install them, or name them by QUIVER_TEST_PROMETHEUS \
                    and QUIVER_TEST_PROMTOOL";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{text}");
        say!("\n{text}\n");
    }
    programs
}

#[test]
fn the_gateway_answers_as_the_server_that_holds_the_union() {
    let Some(programs) = programs() else { return };
    say!("against {}", programs.version);
    let began = Instant::now();
    let stage = Stage::set(&programs);
    say!("{} servers after {:?}", stage.replicas.len() + 1, began.elapsed());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let report = runtime.block_on(async {
        let client = ApiClient::new();
        show_the_losses(&stage, &client).await;
        let mut report = stage.compare(&client, "queries", questions::questions()).await;
        report += &stage.compare(&client, "series and labels", questions::metadata_questions()).await;
        report += &reader::compare_answers(&stage, &client).await;
        report += &reader::compare(&programs, &stage, &client).await;
        if programs.major_version() >= 3 {
            report += &stage.compare(&client, "more queries", questions::questions_to_prometheus_3()).await;
            report += &stage.compare(&client, "lists cut short", questions::limited_questions()).await;
        }
        if stage.speaks_alike {
            report += &stage.compare(&client, "random queries", random::random_questions()).await;
            report += &stage.compare(&client, "queries behind flags", questions::questions_behind_flags()).await;
        }
        report
    });
    runtime.block_on(show_the_leaves(&stage));
    say!("done after {:?}", began.elapsed());
    assert!(report.is_empty(), "\n{report}");
}

/// A test that never read over remote read would show nothing of it.
async fn show_the_leaves(stage: &Stage) {
    let client = ApiClient::new();
    for replica in &stage.replicas {
        let reads = client.requests_of(replica.address(), "/api/v1/read").await;
        let queries = client.requests_of(replica.address(), "/api/v1/query_range").await;
        say!("a replica was asked for {reads} remote reads and {queries} range queries");
        assert!(reads > 100.0 && queries > 100.0, "one gateway for each");
    }
}

/// A test that every replica passes alone would show nothing.
async fn show_the_losses(stage: &Stage, client: &ApiClient) {
    let end = questions::seconds(data::SCRAPE_COUNT * data::SCRAPE_INTERVAL_MS);
    let count = async |address: &str, query: &str| {
        let parameters = vec![("query", query.to_owned()), ("time", end.clone())];
        let question = Question { path: "query".to_owned(), parameters, posted: false };
        match client.ask(address, &question).await.answer {
            Answer::Vector(samples) => samples[0].2,
            other => panic!("{other:?}"),
        }
    };
    for (at, replica) in stage.replicas.iter().enumerate() {
        let group = GROUPS[at / REPLICAS];
        let whole = count(stage.union.address(), &format!(r#"sum(count_over_time(up{{dc="{group}"}}[4h]))"#)).await;
        let held = count(replica.address(), "sum(count_over_time(up[4h]))").await;
        say!("replica {} of group {group} holds {held} of {whole} samples of up", at % REPLICAS);
        assert!(held < 0.95 * whole, "nothing lost");
    }
}

const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8";

/// A page that the gateway gives otherwise than the server of the union.
async fn different_pages(client: &ApiClient, [gateway, union]: [&str; 2], path: &str, accept: &str) -> Option<String> {
    let expected = client.page(union, path, accept).await;
    let mut got = client.page(gateway, path, accept).await;
    if !expected.1.contains("escaping=") {
        // Prometheus 2 knows no escaping and does not speak of it.
        got.1 = got.1.split("; escaping=").next().unwrap_or_default().to_owned();
    }
    let text =
        |page: &(u16, String, bytes::Bytes)| format!("{} {}\n{}", page.0, page.1, String::from_utf8_lossy(&page.2));
    (got != expected).then(|| format!("{path} {accept}\nexpected {}\ngot {}\n", text(&expected), text(&got)))
}

#[test]
fn exemplars_and_federated_pages_are_those_of_the_server_that_holds_the_union() {
    let Some(programs) = programs() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(async {
        let servers = scraped::scraping_servers(&programs).await;
        let [r0, r1, union] = [0, 1, 2].map(|at: usize| servers[at].address());
        let config = format!("promxy:\n  server_groups:\n    - static_configs: [{{targets: [{r0}, {r1}]}}]\n");
        let gateway = tokio::task::block_in_place(|| Gateway::start_with_config(&config, programs.features()));
        let (client, both) = (ApiClient::new(), [gateway.address(), union]);
        let mut report = String::new();
        for query in [
            "query=latency_bucket",
            "query=sum(rate(requests_total%5B5m%5D))/ignoring(le)group_left()latency_bucket",
            "query=%7Bjob=%22text%22%7D&start=0&end=2e9",
            "query=latency_bucket&start=0&end=1e9",
            "query=level",
            "query=nosuch",
            "query=up(",
        ] {
            let path = format!("/api/v1/query_exemplars?{query}");
            report.extend(different_pages(&client, both, &path, "").await);
        }
        // Two replicas have most of them, and each lacks some.
        let count = async |address: &str| {
            let (_, _, body) = client.page(address, "/api/v1/query_exemplars?query=%7Bjob=%22text%22%7D", "").await;
            String::from_utf8_lossy(&body).matches("\"trace_id\"").count()
        };
        let counts = [count(r0).await, count(r1).await, count(gateway.address()).await];
        assert_eq!(counts, [5, 5, 6], "exemplars of the replicas and of the gateway");

        let names = "match%5B%5D=%7B__name__=~%22latency.*|requests_total|level|spread%22%7D";
        for selectors in
            [names, &format!("match%5B%5D=level&{names}&match%5B%5D=latency_sum"), "match%5B%5D=%7B%7D", ""]
        {
            let path = format!("/federate?{selectors}");
            for accept in ["", "text/plain;version=0.0.4;escaping=values", PROTOBUF, "application/openmetrics-text,*/*"]
            {
                report.extend(different_pages(&client, both, &path, accept).await);
            }
        }
        // Over the query API, too, which has no words for native histograms.
        let config = config.replace("    - static", "    - remote_read: false\n      static");
        let of_json = tokio::task::block_in_place(|| Gateway::start_with_config(&config, programs.features()));
        let numbers = "match%5B%5D=%7B__name__=~%22latency.*|requests_total|level%22,job=%22text%22%7D";
        for selectors in [numbers, "match%5B%5D=level&match%5B%5D=requests_total"] {
            let path = format!("/federate?{selectors}");
            report.extend(different_pages(&client, [of_json.address(), union], &path, "").await);
        }
        let (_, _, text) = client.page(gateway.address(), &format!("/federate?{names}"), "").await;
        let (_, _, messages) = client.page(gateway.address(), &format!("/federate?{names}"), PROTOBUF).await;
        say!("federated pages of {} and {} bytes", text.len(), messages.len());
        assert!(String::from_utf8_lossy(&text).contains("level{") && messages.len() > 500, "the pages hold something");
        let has_native = String::from_utf8_lossy(&messages).contains("spread");
        assert_eq!(has_native, programs.major_version() >= 3, "native histograms are among them");
        assert!(report.is_empty(), "\n{report}");
    });
}
