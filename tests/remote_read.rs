//! Raw samples over remote read, from servers that do it well, badly, or not at all. Real sockets, no sleeps.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use prost::Message;
use quiver::config::{Auth, HttpClientConfig, Scheme, Secret, SecretSource, ServerGroupConfig};
use quiver::downstream::prometheus_proto::ReadRequest;
use quiver::downstream::{Downstream, HttpClient, SampleTimes, SelectedForm, TargetDownstream, TargetUrl};
use quiver::encode::{FRAME_BYTES, encode_xor_chunks, write_frame, write_series_frames};
use quiver::error::Error;
use quiver::model::{
    DurationMs, Labels, MatchOp, Matcher, QueryContext, QueryLimits, SamplesTable, SelectForm, SelectRequest, StepGrid,
    TimestampMs, is_stale, stale_marker,
};
use support::{Asked, Reply, Server, refusing_address};

const CHUNKS: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// `1@10 2@20`: values and times of one series.
type Series<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

fn frames(series: &[Series<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (labels, samples) in series {
        let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let chunks = encode_xor_chunks(&times, &values, 2);
        let labels = Labels::from_pairs(labels.iter().copied()).encode();
        write_series_frames(labels.as_ref(), &chunks, 0, FRAME_BYTES, &mut body);
    }
    body
}

fn chunks(series: &[Series<'_>]) -> Reply {
    Reply::Bytes(200, CHUNKS, frames(series))
}

fn is_read(asked: &Asked) -> bool {
    asked.path.ends_with("/read")
}

/// What was asked, `None` where it is no remote read, or one of nothing.
fn read_request(asked: &Asked) -> Option<quiver::downstream::prometheus_proto::Query> {
    if !is_read(asked) {
        return None;
    }
    let message = snap::raw::Decoder::new().decompress_vec(&asked.body).expect("snappy");
    ReadRequest::decode(&*message).expect("a request").queries.pop()
}

fn config_page(external_labels: &str) -> Reply {
    let yaml = format!("global:\\n  scrape_interval: 15s\\n  external_labels: {{{external_labels}}}\\n");
    Reply::json(format!(r#"{{"status":"success","data":{{"yaml":"{yaml}"}}}}"#))
}

fn strings(values: &str) -> Reply {
    Reply::json(format!(r#"{{"status":"success","data":[{values}]}}"#))
}

const BUILD_INFO: &str =
    r#"{"status":"success","data":{"version":"3.14.0","revision":"a1","branch":"HEAD","goVersion":"go1.27"}}"#;
/// What the query API says, so that it shows who was asked.
const OVER_JSON: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"__name__":"up","over":"json"},"values":[[0.020,"1"]]}]}}"#;
const HISTOGRAM_AS_JSON: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"__name__":"up"},"histograms":[[0.020,{"count":"1","sum":"1","buckets":[[0,"1","2","1"]]}]]}]}}"#;

/// A Prometheus with `external_labels: {replica: a}` that answers remote reads with `read`.
fn prometheus(asked: &Asked, read: impl FnOnce() -> Reply) -> Reply {
    match asked.path.as_str() {
        path if path.ends_with("/read") => match read_request(asked) {
            None => Reply::Bytes(200, CHUNKS, Vec::new()),
            Some(_) => read(),
        },
        path if path.ends_with("/status/config") => config_page("replica: a"),
        path if path.ends_with("/label/replica/values") => strings(""),
        path if path.ends_with("/status/buildinfo") => Reply::json(BUILD_INFO),
        path if path.ends_with("/query") || path.ends_with("/query_range") => Reply::json(OVER_JSON),
        _ => Reply::Page(404, "text/plain", "404 page not found\n".to_owned()),
    }
}

fn group() -> ServerGroupConfig {
    let http_client = HttpClientConfig { dial_timeout: Duration::from_secs(5), ..HttpClientConfig::default() };
    ServerGroupConfig { http_client, ..ServerGroupConfig::default() }
}

fn target_of(address: &str, group: &ServerGroupConfig) -> TargetDownstream {
    let client = Arc::new(HttpClient::try_new(group).expect("a good config"));
    let url = TargetUrl::try_new(Scheme::Http, address, &group.path_prefix).expect("an address");
    TargetDownstream::new(client, url, group.remote_read, &group.remote_read_path)
}

fn target(server: &Server) -> TargetDownstream {
    target_of(&server.address(), &group())
}

