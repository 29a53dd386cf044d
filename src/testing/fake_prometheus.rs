//! The embedded Prometheus: our engine over a store in memory, behind our HTTP API, on a free port of the loopback
//! interface, with remote read and faults on demand. It is the downstream of tests and of `quiver demo`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use axum::http::{Method, Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{any, get, post};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::MemoryStore;
use crate::downstream::prometheus_proto::ReadRequest;
use crate::model::Labels;
use crate::query::{EngineOptions, QueryEngine};
use crate::serve::http::{ApiOptions, ApiState, ConfigStatus, router};
use crate::serve::listen::{ListenOptions, serve};

mod fault;
mod lie;
mod remote_read;
mod samples_message;

pub use fault::{Fault, FaultBody};
pub use lie::Lie;
pub use remote_read::RemoteReadOptions;

use remote_read::ReadHandler;

/// Bodies of requests and answers that pass through a fault are held whole, up to this size.
const BODY_BYTES_MAX: usize = 64 << 20;

/// More requests than this are counted but not kept.
const SEEN_MAX: usize = 10_000;

/// What a request asks for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum RequestKind {
    /// `/api/v1/query`
    Query,
    /// `/api/v1/query_range`
    QueryRange,
    /// `/api/v1/series`
    Series,
    /// `/api/v1/labels`
    Labels,
    /// `/api/v1/label/<name>/values`
    LabelValues,
    /// `/api/v1/metadata`
    Metadata,
    /// `/api/v1/query_exemplars`
    Exemplars,
    /// `/api/v1/read`
    RemoteRead,
    /// `/api/v1/status/config`
    StatusConfig,
    /// `/api/v1/status/buildinfo`
    BuildInfo,
    /// Anything else.
    Other,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Query,
        Self::QueryRange,
        Self::Series,
        Self::Labels,
        Self::LabelValues,
        Self::Metadata,
        Self::Exemplars,
        Self::RemoteRead,
        Self::StatusConfig,
        Self::BuildInfo,
        Self::Other,
    ];

    fn of_path(path: &str) -> Self {
        match path.rsplit_once("/api/v1/").map(|(_, call)| call) {
            Some("query") => Self::Query,
            Some("query_range") => Self::QueryRange,
            Some("series") => Self::Series,
            Some("labels") => Self::Labels,
            Some("metadata") => Self::Metadata,
            Some("query_exemplars") => Self::Exemplars,
            Some("read") => Self::RemoteRead,
            Some("status/config") => Self::StatusConfig,
            Some("status/buildinfo") => Self::BuildInfo,
            Some(call) if call.starts_with("label/") && call.ends_with("/values") => Self::LabelValues,
            _ => Self::Other,
        }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// What it asks for.
    pub kind: RequestKind,
    /// `GET` or `POST`.
    pub method: String,
    /// Without the query string.
    pub path: String,
    /// Parameters of the query string, then of the body.
    pub form: Vec<(String, String)>,
    /// What a remote read asks for, where it can be read.
    pub read: Option<ReadRequest>,
    /// Header names in lower case; values that are not text are left out.
    pub headers: Vec<(String, String)>,
}

impl SeenRequest {
    /// The first value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a header; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A running server. It ends, with all its connections, when this is dropped.
#[derive(Debug)]
pub struct FakePrometheus {
    address: SocketAddr,
    route_prefix: String,
    store: Arc<MemoryStore>,
    behaviour: Arc<Behaviour>,
    task: JoinHandle<()>,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct FakeOptions {
    /// Options of its engine.
    pub engine: EngineOptions,
    /// Path before all routes.
    pub route_prefix: String,
    /// How it speaks remote read; `None`: it does not know of it.
    pub remote_read: Option<RemoteReadOptions>,
    /// What it adds to everything that leaves it but by the query API.
    pub external_labels: Labels,
    /// What it says that it is.
    pub version: String,
}

impl Default for FakeOptions {
    /// A server of today that speaks the query API only.
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            route_prefix: "/".to_owned(),
            remote_read: None,
            external_labels: Labels::default(),
            version: "3.14.0".to_owned(),
        }
    }
}

impl FakePrometheus {
    /// Serves `store` on a free port of 127.0.0.1.
    pub async fn start(store: Arc<MemoryStore>) -> std::io::Result<Self> {
        Self::start_with(store, FakeOptions::default()).await
    }

