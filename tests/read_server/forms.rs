//! What a client is sent, in which form.

use std::sync::Arc;

use futures::StreamExt;
use quiver::model::{Labels, Matcher, SelectForm, SelectRequest, TimestampMs};
use quiver::query::{QueryEngine, QueryOptions};
use quiver::serve::http::ApiOptions;
use quiver::testing::{MemoryStore, parse_start_offsets, parse_values};

use super::client::{
    Answer, CHUNKS, EQ, NEQ, PROMETHEUS_HEADERS, RE, SAMPLES, ask, hints, matcher, query, read, read_request, rows,
};
use super::gateway::{Gateway, store};

/// Floats with a stale marker and numbers that are hard to write; histograms whose counts are whole and not, of both
/// kinds; a series that turns from numbers to histograms; and one of more samples than a chunk has.
const LINES: [&str; 7] = [
    r#"up{job="a"} 1 stale NaN -0 Inf 1e-300 _ 7"#,
    r#"up{job="b"} 0+1x400"#,
    r#"hist{job="a"} {{schema:1 count:7 sum:-2.5 z_bucket:1 z_bucket_w:0.5 offset:-3 buckets:[1 2] n_offset:4 n_buckets:[3]}}x5"#,
    r#"hist{job="b"} {{schema:0 count:1.5 sum:2 buckets:[0.5 1]}} stale {{schema:0 count:2.5 sum:2 buckets:[0.5 2]}}"#,
    r#"hist{job="c"} {{schema:-53 count:3 sum:4 custom_values:[0.5 1] buckets:[1 2]}}x3"#,
    r#"turns{job="a"} 1 2 {{count:1 sum:1 buckets:[1]}} 3"#,
    r#"gauge{job="a"} {{count:5 sum:1 buckets:[5] counter_reset_hint:gauge}} {{count:3 sum:1 buckets:[3] counter_reset_hint:gauge}}"#,
];

async fn gateway(lines: &[&str], external_labels: &[(&str, &str)]) -> Gateway {
    let external_labels = Labels::from_pairs(external_labels.iter().copied());
    Gateway::over_store(store(lines), external_labels, ApiOptions::default()).await
}

/// What is stored.
async fn stored(engine: &QueryEngine, matchers: &[Matcher], start: i64, end: i64) -> Vec<String> {
    let form = SelectForm::Samples { start: TimestampMs(start - 1), end: TimestampMs(end) };
    let request = SelectRequest { matchers: matchers.to_vec(), form };
    let stream = engine.leaf(&request, &QueryOptions::default()).await.expect("a store does not fail");
    let tables = stream.tables.map(|table| table.expect("a store does not fail").0).collect::<Vec<_>>().await;
    rows(&tables)
}

#[tokio::test]
async fn both_forms_carry_every_sample_that_is_stored() {
    let gateway = gateway(&LINES, &[]).await;
    for (name, start, end) in [
        ("up", 0, 4_000_000),
        ("hist", 0, 50_000),
        ("turns", 0, 50_000),
        ("gauge", 0, 50_000),
        ("up", 10_000, 70_000),
        ("up", 10_001, 69_999),
        ("up", 30_000, 30_000),
        ("nosuch", 0, 50_000),
    ] {
        let expected = stored(&gateway.engine, &[Matcher::equal("__name__", name)], start, end).await;
        let query = query(&[matcher(EQ, "__name__", name)], start, end);
        let samples = read(&gateway.address, std::slice::from_ref(&query), &[SAMPLES]).await;
        assert_eq!(samples.sample_rows(), expected, "{name}");
        let chunks = read(&gateway.address, &[query], &[CHUNKS, SAMPLES]).await.chunk_rows();
        assert_eq!(chunks.get(&0).cloned().unwrap_or_default(), expected, "{name}");
    }
}

