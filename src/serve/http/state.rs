//! What every handler can see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::http::HeaderName;
use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::cors::CorsOrigin;
use crate::model::{GatewayId, Labels};
use crate::query::QueryEngine;
use crate::runtime::CpuPool;
use crate::telemetry::{AccessLog, Metrics};

/// What a client asked of the process over `/-/reload` and `/-/quit`.
#[derive(Debug)]
pub enum LifecycleRequest {
    /// Read the config again; the answer says whether that worked.
    Reload(oneshot::Sender<Result<(), String>>),
    /// End the process in order.
    Quit,
}

/// What is known of the configuration that runs.
#[derive(Clone, Debug)]
pub struct ConfigStatus {
    /// The whole config with its defaults, secrets masked; empty where there is no config file.
    pub yaml: String,
    /// `global.external_labels`: who this gateway is, for those who collect from several.
    pub external_labels: Labels,
    /// Did the last load succeed? If not, the one before still runs.
    pub last_load_succeeded: bool,
    /// When the running configuration was loaded.
    pub loaded_at: SystemTime,
}

/// What holds for one server; all of it has a default that needs nothing from outside.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Where queries are evaluated. `None`: on the runtime that serves the request.
    pub cpu: Option<CpuPool>,
    /// Path before all routes, `/` for none.
    pub route_prefix: String,
    /// Path of the metrics, not prefixed.
    pub metrics_path: String,
    /// Which web pages may ask. `None`: no page of another origin.
    pub cors_origin: Option<CorsOrigin>,
    /// Where `/-/reload` and `/-/quit` go; `None` answers them with 403.
    pub lifecycle: Option<mpsc::Sender<LifecycleRequest>>,
    /// Names of request headers that are passed on to the downstreams.
    pub proxied_headers: Vec<HeaderName>,
    /// At most so long may the body of a request take to arrive. Default 5 m.
    pub read_timeout: Duration,
    /// A client that takes no message of a streamed answer for so long is given up: the answer waits in memory. Default 1 m.
    pub client_patience: Duration,
    /// At most so many queries run at a time, others wait. `None` is no limit.
    pub queries_max: Option<usize>,
    /// At most so many remote reads are answered at a time, others wait. `None` is no limit. Default 10.
    pub reads_max: Option<usize>,
    /// At most so many samples may a query of a remote read have whose answer is one message. `None` is no limit. Default
    /// 50 million.
    pub read_samples_max: Option<u64>,
    /// Flags of the process, for `/api/v1/status/flags`.
    pub flags: BTreeMap<String, String>,
    /// URLs to try, shown on `/`: a title and a path with query.
    pub examples: Vec<(String, String)>,
    /// Where requests are logged.
    pub access_log: Option<AccessLog>,
    /// Bytes of a form that are logged. Default 256, as promxy.
    pub logged_form_bytes_max: usize,
    /// Where requests and queries are counted.
    pub metrics: Arc<Metrics>,
    /// Who this gateway is, for those that it asks and for itself. Default: a new id.
    pub gateway: GatewayId,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            cpu: None,
            route_prefix: "/".to_owned(),
            metrics_path: "/metrics".to_owned(),
            cors_origin: None,
            lifecycle: None,
            proxied_headers: Vec::new(),
            read_timeout: Duration::from_secs(300),
            client_patience: Duration::from_secs(60),
            queries_max: None,
            reads_max: Some(10),
            read_samples_max: Some(50_000_000),
            flags: BTreeMap::new(),
            examples: Vec::new(),
            access_log: None,
            logged_form_bytes_max: 256,
            metrics: Arc::default(),
            gateway: GatewayId::random(),
        }
    }
}

/// Shared by all handlers of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: ArcSwap<QueryEngine>,
    config: ArcSwap<ConfigStatus>,
    ready: watch::Sender<bool>,
    started_at: SystemTime,
    query_slots: Option<Arc<Semaphore>>,
    read_turns: Option<Arc<Semaphore>>,
    flight_port: RwLock<Option<u16>>,
    options: ApiOptions,
}

impl ApiState {
    /// A server that is ready to answer from `engine`.
    pub fn new(engine: QueryEngine, options: ApiOptions) -> Self {
        let now = SystemTime::now();
        let config = ConfigStatus {
            yaml: String::new(),
            external_labels: Labels::default(),
            last_load_succeeded: true,
            loaded_at: now,
        };
        let slots = |most: usize| Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        let (query_slots, read_turns) = (options.queries_max.map(slots), options.reads_max.map(slots));
        options.metrics.queries_limited(options.queries_max);
        Self(Arc::new(Shared {
            engine: ArcSwap::from_pointee(engine),
            config: ArcSwap::from_pointee(config),
            ready: watch::Sender::new(true),
            started_at: now,
            query_slots,
            read_turns,
            flight_port: RwLock::new(None),
            options,
        }))
    }

    /// The engine for one request: a request keeps the one it began with.
    pub fn engine(&self) -> Arc<QueryEngine> {
        self.0.engine.load_full()
    }

    /// Later requests are answered from `engine`.
    pub fn swap_engine(&self, engine: QueryEngine) {
        self.0.engine.store(Arc::new(engine));
    }

    /// What is known of the configuration.
    pub fn config(&self) -> Arc<ConfigStatus> {
        self.0.config.load_full()
    }

    /// Replaces what is known of the configuration.
    pub fn set_config(&self, config: ConfigStatus) {
        self.0.config.store(Arc::new(config));
    }

    /// Should load balancers send requests here? Not while shutting down.
    pub fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Changes what `/-/ready` answers.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.send_replace(ready);
    }

    /// Follows what `/-/ready` answers.
    pub(in crate::serve) fn readiness(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }

    /// Where requests and queries are counted.
    pub(in crate::serve) fn metrics(&self) -> &Metrics {
        &self.0.options.metrics
    }

    /// Where requests are logged.
    pub(in crate::serve) fn access_log(&self) -> Option<&AccessLog> {
        self.0.options.access_log.as_ref()
    }

    /// At most so long may the body of a request take to arrive.
    pub(in crate::serve) fn read_timeout(&self) -> Duration {
        self.0.options.read_timeout
    }

    /// Where queries are evaluated.
    pub(in crate::serve) fn cpu(&self) -> CpuPool {
        self.0.options.cpu.clone().unwrap_or_else(CpuPool::current)
    }

    /// How long a client may take no message of an answer.
    pub(in crate::serve) fn client_patience(&self) -> Duration {
        self.0.options.client_patience
    }

    pub(super) fn options(&self) -> &ApiOptions {
        &self.0.options
    }

    /// The port of Arrow Flight, 0 where it is that of the HTTP API; `None` where it is not served.
    pub fn flight_port(&self) -> Option<u16> {
        *self.0.flight_port.read()
    }

    /// Says, once it is known, where Arrow Flight is served: gateways above find it so.
    pub fn set_flight_port(&self, port: Option<u16>) {
        *self.0.flight_port.write() = port;
    }

    /// Who this gateway is.
    pub fn gateway(&self) -> &GatewayId {
        &self.0.options.gateway
    }

    pub(in crate::serve) fn started_at(&self) -> SystemTime {
        self.0.started_at
    }

    pub(super) fn query_slots(&self) -> Option<Arc<Semaphore>> {
        self.0.query_slots.clone()
    }

    /// Whose turn it is among remote reads. They take no slot of queries, so that neither waits for the other.
    pub(super) fn read_turns(&self) -> Option<Arc<Semaphore>> {
        self.0.read_turns.clone()
    }
}
