//! Decides which samples of a series go into one chunk.

use super::histogram::{Appending, HistogramEncoder, ResetFlags, has_whole_counts};
use super::xor::XorEncoder;
use super::xor2::Xor2Encoder;
use super::{CHUNK_SAMPLES_MAX, ChunkOptions, EncodedChunk, StartTimeChunks};
use crate::model::{ChunkEncoding, CounterResetHint, NativeHistogram};

#[derive(Debug)]
enum Encoder {
    Xor(XorEncoder),
    Xor2(Xor2Encoder),
    Histogram(Box<HistogramEncoder>),
}

/// A chunk that grows.
#[derive(Debug)]
struct OpenChunk {
    encoder: Encoder,
    min_time_ms: i64,
    max_time_ms: i64,
    samples: usize,
}

impl OpenChunk {
    fn finish(self) -> EncodedChunk {
        let (encoding, data) = match self.encoder {
            Encoder::Xor(encoder) => (ChunkEncoding::Xor, encoder.finish()),
            Encoder::Xor2(encoder) => (ChunkEncoding::Xor2, encoder.finish()),
            Encoder::Histogram(encoder) => (encoder.encoding(), encoder.finish()),
        };
        EncodedChunk { encoding, min_time_ms: self.min_time_ms, max_time_ms: self.max_time_ms, data }
    }
}

/// Encodes the samples of one series, in the order of their times.
#[derive(Debug)]
pub(super) struct RowEncoder {
    samples_max: usize,
    has_starts: bool,
    options: ChunkOptions,
    open: Option<OpenChunk>,
    chunks: Vec<EncodedChunk>,
}

impl RowEncoder {
    /// `has_starts`: does the series know any start timestamp?
    pub(super) fn new(options: ChunkOptions, has_starts: bool) -> Self {
        let has_starts = match options.start_times {
            StartTimeChunks::WhereKnown => has_starts,
            StartTimeChunks::Always => true,
            StartTimeChunks::Never => false,
        };
        let samples_max = options.samples_max.clamp(1, CHUNK_SAMPLES_MAX);
        Self { samples_max, has_starts, options, open: None, chunks: Vec::new() }
    }

    /// Appends a number; `start` is 0 where it is not known.
    pub(super) fn push_float(&mut self, time: i64, start: i64, value: f64) {
        let has_room = self.open.as_ref().is_some_and(|open| {
            open.samples < self.samples_max && matches!(open.encoder, Encoder::Xor(_) | Encoder::Xor2(_))
        });
        if !has_room {
            let encoder =
                if self.has_starts { Encoder::Xor2(Xor2Encoder::new()) } else { Encoder::Xor(XorEncoder::new()) };
            self.begin(encoder, time, 0);
        }
        let Some(open) = &mut self.open else { return };
        match &mut open.encoder {
            Encoder::Xor(encoder) => encoder.push(time, value),
            Encoder::Xor2(encoder) => encoder.push(time, start, value),
            Encoder::Histogram(_) => return,
        }
        open.max_time_ms = time;
        open.samples += 1;
    }

    /// Appends a histogram; `start` is 0 where it is not known.
    pub(super) fn push_histogram(&mut self, time: i64, start: i64, histogram: &NativeHistogram) {
        let is_integer = self.options.whole_counts_as_integers && has_whole_counts(histogram);
        let encoding = match (is_integer, self.has_starts) {
            (true, false) => ChunkEncoding::Histogram,
            (false, false) => ChunkEncoding::FloatHistogram,
            (true, true) => ChunkEncoding::HistogramSt,
            (false, true) => ChunkEncoding::FloatHistogramSt,
        };
        let mut flags = match histogram.counter_reset_hint {
            CounterResetHint::Gauge => ResetFlags::Gauge,
            CounterResetHint::Reset => ResetFlags::Reset,
            CounterResetHint::Unknown | CounterResetHint::NotReset => ResetFlags::Unknown,
        };
        if let Some(open) = &mut self.open
            && let Encoder::Histogram(encoder) = &mut open.encoder
        {
            // A stale marker has no counts, so it goes with those that are there.
            let is_same = encoder.encoding() == encoding || histogram.is_stale_marker();
            match encoder.appending(histogram) {
                Appending::Fits if is_same && open.samples < self.samples_max => {
                    encoder.push(time, start, histogram);
                    open.max_time_ms = time;
                    open.samples += 1;
                    return;
                }
                Appending::Fits if flags == ResetFlags::Unknown => flags = ResetFlags::NotReset,
                Appending::Fits => {}
                Appending::NewChunk(found) => flags = found,
            }
        }
        let encoder = HistogramEncoder::new(encoding, flags, time, start, histogram);
        self.begin(Encoder::Histogram(Box::new(encoder)), time, 1);
    }

    pub(super) fn finish(mut self) -> Vec<EncodedChunk> {
        self.chunks.extend(self.open.take().map(OpenChunk::finish));
        self.chunks
    }

    fn begin(&mut self, encoder: Encoder, time: i64, samples: usize) {
        let open = OpenChunk { encoder, min_time_ms: time, max_time_ms: time, samples };
        self.chunks.extend(self.open.replace(open).map(OpenChunk::finish));
    }
}
