//! Appends series to samples tables and cuts the tables to size.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::chunk::SampleSink;
use crate::model::{CounterResetHint, NativeHistogram, Sample, SamplesTableBuilder, StartedSample, histogram_size};

/// A batch is closed at the first end of a series behind any of these. Large enough that per-batch costs vanish, small
/// enough that a batch is a bounded piece of memory: 1 MiB of samples.
const BATCH_SAMPLES: usize = 64 * 1024;
const BATCH_ROWS: usize = 8 * 1024;
const BATCH_LABEL_BYTES: usize = 4 * 1024 * 1024;
/// Offsets of a table are 32 bits wide, and a histogram has up to two buckets for each sample that it counts for: a series
/// must leave room for what is before it.
const SERIES_SAMPLES_MAX: usize = 1 << 29;

/// Why a sample cannot be taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum PushError {
    /// Not later than the sample before it.
    NotAscending,
    /// Over a limit.
    TooMany,
}

/// Builds samples tables from series that come one after the other. A histogram counts for as many samples as Prometheus
/// counts it for.
///
/// Samples of a series come either in order, one by one ([`SeriesBuilder::push`]), or as [`SampleSink`] in pieces, which are in
/// order each, but may overlap: then the series is sorted at its end.
#[derive(Debug)]
pub(super) struct SeriesBuilder {
    table: SamplesTableBuilder,
    batches: Vec<RecordBatch>,
    /// Samples in `batches`.
    batch_samples: usize,
    /// Label bytes in `table`.
    label_bytes: usize,
    /// Samples in the series that is being built.
    series_samples: usize,
    /// Samples of the finished series in `table`.
    table_samples: usize,
    last_ms: i64,
    /// Did a piece of the series begin before the end of another?
    is_disordered: bool,
    samples_max: usize,
}

impl SeriesBuilder {
    pub(super) fn new(samples_max: usize) -> Self {
        Self {
            table: SamplesTableBuilder::default(),
            batches: Vec::new(),
            batch_samples: 0,
            label_bytes: 0,
            series_samples: 0,
            table_samples: 0,
            last_ms: i64::MIN,
            is_disordered: false,
            samples_max,
        }
    }

    /// Samples in it, without those of batches that were taken.
    pub(super) fn sample_count(&self) -> usize {
        self.batch_samples + self.table_samples + self.series_samples
    }

    /// From now on it may take so many samples besides those that it holds.
    pub(super) fn allow(&mut self, samples: usize) {
        self.samples_max = self.sample_count().saturating_add(samples);
    }

    /// Fails when it holds more than the limit. A sink cannot fail: whoever uses it asks here after every piece.
    pub(super) fn check_limit(&self) -> Result<(), PushError> {
        let is_over = self.sample_count() > self.samples_max || self.series_samples > SERIES_SAMPLES_MAX;
        if is_over { Err(PushError::TooMany) } else { Ok(()) }
    }

    /// Adds a sample to the series that is being built.
    #[inline]
    pub(super) fn push(&mut self, timestamp_ms: i64, value: f64) -> Result<(), PushError> {
        if timestamp_ms <= self.last_ms && self.series_samples > 0 {
            return Err(PushError::NotAscending);
        }
        if self.sample_count() >= self.samples_max || self.series_samples >= SERIES_SAMPLES_MAX {
            return Err(PushError::TooMany);
        }
        self.table.push_sample(timestamp_ms, value);
        self.last_ms = timestamp_ms;
        self.series_samples += 1;
        Ok(())
    }

    /// Ends the series with its label set. A series without samples leaves no row.
    pub(super) fn end_series(&mut self, labels: &[u8]) {
        if self.series_samples == 0 {
            return;
        }
        if self.is_disordered {
            self.sort_series();
        }
        self.table_samples += std::mem::take(&mut self.series_samples);
        self.table.finish_series(labels);
        self.label_bytes += labels.len();
        if self.table_samples >= BATCH_SAMPLES
            || self.table.row_count() >= BATCH_ROWS
            || self.label_bytes >= BATCH_LABEL_BYTES
        {
            self.cut();
        }
    }

    /// The tables that are complete, in the order in which the series came. The series that is being built is not in them.
    pub(super) fn take_batches(&mut self) -> Vec<RecordBatch> {
        self.batch_samples = 0;
        std::mem::take(&mut self.batches)
    }

    /// The tables that were not taken, in the order in which the series came.
    pub(super) fn finish(mut self) -> Vec<RecordBatch> {
        if self.table.row_count() > 0 {
            self.cut();
        }
        self.batches
    }

