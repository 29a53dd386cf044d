//! Where in a bucket its observations are taken to lie.

use crate::kernels::go_math::{exp2, log2};
use crate::model::HistogramBucket;

/// Which part of a bucket lies at or below a value that is strictly within its finite bounds: evenly spread over the bucket
/// if `is_linear` (custom buckets, zero bucket), else over the logarithms, mirrored below zero. As Prometheus v3.14
/// `Bucket.FractionBelow`.
pub(super) fn fraction_below(bucket: &HistogramBucket, value: f64, is_linear: bool) -> f64 {
    if is_linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let [lower, upper, at] = [bucket.lower, bucket.upper, value].map(|bound| log2(bound.abs()));
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - ((at - upper) / (lower - upper)) }
}

/// The value below which a fraction of a bucket lies: the inverse of [`fraction_below`].
pub(super) fn value_at(bucket: &HistogramBucket, fraction: f64, is_linear: bool) -> f64 {
    if is_linear {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let [lower, upper] = [bucket.lower, bucket.upper].map(|bound| log2(bound.abs()));
    if bucket.lower > 0.0 {
        exp2(lower + (upper - lower) * fraction)
    } else {
        -exp2(upper + (lower - upper) * (1.0 - fraction))
    }
}
