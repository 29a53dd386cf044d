//! XOR chunks: floats as Gorilla compresses them.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/xor.go.

use super::bit_writer::{BitWriter, fits_signed};

/// A float that is told by its difference to the one before it.
#[derive(Copy, Clone, Debug)]
pub(super) struct XorValue {
    pub(super) word: u64,
    /// Zeros above and below the place of differences; `None` before the first one.
    place: Option<(u32, u32)>,
}

/// How a difference is told.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Difference {
    None,
    /// In the place of the one before.
    SamePlace,
    /// With its place.
    NewPlace,
}

impl XorValue {
    pub(super) fn new(word: u64) -> Self {
        Self { word, place: None }
    }

    /// Writes the next value: `0` for none, `10` and the difference in the place of the last one, `11` and a new place.
    pub(super) fn write(&mut self, word: u64, bits: &mut BitWriter) {
        match self.difference(word) {
            Difference::None => bits.write(0b0, 1),
            Difference::SamePlace => bits.write(0b10, 2),
            Difference::NewPlace => bits.write(0b11, 2),
        }
        self.write_difference(word, bits);
    }

    /// What [`XorValue::write_difference`] is about to write.
    pub(super) fn difference(&self, word: u64) -> Difference {
        let difference = self.word ^ word;
        match self.place {
            _ if difference == 0 => Difference::None,
            Some((leading, trailing))
                if leading_zeros(difference) >= leading && difference.trailing_zeros() >= trailing =>
            {
                Difference::SamePlace
            }
            _ => Difference::NewPlace,
        }
    }

    /// The place, if it is a new one, and the difference.
    pub(super) fn write_difference(&mut self, word: u64, bits: &mut BitWriter) {
        let kind = self.difference(word);
        let difference = self.word ^ word;
        self.word = word;
        if kind == Difference::None {
            return;
        }
        if kind == Difference::NewPlace {
            let (leading, trailing) = (leading_zeros(difference), difference.trailing_zeros());
            self.place = Some((leading, trailing));
            bits.write(u64::from(leading), 5);
            // All 64 bits are written as 0: a difference of no bits is told otherwise.
            bits.write(u64::from(64 - leading - trailing) & 63, 6);
        }
        let (leading, trailing) = self.place.unwrap_or((0, 0));
        bits.write(difference >> trailing, 64 - leading - trailing);
    }
}

/// Five bits hold them.
fn leading_zeros(difference: u64) -> u32 {
    difference.leading_zeros().min(31)
}

/// A chunk that grows.
#[derive(Clone, Debug)]
pub(super) struct XorEncoder {
    bits: BitWriter,
    count: u16,
    time: i64,
    delta: i64,
    value: XorValue,
}

impl XorEncoder {
    pub(super) fn new() -> Self {
        Self { bits: BitWriter::new(&[0, 0]), count: 0, time: 0, delta: 0, value: XorValue::new(0) }
    }

    /// Appends a sample; at most 65 535 fit.
    pub(super) fn push(&mut self, time: i64, value: f64) {
        let delta = time.wrapping_sub(self.time);
        match self.count {
            0 => {
                self.bits.write_varint(time);
                self.bits.write(value.to_bits(), 64);
                self.value = XorValue::new(value.to_bits());
            }
            1 => {
                self.bits.write_uvarint(delta as u64);
                self.value.write(value.to_bits(), &mut self.bits);
            }
            _ => {
                self.write_change(delta.wrapping_sub(self.delta));
                self.value.write(value.to_bits(), &mut self.bits);
            }
        }
        // Of the first sample there is no interval.
        self.delta = if self.count == 0 { 0 } else { delta };
        self.time = time;
        self.count = self.count.checked_add(1).expect("chunks are cut long before 65 535 samples");
    }

    fn write_change(&mut self, change: i64) {
        match change {
            0 => self.bits.write(0b0, 1),
            _ if fits_signed(change, 14) => self.bits.write(0b10 << 14 | change as u64 & 0x3fff, 16),
            _ if fits_signed(change, 17) => self.bits.write(0b110 << 17 | change as u64 & 0x1_ffff, 20),
            _ if fits_signed(change, 20) => self.bits.write(0b1110 << 20 | change as u64 & 0xf_ffff, 24),
            _ => {
                self.bits.write(0b1111, 4);
                self.bits.write(change as u64, 64);
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bits.header_mut()[..2].copy_from_slice(&self.count.to_be_bytes());
        self.bits.finish()
    }
}
