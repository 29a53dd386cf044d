//! Range functions: a window of raw samples becomes a cell a step.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{CellsBuilder, ScalarArgument, labels_argument, samples_argument};
use super::start_times::CleanFloats;
use crate::encode::format_general_float;
use crate::error::Error;
use crate::kernels::{RangeFunction, RangeWindows, StepScalar, align_mixed_to_steps, align_to_steps};
use crate::model::{Annotation, AnnotationSink, LabelsRef, METRIC_NAME, Sample, values_type};
use crate::syntax::Span;

/// How a metric shows that it is a counter.
///
/// Source: Prometheus v3.14 promql/engine.go, after the loop over range functions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CounterSign {
    /// By its name's end.
    NameSuffix,
    /// By its `__type__`, with the feature `type-and-unit-labels`.
    TypeLabel,
}

impl CounterSign {
    fn what_is_wrong(self, name: &str, labels: LabelsRef<'_>) -> Option<String> {
        match self {
            Self::NameSuffix => {
                let like_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
                (!like_counter).then(|| format!("name does not end in _total/_sum/_count/_bucket: {name:?}"))
            }
            Self::TypeLabel => {
                let found = labels.get("__type__").unwrap_or_default();
                (!matches!(&*found, "counter" | "histogram")).then(|| {
                    format!("__type__ label is not set to \"counter\" or \"histogram\", got {found:?}: {name:?}")
                })
            }
        }
    }
}

/// `prom_rate(labels, samples, parameters…)` and its siblings.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RangeCall {
    /// Which function.
    pub function: RangeFunction,
    /// Its windows over the steps.
    pub windows: RangeWindows,
    /// Where the call's range argument stands in the query.
    pub span: Span,
    /// How a metric shows that it is a counter.
    pub counter_sign: CounterSign,
    /// Does it look at the samples' start timestamps, where they have some?
    pub looks_at_start_times: bool,
    /// Where the first parameter stands, for functions that warn about it.
    pub parameter_span: Option<Span>,
    /// Who is told of warnings.
    pub annotations: AnnotationSink,
}

impl RangeCall {
    /// Says so if a rate is taken of something that does not show that it is a counter.
    pub(super) fn note_non_counter(&self, labels: LabelsRef<'_>) {
        let name = labels.get(METRIC_NAME).filter(|name| !name.is_empty());
        if let Some(wrong) = name.and_then(|name| self.counter_sign.what_is_wrong(&name, labels)) {
            let text = format!("metric might not be a counter, {wrong}");
            self.annotations.add(Annotation::promql_info(text, self.span.clone()));
        }
    }

    /// Says so of each step at which a q outside of 0..1 has given something.
    fn note_invalid_quantile(&self, parameter: StepScalar<'_>, results: &CellsBuilder) {
        let Some(span) = &self.parameter_span else { return };
        for step in 0..self.windows.step_count {
            let quantile = parameter.at(step);
            if !(0.0..=1.0).contains(&quantile) && results.has_cell_at(step) {
                self.annotations.add(invalid_quantile(quantile, span.clone()));
            }
        }
    }
}

/// The warning of `quantile`, `quantile_over_time` and `histogram_quantile`.
pub fn invalid_quantile(quantile: f64, span: Span) -> Annotation {
    Annotation::promql_warning(format!("quantile value should be between 0 and 1, got {}", format_go_g(quantile)), span)
}

/// A float as Go's `%g` prints it: with an exponent from 1e+06 on.
pub fn format_go_g(value: f64) -> String {
    format_general_float(value)
}

impl RowFunction for RangeCall {
    fn name(&self) -> String {
        format!("prom_{}", self.function.name())
    }

    fn parameters(&self) -> String {
        let windows = &self.windows;
        format!(
            "range={}ms first_end={} end_step={}ms steps={}",
            windows.range_ms, windows.first_end_ms, windows.end_step_ms, windows.step_count
        )
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(self.windows.step_count))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let labels = labels_argument(arguments, 0, row_count)?;
        let rows = samples_argument(arguments, 1, row_count)?;
        let floats = rows.floats()?;
        let scalars = (2..arguments.len())
            .map(|index| ScalarArgument::read(arguments, index, row_count))
            .collect::<Result<Vec<_>, _>>()?;
        let parameters: Vec<StepScalar<'_>> = scalars.iter().map(ScalarArgument::as_step_scalar).collect();
        let is_rate = matches!(self.function, RangeFunction::Rate | RangeFunction::Increase);
        let mut builder = CellsBuilder::with_capacity(self.windows.step_count, row_count);
        for row in 0..row_count {
            if !rows.histograms(row).is_empty() {
                let cells = self.mixed_cells(LabelsRef::new(labels.value(row)), &rows, row, &parameters)?;
                cells.into_iter().for_each(|cell| builder.push_sample(cell));
                continue;
            }
            let own = CleanFloats::of(&floats, row, self.looks_at_start_times);
            let overlapping = self.write_float_cells(&own, &parameters, &mut builder)?;
            self.note_overlapping_starts(LabelsRef::new(labels.value(row)), overlapping.len());
            if is_rate && builder.last_row_has_cell() {
                self.note_non_counter(LabelsRef::new(labels.value(row)));
            }
        }
        if let (RangeFunction::QuantileOverTime, Some(parameter)) = (self.function, parameters.first()) {
            self.note_invalid_quantile(*parameter, &builder);
        }
        builder.finish(row_count)
    }
}

/// Windows of a plain selector for EXPLAIN: their length is the lookback.
pub(super) fn lookback_parameters(windows: &RangeWindows) -> String {
    let RangeWindows { range_ms, first_end_ms, end_step_ms, step_count, .. } = windows;
    format!("lookback={range_ms}ms first={first_end_ms} step={end_step_ms}ms steps={step_count}")
}

/// `align_to_steps(samples)`: a plain selector evaluated on raw samples.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct AlignToSteps {
    /// `range_ms` is the lookback.
    pub windows: RangeWindows,
    /// Give the sample's own time in seconds instead of its value.
    pub sample_times: bool,
}

impl RowFunction for AlignToSteps {
    fn name(&self) -> String {
        "align_to_steps".to_owned()
    }

    fn parameters(&self) -> String {
        lookback_parameters(&self.windows)
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(values_type(self.windows.step_count))
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let rows = samples_argument(arguments, 0, row_count)?;
        let floats = rows.floats()?;
        let mut builder = CellsBuilder::with_capacity(self.windows.step_count, row_count);
        for row in 0..row_count {
            let (timestamps, samples) = floats.floats(row);
            let histograms = rows.histograms(row);
            if !histograms.is_empty() {
                align_mixed_to_steps((timestamps, samples), histograms, &self.windows, |cell| {
                    builder.push_sample(cell.map(|(sample, time_ms)| {
                        if self.sample_times { Sample::Float(time_ms as f64 / 1000.0) } else { sample }
                    }));
                });
            } else if self.sample_times {
                crate::kernels::align_to_steps_timed(timestamps, samples, &self.windows, |cell| {
                    builder.push(cell.map(|(_, time_ms)| time_ms as f64 / 1000.0));
                });
            } else {
                align_to_steps(timestamps, samples, &self.windows, &mut builder.sink());
            }
        }
        builder.finish(row_count)
    }
}
