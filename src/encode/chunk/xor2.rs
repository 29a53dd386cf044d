//! XOR2 chunks: floats with one prefix for interval and value together, stale markers of a few bits, and start timestamps.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/xor2.go.

use super::bit_writer::BitWriter;
use super::start_times::StartTimes;
use super::xor::{Difference, XorValue};
use crate::model::is_stale;

/// A chunk that grows.
#[derive(Clone, Debug)]
pub(super) struct Xor2Encoder {
    bits: BitWriter,
    count: u16,
    time: i64,
    delta: i64,
    /// The last value that was no stale marker.
    base: XorValue,
    starts: StartTimes,
}

impl Xor2Encoder {
    pub(super) fn new() -> Self {
        let bits = BitWriter::new(&[0, 0, 0]);
        Self { bits, count: 0, time: 0, delta: 0, base: XorValue::new(0), starts: StartTimes::default() }
    }

    /// Appends a sample; `start` is 0 where it is not known. At most 65 535 fit.
    pub(super) fn push(&mut self, time: i64, start: i64, value: f64) {
        let delta = time.wrapping_sub(self.time);
        match self.count {
            0 => {
                self.bits.write_varint(time);
                self.bits.write(value.to_bits(), 64);
                self.base = XorValue::new(if is_stale(value) { 0 } else { value.to_bits() });
            }
            1 => {
                self.bits.write_uvarint(delta as u64);
                self.write_value(value);
            }
            _ => self.write_joint(delta.wrapping_sub(self.delta), value),
        }
        self.starts.write(self.count, time, self.time, start, &mut self.bits);
        self.delta = if self.count == 0 { 0 } else { delta };
        self.time = time;
        self.count = self.count.checked_add(1).expect("chunks are cut long before 65 535 samples");
    }

    fn write_joint(&mut self, change: i64, value: f64) {
        if change != 0 {
            match change {
                -0x1000..=0xfff => self.bits.write(0b110 << 13 | change as u64 & 0x1fff, 16),
                -0x8_0000..=0x7_ffff => self.bits.write(0b1110 << 20 | change as u64 & 0xf_ffff, 24),
                _ => {
                    self.bits.write(0b11110, 5);
                    self.bits.write(change as u64, 64);
                }
            }
            return self.write_value(value);
        }
        if is_stale(value) {
            return self.bits.write(0b11111, 5);
        }
        match self.base.difference(value.to_bits()) {
            Difference::None => self.bits.write(0b0, 1),
            Difference::SamePlace => self.bits.write(0b100, 3),
            Difference::NewPlace => self.bits.write(0b101, 3),
        }
        self.base.write_difference(value.to_bits(), &mut self.bits);
    }

    fn write_value(&mut self, value: f64) {
        if is_stale(value) {
            return self.bits.write(0b111, 3);
        }
        match self.base.difference(value.to_bits()) {
            Difference::None => self.bits.write(0b0, 1),
            Difference::SamePlace => self.bits.write(0b10, 2),
            Difference::NewPlace => self.bits.write(0b110, 3),
        }
        self.base.write_difference(value.to_bits(), &mut self.bits);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bits.header_mut()[..2].copy_from_slice(&self.count.to_be_bytes());
        self.bits.finish()
    }
}