fn up(matchers: &[Matcher]) -> SelectRequest {
    let matchers = [&[Matcher::equal("__name__", "up")], matchers].concat();
    SelectRequest { matchers, form: SelectForm::Samples { start: TimestampMs(10), end: TimestampMs(50) } }
}

/// The rows as `{…} 1@10 2@20`; the error with which the stream ends, wherever it came.
async fn read(
    target: &TargetDownstream,
    request: &SelectRequest,
    context: &QueryContext,
) -> Result<Vec<String>, String> {
    let said = |error: Error| error.to_string();
    let mut tables = target.select(request, SampleTimes::Needed, context).await.map_err(said)?.tables;
    let mut rows = Vec::new();
    while let Some(table) = tables.next().await.transpose().map_err(said)? {
        let table = SamplesTable::try_new(&table).expect("a samples table");
        for row in 0..table.row_count() {
            let (times, values) = table.series(row);
            let samples = times.iter().zip(values).map(|(time, value)| {
                if is_stale(*value) { format!("stale@{time}") } else { format!("{value}@{time}") }
            });
            rows.push(format!("{} {}", table.labels(row), samples.collect::<Vec<_>>().join(" ")));
        }
    }
    Ok(rows)
}

async fn read_up(target: &TargetDownstream) -> Result<Vec<String>, String> {
    read(target, &up(&[]), &QueryContext::default()).await
}

fn rows(rows: &[&str]) -> Result<Vec<String>, String> {
    Ok(rows.iter().map(|row| (*row).to_owned()).collect())
}

fn reads_of(server: &Server) -> usize {
    server.all_asked().iter().filter(|asked| read_request(asked).is_some()).count()
}

const FROM_JSON: &str = r#"{__name__="up", over="json"} 1@20"#;

