//! Range functions over rows that have native histograms, and what is to be said of them.

use super::columns::{CellsBuilder, SampleRows};
use super::range::RangeCall;
use crate::error::Error;
use crate::kernels::{
    MixedSeries, RangeFunction, RangeNote, StartTimes, StepScalar, evaluate_mixed_range_function,
    evaluate_range_function, remove_stale,
};
use crate::model::{Annotation, LabelsRef, METRIC_NAME, Sample, TimedHistogram, quote_label_value};
use crate::syntax::Span;

impl RangeCall {
    /// The cells of a row that has histograms. What there is to say of it is said.
    pub(super) fn mixed_cells(
        &self,
        labels: LabelsRef<'_>,
        rows: &SampleRows,
        row: usize,
        parameters: &[StepScalar<'_>],
    ) -> Result<Vec<Option<Sample>>, Error> {
        let (timestamps, values) = rows.floats()?.floats(row);
        let cleaned = remove_stale(timestamps, values);
        let (timestamps, values) =
            cleaned.as_ref().map_or((timestamps, values), |(times, values)| (&times[..], &values[..]));
        let histograms: Vec<TimedHistogram> =
            rows.histograms(row).iter().filter(|timed| !timed.histogram.is_stale_marker()).cloned().collect();
        let float_cells = self.float_cells(timestamps, values, parameters)?;
        let series = MixedSeries { timestamps, values, start_times: None, histograms: &histograms };
        let with = (parameters, StartTimes::Ignored);
        let result = evaluate_mixed_range_function(self.function, series, &self.windows, with, &float_cells)
            .map_err(|error| Error::execution(error.to_string()))?;
        for note in result.notes.iter() {
            self.annotations.add(annotation_of(note, labels, self.noted_span()));
        }
        let has_number = result.cells.iter().any(|cell| matches!(cell, Some(Sample::Float(_))));
        if has_number && matches!(self.function, RangeFunction::Rate | RangeFunction::Increase) {
            self.note_non_counter(labels);
        }
        Ok(result.cells)
    }

    fn float_cells(
        &self,
        timestamps: &[i64],
        values: &[f64],
        parameters: &[StepScalar<'_>],
    ) -> Result<Vec<Option<f64>>, Error> {
        let mut builder = CellsBuilder::with_capacity(self.windows.step_count, 1);
        evaluate_range_function(self.function, timestamps, values, &self.windows, parameters, &mut builder.sink())
            .map_err(|error| Error::execution(error.to_string()))?;
        Ok(builder.numbers())
    }

    /// Prometheus points at the first argument, and that is not always the range.
    fn noted_span(&self) -> Span {
        match (&self.parameter_span, self.function) {
            (Some(span), RangeFunction::QuantileOverTime) => span.clone(),
            _ => self.span.clone(),
        }
    }
}

/// Texts as Prometheus v3.14 util/annotations/annotations.go.
fn annotation_of(note: RangeNote, labels: LabelsRef<'_>, span: Span) -> Annotation {
    let name = quote_label_value(&labels.get(METRIC_NAME).unwrap_or_default());
    let reconciled = |operation: &str| format!("mismatched custom buckets were reconciled during {operation}");
    match note {
        RangeNote::MixedFloatsAndHistograms => Annotation::promql_warning(
            format!("encountered a mix of histograms and floats for metric name {name}"),
            span,
        ),
        RangeNote::NotCounter => {
            Annotation::promql_warning(format!("this native histogram metric is not a counter: {name}"), span)
        }
        RangeNote::NotGauge => {
            Annotation::promql_warning(format!("this native histogram metric is not a gauge: {name}"), span)
        }
        RangeNote::MixedSchemas => Annotation::promql_warning(
            format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name}"
            ),
            span,
        ),
        RangeNote::ResetCollision => {
            Annotation::promql_warning("conflicting counter resets during histogram aggregation", span)
        }
        RangeNote::StartTimesOverlap => Annotation::promql_warning(
            format!("sample has start time that overlaps with previous sample timestamp for metric {name}"),
            span,
        ),
        RangeNote::ReconciledInAddition => Annotation::promql_info(reconciled("addition"), span),
        RangeNote::ReconciledInSubtraction => Annotation::promql_info(reconciled("subtraction"), span),
        RangeNote::ReconciledInAggregation => Annotation::promql_info(reconciled("aggregation"), span),
        RangeNote::HistogramsIgnored => Annotation::promql_info(
            format!("ignored histograms in a range containing both floats and histograms for metric name {name}"),
            span,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn notes_have_prometheus_texts_and_name_the_metric_where_it_has_one() {
        let named = Labels::from_pairs([("__name__", "a\"b"), ("job", "j")]);
        let text = |note, labels: &Labels| annotation_of(note, labels.encode().as_ref(), 5..6).render("rate(x[1m])");
        for (note, expected) in [
            (
                RangeNote::MixedFloatsAndHistograms,
                r#"PromQL warning: encountered a mix of histograms and floats for metric name "a\"b" (1:6)"#,
            ),
            (RangeNote::NotCounter, r#"PromQL warning: this native histogram metric is not a counter: "a\"b" (1:6)"#),
            (
                RangeNote::ReconciledInSubtraction,
                "PromQL info: mismatched custom buckets were reconciled during subtraction (1:6)",
            ),
        ] {
            assert_eq!(text(note, &named), expected);
        }
        assert_eq!(
            text(RangeNote::NotGauge, &Labels::default()),
            r#"PromQL warning: this native histogram metric is not a gauge: "" (1:6)"#
        );
    }
}
