//! What a promxy sends to its downstreams, request by request, and whether it could read the answers.
//!
//! Source: promxy's pkg/promapi and pkg/promclient: queries are POST forms whose times are seconds with decimals; lists are
//! POST forms with a GET for servers that answer 405 or 501, or plain GETs in newer versions; raw samples are an instant query
//! of a range, or a remote read without hints. Its reader of queries looks at no HTTP status: `"status":"error"` is the only
//! failure that it knows, and a time in milliseconds is the product of the number and 1000, cut off.

use std::collections::BTreeMap;
use std::io::Read;

use quiver::model::Labels;
use quiver::query::EngineOptions;
use quiver::serve::http::ApiOptions;
use quiver::testing::fake_prometheus::FakePrometheus;
use serde_json::{Value, json};

use super::client::{Answer, CHUNKS, EQ, NEQ, PROMETHEUS_HEADERS, SAMPLES, ask, matcher, query, read_request};
use super::gateway::{Gateway, config_of, prometheus, store};

/// What Go's client says without being told.
const GO_HEADERS: [(&str, &str); 2] = [("user-agent", "Go-http-client/1.1"), ("accept-encoding", "gzip")];
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Go's two ends of time, as its clients write them.
const FIRST_SECOND: &str = "-9223309901257974";
const LAST_SECOND: &str = "9223309901257974";

struct Stage {
    _servers: Vec<FakePrometheus>,
    gateway: Gateway,
}

/// The data of promxy's own trials: `a` in both groups, `b` in one.
async fn stage() -> Stage {
    let east = [
        r#"a{i="1",j="x"} 1+1x100"#,
        r#"a{i="2",j="x"} 2+2x100"#,
        r#"b{i="1"} 5x100"#,
        r#"odd{v="nan"} NaNx100"#,
        r#"odd{v="inf"} Infx100"#,
        r#"odd{v="-inf"} -Infx100"#,
        r#"h {{schema:0 count:3 sum:5 buckets:[1 2]}}x100"#,
    ];
    let west = [r#"a{i="1",j="y"} 3+3x100"#, r#"turns 1 2 {{schema:0 count:3 sum:5 buckets:[1 2]}}x100"#];
    let servers = vec![
        prometheus(store(&east), true, Labels::from_pairs([("replica", "a")])).await,
        prometheus(store(&west), true, Labels::default()).await,
    ];
    let groups: Vec<Vec<String>> = servers.iter().map(|server| vec![server.target()]).collect();
    let gateway = Gateway::over_groups(&config_of(&groups, ""), EngineOptions::default(), ApiOptions::default()).await;
    Stage { _servers: servers, gateway }
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Stage {
    async fn send(&self, path: &str, more: Option<(&str, &str)>, body: Option<String>) -> Answer {
        let headers: Vec<_> = GO_HEADERS.into_iter().chain(more).collect();
        let mut answer = ask(&self.gateway.address, path, &headers, body.map(String::into_bytes)).await;
        if answer.header("content-encoding") == "gzip" {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).expect("whole");
            answer.body = plain.into();
        }
        answer
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.send(&format!("/api/v1/{path}"), Some(FORM), Some(form(pairs))).await
    }

    async fn get(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.send(&format!("/api/v1/{path}?{}", form(pairs)), None, None).await
    }
}

/// A number or, of a histogram, count, sum and the upper bounds of its buckets.
#[derive(Clone, PartialEq, Debug)]
enum Point {
    Float(f64),
    Histogram(f64, f64, Vec<f64>),
}

type Series = BTreeMap<String, Vec<(i64, Point)>>;

/// A query, its time, and what comes of it.
type Case = (&'static str, &'static str, &'static [(&'static str, f64)]);

/// Reads an answer as promxy reads it; the error is `type: text`.
fn series_of(answer: &Answer) -> Result<Series, String> {
    let body: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("bad_response: {error}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if body["status"] == "error" {
        return Err(format!("{}: {}", text(&body["errorType"]), text(&body["error"])));
    }
    let result = &body["data"]["result"];
    let rows = |key: &str, many: &str| {
        let items = result.as_array().expect("a list").iter();
        let rows = items.map(|item| {
            let mut points = Vec::new();
            points.extend(item.get(key).map(|pair| point(pair, false)));
            points.extend(
                item.get(many)
                    .into_iter()
                    .flat_map(|all| all.as_array().expect("a list"))
                    .map(|pair| point(pair, false)),
            );
            let histograms = [("histogram", true), ("histograms", false)];
            for (key, is_one) in histograms {
                match item.get(key) {
                    Some(pair) if is_one => points.push(point(pair, true)),
                    Some(pairs) => {
                        points.extend(pairs.as_array().expect("a list").iter().map(|pair| point(pair, true)))
                    }
                    None => {}
                }
            }
            points.sort_by_key(|(time, _)| *time);
            (labels(&item["metric"]), points)
        });
        rows.collect::<Series>()
    };
    match body["data"]["resultType"].as_str() {
        Some("vector") => Ok(rows("value", "")),
        Some("matrix") => Ok(rows("", "values")),
        Some("scalar") => Ok(Series::from([(String::new(), vec![point(result, false)])])),
        Some("string") => Ok(Series::new()),
        other => Err(format!("unknown result type {other:?}")),
    }
}

