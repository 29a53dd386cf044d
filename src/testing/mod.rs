//! The embedded Prometheus, fixtures and the test-file runner; behind `demo` and `test`.

mod batches;
pub mod demo;
pub mod fake_prometheus;
pub mod fuzzing;
mod gateway;
mod go_string;
mod layout;
mod loopback_gateway;
mod memory_downstream;
mod memory_store;
mod parser_cases;
pub mod promqltest;
mod series_notation;

pub use batches::{diff_tables, format_tables};
pub use gateway::{TestGateway, Transport};
pub use layout::{GroupShape, Layout, PlacedSamples};
pub use loopback_gateway::{LoopbackGateway, Seat};
pub use memory_downstream::MemoryDownstream;
pub use memory_store::MemoryStore;
pub use parser_cases::{CaseReport, run_parser_cases};
pub use series_notation::{
    NotationError, SequenceValue, SeriesNotation, TimedSample, format_float, format_histogram, format_labels,
    format_values, parse_labels, parse_start_offsets, parse_values,
};
