//! Samples to the chunks of Prometheus' storage, as remote read hands them over.
//!
//! Source: the layouts of Prometheus v3.14 tsdb/chunkenc.

mod bit_writer;
mod histogram;
mod row_encoder;
mod start_times;
mod xor;
mod xor2;

use crate::error::Error;
use crate::model::{ChunkEncoding, SamplesTable};
use row_encoder::RowEncoder;
use xor::XorEncoder;

/// Prometheus cuts chunks at so many samples.
pub const CHUNK_SAMPLES: usize = 120;
/// More do not fit: the ST encodings count samples in 14 bits.
const CHUNK_SAMPLES_MAX: usize = (1 << 14) - 1;

/// A chunk, and the times of its first and last sample.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedChunk {
    /// How it is compressed.
    pub encoding: ChunkEncoding,
    /// Time of its first sample (ms).
    pub min_time_ms: i64,
    /// Time of its last sample (ms).
    pub max_time_ms: i64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Encodes floats, times ascending, as XOR chunks of at most `samples_max` samples (1 to 16 383). Slices of equal length.
pub fn encode_xor_chunks(timestamps_ms: &[i64], values: &[f64], samples_max: usize) -> Vec<EncodedChunk> {
    let samples_max = samples_max.clamp(1, CHUNK_SAMPLES_MAX);
    let pieces = timestamps_ms.chunks(samples_max).zip(values.chunks(samples_max));
    let encoded = pieces.map(|(times, values)| {
        let mut encoder = XorEncoder::new();
        times.iter().zip(values).for_each(|(time, value)| encoder.push(*time, *value));
        EncodedChunk {
            encoding: ChunkEncoding::Xor,
            min_time_ms: times[0],
            max_time_ms: times[times.len() - 1],
            data: encoder.finish(),
        }
    });
    encoded.collect()
}

/// Which chunks have start timestamps.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum StartTimeChunks {
    /// Those of series that know any.
    #[default]
    WhereKnown,
    /// All.
    Always,
    /// None: for readers that do not know such encodings.
    Never,
}

/// How a series is cut into chunks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ChunkOptions {
    /// Samples in a chunk, 1 to 16 383.
    pub samples_max: usize,
    /// Which chunks have start timestamps.
    pub start_times: StartTimeChunks,
    /// Are histograms whose counts are whole numbers encoded as such? Otherwise all have float counts.
    pub whole_counts_as_integers: bool,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { samples_max: CHUNK_SAMPLES, start_times: StartTimeChunks::default(), whole_counts_as_integers: true }
    }
}

/// Encodes all samples of a row, as Prometheus would store them: a new chunk begins where the last one is full, where numbers
/// and histograms follow each other, where the buckets of histograms lie otherwise, and where a counter was reset. What a
/// histogram says of resets is kept as far as chunks can: that it is a gauge, and where there was none.
pub fn encode_row_chunks(table: &SamplesTable<'_>, row: usize, samples_max: usize) -> Result<Vec<EncodedChunk>, Error> {
    encode_row_chunks_as(table, row, ChunkOptions { samples_max, ..ChunkOptions::default() })
}

/// As [`encode_row_chunks`], in the encodings of one's choice.
pub fn encode_row_chunks_as(
    table: &SamplesTable<'_>,
    row: usize,
    options: ChunkOptions,
) -> Result<Vec<EncodedChunk>, Error> {
    let (times, values) = table.series(row);
    let starts = table.start_times(row);
    let histograms = table.histograms().row(row)?;
    let has_starts = starts.is_some() || histograms.iter().any(|histogram| histogram.start_time.is_some());
    let mut encoder = RowEncoder::new(options, has_starts);
    let mut histograms = histograms.into_iter().peekable();
    for (index, (time, value)) in times.iter().zip(values).enumerate() {
        while let Some(before) = histograms.next_if(|histogram| histogram.at < *time) {
            encoder.push_histogram(before.at, before.start_time.unwrap_or(0), &before.histogram);
        }
        encoder.push_float(*time, starts.map_or(0, |starts| starts[index]), *value);
    }
    for histogram in histograms {
        encoder.push_histogram(histogram.at, histogram.start_time.unwrap_or(0), &histogram.histogram);
    }
    Ok(encoder.finish())
}
