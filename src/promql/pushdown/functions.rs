//! Which functions a server may compute for us. Every function has to say so itself: no arm catches those that are new.

use crate::kernels::{InstantFunction, RangeFunction};

/// Whether a function may be part of an expression that servers evaluate: its value depends on nothing but its own series, its
/// literal parameters and the evaluation time, and every server of version 3 computes the same.
pub trait PushesDown {
    /// Says yes or no.
    fn pushes_down(self) -> bool;
}

impl PushesDown for RangeFunction {
    fn pushes_down(self) -> bool {
        match self {
            Self::Rate
            | Self::Increase
            | Self::Delta
            | Self::Irate
            | Self::Idelta
            | Self::Resets
            | Self::Changes
            | Self::Deriv
            // The evaluation time it counts from is the step, and steps are asked as they are: offsets stay in the text.
            | Self::PredictLinear
            | Self::SumOverTime
            | Self::AvgOverTime
            | Self::MinOverTime
            | Self::MaxOverTime
            | Self::CountOverTime
            | Self::LastOverTime
            | Self::FirstOverTime
            | Self::PresentOverTime
            | Self::StddevOverTime
            | Self::StdvarOverTime
            | Self::QuantileOverTime => true,
            // Gated: a server may not know them.
            Self::MadOverTime
            | Self::TsOfFirstOverTime
            | Self::TsOfLastOverTime
            | Self::TsOfMinOverTime
            | Self::TsOfMaxOverTime
            | Self::DoubleExponentialSmoothing => false,
        }
    }
}

impl PushesDown for InstantFunction {
    fn pushes_down(self) -> bool {
        match self {
            Self::Abs
            | Self::Ceil
            | Self::Floor
            | Self::Exp
            | Self::Sqrt
            | Self::Ln
            | Self::Log2
            | Self::Log10
            | Self::Sgn
            | Self::Deg
            | Self::Rad
            | Self::Sin
            | Self::Cos
            | Self::Tan
            | Self::Asin
            | Self::Acos
            | Self::Atan
            | Self::Sinh
            | Self::Cosh
            | Self::Tanh
            | Self::Asinh
            | Self::Acosh
            | Self::Atanh
            | Self::DayOfMonth
            | Self::DayOfWeek
            | Self::DayOfYear
            | Self::DaysInMonth
            | Self::Hour
            | Self::Minute
            | Self::Month
            | Self::Year => true,
        }
    }
}

/// Functions of a vector and literals that go sample by sample.
pub fn is_with_literals(name: &str) -> bool {
    matches!(name, "round" | "clamp" | "clamp_min" | "clamp_max")
}
