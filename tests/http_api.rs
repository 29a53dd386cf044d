//! The HTTP API, request by request: each `tests/http_api/*.http` holds cases of a request and its whole answer.
//!
//! ```text
//! ### what the case shows
//! @server lifecycle            which server is asked; default: `plain`
//! GET /api/v1/labels
//! Origin: http://example.org   headers of the request
//!
//! limit=1                      body of the request, if any
//! ---
//! 200
//! vary: Origin                 headers that the answer must have; `!name` must be absent
//!
//! {"status":"success"}         the whole body; `~ REGEX` where it cannot be foretold
//! ```
//!
//! `UPDATE=1 cargo test --test http_api` writes status, header values and body as they are now: review the diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use futures::StreamExt;
use quiver::error::{Error, ErrorKind};
use quiver::model::{
    Annotation, DurationMs, Exemplar, ExemplarSet, Labels, MetadataRequest, MetricMetadata, ProcessBudget,
    QueryContext, SeriesStream, TimestampMs,
};
use quiver::query::{EngineOptions, QueryEngine};
use quiver::scan::{ScanRequest, SelectorForm, SeriesSource};
use quiver::serve::http::{ApiOptions, ApiState, ConfigStatus, CorsOrigin, LifecycleRequest, router};
use quiver::testing::MemoryStore;
use tower::ServiceExt;

/// A store, and for those who ask for label `fault` what it says: an error, a warning, a panic.
#[derive(Debug)]
struct Source(MemoryStore);

impl Source {
    /// Acts on `match[]={fault="…"}`.
    fn fault(request: &MetadataRequest, context: &QueryContext) -> Result<(), Error> {
        for matcher in request.selectors.iter().flatten().filter(|matcher| matcher.name == "fault") {
            context.annotations.add(Annotation::warning("server group \"eu\": 1 of 2 replicas answered"));
            match matcher.value.as_str() {
                "unavailable" => return Err(Error::new(ErrorKind::Unavailable, "server group \"eu\": no answer")),
                "timeout" => return Err(Error::new(ErrorKind::Timeout, "query timed out")),
                "panic" => panic!("a defect, provoked by a test"),
                _ => {}
            }
        }
        Ok(())
    }

    /// The request without what only this source understands.
    fn without_fault(request: &MetadataRequest) -> MetadataRequest {
        let mut request = request.clone();
        for selector in &mut request.selectors {
            selector.retain(|matcher| matcher.name != "fault");
        }
        request
    }
}

#[async_trait]
impl SeriesSource for Source {
    fn part_names(&self) -> Vec<String> {
        self.0.part_names()
    }

    fn selector_form(&self) -> SelectorForm {
        self.0.selector_form()
    }

    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        let asked =
            MetadataRequest { selectors: vec![scan.select.matchers.clone()], start: None, end: None, limit: None };
        if let Err(error) = Self::fault(&asked, context) {
            return vec![futures::stream::iter([Err(error)]).boxed()];
        }
        let mut scan = scan.clone();
        scan.select.matchers = Self::without_fault(&asked).selectors.remove(0);
        self.0.open(&scan, context)
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        Self::fault(request, context)?;
        self.0.label_names(&Self::without_fault(request), context).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.0.label_values(name, request, context).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.0.series(request, context).await
    }

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        Self::fault(request, context)?;
        self.0.exemplars(&Self::without_fault(request), context).await
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.0.metric_metadata(metric, context).await
    }
}

