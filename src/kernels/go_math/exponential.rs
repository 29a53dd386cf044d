//! `exp` and `exp2`.

use super::{horner, scale_exponent};

/// ln 2 in two parts, the first with enough trailing zeros that a multiple of it is exact.
const LN2_HIGH: f64 = 0.69314718055966295651160180568695068359375;
const LN2_LOW: f64 = 0.28235290563031577122588448175013436025525412068e-12;

/// The largest argument whose exponential is finite.
const LARGEST: f64 = 7.09782712893384e+02;

/// Taylor coefficients of (e^x - 1)/x, highest first: 1/8! … 1/1!.
const TAYLOR: [f64; 8] = [
    2.4801587301587301587e-5,
    1.9841269841269841270e-4,
    1.3888888888888888889e-3,
    8.3333333333333333333e-3,
    4.1666666666666666667e-2,
    1.6666666666666666667e-1,
    0.5,
    1.0,
];

/// e^x as Go's assembly for amd64 with fused multiply-add computes it, which is every server processor since 2013: argument
/// less a multiple of ln 2, a sixteenth of that into a Taylor series, and four times y ← y·(y+2), which doubles the argument
/// of e^x - 1.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x == f64::NEG_INFINITY {
        return 0.0;
    }
    if x > LARGEST {
        return f64::INFINITY;
    }
    // Saturates where the processor's conversion gives its smallest number: far below the smallest exponential either way.
    let exponent = (std::f64::consts::LOG2_E * x).round_ties_even() as i32;
    let multiple = f64::from(exponent);
    let rest = (-multiple).mul_add(LN2_HIGH, x);
    let rest = (-multiple).mul_add(LN2_LOW, rest) * 0.0625;

    let series = TAYLOR[1..].iter().fold(TAYLOR[0], |sum, coefficient| rest.mul_add(sum, *coefficient));
    let mut less_one = rest * series;
    for _ in 0..3 {
        less_one *= less_one + 2.0;
    }
    times_power_of_two((less_one + 2.0).mul_add(less_one, 1.0), exponent)
}

/// ln 2 in two parts for `exp2`, and the coefficients of msun's e_exp.c: x·coth(x/2) = 2 + x²·P(x²), highest first.
const EXP2_LN2_HIGH: f64 = 6.93147180369123816490e-01;
const EXP2_LN2_LOW: f64 = 1.90821492927058770002e-10;
const EXP2_SERIES: [f64; 5] = [
    4.13813679705723846039e-08,
    -1.65339022054652515390e-06,
    6.61375632143793436117e-05,
    -2.77777777770155933842e-03,
    1.66666666666666657415e-01,
];

/// 2^x as Go computes it.
pub(crate) fn exp2(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 1.0239999999999999e+03 {
        return f64::INFINITY;
    }
    if x < -1.0740e+03 {
        return 0.0;
    }
    // Half away from zero: the conversion cuts off. Zero stays zero.
    let nearest = if x > 0.0 {
        x + 0.5
    } else if x < 0.0 {
        x - 0.5
    } else {
        0.0
    };
    let exponent = nearest as i32;
    let rest = x - f64::from(exponent);
    let (high, low) = (rest * EXP2_LN2_HIGH, -rest * EXP2_LN2_LOW);
    let reduced = high - low;
    let square = reduced * reduced;
    let correction = reduced - square * horner(square, &EXP2_SERIES);
    let fraction = 1.0 - ((low - (reduced * correction) / (2.0 - correction)) - high);
    scale_exponent(fraction, exponent)
}

/// A number near 1 times 2^exponent, subnormal results rounded by a multiplication.
fn times_power_of_two(x: f64, exponent: i32) -> f64 {
    let biased = exponent.saturating_add(0x3ff);
    if biased >= 0x7ff {
        return f64::INFINITY;
    }
    if biased > 0 {
        return x * f64::from_bits((biased as u64) << 52);
    }
    if biased < -52 {
        return 0.0;
    }
    x * f64::from_bits(((biased + 0x3fe) as u64) << 52) * f64::MIN_POSITIVE
}
