//! `ln`, `log2`, `log10` and the logarithm of 1 + x.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, LOG10_E};

use super::split_exponent;

/// ln 2 in two parts, the first with enough trailing zeros that a multiple of it is exact.
const LN2_HIGH: f64 = 6.93147180369123816490e-01;
const LN2_LOW: f64 = 1.90821492927058770002e-10;

/// Coefficients of the series in s² for ln(1+f) with s = f/(2+f), lowest first.
const SERIES: [f64; 7] = [
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
];

/// Natural logarithm: x = 2^k·(1+f) with √½ ≤ 1+f < √2.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    let (mut fraction, exponent) = split_exponent(x);
    let mut k = f64::from(exponent);
    if fraction <= FRAC_1_SQRT_2 {
        fraction *= 2.0;
        k -= 1.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (SERIES[0] + s4 * (SERIES[2] + s4 * (SERIES[4] + s4 * SERIES[6])));
    let even = s4 * (SERIES[1] + s4 * (SERIES[3] + s4 * SERIES[5]));
    let half_square = 0.5 * f * f;
    k * LN2_HIGH - ((half_square - (s * (half_square + (odd + even)) + k * LN2_LOW)) - f)
}

/// Logarithm to the base 2; exact for powers of two.
pub(crate) fn log2(x: f64) -> f64 {
    let (fraction, exponent) = split_exponent(x);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    ln(fraction) * LOG2_E + f64::from(exponent)
}

/// Logarithm to the base 10.
pub(crate) fn log10(x: f64) -> f64 {
    ln(x) * LOG10_E
}

/// A number near or far from 1, taken apart for the logarithm: `1 + x = 2^k·(1+f)`, with `c` what rounding lost.
struct Reduced {
    k: f64,
    f: f64,
    c: f64,
    /// Is |f| so small that two terms of the series do?
    is_tiny: bool,
}

/// ln(1 + x), accurate for small x.
pub(super) fn ln_1p(x: f64) -> f64 {
    const SQRT_2_LESS_1: f64 = 4.142135623730950488017e-01;
    const SQRT_HALF_LESS_1: f64 = -2.928932188134524755992e-01;
    const SMALL: f64 = 1.0 / (1u64 << 29) as f64;
    const TINY: f64 = 1.0 / (1u64 << 54) as f64;
    if x < -1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return f64::INFINITY;
    }
    if x.abs() < SMALL {
        return if x.abs() < TINY { x } else { x - x * x * 0.5 };
    }
    if x < SQRT_2_LESS_1 && x > SQRT_HALF_LESS_1 {
        return ln_of_reduced(&Reduced { k: 0.0, f: x, c: 0.0, is_tiny: false });
    }
    ln_of_reduced(&reduce_1p(x))
}

fn reduce_1p(x: f64) -> Reduced {
    const TWO_TO_53: f64 = 9_007_199_254_740_992.0;
    const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
    const MANTISSA_OF_SQRT_2: u64 = 0x0006_a09e_667f_3bcd;
    let u = if x.abs() < TWO_TO_53 { 1.0 + x } else { x };
    let exponent = (u.to_bits() >> 52) as i32 - 1023;
    let c = if x.abs() >= TWO_TO_53 {
        0.0
    } else if exponent > 0 {
        (1.0 - (u - x)) / u
    } else {
        (x - (u - 1.0)) / u
    };
    let mantissa = u.to_bits() & MANTISSA;
    if mantissa < MANTISSA_OF_SQRT_2 {
        let f = f64::from_bits(mantissa | (0x3ff << 52)) - 1.0;
        return Reduced { k: f64::from(exponent), f, c, is_tiny: mantissa == 0 };
    }
    let f = f64::from_bits(mantissa | (0x3fe << 52)) - 1.0;
    Reduced { k: f64::from(exponent + 1), f, c, is_tiny: ((1 << 52) - mantissa) >> 2 == 0 }
}

fn ln_of_reduced(&Reduced { k, f, c, is_tiny }: &Reduced) -> f64 {
    let half_square = 0.5 * f * f;
    if is_tiny {
        if f == 0.0 {
            return if k == 0.0 { 0.0 } else { k * LN2_HIGH + (c + k * LN2_LOW) };
        }
        let two_terms = half_square * (1.0 - 0.66666666666666666 * f);
        return if k == 0.0 { f - two_terms } else { k * LN2_HIGH - ((two_terms - (k * LN2_LOW + c)) - f) };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let series = z * SERIES[..6].iter().rev().fold(SERIES[6], |sum, coefficient| coefficient + z * sum);
    if k == 0.0 {
        return f - (half_square - s * (half_square + series));
    }
    k * LN2_HIGH - ((half_square - (s * (half_square + series) + (k * LN2_LOW + c))) - f)
}
