//! Writes bits from the most significant one on.

/// Bits of varbit numbers, by how many ones (from one on) announce them.
const VARBIT_WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Bytes that grow bit by bit.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that were written and do not fill a byte yet, on top.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// Begins with whole bytes.
    pub(super) fn new(header: &[u8]) -> Self {
        Self { bytes: header.to_vec(), pending: 0, pending_bits: 0 }
    }

    /// The lowest `bits` (0 to 64) of a number.
    pub(super) fn write(&mut self, value: u64, bits: u32) {
        if bits > 32 {
            self.write(value >> 32, bits - 32);
            return self.write(value & 0xffff_ffff, 32);
        }
        if bits == 0 {
            return;
        }
        // At most 7 bits are pending.
        self.pending |= value << (64 - bits) >> self.pending_bits;
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            self.bytes.push((self.pending >> 56) as u8);
            self.pending <<= 8;
            self.pending_bits -= 8;
        }
    }

    /// An unsigned varint: seven bits a byte, the lowest first.
    pub(super) fn write_uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.write(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.write(value, 8);
    }

    /// A signed varint, zigzag.
    pub(super) fn write_varint(&mut self, value: i64) {
        self.write_uvarint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// A signed number of as many bits as it needs.
    pub(super) fn write_varbit_int(&mut self, value: i64) {
        let ones = VARBIT_WIDTHS.iter().position(|width| fits_signed(value, *width)).map_or(8, |at| at + 1);
        self.write_varbit(if value == 0 { 0 } else { ones }, value as u64);
    }

    /// An unsigned number of as many bits as it needs.
    pub(super) fn write_varbit_uint(&mut self, value: u64) {
        let needed = u64::BITS - value.leading_zeros();
        let ones = VARBIT_WIDTHS.iter().position(|width| needed <= *width).map_or(8, |at| at + 1);
        self.write_varbit(if value == 0 { 0 } else { ones }, value);
    }

    /// Up to seven ones and a zero, or eight ones; then the number.
    fn write_varbit(&mut self, ones: usize, value: u64) {
        match ones {
            0 => self.write(0, 1),
            8 => {
                self.write(0xff, 8);
                self.write(value, 64);
            }
            ones => {
                let width = VARBIT_WIDTHS[ones - 1];
                self.write((1 << (ones + 1)) - 2, ones as u32 + 1);
                self.write(value & ((1 << width) - 1), width);
            }
        }
    }

    /// The header, to be changed.
    pub(super) fn header_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.bytes.push((self.pending >> 56) as u8);
        }
        self.bytes
    }
}

/// Does a number fit into Prometheus' signed numbers of `bits` bits, which reach one further up than down?
pub(super) fn fits_signed(value: i64, bits: u32) -> bool {
    let most = 1_i64 << (bits - 1);
    -(most - 1) <= value && value <= most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_in_the_order_in_which_they_were_written() {
        let mut writer = BitWriter::new(&[7]);
        writer.write(0b101, 3);
        writer.write(0, 0);
        writer.write(u64::MAX, 64);
        writer.write(0b10, 2);
        writer.header_mut()[0] = 8;
        let bytes = writer.finish();
        // Three bits, 64 ones, two bits, and zeros to the end of the byte.
        assert_eq!(bytes, [8, 0b1011_1111, 255, 255, 255, 255, 255, 255, 255, 0b1111_0000]);
    }

    #[test]
    fn signed_numbers_reach_one_further_up_than_down() {
        assert_eq!([-4, -3, 4, 5].map(|value| fits_signed(value, 3)), [false, true, true, false]);
        assert_eq!([i64::MIN, i64::MAX, 1 << 55].map(|value| fits_signed(value, 56)), [false, false, true]);
    }
    #[test]
    fn varbit_numbers_take_the_bits_that_they_need() {
        let int = |value: i64| {
            let mut writer = BitWriter::new(&[]);
            writer.write_varbit_int(value);
            writer.finish()
        };
        assert_eq!(int(0), [0]);
        assert_eq!((int(4), int(-3), int(5)), (vec![0b1010_0000], vec![0b1010_1000], vec![0b1100_0010, 0b1000_0000]));
        assert_eq!(int(i64::MIN), [255, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(int(1 << 55), [254, 0x80, 0, 0, 0, 0, 0, 0]);
        let uint = |value: u64| {
            let mut writer = BitWriter::new(&[]);
            writer.write_varbit_uint(value);
            writer.finish()
        };
        assert_eq!((uint(0), uint(7), uint(8)), (vec![0], vec![0b1011_1000], vec![0b1100_0100, 0]));
        assert_eq!(uint(u64::MAX), [255; 9]);
    }
}
