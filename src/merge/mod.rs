//!
//! Nothing here knows where a replica came from or in which order it arrived: any order gives the same result.

mod label_sets;
mod replica;
mod scrape_spacing;
mod steps;

pub use label_sets::{unite_label_sets, unite_metadata, unite_names};
pub use replica::{MergePolicy, Samples, merge_samples};
pub use scrape_spacing::infer_anti_affinity_ms;
pub use steps::{StepCell, merge_steps};
