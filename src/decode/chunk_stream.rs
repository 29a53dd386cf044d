//! The body of a streamed remote read (`STREAMED_XOR_CHUNKS`), as it arrives.
//!
//! The body is a row of frames; each is a uvarint with the length of its message, four bytes with the message's CRC-32C (big
//! endian), and the message, a `ChunkedReadResponse`. A frame holds chunks of one series; a series may go on in the next frame.
//! Series come in the order of the labels that the server stores.
//!
//! Source: Prometheus v3.14 storage/remote/chunked.go and codec.go, prompb/remote.proto and types.proto.

mod frames;
pub(super) mod message;
#[cfg(test)]
mod tests;
mod text;

use arrow::record_batch::RecordBatch;

use super::DecodeError;
use super::chunk::{ChunkDecoder, ChunkProblem, TimeWindow};
use super::series_builder::SeriesBuilder;
use crate::model::{EncodedLabelsBuilder, LabelPairsError};
use frames::Frames;
use message::{SentChunk, read_response, read_series};

/// What a streamed answer may cost. Everything that the decoder keeps is bounded by these.
#[derive(Copy, Clone, Debug)]
pub struct ChunkStreamLimits {
    /// Bytes of one frame. Default 64 MiB; a Prometheus sends about one.
    pub frame_bytes_max: usize,
    /// Names and values of one label set. Default 1 MiB.
    pub label_set_bytes_max: usize,
    /// Samples that were decoded and not taken yet; a histogram counts for several, as in Prometheus. Default 50 million, as
    /// `--query.max-samples`; the query's own budget is the caller's to count, from what [`ChunkStreamDecoder::feed`] returns.
    pub samples_max: usize,
}

impl Default for ChunkStreamLimits {
    fn default() -> Self {
        Self { frame_bytes_max: 64 << 20, label_set_bytes_max: 1 << 20, samples_max: 50_000_000 }
    }
}

/// Decides which series are decoded, and under which labels they go into the table. It is asked once a series, before any of
/// its chunks is decoded.
pub trait SeriesFilter {
    /// `labels` are as the server sent them: in its order, with whatever names. Writes the canonical bytes of the row's labels
    /// to `out`, which is empty, and says whether the series is wanted; chunks of one that is not are skipped. Neighbours with
    /// equal bytes become one row. An error ends the stream.
    fn accept(&mut self, labels: &[(&str, &str)], out: &mut Vec<u8>) -> Result<bool, DecodeError>;
}

/// Takes every series under the labels that it came with.
#[derive(Debug, Default)]
pub struct EverySeries(EncodedLabelsBuilder);

impl SeriesFilter for EverySeries {
    fn accept(&mut self, labels: &[(&str, &str)], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        self.0.clear();
        labels.iter().for_each(|(name, value)| self.0.push(name, value));
        let bytes = self.0.finish().map_err(|error: LabelPairsError| {
            DecodeError::Incomplete(format!("a label set of the answer is none: {error}"))
        })?;
        out.extend_from_slice(bytes);
        Ok(true)
    }
}

/// Decodes a streamed answer piece by piece; a piece may end anywhere. It does no I/O and computes all the time: run it where
/// that is allowed.
///
/// ```text
/// while let Some(bytes) = body.next() {
///     let samples = decoder.feed(&bytes)?;        // count them
///     for batch in decoder.take_batches() { … }   // samples tables, as soon as they are full
/// }
/// for batch in decoder.finish()? { … }            // the rest; fails unless the last frame was complete
/// ```
///
/// * Samples outside of the window are dropped while they are decoded, and a series without any other leaves no row.
/// * The samples of a row ascend: chunks that overlap or come in the wrong order are sorted; of equal times the sample of the
///   later chunk stays.
/// * The order of the rows is that of the stream, and is not checked here. A row is never split, however long it is.
/// * Nothing is trusted: a damaged frame, message, label set or chunk is an error that says where. Text behind the last frame is
///   how a server tells of an error in mid-stream, and becomes the error. After an error the decoder only repeats it.
#[derive(Debug)]
pub struct ChunkStreamDecoder<F> {
    frames: Frames,
    rows: Rows<F>,
    failure: Option<DecodeError>,
}

impl<F: SeriesFilter> ChunkStreamDecoder<F> {
    /// A decoder for the answer to one query.
    pub fn new(window: TimeWindow, filter: F, limits: ChunkStreamLimits) -> Self {
        Self { frames: Frames::new(limits.frame_bytes_max), rows: Rows::new(window, filter, limits), failure: None }
    }

