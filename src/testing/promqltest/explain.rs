//! Which known gap accounts for a failure. It goes by what the engine said and by what the case shows; a failure that is not
//! surely one of the gaps stays unexplained, so that no defect hides behind them.

use super::super::SequenceValue;
use super::report::{Explanation, Failure};
use super::script::{Eval, Load};

/// In every error text about something that is not built yet.
pub const NOT_SUPPORTED: &str = "not supported yet";

/// What the data loaded since the last `clear` hold beyond floats.
#[derive(Debug, Default, Clone, Copy)]
pub struct SegmentData {
    histograms: bool,
}

impl SegmentData {
    /// Adds what a load brings.
    pub fn note(&mut self, load: &Load) {
        let is_histogram = |value: &SequenceValue| matches!(value, SequenceValue::Histogram { .. });
        self.histograms |= load.with_custom_buckets
            || load.series.iter().any(|series| series.notation.values.iter().any(is_histogram));
    }
}

/// The gap that accounts for a failure, if one surely does.
pub fn explain(eval: &Eval, failure: &Failure, data: &SegmentData) -> Option<Explanation> {
    let engine_said = |text: &str| failure.got.contains(text);
    if engine_said("native histogram") || engine_said("native_histogram") {
        return Some(Explanation::NativeHistogram);
    }
    if engine_said(NOT_SUPPORTED) {
        return Some(Explanation::GatedFeature);
    }
    let needs_quantiles = ["histogram_quantile(", "histogram_fraction("].iter().any(|call| eval.expr.contains(call));
    (data.histograms && needs_quantiles).then_some(Explanation::NativeHistogram)
}
