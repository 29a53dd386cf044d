//! `promxy.server_groups[]`: one set of replicas that hold the same data.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::flight::{FlightConfig, read_flight};
use super::http_client::{Auth, HTTP_CLIENT_KEYS, HttpClientConfig, read_http_client, read_wait};
use super::http_header::read_headers;
use super::label_filter::{LabelFilterConfig, read_label_filter};
use super::labels::{read_labels, read_target_labels};
use super::matcher_text::parse_matchers;
use super::problem::{Problems, quote};
use super::relabel::{MetricsRelabel, read_metrics_relabel, read_relabel_rule};
use super::secret::Secret;
use super::section::{Item, Section};
use super::server_group_keys::{NATIVE_HISTOGRAM_KEYS, SERVER_GROUP_KEYS, STATIC_CONFIG_KEYS};
use super::target::check_path_prefix;
use super::target_address::check_target_address;
use super::time_range::{AbsoluteTimeRange, RelativeTimeRange, read_absolute_time_range, read_relative_time_range};
use super::tls::TlsConfig;
use crate::model::{DurationMs, EvaluationMode, Labels, Matcher, RelabelRule};

/// One server group: targets that hold the same data (an HA group), and how to ask them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerGroupConfig {
    /// For logs, errors and metrics only.
    pub name: Option<String>,
    /// The targets.
    pub static_configs: Vec<StaticConfig>,
    /// Added to every returned series, over any label of the same name; also routes queries.
    pub labels: Labels,
    /// Run over the labels of every target; see [`ServerGroupConfig::target`].
    pub relabel_configs: Vec<RelabelRule>,
    /// Run over the labels of every returned series; queries are turned round to match.
    pub metrics_relabel_configs: Vec<MetricsRelabel>,
    /// Added to every selector that is sent. Patterns compile.
    pub inject_matchers: Vec<Matcher>,
    /// Selectors that cannot match are not sent.
    pub label_filter: Option<LabelFilterConfig>,
    /// The group says that no other group holds any series of it.
    pub disjoint: bool,
    /// http by default.
    pub scheme: Scheme,
    /// Path before `/api/v1/…`: empty, or with a leading and without a trailing slash.
    pub path_prefix: String,
    /// Added to every API call. Values are treated as secrets: people put tokens there.
    pub query_params: BTreeMap<String, Secret>,
    /// Set on every API call. Values are treated as secrets.
    pub http_headers: BTreeMap<String, Secret>,
    /// How long one replica must have been silent before another may fill in. Default 10s.
    pub anti_affinity: DurationMs,
    /// Find that length from the samples of each series instead.
    pub anti_affinity_dynamic: bool,
    /// Of two samples that stand for one scrape, take the larger.
    pub prefer_max: bool,
    /// How the group takes part in queries; `None`: as the whole program does.
    pub mode: Option<EvaluationMode>,
    /// Whether raw samples are fetched by remote read; `None`: where the target speaks it.
    pub remote_read: Option<bool>,
    /// Path of remote read below `path_prefix`, without slashes around it. Default `api/v1/read`.
    pub remote_read_path: String,
    /// Whether and where targets are asked over Arrow Flight.
    pub flight: FlightConfig,
    /// Accepted, without effect.
    pub native_histogram: Option<NativeHistogramConfig>,
    /// When the group has samples, seen from now.
    pub relative_time_range: Option<RelativeTimeRange>,
    /// When the group has samples; with a relative range, both must hold.
    pub absolute_time_range: Option<AbsoluteTimeRange>,
    /// The servers move the start of range queries to a multiple of their step.
    pub align_query_range_with_step: bool,
    /// Longest wait for the head of a response; none by default.
    pub timeout: Option<Duration>,
    /// Idle connections kept for each target. Default 1000.
    pub max_idle_conns_per_host: usize,
    /// How long an idle connection is kept. Default 5m.
    pub idle_conn_timeout: Duration,
    /// When the whole group fails, answer without it and say nothing.
    pub ignore_error: bool,
    /// When the whole group fails, answer without it and warn.
    pub downgrade_error: bool,
    /// Connections, credentials, TLS.
    pub http_client: HttpClientConfig,
}

