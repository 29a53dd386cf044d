//! Start timestamps within a chunk: nothing until the first change, then how far each lies before the time of the sample
//! before.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/st.go and xor2.go.

use super::bit_writer::BitWriter;

/// From this sample on starts are written even if they never changed: the header has seven bits for where they begin.
const CHANGES_FROM_MAX: u16 = 127;

/// Writes the start timestamps of a chunk, sample by sample. The header's byte for them is its third.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct StartTimes {
    current: i64,
    distance: i64,
    has_begun: bool,
}

impl StartTimes {
    /// What stands behind sample number `index`; `time` is its own, `time_before` that of the sample before.
    pub(super) fn write(&mut self, index: u16, time: i64, time_before: i64, start: i64, bits: &mut BitWriter) {
        if index == 0 {
            if start != 0 {
                bits.write_varint(time.wrapping_sub(start));
                bits.header_mut()[2] |= 0x80;
            }
        } else if self.has_begun || start != self.current || index == CHANGES_FROM_MAX {
            let distance = time_before.wrapping_sub(start);
            bits.write_varbit_int(distance.wrapping_sub(self.distance));
            if !self.has_begun {
                // It fits: the last sample that may be the first one is number 127.
                bits.header_mut()[2] |= index as u8;
                self.has_begun = true;
            }
            self.distance = distance;
        }
        self.current = start;
    }
}
