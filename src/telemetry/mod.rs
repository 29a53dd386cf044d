//! L0: what the process says of itself: logs, the access log, `/metrics`.

mod access_log;
mod grpc_metrics;
mod label_filter_metrics;
mod latency;
mod logging;
mod memory_limit;
mod metrics;
mod process_metrics;
mod target_metrics;

pub use access_log::{AccessLog, AccessRecord, form_for_log};
pub use label_filter_metrics::LabelFilterMetrics;
pub use latency::RecentLatencies;
pub use logging::{LogFormat, LogLevel, init_logging};
pub use memory_limit::usable_memory_bytes;
pub use metrics::{Metrics, QueryTimer};
pub use target_metrics::{CANCELED, CallCounts, CallKind, SUCCESS, TargetMetrics, TargetRegistry};
