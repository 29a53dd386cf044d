//! `sinh`, `cosh`, `tanh` and their inverses.

use std::f64::consts::LN_2;

use super::logarithm::ln_1p;
use super::{exp, horner, ln, with_sign_of};

const SINH_ABOVE: [f64; 4] = [
    -0.2630563213397497062819489e+2,
    -0.2894211355989563807284660366e+4,
    -0.8991272022039509355398013511e+5,
    -0.6307673640497716991184787251e+6,
];
const SINH_BELOW: [f64; 4] =
    [1.0, -0.173678953558233699533450911e+3, 0.1521517378790019070696485176e+5, -0.6307673640497716991212077277e+6];

const TANH_ABOVE: [f64; 3] = [-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3];
const TANH_BELOW: [f64; 4] = [1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3];

/// Where 1 ± x² is 1, or where x² ± 1 is x².
const TWO_TO_28: f64 = (1u64 << 28) as f64;

/// Hyperbolic sine.
pub(crate) fn sinh(x: f64) -> f64 {
    let magnitude = x.abs();
    let value = if magnitude > 21.0 {
        exp(magnitude) * 0.5
    } else if magnitude > 0.5 {
        let grown = exp(magnitude);
        (grown - 1.0 / grown) * 0.5
    } else {
        let square = x * x;
        return horner(square, &SINH_ABOVE) * x / horner(square, &SINH_BELOW);
    };
    with_sign_of(x, value)
}

/// Hyperbolic cosine.
pub(crate) fn cosh(x: f64) -> f64 {
    let grown = exp(x.abs());
    if x.abs() > 21.0 { grown * 0.5 } else { (grown + 1.0 / grown) * 0.5 }
}

/// Hyperbolic tangent.
pub(crate) fn tanh(x: f64) -> f64 {
    const HALF_LN_OF_TWO_TO_127: f64 = 0.5 * 8.8029691931113054295988e+01;
    let magnitude = x.abs();
    if magnitude > HALF_LN_OF_TWO_TO_127 {
        return with_sign_of(x, 1.0);
    }
    if magnitude >= 0.625 {
        return with_sign_of(x, 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0));
    }
    if x == 0.0 {
        return x;
    }
    let square = x * x;
    x + x * square * horner(square, &TANH_ABOVE) / horner(square, &TANH_BELOW)
}

/// Inverse hyperbolic sine.
pub(crate) fn asinh(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let magnitude = x.abs();
    let value = if magnitude > TWO_TO_28 {
        ln(magnitude) + LN_2
    } else if magnitude > 2.0 {
        ln(2.0 * magnitude + 1.0 / ((magnitude * magnitude + 1.0).sqrt() + magnitude))
    } else if magnitude < 1.0 / TWO_TO_28 {
        return x;
    } else {
        let square = magnitude * magnitude;
        ln_1p(magnitude + square / (1.0 + (1.0 + square).sqrt()))
    };
    with_sign_of(x, value)
}

/// Inverse hyperbolic cosine; NaN below 1.
pub(crate) fn acosh(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == 1.0 {
        return 0.0;
    }
    if x >= TWO_TO_28 {
        return ln(x) + LN_2;
    }
    if x > 2.0 {
        return ln(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt()));
    }
    let above_one = x - 1.0;
    ln_1p(above_one + (2.0 * above_one + above_one * above_one).sqrt())
}

/// Inverse hyperbolic tangent; NaN outside of [-1, 1].
pub(crate) fn atanh(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude > 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if magnitude == 1.0 {
        return f64::INFINITY.copysign(x);
    }
    let value = if magnitude < 1.0 / TWO_TO_28 {
        return x;
    } else if magnitude < 0.5 {
        let twice = magnitude + magnitude;
        0.5 * ln_1p(twice + twice * magnitude / (1.0 - magnitude))
    } else {
        0.5 * ln_1p((magnitude + magnitude) / (1.0 - magnitude))
    };
    with_sign_of(x, value)
}
