//! What can go wrong in a kernel.

use thiserror::Error as ThisError;

use super::RangeFunction;
use crate::error::{Error, ErrorKind};

/// A query that cannot be evaluated, in Prometheus' words.
#[derive(Clone, Debug, ThisError, PartialEq)]
pub enum KernelError {
    /// `double_exponential_smoothing` with a smoothing factor outside of (0, 1).
    #[error("invalid smoothing factor. Expected: 0 < sf < 1, got: {}", go_fixed(*.0))]
    SmoothingFactor(f64),
    /// `double_exponential_smoothing` with a trend factor outside of (0, 1).
    #[error("invalid trend factor. Expected: 0 < tf < 1, got: {}", go_fixed(*.0))]
    TrendFactor(f64),
    /// The planner called a function without a parameter that it needs.
    #[error("{} needs {} parameters, got {got}", function.name(), function.param_count())]
    MissingParameter {
        /// The function.
        function: RangeFunction,
        /// How many parameters came.
        got: usize,
    },
}

impl KernelError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::SmoothingFactor(_) | Self::TrendFactor(_) => ErrorKind::Execution,
            Self::MissingParameter { .. } => ErrorKind::Internal,
        }
    }
}

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

/// As Go's `%f`: six digits, infinities with their sign.
fn go_fixed(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    format!("{value:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_prometheus() {
        for (error, text) in [
            (KernelError::SmoothingFactor(1.0), "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000"),
            (KernelError::TrendFactor(-0.5), "invalid trend factor. Expected: 0 < tf < 1, got: -0.500000"),
            (KernelError::TrendFactor(f64::INFINITY), "invalid trend factor. Expected: 0 < tf < 1, got: +Inf"),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!(Error::from(error).kind(), ErrorKind::Execution);
        }
        let missing = KernelError::MissingParameter { function: RangeFunction::QuantileOverTime, got: 0 };
        assert_eq!(missing.to_string(), "quantile_over_time needs 1 parameters, got 0");
        assert_eq!(missing.kind(), ErrorKind::Internal);
    }
}
