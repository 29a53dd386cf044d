//! When two numbers count as the same in a test.

use crate::model::is_stale;

/// Relative difference that is forgiven: the suite's expected values are written with few digits.
const RELATIVE_MAX: f64 = 1e-6;

/// Are two sample values the same within the suite's tolerance? (util/almost of Prometheus.)
///
/// | a | b | same |
/// |---|---|---|
/// | stale marker | stale marker | yes |
/// | stale marker | anything else, NaN too | no |
/// | NaN | NaN | yes |
/// | 1 | 1.0000001 | yes |
/// | 0 | 1e-12 | no: near zero only what cannot be told from zero is close |
pub fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let size = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return difference < RELATIVE_MAX * f64::MIN_POSITIVE;
    }
    difference / size.min(f64::MAX) < RELATIVE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_marker;

    #[test]
    fn tolerance_is_relative_and_exact_near_zero() {
        let stale = stale_marker();
        for (a, b, same) in [
            (stale, stale, true),
            (stale, f64::NAN, false),
            (f64::NAN, stale, false),
            (f64::NAN, -f64::NAN, true),
            (f64::NAN, 1.0, false),
            (0.0, -0.0, true),
            (1.0, 1.000_001, true),
            (1.0, 1.000_003, false),
            (-1.0, 1.0, false),
            (0.0, 1e-12, false),
            (0.0, f64::MIN_POSITIVE, false),
            (f64::INFINITY, f64::INFINITY, true),
            (f64::INFINITY, f64::NEG_INFINITY, false),
            (f64::INFINITY, f64::MAX, false),
            (f64::MAX, f64::MAX * 0.999_999_9, true),
            (f64::MAX, -f64::MAX, false),
        ] {
            assert_eq!(almost_equal(a, b), same, "{a} {b}");
            assert_eq!(almost_equal(b, a), same, "{b} {a}");
        }
    }
}
