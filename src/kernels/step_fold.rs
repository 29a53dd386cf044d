//! Aggregations across series: what one (group, step) needs to remember.

use std::fmt::Debug;

use super::kahan_sum::{KahanMean, KahanSum};

/// The state of one aggregate at one step of one group.
///
/// A state exists only where the group got at least one value at that step. It can be written as `STATE_WIDTH` floats, so
/// that partial aggregates travel as columns. `count`, `min`, `max` and `group` give the same result however values are
/// split over states; the others agree to the last digits only if values arrive in one stream.
pub trait StepFold: Clone + Default + Send + Sync + Debug + 'static {
    /// How many floats a written state has; at least one.
    const STATE_WIDTH: usize;
    /// Takes in the value of the next series.
    fn add(&mut self, value: f64);
    /// Takes in what another state took in, as if after everything that this one took in.
    fn merge(&mut self, other: &Self);
    /// The aggregate.
    fn finish(&self) -> f64;
    /// Appends the state: exactly `STATE_WIDTH` floats.
    fn write_state(&self, out: &mut Vec<f64>);
    /// Reads what [`Self::write_state`] wrote. Missing floats read as 0: a state from elsewhere must not be able to panic.
    fn read_state(state: &[f64]) -> Self;
}

fn slot(state: &[f64], at: usize) -> f64 {
    state.get(at).copied().unwrap_or(0.0)
}

/// `sum`: Kahan-Neumaier, in order of arrival.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct SumFold(KahanSum);

impl StepFold for SumFold {
    const STATE_WIDTH: usize = 2;

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn finish(&self) -> f64 {
        self.0.value()
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        out.extend([self.0.sum, self.0.compensation]);
    }

    fn read_state(state: &[f64]) -> Self {
        Self(KahanSum { sum: slot(state, 0), compensation: slot(state, 1) })
    }
}

/// `avg`: Kahan sum over count, the incremental mean once the sum would overflow.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct AvgFold(KahanMean);

impl StepFold for AvgFold {
    const STATE_WIDTH: usize = 4;

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn finish(&self) -> f64 {
        self.0.value()
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        let KahanMean { total, count, incremental } = self.0;
        out.extend([total.sum, total.compensation, count, f64::from(u8::from(incremental))]);
    }

    fn read_state(state: &[f64]) -> Self {
        let total = KahanSum { sum: slot(state, 0), compensation: slot(state, 1) };
        Self(KahanMean { total, count: slot(state, 2), incremental: slot(state, 3) != 0.0 })
    }
}

/// `min`: NaN only if every value is.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct MinFold(f64);

impl Default for MinFold {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl StepFold for MinFold {
    const STATE_WIDTH: usize = 1;

    #[inline]
    fn add(&mut self, value: f64) {
        if self.0 > value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.add(other.0);
    }

    fn finish(&self) -> f64 {
        self.0
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        out.push(self.0);
    }

    fn read_state(state: &[f64]) -> Self {
        Self(slot(state, 0))
    }
}

/// `max`: NaN only if every value is.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct MaxFold(f64);

impl Default for MaxFold {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl StepFold for MaxFold {
    const STATE_WIDTH: usize = 1;

    #[inline]
    fn add(&mut self, value: f64) {
        if self.0 < value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.add(other.0);
    }

    fn finish(&self) -> f64 {
        self.0
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        out.push(self.0);
    }

    fn read_state(state: &[f64]) -> Self {
        Self(slot(state, 0))
    }
}

/// `count`: exact up to 2^53 series.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct CountFold(f64);

impl StepFold for CountFold {
    const STATE_WIDTH: usize = 1;

    #[inline]
    fn add(&mut self, _value: f64) {
        self.0 += 1.0;
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn finish(&self) -> f64 {
        self.0
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        out.push(self.0);
    }

    fn read_state(state: &[f64]) -> Self {
        Self(slot(state, 0))
    }
}

/// `group`: 1.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFold;

impl StepFold for GroupFold {
    const STATE_WIDTH: usize = 1;

    #[inline]
    fn add(&mut self, _value: f64) {}

    fn merge(&mut self, _other: &Self) {}

    fn finish(&self) -> f64 {
        1.0
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        out.push(1.0);
    }

    fn read_state(_state: &[f64]) -> Self {
        Self
    }
}

/// Welford's running variance, without Kahan: as Prometheus v3.14's `stddev` and `stdvar` across series.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
struct Welford {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Welford {
    const STATE_WIDTH: usize = 3;

    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            // A first value that is not finite spoils the variance, as every later one does by itself.
            *self = Self { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// Chan, Golub and LeVeque's update for two samples.
    fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.squares += other.squares + delta * delta * (self.count * other.count / count);
        self.mean += delta * (other.count / count);
        self.count = count;
    }

    fn variance(&self) -> f64 {
        self.squares / self.count
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        out.extend([self.count, self.mean, self.squares]);
    }

    fn read_state(state: &[f64]) -> Self {
        Self { count: slot(state, 0), mean: slot(state, 1), squares: slot(state, 2) }
    }
}

/// `stddev`: population standard deviation.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct StddevFold(Welford);

impl StepFold for StddevFold {
    const STATE_WIDTH: usize = Welford::STATE_WIDTH;

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn finish(&self) -> f64 {
        self.0.variance().sqrt()
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        self.0.write_state(out);
    }