#[tokio::test]
async fn raw_samples_come_without_external_labels_and_with_stale_markers() {
    let server = Server::start(|asked| {
        prometheus(asked, || {
            chunks(&[
                // Outside on both ends; the series that is left empty has no row.
                (
                    &[("__name__", "up"), ("job", "a"), ("replica", "a")],
                    &[(10, 0.0), (11, 1.0), (30, stale_marker()), (50, 3.0), (51, 4.0)],
                ),
                (&[("__name__", "up"), ("job", "b"), ("replica", "a")], &[(9, 1.0), (60, 1.0)]),
                // A server that takes matchers less seriously than we do.
                (&[("__name__", "upper"), ("job", "a"), ("replica", "a")], &[(20, 1.0)]),
            ])
        })
    })
    .await;
    let target = target(&server);
    assert_eq!(target.ability(), None, "nothing is asked before the first query");
    let expected = rows(&[r#"{__name__="up", job="a"} 1@11 stale@30 3@50"#]);
    assert_eq!(read_up(&target).await, expected);
    assert_eq!(read_up(&target).await, expected);
    let ability = target.ability().expect("known by now");
    assert_eq!((ability.reads_raw(), ability.version()), (true, Some((3, 14))));
    let learning = server.all_asked().into_iter().filter(|asked| read_request(asked).is_none()).count();
    assert_eq!((reads_of(&server), learning), (2, 4), "found out once");
}

#[tokio::test]
async fn a_request_says_what_is_wanted_and_who_asks() {
    let server = Server::start(|asked| prometheus(asked, || chunks(&[]))).await;
    let secret = |text: &str| Secret::from(text);
    let mut group = group();
    group.path_prefix = "/prom".to_owned();
    group.remote_read_path = "raw/../read".to_owned();
    group.query_params = [("token".to_owned(), secret("t"))].into();
    group.http_headers = [("X-Scope-OrgID".to_owned(), secret("tenant"))].into();
    group.http_client.auth =
        Some(Auth::Basic { username: "me".to_owned(), password: SecretSource::Inline(secret("pw")) });
    let mut context = QueryContext::default();
    context.proxied_headers = Arc::from([("X-Trace".to_owned(), "7".to_owned())]);
    let matchers = [Matcher::equal("replica", "a"), Matcher::new("job", MatchOp::NotRegex, "x.*")];
    let target = target_of(&server.address(), &group);
    assert_eq!(read(&target, &up(&matchers), &context).await, Ok(vec![]));
    let asked = server.all_asked().into_iter().find(|asked| read_request(asked).is_some()).expect("a remote read");
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/prom/read"));
    assert_eq!(asked.query, [("token".to_owned(), "t".to_owned())]);
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-read-version", "0.1.0"),
        ("x-scope-orgid", "tenant"),
        ("x-trace", "7"),
        ("authorization", "Basic bWU6cHc="),
        ("accept-encoding", "identity"),
    ] {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let query = read_request(&asked).expect("as found");
    assert_eq!((query.start_timestamp_ms, query.end_timestamp_ms), (11, 50));
    let matchers: Vec<(i32, &str, &str)> =
        query.matchers.iter().map(|own| (own.r#type, own.name.as_str(), own.value.as_str())).collect();
    // The server would take replica="a" for replica="".
    assert_eq!(matchers, [(0, "__name__", "up"), (2, "replica", "a"), (3, "job", "x.*")]);
    for asked in server.all_asked() {
        assert_eq!(asked.headers.get("x-scope-orgid").map(String::as_str), Some("tenant"), "{}", asked.path);
        assert_eq!(asked.headers.get("authorization").map(String::as_str), Some("Basic bWU6cHc="), "{}", asked.path);
        assert!(asked.path.starts_with("/prom/"), "{}", asked.path);
    }
}

#[tokio::test]
async fn steps_are_answered_with_the_raw_samples_behind_them() {
    let server = Server::start(|asked| {
        prometheus(asked, || {
            chunks(&[(&[("__name__", "up"), ("replica", "a")], &[(5, 1.0), (15, 2.0), (100, 3.0), (101, 4.0)])])
        })
    })
    .await;
    let grid = StepGrid::with_count(TimestampMs(20), DurationMs(40), 3);
    let form = SelectForm::Steps { grid, lookback: DurationMs(15) };
    let request = SelectRequest { matchers: vec![Matcher::equal("__name__", "up")], form };
    let target = target(&server);
    let selected = target.select(&request, SampleTimes::StepTimes, &QueryContext::default()).await.expect("an answer");
    assert_eq!(selected.form, SelectedForm::Samples);
    assert_eq!(read(&target, &request, &QueryContext::default()).await, rows(&[r#"{__name__="up"} 2@15 3@100"#]));
}

#[tokio::test]
async fn who_has_no_remote_read_or_cannot_be_trusted_with_it_is_asked_over_json() {
    let page = |status, media_type, body: &str| Reply::Page(status, media_type, body.to_owned());
    let cases: Vec<(&str, &str, Reply, &str)> = vec![
        (
            "/read",
            "it has no remote read: answered 404 Not Found: 404 page",
            page(404, "text/plain", "404 page"),
            "json",
        ),
        ("/read", "it has no remote read: answered 405", page(405, "text/plain", ""), "json"),
        ("/read", "it has no remote read: answered 501", page(501, "text/plain", ""), "json"),
        ("/read", "it has no remote read: answered text/html", page(200, "text/html", "<html>"), "json"),
        ("/read", "it has no remote read: answered application/json", Reply::json("{}"), "json"),
        ("/read", "it refuses remote reads: answered 400", page(400, "text/plain", "unsupported path"), "json"),
        ("/read", "remote read: answered 503", page(503, "text/plain", "later"), "json"),
        ("/status/config", "its external_labels, which remote read adds", page(404, "text/plain", ""), "raw"),
        ("/status/config", "its external_labels, which remote read adds", Reply::json("<"), "raw"),
        ("/status/config", "its external_labels, which remote read adds", config_page("replica: [1]"), "raw"),
        ("/status/config", "api/v1/status/config: answered 503", page(503, "text/plain", ""), "json"),
        ("/label/replica/values", "it stores series with the value of its own", strings(r#""a","b""#), "raw"),
        ("/label/replica/values", "", strings(r#""b""#), "raw"),
        ("/label/replica/values", "api/v1/label/replica/values: answered 500", page(500, "text/plain", ""), "json"),
    ];
    for (path, why, reply, when_forced) in cases {
        let server = Server::start(move |asked| {
            if asked.path.ends_with(path) {
                return reply.clone();
            }
            prometheus(asked, || chunks(&[(&[("__name__", "up"), ("over", "raw"), ("replica", "a")], &[(20, 1.0)])]))
        })
        .await;
        for (remote_read, expected) in
            [(None, if why.is_empty() { "raw" } else { "json" }), (Some(true), when_forced), (Some(false), "json")]
        {
            let target = target_of(&server.address(), &ServerGroupConfig { remote_read, ..group() });
            let got = read_up(&target).await.expect("an answer").concat();
            assert!(got.contains(&format!("over=\"{expected}\"")), "{path} {why} {remote_read:?}: {got}");
            if remote_read.is_none() && !why.is_empty() {
                let ability = target.ability().expect("known");
                assert!(ability.why_not_raw().is_some_and(|text| text.starts_with(why)), "{ability:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_dead_server_is_an_error_as_ever() {
    let error = read_up(&target_of(&refusing_address().await, &group())).await.expect_err("nobody there");
    assert_eq!(error, "refused the connection");
}

#[tokio::test]
async fn a_broken_stream_is_an_error_and_never_a_shorter_answer() {
    let series: Vec<(String, Vec<(i64, f64)>)> =
        (100..300).map(|at| (at.to_string(), vec![(20, 1.0), (30, 2.0), (40, 3.0)])).collect();
    let labelled: Vec<[(&str, &str); 3]> =
        series.iter().map(|(job, _)| [("__name__", "up"), ("job", job.as_str()), ("replica", "a")]).collect();
    let whole: Vec<Series<'_>> =
        labelled.iter().zip(&series).map(|(labels, (_, samples))| (&labels[..], &samples[..])).collect();
    let good = frames(&whole);
    // In the middle of a frame: between two, only HTTP can tell.
    let half = &good[..good.len() / 2 + 3];
    let half_of_frames = &good[..good.len() / 2];
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (reply, text) in [
        (Reply::Bytes(200, CHUNKS, [&good, &b"expanding series: boom\n"[..]].concat()), "expanding series: boom"),
        (Reply::CutBytes(CHUNKS, half.to_vec()), "closed the connection in the middle of its answer"),
        (Reply::CutBytes(CHUNKS, half_of_frames.to_vec()), "closed the connection in the middle of its answer"),
        (Reply::CutBytes(CHUNKS, good.clone()), "closed the connection in the middle of its answer"),
        (Reply::Bytes(200, CHUNKS, half.to_vec()), "bad answer: "),
        (Reply::Bytes(200, CHUNKS, flipped), "bad answer: "),
        (Reply::Page(500, "text/plain", "boom\n".to_owned()), "answered 500 Internal Server Error: boom"),
        (Reply::Close, "closed the connection without an answer"),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::start(move |asked| prometheus(asked, || reply.clone())).await;
        let error = read_up(&target(&server)).await.expect_err("no answer");
        assert!(error.contains(text), "{}: {error}", &shown[..shown.len().min(40)]);
        assert!(
            server.all_asked().iter().all(|asked| !asked.path.ends_with("/query")),
            "the query API is not asked as well"
        );
    }
    let server = Server::start(move |asked| prometheus(asked, || Reply::Bytes(200, CHUNKS, good.clone()))).await;
    assert_eq!(read_up(&target(&server)).await.map(|rows| rows.len()), Ok(200));
}

#[tokio::test]
async fn a_request_that_is_refused_is_made_over_json() {
    for (status, reads_expected) in [(404, 1), (400, 2)] {
        let server = Server::start(move |asked| {
            prometheus(asked, || Reply::Page(status, "text/plain", "exceeded sample limit (10)\n".to_owned()))
        })
        .await;
        let target = target(&server);
        for _ in 0..2 {
            assert_eq!(read_up(&target).await, rows(&[FROM_JSON]), "{status}");
        }
        // A 404 says that there is none, whatever the answer to nothing said.
        assert_eq!(reads_of(&server), reads_expected, "{status}");
    }
}

#[tokio::test]
async fn external_labels_that_have_changed_are_learned_anew() {
    let configs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&configs);
    let server = Server::start(move |asked| match asked.path.as_str() {
        // The server's config says b from the second time on, and so do its series.
        "/api/v1/status/config" if counted.fetch_add(1, Ordering::SeqCst) > 0 => config_page("replica: b"),
        _ => prometheus(asked, || chunks(&[(&[("__name__", "up"), ("replica", "b")], &[(20, 1.0)])])),
    })
    .await;
    let target = target(&server);
    assert_eq!(read_up(&target).await, rows(&[r#"{__name__="up"} 1@20"#]));
    assert_eq!((reads_of(&server), configs.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn a_server_that_contradicts_itself_fails() {
    let server = Server::start(|asked| prometheus(asked, || chunks(&[(&[("__name__", "up")], &[(20, 1.0)])]))).await;
    let error = read_up(&target(&server)).await.expect_err("no replica label");
    assert_eq!(error, "bad answer: a series came without the server's external label \"replica\"");
    assert!(reads_of(&server) <= 3);
}

#[tokio::test]
async fn stored_labels_of_the_same_name_stay() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api/v1/label/replica/values" => strings(r#""stored""#),
        _ => prometheus(asked, || {
            chunks(&[
                (&[("__name__", "up"), ("replica", "a")], &[(20, 1.0)]),
                (&[("__name__", "up"), ("replica", "stored")], &[(20, 2.0)]),
            ])
        }),
    })
    .await;
    let expected = rows(&[r#"{__name__="up"} 1@20"#, r#"{__name__="up", replica="stored"} 2@20"#]);
    assert_eq!(read_up(&target(&server)).await, expected);
}

#[tokio::test]
async fn an_answer_out_of_order_is_sorted() {
    let server = Server::start(|asked| {
        prometheus(asked, || {
            chunks(&[
                (&[("__name__", "up"), ("job", "b"), ("replica", "a")], &[(20, 2.0)]),
                (&[("__name__", "up"), ("job", "a"), ("replica", "a")], &[(20, 1.0)]),
            ])
        })
    })
    .await;
    let expected = rows(&[r#"{__name__="up", job="a"} 1@20"#, r#"{__name__="up", job="b"} 2@20"#]);
    assert_eq!(read_up(&target(&server)).await, expected);
}

#[tokio::test]
async fn a_broken_order_that_shows_late_fails_once() {
    // More samples than a table takes, so that the first is out when the order breaks.
    let long: Vec<(i64, f64)> = (0..40_000).map(|at| (11 + at, 1.0)).collect();
    let series = ["b", "c", "d", "a"].map(|job| [("__name__", "up"), ("job", job), ("replica", "a")]);
    let body = frames(&series.each_ref().map(|labels| (&labels[..], &long[..])));
    let server = Server::start(move |asked| prometheus(asked, || Reply::Bytes(200, CHUNKS, body.clone()))).await;
    let target = target(&server);
    let request =
        SelectRequest { form: SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(1 << 40) }, ..up(&[]) };
    let context = QueryContext::default();
    let jobs = |answer: Result<Vec<String>, String>| {
        answer.map(|rows| rows.iter().map(|row| row[21..22].to_owned()).collect::<Vec<_>>().concat())
    };
    let first = jobs(read(&target, &request, &context).await);
    if first != Ok("abcd".to_owned()) {
        let error = first.expect_err("out of order");
        assert!(error.starts_with("bad answer: its series are not sorted by labels"), "{error}");
    }
    assert_eq!(jobs(read(&target, &request, &context).await), Ok("abcd".to_owned()));
}

#[tokio::test]
async fn two_series_that_only_an_external_label_told_apart_are_an_error() {
    for series in [["a", "b", "c"], ["b", "a", "c"]] {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/api/v1/label/replica/values" => strings(r#""a""#),
            // {job=…} twice: once as it is stored, once with the server's own label.
            _ => prometheus(asked, || {
                let labels = series.map(|job| [("__name__", "up"), ("job", job), ("replica", "a")]);
                let twice = [("__name__", "up"), ("job", series[0]), ("replica", "a"), ("z", "")];
                let mut all: Vec<Series<'_>> = labels.iter().map(|labels| (&labels[..], &[(20, 1.0)][..])).collect();
                all.push((&twice[..], &[(20, 2.0)][..]));
                chunks(&all)
            }),
        })
        .await;
        let forced = ServerGroupConfig { remote_read: Some(true), ..group() };
        let error = read_up(&target_of(&server.address(), &forced)).await.expect_err("one of them is lost");
        assert!(error.contains("two series are the same once the server's external labels are taken off"), "{error}");
    }
}

#[tokio::test]
async fn histograms_that_json_cannot_carry_are_read_raw_once_that_is_known() {
    let configs = AtomicUsize::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        // Not to be reached the first time.
        "/api/v1/status/config" if configs.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Close,
        "/api/v1/query" => Reply::json(HISTOGRAM_AS_JSON),
        _ => prometheus(asked, || chunks(&[(&[("__name__", "up"), ("replica", "a")], &[(20, 1.0)])])),
    })
    .await;
    assert_eq!(read_up(&target(&server)).await, rows(&[r#"{__name__="up"} 1@20"#]));
}

#[tokio::test]
async fn queries_at_once_find_out_once() {
    let server = Server::start(|asked| prometheus(asked, || chunks(&[]))).await;
    let target = target(&server);
    let answers = futures::future::join_all((0..8).map(|_| read_up(&target))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(vec![])));
    let configs = server.all_asked().iter().filter(|asked| asked.path.ends_with("/config")).count();
    assert_eq!((configs, reads_of(&server)), (1, 8));
}

/// The messages of answers, for forms that nothing here writes.
mod message {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Label {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct QueryResult {
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadResponse {
        #[prost(message, repeated, tag = "1")]
        pub results: Vec<QueryResult>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Chunk {
        #[prost(int32, tag = "3")]
        pub encoding: i32,
        #[prost(bytes, tag = "4")]
        pub data: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ChunkedSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub chunks: Vec<Chunk>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ChunkedReadResponse {
        #[prost(message, repeated, tag = "1")]
        pub chunked_series: Vec<ChunkedSeries>,
    }

    pub fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
        pairs.iter().map(|(name, value)| Label { name: (*name).to_owned(), value: (*value).to_owned() }).collect()
    }
}

fn samples(series: &[Series<'_>]) -> Reply {
    let of = |(labels, samples): &Series<'_>| message::TimeSeries {
        labels: message::labels(labels),
        samples: samples
            .iter()
            .map(|(timestamp, value)| message::Sample { value: *value, timestamp: *timestamp })
            .collect(),
    };
    let result = message::QueryResult { timeseries: series.iter().map(of).collect() };
    let message = message::ReadResponse { results: vec![result] }.encode_to_vec();
    let block = snap::raw::Encoder::new().compress_vec(&message).expect("short");
    Reply::Bytes(200, "application/x-protobuf", block)
}

fn accepts_chunks(asked: &Asked) -> bool {
    let message = snap::raw::Decoder::new().decompress_vec(&asked.body).expect("snappy");
    ReadRequest::decode(&*message).expect("a request").accepted_response_types.contains(&1)
}

const UNORDERED_SAMPLES: [Series<'static>; 3] = [
    (&[("__name__", "up"), ("job", "b"), ("replica", "a")], &[(10, 0.0), (20, 2.0)]),
    (&[("__name__", "up"), ("job", "a"), ("replica", "a")], &[(20, 1.0), (51, 1.0)]),
    (&[("__name__", "upper"), ("job", "a"), ("replica", "a")], &[(20, 1.0)]),
];

#[tokio::test]
async fn a_server_that_only_writes_samples_out_is_read_raw_all_the_same() {
    let expected = rows(&[r#"{__name__="up", job="a"} 1@20"#, r#"{__name__="up", job="b"} 2@20"#]);
    let server = Server::start(|asked| match read_request(asked) {
        None if is_read(asked) => samples(&[]),
        _ => prometheus(asked, || samples(&UNORDERED_SAMPLES)),
    })
    .await;
    assert_eq!(read_up(&target(&server)).await, expected);
    for (body, text) in [
        (b"\xff\xff\xff\xff\x0f".to_vec(), "bad answer: "),
        (b"not snappy".to_vec(), "bad answer: "),
        (Vec::new(), "bad answer: "),
    ] {
        let server =
            Server::start(move |asked| prometheus(asked, || Reply::Bytes(200, "application/x-protobuf", body.clone())))
                .await;
        let error = read_up(&target(&server)).await.expect_err("no samples");
        assert!(error.starts_with(text), "{error}");
    }
}

#[tokio::test]
async fn chunks_in_an_unknown_encoding_are_asked_for_as_samples() {
    let server = Server::start(|asked| {
        prometheus(asked, || {
            if !accepts_chunks(asked) {
                return samples(&UNORDERED_SAMPLES);
            }
            let chunks = vec![message::Chunk { encoding: 99, data: vec![0, 1, 2] }];
            let labels = message::labels(&[("__name__", "up"), ("job", "a"), ("replica", "a")]);
            let series = vec![message::ChunkedSeries { labels, chunks }];
            let mut body = Vec::new();
            write_frame(&message::ChunkedReadResponse { chunked_series: series }.encode_to_vec(), &mut body);
            Reply::Bytes(200, CHUNKS, body)
        })
    })
    .await;
    let target = target(&server);
    for reads in [2, 3] {
        let expected = rows(&[r#"{__name__="up", job="a"} 1@20"#, r#"{__name__="up", job="b"} 2@20"#]);
        assert_eq!(read_up(&target).await, expected);
        assert_eq!(reads_of(&server), reads, "remembered");
    }
}

/// More selectors than a Prometheus answers at a time, read one after the other, the last one first.
#[tokio::test]
async fn reads_that_wait_for_each_other_all_end() {
    // Tables enough to fill what is read ahead, and behind them more bytes than sockets take.
    let long: Vec<(i64, f64)> = (0..66_000).map(|at| (11 + at, 1.0)).collect();
    let series = ["a", "b", "c", "d"].map(|job| [("__name__", "up"), ("job", job), ("replica", "a")]);
    let mut body = frames(&series.each_ref().map(|labels| (&labels[..], &long[..])));
    let filler = "x".repeat(512 << 10);
    let unwanted = frames(&[(&[("__name__", "upper"), ("job", &filler), ("replica", "a")], &[(20, 1.0)])]);
    (0..24).for_each(|_| body.extend_from_slice(&unwanted));
    let places = 5;
    let read = move |asked: &Asked| prometheus(asked, || Reply::Bytes(200, CHUNKS, body.clone()));
    let server = Server::start_with_gate(places, read).await;
    let target = target(&server);
    let form = SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(1 << 40) };
    let (request, context) = (SelectRequest { form, ..up(&[]) }, QueryContext::default());
    assert_eq!(read_up(&target).await.map(|rows| rows.len()), Ok(4), "found out");
    let begun = futures::future::join_all((0..places + 2).map(|_| async {
        let mut tables = target.select(&request, SampleTimes::Needed, &context).await.expect("an answer").tables;
        // As the server group does, a task reads ahead of whoever merges.
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(table) = tables.next().await {
                if sender.send(table).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }));
    for mut tables in begun.await.into_iter().rev() {
        let mut row_count = 0;
        while let Some(table) = tables.recv().await {
            row_count += table.expect("a table").num_rows();
        }
        assert_eq!(row_count, series.len());
    }
}

/// Thirty million samples in eight megabytes, in one frame.
#[tokio::test]
async fn a_frame_that_unfolds_without_end_is_an_error_of_the_query_and_no_gigabytes() {
    let chunk_samples = 16_383;
    let mut all = Vec::new();
    for chunk in 0..2_000_i64 {
        let times: Vec<i64> = (1..=chunk_samples).map(|sample| chunk * chunk_samples + sample).collect();
        all.extend(encode_xor_chunks(&times, &vec![1.0; times.len()], usize::MAX));
    }
    let mut body = Vec::new();
    let labels = Labels::from_pairs([("__name__", "up"), ("replica", "a")]).encode();
    write_series_frames(labels.as_ref(), &all, 0, usize::MAX, &mut body);
    let server = Server::start(move |asked| prometheus(asked, || Reply::Bytes(200, CHUNKS, body.clone()))).await;
    let target = target(&server);
    let form = SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(1 << 40) };
    let request = SelectRequest { form, ..up(&[]) };
    for (samples_max, bytes_max, expected) in [
        (1_000_000, 0, "query processing would load too many samples into memory in query execution"),
        (1 << 40, 16 << 20, "query processing would use more memory than allowed in query execution (limit 16 MiB)"),
    ] {
        let limits = QueryLimits { samples_max, bytes_max };
        let context = QueryContext::with_limits(None, limits, &Arc::default());
        let error = read(&target, &request, &context).await.expect_err("too many");
        assert!(error.starts_with(expected), "{error}");
        assert_eq!((context.budget().samples(), context.budget().bytes()), (0, 0));
    }
}

#[tokio::test]
async fn a_query_that_is_dropped_ends_its_request() {
    let server = Server::start(|asked| prometheus(asked, || Reply::Hang)).await;
    let target = target(&server);
    let request = up(&[]);
    let context = QueryContext::default();
    let mut asking = Box::pin(target.select(&request, SampleTimes::Needed, &context));
    let server_is_asked = async {
        while reads_of(&server) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut asking => panic!("nobody answers"),
        () = server_is_asked => {}
    }
    drop(asking);
    server.hung_up.notified().await;
}