impl Default for ServerGroupConfig {
    /// promxy's defaults.
    fn default() -> Self {
        Self {
            name: None,
            static_configs: Vec::new(),
            labels: Labels::default(),
            relabel_configs: Vec::new(),
            metrics_relabel_configs: Vec::new(),
            inject_matchers: Vec::new(),
            label_filter: None,
            disjoint: false,
            scheme: Scheme::Http,
            path_prefix: String::new(),
            query_params: BTreeMap::new(),
            http_headers: BTreeMap::new(),
            anti_affinity: DurationMs(10_000),
            anti_affinity_dynamic: false,
            prefer_max: false,
            mode: None,
            remote_read: None,
            remote_read_path: "api/v1/read".to_owned(),
            flight: FlightConfig::FindOut,
            native_histogram: None,
            relative_time_range: None,
            absolute_time_range: None,
            align_query_range_with_step: false,
            timeout: None,
            max_idle_conns_per_host: 1000,
            idle_conn_timeout: Duration::from_secs(300),
            ignore_error: false,
            downgrade_error: false,
            http_client: HttpClientConfig::default(),
        }
    }
}

/// promxy's `native_histogram`: read, without effect.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NativeHistogramConfig {
    /// How often promxy asks which metrics are histograms.
    pub metadata_refresh: Duration,
    /// Whether promxy may read histograms over the query API.
    pub allow_lossy: bool,
}

/// Targets that share labels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StaticConfig {
    /// `host:port`, `host`, `[v6]:port`.
    pub targets: Vec<String>,
    /// The targets' labels as discovered; `relabel_configs` see them. Names that begin with `__` are not for series.
    pub labels: Labels,
}

/// How a target is spoken to.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Scheme {
    /// Plain text.
    #[default]
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One item of `server_groups`.
pub(super) fn read_server_group(item: &Item<'_>, problems: &mut Problems) -> ServerGroupConfig {
    let section = Section::open(item, &SERVER_GROUP_KEYS, &[&HTTP_CLIENT_KEYS, &STATIC_CONFIG_KEYS], problems);
    let errors_before = problems.errors.len();
    let name = section.get("name").and_then(|item| item.text(problems)).filter(|name| !name.is_empty());
    let mut group = ServerGroupConfig { name, ..ServerGroupConfig::default() };
    if let Some(item) = section.get("static_configs") {
        let has_relabelling = section.get("relabel_configs").is_some();
        let configs = item.items(problems);
        group.static_configs = configs.iter().map(|item| read_static_config(item, has_relabelling, problems)).collect();
    }
    if let Some(item) = section.get("labels") {
        group.labels = read_labels(item, problems);
    }
    read_label_keys(&section, &mut group, problems);
    read_address_keys(&section, &mut group, problems);
    read_merge_keys(&section, &mut group, problems);
    read_sample_keys(&section, &mut group, problems);
    read_connection_keys(&section, &mut group, problems);
    check_group(item, &section, &group, problems);
    // Where a key is wrong already, what comes of it says nothing new.
    if problems.errors.len() == errors_before {
        check_targets(&section, &group, problems);
    }
    group
}

fn read_address_keys(section: &Section<'_>, group: &mut ServerGroupConfig, problems: &mut Problems) {
    if let Some(scheme) = section.get("scheme").and_then(|item| read_group_scheme(item, problems)) {
        group.scheme = scheme;
    }
    if let Some(prefix) = section.get("path_prefix").and_then(|item| read_path_prefix(item, problems)) {
        group.path_prefix = prefix;
    }
    if let Some(item) = section.get("query_params") {
        group.query_params = read_query_params(item, problems);
    }
    if let Some(item) = section.get("http_headers") {
        group.http_headers = read_headers(item, problems);
    }
}

fn read_label_keys(section: &Section<'_>, group: &mut ServerGroupConfig, problems: &mut Problems) {
    if let Some(item) = section.get("relabel_configs") {
        let rules = item.items(problems);
        group.relabel_configs = rules.iter().filter_map(|item| read_relabel_rule(item, problems)).collect();
    }
    if let Some(item) = section.get("metrics_relabel_configs") {
        let rules = item.items(problems);
        group.metrics_relabel_configs = rules.iter().filter_map(|item| read_metrics_relabel(item, problems)).collect();
    }
    for item in section.get("inject_matchers").map(|item| item.items(problems)).unwrap_or_default() {
        let Some(text) = item.text(problems) else { continue };
        match parse_matchers(&text) {
            Ok(matchers) => group.inject_matchers.extend(matchers),
            Err(message) => item.error(problems, message),
        }
    }
    group.label_filter = section.get("label_filter").map(|item| read_label_filter(item, problems));
}

