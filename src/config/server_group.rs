//! `promxy.server_groups[]`: one set of replicas that hold the same data.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::http_client::HttpClientConfig;
use super::secret::Secret;
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
