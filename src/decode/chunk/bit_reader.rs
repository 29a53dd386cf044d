//! Reads bits from the most significant one on.

/// Zero bytes behind the data. A sample is read without looking for the end, and one sample of floats takes at most 19
/// bytes and a look ahead of 8; what lies beyond the padding reads as zero as well, only slower.
pub(super) const PADDING_BYTES: usize = 64;
/// A look at any position shows at least so many bits.
pub(super) const PEEK_BITS: u32 = 57;

/// A position in padded bytes. Reading never fails: beyond the end there are zeros, and [`BitReader::is_past_end`] tells.
/// Whoever reads asks at least once a sample.
#[derive(Copy, Clone, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    position: usize,
    /// Bits of data.
    end: usize,
}

impl<'a> BitReader<'a> {
    /// Reads `padded` without its last [`PADDING_BYTES`].
    pub(super) fn new(padded: &'a [u8]) -> Self {
        Self { bytes: padded, position: 0, end: padded.len().saturating_sub(PADDING_BYTES) * 8 }
    }

    /// Was more read than there is?
    #[inline(always)]
    pub(super) fn is_past_end(&self) -> bool {
        self.position > self.end
    }

    /// How many bits are left.
    pub(super) fn remaining(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// The next bits, the first on top; at least [`PEEK_BITS`] of them are true.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.peek_at(self.position)
    }

    #[inline(always)]
    fn peek_at(&self, position: usize) -> u64 {
        match self.bytes.get(position >> 3..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_be_bytes(*bytes) << (position & 7),
            None => 0,
        }
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.position += bits as usize;
    }

    /// A number of 1 to 64 bits.
    #[inline(always)]
    pub(super) fn read(&mut self, bits: u32) -> u64 {
        debug_assert!((1..=64).contains(&bits));
        let value = if bits <= PEEK_BITS {
            self.peek() >> (64 - bits)
        } else {
            let (high, low) = (self.peek() >> 32, self.peek_at(self.position + 32) >> (96 - bits));
            high << (bits - 32) | low
        };
        self.skip(bits);
        value
    }

    /// An unsigned varint: seven bits a byte, the lowest first. `None` for one of more than ten bytes.
    pub(super) fn read_uvarint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.read(8);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A signed varint, zigzag.
    pub(super) fn read_varint(&mut self) -> Option<i64> {
        self.read_uvarint().map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

/// Prometheus' signed numbers of `bits` bits: from `-(2^(bits-1) - 1)` to `2^(bits-1)`, one off from two's complement.
#[inline(always)]
pub(super) fn sign_extended(value: u64, bits: u32) -> i64 {
    let most_negative = (1_i64 << (bits - 1)) - 1;
    ((value as i64 + most_negative) & ((1_i64 << bits) - 1)) - most_negative
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(bytes: &[u8]) -> Vec<u8> {
        [bytes, &[0; PADDING_BYTES]].concat()
    }

    #[test]
    fn numbers_of_all_widths_are_read_at_all_offsets() {
        let bytes: Vec<u8> = (0..40_u32).map(|index| (index * 73 + 41) as u8).collect();
        let bit = |at: usize| u64::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let padded = padded(&bytes);
        for offset in 0..16_u32 {
            for bits in 1..=64_u32 {
                let mut reader = BitReader::new(&padded);
                reader.skip(offset);
                let expected = (offset..offset + bits).fold(0, |value, at| value << 1 | bit(at as usize));
                assert_eq!(reader.read(bits), expected, "{bits} bits at {offset}");
                assert_eq!(reader.remaining(), 320 - (offset + bits) as usize);
            }
        }
    }

    #[test]
    fn beyond_the_end_there_are_zeros_and_it_is_told() {
        let padded = padded(&[0xff]);
        let mut reader = BitReader::new(&padded);
        assert_eq!(reader.read(8), 0xff);
        assert!(!reader.is_past_end());
        assert_eq!(reader.read(64), 0);
        assert!(reader.is_past_end());
        reader.skip(10_000);
        assert_eq!((reader.read(64), reader.read(1), reader.remaining()), (0, 0, 0));
    }

    #[test]
    fn varints_are_those_of_go() {
        for (bytes, expected) in [
            (&[0x00][..], Some(0)),
            (&[0x01], Some(-1)),
            (&[0x7f], Some(-64)),
            (&[0x80, 0x01], Some(64)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(i64::MIN)),
            (&[0xff; 11], None),
        ] {
            let padded = padded(bytes);
            assert_eq!(BitReader::new(&padded).read_varint(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn signed_numbers_reach_one_further_up_than_down() {
        for (value, expected) in [(0, 0), (1, 1), (4, 4), (5, -3), (7, -1)] {
            assert_eq!(sign_extended(value, 3), expected);
        }
        assert_eq!(sign_extended(1 << 55, 56), 1 << 55);
        assert_eq!(sign_extended((1 << 55) + 1, 56), 1 - (1 << 55));
    }
}
