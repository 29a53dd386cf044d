//! `quiver demo`: two server groups of two replicas each on free ports, with holes and a life of their own, and the gateway
//! in front of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::MemoryStore;
use super::fake_prometheus::FakePrometheus;
use crate::config;
use crate::model::{DurationMs, MetricMetadata, TimestampMs};
use crate::query::{EngineOptions, QueryEngine};
use crate::runtime::CpuPool;
use crate::scan::GroupsSource;
use crate::serve::grpc;
use crate::serve::http::{ApiOptions, ApiState, ConfigStatus, router};
use crate::serve::listen::{self, ListenOptions};
use crate::servergroup::ServerGroupSet;

mod scenario;

pub use scenario::{LATENESS_MAX, REGIONS, Region, SCRAPE_INTERVAL};

/// What the servers remember when the demo starts.
const HISTORY: DurationMs = DurationMs(2 * 3_600_000);

/// Samples older than this are forgotten while the demo runs, so that it can run for ever.
const RETENTION: DurationMs = DurationMs(6 * 3_600_000);

/// Queries to try: what they show, and their PromQL.
const EXAMPLES: [(&str, &str); 5] = [
    ("requests a second by job, over both regions", "sum by (job) (rate(http_requests_total[5m]))"),
    ("samples in five minutes: each replica has holes, the answer has none", "count_over_time(up[5m])"),
    ("share of failed requests by region", FAILED_SHARE),
    ("90th percentile of the latency", LATENCY),
    ("memory in use", "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"),
];
const FAILED_SHARE: &str =
    "sum by (region) (rate(http_requests_total{code=\"500\"}[5m])) / sum by (region) (rate(http_requests_total[5m]))";
const LATENCY: &str = "histogram_quantile(0.9, sum by (region, le) (rate(http_request_duration_seconds_bucket[5m])))";

/// How the demo is started.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Address of the gateway; `:8082` is all addresses of the machine, port 0 a free one.
    pub bind_addr: String,
    /// Address of its gRPC API, or `shared` for that of the HTTP API; `None`: it has none.
    pub grpc_bind_addr: Option<String>,
    /// Where queries of the gateway are evaluated; `None`: on the runtime that serves them.
    pub cpu: Option<CpuPool>,
}

/// The running demo. It ends, with all its servers, when this is dropped.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    config_text: String,
    replicas: Vec<Replica>,
    state: ApiState,
    /// Held for its drop, which ends the listeners.
    _listeners: JoinSet<()>,
}

impl Demo {
    /// Starts servers that remember the two hours before `now`, and the gateway.
    ///
    /// # Errors
    /// An address that cannot be bound, as text for whoever started the demo.
    pub async fn start(options: &DemoOptions, now: TimestampMs) -> Result<Self, String> {
        let mut replicas = Vec::new();
        for region in &REGIONS {
            for number in 0..2 {
                replicas.push(Replica::start(region, number, now).await.map_err(|error| error.to_string())?);
            }
        }
        let config_text = config_text(&replicas);
        let config = config::parse(&config_text, "demo.yml").map_err(|error| error.to_string())?.config;
        let groups = ServerGroupSet::try_new(&config.promxy).map_err(|error| error.to_string())?;
        let engine = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(groups))), EngineOptions::default());
        let api = ApiOptions { cpu: options.cpu.clone(), examples: example_links(now), ..ApiOptions::default() };
        let state = ApiState::new(engine, api);
        let yaml = config.to_yaml_redacted();
        let external_labels = config.global.external_labels.clone();
        let loaded_at = SystemTime::now();
        state.set_config(ConfigStatus { yaml, external_labels, last_load_succeeded: true, loaded_at });

        let http = bind(&options.bind_addr).await?;
        let address = http.local_addr().map_err(|error| error.to_string())?;
        let (limits, stop) = (ListenOptions::default(), CancellationToken::new());
        let mut listeners = JoinSet::new();
        match options.grpc_bind_addr.as_deref() {
            Some("shared") => {
                listeners.spawn(grpc::serve_shared(http, state.clone(), limits, stop));
            }
            own => {
                listeners.spawn(listen::serve(http, router(state.clone()), limits, stop.clone()));
                if let Some(grpc) = own {
                    listeners.spawn(grpc::serve(bind(grpc).await?, state.clone(), limits, stop));
                }
            }
        }
        Ok(Self { address, config_text, replicas, state, _listeners: listeners })
    }

    /// Scrapes everything that is due up to `now`, and forgets what is too old.
    pub fn advance(&mut self, now: TimestampMs) {
        for replica in &mut self.replicas {
            replica.scrape_until(now);
            replica.server.store().drop_before(now - RETENTION);
        }
    }

    /// Lets the data move with the clock until the future is dropped.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            ticks.tick().await;
            self.advance(clock_now());
        }
    }

    /// `http://host:port` of the gateway; the loopback address where it listens on all.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// The gateway's own state, for other listeners in front of the same engine.
    pub fn state(&self) -> &ApiState {
        &self.state
    }

    /// The gateway's config file.
    pub fn config_text(&self) -> &str {
        &self.config_text
    }

    /// The servers behind the gateway: region, number in it, and the server itself.
    pub fn servers(&self) -> impl Iterator<Item = (&'static str, usize, &FakePrometheus)> {
        self.replicas.iter().map(|replica| (replica.region.name, replica.number, &replica.server))
    }

    /// What runs where, and what to try.
    pub fn banner(&self) -> String {
        let url = self.url();
        let mut lines = vec![
            "One Prometheus API in front of two server groups of two replicas each.\n".to_owned(),
            format!("  gateway        {url}/   a page with URLs to try"),
        ];
        for (region, number, server) in self.servers() {
            let group = REGIONS.iter().find(|own| own.name == region).expect("servers are made from the regions");
            let (from, to) = group.down_minutes[number];
            let own = server.url();
            lines.push(format!("  {region}, replica {number}  {own}/   down from minute {from} to {to} of each hour"));
        }
        lines.push("\nTry:".to_owned());
        for (title, query) in EXAMPLES {
            lines.push(format!("\n  # {title}\n  curl -sG {url}/api/v1/query --data-urlencode 'query={query}'"));
        }
        lines.push("\nCtrl-C ends it.\n".to_owned());
        lines.join("\n")
    }
}

