//! Quantiles and fractions of classic histograms.

/// One bucket of a classic histogram.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Bucket {
    /// The number in its `le`; never NaN.
    pub upper_bound: f64,
    /// Observations up to that bound, from the lowest on.
    pub count: f64,
}

/// A quantile, and what had to be mended to get it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct BucketQuantile {
    /// The quantile; NaN where there is none.
    pub value: f64,
    /// Had counts that fell from one bucket to the next to be raised? Then the client is to be told.
    pub forced_monotonic: bool,
    /// Were differences too small to mean anything taken away? Nobody is told.
    pub fixed_precision: bool,
    /// The lowest and highest upper bound at which a count was raised; +Inf and -Inf if none was, 0 if it was not looked.
    pub min_bucket: f64,
    /// See `min_bucket`.
    pub max_bucket: f64,
    /// By how much a count was raised at most.
    pub max_diff: f64,
}

impl BucketQuantile {
    fn unexamined(value: f64) -> Self {
        Self { value, forced_monotonic: false, fixed_precision: false, min_bucket: 0.0, max_bucket: 0.0, max_diff: 0.0 }
    }
}

/// Relative differences below this are noise of float arithmetic.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// `histogram_quantile` of a classic histogram, linear within a bucket; sorts and mends `buckets`. As Prometheus v3.14
/// `BucketQuantile`.
///
/// | case | value |
/// |---|---|
/// | `q` NaN, below 0, above 1 | NaN, -Inf, +Inf |
/// | no +Inf bucket, fewer than two buckets, no observations | NaN |
/// | in the +Inf bucket | the second highest bound |
/// | in the lowest bucket | between 0 and its bound; the bound itself if that is not above 0 |
pub fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> BucketQuantile {
    if q.is_nan() {
        return BucketQuantile::unexamined(f64::NAN);
    }
    if q < 0.0 {
        return BucketQuantile::unexamined(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return BucketQuantile::unexamined(f64::INFINITY);
    }
    if !sort_and_unite(buckets) {
        return BucketQuantile::unexamined(f64::NAN);
    }
    let mended = make_monotonic(buckets);
    BucketQuantile { value: interpolated_quantile(q, buckets), ..mended }
}

fn interpolated_quantile(q: f64, buckets: &[Bucket]) -> f64 {
    let [.., second_highest, highest] = buckets else { return f64::NAN };
    if highest.count == 0.0 {
        return f64::NAN;
    }
    let finite = &buckets[..buckets.len() - 1];
    let rank = q * highest.count;
    let at = first_reaching(finite, rank);
    let Some(bucket) = finite.get(at) else { return second_highest.upper_bound };
    match at.checked_sub(1) {
        None if bucket.upper_bound <= 0.0 => bucket.upper_bound,
        None => bucket.upper_bound * (rank / bucket.count),
        Some(below) => {
            let Bucket { upper_bound: start, count: before } = finite[below];
            start + (bucket.upper_bound - start) * ((rank - before) / (bucket.count - before))
        }
    }
}

/// The first bucket whose count reaches the rank. The search is Go's `sort.Search`, so that even counts that are NaN lead
/// to the same bucket.
fn first_reaching(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if buckets[middle].count >= rank { high = middle } else { low = middle + 1 }
    }
    low
}

/// `histogram_fraction` of a classic histogram: which part of the observations lies between the two values. As Prometheus
/// v3.14 `BucketFraction`; unlike the quantile it does not mend counts.
///
/// NaN without a +Inf bucket or observations, and for a bound that is NaN; 0 if `lower >= upper`.
pub fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !sort_and_unite(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / count
}

/// How many observations lie below a value; at most `count`.
fn rank_of(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    // Buckets whose lowest bound is above 0 are taken to hold no negative observations.
    let mut start =
        if buckets.first().is_some_and(|bucket| bucket.upper_bound <= 0.0) { f64::NEG_INFINITY } else { 0.0 };
    let mut rank = 0.0;
    for bucket in buckets {
        if start >= value {
            return capped(rank, count);
        }
        if bucket.upper_bound > value {
            let inside = match start == f64::NEG_INFINITY {
                true => bucket.count,
                false => rank + (bucket.count - rank) * (value - start) / (bucket.upper_bound - start),
            };
            return capped(inside, count);
        }
        rank = bucket.count;
        start = bucket.upper_bound;
    }
    count
}

/// Not `f64::min`: a NaN stays.
fn capped(rank: f64, count: f64) -> f64 {
    if rank > count { count } else { rank }
}

