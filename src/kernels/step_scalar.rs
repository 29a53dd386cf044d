//! Scalar parameters of functions.

/// A scalar parameter: one number for the whole query, or one for every step.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum StepScalar<'a> {
    /// The same at every step.
    Constant(f64),
    /// The value of each step, in order.
    PerStep(&'a [f64]),
}

impl StepScalar<'_> {
    /// The value at a step; NaN beyond the last one, as PromQL's `scalar()` of nothing is NaN.
    #[inline]
    pub fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    /// Is it the same at every step?
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_beyond_the_last_is_nan() {
        let scalar = StepScalar::PerStep(&[1.0, 2.0]);
        assert_eq!(scalar.at(1), 2.0);
        assert!(scalar.at(2).is_nan());
        assert_eq!(StepScalar::Constant(3.0).at(7), 3.0);
    }
}
