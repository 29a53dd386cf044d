//! Quantiles of plain values.

use std::cmp::Ordering;

/// The `q`-quantile, linear between neighbours: rank `q·(n-1)`. NaN sorts lowest. As Prometheus v3.14 `quantile`.
///
/// | `q` | result |
/// |---|---|
/// | NaN, or no values | NaN |
/// | below 0 | -Inf |
/// | above 1 | +Inf |
///
/// Reorders `values`; O(n).
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let last = values.len().saturating_sub(1);
    interpolated(q, values.len(), |at| {
        let (_, lower, above) = values.select_nth_unstable_by(at.min(last), nan_lowest);
        let lower = *lower;
        (lower, above.iter().copied().min_by(nan_lowest).unwrap_or(lower))
    })
}

/// The `q`-quantile of so many values. `neighbours(at)` gives the value at a place in their order, and the one above; the same
/// again where none is above.
pub(crate) fn interpolated(q: f64, count: usize, neighbours: impl FnOnce(usize) -> (f64, f64)) -> f64 {
    if count == 0 || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (count - 1) as f64;
    let weight = rank - rank.floor();
    let (lower, upper) = neighbours((rank.floor() as usize).min(count - 1));
    lower * (1.0 - weight) + upper * weight
}

/// The order of values in which NaN comes before all numbers.
pub(crate) fn nan_lowest(left: &f64, right: &f64) -> Ordering {
    left.partial_cmp(right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(q: f64, values: &[f64], expected: f64) {
        let got = quantile(q, &mut values.to_vec());
        assert!(
            got == expected || (got.is_nan() && expected.is_nan()),
            "quantile({q}, {values:?}) = {got}, not {expected}"
        );
    }

    #[test]
    fn ranks_between_two_values_are_interpolated() {
        check(0.75, &[0.0, 1.0, 2.0, 3.0, 4.0], 3.0);
        check(0.75, &[1.0, 4.0, 0.0, 2.0], 2.5);
        check(0.75, &[3.0, 1.0], 2.5);
        check(0.0, &[3.0, 1.0], 1.0);
        check(1.0, &[3.0, 1.0], 3.0);
        check(0.3, &[7.0], 7.0);
    }

    #[test]
    fn a_q_outside_of_0_to_1_gives_an_infinity_and_nothing_gives_nan() {
        check(-0.1, &[1.0], f64::NEG_INFINITY);
        check(1.1, &[1.0], f64::INFINITY);
        check(f64::NAN, &[1.0], f64::NAN);
        check(0.5, &[], f64::NAN);
        check(2.0, &[], f64::NAN);
    }

    #[test]
    fn nan_sorts_lowest() {
        check(0.0, &[1.0, f64::NAN, 2.0], f64::NAN);
        check(0.5, &[1.0, f64::NAN, 2.0], 1.0);
        check(1.0, &[1.0, f64::NAN, 2.0], 2.0);
    }

    #[test]
    fn an_infinite_neighbour_spoils_even_a_weight_of_zero() {
        // Inf · 0 is NaN in Prometheus too.
        check(0.5, &[1.0, 2.0, f64::INFINITY], f64::NAN);
    }

    proptest! {
        #[test]
        fn selecting_gives_what_sorting_gives(
            q in 0.0f64..=1.0,
            values in proptest::collection::vec(prop_oneof![4 => -10.0f64..10.0, 1 => Just(f64::NAN), 1 => Just(3.0)], 1..50),
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(nan_lowest);
            let rank = q * (sorted.len() as f64 - 1.0);
            let lower = rank.floor().max(0.0);
            let upper = (lower + 1.0).min(sorted.len() as f64 - 1.0);
            let weight = rank - rank.floor();
            let slow = sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight;
            prop_assert_eq!(quantile(q, &mut values.clone()).to_bits(), slow.to_bits());
        }
    }
}