/// Where the samples of the group are, and how they are fetched.
fn read_sample_keys(section: &Section<'_>, group: &mut ServerGroupConfig, problems: &mut Problems) {
    if let Some(item) = section.get("mode") {
        let parsed = item.text(problems).map(|text| text.parse::<EvaluationMode>());
        match parsed {
            Some(Ok(mode)) => group.mode = Some(mode),
            Some(Err(error)) => item.error(problems, error.to_string()),
            None => {}
        }
    }
    group.remote_read = section.get("remote_read").and_then(|item| item.truth(problems));
    if let Some(item) = section.get("remote_read_path") {
        match read_path_prefix(item, problems) {
            Some(path) if path.is_empty() => item.error(problems, "is empty, write for example \"api/v1/read\""),
            Some(path) => group.remote_read_path = path.trim_start_matches('/').to_owned(),
            None => {}
        }
        if group.remote_read == Some(false) {
            item.warn(problems, "has no effect: remote_read is false");
        }
    }
    if let Some(item) = section.get("flight") {
        group.flight = read_flight(item, problems);
    }
    group.native_histogram = section.get("native_histogram").map(|item| read_native_histogram(item, problems));
    group.relative_time_range = section.get("relative_time_range").map(|item| read_relative_time_range(item, problems));
    group.absolute_time_range = section.get("absolute_time_range").map(|item| read_absolute_time_range(item, problems));
    if let Some(truth) = section.get("align_query_range_with_step").and_then(|item| item.truth(problems)) {
        group.align_query_range_with_step = truth;
    }
}

fn read_native_histogram(item: &Item<'_>, problems: &mut Problems) -> NativeHistogramConfig {
    let section = Section::open(item, &NATIVE_HISTOGRAM_KEYS, &[], problems);
    let metadata_refresh = section.get("metadata_refresh").and_then(|item| item.duration(problems));
    let allow_lossy = section.get("allow_lossy").and_then(|item| item.truth(problems));
    let config = NativeHistogramConfig {
        metadata_refresh: metadata_refresh.unwrap_or_default(),
        allow_lossy: allow_lossy.unwrap_or_default(),
    };
    if config != NativeHistogramConfig::default() {
        let text = "has no effect and is not needed: remote read carries native histograms whole, and what a server \
                    gives only in part is said in the answer";
        item.warn(problems, text);
    }
    config
}

fn read_merge_keys(section: &Section<'_>, group: &mut ServerGroupConfig, problems: &mut Problems) {
    if let Some(window) = section.get("anti_affinity").and_then(|item| item.duration_ms(problems)) {
        group.anti_affinity = window;
    }
    for (key, place) in [
        ("anti_affinity_dynamic", &mut group.anti_affinity_dynamic),
        ("prefer_max", &mut group.prefer_max),
        ("disjoint", &mut group.disjoint),
        ("ignore_error", &mut group.ignore_error),
        ("downgrade_error", &mut group.downgrade_error),
    ] {
        if let Some(truth) = section.get(key).and_then(|item| item.truth(problems)) {
            *place = truth;
        }
    }
}

fn read_connection_keys(section: &Section<'_>, group: &mut ServerGroupConfig, problems: &mut Problems) {
    group.timeout = section.get("timeout").and_then(|item| item.duration(problems)).filter(|wait| !wait.is_zero());
    if let Some(item) = section.get("max_idle_conns_per_host") {
        match item.count(problems) {
            Some(0) => item.error(problems, "0 would open a connection for every request, write 1 or more"),
            Some(count) => group.max_idle_conns_per_host = count,
            None => {}
        }
    }
    if let Some(wait) = section.get("idle_conn_timeout").and_then(|item| read_wait(item, problems)) {
        group.idle_conn_timeout = wait;
    }
    if let Some(item) = section.get("http_client") {
        group.http_client = read_http_client(item, problems);
    }
}

