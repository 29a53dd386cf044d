//! Native histograms: the value, and the Arrow column in which it travels.
//!
//! Follows Prometheus' `FloatHistogram`: absolute bucket counts as floats, exponential schemas -4 to 8 and custom buckets
//! (schema -53). The arithmetic lives in `kernels/`; here is only what a histogram is.

mod bounds;
mod buckets;
mod column;

use std::sync::Arc;

pub use bounds::bucket_bound;
pub use buckets::HistogramBucket;
pub use column::{HistogramList, HistogramListBuilder, TimedHistogram, histogram_list_type, histogram_size};

use super::is_stale;

/// Schema of histograms whose bucket bounds are written out ("NHCB").
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The coarsest exponential schema: bounds grow by a factor of 2^16.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;
/// The finest exponential schema: bounds grow by a factor of 2^(1/256).
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;

/// What is known of a counter reset between a histogram and the one before it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum CounterResetHint {
    /// Nothing: compare the two to find out.
    #[default]
    Unknown = 0,
    /// There was a reset right before this histogram.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// The histogram is a gauge; resets have no meaning.
    Gauge = 3,
}

impl CounterResetHint {
    /// The hint of a number in a column; `None` for a number that is none.
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Unknown, Self::Reset, Self::NotReset, Self::Gauge].into_iter().find(|hint| *hint as i8 == code)
    }
}

/// A run of neighbouring buckets.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketSpan {
    /// Gap to the end of the span before; of the first span the index of its first bucket.
    pub offset: i32,
    /// How many buckets the span covers.
    pub length: u32,
}

/// Bucket counts of one sign: the counts of all spans, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Where the buckets lie.
    pub spans: Vec<BucketSpan>,
    /// Observations in each bucket, absolute; as many as the spans are long together.
    pub counts: Vec<f64>,
}

/// A native histogram.
///
/// | schema | bounds of bucket `i` (positive side) | zero bucket | negative side |
/// |---|---|---|---|
/// | -4..=8 | `2^((i-1)·2^-schema) < v ≤ 2^(i·2^-schema)` | `|v| ≤ zero_threshold` | mirrored |
/// | -53 | `custom_bounds[i-1] < v ≤ custom_bounds[i]`, open at both ends of the list | none | none |
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    /// What is known of a reset before it.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution of the buckets.
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, also those that were NaN.
    pub count: f64,
    /// Sum of the observations; a stale marker here makes the whole histogram one.
    pub sum: f64,
    /// Buckets above the zero bucket; of a custom schema all buckets.
    pub positive: Buckets,
    /// Buckets below the zero bucket.
    pub negative: Buckets,
    /// Upper bounds of custom buckets, strictly ascending, without the last one (+Inf). Empty for exponential schemas.
    pub custom_bounds: Arc<[f64]>,
}

impl NativeHistogram {
    /// Are the bounds written out?
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Does it end its series?
    pub fn is_stale_marker(&self) -> bool {
        is_stale(self.sum)
    }
}

/// What a series has at one time: a number or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A number.
    Float(f64),
    /// A histogram, shared.
    Histogram(Arc<NativeHistogram>),
}

impl Sample {
    /// The number, if it is one.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }

    /// The histogram, if it is one.
    pub fn as_histogram(&self) -> Option<&Arc<NativeHistogram>> {
        match self {
            Self::Float(_) => None,
            Self::Histogram(histogram) => Some(histogram),
        }
    }

    /// Does it end its series?
    pub fn is_stale_marker(&self) -> bool {
        match self {
            Self::Float(value) => is_stale(*value),
            Self::Histogram(histogram) => histogram.is_stale_marker(),
        }
    }
}