#[tokio::test]
async fn chunks_are_those_that_every_client_knows_sorted_by_labels() {
    let gateway = gateway(&LINES, &[]).await;
    let answer = read(&gateway.address, &[query(&[matcher(RE, "__name__", ".+")], 0, 4_000_000)], &[CHUNKS]).await;
    let mut before = Vec::new();
    let mut encodings = Vec::new();
    for frame in answer.frames() {
        assert_eq!((frame.query_index, frame.chunked_series.len()), (0, 1));
        for series in frame.chunked_series {
            let labels: Vec<_> = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
            assert!(before < labels, "{before:?} {labels:?}");
            before = labels;
            for chunk in &series.chunks {
                assert!(chunk.min_time_ms <= chunk.max_time_ms);
                encodings.push(chunk.encoding);
            }
        }
    }
    encodings.sort_unstable();
    encodings.dedup();
    // XOR, HISTOGRAM, FLOAT_HISTOGRAM.
    assert_eq!(encodings, [1, 2, 3]);
}

#[tokio::test]
async fn start_timestamps_are_sent_to_who_can_read_them() {
    let store = MemoryStore::new();
    let (values, starts) = (parse_values("1 2 3").expect("values"), parse_start_offsets("-5s _ -1s").expect("offsets"));
    let labels = Labels::from_pairs([("__name__", "started")]);
    let notation = quiver::testing::SeriesNotation { labels: labels.clone(), values };
    let samples = notation.started_samples(TimestampMs(0), quiver::model::DurationMs(10_000), &starts);
    store.append_to_part(0, &labels, samples).expect("stored");
    let gateway = Gateway::over_store(Arc::new(store), Labels::default(), ApiOptions::default()).await;
    let body = read_request(&[query(&[matcher(EQ, "__name__", "started")], 0, 50_000)], &[CHUNKS]);
    let encodings = |answer: Answer| -> Vec<i32> {
        let series = answer.frames().into_iter().flat_map(|frame| frame.chunked_series);
        series.flat_map(|series| series.chunks).map(|chunk| chunk.encoding).collect()
    };
    let ask = |agent: &'static str, header: bool| {
        let mut headers = PROMETHEUS_HEADERS.to_vec();
        headers.push(("user-agent", agent));
        headers.extend(header.then_some(("quiver-start-times", "1")));
        let (address, body) = (gateway.address.clone(), body.clone());
        async move { ask(&address, "/api/v1/read", &headers, Some(body)).await }
    };
    // XOR, and XOR2 with what was asked for.
    assert_eq!(encodings(ask("Prometheus/2.42.0", false).await), [1]);
    assert_eq!(encodings(ask("Prometheus/3.14.0", false).await), [4]);
    let whole = ask("quiver/0.1.0", true).await;
    let expected = stored(&gateway.engine, &[Matcher::equal("__name__", "started")], 0, 50_000).await;
    assert_eq!(whole.chunk_rows()[&0], expected);
    assert_eq!(encodings(whole), [4]);
}

