//! Counts that are whole numbers. Each is told by how much faster or slower it grew than the time before; of buckets, it is the
//! step from one bucket to the next that is told.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/histogram.go.

use super::ChunkProblem;
use super::bit_reader::BitReader;
use super::histogram::Counts;
use super::varbit::{read_varbit_int, read_varbit_uint};
use super::xor::XorValue;
use crate::decode::histogram_layout::{HistogramLayout, SideLayout};
use crate::model::{Buckets, NativeHistogram, is_stale};

/// A number, and by how much it grew last. Go's integers wrap around, and so do these.
#[derive(Copy, Clone, Debug, Default)]
struct Growing {
    value: i64,
    growth: i64,
}

impl Growing {
    #[inline(always)]
    fn read_next(&mut self, reader: &mut BitReader<'_>) {
        self.growth = self.growth.wrapping_add(read_varbit_int(reader));
        self.value = self.value.wrapping_add(self.growth);
    }
}

/// Integer counts.
#[derive(Clone, Debug)]
pub(super) struct IntegerCounts {
    count: Growing,
    zero_count: Growing,
    sum: XorValue,
    /// Steps from bucket to bucket, of each sign.
    positive: Vec<Growing>,
    negative: Vec<Growing>,
}

impl Counts for IntegerCounts {
    fn read_first(reader: &mut BitReader<'_>, layout: &HistogramLayout) -> Self {
        let count = Growing { value: read_varbit_uint(reader) as i64, growth: 0 };
        let zero_count = Growing { value: read_varbit_uint(reader) as i64, growth: 0 };
        let sum = XorValue::new(reader.read(64));
        let mut side = |side: &SideLayout| -> Vec<Growing> {
            (0..side.sent_buckets).map(|_| Growing { value: read_varbit_int(reader), growth: 0 }).collect()
        };
        let (positive, negative) = (side(&layout.positive), side(&layout.negative));
        Self { count, zero_count, sum, positive, negative }
    }

    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), ChunkProblem> {
        self.count.read_next(reader);
        self.zero_count.read_next(reader);
        self.sum.read(reader)?;
        if !is_stale(self.sum.value()) {
            self.positive.iter_mut().for_each(|bucket| bucket.read_next(reader));
            self.negative.iter_mut().for_each(|bucket| bucket.read_next(reader));
        }
        Ok(())
    }

    fn sum(&self) -> f64 {
        self.sum.value()
    }

    fn fill(&self, layout: &HistogramLayout, histogram: &mut NativeHistogram) {
        histogram.count = self.count.value as u64 as f64;
        histogram.zero_count = self.zero_count.value as u64 as f64;
        histogram.positive = buckets(&self.positive, &layout.positive);
        histogram.negative = buckets(&self.negative, &layout.negative);
    }
}

fn buckets(steps: &[Growing], layout: &SideLayout) -> Buckets {
    let mut count = 0_i64;
    layout.buckets(steps.iter().map(|step| {
        count = count.wrapping_add(step.value);
        count as f64
    }))
}
