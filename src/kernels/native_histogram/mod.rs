//! Arithmetic on native histograms, and what can be read from one.
//!
//! Follows Prometheus v3.14 model/histogram/float_histogram.go and promql/quantile.go to the order of the additions: where a
//! histogram falls apart into buckets, their number, order and even empty ones can be seen by later functions.
//!
//! Nothing here panics on histograms that contradict themselves (spans that do not fit the counts, bounds that are NaN); what
//! comes out of them means nothing.

mod arithmetic;
mod cell;
mod compensated;
mod custom_bounds;
mod equality;
#[cfg(test)]
mod go_values;
mod interpolation;
#[cfg(test)]
mod properties;
mod quantile;
mod reset;
mod schema;
mod side;
mod spread;
mod trim;
mod working;
mod zero_bucket;

use thiserror::Error as ThisError;

pub use arithmetic::{Combined, add, divide, negate, scale, subtract};
pub use compensated::{HistogramMean, HistogramSum};
pub use equality::histograms_equal;
pub use quantile::{NanObservations, histogram_fraction, histogram_quantile};
pub use reset::detect_reset;
pub use schema::to_schema;
pub use side::compact;
pub use spread::{histogram_avg, histogram_stddev, histogram_stdvar};
pub use trim::{trim_lower, trim_upper};

/// Why two histograms cannot be combined.
#[derive(Copy, Clone, Debug, ThisError, PartialEq, Eq)]
pub enum HistogramError {
    /// One has exponential buckets, the other custom ones. Prometheus' text.
    #[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
    IncompatibleSchema,
}
