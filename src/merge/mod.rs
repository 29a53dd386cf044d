//! L1: replicas of a series become one series, groups' answers one answer. Pure functions on slices and tables.
//!
//! [`merge_samples`] and [`merge_steps`] merge one series; [`merge_tables`] applies them to whole tables, sorted by labels, and
//! [`StreamMerge`] to tables that are still arriving.
//! Nothing here knows where a replica came from or in which order it arrived: any order gives the same result.

mod exemplars;
mod label_sets;
mod replica;
mod row_index;
mod scrape_spacing;
mod sparse_steps;
mod started_sample;
mod steps;
mod stream;
mod tables;

pub use exemplars::unite_exemplars;
pub use label_sets::{unite_label_sets, unite_metadata, unite_names};
pub use replica::{MergePolicy, Samples, merge_samples};
pub use scrape_spacing::infer_anti_affinity_ms;
pub use sparse_steps::{SparseSteps, SparseStepsBuilder, sparse_steps_at_step_times};
pub use started_sample::{MergeValue, StartedSample, StartedSamples, is_mixed_row, mixed_cells};
pub use steps::{StepCell, merge_steps};
pub use stream::{ReadyTables, StreamMerge};
pub use tables::{MergedTables, ReplicaTables, TableForm, merge_tables, sort_replica};