fn source() -> Source {
    let store = MemoryStore::new();
    let lines = [
        r#"up{job="a",instance="1"} 1 1 1 0 1"#,
        r#"up{job="a",instance="2"} 1 _ _ 1 1"#,
        r#"http_requests_total{job="b",code="200"} 0+10x4"#,
        r#"http_requests_total{job="b",code="500"} 0+1x4"#,
        r#"{"http.status"="x<y>&\"z\"", job="utf8"} 1"#,
    ];
    store.load(&lines, TimestampMs(0), DurationMs(60_000)).expect("valid series");
    for index in 0..100 {
        let labels = Labels::from_pairs([("__name__", "many".to_owned()), ("index", format!("{index:03}"))]);
        store.append(&labels, TimestampMs(0), f64::from(index)).expect("new series");
    }
    let metadata = |metric_type: &str, help: &str| MetricMetadata {
        metric_type: metric_type.to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    };
    for (series, trace, value, ms) in [
        ("a", "x<1>", 0.25, 60_500),
        ("a", "x2", 1e21, 120_000),
        ("b", "x3", f64::INFINITY, 180_001),
        ("b", "", 3.0, 240_000),
    ] {
        let series = Labels::from_pairs([("__name__", "latency_bucket"), ("job", series), ("le", "+Inf")]);
        let labels = Labels::from_pairs([("trace_id", trace)]);
        let exemplar = Exemplar { labels, value, timestamp: TimestampMs(ms) };
        store.append_exemplar(0, &series, exemplar).expect("part 0");
    }
    store.set_metadata("up", vec![metadata("gauge", "Is it up?"), metadata("gauge", "Is it up & well?")]);
    store.set_metadata("http_requests_total", vec![metadata("counter", "Requests.")]);
    Source(store)
}

/// The servers that cases can name.
fn server(name: &str) -> Router {
    let cors_origin = CorsOrigin::try_new("https?://.*\\.example\\.org").expect("a pattern");
    let mut options = ApiOptions { cors_origin: Some(cors_origin), ..ApiOptions::default() };
    options.flags.insert("config".to_owned(), "quiver.yml".to_owned());
    options.examples.push(("a < b".to_owned(), "/api/v1/query?query=a<b&time=1".to_owned()));
    match name {
        "prefixed" => options.route_prefix = "/prom/q".to_owned(),
        "lifecycle" => options.lifecycle = Some(lifecycle()),
        _ => {}
    }
    let mut engine = EngineOptions::default();
    if name == "gated" {
        engine.features.experimental_functions = true;
        engine.features.binop_fill_modifiers = true;
    }
    let mut external_labels = Labels::default();
    if name == "federating" {
        // Cases are asked now, about samples of 1970.
        engine.lookback = DurationMs(1_000 * 365 * 86_400_000);
        external_labels = Labels::from_pairs([("job", "gateway"), ("re.gion", "eu")]);
    }
    let state = ApiState::new(QueryEngine::new(Arc::new(source()), engine), options);
    let loaded_at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_435_781_430);
    let yaml = "global: {}\n".to_owned();
    state.set_config(ConfigStatus { yaml, external_labels, last_load_succeeded: true, loaded_at });
    state.set_ready(name != "stopping");
    router(state)
}

/// Refuses every other reload.
fn lifecycle() -> tokio::sync::mpsc::Sender<LifecycleRequest> {
    let (sender, mut requests) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut outcomes = [Ok(()), Err("quiver.yml:3:1: no".to_owned())].into_iter().cycle();
        while let Some(request) = requests.recv().await {
            if let LifecycleRequest::Reload(answer) = request {
                answer.send(outcomes.next().expect("endless")).expect("the client waits");
            }
        }
    });
    sender
}

#[derive(Debug, Default)]
struct Case {
    title: String,
    server: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    status: u16,
    expected_headers: Vec<(String, Option<String>)>,
    expected_body: String,
}

fn parse_cases(text: &str) -> Vec<Case> {
    text.split("### ").skip(1).map(parse_case).collect()
}

