//! Range functions, digit for digit, against a walk over each window in Prometheus' order of operations.

use proptest::prelude::*;

use super::cells::collect_cells;
use super::kahan_sum::KahanSum;
use super::windows::tests::{any_timestamps, any_windows};
use super::{RangeFunction, RangeWindows, StepScalar, evaluate_range_function};

/// A window walked from its first sample to its last. Written down from Prometheus v3.14 promql/functions.go, without any
/// state from other windows.
struct Walk<'a> {
    timestamps: &'a [i64],
    values: &'a [f64],
    start_ms: i64,
    end_ms: i64,
    eval_ms: i64,
}

impl Walk<'_> {
    fn result(&self, function: RangeFunction, range_seconds: f64, params: &[f64]) -> Option<f64> {
        use RangeFunction as F;
        let values = self.values;
        let (&first, &last) = (values.first()?, values.last()?);
        let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
        let ends = (self.timestamps[0], self.timestamps[values.len() - 1]);
        Some(match function {
            F::Rate => self.extrapolated(true, range_seconds)?,
            F::Increase => self.extrapolated(true, 1.0)?,
            F::Delta => self.extrapolated(false, 1.0)?,
            F::Resets => pairs().filter(|(before, value)| value < before).count() as f64,
            F::Changes => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
            F::SumOverTime => self.sum(),
            F::AvgOverTime => self.average(),
            F::MinOverTime => self.extreme(|value, least| value < least).0,
            F::MaxOverTime => self.extreme(|value, most| value > most).0,
            F::TsOfMinOverTime => self.extreme(|value, least| value <= least).1 as f64 / 1000.0,
            F::TsOfMaxOverTime => self.extreme(|value, most| value >= most).1 as f64 / 1000.0,
            F::TsOfFirstOverTime => ends.0 as f64 / 1000.0,
            F::TsOfLastOverTime => ends.1 as f64 / 1000.0,
            F::CountOverTime => values.len() as f64,
            F::FirstOverTime => first,
            F::LastOverTime => last,
            F::PresentOverTime => 1.0,
            F::StdvarOverTime => self.variance(),
            F::StddevOverTime => self.variance().sqrt(),
            F::QuantileOverTime => quantile(params[0], values.to_vec()),
            F::MadOverTime if values.iter().any(|value| value.is_nan()) => f64::NAN,
            F::MadOverTime => {
                let median = quantile(0.5, values.to_vec());
                quantile(0.5, values.iter().map(|value| (value - median).abs()).collect())
            }
            F::Deriv => self.line(ends.0)?.0,
            F::PredictLinear => {
                let (slope, intercept) = self.line(self.eval_ms)?;
                slope * params[0] + intercept
            }
            F::Irate | F::Idelta | F::DoubleExponentialSmoothing => unreachable!("they look at no more than they must"),
        })
    }

    fn sum(&self) -> f64 {
        let mut sum = KahanSum::default();
        self.values.iter().for_each(|value| sum.add(*value));
        if sum.sum.is_infinite() { sum.sum } else { sum.sum + sum.compensation }
    }

    fn average(&self) -> f64 {
        let mut sum = KahanSum::starting_at(self.values[0]);
        let mut mean: Option<KahanSum> = None;
        for (value, count) in self.values[1..].iter().zip(2..) {
            let count = f64::from(count);
            if mean.is_none() {
                let mut larger = sum;
                larger.add(*value);
                if larger.sum.is_finite() || larger.sum.is_nan() {
                    sum = larger;
                    continue;
                }
            }
            let before = count - 1.0;
            let mut next = mean.unwrap_or(KahanSum { sum: sum.sum / before, compensation: sum.compensation / before });
            let share = before / count;
            next = KahanSum { sum: share * next.sum, compensation: share * next.compensation };
            next.add(value / count);
            mean = Some(next);
        }
        let count = self.values.len() as f64;
        mean.map_or(sum.sum / count + sum.compensation / count, |mean| mean.sum + mean.compensation)
    }

    fn extreme(&self, replaces: impl Fn(f64, f64) -> bool) -> (f64, i64) {
        let mut extreme = (self.values[0], self.timestamps[0]);
        for (value, time) in self.values.iter().zip(self.timestamps) {
            if replaces(*value, extreme.0) || extreme.0.is_nan() {
                extreme = (*value, *time);
            }
        }
        extreme
    }

    fn variance(&self) -> f64 {
        let mut count = 0.0;
        let (mut mean, mut squares) = (KahanSum::default(), KahanSum::default());
        for value in self.values {
            count += 1.0;
            let delta = value - (mean.sum + mean.compensation);
            mean.add(delta / count);
            squares.add(delta * (value - (mean.sum + mean.compensation)));
        }
        (squares.sum + squares.compensation) / count
    }

    fn line(&self, origin_ms: i64) -> Option<(f64, f64)> {
        let first = self.values[0];
        if self.values.len() < 2 {
            return None;
        }
        if self.values[1..].iter().all(|value| *value == first) {
            return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
        }
        let mut sums = [KahanSum::default(); 4];
        for (time, y) in self.timestamps.iter().zip(self.values) {
            let x = (time - origin_ms) as f64 / 1e3;
            for (sum, term) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
                sum.add(term);
            }
        }
        let [x, y, xy, xx] = sums.map(|sum| sum.sum + sum.compensation);
        let n = self.values.len() as f64;
        let slope = (xy - x * y / n) / (xx - x * x / n);
        Some((slope, y / n - slope * x / n))
    }

    fn extrapolated(&self, is_counter: bool, per_seconds: f64) -> Option<f64> {
        let (values, gaps) = (self.values, self.values.len() - 1);
        if gaps == 0 {
            return None;
        }
        let mut result = values[gaps] - values[0];
        for pair in values.windows(2) {
            if is_counter && pair[1] < pair[0] {
                result += pair[0];
            }
        }
        let mut to_start = (self.timestamps[0] - self.start_ms) as f64 / 1000.0;
        let mut to_end = (self.end_ms - self.timestamps[gaps]) as f64 / 1000.0;
        let sampled = (self.timestamps[gaps] - self.timestamps[0]) as f64 / 1000.0;
        let spacing = sampled / gaps as f64;
        if to_start >= spacing * 1.1 {
            to_start = spacing / 2.0;
        }
        if is_counter && result > 0.0 && values[0] >= 0.0 && sampled * (values[0] / result) < to_start {
            to_start = sampled * (values[0] / result);
        }
        if to_end >= spacing * 1.1 {
            to_end = spacing / 2.0;
        }
        let factor = (sampled + to_start + to_end) / sampled;
        Some(result * if per_seconds == 1.0 { factor } else { factor / per_seconds })
    }
}

