//! Start timestamps within a chunk. Behind each sample stands how far its start lies before the time of the sample before; of
//! the first sample, before its own time. Until the first change there is nothing, and the start stays what it is.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/st.go and xor2.go.

use super::ChunkProblem;
use super::bit_reader::BitReader;
use super::varbit::read_varbit_int;

/// Reads the start timestamps of a chunk, sample by sample.
#[derive(Copy, Clone, Debug)]
pub(super) struct StartTimes {
    is_first_known: bool,
    /// The first sample with a start of its own; 0 where there is none.
    changes_from: usize,
    distance: i64,
    current: i64,
}

impl StartTimes {
    /// The byte of the chunk's header: the top bit tells whether the first sample has a start, the others from which sample on
    /// starts change.
    pub(super) fn new(header: u8) -> Self {
        Self { is_first_known: header & 0x80 != 0, changes_from: usize::from(header & 0x7f), distance: 0, current: 0 }
    }

    /// Has no sample a start?
    pub(super) fn are_absent(&self) -> bool {
        !self.is_first_known && self.changes_from == 0
    }

    /// What stands behind sample number `index`; `time` is its own, `time_before` that of the sample before.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        reader: &mut BitReader<'_>,
        index: usize,
        time: i64,
        time_before: i64,
    ) -> Result<i64, ChunkProblem> {
        if index == 0 {
            if self.is_first_known {
                self.current = time.wrapping_sub(reader.read_varint().ok_or(ChunkProblem::Varint)?);
            }
        } else if self.changes_from > 0 && index >= self.changes_from {
            let change = read_varbit_int(reader);
            self.distance = if index == self.changes_from { change } else { self.distance.wrapping_add(change) };
            self.current = time_before.wrapping_sub(self.distance);
        }
        Ok(self.current)
    }
}