    /// The same with options.
    pub async fn start_with(store: Arc<MemoryStore>, options: FakeOptions) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let engine = QueryEngine::new(Arc::clone(&store) as _, options.engine.clone());
        let api = ApiOptions { route_prefix: options.route_prefix.clone(), ..ApiOptions::default() };
        let behaviour = Arc::<Behaviour>::default();
        let state = ApiState::new(engine, api);
        let yaml = config_yaml(&options.external_labels);
        let external_labels = options.external_labels.clone();
        let loaded_at = SystemTime::now();
        state.set_config(ConfigStatus { yaml, external_labels, last_load_succeeded: true, loaded_at });
        let routes = own_routes(&store, &options).fallback_service(router(state));
        let routes = routes.layer(from_fn_with_state(Arc::clone(&behaviour), misbehave));
        let task = tokio::spawn(serve(listener, routes, ListenOptions::default(), CancellationToken::new()));
        Ok(Self { address, route_prefix: options.route_prefix, store, behaviour, task })
    }

    /// `http://127.0.0.1:port`, without the route prefix.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:port`, as a target of a config file.
    pub fn target(&self) -> String {
        self.address.to_string()
    }

    /// Path before all routes.
    pub fn route_prefix(&self) -> &str {
        &self.route_prefix
    }

    /// What it serves; may be appended to at any time.
    pub fn store(&self) -> &Arc<MemoryStore> {
        &self.store
    }

    /// From now on, requests of this kind fail so.
    pub fn set_fault(&self, kind: RequestKind, fault: Fault) {
        self.behaviour.faults.lock().insert(kind, fault);
    }

    /// From now on, all requests fail so.
    pub fn set_fault_everywhere(&self, fault: &Fault) {
        RequestKind::ALL.into_iter().for_each(|kind| self.set_fault(kind, fault.clone()));
    }

    /// From now on, everything is answered properly.
    pub fn clear_faults(&self) {
        self.behaviour.faults.lock().clear();
    }

    /// Requests that arrived, the first 10,000, in order of arrival.
    pub fn seen(&self) -> Vec<SeenRequest> {
        self.behaviour.seen.lock().clone()
    }

    /// How many requests of a kind arrived.
    pub fn seen_count(&self, kind: RequestKind) -> usize {
        self.behaviour.seen_counts.lock().get(&kind).copied().unwrap_or(0)
    }

    /// Requests that are being answered now.
    pub fn in_flight(&self) -> usize {
        self.behaviour.in_flight.load(Ordering::SeqCst)
    }

    /// Forgets the requests that arrived.
    pub fn forget_seen(&self) {
        self.behaviour.seen.lock().clear();
        self.behaviour.seen_counts.lock().clear();
    }
}

/// What our own API does not have, or has otherwise.
fn own_routes(store: &Arc<MemoryStore>, options: &FakeOptions) -> Router {
    let prefix = options.route_prefix.trim_end_matches('/');
    // As a Prometheus says it: others leave out the last two, or name themselves.
    let build_info = json!({"version": options.version, "branch": "", "revision": "fake", "goVersion": "go1.26"});
    let build_info = json!({"status": "success", "data": build_info});
    let build_info = ([(CONTENT_TYPE, "application/json")], build_info.to_string());
    let mut routes =
        Router::new().route(&format!("{prefix}/api/v1/status/buildinfo"), get(move || async move { build_info }));
    if let Some(remote_read) = &options.remote_read {
        let handler = ReadHandler::new(Arc::clone(store), remote_read.clone(), options.external_labels.clone());
        let read = post(remote_read::read).with_state(Arc::new(handler));
        routes = routes.route(&format!("{prefix}/api/v1/read"), read);
    } else {
        routes = routes.route(&format!("{prefix}/api/v1/read"), any(|| async { StatusCode::NOT_FOUND }));
    }
    routes
}

/// The config file as `/api/v1/status/config` shows it.
fn config_yaml(external_labels: &Labels) -> String {
    let mut yaml = "global:\n  scrape_interval: 15s\n".to_owned();
    if !external_labels.is_empty() {
        yaml.push_str("  external_labels:\n");
    }
    for (name, value) in external_labels.iter() {
        // Every JSON text is a YAML text.
        yaml.push_str(&format!("    {name}: {}\n", json!(value)));
    }
    yaml
}

