//! Float functions of two or three numbers with Go's edge cases, which differ from Rust's.

/// Go's `math.Max`: NaN wins over everything but +Inf; +0 is larger than -0. (Rust's `f64::max` drops NaN.)
pub fn max_of(left: f64, right: f64) -> f64 {
    if left == f64::INFINITY || right == f64::INFINITY {
        return f64::INFINITY;
    }
    if left.is_nan() || right.is_nan() {
        return f64::NAN;
    }
    if left == 0.0 && right == 0.0 {
        return if left.is_sign_negative() { right } else { left };
    }
    if left > right { left } else { right }
}

/// Go's `math.Min`: NaN wins over everything but -Inf; -0 is smaller than +0. (Rust's `f64::min` drops NaN.)
pub fn min_of(left: f64, right: f64) -> f64 {
    if left == f64::NEG_INFINITY || right == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if left.is_nan() || right.is_nan() {
        return f64::NAN;
    }
    if left == 0.0 && right == 0.0 {
        return if left.is_sign_negative() { left } else { right };
    }
    if left < right { left } else { right }
}

/// `clamp(v, min, max)`; `None`, no sample, where `max < min`. NaN propagates.
pub fn clamp(value: f64, min: f64, max: f64) -> Option<f64> {
    if max < min { None } else { Some(max_of(min, min_of(max, value))) }
}

/// `clamp_min(v, min)`. NaN propagates.
pub fn clamp_min(value: f64, min: f64) -> f64 {
    max_of(min, min_of(f64::INFINITY, value))
}

/// `clamp_max(v, max)`. NaN propagates.
pub fn clamp_max(value: f64, max: f64) -> f64 {
    max_of(f64::NEG_INFINITY, min_of(max, value))
}

/// `round(v, to)`: the nearest multiple of `to`, ties up, also below zero. Multiplies by the inverse, as Prometheus does,
/// because that loses fewer digits for `to` = 0.1 and the like.
pub fn round_to_nearest(value: f64, to: f64) -> f64 {
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    fn same(left: f64, right: f64) -> bool {
        left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
    }

    #[test]
    fn max_and_min_have_gos_edge_cases() {
        for (left, right, max, min) in [
            (1.0, 2.0, 2.0, 1.0),
            (NAN, 1.0, NAN, NAN),
            (NAN, INF, INF, NAN),
            (NAN, -INF, NAN, -INF),
            (-INF, INF, INF, -INF),
            (0.0, -0.0, 0.0, -0.0),
            (-0.0, -0.0, -0.0, -0.0),
            (0.0, 0.0, 0.0, 0.0),
        ] {
            for (a, b) in [(left, right), (right, left)] {
                assert!(same(max_of(a, b), max), "max {a} {b}");
                assert!(same(min_of(a, b), min), "min {a} {b}");
            }
        }
    }

    #[test]
    fn clamping_keeps_nan_and_refuses_reversed_bounds() {
        assert_eq!(clamp(5.0, 1.0, 3.0), Some(3.0));
        assert_eq!(clamp(-5.0, 1.0, 3.0), Some(1.0));
        assert_eq!(clamp(5.0, 3.0, 1.0), None);
        assert!(clamp(NAN, 1.0, 3.0).is_some_and(f64::is_nan));
        assert!(clamp(2.0, NAN, 3.0).is_some_and(f64::is_nan));
        assert_eq!((clamp_min(-1.0, 0.0), clamp_min(4.0, 0.0)), (0.0, 4.0));
        assert_eq!((clamp_max(-1.0, 0.0), clamp_max(4.0, 0.0)), (-1.0, 0.0));
        assert!(clamp_min(NAN, 0.0).is_nan() && clamp_max(NAN, 0.0).is_nan());
    }

    #[test]
    fn ties_are_rounded_up() {
        for (value, to, rounded) in
            [(2.5, 1.0, 3.0), (-2.5, 1.0, -2.0), (0.12, 0.1, 0.1), (7.0, 5.0, 5.0), (7.5, 5.0, 10.0), (-INF, 1.0, -INF)]
        {
            assert_eq!(round_to_nearest(value, to), rounded, "round({value}, {to})");
        }
        assert!(round_to_nearest(1.0, 0.0).is_nan());
    }
}
