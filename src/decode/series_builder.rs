//! Appends series to samples tables and cuts the tables to size.

use arrow::record_batch::RecordBatch;

use crate::model::SamplesTableBuilder;

/// A batch is closed at the first end of a series behind any of these. Large enough that per-batch costs vanish, small
/// enough that a batch is a bounded piece of memory: 1 MiB of samples.
const BATCH_SAMPLES: usize = 64 * 1024;
const BATCH_ROWS: usize = 8 * 1024;
const BATCH_LABEL_BYTES: usize = 4 * 1024 * 1024;
/// Offsets of a table are 32 bits wide: a series must leave room for what is before it.
const SERIES_SAMPLES_MAX: usize = 1 << 30;

/// Why a sample cannot be taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum PushError {
    /// Not later than the sample before it.
    NotAscending,
    /// Over a limit.
    TooMany,
}

/// Builds samples tables from series that come one after the other.
#[derive(Debug)]
pub(super) struct SeriesBuilder {
    table: SamplesTableBuilder,
    batches: Vec<RecordBatch>,
    /// Label bytes in `table`.
    label_bytes: usize,
    /// Samples in the series that is being built.
    series_samples: usize,
    last_ms: i64,
    samples_total: usize,
    samples_max: usize,
}

impl SeriesBuilder {
    pub(super) fn new(samples_max: usize) -> Self {
        Self {
            table: SamplesTableBuilder::default(),
            batches: Vec::new(),
            label_bytes: 0,
            series_samples: 0,
            last_ms: i64::MIN,
            samples_total: 0,
            samples_max,
        }
    }

    /// Samples taken so far.
    pub(super) fn sample_count(&self) -> usize {
        self.samples_total
    }

    /// Adds a sample to the series that is being built.
    #[inline]
    pub(super) fn push(&mut self, timestamp_ms: i64, value: f64) -> Result<(), PushError> {
        if timestamp_ms <= self.last_ms && self.series_samples > 0 {
            return Err(PushError::NotAscending);
        }
        if self.samples_total >= self.samples_max || self.series_samples >= SERIES_SAMPLES_MAX {
            return Err(PushError::TooMany);
        }
        self.table.push_sample(timestamp_ms, value);
        self.last_ms = timestamp_ms;
        self.series_samples += 1;
        self.samples_total += 1;
        Ok(())
    }

    /// Ends the series with its label set. A series without samples leaves no row.
    pub(super) fn end_series(&mut self, labels: &[u8]) {
        if self.series_samples == 0 {
            return;
        }
        self.series_samples = 0;
        self.table.finish_series(labels);
        self.label_bytes += labels.len();
        if self.table.sample_count() >= BATCH_SAMPLES
            || self.table.row_count() >= BATCH_ROWS
            || self.label_bytes >= BATCH_LABEL_BYTES
        {
            self.cut();
        }
    }

    /// The tables, in the order in which the series came.
    pub(super) fn finish(mut self) -> Vec<RecordBatch> {
        if self.table.row_count() > 0 {
            self.cut();
        }
        self.batches
    }

    fn cut(&mut self) {
        self.batches.push(self.table.finish());
        self.label_bytes = 0;
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
