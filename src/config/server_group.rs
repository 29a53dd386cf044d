//! `promxy.server_groups[]`: one set of replicas that hold the same data.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::http_client::{Auth, HTTP_CLIENT_KEYS, HttpClientConfig, read_http_client, read_wait};
use super::http_header::read_headers;
use super::known_keys::{Key, KeyTable};
use super::labels::{read_labels, read_target_labels};
use super::problem::{Problems, quote};
use super::secret::Secret;
use super::section::{Item, Section};
use super::target_address::check_target_address;
use super::tls::TlsConfig;
use crate::model::{DurationMs, Labels};

/// One server group: targets that hold the same data (an HA group), and how to ask them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerGroupConfig {
    /// For logs, errors and metrics only.
    pub name: Option<String>,
    /// The targets.
    pub static_configs: Vec<StaticConfig>,
    /// Added to every returned series, over any label of the same name; also routes queries.
    pub labels: Labels,
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
            scheme: Scheme::Http,
            path_prefix: String::new(),
            query_params: BTreeMap::new(),
            http_headers: BTreeMap::new(),
            anti_affinity: DurationMs(10_000),
            anti_affinity_dynamic: false,
            prefer_max: false,
            timeout: None,
            max_idle_conns_per_host: 1000,
            idle_conn_timeout: Duration::from_secs(300),
            ignore_error: false,
            downgrade_error: false,
            http_client: HttpClientConfig::default(),
        }
    }
}

/// Targets that share labels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StaticConfig {
    /// `host:port`, `host`, `[v6]:port`.
    pub targets: Vec<String>,
    /// Added to the series of these targets, unless the group's `labels` name them too. Names that begin with `__` have
    /// been dropped: they tell discovery something, they are not labels of series.
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

/// The keys of a server group.
pub static SERVER_GROUP_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[]",
    about: "One set of Prometheus servers that hold the same data (a high-availability group). Quiver asks all of them \
            and merges what they answer. Servers that hold different data belong into different groups.",
    keys: &[
        Key {
            name: "name",
            form: "text",
            default: "none",
            about: "What the group is called in logs, errors and metrics. Two groups should not share a name.",
            example: "name: eu-west",
        },
        Key {
            name: "static_configs",
            form: "list of sections",
            default: "empty",
            about: "The targets of the group. A group without targets answers nothing, with a warning at start.",
            example: "static_configs: [{targets: [\"prom-a:9090\", \"prom-b:9090\"]}]",
        },
        Key {
            name: "labels",
            form: "label names and values",
            default: "empty",
            about: "Added to every series of the group, over any label of the same name. A query that asks for another \
                    value of such a label never reaches the group. Give groups that hold different data different labels.",
            example: "labels: {region: eu-west}",
        },
        Key {
            name: "scheme",
            form: "http or https",
            default: "http",
            about: "How the targets are spoken to.",
            example: "scheme: https",
        },
        Key {
            name: "path_prefix",
            form: "path",
            default: "empty",
            about: "Stands before `/api/v1/…` in every request, as Prometheus' own `--web.route-prefix`.",
            example: "path_prefix: /prometheus",
        },
        Key {
            name: "query_params",
            form: "names and secret texts",
            default: "empty",
            about: "Added to the query string of every request. Values are shown nowhere: tokens are often among them.",
            example: "query_params: {nocache: \"1\"}",
        },
        Key {
            name: "http_headers",
            form: "names and secret texts",
            default: "empty",
            about: "Set on every request. Values are shown nowhere. Headers of the connection and of the body, such as \
                    `Host` and `Content-Type`, cannot be set.",
            example: "http_headers: {X-Scope-OrgID: tenant-1}",
        },
        Key {
            name: "anti_affinity",
            form: "duration",
            default: "10s",
            about: "How long one replica must have had no sample before the sample of another fills in. Replicas scrape at \
                    different moments; without this both samples of one scrape would show up. Set it to about the \
                    scrape interval. Quiver counts milliseconds where promxy rounds down to whole seconds.",
            example: "anti_affinity: 15s",
        },
        Key {
            name: "anti_affinity_dynamic",
            form: "true or false",
            default: "false",
            about: "Find that length from the samples of each series instead. For groups in which scrape intervals differ.",
            example: "anti_affinity_dynamic: true",
        },
        Key {
            name: "prefer_max",
            form: "true or false",
            default: "false",
            about: "Of two replicas' samples that stand for one scrape, take the larger. Helps where a \
                    replica that restarted reports too small values; wrong where small values are the true ones.",
            example: "prefer_max: true",
        },
        Key {
            name: "timeout",
            form: "duration",
            default: "none",
            about: "Longest wait for the head of a target's response. `0s` is no limit of its own; the query's still holds.",
            example: "timeout: 30s",
        },
        Key {
            name: "max_idle_conns_per_host",
            form: "whole number",
            default: "1000",
            about: "Idle connections kept for each target. Each costs a file descriptor here and there.",
            example: "max_idle_conns_per_host: 100",
        },
        Key {
            name: "idle_conn_timeout",
            form: "duration",
            default: "5m",
            about: "How long an idle connection is kept. Below the target's own limit, so that it is never the target that \
                    closes a connection just as a request goes out.",
            example: "idle_conn_timeout: 1m",
        },
        Key {
            name: "ignore_error",
            form: "true or false",
            default: "false",
            about: "When the whole group fails, answer without it and say nothing. Answers are then short without a sign.",
            example: "ignore_error: true",
        },
        Key {
            name: "downgrade_error",
            form: "true or false",
            default: "false",
            about: "When the whole group fails, answer without it and add a warning. With `ignore_error`, that one wins.",
            example: "downgrade_error: true",
        },
        Key {
            name: "http_client",
            form: "section",
            default: "no credentials",
            about: "Connections, credentials, TLS.",
            example: "http_client: {dial_timeout: 1s}",
        },
    ],
    not_built: &[
        ("absolute_time_range", ""),
        ("align_query_range_with_step", ""),
        ("azure_sd_configs", USE_STATIC),
        ("consul_sd_configs", USE_STATIC),
        ("digitalocean_sd_configs", USE_STATIC),
        ("dns_sd_configs", USE_STATIC),
        ("docker_sd_configs", USE_STATIC),
        ("dockerswarm_sd_configs", USE_STATIC),
        ("ec2_sd_configs", USE_STATIC),
        ("eureka_sd_configs", USE_STATIC),
        ("file_sd_configs", USE_STATIC),
        ("gce_sd_configs", USE_STATIC),
        ("hetzner_sd_configs", USE_STATIC),
        ("http_sd_configs", USE_STATIC),
        ("inject_matchers", ""),
        ("ionos_sd_configs", USE_STATIC),
        ("kubernetes_sd_configs", USE_STATIC),
        ("kuma_sd_configs", USE_STATIC),
        ("label_filter", ""),
        ("lightsail_sd_configs", USE_STATIC),
        ("linode_sd_configs", USE_STATIC),
        ("marathon_sd_configs", USE_STATIC),
        ("metrics_relabel_configs", ""),
        ("native_histogram", ""),
        ("nerve_sd_configs", USE_STATIC),
        ("nomad_sd_configs", USE_STATIC),
        ("openstack_sd_configs", USE_STATIC),
        ("ovhcloud_sd_configs", USE_STATIC),
        ("puppetdb_sd_configs", USE_STATIC),
        ("relabel_configs", "set scheme, path_prefix and labels of the server group"),
        ("relative_time_range", ""),
        ("remote_read", "take it out: raw samples are fetched over the query API"),
        ("scaleway_sd_configs", USE_STATIC),
        ("serverset_sd_configs", USE_STATIC),
        ("stackit_sd_configs", USE_STATIC),
        ("triton_sd_configs", USE_STATIC),
        ("uyuni_sd_configs", USE_STATIC),
        ("vultr_sd_configs", USE_STATIC),
    ],
    inert: &[
        ("max_idle_conns", "idle connections are limited for each target by max_idle_conns_per_host"),
        ("remote_read_path", "remote read is not built yet in this version of Quiver"),
    ],
};