#[tokio::test]
async fn each_query_of_a_request_has_its_own_answer() {
    let gateway = gateway(&[r#"a{i="1"} 1 2"#, r#"b{i="1"} 3 4"#], &[]).await;
    let of = |name: &str| query(&[matcher(EQ, "__name__", name)], 0, 10_000);
    let queries = [of("a"), of("nosuch"), of("b"), of("a"), query(&[], 0, 10_000)];
    let answer = read(&gateway.address, &queries, &[CHUNKS]).await;
    let indices: Vec<i64> = answer.frames().iter().map(|frame| frame.query_index).collect();
    assert_eq!(indices, [0, 2, 3]);
    let rows = answer.chunk_rows();
    assert_eq!(rows[&0], rows[&3]);
    assert!(rows[&2][0].contains(r#"b{i="1"}"#), "{rows:?}");
    // In one message: as many results as queries, in their order, and none of them left out.
    let answer = read(&gateway.address, &queries, &[SAMPLES]).await;
    let results = answer.message().results;
    assert_eq!(results.iter().map(|result| result.timeseries.len()).collect::<Vec<_>>(), [1, 0, 1, 1, 0]);
    assert_eq!(results[0], results[3]);
    // Nothing asked, nothing answered.
    for accepted in [CHUNKS, SAMPLES] {
        let answer = read(&gateway.address, &[], &[accepted]).await;
        assert_eq!((answer.status, answer.body.len()), (200, usize::from(accepted == SAMPLES)));
    }
}

#[tokio::test]
async fn external_labels_are_added_and_taken_out_of_matchers() {
    let lines = [r#"up{job="a"} 1"#, r#"up{job="b",replica="stored"} 2"#, r#"up{job="c",replica="r1"} 3"#];
    let gateway = gateway(&lines, &[("replica", "r1"), ("zone", "z")]).await;
    let jobs = |matchers: Vec<_>| {
        let (address, query) = (gateway.address.clone(), query(&matchers, 0, 10_000));
        async move {
            let samples = read(&address, std::slice::from_ref(&query), &[SAMPLES]).await.sample_rows();
            let chunks = read(&address, &[query], &[CHUNKS]).await.chunk_rows().remove(&0).unwrap_or_default();
            assert_eq!(samples, chunks);
            samples.into_iter().map(|row| row[..row.find('}').expect("labels") + 1].to_owned()).collect::<Vec<_>>()
        }
    };
    let (a, b, c) = (
        r#"up{job="a", replica="r1", zone="z"}"#,
        r#"up{job="b", replica="stored", zone="z"}"#,
        r#"up{job="c", replica="r1", zone="z"}"#,
    );
    let up = || matcher(EQ, "__name__", "up");
    // As Prometheus has it: who asks for the label asks for what does not have it stored.
    assert_eq!(jobs(vec![up(), matcher(EQ, "replica", "r1")]).await, [a]);
    assert_eq!(jobs(vec![up(), matcher(EQ, "replica", "stored")]).await, [b]);
    assert_eq!(jobs(vec![up(), matcher(RE, "replica", "r1")]).await, [c]);
    assert_eq!(jobs(vec![up(), matcher(EQ, "replica", "r1"), matcher(EQ, "zone", "z")]).await, [a]);
    assert_eq!(jobs(vec![up(), matcher(NEQ, "replica", "")]).await, [b, c]);
    assert_eq!(jobs(vec![up()]).await, [a, b, c]);
}

#[tokio::test]
async fn hints_say_which_times_are_read_and_whether_samples_are() {
    let gateway = gateway(&[r#"up{job="a"} 0+1x10"#, r#"up{job="b"} _ _ _ _ _ _ _ 1"#], &[("zone", "z")]).await;
    let with = |hints| quiver::downstream::prometheus_proto::Query {
        hints,
        ..query(&[matcher(EQ, "__name__", "up")], 0, 100_000)
    };
    let narrow = [with(hints(20_000, 30_000, "rate"))];
    let rows = read(&gateway.address, &narrow, &[SAMPLES]).await.sample_rows();
    assert_eq!(rows, read(&gateway.address, &narrow, &[CHUNKS]).await.chunk_rows()[&0]);
    assert_eq!(
        rows,
        read(&gateway.address, &[query(&[matcher(EQ, "__name__", "up")], 20_000, 30_000)], &[SAMPLES])
            .await
            .sample_rows()
    );
    assert_eq!(rows.len(), 1);
    // Labels alone: the names, values and nothing else.
    let answer = read(&gateway.address, &[with(hints(20_000, 30_000, "series"))], &[SAMPLES]).await;
    let series = answer.message().results.remove(0).timeseries;
    let labels: Vec<String> = series[0].labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    assert_eq!((series.len(), series[0].samples.len()), (1, 0));
    assert_eq!(labels, ["__name__=up", "job=a", "zone=z"]);
}

#[tokio::test]
async fn nothing_is_compressed_twice() {
    let gateway = gateway(&[r#"up{job="a"} 0+1x2000"#], &[]).await;
    let query = query(&[matcher(EQ, "__name__", "up")], 0, 100_000_000);
    for accepted in [CHUNKS, SAMPLES] {
        let body = read_request(std::slice::from_ref(&query), &[accepted]);
        let headers = [("accept-encoding", "gzip")];
        let answer = ask(&gateway.address, "/api/v1/read", &headers, Some(body)).await;
        let rows =
            if accepted == CHUNKS { answer.chunk_rows().remove(&0).expect("rows") } else { answer.sample_rows() };
        assert_eq!(rows.len(), 1);
        assert!(answer.body.len() > 1_024);
    }
}
