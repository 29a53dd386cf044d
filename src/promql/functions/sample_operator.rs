//! Binary operators on two samples, each a number or a native histogram.

use std::sync::Arc;

use super::instant::CellOperator;
use crate::kernels::native_histogram::{
    Combined, HistogramError, add, compact, divide, histograms_equal, scale, subtract, trim_lower, trim_upper,
};
use crate::kernels::{ArithmeticOp, ComparisonOp};
use crate::model::{Annotation, CounterResetHint, NativeHistogram, Sample};
use crate::syntax::Span;

/// What an operator makes of two samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The result; for a filter its left sample, whether it stays or not.
    pub sample: Sample,
    /// Does a filter let it pass?
    pub is_kept: bool,
    /// What is to be told.
    pub note: Option<OperatorNote>,
}

/// What an operator tells of two samples.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OperatorNote {
    /// The operator makes no sense of these two kinds of samples: left, right.
    IncompatibleTypes(SampleKind, SampleKind),
    /// Exponential and custom buckets.
    IncompatibleLayout,
    /// One came right after a reset, the other certainly did not.
    CounterResetCollision,
    /// Custom bounds differed.
    BoundsReconciled,
}

/// Number or histogram.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what it says")]
pub enum SampleKind {
    Float,
    Histogram,
}

impl SampleKind {
    fn of(sample: &Sample) -> Self {
        match sample {
            Sample::Float(_) => Self::Float,
            Sample::Histogram(_) => Self::Histogram,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Histogram => "histogram",
        }
    }
}

impl OperatorNote {
    /// In Prometheus' words, about the operator at `span`.
    pub fn annotation(self, symbol: &str, span: Span) -> Annotation {
        let combination = if symbol == "-" { "subtraction" } else { "addition" };
        match self {
            Self::IncompatibleTypes(left, right) => {
                let (left, right) = (left.name(), right.name());
                let text = format!(
                    "incompatible sample types encountered for binary operator {symbol:?}: {left} {symbol} {right}"
                );
                Annotation::promql_info(text, span)
            }
            Self::IncompatibleLayout => {
                let text = format!("incompatible bucket layout encountered for binary operator {symbol}");
                Annotation::promql_warning(text, span)
            }
            Self::CounterResetCollision => {
                Annotation::promql_warning(format!("conflicting counter resets during histogram {combination}"), span)
            }
            Self::BoundsReconciled => {
                Annotation::promql_info(format!("mismatched custom buckets were reconciled during {combination}"), span)
            }
        }
    }
}

impl CellOperator {
    /// `left op right`, of which at least one is a histogram. `Err` where there is no result, not even 0 for `bool`.
    ///
    /// | | float | histogram |
    /// |---|---|---|
    /// | float | | `*` |
    /// | histogram | `*` `/` `</` `>/` | `+` `-` `==` `!=` |
    ///
    /// Source: Prometheus v3.14 promql/engine.go vectorElemBinop. There a collision of counter resets, though a warning, takes
    /// the result away.
    pub fn apply_to_samples(self, left: &Sample, right: &Sample) -> Result<Outcome, OperatorNote> {
        let refusal = || OperatorNote::IncompatibleTypes(SampleKind::of(left), SampleKind::of(right));
        let histogram = match (left, right) {
            (Sample::Float(a), Sample::Float(b)) => return self.apply_to_floats(*a, *b).ok_or_else(refusal),
            (Sample::Float(factor), Sample::Histogram(histogram)) if self == Self::Arithmetic(ArithmeticOp::Mul) => {
                scaled(histogram, |histogram| scale(histogram, *factor))
            }
            (Sample::Float(_), Sample::Histogram(_)) => return Err(refusal()),
            (Sample::Histogram(histogram), Sample::Float(number)) => {
                self.histogram_and_float(histogram, *number).ok_or_else(refusal)?
            }
            (Sample::Histogram(a), Sample::Histogram(b)) => {
                return self.apply_to_histograms(a, b).unwrap_or_else(|| Err(refusal()));
            }
        };
        Ok(Outcome { sample: Sample::Histogram(Arc::new(histogram)), is_kept: true, note: None })
    }

