//! The Query API.

use quiver::serve::grpc::thanos::proto::{self, query_range_response, query_response};
use tonic::{Code, Status};

use super::support::refusing_address;
use super::{Gateway, over_config, text_of};

const LINES: [&str; 4] = [
    r#"hits{job="api"} 0+15x40"#,
    r#"hits{job="web"} 0+30x40"#,
    "seconds {{schema:1 count:4 sum:5.5 buckets:[1 2 1]}}x40",
    "custom {{schema:-53 count:3 sum:5.5 custom_values:[1 2] buckets:[1 2]}}x40",
];

#[derive(Debug, Default)]
struct Read {
    series: Vec<proto::TimeSeries>,
    warnings: Vec<String>,
    stats: Vec<proto::QueryStats>,
    message_count: usize,
}

impl Read {
    /// `labels: value@seconds …`
    fn rows(&self) -> Vec<String> {
        let row = |series: &proto::TimeSeries| {
            let seconds = |time: i64| time as f64 / 1_000.0;
            let floats = series.samples.iter().map(|sample| format!("{}@{}", sample.value, seconds(sample.timestamp)));
            let histograms = series.histograms.iter().map(|histogram| {
                let Some(proto::histogram::Count::CountFloat(count)) = histogram.count else { panic!("a float count") };
                format!("({count}, {})@{}", histogram.sum, seconds(histogram.timestamp))
            });
            format!("{}: {}", text_of(&series.labels), floats.chain(histograms).collect::<Vec<_>>().join(" "))
        };
        self.series.iter().map(row).collect()
    }
}

async fn instant(gateway: &Gateway, request: proto::QueryRequest) -> Result<Read, Status> {
    use query_response::Result as Part;
    let mut read = Read::default();
    let mut stream = gateway.query().query(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        read.message_count += 1;
        match message.result.expect("no message is empty") {
            Part::Warnings(text) => read.warnings.push(text),
            Part::Timeseries(series) => read.series.push(series),
            Part::TimeseriesBatch(batch) => read.series.extend(batch.series),
            Part::Stats(stats) => read.stats.push(stats),
        }
    }
    Ok(read)
}

async fn range(gateway: &Gateway, request: proto::QueryRangeRequest) -> Result<Read, Status> {
    use query_range_response::Result as Part;
    let mut read = Read::default();
    let mut stream = gateway.query().query_range(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        read.message_count += 1;
        match message.result.expect("no message is empty") {
            Part::Warnings(text) => read.warnings.push(text),
            Part::Timeseries(series) => read.series.push(series),
            Part::TimeseriesBatch(batch) => read.series.extend(batch.series),
            Part::Stats(stats) => read.stats.push(stats),
        }
    }
    Ok(read)
}

fn at(query: &str, time_seconds: i64) -> proto::QueryRequest {
    proto::QueryRequest { query: query.to_owned(), time_seconds, ..Default::default() }
}

fn over(query: &str, start: i64, end: i64, interval: i64) -> proto::QueryRangeRequest {
    proto::QueryRangeRequest {
        query: query.to_owned(),
        start_time_seconds: start,
        end_time_seconds: end,
        interval_seconds: interval,
        ..Default::default()
    }
}

