//! The functions from one number to one number.

use std::f64::consts::PI;

use super::calendar::CivilTime;
use super::go_math;

/// A PromQL function of a single float.
///
/// The date functions take seconds since the epoch in UTC, cut towards zero; without an argument they are given the
/// evaluation time.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the PromQL function of its name")]
pub enum InstantFunction {
    Abs,
    Ceil,
    Floor,
    Exp,
    Sqrt,
    Ln,
    Log2,
    Log10,
    Sgn,
    Deg,
    Rad,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

/// Every function with its PromQL name, in the order of the enum.
const NAMES: [(InstantFunction, &str); 31] = [
    (InstantFunction::Abs, "abs"),
    (InstantFunction::Ceil, "ceil"),
    (InstantFunction::Floor, "floor"),
    (InstantFunction::Exp, "exp"),
    (InstantFunction::Sqrt, "sqrt"),
    (InstantFunction::Ln, "ln"),
    (InstantFunction::Log2, "log2"),
    (InstantFunction::Log10, "log10"),
    (InstantFunction::Sgn, "sgn"),
    (InstantFunction::Deg, "deg"),
    (InstantFunction::Rad, "rad"),
    (InstantFunction::Sin, "sin"),
    (InstantFunction::Cos, "cos"),
    (InstantFunction::Tan, "tan"),
    (InstantFunction::Asin, "asin"),
    (InstantFunction::Acos, "acos"),
    (InstantFunction::Atan, "atan"),
    (InstantFunction::Sinh, "sinh"),
    (InstantFunction::Cosh, "cosh"),
    (InstantFunction::Tanh, "tanh"),
    (InstantFunction::Asinh, "asinh"),
    (InstantFunction::Acosh, "acosh"),
    (InstantFunction::Atanh, "atanh"),
    (InstantFunction::DayOfMonth, "day_of_month"),
    (InstantFunction::DayOfWeek, "day_of_week"),
    (InstantFunction::DayOfYear, "day_of_year"),
    (InstantFunction::DaysInMonth, "days_in_month"),
    (InstantFunction::Hour, "hour"),
    (InstantFunction::Minute, "minute"),
    (InstantFunction::Month, "month"),
    (InstantFunction::Year, "year"),
];

impl InstantFunction {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(function, _)| *function)
    }

    /// Its PromQL name.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The function of a PromQL name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(function, _)| *function)
    }

    /// The function's value. Every float has one; outside of a function's domain it is NaN.
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Self::Abs => value.abs(),
            Self::Ceil => value.ceil(),
            Self::Floor => value.floor(),
            Self::Exp => go_math::exp(value),
            Self::Sqrt => value.sqrt(),
            Self::Ln => go_math::ln(value),
            Self::Log2 => go_math::log2(value),
            Self::Log10 => go_math::log10(value),
            Self::Sgn => sign(value),
            Self::Deg => value * 180.0 / PI,
            Self::Rad => value * PI / 180.0,
            Self::Sin => go_math::sin(value),
            Self::Cos => go_math::cos(value),
            Self::Tan => go_math::tan(value),
            Self::Asin => go_math::asin(value),
            Self::Acos => go_math::acos(value),
            Self::Atan => go_math::atan(value),
            Self::Sinh => go_math::sinh(value),
            Self::Cosh => go_math::cosh(value),
            Self::Tanh => go_math::tanh(value),
            Self::Asinh => go_math::asinh(value),
            Self::Acosh => go_math::acosh(value),
            Self::Atanh => go_math::atanh(value),
            Self::DayOfMonth => CivilTime::from_float_seconds(value).day_of_month as f64,
            Self::DayOfWeek => CivilTime::from_float_seconds(value).day_of_week as f64,
            Self::DayOfYear => CivilTime::from_float_seconds(value).day_of_year as f64,
            Self::DaysInMonth => CivilTime::from_float_seconds(value).days_in_month as f64,
            Self::Hour => CivilTime::from_float_seconds(value).hour as f64,
            Self::Minute => CivilTime::from_float_seconds(value).minute as f64,
            Self::Month => CivilTime::from_float_seconds(value).month as f64,
            Self::Year => CivilTime::from_float_seconds(value).year as f64,
        }
    }
}

/// `sgn`: keeps NaN and -0.
fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: f64, expected: f64) {
        let got = InstantFunction::from_name(name).expect("known").apply(value);
        assert!(
            got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
            "{name}({value}) = {got}, not {expected}"
        );
    }

    #[test]
    fn every_function_is_found_by_its_own_name() {
        for function in InstantFunction::all() {
            assert_eq!(InstantFunction::from_name(function.name()), Some(function));
        }
        assert_eq!(InstantFunction::from_name("round"), None);
        assert_eq!(InstantFunction::Year.name(), "year");
    }

    #[test]
    fn signs_zeros_and_nan_are_kept() {
        check("sgn", -0.0, -0.0);
        check("sgn", f64::NAN, f64::NAN);
        check("sgn", f64::NEG_INFINITY, -1.0);
        check("abs", -0.0, 0.0);
        check("ceil", -0.5, -0.0);
        check("floor", -0.5, -1.0);
    }

    #[test]
    fn outside_of_its_domain_a_function_is_nan() {
        for name in ["sqrt", "ln", "log2", "log10"] {
            check(name, -1.0, f64::NAN);
        }
        for name in ["asin", "acos", "atanh"] {
            check(name, 1.5, f64::NAN);
        }
        check("acosh", 0.5, f64::NAN);
        check("ln", 0.0, f64::NEG_INFINITY);
        check("atanh", 1.0, f64::INFINITY);
    }

    #[test]
    fn dates_are_in_utc() {
        // 2016-02-29T23:59:59Z, a Monday.
        for (name, expected) in [
            ("year", 2016.0),
            ("month", 2.0),
            ("day_of_month", 29.0),
            ("day_of_week", 1.0),
            ("day_of_year", 60.0),
            ("days_in_month", 29.0),
            ("hour", 23.0),
            ("minute", 59.0),
        ] {
            check(name, 1_456_790_399.9, expected);
        }
    }
}