impl Drop for FakePrometheus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is shared by the owner and the requests.
#[derive(Debug, Default)]
struct Behaviour {
    faults: Mutex<HashMap<RequestKind, Fault>>,
    seen: Mutex<Vec<SeenRequest>>,
    seen_counts: Mutex<HashMap<RequestKind, usize>>,
    in_flight: AtomicUsize,
}

/// Counts a request as long as it is answered, whether it ends well or is dropped.
struct InFlight(Arc<Behaviour>);

impl InFlight {
    fn begin(behaviour: &Arc<Behaviour>) -> Self {
        behaviour.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(behaviour))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn misbehave(State(behaviour): State<Arc<Behaviour>>, request: Request, next: Next) -> Response<Body> {
    let in_flight = InFlight::begin(&behaviour);
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return fault::status_response(StatusCode::PAYLOAD_TOO_LARGE.as_u16(), FaultBody::Empty);
    };
    let seen = see(&head, &body);
    let fault = behaviour.note(seen);
    let request = Request::from_parts(head, Body::from(body));
    let response = answer(fault, request, next).await;
    // The request is under way until its last byte is sent or the client goes.
    let (head, body) = response.into_parts();
    let length = http_body::Body::size_hint(&body).exact();
    let guarded = body.into_data_stream().map(move |piece| {
        let _until_the_stream_is_dropped = &in_flight;
        piece
    });
    let body = Body::from_stream(guarded);
    let mut response = Response::from_parts(head, body);
    if let Some(length) = length {
        response.headers_mut().entry(axum::http::header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response
}

async fn answer(fault: Option<Fault>, mut request: Request, next: Next) -> Response<Body> {
    match fault {
        None => return next.run(request).await,
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Status { code, body }) => return fault::status_response(code, body),
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            return next.run(request).await;
        }
        Some(Fault::Lie(_)) => {
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        Some(Fault::Trickle { .. } | Fault::CutBody { .. } | Fault::ContentLength { .. }) => {}
    }
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    match fault {
        Some(Fault::Trickle { piece_bytes, every }) => fault::trickled(head, body, piece_bytes, every),
        Some(Fault::CutBody { after_bytes }) => fault::cut(head, body, after_bytes),
        Some(Fault::ContentLength { off_by }) => fault::with_wrong_length(head, body, off_by),
        Some(Fault::Lie(lie)) if fault::is_plain_json(&head) => {
            let body = Bytes::from(lie.apply(&body));
            fault::whole_body(head, body)
        }
        _ => fault::whole_body(head, body),
    }
}

fn see(head: &axum::http::request::Parts, body: &[u8]) -> SeenRequest {
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<Vec<(String, String)>>();
    let mut form = pairs(head.uri.query().unwrap_or("").as_bytes());
    let kind = RequestKind::of_path(head.uri.path());
    if head.method == Method::POST && kind != RequestKind::RemoteRead {
        form.extend(pairs(body));
    }
    let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    SeenRequest {
        kind,
        read: if kind == RequestKind::RemoteRead { remote_read::decode_request(body).ok() } else { None },
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        form,
        headers: head.headers.iter().filter_map(text).collect(),
    }
}

impl Behaviour {
    /// Keeps the request, and says how it is to be answered.
    fn note(&self, request: SeenRequest) -> Option<Fault> {
        let kind = request.kind;
        *self.seen_counts.lock().entry(kind).or_default() += 1;
        let mut seen = self.seen.lock();
        if seen.len() < SEEN_MAX {
            seen.push(request);
        }
        drop(seen);
        self.faults.lock().get(&kind).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;
    use crate::model::MetricMetadata;

    /// The status and body of an answer, or `Err` where the connection broke on the way.
    async fn get(url: &str) -> Result<(u16, String), String> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let response = client.get(url.parse().expect("a URL")).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn server() -> (FakePrometheus, String) {
        let store = Arc::new(MemoryStore::new());
        let metadata =
            MetricMetadata { metric_type: "gauge".to_owned(), help: "Is it up?".to_owned(), unit: String::new() };
        store.set_metadata("up", vec![metadata]);
        let server = FakePrometheus::start(store).await.expect("a free port");
        let url = format!("{}/api/v1/metadata?metric=up", server.url());
        (server, url)
    }

    #[tokio::test]
    async fn it_answers_over_http_and_remembers_who_asked() {
        let (server, url) = server().await;
        let (status, body) = get(&url).await.expect("an answer");
        assert_eq!(status, 200);
        assert!(body.contains("Is it up?"), "{body}");
        let seen = server.seen();
        assert_eq!((seen.len(), server.seen_count(RequestKind::Metadata), server.in_flight()), (1, 1, 0));
        assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/api/v1/metadata"));
        assert_eq!(seen[0].parameter("metric"), Some("up"));
        assert_eq!(seen[0].header("host"), Some(server.target().as_str()));
        server.forget_seen();
        assert!(server.seen().is_empty());
    }

    #[tokio::test]
    async fn each_fault_shows_on_the_wire() {
        let (server, url) = server().await;
        let (_, whole) = get(&url).await.expect("an answer");
        let shorter = whole.len() as i64 - 5;

        for (fault, outcome) in [
            (
                Fault::Status { code: 502, body: FaultBody::Html },
                Ok((502, "<html><body><h1>Bad Gateway</h1></body></html>\n".to_owned())),
            ),
            (
                Fault::Status { code: 422, body: FaultBody::Json },
                Ok((422, r#"{"status":"error","errorType":"fault","error":"injected fault"}"#.to_owned())),
            ),
            (Fault::Status { code: 503, body: FaultBody::Empty }, Ok((503, String::new()))),
            (Fault::Trickle { piece_bytes: 7, every: Duration::ZERO }, Ok((200, whole.clone()))),
            (Fault::Delay(Duration::ZERO), Ok((200, whole.clone()))),
            (Fault::ContentLength { off_by: -shorter }, Ok((200, whole[..5].to_owned()))),
            (Fault::ContentLength { off_by: 5 }, Err(())),
            (Fault::CutBody { after_bytes: 5 }, Err(())),
            (Fault::CutBody { after_bytes: 0 }, Err(())),
            (Fault::Lie(Lie::LeftOutSeries), Ok((200, whole.clone()))),
        ] {
            server.set_fault(RequestKind::Metadata, fault.clone());
            let got = get(&url).await;
            match fault {
                // JSON that went through a lie has its keys in another order, and says the same.
                Fault::Lie(_) => {
                    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
                    assert_eq!(parse(&got.expect("an answer").1), parse(&whole));
                }
                _ => assert_eq!(got.map_err(|_| ()), outcome, "{fault:?}"),
            }
        }
        server.clear_faults();
        assert_eq!(get(&url).await, Ok((200, whole)));
    }

    #[tokio::test]
    async fn a_fault_hits_only_its_kind_of_request() {
        let (server, url) = server().await;
        server.set_fault(RequestKind::Query, Fault::Hang);
        assert_eq!(get(&url).await.map(|(status, _)| status), Ok(200));
        server.set_fault_everywhere(&Fault::Status { code: 500, body: FaultBody::Empty });
        assert_eq!(get(&url).await.map(|(status, _)| status), Ok(500));
    }

    #[tokio::test]
    async fn a_hanging_request_ends_when_its_client_goes() {
        let (server, url) = server().await;
        server.set_fault(RequestKind::Metadata, Fault::Hang);
        let asking = tokio::spawn(async move { get(&url).await });
        while server.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        asking.abort();
        while server.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.seen_count(RequestKind::Metadata), 1);
    }

    #[tokio::test]
    async fn a_dropped_server_is_gone() {
        let (server, url) = server().await;
        drop(server);
        while get(&url).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn paths_have_kinds_with_and_without_a_prefix() {
        for (path, kind) in [
            ("/api/v1/query", RequestKind::Query),
            ("/prometheus/api/v1/query_range", RequestKind::QueryRange),
            ("/api/v1/label/job/values", RequestKind::LabelValues),
            ("/api/v1/label/job", RequestKind::Other),
            ("/-/ready", RequestKind::Other),
        ] {
            assert_eq!(RequestKind::of_path(path), kind, "{path}");
        }
    }
}
