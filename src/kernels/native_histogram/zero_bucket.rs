//! Zero buckets of different widths.

use super::cell::Cell;
use super::side::{Entry, Side};
use super::working::Working;
use crate::model::{NativeHistogram, bucket_bound};

impl<C: Cell> Working<C> {
    /// Widens the zero bucket until it covers the other's and ends within a populated bucket of neither; returns the zero
    /// count that the other would then have. As Prometheus v3.14 `reconcileZeroBuckets`.
    pub(super) fn reconcile_zero_buckets(&mut self, other: &NativeHistogram, sign: f64) -> C {
        let mut other_count = C::of(other.zero_count * sign);
        let mut other_threshold = other.zero_threshold;
        if other_threshold == self.zero_threshold || other_threshold.is_nan() || self.zero_threshold.is_nan() {
            return other_count;
        }
        let positive = Side::of(&other.positive, sign);
        let negative = Side::of(&other.negative, sign);
        while other_threshold != self.zero_threshold {
            if self.zero_threshold > other_threshold {
                let own = C::of(other.zero_count * sign);
                (other_count, other_threshold) =
                    zero_count_for(self.zero_threshold, own, &positive, &negative, other.schema);
            }
            if other_threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) =
                    zero_count_for(other_threshold, self.zero_count, &self.positive, &self.negative, self.schema);
                self.trim_buckets_in_zero_bucket();
            }
        }
        other_count
    }

    /// Takes away the buckets that the zero bucket has swallowed.
    fn trim_buckets_in_zero_bucket(&mut self) {
        for side in [&mut self.positive, &mut self.negative] {
            for entry in &mut side.entries {
                if inner_bound(entry, self.schema) >= self.zero_threshold {
                    break;
                }
                entry.count = C::of(0.0);
            }
            side.compact();
        }
    }
}

/// What the zero bucket would count if it were wider. A threshold within a populated bucket moves to that bucket's outer
/// bound; the threshold returned is the one that was reached.
pub(super) fn zero_count_for<C: Cell>(
    threshold: f64,
    zero_count: C,
    positive: &Side<C>,
    negative: &Side<C>,
    schema: i32,
) -> (C, f64) {
    let mut threshold = threshold;
    let mut count = zero_count;
    loop {
        count.restart(zero_count);
        swallow(&mut count, &mut threshold, positive, schema);
        let before = threshold;
        swallow(&mut count, &mut threshold, negative, schema);
        // Buckets of the positive side were judged by a threshold that no longer holds.
        if threshold <= before || threshold.is_nan() {
            return (count, threshold);
        }
    }
}

fn swallow<C: Cell>(count: &mut C, threshold: &mut f64, side: &Side<C>, schema: i32) {
    for entry in &side.entries {
        if inner_bound(entry, schema) >= *threshold {
            return;
        }
        count.absorb(entry.count);
        let outer = bucket_bound(entry.index, schema, &[]);
        if outer > *threshold {
            if entry.count.value() != 0.0 {
                *threshold = outer;
            }
            return;
        }
    }
}

fn inner_bound<C>(entry: &Entry<C>, schema: i32) -> f64 {
    bucket_bound(entry.index.wrapping_sub(1), schema, &[])
}