    fn apply_to_floats(self, a: f64, b: f64) -> Option<Outcome> {
        if matches!(self, Self::Trim(_)) {
            return None;
        }
        let value = self.apply(a, b, a);
        Some(Outcome { sample: Sample::Float(value.unwrap_or(a)), is_kept: value.is_some(), note: None })
    }

    fn histogram_and_float(self, histogram: &NativeHistogram, number: f64) -> Option<NativeHistogram> {
        Some(match self {
            Self::Arithmetic(ArithmeticOp::Mul) => scaled(histogram, |histogram| scale(histogram, number)),
            Self::Arithmetic(ArithmeticOp::Div) => scaled(histogram, |histogram| divide(histogram, number)),
            Self::Trim(side) => {
                let mut trimmed = histogram.clone();
                match side {
                    TrimSide::Upper => trim_upper(&mut trimmed, number),
                    TrimSide::Lower => trim_lower(&mut trimmed, number),
                }
                trimmed
            }
            _ => return None,
        })
    }

    fn apply_to_histograms(
        self,
        a: &Arc<NativeHistogram>,
        b: &NativeHistogram,
    ) -> Option<Result<Outcome, OperatorNote>> {
        let compared = |is_kept: bool| {
            let sample = match self {
                Self::Bool(_) => Sample::Float(if is_kept { 1.0 } else { 0.0 }),
                _ => Sample::Histogram(Arc::clone(a)),
            };
            Ok(Outcome { sample, is_kept: is_kept || matches!(self, Self::Bool(_)), note: None })
        };
        match self {
            Self::Arithmetic(ArithmeticOp::Add) => Some(combined(add(a, b), |_| {})),
            Self::Arithmetic(ArithmeticOp::Sub) => Some(combined(subtract(a, b), |difference| {
                difference.counter_reset_hint = CounterResetHint::Gauge;
            })),
            Self::Filter(ComparisonOp::Equal) | Self::Bool(ComparisonOp::Equal) => {
                Some(compared(histograms_equal(a, b)))
            }
            Self::Filter(ComparisonOp::NotEqual) | Self::Bool(ComparisonOp::NotEqual) => {
                Some(compared(!histograms_equal(a, b)))
            }
            _ => None,
        }
    }
}

/// What a trim operator takes away.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrimSide {
    /// `</`: what lies above.
    Upper,
    /// `>/`: what lies below.
    Lower,
}

fn scaled(histogram: &NativeHistogram, change: impl FnOnce(&mut NativeHistogram)) -> NativeHistogram {
    let mut changed = histogram.clone();
    change(&mut changed);
    compact(&mut changed);
    changed
}

