//! `sin`, `cos`, `tan`.

use std::f64::consts::FRAC_PI_4;

use super::{horner, with_sign_of};

/// π/4 in three parts, the first two with so many trailing zeros that multiples of them are exact.
const QUARTER_PI: [f64; 3] = [7.85398125648498535156e-1, 3.77489470793079817668e-8, 2.69515142907905952645e-15];

/// From here on a multiple of the first part is not exact any more.
const LARGE_ANGLE: f64 = (1u64 << 29) as f64;

const SINE: [f64; 6] = [
    1.58962301576546568060e-10,
    -2.50507477628578072866e-8,
    2.75573136213857245213e-6,
    -1.98412698295895385996e-4,
    8.33333333332211858878e-3,
    -1.66666666666666307295e-1,
];

const COSINE: [f64; 6] = [
    -1.13585365213876817300e-11,
    2.08757008419747316778e-9,
    -2.75573141792967388112e-7,
    2.48015872888517045348e-5,
    -1.38888888888730564116e-3,
    4.16666666666665929218e-2,
];

const TANGENT_ABOVE: [f64; 3] = [-1.30936939181383777646e4, 1.15351664838587416140e6, -1.79565251976484877988e7];
const TANGENT_BELOW: [f64; 5] =
    [1.0, 1.36812963470692954678e4, -1.32089234440210967447e6, 2.50083801823357915839e7, -5.38695755929454629881e7];

/// Sine of an angle in radians.
pub(crate) fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let Octant { number, rest } = Octant::of(x.abs());
    let magnitude = if matches!(number & 3, 1 | 2) { cosine_series(rest) } else { sine_series(rest) };
    with_sign_of(x, if number > 3 { -magnitude } else { magnitude })
}

/// Cosine of an angle in radians.
pub(crate) fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let Octant { number, rest } = Octant::of(x.abs());
    let value = if matches!(number & 3, 1 | 2) { sine_series(rest) } else { cosine_series(rest) };
    if (number > 3) != (number & 3 > 1) { -value } else { value }
}

/// Tangent of an angle in radians.
pub(crate) fn tan(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let Octant { number, rest } = Octant::of(x.abs());
    let square = rest * rest;
    let value = if square > 1e-14 {
        rest + rest * (square * horner(square, &TANGENT_ABOVE) / horner(square, &TANGENT_BELOW))
    } else {
        rest
    };
    with_sign_of(x, if number & 2 == 2 { -1.0 / value } else { value })
}

fn sine_series(x: f64) -> f64 {
    let square = x * x;
    x + x * square * horner(square, &SINE)
}

fn cosine_series(x: f64) -> f64 {
    let square = x * x;
    1.0 - 0.5 * square + square * square * horner(square, &COSINE)
}

/// An angle as an even number of eighths of a turn, modulo a turn, and a rest of at most one eighth either way.
struct Octant {
    number: u64,
    rest: f64,
}

impl Octant {
    /// Of a finite angle that is not negative.
    fn of(x: f64) -> Self {
        if x >= LARGE_ANGLE {
            return Self::of_large(x);
        }
        let whole = (x * (4.0 / std::f64::consts::PI)) as u64;
        let even = whole + (whole & 1);
        let y = even as f64;
        let rest = ((x - y * QUARTER_PI[0]) - y * QUARTER_PI[1]) - y * QUARTER_PI[2];
        Self { number: even & 7, rest }
    }

    /// Multiplies by 192 bits of 4/π, those that decide the octant and 64 bits more, chosen by the exponent (Payne and
    /// Hanek's method as K. C. Ng describes it).
    fn of_large(x: f64) -> Self {
        let mantissa = x.to_bits() & 0x000f_ffff_ffff_ffff | (1 << 52);
        // The exponent of the mantissa as a whole number, and 61 more: three bits of the product stay before the point.
        let position = (x.to_bits() >> 52) as usize + 61 - 1075;
        let (digit, shift) = (position / 64, position % 64);
        let digits = |at: usize| match shift {
            0 => FOUR_OVER_PI[at],
            _ => FOUR_OVER_PI[at] << shift | FOUR_OVER_PI[at + 1] >> (64 - shift),
        };
        let wide = |at: usize| u128::from(digits(at)) * u128::from(mantissa);
        let product = (wide(digit) << 64).wrapping_add(wide(digit + 1)).wrapping_add(wide(digit + 2) >> 64);

        let number = (product >> 125) as u64;
        let fraction_bits = ((product << 3) >> 64) as u64;
        // Not moved by three bits as the rest is: that is how Go has it, and it shows in the last digit.
        let low = product as u64;
        let zeros = fraction_bits.leading_zeros();
        let mantissa = (u128::from(fraction_bits) << 64 | u128::from(low)).checked_shl(zeros + 1).unwrap_or(0) >> 76;
        let fraction = f64::from_bits(mantissa as u64 | u64::from(1022 - zeros) << 52);
        match number & 1 {
            0 => Self { number, rest: fraction * FRAC_PI_4 },
            _ => Self { number: (number + 1) & 7, rest: (fraction - 1.0) * FRAC_PI_4 },
        }
    }
}

/// The binary digits of 4/π, the first word before the point.
const FOUR_OVER_PI: [u64; 20] = [
    0x0000000000000001,
    0x45f306dc9c882a53,
    0xf84eafa3ea69bb81,
    0xb6c52b3278872083,
    0xfca2c757bd778ac3,
    0x6e48dc74849ba5c0,
    0x0c925dd413a32439,
    0xfc3bd63962534e7d,
    0xd1046bea5d768909,
    0xd338e04d68befc82,
    0x7323ac7306a673e9,
    0x3908bf177bf25076,
    0x3ff12fffbc0b301f,
    0xde5e2316b414da3e,
    0xda6cfd9e4f96136e,
    0x9e8c7ecd3cbfd45a,
    0xea4f758fd7cbe2f6,
    0x7a0e73ef14a525d4,
    0xd7f6bf623f1aba10,
    0xac06608df8f6d757,
];
