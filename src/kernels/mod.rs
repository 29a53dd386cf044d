//! L1: PromQL's arithmetic on slices. No DataFusion, no async, no labels: what a number becomes, and nothing else.
//!
//! Every function here follows Prometheus v3.14 to the order of its additions, so that answers agree to the last digit.
//! Never use fused multiply-add, vectorised sums or Rust's own `f64::min`/`max` here: all three change results. (The one
//! exception is `go_math::exp`: Go's own is fused.)

mod binary_operator;
mod calendar;
mod cells;
mod classic_buckets;
mod counter_functions;
mod exact_sums;
mod extended_range;
mod go_float;
mod go_math;
mod histogram_range;
mod histogram_stats;
mod instant_function;
mod kahan_sum;
mod kernel_error;
mod lookback;
pub mod native_histogram;
mod over_time_functions;
mod quantile;
mod range_function;
#[cfg(test)]
mod range_function_properties;
mod ranked_window;
mod select_top;
mod sliding_count;
mod sliding_extreme;
mod start_time;
mod started_counters;
mod step_fold;
mod step_scalar;
mod trend_functions;
mod window_lanes;
#[cfg(test)]
mod window_walks;
mod windows;

pub use binary_operator::{ArithmeticOp, ComparisonOp};
pub use cells::CellSink;
pub use classic_buckets::{Bucket, BucketQuantile, bucket_fraction, bucket_quantile};
pub use extended_range::{
    ExtendedFunction, ExtendedWindows, WindowExtension, evaluate_extended_range, evaluate_mixed_extended_range,
    extend_to_edges, smooth_mixed_to_steps, smooth_to_steps,
};
pub use go_float::{clamp, clamp_max, clamp_min, max_of, min_of, round_to_nearest};
pub use histogram_range::{MixedCells, MixedSeries, RangeNote, RangeNotes, StartTimes, evaluate_mixed_range_function};
pub use histogram_stats::{histogram_stats, without_buckets};
pub use instant_function::InstantFunction;
pub use kahan_sum::KahanSum;
pub use kernel_error::KernelError;
pub use lookback::{
    align_mixed_to_steps, align_to_steps, align_to_steps_timed, newest_at_steps, newest_mixed_at_steps, remove_stale,
};
pub use quantile::quantile;
pub use range_function::{RangeFunction, evaluate_range_function};
pub use select_top::{heap_order, parse_k, parse_k_per_step, select_top};
pub use start_time::{is_start_time_reset, start_times_overlap};
pub use started_counters::{StartedSamples, evaluate_started_counter, looks_at_start_times};
pub use step_fold::{AvgFold, CountFold, GroupFold, MaxFold, MinFold, StddevFold, StdvarFold, StepFold, SumFold};
pub use step_scalar::StepScalar;
pub use windows::{RangeWindows, WindowSpan};
