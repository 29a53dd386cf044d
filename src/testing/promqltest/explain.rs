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
    start_timestamps: bool,
    type_and_unit_labels: bool,
}

impl SegmentData {
    /// Adds what a load brings.
    pub fn note(&mut self, load: &Load) {
        self.start_timestamps |= load.series.iter().any(|series| series.start_offsets.is_some());
        self.type_and_unit_labels |= load.series.iter().any(|series| {
            let labels = &series.notation.labels;
            labels.get("__type__").is_some() || labels.get("__unit__").is_some()
        });
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
    if expects_histograms(eval) {
        return Some(Explanation::NativeHistogram);
    }
    if data.start_timestamps && reads_start_timestamps(&eval.expr) {
        return Some(Explanation::GatedFeature);
    }
    needs_delayed_name_removal(eval, failure, data).then_some(Explanation::GatedFeature)
}

fn expects_histograms(eval: &Eval) -> bool {
    let ExpectedValue::Series { lines, .. } = &eval.expect.value else { return false };
    lines.iter().flat_map(|line| &line.values).any(|value| matches!(value, SequenceValue::Histogram(_)))
}

fn reads_start_timestamps(expr: &str) -> bool {
    ["rate(", "increase(", "resets(", "start_timestamp("].iter().any(|call| expr.contains(call))
}

/// The suite runs with delayed name removal: there a dropped name can still be read, matched, or given back, further out in
/// the same expression, and so can the type and unit labels that are dropped with it. That shows in an expression that names
/// `__name__`, in a set operation on series with such labels, or in the error about equal label sets that removal at once
/// can cause.
fn needs_delayed_name_removal(eval: &Eval, failure: &Failure, data: &SegmentData) -> bool {
    let names_the_name = ["\"__name__\"", "(__name__", ", __name__", ",__name__"];
    let set_operators = [" and ", " or ", " unless "];
    failure.got.contains("vector cannot contain metrics with the same labelset")
        || names_the_name.iter().any(|text| eval.expr.contains(text))
        || data.type_and_unit_labels && set_operators.iter().any(|text| eval.expr.contains(text))
}