fn parse_case(text: &str) -> Case {
    let (title, rest) = text.split_once('\n').expect("a title");
    let (request, answer) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{title}: no answer"));
    let mut case = Case { title: title.to_owned(), server: "plain".to_owned(), ..Case::default() };
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    case.body = body.trim_end().to_owned();
    for line in head.lines() {
        if let Some(server) = line.strip_prefix("@server ") {
            case.server = server.to_owned();
        } else if case.method.is_empty() {
            let (method, target) = line.split_once(' ').expect("method and target");
            (case.method, case.target) = (method.to_owned(), target.to_owned());
        } else {
            let (name, value) = line.split_once(": ").expect("a header");
            case.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    case.expected_body = body.trim_end().to_owned();
    let mut lines = head.lines();
    case.status = lines.next().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{title}: no status"));
    for line in lines.filter(|line| !line.is_empty()) {
        case.expected_headers.push(match (line.strip_prefix('!'), line.split_once(": ")) {
            (Some(name), _) => (name.to_owned(), None),
            (None, Some((name, value))) => (name.to_owned(), Some(value.to_owned())),
            (None, None) => panic!("{title}: {line:?} is no header"),
        });
    }
    case
}

/// Percent-encodes what cannot stand in a URL, so that cases can be read.
fn encode_target(target: &str) -> String {
    let mut encoded = String::new();
    for byte in target.bytes() {
        match byte {
            b'"' | b'{' | b'}' | b'<' | b'>' | b' ' | b'|' | b'^' | b'`' | b'\\' | 0x80.. => {
                write!(encoded, "%{byte:02X}").expect("a String takes everything");
            }
            byte => encoded.push(char::from(byte)),
        }
    }
    encoded
}

async fn ask(case: &Case, router: Router) -> (u16, HeaderMap, String) {
    let mut request = Request::builder().method(case.method.as_str()).uri(encode_target(&case.target));
    for (name, value) in &case.headers {
        request = request.header(name, value);
    }
    if !case.body.is_empty() && !case.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    let request = request.body(Body::from(case.body.clone())).expect("a request");
    let response = router.oneshot(request).await.expect("routers do not fail");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 10_000_000).await.expect("a whole body");
    (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).trim_end().to_owned())
}

/// The answer in the form of the file, with only the headers that the case asks about.
fn answer_text(case: &Case, status: u16, headers: &HeaderMap, body: &str) -> String {
    let mut text = format!("{status}\n");
    for (name, _) in &case.expected_headers {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        match values.is_empty() {
            true => writeln!(text, "!{name}"),
            false => writeln!(text, "{name}: {}", values.join(", ")),
        }
        .expect("a String takes everything");
    }
    if !body.is_empty() {
        write!(text, "\n{body}\n").expect("a String takes everything");
    }
    text
}

fn body_matches(expected: &str, body: &str) -> bool {
    match expected.strip_prefix("~ ") {
        Some(pattern) => regex::Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern").is_match(body),
        None => expected == body,
    }
}

#[tokio::test]
async fn answers_are_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_api");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let update = std::env::var_os("UPDATE").is_some();
    let mut failures = String::new();
    let mut case_count = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "http")) {
        let text = std::fs::read_to_string(file).expect("a readable file");
        let mut updated = text.clone();
        let mut servers: BTreeMap<String, Router> = BTreeMap::new();
        for case in parse_cases(&text) {
            case_count += 1;
            let router = servers.entry(case.server.clone()).or_insert_with(|| server(&case.server)).clone();
            let (status, headers, body) = ask(&case, router).await;
            let expected_body = &case.expected_body;
            let shown_body = if body_matches(expected_body, &body) { expected_body } else { &body };
            let actual = answer_text(&case, status, &headers, shown_body);
            let expected = expected_text(&case);
            if actual != expected {
                let name = file.file_name().expect("a name").to_string_lossy();
                write!(
                    failures,
                    "{name}: {}\n{} {}\nexpected:\n{expected}\ngot:\n{actual}\n",
                    case.title, case.method, case.target
                )
                .expect("a String takes everything");
                updated = replace_answer(&updated, &case.title, &actual);
            }
        }
        if update {
            std::fs::write(file, updated).expect("a writable file");
        }
    }
    assert!(case_count > 50, "only {case_count} cases were found");
    assert!(update || failures.is_empty(), "{failures}");
}

fn expected_text(case: &Case) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in &case.expected_headers {
        if let Some(value) = value {
            let name: HeaderName = name.parse().expect("a header name");
            headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
    }
    answer_text(case, case.status, &headers, &case.expected_body)
}

/// Puts `answer` behind the `---` of the case with this title.
fn replace_answer(text: &str, title: &str, answer: &str) -> String {
    let start = text.find(&format!("### {title}\n")).expect("the case");
    let answer_start = start + text[start..].find("\n---\n").expect("an answer") + "\n---\n".len();
    let end = text[answer_start..].find("### ").map_or(text.len(), |at| answer_start + at);
    let separator = if end == text.len() { "" } else { "\n" };
    format!("{}{answer}{separator}{}", &text[..answer_start], &text[end..])
}

