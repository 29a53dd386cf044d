//! Chunks of Prometheus' storage: many samples of one series, compressed, as remote read hands them over.
//!
//! | encoding | samples |
//! |---|---|
//! | XOR | floats |
//! | XOR2 | floats, with start timestamps if there are any |
//! | HISTOGRAM, HISTOGRAM_ST | native histograms with integer counts; with start timestamps |
//! | FLOAT_HISTOGRAM, FLOAT_HISTOGRAM_ST | native histograms with float counts; with start timestamps |
//!
//! Source: the layouts of Prometheus v3.14 tsdb/chunkenc.

mod bit_reader;
mod block;
mod float_counts;
mod histogram;
mod integer_counts;
#[cfg(test)]
mod real_chunk_tests;
mod start_times;
#[cfg(test)]
mod tests;
mod varbit;
mod xor;
mod xor2;

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use super::histogram_layout::HistogramLayoutError;
use crate::model::{ChunkEncoding, NativeHistogram, TimestampMs};
use bit_reader::{BitReader, PADDING_BYTES};
use block::FloatBlock;
use float_counts::FloatCounts;
use histogram::HistogramHeader;
use integer_counts::IntegerCounts;
use start_times::StartTimes;

/// The times that are asked for: `start < t ≤ end`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TimeWindow {
    /// Samples are later than this.
    pub start: TimestampMs,
    /// Samples are not later than this.
    pub end: TimestampMs,
}

impl TimeWindow {
    /// Every time but the very first.
    pub const ALL: Self = Self { start: TimestampMs(i64::MIN), end: TimestampMs(i64::MAX) };

    /// Is a time (ms) in it?
    pub fn contains(&self, time_ms: i64) -> bool {
        self.start.0 < time_ms && time_ms <= self.end.0
    }

    /// Which of ascending times are in it.
    fn of(&self, times: &[i64]) -> Range<usize> {
        if let [first, .., last] = times
            && self.contains(*first)
            && self.contains(*last)
        {
            return 0..times.len();
        }
        let from = times.partition_point(|time| *time <= self.start.0);
        from..times.partition_point(|time| *time <= self.end.0).max(from)
    }
}

/// Takes what is in a chunk. Times of one chunk ascend strictly, and all are in the window.
pub trait SampleSink {
    /// Floats; slices of equal length, not empty.
    fn floats(&mut self, timestamps_ms: &[i64], values: &[f64]);

    /// Floats with their start timestamps (ms, 0 = unknown); slices of equal length, not empty.
    fn started_floats(&mut self, timestamps_ms: &[i64], start_times_ms: &[i64], values: &[f64]);

    /// A histogram, with its start timestamp where it is known.
    fn histogram(&mut self, timestamp_ms: i64, start_time_ms: Option<i64>, histogram: Arc<NativeHistogram>);

    /// Should decoding stop, because there are too many samples? It is asked behind every histogram; a chunk of floats is small.
    fn is_full(&self) -> bool {
        false
    }
}

/// Why a chunk could not be decoded.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{problem} (sample {sample})")]
pub struct ChunkError {
    /// The sample, counted from 0, that could not be read.
    pub sample: usize,
    /// What is wrong with it.
    pub problem: ChunkProblem,
}

impl ChunkError {
    /// The same problem, where `samples` more are before it.
    fn after(self, samples: usize) -> Self {
        Self { sample: self.sample + samples, ..self }
    }
}

/// What is wrong with a sample.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ChunkProblem {
    /// The bytes end before the samples that the header announces.
    #[error("the chunk ends too early")]
    Truncated,
    /// A varint is longer than 64 bits.
    #[error("a varint has more than 64 bits")]
    Varint,
    /// Leading zeros and length of a difference are more than a float has.
    #[error("a difference lies outside of its 64 bits")]
    Place,
    /// A time is before that of the sample before.
    #[error("the time is before that of the sample before")]
    NotAscending,
    /// The buckets of a histogram cannot lie as they are said to.
    #[error(transparent)]
    Layout(#[from] HistogramLayoutError),
    /// The sink wants no more.
    #[error("too many samples")]
    TooManySamples,
}

/// Decodes chunks; it keeps its buffers between them.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    padded: Vec<u8>,
    block: Box<FloatBlock>,
}

impl ChunkDecoder {
    /// Hands the samples of a chunk that are in the window to `sink`. A chunk of no samples is no error, and neither are
    /// bytes behind the last sample. When it fails, the sink may have got samples from before the damage.
    ///
    /// Memory is bounded by the chunk's bytes: at most 65 535 floats, and no more buckets than there are bits.
    pub fn decode(
        &mut self,
        encoding: ChunkEncoding,
        chunk: &[u8],
        window: TimeWindow,
        sink: &mut dyn SampleSink,
    ) -> Result<(), ChunkError> {
        self.block.clear();
        match encoding {
            ChunkEncoding::Xor => {
                let (header, body) = split_header::<2>(chunk)?;
                let reader = reader_of(&mut self.padded, body);
                xor::decode(reader, usize::from(u16::from_be_bytes(header)), window, &mut self.block, sink)
            }
            ChunkEncoding::Xor2 => {
                let ([high, low, starts], body) = split_header::<3>(chunk)?;
                let reader = reader_of(&mut self.padded, body);
                let sample_count = usize::from(u16::from_be_bytes([high, low]));
                xor2::decode(reader, sample_count, StartTimes::new(starts), window, &mut self.block, sink)
            }
            ChunkEncoding::Histogram | ChunkEncoding::FloatHistogram => {
                let (header, body) = split_header::<3>(chunk)?;
                self.decode_histograms(encoding, HistogramHeader::plain(header), body, window, sink)
            }
            ChunkEncoding::HistogramSt | ChunkEncoding::FloatHistogramSt => {
                let (header, body) = split_header::<3>(chunk)?;
                self.decode_histograms(encoding, HistogramHeader::with_starts(header), body, window, sink)
            }
        }
    }

    fn decode_histograms(
        &mut self,
        encoding: ChunkEncoding,
        header: HistogramHeader,
        body: &[u8],
        window: TimeWindow,
        sink: &mut dyn SampleSink,
    ) -> Result<(), ChunkError> {
        let reader = reader_of(&mut self.padded, body);
        match encoding {
            ChunkEncoding::FloatHistogram | ChunkEncoding::FloatHistogramSt => {
                histogram::decode::<FloatCounts>(reader, header, window, sink)
            }
            _ => histogram::decode::<IntegerCounts>(reader, header, window, sink),
        }
    }
}

fn split_header<const N: usize>(chunk: &[u8]) -> Result<([u8; N], &[u8]), ChunkError> {
    let truncated = ChunkError { sample: 0, problem: ChunkProblem::Truncated };
    chunk.split_first_chunk::<N>().map(|(header, body)| (*header, body)).ok_or(truncated)
}

/// The bytes with padding. A copy costs a fraction of a nanosecond a sample and spares every read the question for the end.
fn reader_of<'a>(padded: &'a mut Vec<u8>, body: &[u8]) -> BitReader<'a> {
    padded.clear();
    padded.reserve(body.len() + PADDING_BYTES);
    padded.extend_from_slice(body);
    padded.extend_from_slice(&[0; PADDING_BYTES]);
    BitReader::new(padded)
}
