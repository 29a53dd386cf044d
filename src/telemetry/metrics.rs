//! `/metrics`: the registry and everything that is counted.
//!
//! Where Prometheus or promxy have a metric of the same meaning, it has the same name, so that dashboards and alerts
//! keep working.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::grpc_metrics::GrpcMetrics;
use super::label_filter_metrics::LabelFilterMetrics;
use super::process_metrics::ProcessMetrics;
use super::target_metrics::TargetRegistry;

/// Seconds. From what the cache of a downstream answers to what `--query.timeout` allows by default.
const SECONDS_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0, 120.0];

/// Bytes. As Prometheus buckets its own responses: powers of ten.
const BYTES_BUCKETS: [f64; 8] = [100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handler {
    handler: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HandlerCode {
    handler: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindOutcome {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Slice {
    slice: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS_BUCKETS)
}

fn bytes_histogram() -> Histogram {
    Histogram::new(BYTES_BUCKETS)
}

/// All metrics of one server. A process has one; tests have as many as they like.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http_requests: Family<HandlerCode, Counter>,
    http_seconds: Family<Handler, Histogram, fn() -> Histogram>,
    http_bytes: Family<Handler, Histogram, fn() -> Histogram>,
    queries_running: Gauge,
    queries_concurrent_max: Gauge,
    remote_reads: Gauge,
    query_slice_seconds: Family<Slice, Histogram, fn() -> Histogram>,
    query_seconds: Family<KindOutcome, Histogram, fn() -> Histogram>,
    query_samples: Counter,
    reload_succeeded: Gauge,
    reload_success_time: Gauge<f64, AtomicU64>,
    reload_seconds: Gauge<f64, AtomicU64>,
    targets: TargetRegistry,
    label_filters: LabelFilterMetrics,
    grpc: GrpcMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            http_requests: Family::default(),
            http_seconds: Family::new_with_constructor(seconds_histogram),
            http_bytes: Family::new_with_constructor(bytes_histogram),
            queries_running: Gauge::default(),
            queries_concurrent_max: Gauge::default(),
            remote_reads: Gauge::default(),
            query_slice_seconds: Family::new_with_constructor(seconds_histogram),
            query_seconds: Family::new_with_constructor(seconds_histogram),
            query_samples: Counter::default(),
            reload_succeeded: Gauge::default(),
            reload_success_time: Gauge::default(),
            reload_seconds: Gauge::default(),
            targets: TargetRegistry::default(),
            label_filters: LabelFilterMetrics::default(),
            grpc: GrpcMetrics::default(),
        };
        metrics.register_http();
        metrics.register_queries();
        metrics.register_process();
        metrics.label_filters.register(&mut metrics.registry);
        metrics.grpc.register(&mut metrics.registry);
        metrics
    }
}

impl Metrics {
    fn register_http(&mut self) {
        let registry = &mut self.registry;
        registry.register("prometheus_http_requests", "Counter of HTTP requests", self.http_requests.clone());
        registry.register(
            "prometheus_http_request_duration_seconds",
            "Histogram of latencies for HTTP requests",
            self.http_seconds.clone(),
        );
        registry.register(
            "prometheus_http_response_size_bytes",
            "Histogram of response size for HTTP requests",
            self.http_bytes.clone(),
        );
    }

