//! The numbers of a histogram in the making: plain, or with what rounding took.

use crate::kernels::KahanSum;

/// A count or a sum that others are added to.
pub(super) trait Cell: Copy {
    /// A cell that holds one number.
    fn of(value: f64) -> Self;
    /// The number, without what rounding took.
    fn value(&self) -> f64;
    /// Adds a number.
    fn add(&mut self, value: f64);
    /// Adds a cell: first its number, then what rounding took from it.
    fn absorb(&mut self, other: Self);
    /// Multiplies by a factor.
    fn scale(&mut self, factor: f64);
    /// Divides by a number.
    fn divide(&mut self, divisor: f64);
    /// Starts again from `value`'s number. What rounding took stays: Prometheus v3.14 zeroCountForLargerThreshold forgets to
    /// take it back when it begins anew, and we give its digits.
    fn restart(&mut self, value: Self);
    /// Is there nothing in it?
    fn is_zero(&self) -> bool;
    /// With what rounding took, if that is known.
    fn as_kahan(&self) -> KahanSum;
    /// Forgets what rounding took if this kind of cell does not hold it.
    fn of_kahan(sum: KahanSum) -> Self;
}

impl Cell for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn value(&self) -> f64 {
        *self
    }
    fn add(&mut self, value: f64) {
        *self += value;
    }
    fn absorb(&mut self, other: Self) {
        *self += other;
    }
    fn scale(&mut self, factor: f64) {
        *self *= factor;
    }
    fn divide(&mut self, divisor: f64) {
        *self /= divisor;
    }
    fn restart(&mut self, value: Self) {
        *self = value;
    }
    fn is_zero(&self) -> bool {
        *self == 0.0
    }
    fn as_kahan(&self) -> KahanSum {
        KahanSum::starting_at(*self)
    }
    fn of_kahan(sum: KahanSum) -> Self {
        sum.sum
    }
}

impl Cell for KahanSum {
    fn of(value: f64) -> Self {
        Self::starting_at(value)
    }
    fn value(&self) -> f64 {
        self.sum
    }
    fn add(&mut self, value: f64) {
        Self::add(self, value);
    }
    fn absorb(&mut self, other: Self) {
        Self::add(self, other.sum);
        if other.compensation != 0.0 {
            Self::add(self, other.compensation);
        }
    }
    fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.compensation *= factor;
    }
    fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.compensation /= divisor;
    }
    fn restart(&mut self, value: Self) {
        self.sum = value.sum;
    }
    fn is_zero(&self) -> bool {
        self.sum == 0.0 && self.compensation == 0.0
    }
    fn as_kahan(&self) -> KahanSum {
        *self
    }
    fn of_kahan(sum: KahanSum) -> Self {
        sum
    }
}
