//! L4: sources of series as DataFusion tables.

mod series_source;

pub use series_source::{SelectorForm, SeriesSource, SeriesStream};