    fn read_state(state: &[f64]) -> Self {
        Self(Welford::read_state(state))
    }
}

/// `stdvar`: population variance.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct StdvarFold(Welford);

impl StepFold for StdvarFold {
    const STATE_WIDTH: usize = Welford::STATE_WIDTH;

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn finish(&self) -> f64 {
        self.0.variance()
    }

    fn write_state(&self, out: &mut Vec<f64>) {
        self.0.write_state(out);
    }

    fn read_state(state: &[f64]) -> Self {
        Self(Welford::read_state(state))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    fn fold<F: StepFold>(values: &[f64]) -> F {
        let mut fold = F::default();
        values.iter().for_each(|value| fold.add(*value));
        fold
    }

    fn rewritten<F: StepFold>(fold: &F) -> F {
        let mut state = Vec::new();
        fold.write_state(&mut state);
        assert_eq!(state.len(), F::STATE_WIDTH);
        F::read_state(&state)
    }

    fn check<F: StepFold>(values: &[f64], expected: f64) {
        for got in [fold::<F>(values).finish(), rewritten(&fold::<F>(values)).finish()] {
            assert!(got == expected || (got.is_nan() && expected.is_nan()), "{values:?}: {got}, not {expected}");
        }
    }

    #[test]
    fn aggregates_of_a_few_values() {
        let values = [4.0, NAN, -1.0];
        check::<SumFold>(&[1e100, 1.0, -1e100], 1.0);
        check::<SumFold>(&[INF, -INF], NAN);
        check::<SumFold>(&[1.0, INF], INF);
        check::<AvgFold>(&[1.0, 2.0, 6.0], 3.0);
        check::<AvgFold>(&[f64::MAX, f64::MAX], f64::MAX);
        check::<MinFold>(&values, -1.0);
        check::<MaxFold>(&values, 4.0);
        check::<MinFold>(&[NAN, NAN], NAN);
        check::<CountFold>(&values, 3.0);
        check::<GroupFold>(&values, 1.0);
        check::<StdvarFold>(&[1.0, 3.0], 1.0);
        check::<StddevFold>(&[2.0, 6.0], 2.0);
        check::<StddevFold>(&[5.0], 0.0);
    }

    #[test]
    fn a_value_that_is_not_finite_spoils_the_variance_wherever_it_stands() {
        for odd in [NAN, INF, -INF] {
            check::<StdvarFold>(&[odd], NAN);
            check::<StdvarFold>(&[odd, 1.0], NAN);
            check::<StdvarFold>(&[1.0, odd], NAN);
        }
    }

    #[test]
    fn a_state_from_elsewhere_cannot_panic() {
        assert_eq!(AvgFold::read_state(&[]), AvgFold::default());
        assert_eq!(SumFold::read_state(&[1.0]).finish(), 1.0);
    }

    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(
            prop_oneof![20 => -1e6f64..1e6, 1 => Just(NAN), 1 => Just(INF), 1 => Just(-INF)],
            0..20,
        )
    }

    /// The aggregate of values split over states that travel, and of all values in one stream.
    fn split_and_whole<F: StepFold>(parts: &[Vec<f64>]) -> (f64, f64) {
        let mut merged = F::default();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            merged.merge(&rewritten(&fold::<F>(part)));
        }
        (merged.finish(), fold::<F>(&parts.concat()).finish())
    }

    fn is_close(left: f64, right: f64, scale: f64) -> bool {
        left == right || (left.is_nan() && right.is_nan()) || (left - right).abs() <= 1e-9 * scale
    }

    proptest! {
        #[test]
        fn exact_folds_do_not_care_how_values_are_split(parts in proptest::collection::vec(any_values(), 1..4)) {
            prop_assume!(parts.iter().any(|part| !part.is_empty()));
            for (merged, whole) in [
                split_and_whole::<MinFold>(&parts),
                split_and_whole::<MaxFold>(&parts),
                split_and_whole::<CountFold>(&parts),
                split_and_whole::<GroupFold>(&parts),
            ] {
                prop_assert!(is_close(merged, whole, 0.0), "{} {}", merged, whole);
            }
        }

        #[test]
        fn the_other_folds_agree_to_the_last_digits(parts in proptest::collection::vec(any_values(), 1..4)) {
            prop_assume!(parts.iter().any(|part| !part.is_empty()));
            for (merged, whole, scale) in [
                (split_and_whole::<SumFold>(&parts), 1e7),
                (split_and_whole::<AvgFold>(&parts), 1e6),
                (split_and_whole::<StddevFold>(&parts), 1e6),
                (split_and_whole::<StdvarFold>(&parts), 1e12),
            ].map(|((merged, whole), scale)| (merged, whole, scale)) {
                prop_assert!(is_close(merged, whole, scale), "{} {}", merged, whole);
            }
        }

        #[test]
        fn a_state_travels_unchanged(values in any_values()) {
            prop_assert_eq!(format!("{:?}", rewritten(&fold::<AvgFold>(&values))), format!("{:?}", fold::<AvgFold>(&values)));
            prop_assert_eq!(format!("{:?}", rewritten(&fold::<StdvarFold>(&values))), format!("{:?}", fold::<StdvarFold>(&values)));
        }
    }
}