/// What only shows when the whole group is known.
fn check_group(item: &Item<'_>, section: &Section<'_>, group: &ServerGroupConfig, problems: &mut Problems) {
    if group.static_configs.iter().all(|config| config.targets.is_empty()) {
        item.warn(problems, "this server group has no targets and answers nothing");
    }
    if group.ignore_error
        && group.downgrade_error
        && let Some(item) = section.get("downgrade_error")
    {
        item.warn(problems, "has no effect: ignore_error is set too and wins");
    }
    if group.scheme == Scheme::Http
        && group.http_client.tls_config != TlsConfig::default()
        && let Some(item) = section.get("http_client")
    {
        item.warn(problems, "tls_config has no effect: scheme is http, write scheme: https");
    }
    check_flight(section, group, problems);
    let sets_authorization = group.http_headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
    if sets_authorization
        && let Some(Auth::Basic { .. } | Auth::Authorization { .. }) = &group.http_client.auth
        && let Some(item) = section.get("http_headers")
    {
        item.error(problems, "sets Authorization, and http_client has credentials too, keep one of them");
    }
}

fn check_flight(section: &Section<'_>, group: &ServerGroupConfig, problems: &mut Problems) {
    let Some(item) = section.get("flight") else { return };
    let is_asked = !matches!(group.flight, FlightConfig::FindOut | FlightConfig::Never);
    if is_asked && group.scheme == Scheme::Https {
        item.warn(problems, "has no effect: scheme is https, and Arrow Flight is not asked over TLS yet");
    }
    let target_count: usize = group.static_configs.iter().map(|config| config.targets.len()).sum();
    if let FlightConfig::Address(address) = &group.flight
        && target_count > 1
    {
        let port = address.rsplit_once(':').map_or("port", |(_, port)| port);
        let text =
            format!("all {target_count} targets would be asked at {address}, write \":{port}\" for that port of each");
        item.error(problems, text);
    }
}

/// What the targets of the file become under `relabel_configs`.
fn check_targets(section: &Section<'_>, group: &ServerGroupConfig, problems: &mut Problems) {
    let rules = section.get("relabel_configs");
    for rule in &group.relabel_configs {
        let target = rule.target_label.as_str();
        if let Some(item) = rules
            && (target.starts_with("__param_") || target == "__metrics_path__")
        {
            item.warn(problems, format!("{target} has no effect: it is for scraping, use query_params or path_prefix"));
        }
    }
    let Some(item) = rules.or(section.get("static_configs")) else { return };
    let mut is_every_one_dropped = true;
    for discovered in group.static_targets() {
        match group.target(&discovered) {
            Ok(target) => is_every_one_dropped &= target.is_none(),
            Err(message) => {
                is_every_one_dropped = false;
                let address = discovered.get("__address__").unwrap_or_default();
                item.error(problems, format!("target {}: {message}", quote(address)));
            }
        }
    }
    if is_every_one_dropped && group.static_targets().next().is_some() {
        item.warn(problems, "relabel_configs drop every target, the group answers nothing");
    }
}

fn read_static_config(item: &Item<'_>, has_relabelling: bool, problems: &mut Problems) -> StaticConfig {
    let section = Section::open(item, &STATIC_CONFIG_KEYS, &[&SERVER_GROUP_KEYS], problems);
    let mut config = StaticConfig::default();
    let mut seen = HashSet::new();
    for item in section.get("targets").map(|item| item.items(problems)).unwrap_or_default() {
        let Some(target) = item.text(problems) else { continue };
        if let Err(message) = check_target_address(&target) {
            item.error(problems, message);
        } else if !seen.insert(target.clone()) {
            item.warn(problems, format!("{} stands here twice, it is asked once", quote(&target)));
        } else {
            config.targets.push(target);
        }
    }
    if let Some(item) = section.get("labels") {
        config.labels = read_target_labels(item, has_relabelling, problems);
    }
    config
}

fn read_group_scheme(item: &Item<'_>, problems: &mut Problems) -> Option<Scheme> {
    let text = item.text(problems)?;
    match text.to_ascii_lowercase().as_str() {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => {
            item.error(problems, format!("{} is not a scheme, write http or https", quote(&text)));
            None
        }
    }
}

/// With a leading slash and without a trailing one; promxy adds the leading one too.
fn read_path_prefix(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let text = item.text(problems)?;
    check_path_prefix(&text).map_err(|message| item.error(problems, message)).ok()
}

fn read_query_params(item: &Item<'_>, problems: &mut Problems) -> BTreeMap<String, Secret> {
    let mut params = BTreeMap::new();
    for entry in item.entries(problems) {
        if entry.key().is_empty() {
            entry.error(problems, "a query parameter needs a name");
        } else if entry.is_null() {
            params.insert(entry.key().to_owned(), Secret::new(""));
        } else if let Some(value) = entry.text(problems) {
            params.insert(entry.key().to_owned(), Secret::new(value));
        }
    }
    params
}
