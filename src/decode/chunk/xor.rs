//! XOR chunks: floats as Gorilla compresses them.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/xor.go.

use super::bit_reader::{BitReader, PEEK_BITS, sign_extended};
use super::block::{BLOCK_SAMPLES, FloatBlock, Progress};
use super::{ChunkError, ChunkProblem, SampleSink, TimeWindow};

/// A float that is told by its difference to the one before it, and the place in the word where differences stood last.
#[derive(Copy, Clone, Debug)]
pub(super) struct XorValue {
    /// Its bits.
    pub(super) word: u64,
    pub(super) significant: u32,
    pub(super) trailing: u32,
}

impl XorValue {
    /// The first value, of which nothing is known before.
    pub(super) fn new(word: u64) -> Self {
        Self { word, significant: 64, trailing: 0 }
    }

    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.word)
    }

    /// Reads the next value.
    #[inline(always)]
    pub(super) fn read(&mut self, reader: &mut BitReader<'_>) -> Result<(), ChunkProblem> {
        self.read_peeked(reader.peek(), PEEK_BITS, reader)
    }

    /// As [`XorValue::read`] where the reader was looked into before: `peeked` holds the `known` next bits on top.
    ///
    /// | bits | difference |
    /// |---|---|
    /// | `0` | none |
    /// | `10` | in the place of the one before |
    /// | `11` | place: 5 bits for zeros above, 6 for the length, where 0 is 64 |
    #[inline(always)]
    pub(super) fn read_peeked(
        &mut self,
        peeked: u64,
        known: u32,
        reader: &mut BitReader<'_>,
    ) -> Result<(), ChunkProblem> {
        if peeked >> 63 == 0 {
            reader.skip(1);
            return Ok(());
        }
        let mut used = 2;
        if peeked >> 62 == 0b11 {
            self.take_place(peeked << 2)?;
            used = 13;
        }
        self.read_difference(peeked, used, known, reader);
        Ok(())
    }

    /// The place of a difference is in the 11 top bits.
    #[inline(always)]
    pub(super) fn take_place(&mut self, peeked: u64) -> Result<(), ChunkProblem> {
        let leading = (peeked >> 59) as u32;
        let length = (peeked << 5 >> 58) as u32;
        self.significant = if length == 0 { 64 } else { length };
        if leading + self.significant > 64 {
            return Err(ChunkProblem::Place);
        }
        self.trailing = 64 - leading - self.significant;
        Ok(())
    }

    /// The difference stands behind `used` bits.
    #[inline(always)]
    pub(super) fn read_difference(&mut self, peeked: u64, used: u32, known: u32, reader: &mut BitReader<'_>) {
        let difference = if used + self.significant <= known {
            reader.skip(used + self.significant);
            peeked << used >> (64 - self.significant)
        } else {
            reader.skip(used);
            reader.read(self.significant)
        };
        self.word ^= difference << self.trailing;
    }
}

/// Decodes what is behind the header. `sample_count` is what the header says.
pub(super) fn decode(
    mut reader: BitReader<'_>,
    sample_count: usize,
    window: TimeWindow,
    block: &mut FloatBlock,
    sink: &mut dyn SampleSink,
) -> Result<(), ChunkError> {
    if sample_count == 0 {
        return Ok(());
    }
    let at = |sample: usize| move |problem: ChunkProblem| ChunkError { sample, problem };
    let mut time = reader.read_varint().ok_or(ChunkProblem::Varint).map_err(at(0))?;
    let mut value = XorValue::new(reader.read(64));
    block.times[0] = time;
    block.values[0] = value.value();
    let mut filled = 1;
    let mut delta = 0;
    if sample_count > 1 {
        // Go's unsigned deltas wrap around, and so do ours.
        delta = reader.read_uvarint().ok_or(ChunkProblem::Varint).map_err(at(1))? as i64;
        time = time.wrapping_add(delta);
        value.read(&mut reader).map_err(at(1))?;
        block.times[1] = time;
        block.values[1] = value.value();
        filled = 2;
    }
    if reader.is_past_end() {
        return Err(at(filled - 1)(ChunkProblem::Truncated));
    }
    let mut done = 0;
    loop {
        let until = (sample_count - done).min(BLOCK_SAMPLES);
        let slots = block.times[filled..until].iter_mut().zip(&mut block.values[filled..until]);
        for (index, (time_slot, value_slot)) in slots.enumerate() {
            let mut peeked = reader.peek();
            let mut known = PEEK_BITS;
            if peeked >> 63 == 0 {
                reader.skip(1);
                peeked <<= 1;
                known -= 1;
            } else if peeked >> 62 == 0b10 {
                delta = delta.wrapping_add(sign_extended(peeked << 2 >> 50, 14));
                reader.skip(16);
                peeked <<= 16;
                known -= 16;
            } else {
                delta = delta.wrapping_add(read_long_change(&mut reader));
                peeked = reader.peek();
            }
            time = time.wrapping_add(delta);
            value.read_peeked(peeked, known, &mut reader).map_err(at(done + filled + index))?;
            *time_slot = time;
            *value_slot = value.value();
            if reader.is_past_end() {
                return Err(at(done + filled + index)(ChunkProblem::Truncated));
            }
        }
        let progress = block.flush(until, window, sink).map_err(|error| error.after(done))?;
        done += until;
        filled = 0;
        if done == sample_count || progress == Progress::PastWindow {
            return Ok(());
        }
    }
}

/// A change of the interval that takes more than 14 bits.
#[inline(always)]
fn read_long_change(reader: &mut BitReader<'_>) -> i64 {
    let (change, end) = long_change(*reader);
    *reader = end;
    change
}

// By value, and a copy back: the reader of the loop stays in registers.
#[cold]
#[inline(never)]
fn long_change(mut reader: BitReader<'_>) -> (i64, BitReader<'_>) {
    let peeked = reader.peek();
    let change = if peeked >> 61 == 0b110 {
        reader.skip(3);
        sign_extended(reader.read(17), 17)
    } else if peeked >> 60 == 0b1110 {
        reader.skip(4);
        sign_extended(reader.read(20), 20)
    } else {
        reader.skip(4);
        reader.read(64) as i64
    };
    (change, reader)
}
