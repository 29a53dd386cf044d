//! Chunks of Prometheus' storage: many samples of one series, compressed, as remote read hands them over.
//!
//! | encoding | samples |
//! |---|---|
//! | XOR | floats |
//!
//! Source: the layouts of Prometheus v3.14 tsdb/chunkenc.

mod bit_reader;
mod block;
#[cfg(test)]
mod tests;
mod xor;

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use crate::model::{ChunkEncoding, NativeHistogram, TimestampMs};
use bit_reader::{BitReader, PADDING_BYTES};
use block::FloatBlock;

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
    /// The encoding has no decoder yet.
    #[error("chunks of this encoding are not read yet")]
    NotRead,
    /// A varint is longer than 64 bits.
    #[error("a varint has more than 64 bits")]
    Varint,
    /// Leading zeros and length of a difference are more than a float has.
    #[error("a difference lies outside of its 64 bits")]
    Place,
    /// A time is before that of the sample before.
    #[error("the time is before that of the sample before")]
    NotAscending,
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
        let truncated = ChunkError { sample: 0, problem: ChunkProblem::Truncated };
        self.block.clear();
        match encoding {
            ChunkEncoding::Xor => {
                let (count, body) = chunk.split_first_chunk::<2>().ok_or(truncated)?;
                let reader = reader_of(&mut self.padded, body);
                xor::decode(reader, usize::from(u16::from_be_bytes(*count)), window, &mut self.block, sink)
            }
            _ => Err(ChunkError { sample: 0, problem: ChunkProblem::NotRead }),
        }
    }
}

/// The bytes with padding. A copy costs a fraction of a nanosecond a sample and spares every read the question for the end.
fn reader_of<'a>(padded: &'a mut Vec<u8>, body: &[u8]) -> BitReader<'a> {
    padded.clear();
    padded.reserve(body.len() + PADDING_BYTES);
    padded.extend_from_slice(body);
    padded.extend_from_slice(&[0; PADDING_BYTES]);
    BitReader::new(padded)
}
