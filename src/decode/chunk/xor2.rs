//! XOR2 chunks: floats with one prefix for interval and value together, stale markers of a few bits, and start timestamps.
//!
//! | bits | interval changes by | value |
//! |---|---|---|
//! | `0` | 0 | the same |
//! | `10` | 0 | `0` and a difference in the last place, or `1` and one with its place |
//! | `110` | 13 bits | as below |
//! | `1110` | 20 bits | as below |
//! | `11110` | 64 bits | as below |
//! | `11111` | 0 | stale marker |
//!
//! Behind a changed interval: `0` the same value, `10` a difference in the last place, `110` one with its place, `111` the stale
//! marker. Differences are to the last value that is no stale marker.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/xor2.go.

use super::bit_reader::{BitReader, PEEK_BITS};
use super::block::{BLOCK_SAMPLES, FloatBlock, Progress};
use super::start_times::StartTimes;
use super::xor::XorValue;
use super::{ChunkError, ChunkProblem, SampleSink, TimeWindow};
use crate::model::{is_stale, stale_marker};

/// What is known of the sample that was read last.
struct State {
    time: i64,
    delta: i64,
    /// The last value that was no stale marker.
    base: XorValue,
}

impl State {
    /// A sample that begins with the joint prefix: the third and all later ones.
    #[inline(always)]
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<f64, ChunkProblem> {
        let peeked = reader.peek();
        if peeked >> 63 == 0 {
            reader.skip(1);
            self.time = self.time.wrapping_add(self.delta);
            return Ok(self.base.value());
        }
        if peeked >> 62 == 0b10 {
            self.time = self.time.wrapping_add(self.delta);
            let mut used = 3;
            if peeked >> 61 == 0b101 {
                self.base.take_place(peeked << 3)?;
                used = 14;
            }
            self.base.read_difference(peeked, used, PEEK_BITS, reader);
            return Ok(self.base.value());
        }
        if peeked >> 59 == 0b11111 {
            reader.skip(5);
            self.time = self.time.wrapping_add(self.delta);
            return Ok(stale_marker());
        }
        let change = if peeked >> 61 == 0b110 {
            reader.skip(16);
            (peeked << 3) as i64 >> 51
        } else if peeked >> 60 == 0b1110 {
            reader.skip(24);
            (peeked << 4) as i64 >> 44
        } else {
            reader.skip(5);
            reader.read(64) as i64
        };
        self.delta = self.delta.wrapping_add(change);
        self.time = self.time.wrapping_add(self.delta);
        self.read_value(reader)
    }

    /// A value with a prefix of its own.
    #[inline(always)]
    fn read_value(&mut self, reader: &mut BitReader<'_>) -> Result<f64, ChunkProblem> {
        let peeked = reader.peek();
        if peeked >> 63 == 0 {
            reader.skip(1);
            return Ok(self.base.value());
        }
        let mut used = 2;
        if peeked >> 62 == 0b11 {
            if peeked >> 61 == 0b111 {
                reader.skip(3);
                return Ok(stale_marker());
            }
            self.base.take_place(peeked << 3)?;
            used = 14;
        }
        self.base.read_difference(peeked, used, PEEK_BITS, reader);
        Ok(self.base.value())
    }
}

/// Decodes what is behind the header. `sample_count` is what the header says.
pub(super) fn decode(
    mut reader: BitReader<'_>,
    sample_count: usize,
    mut starts: StartTimes,
    window: TimeWindow,
    block: &mut FloatBlock,
    sink: &mut dyn SampleSink,
) -> Result<(), ChunkError> {
    let mut state = State { time: 0, delta: 0, base: XorValue::new(0) };
    let mut done = 0;
    while done < sample_count {
        let filled = (sample_count - done).min(BLOCK_SAMPLES);
        for slot in 0..filled {
            let sample = done + slot;
            let time_before = state.time;
            read_sample(&mut reader, &mut state, sample)
                .and_then(|value| {
                    block.times[slot] = state.time;
                    block.values[slot] = value;
                    block.starts[slot] = starts.read(&mut reader, sample, state.time, time_before)?;
                    if reader.is_past_end() { Err(ChunkProblem::Truncated) } else { Ok(()) }
                })
                .map_err(|problem| ChunkError { sample, problem })?;
        }
        let flushed = if starts.are_absent() {
            block.flush(filled, window, sink)
        } else {
            block.flush_started(filled, window, sink)
        };
        if flushed.map_err(|error| error.after(done))? == Progress::PastWindow {
            return Ok(());
        }
        done += filled;
    }
    Ok(())
}

#[inline(always)]
fn read_sample(reader: &mut BitReader<'_>, state: &mut State, sample: usize) -> Result<f64, ChunkProblem> {
    match sample {
        0 => {
            state.time = reader.read_varint().ok_or(ChunkProblem::Varint)?;
            let value = f64::from_bits(reader.read(64));
            state.base = XorValue::new(if is_stale(value) { 0 } else { value.to_bits() });
            Ok(value)
        }
        1 => {
            state.delta = reader.read_uvarint().ok_or(ChunkProblem::Varint)? as i64;
            state.time = state.time.wrapping_add(state.delta);
            state.read_value(reader)
        }
        _ => state.read_next(reader),
    }
}
