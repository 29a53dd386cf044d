//! What stands in the tables: everything that the model says of them, and that the rest of the program relies on.

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float64Type, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{DecodeError, wrong};
use crate::decode::TimeWindow;
use crate::decode::histogram_layout::HistogramLayout;
use crate::error::Error;
use crate::model::{
    COLUMN_LABELS, COLUMN_SAMPLE_TIMES, COLUMN_SAMPLES, COLUMN_VALUES, DurationMs, EXPONENTIAL_SCHEMA_MAX, LabelsRef,
    SamplesTable, StepGrid, StepsTable, TimedHistogram,
};

/// Checks the tables of one answer, one after the other.
#[derive(Debug)]
pub(super) struct Checker {
    schema: SchemaRef,
    /// Where samples may lie.
    window: Option<TimeWindow>,
    grid: Option<StepGrid>,
    lookback: Option<DurationMs>,
    is_sorted: bool,
    /// The labels of the last row.
    last: Option<Vec<u8>>,
}

impl Checker {
    pub(super) fn new(
        schema: SchemaRef,
        window: Option<TimeWindow>,
        grid: Option<StepGrid>,
        lookback: Option<DurationMs>,
        is_sorted: bool,
    ) -> Self {
        Self { schema, window, grid, lookback, is_sorted, last: None }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn check(&mut self, table: &RecordBatch) -> Result<(), DecodeError> {
        let labels = table.column_by_name(COLUMN_LABELS).and_then(|column| column.as_binary_opt::<i32>());
        self.check_labels(labels.ok_or_else(|| wrong("a table has no labels"))?)?;
        match (self.window, self.grid) {
            (Some(window), _) => check_samples(table, window),
            (None, Some(grid)) => check_steps(table, grid, self.lookback),
            (None, None) => Ok(()),
        }
    }

    fn check_labels(&mut self, labels: &BinaryArray) -> Result<(), DecodeError> {
        let mut last = self.last.as_deref();
        for row in 0..labels.len() {
            let own = labels.value(row);
            LabelsRef::try_new(own).map_err(|error| wrong(format!("a series has bad labels: {error}")))?;
            if self.is_sorted && last.is_some_and(|last| last >= own) {
                let text = format!("its series are not in order: {} came behind others", LabelsRef::new(own));
                return Err(wrong(text));
            }
            last = Some(own);
        }
        self.last = last.map(<[u8]>::to_vec);
        Ok(())
    }
}

fn from_view(error: Error) -> DecodeError {
    wrong(format!("a table is damaged: {error}"))
}

fn check_samples(table: &RecordBatch, window: TimeWindow) -> Result<(), DecodeError> {
    let column = table.column_by_name(COLUMN_SAMPLES).and_then(|column| column.as_struct_opt());
    let starts = column.and_then(|column| column.column_by_name("start_times")?.as_list_opt::<i32>());
    let starts = starts.ok_or_else(|| wrong("a table has no start times"))?;
    let view = SamplesTable::try_new(table).map_err(from_view)?;
    for row in 0..view.row_count() {
        let bad = |problem: &str| wrong(format!("series {} {problem}", view.labels(row)));
        let (times, _) = view.series(row);
        if times.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(bad("has samples whose times do not ascend"));
        }
        let started = usize::try_from(starts.value_length(row)).unwrap_or(0);
        if started != 0 && started != times.len() {
            return Err(bad("has start times for some of its samples only"));
        }
        let histograms = check_histograms(view.histograms().row(row), &bad)?;
        let is_inside = |time: Option<&i64>| time.is_none_or(|time| window.start.0 < *time && *time <= window.end.0);
        let (first, last) = (histograms.first().map(|item| &item.at), histograms.last().map(|item| &item.at));
        if ![times.first(), times.last(), first, last].into_iter().all(is_inside) {
            return Err(bad("has samples outside of the range that was asked for"));
        }
        if histograms.iter().any(|item| times.binary_search(&item.at).is_ok()) {
            return Err(bad("has a number and a histogram at the same time"));
        }
    }
    Ok(())
}