fn combined(
    result: Result<Combined, HistogramError>,
    change: impl FnOnce(&mut NativeHistogram),
) -> Result<Outcome, OperatorNote> {
    let Combined { mut histogram, counter_reset_collision, bounds_reconciled } = match result {
        Ok(combined) => combined,
        Err(HistogramError::IncompatibleSchema) => return Err(OperatorNote::IncompatibleLayout),
    };
    if counter_reset_collision {
        return Err(OperatorNote::CounterResetCollision);
    }
    change(&mut histogram);
    compact(&mut histogram);
    let note = bounds_reconciled.then_some(OperatorNote::BoundsReconciled);
    Ok(Outcome { sample: Sample::Histogram(Arc::new(histogram)), is_kept: true, note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Buckets, CUSTOM_BUCKETS_SCHEMA};

    fn histogram(count: f64) -> Sample {
        Sample::Histogram(Arc::new(NativeHistogram { count, ..NativeHistogram::default() }))
    }

    fn kind(result: &Result<Outcome, OperatorNote>) -> &'static str {
        match result {
            Ok(outcome) => SampleKind::of(&outcome.sample).name(),
            Err(_) => "nothing",
        }
    }

    #[test]
    fn only_some_operators_make_sense_of_histograms() {
        use ArithmeticOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
        use CellOperator::{Arithmetic, Bool, Filter, Trim};
        let float = Sample::Float(2.0);
        let (h, x, none) = ("histogram", "float", "nothing");
        for (operator, float_histogram, histogram_float, both) in [
            (Arithmetic(Add), none, none, h),
            (Arithmetic(Sub), none, none, h),
            (Arithmetic(Mul), h, h, none),
            (Arithmetic(Div), none, h, none),
            (Arithmetic(Mod), none, none, none),
            (Arithmetic(Pow), none, none, none),
            (Arithmetic(Atan2), none, none, none),
            (Filter(ComparisonOp::Equal), none, none, h),
            (Bool(ComparisonOp::Equal), none, none, x),
            (Filter(ComparisonOp::NotEqual), none, none, h),
            (Bool(ComparisonOp::Less), none, none, none),
            (Filter(ComparisonOp::GreaterOrEqual), none, none, none),
            (Trim(TrimSide::Upper), none, h, none),
            (Trim(TrimSide::Lower), none, h, none),
        ] {
            let got = [
                operator.apply_to_samples(&float, &histogram(3.0)),
                operator.apply_to_samples(&histogram(3.0), &float),
                operator.apply_to_samples(&histogram(3.0), &histogram(1.0)),
            ];
            assert_eq!(
                [kind(&got[0]), kind(&got[1]), kind(&got[2])],
                [float_histogram, histogram_float, both],
                "{operator:?}"
            );
        }
        assert_eq!(
            Trim(TrimSide::Upper).apply_to_samples(&float, &float),
            Err(OperatorNote::IncompatibleTypes(SampleKind::Float, SampleKind::Float))
        );
    }

    #[test]
    fn a_difference_is_a_gauge_and_colliding_resets_give_nothing() {
        let hinted = |hint| {
            Sample::Histogram(Arc::new(NativeHistogram { counter_reset_hint: hint, ..NativeHistogram::default() }))
        };
        let minus = CellOperator::Arithmetic(ArithmeticOp::Sub);
        let outcome = minus.apply_to_samples(&histogram(3.0), &histogram(1.0)).expect("a difference");
        let difference = outcome.sample.as_histogram().expect("a histogram");
        assert_eq!((difference.count, difference.counter_reset_hint), (2.0, CounterResetHint::Gauge));
        let collision = minus.apply_to_samples(&hinted(CounterResetHint::Reset), &hinted(CounterResetHint::NotReset));
        assert_eq!(collision, Err(OperatorNote::CounterResetCollision));
    }

    #[test]
    fn custom_bounds_are_reconciled_with_a_note_and_do_not_mix_with_exponential_ones() {
        let custom = |bounds: &[f64]| {
            Sample::Histogram(Arc::new(NativeHistogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                custom_bounds: bounds.into(),
                positive: Buckets::default(),
                ..NativeHistogram::default()
            }))
        };
        let plus = CellOperator::Arithmetic(ArithmeticOp::Add);
        let outcome = plus.apply_to_samples(&custom(&[1.0, 2.0]), &custom(&[2.0, 3.0])).expect("a sum");
        assert_eq!(outcome.note, Some(OperatorNote::BoundsReconciled));
        assert_eq!(outcome.sample, custom(&[2.0]));
        assert_eq!(plus.apply_to_samples(&custom(&[1.0]), &histogram(1.0)), Err(OperatorNote::IncompatibleLayout));
    }

    #[test]
    fn notes_speak_prometheus_words() {
        for (note, symbol, text) in [
            (
                OperatorNote::IncompatibleTypes(SampleKind::Float, SampleKind::Histogram),
                "+",
                "PromQL info: incompatible sample types encountered for binary operator \"+\": float + histogram",
            ),
            (
                OperatorNote::IncompatibleLayout,
                "-",
                "PromQL warning: incompatible bucket layout encountered for binary operator -",
            ),
            (
                OperatorNote::CounterResetCollision,
                "-",
                "PromQL warning: conflicting counter resets during histogram subtraction",
            ),
            (
                OperatorNote::BoundsReconciled,
                "+",
                "PromQL info: mismatched custom buckets were reconciled during addition",
            ),
        ] {
            assert_eq!(note.annotation(symbol, 0..1).text, text);
        }
    }
}
