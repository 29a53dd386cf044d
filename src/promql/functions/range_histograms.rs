//! Range functions over rows that have native histograms, and what is to be said of them.

use super::columns::{CellsBuilder, SampleRows};
use super::range::RangeCall;
use super::start_times::CleanFloats;
use crate::error::Error;
use crate::kernels::{MixedSeries, RangeFunction, RangeNote, StartTimes, StepScalar, evaluate_mixed_range_function};
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
        let floats = CleanFloats::of(&rows.floats()?, row, self.looks_at_start_times);
        let histograms: Vec<TimedHistogram> =
            rows.histograms(row).iter().filter(|timed| !timed.histogram.is_stale_marker()).cloned().collect();
        let mut float_cells = CellsBuilder::with_capacity(self.windows.step_count, 1);
        let overlapping = self.write_float_cells(&floats, parameters, &mut float_cells)?;
        let float_cells = float_cells.numbers();
        let series = MixedSeries {
            timestamps: &floats.timestamps,
            values: &floats.values,
            start_times: floats.start_times.as_deref(),
            histograms: &histograms,
        };
        let starts = if self.looks_at_start_times { StartTimes::Used } else { StartTimes::Ignored };
        let with = (parameters, starts);
        let result = evaluate_mixed_range_function(self.function, series, &self.windows, with, &float_cells)
            .map_err(|error| Error::execution(error.to_string()))?;
        // Of a window with both, Prometheus looks no further than that.
        let histogram_times: Vec<i64> = histograms.iter().map(|timed| timed.at).collect();
        let has_histograms: Vec<bool> =
            self.windows.spans(&histogram_times).map(|span| !span.samples.is_empty()).collect();
        let overlapping = overlapping.into_iter().filter(|step| !has_histograms[*step]).count();
        self.note_overlapping_starts(labels, overlapping + result.overlapping_count);
        for note in result.notes.iter().filter(|note| *note != RangeNote::StartTimesOverlap) {
            self.annotations.add(annotation_of(note, labels, self.noted_span()));
        }
        let has_number = result.cells.iter().any(|cell| matches!(cell, Some(Sample::Float(_))));
        if has_number && matches!(self.function, RangeFunction::Rate | RangeFunction::Increase) {
            self.note_non_counter(labels);
        }
        Ok(result.cells)
    }

    /// Says in how many windows start timestamps lie before the sample before theirs.
    pub(super) fn note_overlapping_starts(&self, labels: LabelsRef<'_>, window_count: usize) {
        if window_count > 0 {
            let note = annotation_of(RangeNote::StartTimesOverlap, labels, self.span.clone());
            self.annotations.add_occurrences(note, window_count);
        }
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
pub(super) fn annotation_of(note: RangeNote, labels: LabelsRef<'_>, span: Span) -> Annotation {
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
