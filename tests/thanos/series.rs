//! The Store API's `Series`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quiver::decode::{ChunkDecoder, SampleSink, TimeWindow};
use quiver::model::{ChunkEncoding, NativeHistogram, is_stale};
use quiver::query::EngineOptions;
use quiver::serve::grpc::thanos::proto::{self, chunk::Encoding, series_response::Result as Part};
use quiver::testing::fake_prometheus::{FakeOptions, FakePrometheus, Fault, RemoteReadOptions, RequestKind};
use tonic::{Code, Status};

use super::support::refusing_address;
use super::{Gateway, matcher, over_config, over_config_with, text_of};

/// Series of all names between two times.
fn all(min_time: i64, max_time: i64) -> proto::SeriesRequest {
    proto::SeriesRequest { min_time, max_time, matchers: vec![matcher("__name__=~\".+\"")], ..Default::default() }
}

#[derive(Debug, Default)]
struct Read {
    /// As they came, not yet decoded.
    series: Vec<proto::Series>,
    warnings: Vec<String>,
    message_count: usize,
}

async fn read(gateway: &Gateway, request: proto::SeriesRequest) -> Result<Read, Status> {
    let mut read = Read::default();
    let mut stream = gateway.store().max_decoding_message_size(64 << 20).series(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        read.message_count += 1;
        match message.result.expect("no message is empty") {
            Part::Series(series) => read.series.push(series),
            Part::Batch(batch) => read.series.extend(batch.series),
            Part::Warning(text) => read.warnings.push(text),
        }
    }
    Ok(read)
}

/// Samples as `value@seconds`.
#[derive(Default)]
struct Samples(Vec<String>);

impl SampleSink for Samples {
    fn floats(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        for (time, value) in timestamps_ms.iter().zip(values) {
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            self.0.push(format!("{value}@{}", *time as f64 / 1_000.0));
        }
    }

    fn started_floats(&mut self, _: &[i64], _: &[i64], _: &[f64]) {
        panic!("Thanos knows no start timestamps");
    }

    fn histogram(&mut self, timestamp_ms: i64, _: Option<i64>, histogram: Arc<NativeHistogram>) {
        let (count, sum) = (histogram.count, histogram.sum);
        self.0.push(format!("({count}, {sum})@{}", timestamp_ms as f64 / 1_000.0));
    }
}

fn samples_of(series: &proto::Series) -> Vec<String> {
    let mut samples = Samples::default();
    for chunk in &series.chunks {
        let raw = chunk.raw.as_ref().expect("raw samples");
        let encoding = match raw.r#type() {
            Encoding::Xor => ChunkEncoding::Xor,
            Encoding::Histogram => ChunkEncoding::Histogram,
            Encoding::FloatHistogram => ChunkEncoding::FloatHistogram,
        };
        let before = samples.0.len();
        ChunkDecoder::default().decode(encoding, &raw.data, TimeWindow::ALL, &mut samples).expect("a good chunk");
        let times = [chunk.min_time, chunk.max_time].map(|time| format!("@{}", time as f64 / 1_000.0));
        assert!(samples.0[before].ends_with(&times[0]) && samples.0[samples.0.len() - 1].ends_with(&times[1]));
    }
    samples.0
}

/// `labels: samples`, or the labels alone where there are no chunks.
fn rows(read: &Read) -> Vec<String> {
    let row = |series: &proto::Series| match series.chunks.is_empty() {
        true => text_of(&series.labels),
        false => format!("{}: {}", text_of(&series.labels), samples_of(series).join(" ")),
    };
    read.series.iter().map(row).collect()
}

const THREE: [&str; 3] = [
    r#"up{job="web"} 1 stale _ 1"#,
    r#"hits{job="api",pod="1"} 1 2 3 4 5"#,
    r#"hits{job="api",pod="2"} 10 20 30 40 50"#,
];