async fn send(router: Router, request: Request<Body>) -> Response<Body> {
    router.oneshot(request).await.expect("routers do not fail")
}

#[tokio::test]
async fn long_answers_are_compressed_when_asked() {
    let ask = |encoding: Option<&'static str>, target: &'static str| async move {
        let mut request = Request::get(target);
        if let Some(encoding) = encoding {
            request = request.header("accept-encoding", encoding);
        }
        let response = send(server("plain"), request.body(Body::empty()).expect("a request")).await;
        let encoding = response.headers().get("content-encoding").cloned();
        (encoding, axum::body::to_bytes(response.into_body(), 1_000_000).await.expect("a body"))
    };
    let long = "/api/v1/series?match[]=many";
    let (encoding, plain) = ask(None, long).await;
    assert_eq!(encoding, None);
    assert!(plain.len() > 1_024);
    let (encoding, compressed) = ask(Some("gzip"), long).await;
    assert_eq!(encoding.as_ref().map(HeaderValue::as_bytes), Some(&b"gzip"[..]));
    assert!(compressed.len() < plain.len() / 2);
    let mut unpacked = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(&compressed[..]), &mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain);
    assert_eq!(ask(Some("gzip"), "/api/v1/labels").await.0, None, "short answers stay as they are");
}

#[tokio::test]
async fn forms_beyond_the_limit_are_refused_before_they_are_read() {
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'a'; 65_536])));
    let request = Request::post("/api/v1/labels")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from_stream(endless))
        .expect("a request");
    let response = send(server("plain"), request).await;
    assert_eq!(response.status(), 400);
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    assert!(body.contains("error parsing form values: the body is larger than 2097152 bytes"), "{body}");
}

#[tokio::test]
async fn what_was_asked_is_counted_by_route() {
    let server = server("plain");
    for target in ["/api/v1/label/job/values", "/api/v1/label/code/values", "/no/such/path"] {
        send(server.clone(), Request::get(target).body(Body::empty()).expect("a request")).await;
    }
    let response = send(server, Request::get("/metrics").body(Body::empty()).expect("a request")).await;
    let page = axum::body::to_bytes(response.into_body(), 1_000_000).await.expect("a body");
    let page = String::from_utf8(page.to_vec()).expect("UTF-8");
    for line in [
        r#"prometheus_http_requests_total{handler="/api/v1/label/{name}/values",code="200"} 2"#,
        r#"prometheus_http_requests_total{handler="not_found",code="404"} 1"#,
    ] {
        assert!(page.lines().any(|own| own == line), "{line} in\n{page}");
    }
    assert!(!page.contains("/no/such/path"));
}

/// Answers when it is told to, and tells what happens to those who ask.
#[derive(Debug)]
struct SlowSource {
    events: tokio::sync::mpsc::UnboundedSender<String>,
    release: Arc<tokio::sync::Semaphore>,
}

struct TellWhenDropped(tokio::sync::mpsc::UnboundedSender<String>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send("dropped".to_owned());
    }
}

#[async_trait]
impl SeriesSource for SlowSource {
    fn part_names(&self) -> Vec<String> {
        vec!["slow".to_owned()]
    }