    fn cut(&mut self) {
        self.batches.push(self.table.finish());
        self.batch_samples += std::mem::take(&mut self.table_samples);
        self.label_bytes = 0;
    }

    /// Counts a piece from one time to another.
    #[inline]
    fn count_piece(&mut self, first_ms: i64, last_ms: i64, samples: usize) {
        self.is_disordered |= first_ms <= self.last_ms && self.series_samples > 0;
        self.last_ms = if self.series_samples > 0 { self.last_ms.max(last_ms) } else { last_ms };
        self.series_samples += samples;
    }

    /// Puts the samples of pieces that overlap in order. Of several at one time the one of the last piece stays, as in
    /// Prometheus where two chunks overlap (v3.14 storage/merge.go, chainSampleIterator). Which histograms follow each other
    /// is not what the chunks said, so nothing is known of resets between them.
    #[cold]
    fn sort_series(&mut self) {
        self.is_disordered = false;
        let mut samples = self.table.take_unfinished();
        // The last first; and a number before a histogram, as where Prometheus reads such series from SAMPLES.
        samples.reverse();
        samples.sort_by_key(|sample| (sample.timestamp_ms, sample.sample.as_histogram().is_some()));
        samples.dedup_by_key(|sample| sample.timestamp_ms);
        self.series_samples = 0;
        for StartedSample { timestamp_ms, start_time_ms, sample } in samples {
            match sample {
                Sample::Float(value) => {
                    self.table.push_started_sample(timestamp_ms, start_time_ms.unwrap_or(0), value);
                    self.series_samples += 1;
                }
                Sample::Histogram(histogram) => {
                    self.series_samples += histogram_size(&histogram);
                    self.table.push_histogram(timestamp_ms, start_time_ms, without_reset_hint(histogram));
                }
            }
        }
    }
}

fn without_reset_hint(mut histogram: Arc<NativeHistogram>) -> Arc<NativeHistogram> {
    if matches!(histogram.counter_reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
        Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
    histogram
}

impl SampleSink for SeriesBuilder {
    fn floats(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        let (Some(first), Some(last)) = (timestamps_ms.first(), timestamps_ms.last()) else { return };
        self.count_piece(*first, *last, timestamps_ms.len());
        self.table.extend_samples(timestamps_ms, values);
    }

    fn started_floats(&mut self, timestamps_ms: &[i64], start_times_ms: &[i64], values: &[f64]) {
        let (Some(first), Some(last)) = (timestamps_ms.first(), timestamps_ms.last()) else { return };
        self.count_piece(*first, *last, timestamps_ms.len());
        self.table.extend_started_samples(timestamps_ms, start_times_ms, values);
    }

    fn histogram(&mut self, timestamp_ms: i64, start_time_ms: Option<i64>, histogram: Arc<NativeHistogram>) {
        self.count_piece(timestamp_ms, timestamp_ms, histogram_size(&histogram));
        self.table.push_histogram(timestamp_ms, start_time_ms, histogram);
    }

    fn is_full(&self) -> bool {
        self.check_limit().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SamplesTable;

    #[test]
    fn batches_are_cut_between_series() {
        let mut builder = SeriesBuilder::new(usize::MAX);
        for series in 0..5u8 {
            for sample in 0..40_000 {
                builder.push(sample, 1.0).expect("ascending");
            }
            builder.end_series(&[b'a' + series, 0, b'x', 0]);
            builder.end_series(b"a series without samples");
        }
        let batches = builder.finish();
        let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [2, 2, 1]);
        let last = SamplesTable::try_new(&batches[2]).expect("a samples table");
        assert_eq!(last.labels(0).as_bytes(), b"e\0x\0");
        assert_eq!(last.series(0).0.len(), 40_000);
        // Memory is reserved by what a batch holds on to: 16 bytes a sample, and next to nothing else.
        assert!(batches[0].get_array_memory_size() < 80_000 * 17);
    }

    #[test]
    fn times_ascend_within_a_series_only() {
        let mut builder = SeriesBuilder::new(3);
        assert_eq!(builder.push(i64::MIN, 1.0), Ok(()));
        assert_eq!(builder.push(i64::MIN, 1.0), Err(PushError::NotAscending));
        assert_eq!(builder.push(5, 1.0), Ok(()));
        builder.end_series(b"");
        assert_eq!(builder.push(4, 1.0), Ok(()));
        assert_eq!(builder.push(6, 1.0), Err(PushError::TooMany));
        assert_eq!(builder.sample_count(), 3);
    }
}