    fn register_queries(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "prometheus_engine_queries",
            "The current number of queries being executed or waiting",
            self.queries_running.clone(),
        );
        self.queries_concurrent_max.set(-1);
        registry.register(
            "prometheus_engine_queries_concurrent_max",
            "The max number of concurrent queries, -1 for no limit",
            self.queries_concurrent_max.clone(),
        );
        registry.register(
            "prometheus_remote_read_handler_queries",
            "The current number of remote read requests that are answered or wait for that",
            self.remote_reads.clone(),
        );
        registry.register(
            "prometheus_engine_query_duration_histogram_seconds",
            "The duration of various parts of PromQL query execution: queue_time, inner_eval",
            self.query_slice_seconds.clone(),
        );
        registry.register(
            "prometheus_engine_query_samples",
            "The total number of samples loaded by all queries",
            self.query_samples.clone(),
        );
        registry.register(
            "quiver_query_duration_seconds",
            "From the start of a query to its result, by kind of query and by outcome: success, or the type of the error",
            self.query_seconds.clone(),
        );
    }

    fn register_process(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful",
            self.reload_succeeded.clone(),
        );
        registry.register(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload",
            self.reload_success_time.clone(),
        );
        registry.register(
            "process_reload_time_seconds",
            "How long the last configuration reload took",
            self.reload_seconds.clone(),
        );
        let build_info = Family::<Version, Gauge>::default();
        build_info.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("quiver_build_info", "A metric with a constant '1' value labeled by version", build_info);
        registry.register_collector(Box::new(ProcessMetrics));
        registry.register_collector(Box::new(self.targets.clone()));
    }

    /// Counts one answered request. `handler` is a route, never a path that a client made up: a label must be bounded.
    pub fn http_request(&self, handler: &str, status: u16, duration: Duration, response_bytes: u64) {
        let label = Handler { handler: handler.to_owned() };
        self.http_requests.get_or_create(&HandlerCode { handler: handler.to_owned(), code: status }).inc();
        self.http_seconds.get_or_create(&label).observe(duration.as_secs_f64());
        self.http_bytes.get_or_create(&label).observe(response_bytes as f64);
    }

    /// Counts a gRPC call that is over. `code` is Go's name of its status. Service and method must not be the client's invention.
    pub fn grpc_call(&self, service: &str, method: &str, code: &'static str, duration: Duration) {
        self.grpc.handled(service, method, code, duration);
    }

    /// Counts a query of a kind (`instant`, `range`, `federate`) from now until the timer is finished or dropped.
    pub fn query_started(self: &Arc<Self>, kind: &'static str) -> QueryTimer {
        self.queries_running.inc();
        QueryTimer { metrics: Arc::clone(self), kind, started: Instant::now(), outcome: "canceled" }
    }

    /// Counts a remote read from now until the timer is finished or dropped.
    pub fn remote_read_started(&self) -> RemoteReadTimer<'_> {
        self.remote_reads.inc();
        RemoteReadTimer { metrics: self, started: Instant::now(), outcome: "canceled" }
    }

    /// At most so many queries run at a time; `None` is no limit.
    pub fn queries_limited(&self, most: Option<usize>) {
        self.queries_concurrent_max.set(most.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX)));
    }

    /// How long a query waited for its turn.
    pub fn query_queued(&self, waited: Duration) {
        self.query_slice_seconds.get_or_create(&Slice { slice: "queue_time" }).observe(waited.as_secs_f64());
    }

    /// How long a query was evaluated.
    pub fn query_evaluated(&self, took: Duration) {
        self.query_slice_seconds.get_or_create(&Slice { slice: "inner_eval" }).observe(took.as_secs_f64());
    }

    /// Shows what queries hold in memory and may hold, as `bytes` says it whenever the page is asked for; 0 is no limit.
    pub fn with_query_memory(mut self, bytes: impl Fn() -> u64 + Send + Sync + 'static, bytes_max: u64) -> Self {
        self.registry.register_collector(Box::new(QueryMemory { bytes: Box::new(bytes), bytes_max }));
        self
    }

    /// Where downstream targets are counted.
    pub fn targets(&self) -> &TargetRegistry {
        &self.targets
    }

    /// Where label filters are counted.
    pub fn label_filters(&self) -> &LabelFilterMetrics {
        &self.label_filters
    }

    /// The first load of the configuration, or a reload.
    pub fn config_loaded(&self, succeeded: bool, took: Duration) {
        self.reload_succeeded.set(i64::from(succeeded));
        self.reload_seconds.set(took.as_secs_f64());
        if succeeded {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.reload_success_time.set(now.as_secs_f64());
        }
    }

    /// The page, in OpenMetrics text.
    pub fn render(&self) -> String {
        let mut page = String::new();
        encode(&mut page, &self.registry).expect("a String takes everything");
        page
    }

    /// The media type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

struct QueryMemory {
    bytes: Box<dyn Fn() -> u64 + Send + Sync>,
    bytes_max: u64,
}

impl fmt::Debug for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryMemory").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