/// By a sort of all values, NaN first.
fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_by(|left, right| right.is_nan().cmp(&left.is_nan()).then(left.total_cmp(right)));
    let rank = q * (values.len() as f64 - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (values.len() as f64 - 1.0).min(lower + 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Of which zero a quantile is, if there are both, is left open: so it is by Go's sort.
fn is_same(function: RangeFunction, got: Option<f64>, want: Option<f64>) -> bool {
    match (got, want) {
        (Some(got), Some(want)) => {
            let may_be_other_zero = function == RangeFunction::QuantileOverTime && got == want;
            got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()) || may_be_other_zero
        }
        (got, want) => got == want,
    }
}

fn is_walked(function: &RangeFunction) -> bool {
    use RangeFunction::{DoubleExponentialSmoothing, Idelta, Irate};
    !matches!(function, Irate | Idelta | DoubleExponentialSmoothing)
}

/// Compares every function over every window with its walk.
fn check(timestamps: &[i64], values: &[f64], windows: &RangeWindows, q: f64) -> Result<(), TestCaseError> {
    let param = [StepScalar::Constant(q)];
    for function in RangeFunction::all().filter(is_walked) {
        let cells = collect_cells(|out| {
            evaluate_range_function(function, timestamps, values, windows, &param, out).expect("valid parameters");
        });
        prop_assert_eq!(cells.len(), windows.step_count);
        for (step, got) in cells.iter().enumerate() {
            let (end_ms, start_ms) = (windows.end_ms(step), windows.end_ms(step) - windows.range_ms);
            let inside: Vec<usize> =
                (0..values.len()).filter(|at| start_ms < timestamps[*at] && timestamps[*at] <= end_ms).collect();
            let walk = Walk {
                timestamps: &inside.iter().map(|at| timestamps[*at]).collect::<Vec<i64>>(),
                values: &inside.iter().map(|at| values[*at]).collect::<Vec<f64>>(),
                start_ms,
                end_ms,
                eval_ms: windows.eval_ms(step),
            };
            // As Go's Duration.Seconds().
            let nanoseconds = windows.range_ms * 1_000_000;
            let range_seconds = (nanoseconds / 1_000_000_000) as f64 + (nanoseconds % 1_000_000_000) as f64 / 1e9;
            let want = walk.result(function, range_seconds, &[q]);
            prop_assert!(
                is_same(function, *got, want),
                "{:?} of {:?} at step {}: {:?}, walked {:?}",
                function,
                walk.values,
                step,
                got,
                want
            );
        }
    }
    Ok(())
}

const COUNT: usize = 60;

fn values_of(value: impl Strategy<Value = f64>) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(value, COUNT)
}

