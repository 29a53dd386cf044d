//! A gateway above a gateway, over remote read.

use std::sync::Arc;

use futures::StreamExt;
use quiver::model::{DurationMs, Labels, MatchOp, Matcher, SamplesTable, SelectForm, SelectRequest, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::serve::http::ApiOptions;
use quiver::testing::{MemoryStore, SeriesNotation, parse_start_offsets};

use super::client::{SAMPLES, ask, matcher, query, read, rows};
use super::gateway::{Gateway, config_of, prometheus, store};

const EAST: [&str; 5] = [
    r#"up{i="1"} 1 1 stale _ _ _ 1 NaN -0"#,
    r#"up{i="2"} 0+1x300"#,
    r#"hist{i="1"} {{schema:1 count:7 sum:-2.5 z_bucket:1 z_bucket_w:0.5 offset:-3 buckets:[1 2] n_offset:4 n_buckets:[3]}}x5 stale"#,
    r#"hist{i="2"} {{schema:-53 count:3 sum:4 custom_values:[0.5 1] buckets:[1 2]}}x3"#,
    r#"hist{i="3"} {{schema:0 count:1.5 sum:2 buckets:[0.5 1]}}x5"#,
];
const WEST: [&str; 2] = [r#"up{i="3"} 5 6 7 stale"#, r#"only_west{i="1"} 1+2x20"#];

const QUERIES: [&str; 9] = [
    "up",
    "count(up) by (dc)",
    "rate(up[30s])",
    "count_over_time(up[45s])",
    "hist",
    "histogram_quantile(0.5, hist)",
    "rate(hist[30s])",
    "only_west + on (i) up",
    "absent(only_west)",
];

fn anything() -> Vec<Matcher> {
    vec![Matcher::new("__name__", MatchOp::Regex, ".+")]
}

/// Raw samples as rows, and how they travelled.
async fn raw(engine: &QueryEngine, matchers: Vec<Matcher>) -> (Vec<String>, Vec<&'static str>) {
    let form = SelectForm::Samples { start: TimestampMs(-1), end: TimestampMs(4_000_000) };
    let stream = engine.leaf(&SelectRequest { matchers, form }, &QueryOptions::default()).await.expect("planned");
    let context = stream.context.clone();
    let tables = stream.tables.map(|table| table.expect("an answer").0).collect::<Vec<_>>().await;
    let mut leaves: Vec<_> = context.targets.snapshot().into_iter().map(|report| report.leaf).collect();
    leaves.dedup();
    (rows(&tables), leaves)
}

/// The answers of both to every query, at instants and on a grid.
async fn assert_same_answers(lower: &Gateway, upper: &Gateway) {
    for query in QUERIES {
        let text: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let times = [
            "query?time=5",
            "query?time=21",
            "query?time=35.5",
            "query?time=400",
            "query_range?start=0&end=120&step=7",
        ];
        for time in times {
            let path = format!("/api/v1/{time}&query={text}");
            let (below, above) =
                (ask(&lower.address, &path, &[], None).await, ask(&upper.address, &path, &[], None).await);
            assert_eq!((above.status, above.text()), (below.status, below.text()), "{path}");
        }
    }
}

#[tokio::test]
async fn raw_samples_come_through_whole_and_answers_are_the_same() {
    let replica = |name: &str| Labels::from_pairs([("replica", name)]);
    let east =
        [prometheus(store(&EAST), true, replica("a")).await, prometheus(store(&EAST[1..]), true, replica("b")).await];
    let west = prometheus(store(&WEST), true, Labels::default()).await;
    let groups = [east.iter().map(|server| server.target()).collect(), vec![west.target()]];
    let external = "external_labels: {region: eu}";
    let lower =
        Gateway::over_groups(&config_of(&groups, external), EngineOptions::default(), ApiOptions::default()).await;
    // What its servers can do it finds out when it first asks them, and says so from then on.
    let everything = query(&[matcher(2, "__name__", ".+")], 0, 4_000_000);
    read(&lower.address, std::slice::from_ref(&everything), &[SAMPLES]).await;
    let answer = read(&lower.address, &[everything], &[SAMPLES]).await;
    assert_eq!(answer.header("quiver-without-stale-markers"), "");
    assert!(answer.sample_rows().iter().all(|row| row.contains(r#"region="eu""#)));

    let text = format!("promxy:\n  server_groups:\n  - static_configs: [{{targets: [\"{}\"]}}]\n", lower.address);
    let upper = Gateway::over_groups(&text, EngineOptions::default(), ApiOptions::default()).await;
    let (below, _) = raw(&lower.engine, anything()).await;
    let (above, leaves) = raw(&upper.engine, anything()).await;
    assert_eq!(above, below);
    assert_eq!(leaves, ["remote_read"]);
    assert!(
        below.iter().all(|row| row.contains("dc=") && !row.contains("region") && !row.contains("replica")),
        "{below:?}"
    );
    assert!(below.len() == 7 && below.iter().any(|row| row.contains("stale")), "{below:?}");
    assert_same_answers(&lower, &upper).await;
}

#[tokio::test]
async fn start_timestamps_come_through() {
    let notation = SeriesNotation::parse("started 1 2 3").expect("good notation");
    let starts = parse_start_offsets("-5s _ -1s").expect("offsets");
    let below = MemoryStore::new();
    let samples = notation.started_samples(TimestampMs(0), DurationMs(10_000), &starts);
    below.append_to_part(0, &notation.labels, samples).expect("stored");
    let lower = Gateway::over_store(Arc::new(below), Labels::default(), ApiOptions::default()).await;
    let text = format!("promxy:\n  server_groups:\n  - static_configs: [{{targets: [\"{}\"]}}]\n", lower.address);
    let upper = Gateway::over_groups(&text, EngineOptions::default(), ApiOptions::default()).await;
    let form = SelectForm::Samples { start: TimestampMs(-1), end: TimestampMs(100_000) };
    let request = SelectRequest { matchers: anything(), form };
    let stream = upper.engine.leaf(&request, &QueryOptions::default()).await.expect("planned");
    let tables = stream.tables.map(|table| table.expect("an answer").0).collect::<Vec<_>>().await;
    let table = SamplesTable::try_new(&tables[0]).expect("samples");
    assert_eq!(table.start_times(0), Some(&[-5_000, 0, 19_000][..]));
}

#[tokio::test]
async fn where_servers_tell_no_stale_markers_the_gateway_above_asks_the_query_api() {
    let east = prometheus(store(&EAST[..2]), false, Labels::default()).await;
    let west = prometheus(store(&WEST), true, Labels::default()).await;
    let groups = [vec![east.target()], vec![west.target()]];
    let lower = Gateway::over_groups(&config_of(&groups, ""), EngineOptions::default(), ApiOptions::default()).await;
    let query = query(&[matcher(0, "__name__", "up")], 0, 4_000_000);
    read(&lower.address, std::slice::from_ref(&query), &[SAMPLES]).await;
    // A Prometheus gets what there is.
    let answer = read(&lower.address, &[query], &[SAMPLES]).await;
    assert_eq!(answer.header("quiver-without-stale-markers"), "1");
    assert_eq!(answer.sample_rows().len(), 3);

    let text = format!("promxy:\n  server_groups:\n  - static_configs: [{{targets: [\"{}\"]}}]\n", lower.address);
    let upper = Gateway::over_groups(&text, EngineOptions::default(), ApiOptions::default()).await;
    let (_, leaves) = raw(&upper.engine, vec![Matcher::equal("__name__", "up")]).await;
    assert_eq!(leaves, ["json"]);
    let path = "/api/v1/query?time=25&query=up";
    let (below, above) = (ask(&lower.address, path, &[], None).await, ask(&upper.address, path, &[], None).await);
    assert_eq!(above.text(), below.text());
    assert!(!below.text().contains(r#""i":"1""#), "a series that has ended is not there: {}", below.text());
}