fn labels(metric: &Value) -> String {
    let pairs = metric.as_object().expect("labels").iter();
    pairs.map(|(name, value)| format!("{name}={}", value.as_str().expect("text"))).collect::<Vec<_>>().join(",")
}

fn point(pair: &Value, is_histogram: bool) -> (i64, Point) {
    let number = |value: &Value| value.as_str().expect("a number as text").parse::<f64>().expect("a number");
    let time = (pair[0].as_f64().expect("a time") * 1_000.0) as i64;
    if !is_histogram {
        return (time, Point::Float(number(&pair[1])));
    }
    let buckets = pair[1].get("buckets").map_or(&[][..], |buckets| buckets.as_array().expect("a list"));
    let uppers = buckets.iter().map(|bucket| number(&bucket[2])).collect();
    (time, Point::Histogram(number(&pair[1]["count"]), number(&pair[1]["sum"]), uppers))
}

fn strings(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["status"], "success");
    body["data"].as_array().expect("a list").iter().map(|item| item.as_str().expect("text").to_owned()).collect()
}

fn floats(series: &Series) -> Vec<(&str, Vec<(i64, f64)>)> {
    let numbers = |points: &[(i64, Point)]| {
        let number = |(time, point): &(i64, Point)| match point {
            Point::Float(value) => (*time, *value),
            Point::Histogram(..) => panic!("a histogram"),
        };
        points.iter().map(number).collect()
    };
    series.iter().map(|(labels, points)| (labels.as_str(), numbers(points))).collect()
}

