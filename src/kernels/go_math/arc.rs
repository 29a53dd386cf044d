//! `asin`, `acos`, `atan`, `atan2`.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use super::{horner, with_sign_of};

const ABOVE: [f64; 5] = [
    -8.750608600031904122785e-01,
    -1.615753718733365076637e+01,
    -7.500855792314704667340e+01,
    -1.228866684490136173410e+02,
    -6.485021904942025371773e+01,
];
const BELOW: [f64; 6] = [
    1.0,
    2.485846490142306297962e+01,
    1.650270098316988542046e+02,
    4.328810604912902668951e+02,
    4.853903996359136964868e+02,
    1.945506571482613964425e+02,
];

/// What the float π/2 lacks.
const HALF_PI_MORE: f64 = 6.123233995736765886130e-17;
const TAN_THREE_EIGHTHS_PI: f64 = 2.41421356237309504880;

/// Arc tangent in radians.
pub(crate) fn atan(x: f64) -> f64 {
    if x == 0.0 { x } else { with_sign_of(x, atan_of_positive(x.abs())) }
}

/// The angle of the point (x, y) in radians, in the quadrant that the signs tell, also those of zeros.
pub(crate) fn atan2(y: f64, x: f64) -> f64 {
    if y.is_nan() || x.is_nan() {
        return f64::NAN;
    }
    let is_left = x.is_sign_negative();
    if y == 0.0 {
        return (if is_left { PI } else { 0.0 }).copysign(y);
    }
    if x == 0.0 {
        return FRAC_PI_2.copysign(y);
    }
    if x.is_infinite() {
        let angle = match (is_left, y.is_infinite()) {
            (false, true) => FRAC_PI_4,
            (false, false) => 0.0,
            (true, true) => 3.0 * FRAC_PI_4,
            (true, false) => PI,
        };
        return angle.copysign(y);
    }
    if y.is_infinite() {
        return FRAC_PI_2.copysign(y);
    }
    let angle = atan(y / x);
    if !is_left {
        angle
    } else if angle <= 0.0 {
        angle + PI
    } else {
        angle - PI
    }
}

/// Arc sine in radians; NaN outside of [-1, 1].
pub(crate) fn asin(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude == 0.0 {
        return x;
    }
    if magnitude > 1.0 {
        return f64::NAN;
    }
    let cosine = (1.0 - magnitude * magnitude).sqrt();
    let angle = if magnitude > 0.7 {
        FRAC_PI_2 - atan_of_positive(cosine / magnitude)
    } else {
        atan_of_positive(magnitude / cosine)
    };
    with_sign_of(x, angle)
}

/// Arc cosine in radians; NaN outside of [-1, 1].
pub(crate) fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}

/// Brings a number that is not negative into [0, 0.66].
fn atan_of_positive(x: f64) -> f64 {
    if x <= 0.66 {
        atan_series(x)
    } else if x > TAN_THREE_EIGHTHS_PI {
        FRAC_PI_2 - atan_series(1.0 / x) + HALF_PI_MORE
    } else {
        FRAC_PI_4 + atan_series((x - 1.0) / (x + 1.0)) + 0.5 * HALF_PI_MORE
    }
}

fn atan_series(x: f64) -> f64 {
    let square = x * x;
    let ratio = square * horner(square, &ABOVE) / horner(square, &BELOW);
    x * ratio + x
}