fn check_steps(table: &RecordBatch, grid: StepGrid, lookback: Option<DurationMs>) -> Result<(), DecodeError> {
    let view = StepsTable::try_new(table).map_err(from_view)?;
    let has_histograms = !view.histograms().is_empty();
    if has_histograms {
        for row in 0..view.row_count() {
            let bad = |problem: &str| wrong(format!("series {} {problem}", view.labels(row)));
            for item in check_histograms(view.histograms().row(row), &bad)? {
                match usize::try_from(item.at) {
                    Ok(step) if step < view.step_count() && view.cell(row, step).is_none() => {}
                    Ok(step) if step < view.step_count() => {
                        return Err(bad("has a number and a histogram at the same step"));
                    }
                    _ => return Err(bad("has a histogram at a step that was not asked for")),
                }
            }
        }
    }
    match lookback.filter(|_| view.is_timed()) {
        Some(lookback) => check_sample_times(table, &view, grid, lookback, has_histograms),
        None => Ok(()),
    }
}

/// There is a time where there is a sample, and it is one that the step may see.
fn check_sample_times(
    table: &RecordBatch,
    view: &StepsTable<'_>,
    grid: StepGrid,
    lookback: DurationMs,
    has_histograms: bool,
) -> Result<(), DecodeError> {
    let times = table.column_by_name(COLUMN_SAMPLE_TIMES).and_then(|column| column.as_fixed_size_list_opt());
    let times = times.and_then(|list| list.values().as_primitive_opt::<Int64Type>());
    let times = times.ok_or_else(|| wrong("a table has no sample times"))?;
    let floats = table.column_by_name(COLUMN_VALUES).and_then(|column| column.as_struct_opt());
    let floats = floats.and_then(|column| column.column(0).as_fixed_size_list_opt());
    let floats = floats.and_then(|list| list.values().as_primitive_opt::<Float64Type>());
    let floats = floats.ok_or_else(|| wrong("a table has no values"))?;
    let is_same = |a: Option<&NullBuffer>, b: Option<&NullBuffer>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.inner() == b.inner(),
        (Some(nulls), None) | (None, Some(nulls)) => nulls.null_count() == 0,
    };
    let steps = view.step_count();
    if has_histograms {
        for row in 0..view.row_count() {
            let samples = view.samples(row).map_err(from_view)?;
            let is_timed = |step: &usize| times.is_valid(row * steps + step);
            if samples.iter().enumerate().any(|(step, sample)| sample.is_some() != is_timed(&step)) {
                return Err(wrong(format!("series {} has times where it has no samples", view.labels(row))));
            }
        }
    } else if !is_same(floats.nulls(), times.nulls()) {
        return Err(wrong("a table has times where it has no samples"));
    }
    for row in 0..view.row_count() {
        let own = &times.values()[row * steps..(row + 1) * steps];
        let is_seen = |(step, time): (i64, &i64)| *time <= step && *time > step.saturating_sub(lookback.0);
        let is_bad = |(at, pair): (usize, (i64, &i64))| !is_seen(pair) && times.is_valid(row * steps + at);
        if grid.times().map(|time| time.0).zip(own).enumerate().any(is_bad) {
            return Err(wrong(format!("series {} has samples that its steps cannot see", view.labels(row))));
        }
    }
    Ok(())
}

/// Histograms whose places ascend and whose buckets lie where they can.
fn check_histograms(
    histograms: Result<Vec<TimedHistogram>, Error>,
    bad: &dyn Fn(&str) -> DecodeError,
) -> Result<Vec<TimedHistogram>, DecodeError> {
    let histograms = histograms.map_err(from_view)?;
    if histograms.windows(2).any(|pair| pair[0].at >= pair[1].at) {
        return Err(bad("has histograms whose times do not ascend"));
    }
    for item in &histograms {
        let histogram = &item.histogram;
        let layout = HistogramLayout::try_new(
            i64::from(histogram.schema),
            histogram.zero_threshold,
            histogram.positive.spans.clone(),
            histogram.negative.spans.clone(),
            histogram.custom_bounds.to_vec(),
        );
        layout.map_err(|error| bad(&error.to_string()))?;
        if histogram.schema > EXPONENTIAL_SCHEMA_MAX {
            return Err(bad("has a histogram of a schema that nobody computes with"));
        }
    }
    Ok(histograms)
}