async fn bind(address: &str) -> Result<TcpListener, String> {
    listen::bind(address).await.map_err(|error| format!("{address}: cannot listen: {error}"))
}

/// Now, by the machine's clock.
pub fn clock_now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// One replica of a region: a server, and how far it has scraped.
#[derive(Debug)]
struct Replica {
    region: &'static Region,
    number: usize,
    server: FakePrometheus,
    next_scrape: i64,
}

impl Replica {
    async fn start(region: &'static Region, number: usize, now: TimestampMs) -> std::io::Result<Self> {
        let store = Arc::new(MemoryStore::new());
        for (metric, metric_type, help) in METADATA {
            let metadata =
                MetricMetadata { metric_type: metric_type.to_owned(), help: help.to_owned(), unit: String::new() };
            store.set_metadata(metric, vec![metadata]);
        }
        let server = FakePrometheus::start(store).await?;
        let next_scrape = (now - HISTORY).0.div_euclid(SCRAPE_INTERVAL.0);
        let mut replica = Self { region, number, server, next_scrape };
        replica.scrape_until(now);
        Ok(replica)
    }

    fn scrape_until(&mut self, now: TimestampMs) {
        // After a long sleep of the machine only what would be kept is made up for.
        let oldest = (now - RETENTION).0.div_euclid(SCRAPE_INTERVAL.0);
        self.next_scrape = self.next_scrape.max(oldest);
        while TimestampMs(self.next_scrape.saturating_mul(SCRAPE_INTERVAL.0)) + LATENESS_MAX <= now {
            if let Some(time) = self.region.scrape_time(self.number, self.next_scrape) {
                for (labels, value) in self.region.samples(time) {
                    self.server.store().append(&labels, time, value).expect("scrapes ascend in time");
                }
            }
            self.next_scrape += 1;
        }
    }
}

const METADATA: [(&str, &str, &str); 6] = [
    ("up", "gauge", "1 if the last scrape succeeded."),
    ("http_requests_total", "counter", "Requests served."),
    ("http_request_duration_seconds", "histogram", "Time to serve a request."),
    ("node_memory_MemTotal_bytes", "gauge", "Memory of the machine."),
    ("node_memory_MemAvailable_bytes", "gauge", "Memory that programs can have."),
    ("node_load1", "gauge", "Load average over one minute."),
];

fn config_text(replicas: &[Replica]) -> String {
    let mut text = String::from("promxy:\n  server_groups:\n");
    for group in replicas.chunk_by(|a, b| a.region.name == b.region.name) {
        let targets: Vec<String> = group.iter().map(|replica| format!("\"{}\"", replica.server.target())).collect();
        let (name, targets) = (group[0].region.name, targets.join(", "));
        text.push_str(&format!(
            "    - name: {name}\n      static_configs:\n        - targets: [{targets}]\n      labels:\n        region: {name}\n      anti_affinity: 10s\n"
        ));
    }
    text
}

/// Title and path of each example, for the page at `/`.
fn example_links(now: TimestampMs) -> Vec<(String, String)> {
    let path = |call: &str, parameters: &[(&str, &str)]| {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        format!("/api/v1/{call}?{form}")
    };
    let instants = EXAMPLES.map(|(title, query)| (title.to_owned(), path("query", &[("query", query)])));
    let (start, end) = ((now - DurationMs(3_600_000)).to_string(), now.to_string());
    let hour = [("query", "count_over_time(up[5m])"), ("start", &start), ("end", &end), ("step", "60")];
    let range = ("the hour before the demo began, across holes of all replicas".to_owned(), path("query_range", &hour));
    instants.into_iter().chain([range]).collect()
}