/// Sorts by bound and adds up buckets of the same bound (`le="1"` and `le="1.0"`). False without a +Inf bucket.
fn sort_and_unite(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|left, right| left.upper_bound.total_cmp(&right.upper_bound));
    if buckets.last().is_none_or(|highest| highest.upper_bound != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let is_same = next.upper_bound == kept.upper_bound;
        if is_same {
            kept.count += next.count;
        }
        is_same
    });
    true
}

/// Takes away every fall of the counts, silently where the difference, up or down, is noise.
fn make_monotonic(buckets: &mut [Bucket]) -> BucketQuantile {
    let mut mended = BucketQuantile {
        min_bucket: f64::INFINITY,
        max_bucket: f64::NEG_INFINITY,
        ..BucketQuantile::unexamined(f64::NAN)
    };
    let Some((lowest, higher)) = buckets.split_first_mut() else { return mended };
    let mut before = lowest.count;
    for bucket in higher {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if is_almost_equal(before, count, SMALL_DELTA_TOLERANCE) {
            mended.fixed_precision = true;
        } else if count < before {
            mended.forced_monotonic = true;
            mended.note_raised(bucket.upper_bound, before - count);
        } else {
            before = count;
            continue;
        }
        bucket.count = before;
    }
    mended
}

impl BucketQuantile {
    fn note_raised(&mut self, upper_bound: f64, by: f64) {
        if upper_bound < self.min_bucket {
            self.min_bucket = upper_bound;
        }
        if upper_bound > self.max_bucket {
            self.max_bucket = upper_bound;
        }
        if by > self.max_diff {
            self.max_diff = by;
        }
    }
}

