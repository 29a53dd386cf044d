//! The HTTP API as a client sees it: answers of a Prometheus and of the gateway, in one form.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A label set, by name.
pub type LabelSet = BTreeMap<String, String>;

/// What came back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// HTTP status, `errorType`, `error`.
    Failed { status: u16, error_type: String, error: String },
    /// Time in ms, and value.
    Scalar(i64, f64),
    /// Time in ms, and text.
    Text(i64, String),
    /// One sample a series, in the order of the answer.
    Vector(Vec<(LabelSet, i64, f64)>),
    /// Samples of each series, in the order of the answer.
    Matrix(Vec<(LabelSet, Vec<(i64, f64)>)>),
    /// Label names or values.
    Names(Vec<String>),
    /// Series without samples.
    LabelSets(Vec<LabelSet>),
}

/// An answer with its warnings.
#[derive(Clone, Debug)]
pub struct Answered {
    pub answer: Answer,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// A request, the same to whomever it goes.
#[derive(Clone, Debug)]
pub struct Question {
    /// Behind `/api/v1/`.
    pub path: String,
    pub parameters: Vec<(&'static str, String)>,
    /// As a form in the body, or in the URL.
    pub posted: bool,
}

impl Question {
    fn request(&self, address: &str) -> Request<Full<Bytes>> {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        let url = format!("http://{address}/api/v1/{}", self.path);
        let request = if self.posted {
            Request::post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Full::new(Bytes::from(form)))
        } else {
            Request::get(format!("{url}?{form}")).body(Full::default())
        };
        request.expect("a valid request")
    }
}

/// Asks servers. Cheap to clone.
#[derive(Clone)]
pub struct ApiClient(Client<HttpConnector, Full<Bytes>>);

impl ApiClient {
    pub fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// The answer of the server at `host:port`; panics where it is none of Prometheus' API.
    pub async fn ask(&self, address: &str, question: &Question) -> Answered {
        let response = self.0.request(question.request(address)).await.expect("the server answers");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        let body: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error} in the answer {:?}", String::from_utf8_lossy(&body)));
        let notes = |key: &str| body.get(key).map_or_else(Vec::new, texts);
        let (warnings, infos) = (notes("warnings"), notes("infos"));
        let answer = if status == 200 {
            assert_eq!(body["status"], "success");
            answer_of(&body["data"])
        } else {
            let text = |key: &str| body[key].as_str().expect("a text").to_owned();
            assert_eq!(body["status"], "error");
            Answer::Failed { status, error_type: text("errorType"), error: text("error") }
        };
        Answered { answer, warnings, infos }
    }

    /// Status, content type and body of any page; `accept` may be empty.
    pub async fn page(&self, address: &str, path: &str, accept: &str) -> (u16, String, Bytes) {
        let request = Request::get(format!("http://{address}{path}")).header("accept", accept);
        let response = self.0.request(request.body(Full::default()).expect("a valid request")).await;
        let response = response.expect("the server answers");
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let (status, content_type) = (response.status().as_u16(), content_type.unwrap_or_default().to_owned());
        (status, content_type, response.into_body().collect().await.expect("a whole body").to_bytes())
    }

    /// Status, content type and body of the answer to a remote read.
    pub async fn read(&self, address: &str, body: Vec<u8>) -> (u16, String, Bytes) {
        let request = Request::post(format!("http://{address}/api/v1/read")).body(Full::from(body));
        let response = self.0.request(request.expect("a valid request")).await.expect("the server answers");
        let status = response.status().as_u16();
        let content_type = response.headers()["content-type"].to_str().expect("a text").to_owned();
        (status, content_type, response.into_body().collect().await.expect("a whole body").to_bytes())
    }

    /// How many requests a Prometheus has answered well at a path, by its own count.
    pub async fn requests_of(&self, address: &str, path: &str) -> f64 {
        let request = Request::get(format!("http://{address}/metrics")).body(Full::default()).expect("a valid request");
        let response = self.0.request(request).await.expect("the server answers");
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        let series = format!(r#"prometheus_http_requests_total{{code="200",handler="{path}"}} "#);
        let text = String::from_utf8_lossy(&body);
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, number)
    }
}

fn answer_of(data: &Value) -> Answer {
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("scalar") => {
            let (time, text) = sample(result);
            Answer::Scalar(time, number(text))
        }
        Some("string") => {
            let (time, text) = sample(result);
            Answer::Text(time, text.to_owned())
        }
        Some("vector") => Answer::Vector(list(result).iter().map(instant_series).collect()),
        Some("matrix") => Answer::Matrix(list(result).iter().map(range_series).collect()),
        Some(other) => panic!("an unknown kind of result: {other}"),
        None if list(data).first().is_some_and(Value::is_object) => {
            Answer::LabelSets(list(data).iter().map(label_set).collect())
        }
        None => Answer::Names(texts(data)),
    }
}

fn instant_series(series: &Value) -> (LabelSet, i64, f64) {
    let (time, text) = sample(&series["value"]);
    (label_set(&series["metric"]), time, number(text))
}

fn range_series(series: &Value) -> (LabelSet, Vec<(i64, f64)>) {
    let samples = list(&series["values"]).iter().map(|pair| {
        let (time, text) = sample(pair);
        (time, number(text))
    });
    (label_set(&series["metric"]), samples.collect())
}

fn label_set(metric: &Value) -> LabelSet {
    let pairs = metric.as_object().expect("labels");
    pairs.iter().map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
}

/// `[1774994400.25,"1.5"]`
fn sample(pair: &Value) -> (i64, &str) {
    let seconds = pair[0].as_f64().expect("a time");
    ((seconds * 1_000.0).round() as i64, pair[1].as_str().expect("a value"))
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}
