//! The operators `</` and `>/`: a histogram without the observations above or below a value.

use super::interpolation::fraction_below;
use super::side::compact;
use crate::model::{HistogramBucket, NativeHistogram};

/// Keeps the observations up to a value: `histogram </ bound`. Buckets that the value is in are cut, their observations
/// divided as `histogram_fraction` divides them; count and sum are estimated anew if anything was cut. As Prometheus v3.14
/// `TrimBuckets`.
pub fn trim_upper(histogram: &mut NativeHistogram, bound: f64) {
    trim(histogram, Cut { bound, keeps_lower: true });
}

/// Keeps the observations from a value on: `histogram >/ bound`. See [`trim_upper`].
pub fn trim_lower(histogram: &mut NativeHistogram, bound: f64) {
    trim(histogram, Cut { bound, keeps_lower: false });
}

/// Where to cut, and what to keep.
#[derive(Copy, Clone, Debug)]
struct Cut {
    bound: f64,
    keeps_lower: bool,
}

/// What is left of a bucket.
struct Kept {
    count: f64,
    /// Where its observations are taken to lie.
    midpoint: f64,
}

/// How the observations of a bucket are spread.
#[derive(Copy, Clone, Debug)]
struct Shape {
    is_linear: bool,
    is_positive: bool,
}

fn trim(histogram: &mut NativeHistogram, cut: Cut) {
    let (mut count, mut sum) = (0.0, 0.0);
    let mut is_cut = false;
    let mut is_populated = [false, false];
    for (side, is_positive) in [true, false].into_iter().enumerate() {
        let shape = Shape { is_linear: histogram.uses_custom_buckets(), is_positive };
        let buckets = if is_positive { &histogram.positive } else { &histogram.negative };
        let mut kept_counts = buckets.counts.clone();
        for ((index, bucket_count), kept_count) in buckets.indexed().zip(&mut kept_counts) {
            if bucket_count == 0.0 {
                continue;
            }
            is_populated[side] = true;
            let bucket = if is_positive {
                histogram.positive_bucket(index, bucket_count)
            } else {
                histogram.negative_bucket(index, bucket_count)
            };
            let Some(kept) = cut.bucket(&bucket, shape) else {
                *kept_count = 0.0;
                is_cut = true;
                continue;
            };
            count += kept.count;
            sum += kept.midpoint * kept.count;
            if kept.count != bucket_count {
                *kept_count = kept.count;
                is_cut = true;
            }
        }
        if is_positive { histogram.positive.counts = kept_counts } else { histogram.negative.counts = kept_counts }
    }
    if let Some(zero) = histogram.zero_bucket().filter(|bucket| bucket.count > 0.0) {
        let [has_positive, has_negative] = is_populated;
        let lower = if has_positive && !has_negative { 0.0 } else { zero.lower };
        let upper = if has_negative && !has_positive { 0.0 } else { zero.upper };
        let kept = cut.zero_bucket(&HistogramBucket { lower, upper, ..zero });
        if kept.count != zero.count {
            histogram.zero_count = kept.count;
            is_cut = true;
        }
        sum += kept.midpoint * kept.count;
        count += kept.count;
    }
    if is_cut {
        histogram.count = count;
        histogram.sum = sum;
        compact(histogram);
    }
}

impl Cut {
    /// What is left of a bucket; `None` if it lies wholly outside.
    fn bucket(&self, bucket: &HistogramBucket, shape: Shape) -> Option<Kept> {
        let (is_inside, is_crossed) = if self.keeps_lower {
            (bucket.upper <= self.bound, bucket.lower < self.bound)
        } else {
            (bucket.lower >= self.bound, bucket.upper > self.bound)
        };
        if is_inside {
            return Some(Kept { count: bucket.count, midpoint: midpoint(bucket.lower, bucket.upper, shape) });
        }
        if !is_crossed {
            return None;
        }
        if bucket.lower == f64::NEG_INFINITY {
            return Some(self.lowest_bucket(bucket));
        }
        if bucket.upper == f64::INFINITY {
            return Some(self.highest_bucket(bucket));
        }
        let below = bucket.count * fraction_below(bucket, self.bound, shape.is_linear);
        Some(if self.keeps_lower {
            Kept { count: below, midpoint: midpoint(bucket.lower, self.bound, shape) }
        } else {
            Kept { count: bucket.count - below, midpoint: midpoint(self.bound, bucket.upper, shape) }
        })
    }

    /// The bucket from -Inf on, which the bound crosses. If it ends above 0 it is taken to start there; what lies in it is not
    /// known otherwise, and it is kept whole below, dropped whole above the bound.
    fn lowest_bucket(&self, bucket: &HistogramBucket) -> Kept {
        let (bound, upper) = (self.bound, bucket.upper);
        let starts_at_zero = upper > 0.0 && upper != f64::INFINITY;
        if self.keeps_lower {
            if bound > 0.0 && starts_at_zero {
                return Kept { count: bucket.count * bound / upper, midpoint: bound / 2.0 };
            }
            if upper <= 0.0 {
                return Kept { count: bucket.count, midpoint: bound };
            }
        } else {
            if bound <= bucket.lower {
                return Kept { count: bucket.count, midpoint: 0.0 };
            }
            if bound >= 0.0 && starts_at_zero {
                return Kept { count: bucket.count * (1.0 - bound / upper), midpoint: (bound + upper) / 2.0 };
            }
        }
        Kept { count: 0.0, midpoint: zero_if_infinite(upper) }
    }

    /// The bucket up to +Inf, which the bound crosses.
    fn highest_bucket(&self, bucket: &HistogramBucket) -> Kept {
        if !self.keeps_lower && self.bound >= bucket.lower {
            return Kept { count: bucket.count, midpoint: self.bound };
        }
        Kept { count: 0.0, midpoint: zero_if_infinite(bucket.lower) }
    }

    fn zero_bucket(&self, bucket: &HistogramBucket) -> Kept {
        let (bound, lower, upper) = (self.bound, bucket.lower, bucket.upper);
        let whole = Kept { count: bucket.count, midpoint: (lower + upper) / 2.0 };
        let nothing = Kept { count: 0.0, midpoint: 0.0 };
        if bound <= lower {
            return if self.keeps_lower { nothing } else { whole };
        }
        if bound >= upper {
            return if self.keeps_lower { whole } else { nothing };
        }
        let (part, midpoint) = if self.keeps_lower {
            ((bound - lower) / (upper - lower), (lower + bound) / 2.0)
        } else {
            ((upper - bound) / (upper - lower), (bound + upper) / 2.0)
        };
        Kept { count: bucket.count * part, midpoint }
    }
}

fn zero_if_infinite(value: f64) -> f64 {
    if value.is_infinite() { 0.0 } else { value }
}

/// The arithmetic or geometric middle of what is left of a bucket.
fn midpoint(lower: f64, upper: f64, shape: Shape) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if shape.is_linear => (lower + upper) / 2.0,
        (false, false) => {
            let middle = (lower * upper).abs().sqrt();
            if shape.is_positive { middle } else { -middle }
        }
    }
}