#[tokio::test]
async fn instant_queries_are_forms_with_seconds_and_decimals() {
    let stage = stage().await;
    // What promxy makes of `sum(a)`, `count(a)`, `max(a) > 1`, `topk`, calls, literals and selectors.
    let cases: [Case; 10] = [
        ("sum(a)", "300", &[("", 31.0 + 62.0 + 93.0)]),
        ("count by (i) (a)", "300.000", &[("i=1", 2.0), ("i=2", 1.0)]),
        ("max(a) > 1", "300.001", &[("", 93.0)]),
        ("topk(1, a)", "300", &[("__name__=a,dc=d1,i=1,j=y", 93.0)]),
        ("sum(rate(a[5m]))", "300.5", &[("", 0.6)]),
        (r#"count_values("v", b)"#, "300", &[("v=5", 1.0)]),
        ("scalar(b)", "300", &[("", 5.0)]),
        ("1", "300", &[("", 1.0)]),
        ("label_replace(b, \"k\", \"$1\", \"i\", \"(.*)\")", "300", &[("__name__=b,dc=d0,i=1,k=1", 5.0)]),
        (r#"{__name__="b",i!="2",i=~"1|3"}"#, "300", &[("__name__=b,dc=d0,i=1", 5.0)]),
    ];
    for (query, time, expected) in cases {
        let answer = stage.post("query", &[("query", query), ("time", time)]).await;
        let series = series_of(&answer).unwrap_or_else(|error| panic!("{query}: {error}"));
        let asked = (time.parse::<f64>().expect("a number") * 1_000.0) as i64;
        let got = floats(&series);
        assert_eq!(got.len(), expected.len(), "{query}: {got:?}");
        for ((labels, points), (wanted, value)) in got.iter().zip(expected) {
            assert_eq!((labels, points.len(), points[0].0), (wanted, 1, asked), "{query}");
            assert!((points[0].1 - value).abs() < 1e-9, "{query}: {points:?}");
        }
    }
    assert_eq!(series_of(&stage.post("query", &[("query", "\"text\""), ("time", "300")]).await), Ok(Series::new()));
    // Without a time it is now, where nothing is.
    assert_eq!(series_of(&stage.post("query", &[("query", "a")]).await), Ok(Series::new()));
}

#[tokio::test]
async fn times_finer_than_a_millisecond_are_rounded() {
    let stage = stage().await;
    for (time, expected_ms) in
        [("300.0004999", 300_000), ("300.0005001", 300_001), ("1435781430.781", 1_435_781_430_781), ("-1.5", -1_500)]
    {
        let answer = stage.post("query", &[("query", "time()"), ("time", time)]).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let got = body["data"]["result"][0].as_f64().expect("a time");
        assert_eq!((got * 1_000.0).round() as i64, expected_ms, "{time}");
    }
}

#[tokio::test]
async fn range_queries_are_forms_with_a_step_in_seconds() {
    let stage = stage().await;
    let pairs = |query, start, end, step| [("query", query), ("start", start), ("end", end), ("step", step)];
    let answer = stage.post("query_range", &pairs("sum(a)", "300", "360", "30")).await;
    let series = series_of(&answer).expect("an answer");
    assert_eq!(floats(&series), [("", vec![(300_000, 186.0), (330_000, 204.0), (360_000, 222.0)])]);
    // Subqueries are fetched on their own grid; a step need not be whole.
    let answer = stage.post("query_range", &pairs("b", "300.25", "301.5", "0.5")).await;
    let expected = vec![(300_250, 5.0), (300_750, 5.0), (301_250, 5.0)];
    assert_eq!(floats(&series_of(&answer).expect("an answer")), [("__name__=b,dc=d0,i=1", expected)]);
    for (pairs, expected) in [
        (pairs("a", "0", "1000000", "1"), "bad_data: exceeded maximum resolution of 11,000 points per timeseries"),
        (
            pairs("a", "10", "5", "1"),
            "bad_data: invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            pairs("a", "0", "10", "0"),
            "bad_data: invalid parameter \"step\": zero or negative query resolution step widths",
        ),
    ] {
        let error = series_of(&stage.post("query_range", &pairs).await).expect_err("refused");
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn numbers_that_are_none_come_as_texts_and_histograms_with_their_buckets() {
    let stage = stage().await;
    let answer = stage.post("query", &[("query", "odd"), ("time", "300")]).await;
    let series = series_of(&answer).expect("an answer");
    let values: Vec<f64> = floats(&series).into_iter().map(|(_, points)| points[0].1).collect();
    assert!(values[0] == f64::NEG_INFINITY && values[1] == f64::INFINITY && values[2].is_nan(), "{values:?}");

    let histogram = Point::Histogram(3.0, 5.0, vec![1.0, 2.0]);
    let answer = stage.post("query", &[("query", "h"), ("time", "300")]).await;
    let expected = vec![(300_000, histogram.clone())];
    assert_eq!(series_of(&answer), Ok(Series::from([("__name__=h,dc=d0".to_owned(), expected)])));
    let pairs = [("query", "turns"), ("start", "0"), ("end", "20"), ("step", "10")];
    let series = series_of(&stage.post("query_range", &pairs).await).expect("an answer");
    let expected = vec![(0, Point::Float(1.0)), (10_000, Point::Float(2.0)), (20_000, histogram)];
    assert_eq!(series, Series::from([("__name__=turns,dc=d1".to_owned(), expected)]));
}

#[tokio::test]
async fn raw_samples_are_an_instant_query_of_a_range() {
    let stage = stage().await;
    let query = r#"{__name__="a",i="2"}[31s]"#;
    let answer = stage.post("query", &[("query", query), ("time", "300")]).await;
    let expected = vec![(270_000, 56.0), (280_000, 58.0), (290_000, 60.0), (300_000, 62.0)];
    assert_eq!(floats(&series_of(&answer).expect("an answer")), [("__name__=a,dc=d0,i=2,j=x", expected)]);
}

#[tokio::test]
async fn raw_samples_are_a_remote_read_without_hints() {
    let stage = stage().await;
    let matchers = [matcher(EQ, "__name__", "a"), matcher(NEQ, "i", "1")];
    let query = query(&matchers, 270_000, 300_000);
    let headers = [&PROMETHEUS_HEADERS[..], &[("user-agent", "Prometheus/3.5.0")]].concat();
    let row = r#"a{dc="d0", i="2", j="x"} 56@270 58@280 60@290 62@300"#;
    // Old versions accept samples alone, new ones chunks first.
    for accepted in [&[][..], &[SAMPLES], &[CHUNKS, SAMPLES]] {
        let body = read_request(std::slice::from_ref(&query), accepted);
        let answer = ask(&stage.gateway.address, "/api/v1/read", &headers, Some(body)).await;
        let rows = if accepted.first() == Some(&CHUNKS) {
            answer.chunk_rows().remove(&0).expect("rows")
        } else {
            answer.sample_rows()
        };
        assert_eq!(rows, [row], "{accepted:?}");
    }
}

#[tokio::test]
async fn failures_are_envelopes_whatever_the_status() {
    let stage = stage().await;
    let answer = stage.post("query", &[("query", "a{"), ("time", "300")]).await;
    assert_eq!(answer.status, 400);
    let error = series_of(&answer).expect_err("no query");
    assert!(error.starts_with("bad_data: invalid parameter \"query\": 1:3: parse error"), "{error}");
    let answer = stage.post("query", &[("query", "a"), ("time", "soon")]).await;
    assert!(series_of(&answer).expect_err("no time").starts_with("bad_data: invalid parameter \"time\""));
    let answer = stage.post("query", &[("query", "a * on (j) b"), ("time", "300")]).await;
    assert_eq!(series_of(&answer), Ok(Series::new()));
    let answer = stage.post("query", &[("query", "a * on () b"), ("time", "300")]).await;
    let error = series_of(&answer).expect_err("many to one");
    assert!(answer.status == 422 && error.starts_with("execution: "), "{error}");
}

#[tokio::test]
async fn lists_are_forms_with_a_get_to_fall_back_to() {
    let stage = stage().await;
    let always: &[(&str, &str)] = &[("start", FIRST_SECOND), ("end", LAST_SECOND)];
    let ends = [&[][..], always, &[("start", "0"), ("end", "1000.5")]];
    for times in ends {
        let with = |pairs: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
            let times: Vec<(&'static str, &'static str)> = match times.first() {
                None => vec![],
                Some((_, FIRST_SECOND)) => vec![("start", FIRST_SECOND), ("end", LAST_SECOND)],
                Some(_) => vec![("start", "0"), ("end", "1000.5")],
            };
            [pairs.to_vec(), times].concat()
        };
        let names = ["__name__", "dc", "i", "j", "v"];
        assert_eq!(strings(&stage.post("labels", &with(&[])).await), names, "{times:?}");
        assert_eq!(strings(&stage.get("labels", &with(&[])).await), names);
        let of_b = with(&[("match[]", r#"{__name__="b"}"#)]);
        assert_eq!(strings(&stage.post("labels", &of_b).await), ["__name__", "dc", "i"]);
        let values = stage.get("label/j/values", &with(&[("match[]", r#"{__name__="a"}"#)])).await;
        assert_eq!(strings(&values), ["x", "y"]);
        assert_eq!(strings(&stage.get("label/__name__/values", &with(&[])).await), ["a", "b", "h", "odd", "turns"]);
        for answer in [stage.post("series", &of_b).await, stage.get("series", &of_b).await] {
            let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!((answer.status, &body["data"]), (200, &json!([{"__name__": "b", "dc": "d0", "i": "1"}])));
        }
    }
    // An empty selector is a mistake, as it is to Prometheus, and no question about everything.
    for (path, text) in [
        ("labels", "unknown position: parse error: unexpected end of input"),
        ("series", "invalid parameter \"match[]\": unknown position: parse error: unexpected end of input"),
    ] {
        let answer = stage.post(path, &[("match[]", "")]).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((answer.status, &body["errorType"]), (400, &json!("bad_data")), "{path}: {body}");
        assert!(body["error"].as_str().expect("text").ends_with(text), "{path}: {body}");
    }
    let answer = stage.post("series", &[]).await;
    assert_eq!((answer.status, answer.text().contains("no match[] parameter provided")), (400, true));
}

#[tokio::test]
async fn metadata_is_a_get_with_empty_parameters() {
    let stage = stage().await;
    for pairs in [&[("limit", ""), ("metric", "")][..], &[], &[("limit", "10")], &[("metric", "a")]] {
        let answer = stage.get("metadata", pairs).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((answer.status, &body["status"]), (200, &json!("success")), "{pairs:?}: {body}");
        assert!(body["data"].is_object());
    }
}

#[tokio::test]
async fn no_form_is_ever_answered_with_a_status_that_means_try_get() {
    let stage = stage().await;
    for path in ["query", "query_range", "labels", "series", "query_exemplars"] {
        let answer =
            stage.post(path, &[("query", "a"), ("match[]", "a"), ("start", "0"), ("end", "10"), ("step", "5")]).await;
        assert!(![405, 501].contains(&answer.status), "{path}: {}", answer.status);
    }
    let exemplars = stage.post("query_exemplars", &[("query", "a"), ("start", "0"), ("end", "10")]).await;
    let body: Value = serde_json::from_slice(&exemplars.body).expect("JSON");
    assert_eq!((exemplars.status, &body["status"], &body["data"]), (200, &json!("success"), &json!([])));
}
