//! `anchored` and `smoothed`: ranges and plain selectors that also read samples beside their window.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{CellsBuilder, SampleRows, labels_argument, samples_argument};
use super::range::RangeCall;
use super::range_histograms::annotation_of;
use super::start_times::CleanFloats;
use crate::error::Error;
use crate::kernels::{
    ExtendedFunction, ExtendedWindows, MixedSeries, RangeNotes, StartTimes, evaluate_extended_range,
    evaluate_mixed_extended_range, extend_to_edges, smooth_mixed_to_steps, smooth_to_steps,
};
use crate::model::{
    AnnotationSink, HistogramListBuilder, LabelsRef, Sample, TimedHistogram, no_start_times, samples_column,
    samples_type, values_type,
};
use crate::syntax::Span;

fn series_of<'a>(floats: &'a CleanFloats<'_>, histograms: &'a [TimedHistogram]) -> MixedSeries<'a> {
    let start_times = floats.start_times.as_deref();
    MixedSeries { timestamps: &floats.timestamps, values: &floats.values, start_times, histograms }
}

fn tell(notes: RangeNotes, labels: LabelsRef<'_>, span: &Span, annotations: &AnnotationSink) {
    notes.iter().for_each(|note| annotations.add(annotation_of(note, labels, span.clone())));
}

/// The histograms of a row without stale markers.
fn fresh_histograms(rows: &SampleRows, row: usize) -> Vec<TimedHistogram> {
    rows.histograms(row).iter().filter(|timed| !timed.histogram.is_stale_marker()).cloned().collect()
}

/// `prom_rate_anchored(labels, samples)` and its siblings.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExtendedRangeCall {
    /// The call as it would be without the modifier.
    pub call: RangeCall,
    /// What it does.
    pub function: ExtendedFunction,
    /// Its windows over the steps, and what is read for them.
    pub windows: ExtendedWindows,
}

impl RowFunction for ExtendedRangeCall {
    fn name(&self) -> String {
        format!("{}_{}", self.call.name(), self.windows.extension.name())
    }

    fn parameters(&self) -> String {
        format!("{} lookback={}ms", self.call.parameters(), self.windows.lookback_ms)
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        self.call.return_type(argument_types)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let labels = labels_argument(arguments, 0, row_count)?;
        let rows = samples_argument(arguments, 1, row_count)?;
        let starts = if self.call.looks_at_start_times { StartTimes::Used } else { StartTimes::Ignored };
        let mut builder = CellsBuilder::with_capacity(self.windows.windows.step_count, row_count);
        for row in 0..row_count {
            let row_labels = LabelsRef::new(labels.value(row));
            let floats = CleanFloats::of(&rows.floats()?, row, starts == StartTimes::Used);
            let histograms = fresh_histograms(&rows, row);
            let has_number = if histograms.is_empty() && floats.start_times.is_none() {
                let CleanFloats { timestamps, values, .. } = floats;
                evaluate_extended_range(self.function, &timestamps, &values, &self.windows, &mut builder.sink());
                builder.last_row_has_cell()
            } else {
                let series = series_of(&floats, &histograms);
                let row_cells = evaluate_mixed_extended_range(self.function, series, &self.windows, starts);
                tell(row_cells.notes, row_labels, &self.call.span, &self.call.annotations);
                let has_number = row_cells.cells.iter().any(|cell| matches!(cell, Some(Sample::Float(_))));
                row_cells.cells.into_iter().for_each(|cell| builder.push_sample(cell));
                has_number
            };
            if self.function.is_counter() && has_number {
                self.call.note_non_counter(row_labels);
            }
        }
        builder.finish(row_count)
    }
}

/// `smooth_to_steps(labels, samples)`: a plain selector with `smoothed`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SmoothToSteps {
    /// The windows have no length: they are the steps.
    pub windows: ExtendedWindows,
    /// Where the selector stands in the query.
    pub span: Span,
    /// Who is told of warnings.
    pub annotations: AnnotationSink,
}

impl RowFunction for SmoothToSteps {
    fn name(&self) -> String {
        "smooth_to_steps".to_owned()
    }

    fn parameters(&self) -> String {
        let windows = &self.windows.windows;
        format!(
            "lookback={}ms first={} step={}ms steps={}",
            self.windows.lookback_ms, windows.first_end_ms, windows.end_step_ms, windows.step_count
        )
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(self.windows.windows.step_count))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let labels = labels_argument(arguments, 0, row_count)?;
        let rows = samples_argument(arguments, 1, row_count)?;
        let mut builder = CellsBuilder::with_capacity(self.windows.windows.step_count, row_count);
        for row in 0..row_count {
            let floats = CleanFloats::of(&rows.floats()?, row, false);
            let histograms = fresh_histograms(&rows, row);
            if histograms.is_empty() {
                smooth_to_steps(&floats.timestamps, &floats.values, &self.windows, &mut builder.sink());
                continue;
            }
            let row_cells = smooth_mixed_to_steps(series_of(&floats, &histograms), &self.windows);
            tell(row_cells.notes, LabelsRef::new(labels.value(row)), &self.span, &self.annotations);
            row_cells.cells.into_iter().for_each(|cell| builder.push_sample(cell));
        }
        builder.finish(row_count)
    }
}

/// `extend_to_edges(samples)`: an extended range that is a query of its own, as raw samples with one at each edge.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExtendToEdges {
    /// The first window is the range.
    pub windows: ExtendedWindows,
}

impl RowFunction for ExtendToEdges {
    fn name(&self) -> String {
        format!("extend_to_edges_{}", self.windows.extension.name())
    }

    fn parameters(&self) -> String {
        let windows = &self.windows.windows;
        format!("range={}ms end={} lookback={}ms", windows.range_ms, windows.first_end_ms, self.windows.lookback_ms)
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(samples_type())
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let rows = samples_argument(arguments, 0, row_count)?;
        let (mut times, mut values, mut row_ends) = (Vec::new(), Vec::new(), Vec::with_capacity(row_count));
        let mut histograms = HistogramListBuilder::default();
        for row in 0..row_count {
            self.refuse_histograms(rows.histograms(row))?;
            let floats = CleanFloats::of(&rows.floats()?, row, false);
            let (row_times, row_values) = extend_to_edges(&floats.timestamps, &floats.values, &self.windows);
            times.extend(row_times);
            values.extend(row_values);
            if i32::try_from(times.len()).is_err() {
                return Err(Error::execution("the samples of a range are too many"));
            }
            row_ends.push(times.len());
            histograms.finish_row();
        }
        Ok(Arc::new(samples_column(&row_ends, times, values, no_start_times(row_count), histograms.finish())))
    }
}

impl ExtendToEdges {
    /// Prometheus' own refusal.
    fn refuse_histograms(&self, histograms: &[TimedHistogram]) -> Result<(), Error> {
        let reads = self.windows.reads();
        let start_ms = reads.first_end_ms.saturating_sub(reads.range_ms);
        if histograms.iter().any(|item| start_ms < item.at && item.at <= reads.first_end_ms) {
            let name = self.windows.extension.name();
            return Err(Error::execution(format!("{name} modifier is not supported with histograms")));
        }
        Ok(())
    }
}
