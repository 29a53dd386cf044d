//! The config file: promxy's YAML, read without loss, complete and checked.

mod duration;
mod http_client;
mod problem;
mod secret;
mod server_group;
mod yaml;

pub use http_client::{Auth, HttpClientConfig, SecretSource, TlsConfig, TlsVersion};
pub use secret::{REDACTED, Secret};
pub use server_group::{Scheme, ServerGroupConfig, StaticConfig};

use crate::model::{DurationMs, Labels};

/// A whole config file, with every default filled in. It never changes: a reload makes a new one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Prometheus' own `global` section.
    pub global: GlobalConfig,
    /// promxy's section.
    pub promxy: PromxyConfig,
}

/// `global`: what is said of the gateway as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobalConfig {
    /// Step of a subquery that names none (`[1h:]`). Default 1m.
    pub evaluation_interval: DurationMs,
    /// Who this gateway is, for those who collect from several: on federated series and alerts, never on query results.
    pub external_labels: Labels,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self { evaluation_interval: DurationMs(60_000), external_labels: Labels::default() }
    }
}

/// `promxy`: the servers behind us.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PromxyConfig {
    /// The groups, in the order of the file.
    pub server_groups: Vec<ServerGroupConfig>,
}
