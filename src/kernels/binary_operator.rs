//! The binary operators between two floats.

use super::go_math;

/// An operator that gives a number.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`; by zero gives an infinity or NaN, never an error.
    Div,
    /// `%`: remainder with the sign of the dividend.
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
}

impl ArithmeticOp {
    /// The operator's result.
    #[inline]
    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Mod => left % right,
            Self::Pow => go_math::pow(left, right),
            Self::Atan2 => go_math::atan2(left, right),
        }
    }
}

/// An operator that compares. Nothing but `!=` holds for NaN.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComparisonOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl ComparisonOp {
    /// Does the comparison hold?
    #[inline]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    #[test]
    fn arithmetic_has_gos_edge_cases() {
        use ArithmeticOp::{Atan2, Div, Mod, Pow};
        for (op, left, right, expected) in [
            (Div, 1.0, 0.0, INF),
            (Div, -1.0, 0.0, -INF),
            (Div, 0.0, 0.0, NAN),
            (Mod, 5.0, 3.0, 2.0),
            (Mod, -5.0, 3.0, -2.0),
            (Mod, 5.0, -3.0, 2.0),
            (Mod, -4.0, 2.0, -0.0),
            (Mod, 5.0, 0.0, NAN),
            (Mod, 5.0, INF, 5.0),
            (Mod, INF, 5.0, NAN),
            (Pow, 2.0, 10.0, 1024.0),
            (Pow, NAN, 0.0, 1.0),
            (Pow, 1.0, NAN, 1.0),
            (Pow, -8.0, 1.0 / 3.0, NAN),
            (Pow, -1.0, INF, 1.0),
            (Pow, -1.0, -INF, 1.0),
            (Pow, 0.0, -1.0, INF),
            (Pow, -0.0, -1.0, -INF),
            (Pow, -0.0, -2.0, INF),
            (Pow, -INF, 3.0, -INF),
            (Pow, -INF, -3.0, -0.0),
            (Pow, 4.0, 0.5, 2.0),
            (Pow, 4.0, -0.5, 0.5),
            (Atan2, 0.0, -1.0, std::f64::consts::PI),
            (Atan2, -0.0, -1.0, -std::f64::consts::PI),
            (Atan2, 0.0, 0.0, 0.0),
            (Atan2, NAN, 1.0, NAN),
            (Atan2, INF, INF, std::f64::consts::FRAC_PI_4),
        ] {
            let got = op.apply(left, right);
            assert!(
                got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
                "{op:?} {left} {right}: {got}, not {expected}"
            );
        }
    }

    #[test]
    fn nothing_but_unequal_holds_for_nan() {
        use ComparisonOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        for op in [Equal, Less, LessOrEqual, Greater, GreaterOrEqual] {
            assert!(!op.holds(NAN, NAN) && !op.holds(NAN, 1.0) && !op.holds(1.0, NAN), "{op:?}");
        }
        assert!(NotEqual.holds(NAN, NAN) && !NotEqual.holds(0.0, -0.0) && Equal.holds(0.0, -0.0));
        assert!(LessOrEqual.holds(1.0, 1.0) && !Less.holds(1.0, 1.0) && GreaterOrEqual.holds(INF, INF));
        assert!(Greater.holds(2.0, 1.0) && !Greater.holds(1.0, 2.0));
    }
}