#[tokio::test]
async fn every_kind_of_value_has_its_messages() {
    let gateway = Gateway::over(&LINES).await;
    for (query, expected) in [
        ("sum(hits)", vec!["{}: 1800@600"]),
        ("hits > 700", vec![r#"hits{job="web"}: 1200@600"#]),
        ("sort_desc(hits)", vec![r#"hits{job="web"}: 1200@600"#, r#"hits{job="api"}: 600@600"#]),
        ("1 + 1", vec!["{}: 2@600"]),
        ("2 * seconds", vec!["{}: (8, 11)@600"]),
        ("hits{job=\"api\"}[30s]", vec![r#"hits{job="api"}: 585@585 600@600"#]),
        ("seconds[30s]", vec!["seconds: (4, 5.5)@585 (4, 5.5)@600"]),
        ("nosuch", vec![]),
    ] {
        let read = instant(&gateway, at(query, 600)).await.expect(query);
        assert_eq!(read.rows(), expected, "{query}");
        assert_eq!((read.stats.len(), read.warnings.len()), (1, 0), "{query}");
    }
    for (query, expected) in [
        ("sum by (job) (hits)", vec![r#"{job="api"}: 0@0 300@300 600@600"#, r#"{job="web"}: 0@0 600@300 1200@600"#]),
        ("hits > 500", vec![r#"hits{job="api"}: 600@600"#, r#"hits{job="web"}: 600@300 1200@600"#]),
        ("time()", vec!["{}: 0@0 300@300 600@600"]),
        ("seconds", vec!["seconds: (4, 5.5)@0 (4, 5.5)@300 (4, 5.5)@600"]),
    ] {
        let read = range(&gateway, over(query, 0, 600, 300)).await.expect(query);
        assert_eq!(read.rows(), expected, "{query}");
        assert_eq!((read.stats.len(), read.warnings.len()), (1, 0), "{query}");
    }
    let stats = instant(&gateway, at("hits[30s]", 600)).await.expect("samples").stats;
    assert!(stats[0].samples_total >= 4 && stats[0].peak_samples >= 4, "{stats:?}");
}

#[tokio::test]
async fn histograms_are_whole_field_by_field() {
    let gateway = Gateway::over(&LINES).await;
    let read = instant(&gateway, at("custom", 600)).await.expect("a histogram");
    let expected = proto::Histogram {
        count: Some(proto::histogram::Count::CountFloat(3.0)),
        sum: 5.5,
        schema: -53,
        zero_threshold: 0.0,
        zero_count: Some(proto::histogram::ZeroCount::ZeroCountFloat(0.0)),
        positive_spans: vec![proto::BucketSpan { offset: 0, length: 2 }],
        positive_counts: vec![1.0, 2.0],
        timestamp: 600_000,
        custom_values: vec![1.0, 2.0],
        ..Default::default()
    };
    let own = &read.series[0].histograms[0];
    assert_eq!(proto::Histogram { reset_hint: 0, ..own.clone() }, expected);
}

#[tokio::test]
async fn batches_lookback_and_now_are_as_asked() {
    let lines: Vec<String> = (0..25).map(|pod| format!("up{{pod=\"{pod}\"}} {pod}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let gateway = Gateway::over(&lines).await;
    // And one with the stats.
    for (response_batch_size, message_count) in [(0, 26), (1, 26), (10, 4), (i64::MAX, 2), (-1, 26)] {
        let read = instant(&gateway, proto::QueryRequest { response_batch_size, ..at("up", 60) }).await.expect("pods");
        assert_eq!((read.series.len(), read.message_count), (25, message_count), "{response_batch_size}");
        let read = range(&gateway, proto::QueryRangeRequest { response_batch_size, ..over("up", 0, 60, 60) });
        let read = read.await.expect("pods");
        assert_eq!((read.series.len(), read.message_count), (25, message_count), "{response_batch_size}");
    }
    for (lookback_delta_seconds, count) in [(0, 25), (-5, 25), (60, 0), (61, 25)] {
        let read = instant(&gateway, proto::QueryRequest { lookback_delta_seconds, ..at("up", 60) }).await;
        assert_eq!(read.expect("pods").series.len(), count, "{lookback_delta_seconds}");
    }
    // The samples are those of 1970.
    assert!(instant(&gateway, at("up", 0)).await.expect("nothing").series.is_empty());
    assert_eq!(instant(&gateway, at("timestamp(up) == 0 or vector(1)", 1)).await.expect("pods").series.len(), 26);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_mistakes_have_prometheus_texts() {
    let gateway = Gateway::over_groups(&[("      labels: {replica: a}\n", &LINES)]).await;
    let matchers = vec![proto::StoreMatchers { label_matchers: vec![] }];
    let shard_info = |total_shards| Some(proto::ShardInfo { total_shards, ..Default::default() });
    let replica_labels = vec!["replica".to_owned()];
    for (request, code, text) in [
        (
            at("up{", 1),
            Code::InvalidArgument,
            "invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces",
        ),
        (
            at("\"text\"", 1),
            Code::InvalidArgument,
            "the query is a text, which Thanos' Query API has no form for: ask over HTTP",
        ),
        (
            at("1", i64::MAX),
            Code::InvalidArgument,
            "time_seconds: 9223372036854775807 s are more than milliseconds can be counted for",
        ),
        (
            proto::QueryRequest { store_matchers: matchers, ..at("1", 1) },
            Code::InvalidArgument,
            "storeMatchers: there are no stores to choose from here, leave them out",
        ),
        (
            proto::QueryRequest { shard_info: shard_info(2), ..at("1", 1) },
            Code::InvalidArgument,
            "shard_info: a query is not evaluated in shards here, leave it out",
        ),
        (
            proto::QueryRequest { replica_labels: replica_labels.clone(), enable_dedup: true, ..at("1", 1) },
            Code::FailedPrecondition,
            "replica label \"replica\" is a label that server groups add, so their series cannot be merged in a query: put the \
             replicas into one group without that label",
        ),
    ] {
        let status = instant(&gateway, request).await.expect_err(text);
        assert_eq!((status.code(), status.message()), (code, text));
    }
    for (request, text) in [
        (over("1", 1, 0, 1), "end timestamp must not be before start time"),
        (over("1", 0, 1, 0), "zero or negative query resolution step widths are not accepted. Try a positive integer"),
        (
            over("1", i64::MIN, 1, 1),
            "start_time_seconds: -9223372036854775808 s are more than milliseconds can be counted for",
        ),
        (
            over("hits[5m]", 0, 1, 1),
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
        ),
    ] {
        let status = range(&gateway, request).await.expect_err(text);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, text));
    }
    // All of these change nothing.
    let request = proto::QueryRequest {
        shard_info: shard_info(1),
        replica_labels: vec!["other".to_owned()],
        enable_dedup: true,
        engine: 2,
        max_resolution_seconds: 300,
        query_plan: Some(proto::QueryPlan { encoding: Some(proto::query_plan::Encoding::Json(b"{".to_vec().into())) }),
        ..at("count(hits)", 600)
    };
    assert_eq!(instant(&gateway, request).await.expect("two").rows(), ["{}: 2@600"]);
    let request = proto::QueryRequest { replica_labels, enable_dedup: false, ..at("count(hits)", 600) };
    assert_eq!(instant(&gateway, request).await.expect("two").rows(), ["{}: 2@600"]);
}

#[tokio::test]
async fn a_group_that_fails_is_a_warning_or_the_end() {
    let server =
        quiver::testing::fake_prometheus::FakePrometheus::start(super::store(&LINES)).await.expect("a free port");
    let config = format!(
        "promxy:\n  server_groups:\n    - static_configs: [{{targets: [{}]}}]\n    - static_configs: [{{targets: [{}]}}]\n",
        server.target(),
        refusing_address().await
    );
    let half = Gateway::connect(over_config(&config).await, Vec::new()).await;
    let request = proto::QueryRequest { enable_partial_response: true, ..at("count(hits)", 600) };
    let partial = instant(&half, request).await.expect("half an answer");
    assert_eq!((partial.rows(), partial.warnings.len()), (vec!["{}: 2@600".to_owned()], 1), "{partial:?}");
    assert_eq!(instant(&half, at("count(hits)", 600)).await.expect_err("half").code(), Code::Unavailable);
    let status = range(&half, over("count(hits)", 0, 600, 60)).await.expect_err("half");
    assert_eq!(status.code(), Code::Unavailable);
}