/// As Prometheus v3.14 `util/almost`, for numbers that are not stale markers: relative to the sum of the magnitudes, and
/// all but exact where one is zero or both are subnormal.
fn is_almost_equal(left: f64, right: f64, tolerance: f64) -> bool {
    if left.is_nan() && right.is_nan() || left == right {
        return true;
    }
    let magnitude = left.abs() + right.abs();
    let difference = (left - right).abs();
    if left == 0.0 || right == 0.0 || magnitude < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    let magnitude = if magnitude > f64::MAX { f64::MAX } else { magnitude };
    difference / magnitude < tolerance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|&(upper_bound, count)| Bucket { upper_bound, count }).collect()
    }

    fn check(q: f64, pairs: &[(f64, f64)], expected: f64) {
        let got = bucket_quantile(q, &mut buckets(pairs)).value;
        assert!(
            got == expected || (got.is_nan() && expected.is_nan()) || (got - expected).abs() < 1e-12,
            "{q} of {pairs:?}: {got}, not {expected}"
        );
    }

    #[test]
    fn quantiles_are_linear_within_a_bucket() {
        let three = [(1.0, 10.0), (2.0, 30.0), (INF, 40.0)];
        check(0.5, &three, 1.5);
        check(0.125, &three, 0.5);
        check(0.0, &three, 0.0);
        check(0.9, &three, 2.0);
        check(1.0, &three, 2.0);
        check(0.5, &[(INF, 40.0), (2.0, 30.0), (1.0, 10.0)], 1.5);
    }

    #[test]
    fn a_lowest_bound_that_is_not_positive_is_the_answer_itself() {
        check(0.1, &[(-1.0, 10.0), (1.0, 20.0), (INF, 20.0)], -1.0);
        check(0.1, &[(0.0, 10.0), (INF, 20.0)], 0.0);
        check(0.75, &[(-1.0, 10.0), (1.0, 20.0), (INF, 20.0)], 0.0);
    }

    #[test]
    fn no_quantile_without_the_inf_bucket_or_observations() {
        check(0.5, &[], NAN);
        check(0.5, &[(INF, 5.0)], NAN);
        check(0.5, &[(1.0, 5.0), (2.0, 6.0)], NAN);
        check(0.5, &[(1.0, 0.0), (INF, 0.0)], NAN);
        check(0.5, &[(NAN, 0.0), (INF, 1.0)], NAN);
        check(NAN, &[(1.0, 1.0), (INF, 1.0)], NAN);
        check(-1.0, &[], f64::NEG_INFINITY);
        check(2.0, &[], INF);
    }

    #[test]
    fn buckets_of_the_same_bound_are_added_up() {
        check(0.5, &[(1.0, 5.0), (1.0, 5.0), (2.0, 30.0), (INF, 30.0), (INF, 10.0)], 1.5);
        check(0.5, &[(-0.0, 5.0), (0.0, 5.0), (2.0, 30.0), (INF, 40.0)], 1.0);
    }

    #[test]
    fn falling_counts_are_raised_and_told() {
        // The case of Prometheus' histograms.test.
        let pairs = [(0.1, 20.0), (1.0, 10.0), (10.0, 50.0), (100.0, 40.0), (1000.0, 90.0), (INF, 80.0)];
        for (q, value) in [(0.01, 0.0045), (0.5, 8.5), (0.99, 979.75)] {
            check(q, &pairs, value);
            let told = bucket_quantile(q, &mut buckets(&pairs));
            assert!(told.forced_monotonic && !told.fixed_precision);
            assert_eq!((told.min_bucket, told.max_bucket, told.max_diff), (1.0, INF, 10.0));
        }
    }

    #[test]
    fn differences_that_are_noise_are_mended_without_a_word() {
        let told = bucket_quantile(0.5, &mut buckets(&[(1.0, 10.0), (2.0, 10.0 - 1e-12), (3.0, 30.0), (INF, 30.0)]));
        assert_eq!((told.forced_monotonic, told.fixed_precision, told.max_diff), (false, true, 0.0));
        let told = bucket_quantile(0.5, &mut buckets(&[(1.0, 1e-300), (2.0, 0.0), (INF, 1.0)]));
        assert!(told.forced_monotonic, "nothing is close to zero");
    }

    #[test]
    fn fractions_are_differences_of_ranks() {
        let three = [(1.0, 10.0), (2.0, 30.0), (INF, 40.0)];
        for (lower, upper, expected) in [
            (0.0, 1.0, 0.25),
            (0.5, 1.5, 0.375),
            (-INF, INF, 1.0),
            (2.0, INF, 0.25),
            (2.0, 1e9, 0.0),
            (2.0, 2.0, 0.0),
            (3.0, 1.0, 0.0),
            (NAN, 1.0, NAN),
            (0.0, NAN, NAN),
            (-5.0, 0.0, 0.0),
        ] {
            let got = bucket_fraction(lower, upper, &mut buckets(&three));
            assert!(got == expected || (got.is_nan() && expected.is_nan()), "{lower} {upper}: {got}, not {expected}");
        }
        assert!(bucket_fraction(0.0, 1.0, &mut Vec::new()).is_nan());
        assert!(bucket_fraction(0.0, 1.0, &mut buckets(&[(1.0, 1.0)])).is_nan());
        assert!(bucket_fraction(0.0, 1.0, &mut buckets(&[(1.0, 0.0), (INF, 0.0)])).is_nan());
        // Below a lowest bound that is not positive, all of that bucket counts.
        assert_eq!(bucket_fraction(-INF, -2.0, &mut buckets(&[(-1.0, 10.0), (INF, 40.0)])), 0.25);
    }

    proptest! {
        #[test]
        fn no_buckets_make_it_panic_and_sound_ones_give_a_number_between_their_bounds(
            q in prop_oneof![4 => 0.0f64..=1.0, 1 => any::<f64>()],
            bounds in proptest::collection::vec(prop_oneof![4 => -10.0f64..10.0, 1 => any::<f64>()], 0..12),
            counts in proptest::collection::vec(prop_oneof![4 => 0.0f64..100.0, 1 => any::<f64>()], 12),
        ) {
            let mut wild: Vec<Bucket> =
                bounds.iter().zip(&counts).map(|(&upper_bound, &count)| Bucket { upper_bound, count }).collect();
            wild.push(Bucket { upper_bound: INF, count: counts[11] });
            bucket_quantile(q, &mut wild.clone());
            bucket_fraction(q, 1.0, &mut wild);

            let mut sound: Vec<Bucket> = bounds.iter().filter(|bound| bound.is_finite()).map(|bound| bound.abs() + 0.1)
                .zip(counts.iter().filter(|count| count.is_finite()).map(|count| count.abs() + 1.0))
                .map(|(upper_bound, count)| Bucket { upper_bound, count }).collect();
            if sound.is_empty() || !(0.0..=1.0).contains(&q) {
                return Ok(());
            }
            let highest = sound.iter().map(|bucket| bucket.upper_bound).fold(0.0, f64::max);
            sound.push(Bucket { upper_bound: INF, count: 1.0 });
            let value = bucket_quantile(q, &mut sound).value;
            prop_assert!((0.0..=highest).contains(&value), "{} of {:?}", value, sound);
        }
    }
}