const USE_STATIC: &str = "list the targets under static_configs";

/// The keys of an item of `static_configs`.
pub static STATIC_CONFIG_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].static_configs[]",
    about: "Targets that are known by name.",
    keys: &[
        Key {
            name: "targets",
            form: "list of host:port",
            default: "empty",
            about: "Addresses without scheme and path. Without a port, that of the scheme is used.",
            example: "targets: [\"prom-a:9090\", \"[2001:db8::1]:9090\"]",
        },
        Key {
            name: "labels",
            form: "label names and values",
            default: "empty",
            about: "Added to the series of these targets only; the group's `labels` win over them. Replicas must have the \
                    same labels, or their series are not merged.",
            example: "labels: {rack: r1}",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// One item of `server_groups`.
pub(super) fn read_server_group(item: &Item<'_>, problems: &mut Problems) -> ServerGroupConfig {
    let section = Section::open(item, &SERVER_GROUP_KEYS, &[&HTTP_CLIENT_KEYS, &STATIC_CONFIG_KEYS], problems);
    let name = section.get("name").and_then(|item| item.text(problems)).filter(|name| !name.is_empty());
    let mut group = ServerGroupConfig { name, ..ServerGroupConfig::default() };
    if let Some(item) = section.get("static_configs") {
        group.static_configs = item.items(problems).iter().map(|item| read_static_config(item, problems)).collect();
    }
    if let Some(item) = section.get("labels") {
        group.labels = read_labels(item, problems);
    }
    read_address_keys(&section, &mut group, problems);
    read_merge_keys(&section, &mut group, problems);
    read_connection_keys(&section, &mut group, problems);
    check_group(item, &section, &group, problems);
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

fn read_merge_keys(section: &Section<'_>, group: &mut ServerGroupConfig, problems: &mut Problems) {
    if let Some(window) = section.get("anti_affinity").and_then(|item| item.duration_ms(problems)) {
        group.anti_affinity = window;
    }
    for (key, place) in [
        ("anti_affinity_dynamic", &mut group.anti_affinity_dynamic),
        ("prefer_max", &mut group.prefer_max),
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
    let sets_authorization = group.http_headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
    if sets_authorization
        && let Some(Auth::Basic { .. } | Auth::Authorization { .. }) = &group.http_client.auth
        && let Some(item) = section.get("http_headers")
    {
        item.error(problems, "sets Authorization, and http_client has credentials too, keep one of them");
    }
}

fn read_static_config(item: &Item<'_>, problems: &mut Problems) -> StaticConfig {
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
        config.labels = read_target_labels(item, problems);
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
    if text.contains(['?', '#']) {
        item.error(problems, "a path cannot hold a query, use query_params");
        return None;
    }
    if let Some(odd) = text
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'))
    {
        item.error(problems, format!("{} holds {odd:?}, which must be percent-encoded in a path", quote(&text)));
        return None;
    }
    match text.trim_matches('/') {
        "" => Some(String::new()),
        path => Some(format!("/{path}")),
    }
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
