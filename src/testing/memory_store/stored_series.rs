//! One series of the store.

use std::ops::Range;
use std::sync::Arc;

use super::histogram_chunk::{HistogramChunk, check_histogram};
use crate::error::Error;
use crate::kernels::native_histogram::histograms_equal;
use crate::model::{DurationMs, NativeHistogram, Sample, TimedHistogram, TimestampMs, histogram_size, is_stale};
use crate::testing::TimedSample;

/// Samples of one series; times ascend, and no time has both a float and a histogram.
#[derive(Debug, Default)]
pub(super) struct StoredSeries {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// As many as floats, 0 where unknown; empty as long as none is known.
    start_times: Vec<i64>,
    histograms: Vec<TimedHistogram>,
    /// The chunk that the newest histogram is in; `None` where the newest sample is a float.
    chunk: Option<HistogramChunk>,
}

/// Samples of a series in a window of time.
#[derive(Clone, Debug)]
pub(super) struct SampleWindow {
    pub(super) floats: Range<usize>,
    pub(super) histograms: Range<usize>,
}

impl StoredSeries {
    pub(super) fn is_empty(&self) -> bool {
        self.timestamps.is_empty() && self.histograms.is_empty()
    }

    fn newest(&self) -> Option<i64> {
        self.timestamps.last().copied().max(self.histograms.last().map(|item| item.at))
    }

    /// Appends a sample. As Prometheus does: the same sample again is nothing, another one at a known time and an earlier
    /// time are errors.
    pub(super) fn append(&mut self, sample: TimedSample) -> Result<(), Error> {
        let TimedSample { time, start_time, sample } = sample;
        match self.newest() {
            Some(newest) if time < newest => return Err(out_of_order(time, newest)),
            Some(newest) if time == newest => {
                return if self.is_newest(time, &sample) { Ok(()) } else { Err(duplicate(time)) };
            }
            _ => {}
        }
        match sample {
            // A marker ends a series of histograms as one of them, as in Prometheus.
            Sample::Float(value) if is_stale(value) && self.chunk.is_some() => {
                let marker = NativeHistogram { sum: value, ..NativeHistogram::default() };
                self.push_histogram(time, start_time, Arc::new(marker));
            }
            Sample::Float(value) => self.push_float(time, start_time, value),
            Sample::Histogram(histogram) => {
                check_histogram(&histogram)?;
                self.push_histogram(time, start_time, histogram);
            }
        }
        Ok(())
    }

    fn is_newest(&self, time: i64, sample: &Sample) -> bool {
        let histogram = self.histograms.last().filter(|last| last.at == time);
        match (sample, histogram) {
            (Sample::Float(value), None) => {
                self.values.last().is_some_and(|known| known.to_bits() == value.to_bits()) //
            }
            (Sample::Float(value), Some(last)) => is_stale(*value) && last.histogram.is_stale_marker(),
            (Sample::Histogram(histogram), Some(last)) => histograms_equal(histogram, &last.histogram),
            (Sample::Histogram(_), None) => false,
        }
    }

    fn push_float(&mut self, time: i64, start_time: Option<i64>, value: f64) {
        let start_time = start_time.unwrap_or(0);
        if start_time != 0 || !self.start_times.is_empty() {
            self.start_times.resize(self.timestamps.len(), 0);
            self.start_times.push(start_time);
        }
        self.timestamps.push(time);
        self.values.push(value);
        self.chunk = None;
    }

    fn push_histogram(&mut self, time: i64, start_time: Option<i64>, histogram: Arc<NativeHistogram>) {
        let histogram = HistogramChunk::append(&mut self.chunk, histogram);
        // A start of 0 is an unknown one, as for floats.
        let start_time = start_time.filter(|start| *start != 0);
        self.histograms.push(TimedHistogram { at: time, start_time, histogram });
    }

    /// Forgets what is older than `time`.
    pub(super) fn drop_before(&mut self, time: i64) {
        let from = self.timestamps.partition_point(|at| *at < time);
        self.timestamps.drain(..from);
        self.values.drain(..from);
        if !self.start_times.is_empty() {
            self.start_times.drain(..from);
        }
        let from = self.histograms.partition_point(|item| item.at < time);
        self.histograms.drain(..from);
    }

    /// The samples with `start < t ≤ end`.
    pub(super) fn window(&self, start: i64, end: i64) -> SampleWindow {
        let floats = |time: i64| self.timestamps.partition_point(|at| *at <= time);
        let histograms = |time: i64| self.histograms.partition_point(|item| item.at <= time);
        let range = |from: usize, to: usize| from..to.max(from);
        SampleWindow {
            floats: range(floats(start), floats(end)),
            histograms: range(histograms(start), histograms(end)),
        }
    }

    /// Floats of a window: times, values, and start times where any is known.
    pub(super) fn floats(&self, window: &SampleWindow) -> (&[i64], &[f64], Option<&[i64]>) {
        let range = window.floats.clone();
        let start_times = (!self.start_times.is_empty()).then(|| &self.start_times[range.clone()]);
        (&self.timestamps[range.clone()], &self.values[range], start_times)
    }

    /// Histograms of a window.
    pub(super) fn histograms(&self, window: &SampleWindow) -> &[TimedHistogram] {
        &self.histograms[window.histograms.clone()]
    }

    /// The newest sample with `time - lookback < t ≤ time` and its time, unless it is a stale marker.
    pub(super) fn look_back(&self, time: i64, lookback: DurationMs) -> Option<(Sample, i64)> {
        let window = self.window(time.saturating_sub(lookback.0), time);
        let float = window.floats.clone().last().map(|at| (Sample::Float(self.values[at]), self.timestamps[at]));
        let histogram = self.histograms(&window).last();
        let histogram = histogram.map(|item| (Sample::Histogram(Arc::clone(&item.histogram)), item.at));
        let newest = [float, histogram].into_iter().flatten().max_by_key(|(_, at)| *at);
        newest.filter(|(sample, _)| !sample.is_stale_marker())
    }

    /// Is there a sample with `start ≤ t ≤ end`?
    pub(super) fn has_sample_in(&self, start: i64, end: i64) -> bool {
        let float = self.timestamps.get(self.timestamps.partition_point(|time| *time < start)).copied();
        let histogram = self.histograms.get(self.histograms.partition_point(|item| item.at < start));
        [float, histogram.map(|item| item.at)].into_iter().flatten().any(|at| at <= end)
    }
}

/// How many samples a sample counts for in the budget of a query.
pub(super) fn sample_size(sample: &Sample) -> usize {
    match sample {
        Sample::Float(_) => 1,
        Sample::Histogram(histogram) => histogram_size(histogram),
    }
}

fn out_of_order(time: i64, newest: i64) -> Error {
    let [time, newest] = [time, newest].map(TimestampMs);
    Error::bad_data(format!("out of order sample: {time} comes after {newest}"))
}

fn duplicate(time: i64) -> Error {
    Error::bad_data(format!("duplicate sample for timestamp {}", TimestampMs(time)))
}
