//! Sums of windows from running totals, where that gives Prometheus' own digits.
//!
//! Prometheus adds up a window with Neumaier's variant of Kahan's summation: `t = sum + v` rounded, the rounding error `e` of
//! that addition goes to `c += e`, and the result is `sum + c`. Sums in floating point depend on their order, so the difference
//! of two running totals is another number in general. Here is when it is not.
//!
//! Let `u` be a power of two, and every value of the window a whole multiple of `u`: such a `u` exists for all finite values.
//! Let `M` be the largest magnitude in units of `u`, and `n` the number of samples.
//!
//! 1. A multiple of `u` of at most `2^53·u` is a float. A float rounded to fewer digits stays a multiple of `u`. So all of
//!    `t`, `e` and, as long as it is at most `2^53·u`, `c`, are multiples of `u`.
//! 2. **Plain sums.** If `n·M ≤ 2^53`, every partial sum is such a multiple, so no addition rounds: all `e` are 0, `c` is +0,
//!    and `sum` is the sum of real numbers. Any other way to that number will do. Whole counters, byte sizes and multiples of
//!    1/8 are of this kind. This holds for `sum` as well as for `avg`, which divides `sum` and `c` apart.
//! 3. **Compensated sums.** The branches on which is larger make `e` the exact error of each addition (Dekker), so `sum + Σe` is
//!    the sum of real numbers at every point. A partial sum is below `2·n·M·u`, an error at most `2^-53` of it, and `Σ|e|` at
//!    most `n·2·n·M·u·2^-53`. If that is at most `2^53·u`, that is `n²·M ≤ 2^105`, then by 1. no addition to `c` rounds, `c = Σe`,
//!    and the result is the sum of real numbers, rounded once. `M` is 2^66 for numbers between 0.01 and 100 with all their
//!    digits, and leaves room for n = 700,000. This holds for `sum` only: `avg` divides the two parts before it adds them.
//! 4. A sum that is zero is +0 either way: `sum` starts at +0, and `x + (-x)` is +0; `avg` adds a `c` of +0.
//!
//! The totals are kept as whole numbers of 128 bits. They may wrap: a difference of wrapped totals is right if the true one fits
//! 127 bits, and it is below `n·M`. Rounding such a number to a float and scaling by `u` rounds once, also for subnormal results:
//! those are below `2^53·u`. Infinities and NaN have no `u`; values above [`TAME_MAX`] are left out, so that nothing overflows.

use std::ops::Range;

use super::window_lanes::TAME_MAX;

/// Up to so many bits are a plain sum.
const PLAIN_BITS: u32 = 53;

/// `n²·M` of a compensated sum has at most so many bits.
const COMPENSATED_BITS: u32 = 105;

/// Largest `M` in bits that is worth the trouble: windows of 2^4 samples are exact at least.
const UNIT_SPAN_BITS_MAX: u32 = 96;

/// Running totals of a series whose windows can be summed by a subtraction: O(1) a window, one pass over the series.
#[derive(Debug)]
pub(crate) struct ExactSums {
    /// The total before each sample, and after the last, in units; wraps.
    totals: Vec<i128>,
    /// What a unit is worth: a power of two.
    unit: f64,
    /// Windows of at most so many samples are plain sums.
    plain_len_max: usize,
    /// Windows of at most so many samples are compensated sums without a rounding but the last.
    compensated_len_max: usize,
}

impl ExactSums {
    /// Totals for plain sums of windows of up to `window_len` samples; `None` if these values do not sum so.
    pub(crate) fn plain(values: &[f64], window_len: usize) -> Option<Self> {
        let units = Units::of(values, PLAIN_BITS)?;
        (units.plain_len_max() >= window_len).then(|| units.totals_of(values))
    }

    /// Totals for plain or compensated sums; `None` if these values do not sum so.
    pub(crate) fn compensated(values: &[f64], window_len: usize) -> Option<Self> {
        let units = Units::of(values, UNIT_SPAN_BITS_MAX)?;
        (units.compensated_len_max() >= window_len).then(|| units.totals_of(values))
    }