    /// From now on so many samples may be decoded, besides those that are there already, in place of
    /// [`ChunkStreamLimits::samples_max`]. A frame of a few MiB may unfold to gigabytes: a caller with a budget asks it before every
    /// piece.
    pub fn allow_samples(&mut self, samples: usize) {
        self.rows.builder.allow(samples);
    }

    /// Takes the next piece of the body. Returns how many samples it completed, so that the caller can count them against a
    /// budget and stop.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let samples_before = self.rows.builder.sample_count();
        let rows = &mut self.rows;
        match self.frames.feed(bytes, &mut |message, offset| rows.add_message(message, offset)) {
            // Where pieces overlap, sorting has dropped some that were counted before.
            Ok(()) => Ok(self.rows.builder.sample_count().saturating_sub(samples_before)),
            Err(error) => {
                self.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The samples tables that are full, in the order of the stream. The series that came last is held back: it may go on.
    pub fn take_batches(&mut self) -> Vec<RecordBatch> {
        self.rows.builder.take_batches()
    }

    /// The rest of the tables. Fails unless the body ended behind a frame.
    pub fn finish(mut self) -> Result<Vec<RecordBatch>, DecodeError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.frames.finish()?;
        self.rows.end_series();
        Ok(self.rows.builder.finish())
    }

    /// The filter, to ask it what it saw.
    pub fn filter(&self) -> &F {
        &self.rows.filter
    }
}

/// What becomes of the chunks of the series that came last.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Fate {
    Decoded,
    Skipped,
}

/// Makes rows of messages.
#[derive(Debug)]
struct Rows<F> {
    window: TimeWindow,
    filter: F,
    limits: ChunkStreamLimits,
    chunks: ChunkDecoder,
    builder: SeriesBuilder,
    /// The series that came last, `None` before the first one.
    fate: Option<Fate>,
    /// Its labels as they came.
    sent_labels: Vec<u8>,
    /// Its labels in the table.
    labels: Vec<u8>,
    /// Buffers for those of the next series.
    next_sent_labels: Vec<u8>,
    next_labels: Vec<u8>,
}

impl<F: SeriesFilter> Rows<F> {
    fn new(window: TimeWindow, filter: F, limits: ChunkStreamLimits) -> Self {
        Self {
            window,
            filter,
            limits,
            chunks: ChunkDecoder::default(),
            builder: SeriesBuilder::new(limits.samples_max),
            fate: None,
            sent_labels: Vec::new(),
            labels: Vec::new(),
            next_sent_labels: Vec::new(),
            next_labels: Vec::new(),
        }
    }

    /// Takes a `ChunkedReadResponse` that begins `offset` bytes into the body.
    fn add_message(&mut self, message: &[u8], offset: u64) -> Result<(), DecodeError> {
        read_response(message, offset, &mut |series, offset| self.add_series(series, offset))
    }

    /// Takes a `ChunkedSeries`: some chunks of a new series or more of the last one.
    fn add_series(&mut self, series: &[u8], offset: u64) -> Result<(), DecodeError> {
        self.next_sent_labels.clear();
        let mut series = read_series(series, offset, self.limits.label_set_bytes_max, &mut self.next_sent_labels)?;
        let fate = match self.fate {
            Some(fate) if self.next_sent_labels == self.sent_labels => fate,
            _ => self.begin_series(&series.labels()?)?,
        };
        if fate == Fate::Skipped {
            return Ok(());
        }
        while let Some(chunk) = series.next_chunk()? {
            let SentChunk { encoding, data, data_offset } = chunk;
            let decoded = self.chunks.decode(encoding, data, self.window, &mut self.builder);
            decoded.map_err(|error| match error.problem {
                ChunkProblem::TooManySamples => DecodeError::TooManySamples,
                _ => DecodeError::Invalid { offset: data_offset, problem: format!("{encoding} chunk: {error}") },
            })?;
            self.builder.check_limit().map_err(|_| DecodeError::TooManySamples)?;
        }
        Ok(())
    }

    fn begin_series(&mut self, labels: &[(&str, &str)]) -> Result<Fate, DecodeError> {
        self.next_labels.clear();
        let is_wanted = self.filter.accept(labels, &mut self.next_labels)?;
        std::mem::swap(&mut self.sent_labels, &mut self.next_sent_labels);
        let goes_on = is_wanted && self.fate == Some(Fate::Decoded) && self.next_labels == self.labels;
        if !goes_on {
            self.end_series();
            std::mem::swap(&mut self.labels, &mut self.next_labels);
        }
        let fate = if is_wanted { Fate::Decoded } else { Fate::Skipped };
        self.fate = Some(fate);
        Ok(fate)
    }

    fn end_series(&mut self) {
        if self.fate == Some(Fate::Decoded) {
            self.builder.end_series(&self.labels);
        }
    }
}
