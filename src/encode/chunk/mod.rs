//! Samples to the chunks of Prometheus' storage, as remote read hands them over.
//!
//! Source: the layouts of Prometheus v3.14 tsdb/chunkenc.

mod bit_writer;
mod xor;

use crate::error::Error;
use crate::model::{ChunkEncoding, SamplesTable};
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

/// Encodes all samples of a row, as Prometheus would store them.
pub fn encode_row_chunks(table: &SamplesTable<'_>, row: usize, samples_max: usize) -> Result<Vec<EncodedChunk>, Error> {
    let (times, values) = table.series(row);
    Ok(encode_xor_chunks(times, values, samples_max))
}