/// Series of the kinds that are summed in different ways, and of those on the border between them.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let decimals = || (-100_000i32..100_000).prop_map(|value| f64::from(value) / 1_000.0);
    let odd = || prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(0.0)];
    let whole_near = |bits: u32| (-(1i64 << bits)..=1i64 << bits).prop_map(|value| value as f64);
    let largest = || prop_oneof![Just(f64::MAX), Just(-f64::MAX), Just(1.7e308), Just(1e145), Just(-3e144)];
    let subnormal = || (-40i64..40).prop_map(|units| units.signum() as f64 * f64::from_bits(units.unsigned_abs()));
    prop_oneof![
        counters(),
        values_of(decimals()),
        values_of((-3i32..3).prop_map(f64::from)),
        values_of((-1e6f64..1e6).prop_map(|value| value / 3.0)),
        values_of(whole_near(40)),
        values_of(whole_near(48)),
        values_of(whole_near(53)),
        values_of(whole_near(62)),
        values_of(prop_oneof![8 => whole_near(47), 1 => Just(0.125), 1 => Just(-0.5)]),
        values_of(prop_oneof![6 => decimals(), 1 => odd()]),
        values_of(odd()),
        values_of(subnormal()),
        values_of(prop_oneof![subnormal(), decimals()]),
        values_of(prop_oneof![largest(), decimals()]),
        values_of((any::<f64>(), -90i32..90).prop_map(|(value, exponent)| {
            let digits = f64::from_bits((value.to_bits() & !(0x7ff << 52)) | (1023 << 52));
            digits * 2f64.powi(exponent)
        })),
        values_of(any::<f64>()),
    ]
}

/// Growth with falls to a small value, in whole numbers or with all digits.
fn counters() -> impl Strategy<Value = Vec<f64>> {
    let growths = proptest::collection::vec((0u8..8, 0i32..50_000), COUNT);
    (growths, prop_oneof![Just(1.0), Just(0.125), Just(1.0 / 3.0), Just(1e12)]).prop_map(|(growths, scale)| {
        let next = |count: &mut f64, (kind, growth): (u8, i32)| {
            *count = if kind == 0 { f64::from(growth) / 100.0 } else { *count + f64::from(growth) } * scale;
            Some(*count)
        };
        growths.into_iter().scan(0.0, next).collect()
    })
}

/// Windows that overlap many times, each a few samples further than the last or none at all.
fn overlapping_windows() -> impl Strategy<Value = RangeWindows> {
    (-400_000i64..300_000, 1i64..40_000, 1usize..60, 300_000i64..2_000_000).prop_map(
        |(first_end_ms, step_ms, step_count, range_ms)| RangeWindows {
            first_end_ms,
            end_step_ms: step_ms,
            first_eval_ms: first_end_ms + 7_000,
            eval_step_ms: step_ms,
            step_count,
            range_ms,
        },
    )
}

proptest! {
    #[test]
    fn every_digit_is_that_of_a_walk_over_the_window(
        timestamps in any_timestamps(),
        values in any_values(),
        windows in prop_oneof![any_windows(), overlapping_windows()],
        q in -0.1f64..1.1,
    ) {
        check(&timestamps, &values[..timestamps.len()], &windows, q)?;
    }
}

/// Times every 15 s, and one window of so many samples a step.
fn windows_of(samples: i64, values: &[f64]) -> (Vec<i64>, RangeWindows) {
    let timestamps: Vec<i64> = (0..values.len() as i64).map(|at| at * 15_000).collect();
    let windows = RangeWindows {
        first_end_ms: 0,
        end_step_ms: 15_000,
        first_eval_ms: 0,
        eval_step_ms: 15_000,
        step_count: values.len(),
        range_ms: samples * 15_000,
    };
    (timestamps, windows)
}

fn check_windows_of(samples: i64, values: &[f64]) {
    let (timestamps, windows) = windows_of(samples, values);
    check(&timestamps, values, &windows, 0.9).expect("every digit the same");
}

#[test]
fn sums_around_two_to_the_53_are_those_of_a_walk() {
    let two_53 = 9_007_199_254_740_992.0;
    for largest in [two_53 / 64.0, two_53 / 32.0 - 1.0, two_53 / 16.0, two_53 - 1.0, two_53, 3.0 * two_53] {
        let values: Vec<f64> =
            (0..80).map(|at| if at % 3 == 0 { largest - f64::from(at) } else { f64::from(at) }).collect();
        check_windows_of(33, &values);
        check_windows_of(64, &values.iter().map(|value| -value * 0.125).collect::<Vec<f64>>());
    }
}

#[test]
fn sums_of_numbers_far_apart_are_those_of_a_walk() {
    for exponent in [20, 40, 52, 53, 54, 80, 100, 110, 300] {
        let large = 2f64.powi(exponent);
        let values: Vec<f64> =
            (0..70).map(|at| [large, 0.1, -large * 1.5, 7.0][at % 4] * (1.0 + at as f64 / 64.0)).collect();
        check_windows_of(40, &values);
    }
}

#[test]
fn long_windows_of_decimals_are_those_of_a_walk() {
    let values: Vec<f64> = (0..400u32).map(|at| f64::from(at.wrapping_mul(2_654_435_761) % 100_000) / 997.0).collect();
    check_windows_of(240, &values);
    check_windows_of(5, &values);
}

#[test]
fn windows_of_zeros_of_either_sign_are_those_of_a_walk() {
    check_windows_of(20, &[-0.0; 40]);
    let mixed: Vec<f64> = (0..40).map(|at| if at % 3 == 0 { 0.0 } else { -0.0 }).collect();
    check_windows_of(4, &mixed);
    check_windows_of(20, &mixed);
}
