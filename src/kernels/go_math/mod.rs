//! Elementary functions that give Go's digits.
//!
//! The system's libm rounds most results correctly; Go's `math` package does not, and Prometheus prints what Go computes,
//! with all its digits. A gateway that used libm would differ from Prometheus in the last digit: measured over 60,000
//! arguments of many sizes in 40 % of the values of `^`, 20 to 30 % of those of sin, cos and tan, 25 % of log10, 9 % of exp
//! and 5 % of ln. So these are Go's algorithms (1.26, amd64, where `exp` and `log` are assembly), operation for operation;
//! the tests hold values that Go printed.
//!
//! The algorithms and their coefficients are not Go's own: they are from the Cephes library by Stephen L. Moshier (sin, cos,
//! tan, atan, tanh), from Hart & Cheney, "Computer Approximations" (sinh), from K. C. Ng, "Argument Reduction for Huge
//! Arguments" (angles above 2^29), and from FreeBSD's msun (log, log1p, asinh, acosh, atanh), which came with this notice:
//!
//! > Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc.
//! > business. Permission to use, copy, modify, and distribute this software is freely granted, provided that this notice is
//! > preserved.
//!
//! One departure: Go's `log` for amd64 is wrong for subnormal numbers (below 2.3e-308); ours is right there, as Go is on
//! other machines.

#![allow(
    clippy::excessive_precision,
    reason = "coefficients stand as they were published, with more digits than a float holds"
)]

mod arc;
mod circular;
mod exponential;
#[cfg(test)]
mod go_values;
mod hyperbolic;
mod logarithm;
mod power;

pub(crate) use arc::{acos, asin, atan, atan2};
pub(crate) use circular::{cos, sin, tan};
pub(crate) use exponential::{exp, exp2};
pub(crate) use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub(crate) use logarithm::{ln, log2, log10};
pub(crate) use power::pow;

/// `c[0]·x^n + … + c[n]` by Horner's rule, rounding at each step.
#[inline]
fn horner(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().copied().reduce(|sum, next| sum * x + next).unwrap_or(0.0)
}

/// Gives `magnitude` the sign that `odd_function`'s argument had.
#[inline]
fn with_sign_of(argument: f64, magnitude: f64) -> f64 {
    if argument < 0.0 { -magnitude } else { magnitude }
}

/// `x = fraction · 2^exponent` with the fraction in [0.5, 1); zeros, infinities and NaN are returned with exponent 0.
fn split_exponent(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    const TWO_TO_52: f64 = 4_503_599_627_370_496.0;
    let (normal, below) = if x.abs() < f64::MIN_POSITIVE { (x * TWO_TO_52, 52) } else { (x, 0) };
    let bits = normal.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022 - below;
    (f64::from_bits(bits & !(0x7ff << 52) | (1022 << 52)), exponent)
}

/// `fraction · 2^exponent`, rounded once; overflows to infinity and underflows to zero.
fn scale_exponent(fraction: f64, exponent: i32) -> f64 {
    let (fraction, own) = split_exponent(fraction);
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    // The fraction is in [0.5, 1): one less than the exponent of a float's own notation.
    let exponent = exponent.saturating_add(own).saturating_sub(1);
    if exponent < -1075 {
        return 0.0_f64.copysign(fraction);
    }
    if exponent > 1023 {
        return f64::INFINITY.copysign(fraction);
    }
    let (exponent, rest) =
        if exponent < -1022 { (exponent + 53, 1.0 / 9_007_199_254_740_992.0) } else { (exponent, 1.0) };
    let biased = (exponent + 1023) as u64;
    rest * f64::from_bits(fraction.to_bits() & !(0x7ff << 52) | (biased << 52))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Function = fn(f64) -> f64;

    proptest! {
        #[test]
        fn splitting_and_scaling_are_inverse(bits in any::<u64>()) {
            let x = f64::from_bits(bits);
            prop_assume!(!x.is_nan());
            let (fraction, exponent) = split_exponent(x);
            prop_assert_eq!(scale_exponent(fraction, exponent).to_bits(), x.to_bits());
            if x.is_finite() && x != 0.0 {
                prop_assert!((0.5..1.0).contains(&fraction.abs()));
            }
        }

        #[test]
        fn no_function_strays_far_from_the_systems(x in prop_oneof![-30.0f64..30.0, -1e9f64..1e9, any::<f64>()]) {
            let functions: [[Function; 2]; 16] = [
                [exp, f64::exp], [ln, f64::ln], [log2, f64::log2], [log10, f64::log10], [sin, f64::sin], [cos, f64::cos],
                [tan, f64::tan], [asin, f64::asin], [acos, f64::acos], [atan, f64::atan], [sinh, f64::sinh], [cosh, f64::cosh],
                [tanh, f64::tanh], [asinh, f64::asinh], [acosh, f64::acosh], [atanh, f64::atanh],
            ];
            for (at, [ours, systems]) in functions.into_iter().enumerate() {
                let (got, near) = (ours(x), systems(x));
                // Go's digits run out near the ends of the range, at the poles of tan and, for log2, near 1.
                let is_extreme = !near.is_finite() || near.abs() < 1e-300 || near.abs() > 1e307 || (at == 6 && near.abs() > 1e3);
                let is_near = is_extreme || (got - near).abs() <= 1e-11 * near.abs().max(1e-3);
                prop_assert!(is_near || (got.is_nan() && near.is_nan()), "function {} of {:e}: {:e}, {:e}", at, x, got, near);
            }
        }

        #[test]
        fn powers_do_not_stray_far_from_the_systems(x in 1e-3f64..1e3, y in -20.0f64..20.0) {
            let (got, near) = (pow(x, y), x.powf(y));
            prop_assert!((got / near - 1.0).abs() < 1e-12, "{}^{}: {:e}, {:e}", x, y, got, near);
        }
    }
}
