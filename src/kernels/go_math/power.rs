//! `^`.

use super::{exp, ln, scale_exponent, split_exponent};

/// x to the y.
///
/// |y| is taken apart into a whole part, for which x is squared and multiplied with exponents kept aside, and a fraction in
/// (-½, ½], for which `exp(fraction·ln x)` is taken.
///
/// | x | y | result |
/// |---|---|---|
/// | any, also NaN | 0 | 1 |
/// | 1 | any, also NaN | 1 |
/// | -1 | ±Inf | 1 |
/// | below 0 | not whole | NaN |
/// | -0 | -1, -3, … | -Inf |
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    if let Some(known) = special_power(x, y) {
        return known;
    }
    let mut whole = y.abs().trunc();
    let mut fraction = y.abs() - whole;
    if fraction != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    if whole >= 9_223_372_036_854_775_808.0 {
        // Only -1 stays finite and not zero; and so large a y is even.
        return if x == -1.0 { 1.0 } else { limit_power(x, y > 0.0) };
    }
    let mut power = 1.0;
    if fraction != 0.0 {
        if fraction > 0.5 {
            fraction -= 1.0;
            whole += 1.0;
        }
        power = exp(fraction * ln(x));
    }
    let (mut power, mut exponent) = multiply_whole_power(power, x, whole as u64);
    if y < 0.0 {
        power = 1.0 / power;
        exponent = -exponent;
    }
    scale_exponent(power, exponent)
}

/// `start · x^whole` by squaring, as a number and an exponent of two.
fn multiply_whole_power(start: f64, x: f64, whole: u64) -> (f64, i32) {
    let (mut square, mut square_exponent) = split_exponent(x);
    let (mut power, mut exponent) = (start, 0);
    let mut rest = whole;
    while rest != 0 {
        if !(-(1 << 12)..=1 << 12).contains(&square_exponent) {
            // Beyond every float already: the result is zero or infinite.
            exponent += square_exponent;
            break;
        }
        if rest & 1 == 1 {
            power *= square;
            exponent += square_exponent;
        }
        square *= square;
        square_exponent *= 2;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        rest >>= 1;
    }
    (power, exponent)
}

fn special_power(x: f64, y: f64) -> Option<f64> {
    if y == 0.0 || x == 1.0 {
        return Some(1.0);
    }
    if y == 1.0 {
        return Some(x);
    }
    if x.is_nan() || y.is_nan() {
        return Some(f64::NAN);
    }
    if x == 0.0 {
        let magnitude = if y < 0.0 { f64::INFINITY } else { 0.0 };
        return Some(if is_odd(y) { magnitude.copysign(x) } else { magnitude });
    }
    if y.is_infinite() {
        return Some(if x == -1.0 { 1.0 } else { limit_power(x, y > 0.0) });
    }
    if x.is_infinite() {
        let magnitude = if y < 0.0 { 0.0 } else { f64::INFINITY };
        return Some(if x < 0.0 && is_odd(y) { -magnitude } else { magnitude });
    }
    if y == 0.5 {
        return Some(x.sqrt());
    }
    (y == -0.5).then(|| 1.0 / x.sqrt())
}

/// What x^y tends to as |y| grows.
fn limit_power(x: f64, grows_positive: bool) -> f64 {
    if (x.abs() < 1.0) == grows_positive { 0.0 } else { f64::INFINITY }
}

fn is_odd(y: f64) -> bool {
    // From 2^53 on all floats are even.
    y.abs() < 9_007_199_254_740_992.0 && y.trunc() == y && (y as i64) & 1 == 1
}
