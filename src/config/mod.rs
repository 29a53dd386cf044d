//! The config file: promxy's YAML, read without loss, complete and checked.
//!
//! ```text
//!  text ─ yaml: tree of raw texts with places ─ source: the `config` crate lays the environment over it
//!                                                     │
//!        Config, or every error with file:line:col ─ section: typed values ─ promxy, global, server_group, http_client, tls
//! ```

mod duration;
mod external_labels;
mod flight;
mod global;
mod http_client;
mod http_header;
mod known_keys;
mod label_filter;
mod labels;
mod load;
mod matcher_text;
mod problem;
mod promxy;
mod redacted_yaml;
mod reference;
mod relabel;
mod secret;
mod secret_file;
mod section;
mod server_group;
mod server_group_keys;
mod source;
mod target;
mod target_address;
mod time_range;
mod tls;
mod yaml;

pub use duration::parse_duration_ms;
pub use external_labels::external_labels;
pub use flight::FlightConfig;
pub use global::GlobalConfig;
pub use http_client::{Auth, HttpClientConfig, SecretSource};
pub use label_filter::{LabelFilterConfig, OnSyncError};
pub use load::{CheckReport, LoadedConfig, check, load, load_with_warnings, parse, parse_with_environment};
pub use problem::{ConfigError, Place, Problem};
pub use promxy::PromxyConfig;
pub use reference::reference_markdown;
pub use relabel::{MetricsRelabel, MetricsRelabelAction};
pub use secret::{REDACTED, Secret};
pub use server_group::{NativeHistogramConfig, Scheme, ServerGroupConfig, StaticConfig};
pub use source::ENVIRONMENT_PREFIX;
pub use target::TargetConfig;
pub use time_range::{AbsoluteTimeRange, RelativeTimeRange};
pub use tls::{TlsConfig, TlsVersion};
pub use yaml::Position;

/// A whole config file, with every default filled in. It never changes: a reload makes a new one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Prometheus' own `global` section.
    pub global: GlobalConfig,
    /// promxy's section.
    pub promxy: PromxyConfig,
}
