//! The answer to a remote read that asks for samples (`SAMPLES`): one snappy block with one `ReadResponse`.
//!
//! Source: Prometheus v3.14 prompb/remote.proto and types.proto, storage/remote/codec.go (`ToQueryResult`).

use super::protobuf::{
    write_bytes, write_double_field, write_packed_doubles, write_present_double_field, write_signed_field,
    write_uvarint, write_varint_field,
};
use crate::error::{Error, ErrorKind};
use crate::model::{Buckets, LabelsRef, SamplesTable, TimedHistogram};

/// A snappy block says its length in 32 bits.
const MESSAGE_BYTES_MAX: usize = u32::MAX as usize;

/// Collects an answer: the series of the first query, then those of the next one.
///
/// Native histograms have float counts: a histogram of whole numbers is the same histogram.
#[derive(Debug, Default)]
pub struct ReadResponseEncoder {
    message: Vec<u8>,
    /// Where the result of the query begins.
    result_start: usize,
    /// The series that is being written.
    series: Vec<u8>,
    /// A part of it.
    part: Vec<u8>,
}

impl ReadResponseEncoder {
    /// Adds a row of a table to the result of the query, under `labels`.
    ///
    /// # Errors
    /// The answer would be larger than a snappy block can be.
    pub fn push_series(&mut self, labels: LabelsRef<'_>, table: &SamplesTable<'_>, row: usize) -> Result<(), Error> {
        self.begin_series(labels);
        let (times, values) = table.series(row);
        for (time, value) in times.iter().zip(values) {
            self.part.clear();
            write_double_field(1, *value, &mut self.part);
            write_varint_field(2, *time as u64, &mut self.part);
            write_bytes(2, &self.part, &mut self.series);
        }
        if table.histograms().row_len(row) > 0 {
            for histogram in table.histograms().row(row)? {
                self.part.clear();
                write_histogram(&histogram, &mut self.part);
                write_bytes(4, &self.part, &mut self.series);
            }
        }
        self.end_series()
    }

    /// Adds a series without samples.
    ///
    /// # Errors
    /// As [`ReadResponseEncoder::push_series`].
    pub fn push_labels(&mut self, labels: LabelsRef<'_>) -> Result<(), Error> {
        self.begin_series(labels);
        self.end_series()
    }

    /// The query has no more series.
    pub fn finish_query(&mut self) {
        let mut head = Vec::with_capacity(11);
        write_uvarint(1 << 3 | 2, &mut head);
        write_uvarint((self.message.len() - self.result_start) as u64, &mut head);
        self.message.splice(self.result_start..self.result_start, head);
        self.result_start = self.message.len();
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.message.capacity() + self.series.capacity() + self.part.capacity()
    }

    /// Bytes of memory that [`ReadResponseEncoder::finish`] takes besides.
    pub fn finish_bytes(&self) -> usize {
        snap::raw::max_compress_len(self.message.len())
    }

    /// The body.
    ///
    /// # Errors
    /// The answer is larger than a snappy block can be.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        snap::raw::Encoder::new().compress_vec(&self.message).map_err(|_| too_large())
    }

    fn begin_series(&mut self, labels: LabelsRef<'_>) {
        self.series.clear();
        for (name, value) in labels.iter() {
            self.part.clear();
            write_bytes(1, name.as_bytes(), &mut self.part);
            write_bytes(2, value.as_bytes(), &mut self.part);
            write_bytes(1, &self.part, &mut self.series);
        }
    }

    fn end_series(&mut self) -> Result<(), Error> {
        write_bytes(1, &self.series, &mut self.message);
        if self.message.len() > MESSAGE_BYTES_MAX { Err(too_large()) } else { Ok(()) }
    }
}

fn too_large() -> Error {
    let text =
        "the answer is larger than 4 GiB, which one message cannot hold: ask for STREAMED_XOR_CHUNKS, or for less";
    Error::new(ErrorKind::TooManySamples, text)
}

fn write_histogram(item: &TimedHistogram, out: &mut Vec<u8>) {
    let histogram = &item.histogram;
    // Present even when they are zero: by them a histogram of floats is known.
    write_present_double_field(2, histogram.count, out);
    write_double_field(3, histogram.sum, out);
    write_signed_field(4, i64::from(histogram.schema), out);
    write_double_field(5, histogram.zero_threshold, out);
    write_present_double_field(7, histogram.zero_count, out);
    write_spans(8, &histogram.negative, out);
    write_packed_doubles(10, &histogram.negative.counts, out);
    write_spans(11, &histogram.positive, out);
    write_packed_doubles(13, &histogram.positive.counts, out);
    write_varint_field(14, histogram.counter_reset_hint as u64, out);
    write_varint_field(15, item.at as u64, out);
    write_packed_doubles(16, &histogram.custom_bounds, out);
}

