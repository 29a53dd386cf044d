//! Which known gap accounts for a failure. It goes by what the engine said and by what the case shows; a failure that is not
//! surely one of the gaps stays unexplained, so that no defect hides behind them.

use super::super::SequenceValue;
use super::report::{Explanation, Failure};
use super::script::{Eval, ExpectedValue, Load};

/// In every error text about something that is not built yet.
pub const NOT_SUPPORTED: &str = "not supported yet";

/// What the data loaded since the last `clear` hold beyond floats.
#[derive(Debug, Default, Clone, Copy)]
pub struct SegmentData {
    histograms: bool,
    start_timestamps: bool,
}

impl SegmentData {
    /// Adds what a load brings.
    pub fn note(&mut self, load: &Load) {
        let is_histogram = |value: &SequenceValue| matches!(value, SequenceValue::Histogram { .. });
        self.histograms |= load.with_custom_buckets
            || load.series.iter().any(|series| series.notation.values.iter().any(is_histogram));
        self.start_timestamps |= load.series.iter().any(|series| series.start_offsets.is_some());
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
    if data.histograms || expects_histograms(eval) {
        return Some(Explanation::NativeHistogram);
    }
    (data.start_timestamps && reads_start_timestamps(&eval.expr)).then_some(Explanation::GatedFeature)
}

fn expects_histograms(eval: &Eval) -> bool {
    let ExpectedValue::Series { lines, .. } = &eval.expect.value else { return false };
    lines.iter().flat_map(|line| &line.values).any(|value| matches!(value, SequenceValue::Histogram { .. }))
}

fn reads_start_timestamps(expr: &str) -> bool {
    ["rate(", "increase(", "resets(", "start_timestamp("].iter().any(|call| expr.contains(call))
}
