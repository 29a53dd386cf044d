//! A samples table: typed view and builder.

use std::sync::Arc;

use arrow::array::{Array, ArrayBuilder, BinaryArray, BinaryBuilder, StructArray};
use arrow::record_batch::RecordBatch;

use super::LabelsRef;
use super::native_histogram::{HistogramList, HistogramListBuilder, NativeHistogram, Sample, TimedHistogram};
use super::series_schema::{
    COLUMN_SAMPLES, SamplesColumn, column, labels_column, samples_column, samples_schema, start_times_list,
};
use crate::error::Error;

/// A typed view of a samples table.
#[derive(Clone, Copy, Debug)]
pub struct SamplesTable<'a> {
    labels: &'a BinaryArray,
    samples: SamplesColumn<'a>,
}

impl<'a> SamplesTable<'a> {
    /// Fails on a batch of another shape.
    pub fn try_new(batch: &'a RecordBatch) -> Result<Self, Error> {
        let samples = SamplesColumn::try_new(column::<StructArray>(batch, COLUMN_SAMPLES)?)?;
        Ok(Self { labels: labels_column(batch)?, samples })
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// The label set of a series.
    pub fn labels(&self, row: usize) -> LabelsRef<'a> {
        LabelsRef::new(self.labels.value(row))
    }

    /// Times (ms, ascending) and values of a series' floats, of equal length.
    pub fn series(&self, row: usize) -> (&'a [i64], &'a [f64]) {
        self.samples.floats(row)
    }

    /// Start timestamps of a series' floats (ms, 0 = unknown), as many as floats; `None` where none is known.
    pub fn start_times(&self, row: usize) -> Option<&'a [i64]> {
        self.samples.start_times(row)
    }

    /// The histograms of the series, by time.
    pub fn histograms(&self) -> HistogramList<'a> {
        self.samples.histograms()
    }
}

/// A sample of a series, with what a table knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StartedSample {
    /// When it was taken (ms).
    pub timestamp_ms: i64,
    /// Its start timestamp (ms), where it is known.
    pub start_time_ms: Option<i64>,
    /// The number or the histogram.
    pub sample: Sample,
}

/// Builds a samples table series by series.
#[derive(Debug, Default)]
pub struct SamplesTableBuilder {
    labels: BinaryBuilder,
    row_ends: Vec<usize>,
    timestamps: Vec<i64>,
    floats: Vec<f64>,
    start_row_ends: Vec<usize>,
    start_times: Vec<i64>,
    histograms: HistogramListBuilder,
}

impl SamplesTableBuilder {
    /// Adds one float to the series that is being built.
    #[inline]
    pub fn push_sample(&mut self, timestamp_ms: i64, value: f64) {
        self.timestamps.push(timestamp_ms);
        self.floats.push(value);
    }

    /// Adds one float and its start timestamp (ms, 0 = unknown).
    pub fn push_started_sample(&mut self, timestamp_ms: i64, start_time_ms: i64, value: f64) {
        let row_start = self.row_ends.last().copied().unwrap_or(0);
        let known_from = self.start_row_ends.last().copied().unwrap_or(0);
        if start_time_ms != 0 || self.start_times.len() > known_from {
            // The floats before it, which came without.
            self.start_times.resize(known_from + self.floats.len() - row_start, 0);
            self.start_times.push(start_time_ms);
        }
        self.push_sample(timestamp_ms, value);
    }

    /// Adds many floats to the series that is being built; slices of equal length.
    pub fn extend_samples(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        debug_assert_eq!(timestamps_ms.len(), values.len());
        self.timestamps.extend_from_slice(timestamps_ms);
        self.floats.extend_from_slice(values);
    }

    /// Adds many floats with their start timestamps (ms, 0 = unknown); slices of equal length.
    pub fn extend_started_samples(&mut self, timestamps_ms: &[i64], start_times_ms: &[i64], values: &[f64]) {
        debug_assert_eq!(timestamps_ms.len(), start_times_ms.len());
        let row_start = self.row_ends.last().copied().unwrap_or(0);
        let known_from = self.start_row_ends.last().copied().unwrap_or(0);
        if self.start_times.len() > known_from || start_times_ms.iter().any(|start| *start != 0) {
            // The floats before them, which came without.
            self.start_times.resize(known_from + self.floats.len() - row_start, 0);
            self.start_times.extend_from_slice(start_times_ms);
        }
        self.extend_samples(timestamps_ms, values);
    }

    /// Takes all samples of the series that is being built out again, floats first: for whoever must put them in order.
    pub fn take_unfinished(&mut self) -> Vec<StartedSample> {
        let row_start = self.row_ends.last().copied().unwrap_or(0);
        let known_from = self.start_row_ends.last().copied().unwrap_or(0);
        let starts = self.start_times.split_off(known_from).into_iter().chain(std::iter::repeat(0));
        let floats = self.timestamps.split_off(row_start).into_iter().zip(self.floats.split_off(row_start));
        let floats = floats.zip(starts).map(|((timestamp_ms, value), start)| StartedSample {
            timestamp_ms,
            start_time_ms: (start != 0).then_some(start),
            sample: Sample::Float(value),
        });
        let histograms = self.histograms.take_unfinished().into_iter().map(|item| StartedSample {
            timestamp_ms: item.at,
            start_time_ms: item.start_time,
            sample: Sample::Histogram(item.histogram),
        });
        floats.chain(histograms).collect()
    }

    /// Adds all samples of a row of another table to the series that is being built.
    pub fn extend_row(&mut self, table: &SamplesTable<'_>, row: usize) -> Result<(), Error> {
        let (times, values) = table.series(row);
        match table.start_times(row) {
            None => self.extend_samples(times, values),
            Some(starts) => {
                for ((time, start), value) in times.iter().zip(starts).zip(values) {
                    self.push_started_sample(*time, *start, *value);
                }
            }
        }
        if table.histograms().row_len(row) > 0 {
            table.histograms().row(row)?.into_iter().for_each(|item| self.histograms.push(item));
        }
        Ok(())
    }

