//! A histogram in the making.

use super::HistogramError;
use super::cell::Cell;
use super::side::Side;
use crate::kernels::KahanSum;
use crate::model::{CounterResetHint, NativeHistogram, bucket_bound};
use std::sync::Arc;

/// A histogram that others are added to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Working<C> {
    pub(super) hint: CounterResetHint,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: C,
    pub(super) count: C,
    pub(super) sum: C,
    pub(super) positive: Side<C>,
    pub(super) negative: Side<C>,
    pub(super) custom_bounds: Arc<[f64]>,
    is_custom: bool,
}

/// What a combination has to tell.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// One of the two came right after a reset, the other certainly did not.
    pub(super) counter_reset_collision: bool,
    /// The custom bounds differed; only those that both had are left.
    pub(super) bounds_reconciled: bool,
}

impl<C: Cell> Working<C> {
    pub(super) fn of(histogram: &NativeHistogram) -> Self {
        Self {
            hint: histogram.counter_reset_hint,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: C::of(histogram.zero_count),
            count: C::of(histogram.count),
            sum: C::of(histogram.sum),
            positive: Side::of(&histogram.positive, 1.0),
            negative: Side::of(&histogram.negative, 1.0),
            custom_bounds: Arc::clone(&histogram.custom_bounds),
            is_custom: histogram.uses_custom_buckets(),
        }
    }

    /// The histogram without what rounding took, and not compacted.
    pub(super) fn to_histogram(&self) -> NativeHistogram {
        NativeHistogram {
            counter_reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive: self.positive.to_buckets(),
            negative: self.negative.to_buckets(),
            custom_bounds: Arc::clone(&self.custom_bounds),
        }
    }

    /// Adds a histogram, each of its numbers multiplied by `sign` (1 or -1: subtraction is addition of the negative, to the
    /// digit). As Prometheus v3.14 `Add`, `Sub` and `KahanAdd`.
    ///
    /// The finer of two schemas is reduced to the coarser, the zero buckets are widened to one width, and of custom bounds
    /// those that both have are kept. Fails, changing nothing, on a mix of exponential and custom buckets.
    pub(super) fn add(&mut self, other: &NativeHistogram, sign: f64) -> Result<Notes, HistogramError> {
        if self.is_custom != other.uses_custom_buckets() {
            return Err(HistogramError::IncompatibleSchema);
        }
        let (hint, counter_reset_collision) = combined_hint(self.hint, other.counter_reset_hint);
        self.hint = hint;
        if !self.is_custom {
            let other_zero_count = self.reconcile_zero_buckets(other, sign);
            self.zero_count.absorb(other_zero_count);
        }
        self.count.add(other.count * sign);
        self.sum.add(other.sum * sign);
        let bounds_reconciled = self.is_custom && self.custom_bounds != other.custom_bounds;
        if bounds_reconciled {
            self.add_buckets_of_other_bounds(other, sign);
        } else {
            self.add_buckets(other, sign);
        }
        Ok(Notes { counter_reset_collision, bounds_reconciled })
    }

    fn add_buckets(&mut self, other: &NativeHistogram, sign: f64) {
        let mut positive = Side::of(&other.positive, sign);
        let mut negative = Side::of(&other.negative, sign);
        if other.schema < self.schema {
            self.reduce(other.schema);
        } else if other.schema > self.schema {
            positive.reduce(other.schema, self.schema);
            negative.reduce(other.schema, self.schema);
        }
        self.positive.add(&positive, self.schema, self.zero_threshold, !self.is_custom);
        if !self.is_custom {
            self.negative.add(&negative, self.schema, self.zero_threshold, true);
        }
    }

    fn reduce(&mut self, coarser: i32) {
        self.positive.reduce(self.schema, coarser);
        self.negative.reduce(self.schema, coarser);
        self.schema = coarser;
    }

    /// Multiplies every number; the layout stays. A negative factor makes a gauge of it.
    pub(super) fn scale(&mut self, factor: f64) {
        self.for_each_number(|cell| cell.scale(factor));
        if factor < 0.0 {
            self.hint = CounterResetHint::Gauge;
        }
    }

    /// Divides every number by one that is above 0.
    pub(super) fn divide(&mut self, divisor: f64) {
        self.for_each_number(|cell| cell.divide(divisor));
    }

    fn for_each_number(&mut self, change: impl Fn(&mut C)) {
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(&change);
        let entries = self.positive.entries.iter_mut().chain(&mut self.negative.entries);
        entries.for_each(|entry| change(&mut entry.count));
    }

    /// Has a number become infinite?
    pub(super) fn has_overflow(&self) -> bool {
        let entries = self.positive.entries.iter().chain(&self.negative.entries).map(|entry| entry.count);
        let mut numbers = [self.zero_count, self.count, self.sum].into_iter().chain(entries);
        numbers.any(|cell| cell.value().is_infinite()) || self.custom_bounds.iter().any(|bound| bound.is_infinite())
    }
}

impl Working<KahanSum> {
    /// Adds to each number what rounding had taken from it. Not to leading buckets within the zero bucket: Prometheus adds a
    /// histogram of what was lost, and addition skips those.
    pub(super) fn settle(&mut self) {
        let settle = |cell: &mut KahanSum| *cell = KahanSum::starting_at(cell.sum + cell.compensation);
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(settle);
        for side in [&mut self.positive, &mut self.negative] {
            let (schema, threshold, is_custom) = (self.schema, self.zero_threshold, self.is_custom);
            let outside = side.entries.iter_mut();
            outside
                .skip_while(|entry| !is_custom && bucket_bound(entry.index, schema, &[]) <= threshold)
                .for_each(|entry| settle(&mut entry.count));
        }
    }
}

/// The hint of a combination, and whether the two hints contradict each other. As Prometheus v3.14 `adjustCounterReset`.
fn combined_hint(left: CounterResetHint, right: CounterResetHint) -> (CounterResetHint, bool) {
    use CounterResetHint::{Gauge, Unknown};
    match (left, right) {
        (left, right) if left == right => (left, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Unknown, _) | (_, Unknown) => (Unknown, false),
        _ => (Unknown, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_combine_to_the_weaker_and_a_reset_collides_with_none() {
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        for (left, right, combined, collides) in [
            (Unknown, Unknown, Unknown, false),
            (Reset, Reset, Reset, false),
            (NotReset, NotReset, NotReset, false),
            (Gauge, Gauge, Gauge, false),
            (Gauge, Reset, Gauge, false),
            (NotReset, Gauge, Gauge, false),
            (Unknown, Gauge, Gauge, false),
            (Unknown, Reset, Unknown, false),
            (NotReset, Unknown, Unknown, false),
            (Reset, NotReset, Unknown, true),
            (NotReset, Reset, Unknown, true),
        ] {
            assert_eq!(combined_hint(left, right), (combined, collides), "{left:?} {right:?}");
        }
    }
}
