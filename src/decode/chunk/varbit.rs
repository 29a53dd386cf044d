//! Numbers of as many bits as they need: up to eight ones, a zero, and the number in as many bits as the ones say.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/varbit.go.

use super::bit_reader::{BitReader, sign_extended};

/// Bits of the number by the count of ones before it; eight ones have no zero behind them.
const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// The number's bits, and how many they are.
#[inline(always)]
fn read(reader: &mut BitReader<'_>) -> (u64, u32) {
    let peeked = reader.peek();
    if peeked >> 63 == 0 {
        reader.skip(1);
        return (0, 0);
    }
    let ones = peeked.leading_ones().min(8);
    let width = WIDTHS[ones as usize];
    reader.skip((ones + 1).min(8));
    (reader.read(width), width)
}

/// An unsigned number.
#[inline(always)]
pub(super) fn read_varbit_uint(reader: &mut BitReader<'_>) -> u64 {
    read(reader).0
}

/// A signed number.
#[inline(always)]
pub(super) fn read_varbit_int(reader: &mut BitReader<'_>) -> i64 {
    match read(reader) {
        (_, 0) => 0,
        (value, 64) => value as i64,
        (value, width) => sign_extended(value, width),
    }
}
