//! L4: sources of series as DataFusion tables.

mod downstream_exec;
mod groups_source;
mod series_source;
mod series_table;
mod shared_scan;
mod task_config;
mod unite_series_exec;

pub use downstream_exec::{DownstreamExec, ScannedParts};
pub use groups_source::GroupsSource;
pub use series_source::{ScanRequest, SelectorForm, SeriesSource};
pub use series_table::{SeriesColumn, SeriesTable};
pub use shared_scan::SharedScan;
pub use task_config::with_config;
pub use unite_series_exec::UniteSeriesExec;