#[tokio::test]
async fn samples_come_as_they_are_stored_with_both_ends_of_the_range() {
    let gateway = Gateway::over(&THREE).await;
    for (min_time, max_time, expected) in [
        (
            0,
            60_000,
            vec![
                r#"hits{job="api",pod="1"}: 1@0 2@15 3@30 4@45 5@60"#,
                r#"hits{job="api",pod="2"}: 10@0 20@15 30@30 40@45 50@60"#,
                r#"up{job="web"}: 1@0 stale@15 1@45"#,
            ],
        ),
        (60_000, 60_000, vec![r#"hits{job="api",pod="1"}: 5@60"#, r#"hits{job="api",pod="2"}: 50@60"#]),
        (59_999, 59_999, vec![]),
        (61_000, 1_000_000, vec![]),
    ] {
        let read = read(&gateway, all(min_time, max_time)).await.expect("an answer");
        assert_eq!(rows(&read), expected, "{min_time} to {max_time}");
        assert!(read.warnings.is_empty());
    }
    for skip_chunks in [false, true] {
        let whole = proto::SeriesRequest { skip_chunks, ..all(i64::MIN, i64::MAX) };
        assert_eq!(rows(&read(&gateway, whole).await.expect("an answer")).len(), 3, "all of time is a range, too");
        let after = proto::SeriesRequest { skip_chunks, ..all(50_000, 60_000) };
        assert_eq!(rows(&read(&gateway, after).await.expect("an answer")).len(), 2, "up has no sample there");
        let first = proto::SeriesRequest { skip_chunks, ..all(-1, -1) };
        assert!(rows(&read(&gateway, first).await.expect("an answer")).is_empty());
    }
}

#[tokio::test]
async fn matchers_of_all_four_kinds_are_heeded() {
    let gateway = Gateway::over(&THREE).await;
    for (matchers, expected) in [
        (vec![r#"__name__="up""#], vec![r#"up{job="web"}"#]),
        (vec![r#"job!="web""#, r#"pod="2""#], vec![r#"hits{job="api",pod="2"}"#]),
        (vec![r#"__name__=~"u.""#], vec![r#"up{job="web"}"#]),
        (vec![r#"__name__=~"h.*""#, r#"pod!~"2|3""#], vec![r#"hits{job="api",pod="1"}"#]),
        (vec![r#"__name__="nosuch""#], vec![]),
        (vec![r#"__name__="hits""#, r#"zone="""#, r#"pod="1""#], vec![r#"hits{job="api",pod="1"}"#]),
    ] {
        let matchers: Vec<_> = matchers.into_iter().map(matcher).collect();
        for skip_chunks in [true, false] {
            let request = proto::SeriesRequest { matchers: matchers.clone(), skip_chunks, ..all(0, 60_000) };
            let read = read(&gateway, request).await.expect("an answer");
            let names: Vec<String> = read.series.iter().map(|series| text_of(&series.labels)).collect();
            assert_eq!(names, expected, "{matchers:?}");
            assert!(read.series.iter().all(|series| series.chunks.is_empty() == skip_chunks));
        }
    }
}

#[tokio::test]
async fn a_long_series_is_cut_into_chunks_and_messages() {
    let values: Vec<String> = (0..9_000_u64).map(|at| format!("{}", (at * at * 7_919) as f64 / 977.0)).collect();
    let line = format!("x {}", values.join(" "));
    let gateway = Gateway::over(&[&line, "y 1x240"]).await;
    let short = read(&gateway, proto::SeriesRequest { matchers: vec![matcher("__name__=y")], ..all(0, i64::MAX) });
    let short = short.await.expect("an answer");
    let sizes: Vec<usize> = short.series[0]
        .chunks
        .iter()
        .map(|chunk| {
            let data = &chunk.raw.as_ref().expect("raw").data;
            usize::from(u16::from_be_bytes([data[0], data[1]]))
        })
        .collect();
    assert_eq!(sizes, [120, 120, 1]);
    // A hundred series of 70 kB are more than one pack, and more than a client takes in one message by default.
    let lines: Vec<String> = (0..60).map(|at| format!("x{{at=\"{at}\"}} {}", values.join(" "))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let gateway = Gateway::over(&lines).await;
    for batch_size in [0, 1, 100] {
        let request = proto::SeriesRequest { response_batch_size: batch_size, ..all(0, i64::MAX) };
        let mut stream = gateway.store().series(request).await.expect("an answer").into_inner();
        let mut series = Vec::new();
        while let Some(message) = stream.message().await.expect("no message is larger than clients take") {
            match message.result.expect("not empty") {
                Part::Series(one) => series.push(one),
                Part::Batch(batch) => series.extend(batch.series),
                Part::Warning(text) => panic!("{text}"),
            }
        }
        let sample_count: usize = series.iter().map(|series| samples_of(series).len()).sum();
        assert_eq!(sample_count, 60 * values.len(), "batches of {batch_size}");
    }
}

#[tokio::test]
async fn histograms_have_their_own_chunks_and_floats_beside_them_theirs() {
    let gateway = Gateway::over(&[
        "whole {{schema:1 count:4 sum:5.5 buckets:[1 2 1]}}x2",
        "fractions {{schema:1 count:4.5 sum:5.5 buckets:[1.5 2 1]}}x1",
        "mixed 1 {{schema:1 count:4 sum:5.5 buckets:[1 2 1]}} 2",
    ])
    .await;
    let read = read(&gateway, all(0, 60_000)).await.expect("an answer");
    let expected = [
        "fractions: (4.5, 5.5)@0 (4.5, 5.5)@15",
        "mixed: 1@0 (4, 5.5)@15 2@30",
        "whole: (4, 5.5)@0 (4, 5.5)@15 (4, 5.5)@30",
    ];
    assert_eq!(rows(&read), expected);
    let kinds = |series: &proto::Series| -> Vec<Encoding> {
        series.chunks.iter().map(|chunk| chunk.raw.as_ref().expect("raw").r#type()).collect()
    };
    let kinds: Vec<_> = read.series.iter().map(kinds).collect();
    let mixed = vec![Encoding::Xor, Encoding::Histogram, Encoding::Xor];
    assert_eq!(kinds, [vec![Encoding::FloatHistogram], mixed, vec![Encoding::Histogram]]);
}

fn forty() -> Vec<String> {
    (0..40).map(|at| format!("hits{{pod=\"{at}\",job=\"{}\"}} {at}", at % 3)).collect()
}

#[tokio::test]
async fn the_shards_together_are_the_whole() {
    let lines = forty();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let gateway = Gateway::over(&lines).await;
    let whole = rows(&read(&gateway, all(0, 0)).await.expect("an answer"));
    assert_eq!(whole.len(), 40);
    for (by, labels, skip_chunks) in [
        (true, vec!["pod"], false),
        (true, vec!["job"], false),
        (false, vec!["pod"], false),
        (false, vec![], true),
        (true, vec!["nosuch"], false),
    ] {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for shard_index in 0..3 {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let shard_info = Some(proto::ShardInfo { shard_index, total_shards: 3, by, labels });
            let request = proto::SeriesRequest { shard_info, skip_chunks, ..all(0, 0) };
            let shard = read(&gateway, request).await.expect("an answer");
            let names: Vec<String> = shard.series.iter().map(|series| text_of(&series.labels)).collect();
            count += names.len();
            seen.extend(names);
        }
        assert_eq!((count, seen.len()), (40, 40), "by={by} {labels:?}");
    }
}

#[tokio::test]
async fn series_are_sorted_without_their_replica_labels_and_stay_apart() {
    let gateway = Gateway::over(&[
        r#"up{a="1",replica="x"} 1"#,
        r#"up{a="1",replica="y"} 2"#,
        r#"up{a="1",b="2"} 3"#,
        r#"up{replica="x",zone="z"} 4"#,
    ])
    .await;
    let asked = |names: &[&str], skip_chunks, limit| proto::SeriesRequest {
        without_replica_labels: names.iter().map(|name| (*name).to_owned()).collect(),
        skip_chunks,
        limit,
        ..all(0, 0)
    };
    for (request, expected) in [
        (
            asked(&["replica"], false, 0),
            vec![r#"up{a="1"}: 1@0"#, r#"up{a="1"}: 2@0"#, r#"up{a="1",b="2"}: 3@0"#, r#"up{zone="z"}: 4@0"#],
        ),
        (asked(&["replica"], true, 0), vec![r#"up{a="1"}"#, r#"up{a="1",b="2"}"#, r#"up{zone="z"}"#]),
        // Both of the same name are one of the series that were asked for.
        (asked(&["replica"], false, 2), vec![r#"up{a="1"}: 1@0"#, r#"up{a="1"}: 2@0"#, r#"up{a="1",b="2"}: 3@0"#]),
        (asked(&["replica"], true, 2), vec![r#"up{a="1"}"#, r#"up{a="1",b="2"}"#]),
        // Nobody has such a label: nothing moves.
        (
            asked(&["nosuch"], false, 3),
            vec![r#"up{a="1",b="2"}: 3@0"#, r#"up{a="1",replica="x"}: 1@0"#, r#"up{a="1",replica="y"}: 2@0"#],
        ),
        (asked(&["a", "b", "replica", "zone"], true, 0), vec!["up"]),
    ] {
        assert_eq!(rows(&read(&gateway, request.clone()).await.expect("an answer")), expected, "{request:?}");
    }
    // Replicas of one series are in the same shard.
    let mut found = Vec::new();
    for shard_index in 0..5 {
        let shard_info = Some(proto::ShardInfo { shard_index, total_shards: 5, by: false, labels: vec![] });
        let request = proto::SeriesRequest { shard_info, ..asked(&["replica"], false, 0) };
        let shard = rows(&read(&gateway, request).await.expect("an answer"));
        found.push(shard.iter().filter(|row| row.starts_with(r#"up{a="1"}:"#)).count());
    }
    found.sort_unstable();
    assert_eq!(found, [0, 0, 0, 0, 2]);
}

#[tokio::test]
async fn limits_and_batches_count_series() {
    let lines = forty();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let gateway = Gateway::over(&lines).await;
    let whole = rows(&read(&gateway, all(0, 0)).await.expect("an answer"));
    for (limit, batch_size, series_count, message_count) in [
        (0, 0, 40, 40),
        (0, 1, 40, 40),
        (0, 7, 40, 6),
        (0, i64::MAX, 40, 1),
        (5, 2, 5, 3),
        (40, 40, 40, 1),
        (-1, -1, 40, 40),
    ] {
        for skip_chunks in [false, true] {
            let request = proto::SeriesRequest { limit, response_batch_size: batch_size, skip_chunks, ..all(0, 0) };
            let read = read(&gateway, request).await.expect("an answer");
            let found = (read.series.len(), read.message_count);
            assert_eq!(found, (series_count, message_count), "limit {limit}, batches of {batch_size}");
            if !skip_chunks {
                assert_eq!(rows(&read), whole[..series_count]);
            }
        }
    }
}

#[tokio::test]
async fn very_many_small_series_arrive_on_one_connection() {
    let lines: Vec<String> = (0..20_000).map(|at| format!("x{{at=\"{at}\"}} 1")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let gateway = Gateway::over(&lines).await;
    for skip_chunks in [false, true] {
        let read = read(&gateway, proto::SeriesRequest { skip_chunks, ..all(0, 0) }).await.expect("an answer");
        assert_eq!((read.series.len(), read.message_count), (20_000, 20_000));
        assert!(read.series.is_sorted_by(|a, b| a.labels[1].value < b.labels[1].value));
    }
}

#[tokio::test]
async fn an_answer_that_is_larger_than_a_query_may_hold_streams_unless_it_must_be_sorted() {
    let lines: Vec<String> = (0..4_000).map(|at| format!("x{{at=\"{at}\",replica=\"a\"}} 0+{at}x239")).collect();
    let options = FakeOptions { remote_read: Some(RemoteReadOptions::default()), ..FakeOptions::default() };
    let store = super::store(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let server = FakePrometheus::start_with(store, options).await.expect("a free port");
    let config = format!("promxy:\n  server_groups:\n    - static_configs: [{{targets: [{}]}}]\n", server.target());
    let options = EngineOptions { samples_max: 700_000, ..EngineOptions::default() };
    let gateway = Gateway::connect(over_config_with(&config, options).await, vec![server]).await;
    let asked = |name: &str| proto::SeriesRequest {
        without_replica_labels: vec![name.to_owned()],
        response_batch_size: 64,
        // Of a group that may be left out nothing is sent before all of it is there.
        partial_response_strategy: proto::PartialResponseStrategy::Abort.into(),
        ..all(0, i64::MAX)
    };
    let streamed = read(&gateway, asked("nosuch")).await.expect("it need not be held");
    let sample_count: usize = streamed.series.iter().map(|series| samples_of(series).len()).sum();
    assert_eq!((streamed.series.len(), sample_count), (4_000, 960_000));
    let status = read(&gateway, asked("replica")).await.expect_err("all of it would have to be held");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn a_group_that_fails_is_a_warning_or_the_end_as_the_caller_wants_it() {
    let good = FakePrometheus::start(super::store(&THREE)).await.expect("a free port");
    let config = |second: &str| {
        format!(
            "promxy:\n  server_groups:\n    - static_configs: [{{targets: [{}]}}]\n      labels: {{region: eu}}\n    \
             - static_configs: [{{targets: [{second}]}}]\n      labels: {{region: us}}\n",
            good.target()
        )
    };
    let half = Gateway::connect(over_config(&config(&refusing_address().await)).await, Vec::new()).await;
    let warn = i32::from(proto::PartialResponseStrategy::Warn);
    let abort = i32::from(proto::PartialResponseStrategy::Abort);
    for skip_chunks in [false, true] {
        let asked = |strategy, is_disabled| proto::SeriesRequest {
            partial_response_strategy: strategy,
            partial_response_disabled: is_disabled,
            skip_chunks,
            ..all(0, 60_000)
        };
        let partial = read(&half, asked(warn, false)).await.expect("half an answer");
        assert_eq!(partial.series.len(), 3);
        assert!(partial.series.iter().all(|series| text_of(&series.labels).contains(r#"region="eu""#)));
        assert_eq!(partial.warnings.len(), 1, "{:?}", partial.warnings);
        for (strategy, is_disabled) in [(abort, false), (warn, true)] {
            let status = read(&half, asked(strategy, is_disabled)).await.expect_err("half is not enough");
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    }
    // Labels that exclude the group that is down: nobody misses it.
    let request = proto::SeriesRequest {
        matchers: vec![matcher("region=eu"), matcher("__name__=up")],
        partial_response_strategy: abort,
        ..all(0, 0)
    };
    assert_eq!(rows(&read(&half, request).await.expect("whole")), [r#"up{job="web",region="eu"}: 1@0"#]);
}

#[tokio::test]
async fn mistakes_are_told_before_anybody_is_asked() {
    let gateway = Gateway::over_groups(&[("", &THREE)]).await;
    let shard = |shard_index, total_shards, count| {
        let labels = vec!["a".to_owned(); count];
        Some(proto::ShardInfo { shard_index, total_shards, by: true, labels })
    };
    let long = "a".repeat(3 << 20);
    for (request, code, text) in [
        (proto::SeriesRequest { matchers: vec![], ..all(0, 0) }, Code::InvalidArgument, "no matchers specified"),
        (all(1, 0), Code::InvalidArgument, "max_time 0 is before min_time 1"),
        (
            proto::SeriesRequest { matchers: vec![matcher("a=~\"(\"")], ..all(0, 0) },
            Code::InvalidArgument,
            "error parsing regexp: missing closing ): `(`",
        ),
        (
            proto::SeriesRequest { shard_info: shard(2, 2, 0), ..all(0, 0) },
            Code::InvalidArgument,
            "shard_info: there is no shard 2 of 2, they are numbered from 0",
        ),
        (
            proto::SeriesRequest { shard_info: shard(0, 2, 1_000), ..all(0, 0) },
            Code::InvalidArgument,
            "shard_info: 1000 labels are named, at most 128 can be",
        ),
        (
            proto::SeriesRequest { without_replica_labels: vec!["a".to_owned(); 1_000], ..all(0, 0) },
            Code::InvalidArgument,
            "without_replica_labels: 1000 labels are named, at most 128 can be",
        ),
        (
            proto::SeriesRequest { matchers: vec![matcher(&format!("a={long}"))], ..all(0, 0) },
            Code::ResourceExhausted,
            "Error, decoded message length too large: found 3145741 bytes, the limit is: 2097152 bytes",
        ),
    ] {
        let status = read(&gateway, request).await.expect_err(text);
        assert_eq!((status.code(), status.message()), (code, text));
    }
    assert_eq!(gateway.servers[0].seen_count(RequestKind::RemoteRead), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_requests_behind_it() {
    let gateway = Gateway::over_groups(&[("", &THREE)]).await;
    let server = &gateway.servers[0];
    server.set_fault_everywhere(&Fault::Hang);
    let until = |count: usize| async move {
        while server.in_flight() != count {
            tokio::task::yield_now().await;
        }
    };
    let asked = gateway.store().series(all(0, 60_000)).await.expect("a stream").into_inner();
    tokio::time::timeout(Duration::from_secs(30), until(1)).await.expect("the server is asked");
    drop(asked);
    tokio::time::timeout(Duration::from_secs(30), until(0)).await.expect("nobody waits for it any more");
}
