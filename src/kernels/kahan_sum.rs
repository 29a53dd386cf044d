//! Compensated summation.

/// A running sum with its rounding error: Neumaier's variant of Kahan's summation, as Prometheus v3.14 `util/kahansum`.
///
/// When the sum becomes infinite the compensation is set to zero: it would be `Inf - Inf`, and turn an honest infinity
/// into NaN.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct KahanSum {
    /// The sum as plain addition has it.
    pub sum: f64,
    /// What the rounding lost; to be added at the end.
    pub compensation: f64,
}

impl KahanSum {
    /// A sum that starts from a first value.
    pub fn starting_at(first: f64) -> Self {
        Self { sum: first, compensation: 0.0 }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// Adds another sum with what it had lost. Not associative to the last digit.
    pub fn merge(&mut self, other: &Self) {
        self.add(other.sum);
        if self.sum.is_finite() {
            self.compensation += other.compensation;
        }
    }

    /// The sum with what was lost; an infinite sum stays as it is.
    #[inline]
    pub fn value(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// The mean of values that arrive one by one.
///
/// Kahan sum over count as long as the sum does not overflow; from the first value that would make it infinite on, the
/// incremental mean. As Prometheus v3.14 `funcAvgOverTime` and the `avg` aggregation.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct KahanMean {
    /// The sum, or the mean once `incremental`.
    pub(crate) total: KahanSum,
    /// How many values went in; exact up to 2^53.
    pub(crate) count: f64,
    /// Has the calculation turned to the incremental mean?
    pub(crate) incremental: bool,
}

impl KahanMean {
    /// Adds a value.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.total = KahanSum::starting_at(value);
            return;
        }
        if !self.incremental {
            let mut total = self.total;
            total.add(value);
            if !total.sum.is_infinite() {
                self.total = total;
                return;
            }
            self.turn_incremental(self.count - 1.0);
        }
        let weight = (self.count - 1.0) / self.count;
        self.scale(weight);
        self.total.add(value / self.count);
    }

    /// Adds the mean of other values. Not associative to the last digit.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let mut total = self.total;
            total.merge(&other.total);
            if !total.sum.is_infinite() {
                *self = Self { total, count, incremental: false };
                return;
            }
        }
        let mut other = *other;
        other.turn_incremental(other.count);
        self.turn_incremental(self.count);
        self.scale(self.count / count);
        other.scale(other.count / count);
        self.total.merge(&other.total);
        self.count = count;
    }

    /// The mean; NaN of nothing.
    #[inline]
    pub(crate) fn value(&self) -> f64 {
        if self.incremental {
            self.total.sum + self.total.compensation
        } else {
            self.total.sum / self.count + self.total.compensation / self.count
        }
    }

    fn turn_incremental(&mut self, count: f64) {
        if !self.incremental {
            self.incremental = true;
            self.total.sum /= count;
            self.total.compensation /= count;
        }
    }

    fn scale(&mut self, factor: f64) {
        self.total.sum *= factor;
        self.total.compensation *= factor;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kahan(values: &[f64]) -> f64 {
        let mut sum = KahanSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    fn mean(values: &[f64]) -> KahanMean {
        let mut mean = KahanMean::default();
        values.iter().for_each(|value| mean.add(*value));
        mean
    }

    #[test]
    fn a_small_value_between_two_large_ones_is_not_lost() {
        assert_eq!(kahan(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(kahan(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(kahan(&[]), 0.0);
    }

    #[test]
    fn infinities_stay_infinite_and_opposite_ones_give_nan() {
        assert_eq!(kahan(&[f64::INFINITY, 1.0, 2.0]), f64::INFINITY);
        assert_eq!(kahan(&[1.0, f64::NEG_INFINITY]), f64::NEG_INFINITY);
        assert_eq!(kahan(&[f64::MAX, f64::MAX, 1.0]), f64::INFINITY);
        assert!(kahan(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(kahan(&[1.0, f64::NAN, 1.0]).is_nan());
    }

    #[test]
    fn the_mean_of_values_whose_sum_overflows_is_finite() {
        assert_eq!(mean(&[f64::MAX, f64::MAX]).value(), f64::MAX);
        assert_eq!(mean(&[f64::INFINITY, 1.0]).value(), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
        assert!(mean(&[]).value().is_nan());
    }

    #[test]
    fn overflowing_means_can_be_merged() {
        let mut left = mean(&[f64::MAX, f64::MAX]);
        left.merge(&mean(&[f64::MAX]));
        assert!((left.value() / f64::MAX - 1.0).abs() < 1e-15, "{}", left.value());
        assert_eq!(left.count, 3.0);
    }

    proptest! {
        #[test]
        fn the_sum_of_integers_is_exact(values in proptest::collection::vec(-1_000_000_000i64..1_000_000_000, 0..200)) {
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            prop_assert_eq!(kahan(&floats), values.iter().sum::<i64>() as f64);
        }

        #[test]
        fn merging_is_summing(left in proptest::collection::vec(-1e9f64..1e9, 0..50), right in proptest::collection::vec(-1e9f64..1e9, 0..50)) {
            let mut merged = KahanSum::default();
            left.iter().for_each(|value| merged.add(*value));
            let mut other = KahanSum::default();
            right.iter().for_each(|value| other.add(*value));
            merged.merge(&other);
            let whole = kahan(&[left, right].concat());
            prop_assert!((merged.value() - whole).abs() <= 1e-15 * whole.abs() + 1e-18, "{} {}", merged.value(), whole);
        }
    }
}