    /// `sum_over_time` of a window; `None` if the window is too long for it to be exact.
    #[inline]
    pub(crate) fn sum(&self, samples: Range<usize>) -> Option<f64> {
        (samples.len() <= self.compensated_len_max).then(|| self.rounded(samples))
    }

    /// `avg_over_time` of a window; `None` if the window is too long for it to be exact.
    #[inline]
    pub(crate) fn average(&self, samples: Range<usize>) -> Option<f64> {
        let count = samples.len() as f64;
        // Adding what was lost, +0, makes +0 of -0.
        (samples.len() <= self.plain_len_max).then(|| self.rounded(samples) / count + 0.0)
    }

    fn rounded(&self, samples: Range<usize>) -> f64 {
        let units = self.totals[samples.end].wrapping_sub(self.totals[samples.start]);
        // Most sums fit 64 bits, and those are converted by one instruction.
        let rounded = i64::try_from(units).map_or_else(|_| units as f64, |small| small as f64);
        rounded * self.unit
    }
}

/// The common unit of some values.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Units {
    /// Exponent of the unit, a power of two.
    exponent: i32,
    /// How many bits the largest magnitude has in units.
    span_bits: u32,
}

impl Units {
    /// The largest power of two of which all values are multiples; `None` if a value is not finite or too large, or has more
    /// than `span_bits_max` bits in that unit.
    fn of(values: &[f64], span_bits_max: u32) -> Option<Self> {
        let mut lowest = i32::MAX;
        let mut largest = 0.0f64;
        // A few at a time: the first stretch tells most series that are not of the kind.
        for stretch in values.chunks(128) {
            for value in stretch {
                let magnitude = value.abs();
                if magnitude.is_nan() || magnitude > TAME_MAX {
                    return None;
                }
                largest = if magnitude > largest { magnitude } else { largest };
                let (digits, exponent) = digits_and_exponent(*value);
                // Zero is a multiple of anything.
                let own_lowest = if digits == 0 { i32::MAX } else { exponent + digits.trailing_zeros() as i32 };
                lowest = lowest.min(own_lowest);
            }
            if bits_between(lowest, largest) > span_bits_max {
                return None;
            }
        }
        Some(Self { exponent: if largest == 0.0 { 0 } else { lowest }, span_bits: bits_between(lowest, largest) })
    }

    fn plain_len_max(&self) -> usize {
        PLAIN_BITS.checked_sub(self.span_bits).map_or(0, power_of_two)
    }

    fn compensated_len_max(&self) -> usize {
        COMPENSATED_BITS.checked_sub(self.span_bits).map_or(0, |bits| power_of_two(bits / 2))
    }

    fn totals_of(&self, values: &[f64]) -> ExactSums {
        // An exact product and one conversion where the counts fit 64 bits; both factors are normal numbers.
        let is_short = self.span_bits < 63 && self.exponent > -1000;
        let counts_in_one = power_of_two_float(-self.exponent.max(-1000));
        ExactSums {
            totals: if is_short {
                running_totals(values, |value| i128::from((value * counts_in_one) as i64))
            } else {
                running_totals(values, |value| self.count_in(value))
            },
            unit: power_of_two_float(self.exponent),
            plain_len_max: self.plain_len_max(),
            compensated_len_max: self.compensated_len_max(),
        }
    }

    /// How many units a value is.
    fn count_in(&self, value: f64) -> i128 {
        let (digits, exponent) = digits_and_exponent(value);
        // Digits that are shifted out are zeros, as the unit divides the value; of zero nothing but the shift is large.
        let shift = (exponent - self.exponent).clamp(-63, 127);
        let count = if shift < 0 { i128::from(digits >> -shift) } else { i128::from(digits) << shift };
        if value.is_sign_negative() { -count } else { count }
    }
}

fn running_totals(values: &[f64], count: impl Fn(f64) -> i128) -> Vec<i128> {
    let mut totals = Vec::with_capacity(values.len() + 1);
    let mut total = 0i128;
    totals.push(total);
    totals.extend(values.iter().map(|value| {
        total = total.wrapping_add(count(*value));
        total
    }));
    totals
}

/// `2^bits` as a count of samples.
fn power_of_two(bits: u32) -> usize {
    1usize.checked_shl(bits).unwrap_or(usize::MAX)
}

