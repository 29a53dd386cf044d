//! `histogram_quantile` and `histogram_fraction`.

use super::interpolation::{fraction_below, value_at};
use crate::model::{HistogramBucket, NativeHistogram};

/// What observations that were NaN did to a result. They are in the count, but in no bucket. Prometheus informs of each.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum NanObservations {
    /// The quantile fell among them: NaN.
    QuantileIsNan,
    /// The quantile took them for larger than all others.
    QuantileIsSkewed,
    /// The fraction left them out.
    FractionLeavesOut,
}

/// The value below which the part `q` of the observations lies. As Prometheus v3.14 `HistogramQuantile`.
///
/// | case | value |
/// |---|---|
/// | `q` NaN, below 0, above 1 | NaN, -Inf, +Inf |
/// | no observations | NaN |
/// | in the zero bucket, in custom buckets | linear within the bucket |
/// | in the lowest custom bucket | between 0 and its bound; the bound itself if that is not above 0 |
/// | in the highest custom bucket | its lower bound |
/// | elsewhere | linear in the logarithm |
///
/// A zero bucket without negative buckets starts at 0, one without positive buckets ends there.
pub fn histogram_quantile(q: f64, histogram: &NativeHistogram) -> (f64, Option<NanObservations>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // From the nearer end; from below if there may be NaN, which are taken for larger than all others.
    if histogram.sum.is_nan() || q < 0.5 {
        quantile_from_below(q * histogram.count, histogram)
    } else {
        (quantile_from_above((1.0 - q) * histogram.count, histogram), None)
    }
}

const NO_BUCKET: HistogramBucket =
    HistogramBucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };

/// Goes on to the bucket in which the count reaches the rank, or to the last; returns it and the count.
fn bucket_at_rank(buckets: &mut impl Iterator<Item = HistogramBucket>, rank: f64) -> (HistogramBucket, f64) {
    let mut count = 0.0;
    let mut last = NO_BUCKET;
    for bucket in buckets {
        last = bucket;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    (last, count)
}

/// What a bucket says about a quantile in it.
enum Place {
    /// The quantile, at a bound.
    At(f64),
    /// It is to be interpolated.
    Within(HistogramBucket),
}

/// Bounds of the bucket as far as zero and infinity permit interpolation.
fn place_in(mut bucket: HistogramBucket, histogram: &NativeHistogram) -> Place {
    if histogram.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Place::At(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Place::At(bucket.lower);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket = narrowed_zero_bucket(bucket, histogram);
    }
    Place::Within(bucket)
}

/// Observations near zero are taken to have the sign of all others.
fn narrowed_zero_bucket(mut bucket: HistogramBucket, histogram: &NativeHistogram) -> HistogramBucket {
    match (histogram.negative.is_empty(), histogram.positive.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
    bucket
}

fn interpolated(bucket: &HistogramBucket, rank: f64, histogram: &NativeHistogram) -> f64 {
    let is_linear = histogram.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0);
    value_at(bucket, rank / bucket.count, is_linear)
}

/// Rounding can give the buckets more than all observations.
fn capped(count: f64, histogram: &NativeHistogram) -> f64 {
    if count > histogram.count { histogram.count } else { count }
}

fn quantile_from_above(rank: f64, histogram: &NativeHistogram) -> f64 {
    let (bucket, count) = bucket_at_rank(&mut histogram.buckets_rev(), rank);
    let bucket = match place_in(bucket, histogram) {
        Place::At(bound) => return bound,
        Place::Within(bucket) => bucket,
    };
    let count = capped(count, histogram);
    if count < rank {
        return bucket.upper;
    }
    interpolated(&bucket, count - rank, histogram)
}

fn quantile_from_below(rank: f64, histogram: &NativeHistogram) -> (f64, Option<NanObservations>) {
    let mut buckets = histogram.buckets();
    let (bucket, count) = bucket_at_rank(&mut buckets, rank);
    let mut bucket = match place_in(bucket, histogram) {
        Place::At(bound) => return (bound, None),
        Place::Within(bucket) => bucket,
    };
    let mut count = capped(count, histogram);
    if count < rank {
        if histogram.sum.is_nan() {
            return (f64::NAN, Some(NanObservations::QuantileIsNan));
        }
        return (bucket.upper, None);
    }
    let rank = rank - (count - bucket.count);
    let mut note = None;
    if histogram.sum.is_nan() {
        // The sum is NaN also where -Inf met +Inf; only a count that no bucket accounts for tells of NaN. Prometheus then
        // interpolates in the last bucket that it looked at, and so do we.
        for next in buckets {
            bucket = next;
            count += next.count;
        }
        note = (count < histogram.count).then_some(NanObservations::QuantileIsSkewed);
    }
    (interpolated(&bucket, rank, histogram), note)
}

/// Which part of the observations lies between two values. As Prometheus v3.14 `HistogramFraction`.
///
/// NaN without observations or if a value is NaN; 0 if `lower >= upper`. Interpolates as [`histogram_quantile`] does, but
/// counts a lowest custom bucket whole. Observations that were NaN lie between no values.
pub fn histogram_fraction(lower: f64, upper: f64, histogram: &NativeHistogram) -> (f64, Option<NanObservations>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let mut buckets = histogram.buckets();
    let mut ranks = [None, None];
    let (mut rank, mut count) = (0.0, 0.0);
    for bucket in buckets.by_ref() {
        count += bucket.count;
        for (found, value) in ranks.iter_mut().zip([lower, upper]) {
            if found.is_none() {
                *found = rank_in(bucket, value, rank, histogram);
            }
        }
        if ranks.iter().all(Option::is_some) {
            break;
        }
        rank += bucket.count;
    }
    let mut note = None;
    if histogram.sum.is_nan() {
        count = buckets.fold(count, |count, bucket| count + bucket.count);
        note = (count < histogram.count).then_some(NanObservations::FractionLeavesOut);
    } else {
        count = histogram.count;
    }
    // Not `f64::min`: a NaN stays.
    let [lower_rank, upper_rank] = ranks.map(|rank| match rank {
        Some(rank) if rank <= count || rank.is_nan() => rank,
        _ => count,
    });
    ((upper_rank - lower_rank) / histogram.count, note)
}

/// How many observations lie below a value, if it is in this bucket or below it; `rank` lie below the bucket.
fn rank_in(bucket: HistogramBucket, value: f64, rank: f64, histogram: &NativeHistogram) -> Option<f64> {
    let is_around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
    let bucket = if is_around_zero { narrowed_zero_bucket(bucket, histogram) } else { bucket };
    if bucket.lower >= value {
        return Some(rank);
    }
    if !(bucket.lower < value && bucket.upper > value) {
        return None;
    }
    let is_linear = histogram.uses_custom_buckets() || is_around_zero;
    if is_linear && bucket.lower == f64::NEG_INFINITY {
        return Some(bucket.count);
    }
    Some(rank + bucket.count * fraction_below(&bucket, value, is_linear))
}