impl Collector for QueryMemory {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            ("quiver_query_memory_bytes", "What all queries hold in memory", (self.bytes)()),
            ("quiver_query_memory_limit_bytes", "What all queries together may hold, 0 for no limit", self.bytes_max),
        ] {
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Counts one query. Dropped without [`QueryTimer::finish`], the query was canceled.
#[derive(Debug)]
pub struct QueryTimer {
    metrics: Arc<Metrics>,
    kind: &'static str,
    started: Instant,
    outcome: &'static str,
}

impl QueryTimer {
    /// Ends it with `success`, or with the type of the error.
    pub fn finish(mut self, outcome: &'static str, samples_loaded: u64) {
        self.outcome = outcome;
        self.metrics.query_samples.inc_by(samples_loaded);
    }
}

impl Drop for QueryTimer {
    fn drop(&mut self) {
        let Self { metrics, kind, started, outcome } = self;
        metrics.queries_running.dec();
        let seconds = started.elapsed().as_secs_f64();
        metrics.query_seconds.get_or_create(&KindOutcome { kind, outcome }).observe(seconds);
    }
}

/// Counts one remote read. Dropped without [`RemoteReadTimer::finish`], it was canceled.
#[derive(Debug)]
pub struct RemoteReadTimer<'a> {
    metrics: &'a Metrics,
    started: Instant,
    outcome: &'static str,
}

impl RemoteReadTimer<'_> {
    /// Ends it with `success`, or with the type of the error.
    pub fn finish(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for RemoteReadTimer<'_> {
    fn drop(&mut self) {
        let Self { metrics, started, outcome } = self;
        metrics.remote_reads.dec();
        let label = KindOutcome { kind: "remote_read", outcome };
        metrics.query_seconds.get_or_create(&label).observe(started.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(page: &str, series: &str) -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn what_happened_is_on_the_page() {
        let metrics = Arc::new(Metrics::default().with_query_memory(|| 7, 1 << 30));
        metrics.queries_limited(Some(20));
        metrics.query_queued(Duration::from_millis(30));
        metrics.query_evaluated(Duration::from_millis(3));
        metrics.http_request("/api/v1/query", 200, Duration::from_millis(30), 1_000);
        metrics.query_started("instant").finish("success", 12);
        drop(metrics.query_started("range"));
        metrics.remote_read_started().finish("success");
        metrics.config_loaded(false, Duration::from_millis(1));
        let page = metrics.render();
        for (series, expected) in [
            (r#"prometheus_http_requests_total{handler="/api/v1/query",code="200"}"#, 1.0),
            (r#"prometheus_http_request_duration_seconds_bucket{le="0.025",handler="/api/v1/query"}"#, 0.0),
            (r#"prometheus_http_request_duration_seconds_bucket{le="0.05",handler="/api/v1/query"}"#, 1.0),
            (r#"prometheus_http_response_size_bytes_sum{handler="/api/v1/query"}"#, 1_000.0),
            (r#"quiver_query_duration_seconds_count{kind="instant",outcome="success"}"#, 1.0),
            (r#"quiver_query_duration_seconds_count{kind="range",outcome="canceled"}"#, 1.0),
            (r#"quiver_query_duration_seconds_count{kind="remote_read",outcome="success"}"#, 1.0),
            ("prometheus_remote_read_handler_queries", 0.0),
            ("prometheus_engine_query_samples_total", 12.0),
            ("prometheus_engine_queries", 0.0),
            ("prometheus_engine_queries_concurrent_max", 20.0),
            (r#"prometheus_engine_query_duration_histogram_seconds_count{slice="inner_eval"}"#, 1.0),
            (r#"prometheus_engine_query_duration_histogram_seconds_sum{slice="queue_time"}"#, 0.03),
            ("quiver_query_memory_bytes", 7.0),
            ("quiver_query_memory_limit_bytes", 1_073_741_824.0),
            ("prometheus_config_last_reload_successful", 0.0),
            ("prometheus_config_last_reload_success_timestamp_seconds", 0.0),
        ] {
            assert_eq!(value(&page, series), Some(expected), "{series} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn the_process_is_measured() {
        let page = Metrics::default().render();
        for series in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            assert!(value(&page, series).is_some_and(|value| value > 0.0), "{series} in\n{page}");
        }
        assert!(value(&page, "process_cpu_seconds_total").is_some());
    }
}