/// `2^exponent`, for exponents from -1074 to 1023.
fn power_of_two_float(exponent: i32) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074).max(0))
    }
}

/// A finite value's magnitude as `digits · 2^exponent`.
#[inline]
fn digits_and_exponent(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let field = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if field == 0 { (fraction, -1074) } else { (fraction | (1 << 52), field - 1075) }
}

/// Bits of a magnitude above a unit.
fn bits_between(lowest: i32, largest: f64) -> u32 {
    if largest == 0.0 {
        return 0;
    }
    let (digits, exponent) = digits_and_exponent(largest);
    let bits = 64 - digits.leading_zeros() as i32 + exponent - lowest;
    bits.max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::super::over_time_functions::{average, sum};
    use super::*;

    /// Not `powi`, which gives 0 for small exponents without optimisation.
    fn two(exponent: i32) -> f64 {
        power_of_two_float(exponent)
    }

    #[test]
    fn the_unit_is_the_largest_power_of_two_that_divides_all() {
        let check = |values: &[f64], exponent: i32, span_bits: u32| {
            assert_eq!(Units::of(values, 96), Some(Units { exponent, span_bits }), "{values:?}");
        };
        check(&[12.0, -4.0, 0.0], 2, 2);
        check(&[1.0, 1024.0], 0, 11);
        check(&[0.5, -3.25], -2, 4);
        check(&[0.0, -0.0], 0, 0);
        check(&[], 0, 0);
        check(&[f64::from_bits(3), two(-1050)], -1074, 25);
        check(&[0.1], -55, 52);
    }

    #[test]
    fn values_without_a_useful_unit_have_none() {
        for values in [&[1.0, f64::NAN][..], &[f64::INFINITY], &[1.0, two(96)], &[two(481)], &[two(-1074), 1.0]] {
            assert_eq!(Units::of(values, 96), None, "{values:?}");
        }
        assert_eq!(Units::of(&[0.1, 100.1], PLAIN_BITS), None);
    }

    #[test]
    fn windows_are_plain_as_long_as_no_partial_sum_can_exceed_53_bits() {
        let sums = ExactSums::plain(&[two(48) - 1.0; 64], 32).expect("48 bits and 32 samples");
        assert_eq!(sums.average(0..32), Some(average(&[two(48) - 1.0; 32])));
        assert_eq!(sums.average(0..33), None);
        assert!(ExactSums::plain(&[two(48) - 1.0; 64], 33).is_none());
    }

    #[test]
    fn a_window_so_long_that_the_compensation_is_rounded_itself_is_left_to_a_walk() {
        // The partial sums reach 2^105, whose last digit is 2^53: the compensation collects 3·2^52 and loses the 1. So the walk
        // rounds a tie that is none.
        let values = [&[two(95); 1024][..], &[two(52), two(52), two(52), -1.0]].concat();
        let sums = ExactSums::compensated(&values, 16).expect("96 bits and 16 samples");
        assert_eq!(sums.rounded(0..1028), two(105) + two(53));
        assert_eq!(sum(&values), two(105) + two(54));
        assert_eq!(sums.sum(0..1028), None);
        assert_eq!(sums.sum(1012..1028), Some(sum(&values[1012..])));
    }

    #[test]
    fn totals_may_wrap() {
        let values = vec![two(95); 100_000];
        let units = Units { exponent: 0, span_bits: 96 };
        let mut sums = units.totals_of(&values);
        let huge = sums.totals[99_990];
        sums.totals.iter_mut().for_each(|total| *total = total.wrapping_add(i128::MAX).wrapping_sub(huge));
        assert_eq!(sums.sum(99_984..100_000), Some(sum(&values[..16])));
    }

    #[test]
    fn a_sum_of_subnormal_numbers_is_not_rounded_twice() {
        let values = [f64::from_bits(1), f64::from_bits(6), -f64::from_bits(2), two(-1022)];
        let sums = ExactSums::compensated(&values, 4).expect("few bits");
        for (from, to) in [(0, 1), (0, 3), (0, 4), (2, 4)] {
            assert_eq!(sums.sum(from..to), Some(sum(&values[from..to])));
        }
    }
}
