//! When the counters behind samples began: range functions that look at it, and `start_timestamp(v)`.

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{CellsBuilder, samples_argument};
use super::range::{RangeCall, lookback_parameters};
use crate::error::Error;
use crate::kernels::{
    RangeWindows, StartedSamples, StepScalar, evaluate_range_function, evaluate_started_counter, remove_stale,
};
use crate::model::{SamplesColumn, TimedHistogram, is_stale, values_type};

/// The floats of a row without stale markers.
pub(super) struct CleanFloats<'a> {
    /// Ascending times in ms.
    pub(super) timestamps: Cow<'a, [i64]>,
    /// A value for each time.
    pub(super) values: Cow<'a, [f64]>,
    /// Start timestamps (ms, 0 = unknown), where some are known and somebody looks at them.
    pub(super) start_times: Option<Cow<'a, [i64]>>,
}

impl<'a> CleanFloats<'a> {
    /// Copies only where there is a stale marker.
    pub(super) fn of(column: &SamplesColumn<'a>, row: usize, looks_at_start_times: bool) -> Self {
        let (timestamps, values) = column.floats(row);
        let start_times = column.start_times(row).filter(|_| looks_at_start_times);
        let Some((clean_timestamps, clean_values)) = remove_stale(timestamps, values) else {
            let start_times = start_times.map(Cow::Borrowed);
            return Self { timestamps: Cow::Borrowed(timestamps), values: Cow::Borrowed(values), start_times };
        };
        let clean_starts = |starts: &[i64]| {
            starts.iter().zip(values).filter(|(_, value)| !is_stale(**value)).map(|(start, _)| *start).collect()
        };
        Self {
            timestamps: Cow::Owned(clean_timestamps),
            values: Cow::Owned(clean_values),
            start_times: start_times.map(|starts| Cow::Owned(clean_starts(starts))),
        }
    }
}

impl RangeCall {
    /// Evaluates the function over a row's floats, and gives the steps in whose windows start timestamps overlap.
    pub(super) fn write_float_cells(
        &self,
        floats: &CleanFloats<'_>,
        parameters: &[StepScalar<'_>],
        builder: &mut CellsBuilder,
    ) -> Result<Vec<usize>, Error> {
        let (timestamps, values) = (&*floats.timestamps, &*floats.values);
        let mut sink = builder.sink();
        match &floats.start_times {
            Some(start_times) => {
                let samples = StartedSamples { timestamps, values, start_times };
                Ok(evaluate_started_counter(self.function, samples, &self.windows, &mut sink))
            }
            None => evaluate_range_function(self.function, timestamps, values, &self.windows, parameters, &mut sink)
                .map(|()| Vec::new())
                .map_err(|error| Error::execution(error.to_string())),
        }
    }
}

/// `start_times_to_steps(samples)`: the start timestamp, in seconds, of the sample that a plain selector finds at each step; 0
/// where it is not known, absent where there is no sample.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct StartTimesToSteps {
    /// `range_ms` is the lookback.
    pub windows: RangeWindows,
}

/// The samples of one series, raw.
struct Row<'a> {
    timestamps: &'a [i64],
    values: &'a [f64],
    start_times: Option<&'a [i64]>,
    histograms: &'a [TimedHistogram],
}

impl RowFunction for StartTimesToSteps {
    fn name(&self) -> String {
        "start_times_to_steps".to_owned()
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
            let (timestamps, values) = floats.floats(row);
            let row =
                Row { timestamps, values, start_times: floats.start_times(row), histograms: rows.histograms(row) };
            row.align(&self.windows, |start_ms| builder.push(start_ms.map(|start_ms| start_ms as f64 / 1000.0)));
        }
        builder.finish(row_count)
    }
}

impl Row<'_> {
    /// The start (ms) of the newest sample of either kind in each window, unless it is a stale marker.
    fn align(&self, windows: &RangeWindows, mut push: impl FnMut(Option<i64>)) {
        let histogram_times: Vec<i64> = self.histograms.iter().map(|item| item.at).collect();
        for (floats, histograms) in windows.spans(self.timestamps).zip(windows.spans(&histogram_times)) {
            let float = floats.samples.last();
            let histogram = histograms.samples.last().map(|at| &self.histograms[at]);
            push(match (float, histogram) {
                (Some(at), Some(histogram)) if self.timestamps[at] < histogram.at => start_of(histogram),
                (None, Some(histogram)) => start_of(histogram),
                (Some(at), _) if is_stale(self.values[at]) => None,
                (Some(at), _) => Some(self.start_times.map_or(0, |starts| starts[at])),
                (None, None) => None,
            });
        }
    }
}

fn start_of(item: &TimedHistogram) -> Option<i64> {
    (!item.histogram.is_stale_marker()).then(|| item.start_time.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{NativeHistogram, stale_marker};

    fn windows(first_end_ms: i64, step_ms: i64, step_count: usize, range_ms: i64) -> RangeWindows {
        RangeWindows {
            first_end_ms,
            end_step_ms: step_ms,
            first_eval_ms: first_end_ms,
            eval_step_ms: step_ms,
            step_count,
            range_ms,
        }
    }

    #[test]
    fn the_newest_sample_of_either_kind_tells_its_start_and_a_stale_marker_none() {
        let histogram = |at, start_time, sum| TimedHistogram {
            at,
            start_time,
            histogram: Arc::new(NativeHistogram { sum, ..NativeHistogram::default() }),
        };
        let histograms =
            [histogram(15, Some(14), 1.0), histogram(25, None, 1.0), histogram(45, Some(40), stale_marker())];
        let row = Row {
            timestamps: &[10, 20, 30, 50],
            values: &[1.0, 2.0, stale_marker(), 4.0],
            start_times: Some(&[7, 0, 29, 49]),
            histograms: &histograms,
        };
        let starts = |row: &Row<'_>| {
            let mut starts = Vec::new();
            row.align(&windows(5, 5, 11, 10), |start| starts.push(start));
            starts
        };
        let found = [None, Some(7), Some(14), Some(0), Some(0), None, None, None, None, Some(49), Some(49)];
        assert_eq!(starts(&row), found);
        let unknown = Row { start_times: None, histograms: &[], ..row };
        let found = [None, Some(0), Some(0), Some(0), Some(0), None, None, None, None, Some(0), Some(0)];
        assert_eq!(starts(&unknown), found);
    }
}
