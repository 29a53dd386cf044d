//! L2: transport to one Prometheus-compatible server. Asks, decodes, and says precisely what went wrong; nothing here merges
//! replicas or rewrites labels.

mod credentials;
mod dial;
mod response_error;
mod target_url;
mod tls;

pub use target_url::TargetUrl;
