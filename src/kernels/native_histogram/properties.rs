//! Native histograms against the slow obvious version, and against those that make no sense.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, NativeHistogram};

/// Whole counts by index: sums of them are exact in any order.
type Dense = BTreeMap<i32, i64>;

fn dense_side() -> impl Strategy<Value = Dense> {
    proptest::collection::btree_map(-20i32..20, 0i64..1000, 0..12)
}

/// One span a bucket, empty gaps between them.
fn buckets_of(dense: &Dense) -> Buckets {
    let mut buckets = Buckets::default();
    let mut end = 0;
    for (index, count) in dense {
        buckets.spans.push(BucketSpan { offset: index - end, length: 1 });
        buckets.counts.push(*count as f64);
        end = index + 1;
    }
    buckets
}

fn dense_of(buckets: &Buckets) -> Dense {
    buckets.indexed().filter(|(_, count)| *count != 0.0).map(|(index, count)| (index, count as i64)).collect()
}

fn exponential(schema: i32, positive: &Dense, negative: &Dense) -> NativeHistogram {
    let count = positive.values().chain(negative.values()).sum::<i64>() as f64;
    let (positive, negative) = (buckets_of(positive), buckets_of(negative));
    NativeHistogram { schema, count, sum: count, positive, negative, ..NativeHistogram::default() }
}

fn reduced(dense: &Dense, by: i32) -> Dense {
    let mut coarse = Dense::new();
    for (index, count) in dense.iter().filter(|(_, count)| **count != 0) {
        *coarse.entry(((index - 1) >> by) + 1).or_default() += count;
    }
    coarse
}

fn united(left: &Dense, right: &Dense, sign: i64) -> Dense {
    let mut all = left.clone();
    for (index, count) in right {
        *all.entry(*index).or_default() += sign * count;
    }
    all.retain(|_, count| *count != 0);
    all
}

/// Anything a broken or hostile server could make a decoder believe.
fn wild_histogram() -> impl Strategy<Value = NativeHistogram> {
    let number = || prop_oneof![4 => -10.0f64..100.0, 1 => any::<f64>(), 1 => Just(0.0)];
    let side = || {
        let span = (prop_oneof![8 => -5i32..5, 1 => any::<i32>()], prop_oneof![8 => 0u32..4, 1 => any::<u32>()]);
        (vec(span, 0..4), vec(number(), 0..8)).prop_map(|(spans, counts)| Buckets {
            spans: spans.into_iter().map(|(offset, length)| BucketSpan { offset, length }).collect(),
            counts,
        })
    };
    let schema = prop_oneof![6 => -4i32..=8, 3 => Just(CUSTOM_BUCKETS_SCHEMA), 1 => any::<i32>()];
    let hint = (0i8..4).prop_map(|code| CounterResetHint::from_code(code).expect("one of four"));
    (hint, schema, vec(number(), 4), side(), side(), vec(number(), 0..5)).prop_map(
        |(counter_reset_hint, schema, numbers, positive, negative, bounds)| NativeHistogram {
            counter_reset_hint,
            schema,
            zero_threshold: numbers[0],
            zero_count: numbers[1],
            count: numbers[2],
            sum: numbers[3],
            positive,
            negative,
            custom_bounds: bounds.into(),
        },
    )
}

