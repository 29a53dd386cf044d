//! `histogram_avg`, `histogram_stdvar`, `histogram_stddev`.

use crate::kernels::KahanSum;
use crate::model::NativeHistogram;

/// The mean of the observations.
pub fn histogram_avg(histogram: &NativeHistogram) -> f64 {
    histogram.sum / histogram.count
}

/// Estimated variance of the observations: each is taken to lie in the middle of its bucket, the arithmetic one of custom
/// buckets, the geometric one of exponential ones, and 0 in the zero bucket. As Prometheus v3.14 `histogramVariance`.
pub fn histogram_stdvar(histogram: &NativeHistogram) -> f64 {
    let mean = histogram_avg(histogram);
    let mut sum = KahanSum::default();
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    (sum.sum + sum.compensation) / histogram.count
}

/// The root of [`histogram_stdvar`].
pub fn histogram_stddev(histogram: &NativeHistogram) -> f64 {
    histogram_stdvar(histogram).sqrt()
}