    fn selector_form(&self) -> SelectorForm {
        SelectorForm::Samples
    }

    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        let told = TellWhenDropped(self.events.clone());
        let of_client = context.proxied_headers.iter().filter(|(name, _)| name != "quiver-via");
        let headers: Vec<_> = of_client.map(|(name, value)| format!("{name}={value}")).collect();
        self.events.send(format!("begun {}", headers.join(","))).expect("the test listens");
        assert!(!scan.select.matchers.iter().any(|matcher| matcher.value == "panic"), "a defect, provoked by a test");
        let release = Arc::clone(&self.release);
        let released = async move {
            let _told = told;
            release.acquire().await.expect("open").forget();
            futures::stream::empty::<Result<arrow::record_batch::RecordBatch, Error>>()
        };
        vec![Box::pin(futures::StreamExt::flatten(futures::stream::once(released)))]
    }

    async fn label_names(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn label_values(&self, _: &str, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn series(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<Labels>, Error> {
        Ok(Vec::new())
    }

    async fn metric_metadata(
        &self,
        _: Option<&str>,
        _: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        Ok(BTreeMap::new())
    }
}

struct SlowServer {
    router: Router,
    events: tokio::sync::mpsc::UnboundedReceiver<String>,
    release: Arc<tokio::sync::Semaphore>,
    metrics: Arc<quiver::telemetry::Metrics>,
}

impl SlowServer {
    fn new(queries_max: Option<usize>) -> Self {
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let source = SlowSource { events: sender, release: Arc::clone(&release) };
        let proxied_headers = vec![HeaderName::from_static("x-scope-orgid"), HeaderName::from_static("x-absent")];
        let options = ApiOptions { queries_max, proxied_headers, ..ApiOptions::default() };
        let metrics = Arc::clone(&options.metrics);
        let router = router(ApiState::new(QueryEngine::new(Arc::new(source), EngineOptions::default()), options));
        Self { router, events, release, metrics }
    }

    fn ask(&self, target: &str) -> tokio::task::JoinHandle<(u16, String)> {
        let request = Request::get(target)
            .header("X-Scope-OrgID", "tenant")
            .header("X-Scope-OrgID", "second")
            .header("Authorization", "hunter2")
            .body(Body::empty())
            .expect("a request");
        let router = self.router.clone();
        tokio::spawn(async move {
            let response = send(router, request).await;
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1_000_000).await.expect("a body");
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }
}

#[tokio::test]
async fn a_client_that_goes_aborts_its_query() {
    let mut server = SlowServer::new(None);
    let asking = server.ask("/api/v1/query?query=up");
    assert_eq!(server.events.recv().await.as_deref(), Some("begun x-scope-orgid=tenant"));
    asking.abort();
    assert_eq!(server.events.recv().await.as_deref(), Some("dropped"));
    let count = r#"quiver_query_duration_seconds_count{kind="instant",outcome="canceled"} 1"#;
    while !server.metrics.render().lines().any(|line| line == count) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_that_panics_is_the_only_one_that_fails() {
    let mut server = SlowServer::new(None);
    let other = server.ask("/api/v1/query?query=up");
    assert_eq!(server.events.recv().await.as_deref(), Some("begun x-scope-orgid=tenant"));
    let (status, body) = server.ask(r"/api/v1/query?query=panic").await.expect("answered");
    assert_eq!(status, 500);
    assert!(body.contains(r#""errorType":"internal""#) && !body.contains("provoked"), "{body}");
    server.release.add_permits(1);
    assert_eq!(other.await.expect("answered").0, 200);
}

#[tokio::test]
async fn a_query_that_hangs_times_out() {
    let server = SlowServer::new(None);
    let (status, body) = server.ask("/api/v1/query?query=up&timeout=10ms").await.expect("answered");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""errorType":"timeout""#), "{body}");
}

#[tokio::test]
async fn queries_beyond_the_limit_wait_for_a_slot() {
    let mut server = SlowServer::new(Some(1));
    let first = server.ask("/api/v1/query?query=up");
    assert_eq!(server.events.recv().await.as_deref(), Some("begun x-scope-orgid=tenant"));
    let (status, body) = server.ask("/api/v1/query?query=up&timeout=10ms").await.expect("answered");
    assert_eq!((status, body.contains("query timed out in query queue")), (503, true), "{body}");
    let waiting = server.ask("/api/v1/query?query=up");
    server.release.add_permits(2);
    assert_eq!(first.await.expect("answered").0, 200);
    assert_eq!(waiting.await.expect("answered").0, 200);
}

#[tokio::test]
async fn waiting_queries_get_their_turn_in_order_and_leave_with_their_clients() {
    let mut server = SlowServer::new(Some(1));
    let is_on_page =
        |metrics: &quiver::telemetry::Metrics, wanted: &str| metrics.render().lines().any(|line| line == wanted);
    let metrics = Arc::clone(&server.metrics);
    let until_waiting = async |count: usize| {
        while !is_on_page(&metrics, &format!("prometheus_engine_queries {count}")) {
            tokio::task::yield_now().await;
        }
    };
    let mut asked = Vec::new();
    for count in 1..=4 {
        asked.push(server.ask("/api/v1/query?query=up"));
        until_waiting(count).await;
    }
    let [first, second, third, fourth] = <[_; 4]>::try_from(asked).expect("four");
    assert_eq!(server.events.recv().await.as_deref(), Some("begun x-scope-orgid=tenant"));
    second.abort();
    until_waiting(3).await;
    let mut waiting = std::collections::VecDeque::from([first, third, fourth]);
    while let Some(turn) = waiting.pop_front() {
        assert!(waiting.iter().all(|other| !other.is_finished()));
        server.release.add_permits(1);
        assert_eq!(turn.await.expect("answered").0, 200);
    }
    assert!(is_on_page(&metrics, "prometheus_engine_queries 0"));
    assert!(is_on_page(&metrics, "prometheus_engine_queries_concurrent_max 1"));
    let queued = r#"prometheus_engine_query_duration_histogram_seconds_count{slice="queue_time"} 3"#;
    assert!(is_on_page(&metrics, queued), "{}", metrics.render());
}

#[tokio::test]
async fn a_long_answer_is_streamed_and_whole() {
    let request = |target: &str| Request::get(target).body(Body::empty()).expect("a request");
    let target = "/api/v1/query_range?query=many&start=0&end=300&step=0.1";
    let response = send(server("plain"), request(target)).await;
    assert!(!response.headers().contains_key("content-length"), "its length is not known beforehand");
    let body = axum::body::to_bytes(response.into_body(), 100_000_000).await.expect("a whole body");
    assert!(body.len() > 1_000_000, "{}", body.len());
    let mut compressed = request(target);
    compressed.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
    let compressed = send(server("plain"), compressed).await.into_body();
    let compressed = axum::body::to_bytes(compressed, 100_000_000).await.expect("a whole body");
    let mut unpacked = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(&compressed[..]), &mut unpacked).expect("gzip");
    assert!(unpacked == body, "the same with gzip");
    let json: serde_json::Value = serde_json::from_slice(&body).expect("valid JSON");
    let series = json["data"]["result"].as_array().expect("a list");
    assert_eq!(series.len(), 100);
    assert!(series.iter().all(|series| series["values"].as_array().is_some_and(|values| values.len() == 3_000)));
}

#[tokio::test]
async fn a_long_federated_page_is_streamed_and_its_memory_given_back() {
    let store = MemoryStore::new();
    for index in 0..40_000 {
        let labels = Labels::from_pairs([("__name__", "many".to_owned()), ("index", format!("{index:05}"))]);
        store.append(&labels, TimestampMs(0), f64::from(index)).expect("new series");
    }
    let memory = Arc::new(ProcessBudget::default());
    let lookback = DurationMs(1_000 * 365 * 86_400_000);
    let options = EngineOptions { lookback, memory: Arc::clone(&memory), ..EngineOptions::default() };
    let router = router(ApiState::new(QueryEngine::new(Arc::new(store), options), ApiOptions::default()));
    let request = || Request::get("/federate?match[]=many").body(Body::empty()).expect("a request");

    let response = send(router.clone(), request()).await;
    assert!(!response.headers().contains_key("content-length"), "its length is not known beforehand");
    assert!(memory.bytes() > 0, "what is not written yet is counted");
    let body = axum::body::to_bytes(response.into_body(), 100_000_000).await.expect("a whole body");
    let lines: Vec<&str> = std::str::from_utf8(&body).expect("text").lines().collect();
    assert_eq!(lines.len(), 40_001);
    assert_eq!((lines[0], lines[40_000]), ("# TYPE many untyped", r#"many{index="39999",instance=""} 39999 0"#));
    assert_eq!(memory.bytes(), 0);

    // A client that goes, before it has read anything.
    let response = send(router, request()).await;
    assert!(memory.bytes() > 0);
    drop(response);
    let given_back = async {
        while memory.bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), given_back).await.expect("nobody writes any more");
}