    /// Adds one histogram to the series that is being built; their times ascend.
    pub fn push_histogram(&mut self, timestamp_ms: i64, start_time_ms: Option<i64>, histogram: Arc<NativeHistogram>) {
        self.histograms.push(TimedHistogram { at: timestamp_ms, start_time: start_time_ms, histogram });
    }

    /// Ends the series with its label set (canonical bytes).
    pub fn finish_series(&mut self, labels: &[u8]) {
        let row_start = self.row_ends.last().copied().unwrap_or(0);
        let known_from = self.start_row_ends.last().copied().unwrap_or(0);
        if self.start_times.len() > known_from {
            self.start_times.resize(known_from + self.floats.len() - row_start, 0);
        }
        self.labels.append_value(labels);
        self.row_ends.push(self.floats.len());
        self.start_row_ends.push(self.start_times.len());
        self.histograms.finish_row();
    }

    /// How many finished series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// How many samples, floats and histograms, with those of the unfinished series.
    pub fn sample_count(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// The finished table; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        // A grown vector may be twice as large as what is in it, and the batch would keep and be charged for all of it.
        self.timestamps.shrink_to_fit();
        self.floats.shrink_to_fit();
        let start_times =
            start_times_list(&std::mem::take(&mut self.start_row_ends), std::mem::take(&mut self.start_times));
        let samples = samples_column(
            &std::mem::take(&mut self.row_ends),
            std::mem::take(&mut self.timestamps),
            std::mem::take(&mut self.floats),
            start_times,
            self.histograms.finish(),
        );
        RecordBatch::try_new(samples_schema(), vec![Arc::new(self.labels.finish()), Arc::new(samples)])
            .expect("columns are of equal length by construction")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_are_kept_for_the_series_that_have_one_and_cost_the_others_nothing() {
        let mut builder = SamplesTableBuilder::default();
        builder.push_sample(1, 1.0);
        builder.finish_series(b"");
        builder.push_sample(1, 1.0);
        builder.push_started_sample(2, 0, 2.0);
        builder.push_started_sample(3, -7, 3.0);
        builder.push_sample(4, 4.0);
        builder.finish_series(b"");
        builder.push_histogram(5, Some(4), Arc::default());
        builder.finish_series(b"");
        builder.push_started_sample(1, 9, 1.0);
        builder.finish_series(b"");
        assert_eq!(builder.sample_count(), 7);
        let batch = builder.finish();
        let table = SamplesTable::try_new(&batch).expect("a samples table");
        let starts: Vec<_> = (0..4).map(|row| table.start_times(row)).collect();
        assert_eq!(starts, [None, Some(&[0, 0, -7, 0][..]), None, Some(&[9][..])]);
        assert_eq!(table.series(1), (&[1, 2, 3, 4][..], &[1.0, 2.0, 3.0, 4.0][..]));
        let histograms = table.histograms().row(2).expect("readable");
        assert_eq!((histograms[0].at, histograms[0].start_time), (5, Some(4)));
    }
    #[test]
    fn started_samples_in_bulk_are_as_one_by_one() {
        for starts in [[0, 0, 0], [0, 7, 0], [-1, 2, 3]] {
            for is_started_before in [false, true] {
                let (mut bulk, mut single) = (SamplesTableBuilder::default(), SamplesTableBuilder::default());
                for builder in [&mut bulk, &mut single] {
                    builder.push_started_sample(0, 5, 0.0);
                    builder.finish_series(b"");
                    builder.push_started_sample(0, i64::from(is_started_before), 0.5);
                }
                bulk.extend_started_samples(&[1, 2, 3], &starts, &[1.0, 2.0, 3.0]);
                for (at, start) in starts.iter().enumerate() {
                    single.push_started_sample(at as i64 + 1, *start, at as f64 + 1.0);
                }
                bulk.finish_series(b"");
                single.finish_series(b"");
                assert_eq!(bulk.finish(), single.finish());
            }
        }
    }

    #[test]
    fn the_unfinished_series_can_be_taken_out_and_the_finished_ones_stay() {
        let mut builder = SamplesTableBuilder::default();
        builder.push_started_sample(1, 9, 1.0);
        builder.push_histogram(2, None, Arc::default());
        builder.finish_series(b"");
        builder.push_started_sample(3, 4, 2.0);
        builder.push_sample(5, 3.0);
        builder.push_histogram(4, Some(1), Arc::default());
        let float = |timestamp_ms, start_time_ms, value| StartedSample {
            timestamp_ms,
            start_time_ms,
            sample: Sample::Float(value),
        };
        let histogram =
            StartedSample { timestamp_ms: 4, start_time_ms: Some(1), sample: Sample::Histogram(Arc::default()) };
        assert_eq!(builder.take_unfinished(), [float(3, Some(4), 2.0), float(5, None, 3.0), histogram]);
        assert_eq!(builder.take_unfinished(), []);
        assert_eq!(builder.sample_count(), 2);
        builder.push_sample(6, 6.0);
        builder.finish_series(b"");
        let batch = builder.finish();
        let table = SamplesTable::try_new(&batch).expect("a samples table");
        assert_eq!((table.series(0), table.start_times(0)), ((&[1][..], &[1.0][..]), Some(&[9][..])));
        assert_eq!((table.series(1), table.start_times(1)), ((&[6][..], &[6.0][..]), None));
        assert_eq!((table.histograms().row_len(0), table.histograms().row_len(1)), (1, 0));
    }
}