proptest! {
    #[test]
    fn adding_and_subtracting_go_bucket_by_bucket(
        [a, b, c, d] in [dense_side(), dense_side(), dense_side(), dense_side()],
        by in 0i32..3,
    ) {
        let (left, right) = (exponential(1, &a, &b), exponential(1 + by, &c, &d));
        for (sign, result) in [(1, add(&left, &right)), (-1, subtract(&left, &right))] {
            let got = result.expect("both exponential").histogram;
            prop_assert_eq!(dense_of(&got.positive), united(&a, &reduced(&c, by), sign));
            prop_assert_eq!(dense_of(&got.negative), united(&b, &reduced(&d, by), sign));
            prop_assert_eq!(got.count, left.count + sign as f64 * right.count);
            prop_assert_eq!(got.schema, 1);
        }
    }

    #[test]
    fn a_coarser_schema_merges_buckets(a in dense_side(), by in 0i32..5) {
        let coarse = to_schema(&exponential(2, &a, &Dense::new()), 2 - by);
        prop_assert_eq!(dense_of(&coarse.positive), reduced(&a, by));
    }

    #[test]
    fn the_sum_of_many_is_one_added_to_the_other(sides in vec(dense_side(), 1..6)) {
        let histograms: Vec<NativeHistogram> = sides.iter().map(|side| exponential(0, side, &Dense::new())).collect();
        let mut sum = HistogramSum::new(&histograms[0]);
        let mut mean = HistogramMean::new(&histograms[0]);
        let mut plain = histograms[0].clone();
        for histogram in &histograms[1..] {
            sum.add(histogram).expect("all exponential");
            mean.add(histogram).expect("all exponential");
            plain = add(&plain, histogram).expect("all exponential").histogram;
        }
        let mut sum = sum.finish();
        compact(&mut sum);
        let mut mean = mean.finish();
        compact(&mut mean);
        compact(&mut plain);
        prop_assert!(histograms_equal(&sum, &plain), "{:?} {:?}", sum, plain);
        divide(&mut plain, histograms.len() as f64);
        prop_assert!(histograms_equal(&mean, &plain), "{:?} {:?}", mean, plain);
    }

    #[test]
    fn compacting_changes_no_bucket_and_is_done_once(a in dense_side()) {
        let mut histogram = exponential(0, &a, &a);
        compact(&mut histogram);
        prop_assert_eq!(dense_of(&histogram.positive), united(&a, &Dense::new(), 1));
        prop_assert!(histogram.positive.spans.iter().skip(1).all(|span| span.offset > 0));
        let once = histogram.clone();
        compact(&mut histogram);
        prop_assert_eq!(histogram, once);
    }

    #[test]
    fn nothing_is_reset_that_only_grew(a in dense_side(), b in dense_side()) {
        let before = exponential(0, &a, &Dense::new());
        let after = add(&before, &exponential(0, &b, &Dense::new())).expect("both exponential").histogram;
        prop_assert!(!detect_reset(&after, &before));
        prop_assert_eq!(detect_reset(&before, &after), before.count < after.count);
    }

    #[test]
    fn quantiles_ascend_within_the_bounds_and_fractions_lead_back(a in dense_side(), b in dense_side(), q in 0.0f64..=1.0) {
        let histogram = exponential(0, &a, &b);
        prop_assume!(histogram.count > 0.0);
        let (value, note) = histogram_quantile(q, &histogram);
        prop_assert_eq!(note, None);
        let filled = || histogram.buckets().filter(|bucket| bucket.count > 0.0);
        let (lowest, highest) = (filled().next().expect("one").lower, filled().last().expect("one").upper);
        // Logarithms and back may miss a bound by a few digits.
        let slack = 1e-12 * (lowest.abs() + highest.abs());
        prop_assert!(value >= lowest - slack && value <= highest + slack, "{} in {}..{}", value, lowest, highest);
        prop_assert!(histogram_quantile(q / 2.0, &histogram).0 <= value + 1e-9 * value.abs());
        let (fraction, _) = histogram_fraction(f64::NEG_INFINITY, value, &histogram);
        prop_assert!((fraction - q).abs() < 1e-9, "{} of {}", fraction, q);
    }

    #[test]
    fn trimming_below_and_above_divides_the_observations(a in dense_side(), b in dense_side(), bound in -3.0f64..3.0) {
        let histogram = exponential(0, &a, &b);
        let (mut lower, mut upper) = (histogram.clone(), histogram.clone());
        trim_upper(&mut lower, bound);
        trim_lower(&mut upper, bound);
        prop_assert!((lower.count + upper.count - histogram.count).abs() <= 1e-9 * histogram.count);
    }

    #[test]
    fn histograms_that_contradict_themselves_do_no_harm(
        a in wild_histogram(), b in wild_histogram(), c in wild_histogram(), number in any::<f64>(), schema in -4i32..=8,
    ) {
        for other in [&b, &a] {
            if let Ok(combined) = add(&a, other) {
                prop_assert!(combined.histogram.positive.counts.len() <= a.positive.counts.len() + other.positive.counts.len() + 6);
            }
            let _ = subtract(other, &a);
            detect_reset(&a, other);
            histograms_equal(&a, other);
        }
        let (mut sum, mut mean) = (HistogramSum::new(&a), HistogramMean::new(&a));
        for other in [&b, &c] {
            prop_assert_eq!(sum.add(other).is_ok(), mean.add(other).is_ok());
        }
        sum.finish();
        mean.finish();
        to_schema(&a, schema);
        histogram_quantile(number, &a);
        histogram_quantile(0.3, &a);
        histogram_quantile(0.7, &a);
        histogram_fraction(number, 1.0, &a);
        histogram_stdvar(&a);
        for change in [compact as fn(&mut NativeHistogram), negate] {
            change(&mut a.clone());
        }
        trim_upper(&mut a.clone(), number);
        trim_lower(&mut a.clone(), number);
        prop_assert!(a.buckets().count() <= a.positive.counts.len() + a.negative.counts.len() + 1);
    }
}