fn write_spans(field: u64, buckets: &Buckets, out: &mut Vec<u8>) {
    for span in &buckets.spans {
        let mut message = Vec::with_capacity(12);
        write_signed_field(1, i64::from(span.offset), &mut message);
        write_varint_field(2, u64::from(span.length), &mut message);
        write_bytes(field, &message, out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::{EverySeries, ReadSamplesLimits, TimeWindow, decode_read_samples};
    use crate::model::{BucketSpan, CounterResetHint, Labels, NativeHistogram, SamplesTableBuilder, stale_marker};
    use crate::testing::diff_tables;

    fn table() -> arrow::record_batch::RecordBatch {
        let counts = |counts: &[f64], offset| Buckets {
            spans: vec![BucketSpan { offset, length: 1 }, BucketSpan { offset: 3, length: counts.len() as u32 - 1 }],
            counts: counts.to_vec(),
        };
        let exponential = NativeHistogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: -2,
            zero_threshold: 0.001,
            zero_count: 0.5,
            count: 8.5,
            sum: -3.25,
            positive: counts(&[1.0, 2.0], -7),
            negative: counts(&[3.0, 2.0], 2),
            ..NativeHistogram::default()
        };
        let custom = NativeHistogram {
            schema: -53,
            count: 3.0,
            sum: 4.0,
            positive: Buckets { spans: vec![BucketSpan { offset: 0, length: 2 }], counts: vec![1.0, 2.0] },
            custom_bounds: [0.5, 1.0].into(),
            ..NativeHistogram::default()
        };
        let stale = NativeHistogram { sum: stale_marker(), ..NativeHistogram::default() };
        let mut builder = SamplesTableBuilder::default();
        for (time, value) in
            [(-5, 1.5), (0, 0.0), (1, -0.0), (2, f64::NAN), (3, stale_marker()), (i64::MAX, f64::INFINITY)]
        {
            builder.push_sample(time, value);
        }
        builder.finish_series(Labels::from_pairs([("__name__", "up"), ("ü", "ä\"\\")]).encode().as_bytes());
        builder.push_sample(1, 7.0);
        for (at, histogram) in [(2, exponential), (3, custom), (4, stale)] {
            builder.push_histogram(at, None, Arc::new(histogram));
        }
        builder.finish_series(Labels::from_pairs([("__name__", "wide")]).encode().as_bytes());
        builder.finish()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let batch = table();
        let table = SamplesTable::try_new(&batch).expect("a samples table");
        let mut encoder = ReadResponseEncoder::default();
        for row in 0..table.row_count() {
            encoder.push_series(table.labels(row), &table, row).expect("small");
        }
        encoder.finish_query();
        assert!(encoder.memory_bytes() > 100 && encoder.finish_bytes() > 100);
        let body = encoder.finish().expect("small");
        let limits = ReadSamplesLimits::default();
        let tables =
            decode_read_samples(&body, TimeWindow::ALL, &mut EverySeries::default(), limits).expect("an answer");
        assert_eq!(diff_tables(std::slice::from_ref(&batch), &tables), Ok(None));
    }

    #[test]
    fn each_query_has_its_result() {
        let batch = table();
        let view = SamplesTable::try_new(&batch).expect("a samples table");
        let labels = Labels::from_pairs([("a", "b")]).encode();
        let mut encoder = ReadResponseEncoder::default();
        encoder.finish_query();
        encoder.push_labels(labels.as_ref()).expect("small");
        encoder.finish_query();
        // A result that is longer than its length takes bytes.
        (0..10).for_each(|_| encoder.push_series(view.labels(0), &view, 0).expect("small"));
        encoder.finish_query();
        let message = snap::raw::Decoder::new().decompress_vec(&encoder.finish().expect("small")).expect("snappy");
        let second = [&[0x0a, 10, 0x0a, 8, 0x0a, 6, 0x0a, 1][..], b"a", &[0x12, 1], b"b"].concat();
        assert!(message.starts_with(&[&[0x0a, 0][..], &second].concat()), "{message:?}");
        let third = &message[2 + second.len()..];
        let length = usize::from(third[1] & 0x7f) | usize::from(third[2]) << 7;
        assert_eq!((third[0], length), (0x0a, third.len() - 3));
        let body = ReadResponseEncoder::default().finish().expect("small");
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&body).expect("snappy"), b"");
    }
}
