//! Counts that are floats, each told as XOR chunks tell values.
//!
//! Source: the layout of Prometheus v3.14 tsdb/chunkenc/float_histogram.go.

use super::ChunkProblem;
use super::bit_reader::BitReader;
use super::histogram::Counts;
use super::xor::XorValue;
use crate::decode::histogram_layout::{HistogramLayout, SideLayout};
use crate::model::{Buckets, NativeHistogram, is_stale};

/// Float counts.
#[derive(Clone, Debug)]
pub(super) struct FloatCounts {
    count: XorValue,
    zero_count: XorValue,
    sum: XorValue,
    positive: Vec<XorValue>,
    negative: Vec<XorValue>,
}

impl Counts for FloatCounts {
    fn read_first(reader: &mut BitReader<'_>, layout: &HistogramLayout) -> Self {
        let mut value = || XorValue::new(reader.read(64));
        let (count, zero_count, sum) = (value(), value(), value());
        let mut side = |side: &SideLayout| (0..side.sent_buckets).map(|_| value()).collect();
        let (positive, negative) = (side(&layout.positive), side(&layout.negative));
        Self { count, zero_count, sum, positive, negative }
    }

    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), ChunkProblem> {
        self.count.read(reader)?;
        self.zero_count.read(reader)?;
        self.sum.read(reader)?;
        if !is_stale(self.sum.value()) {
            self.positive.iter_mut().chain(&mut self.negative).try_for_each(|bucket| bucket.read(reader))?;
        }
        Ok(())
    }

    fn sum(&self) -> f64 {
        self.sum.value()
    }

    fn fill(&self, layout: &HistogramLayout, histogram: &mut NativeHistogram) {
        histogram.count = self.count.value();
        histogram.zero_count = self.zero_count.value();
        histogram.positive = buckets(&self.positive, &layout.positive);
        histogram.negative = buckets(&self.negative, &layout.negative);
    }
}

fn buckets(counts: &[XorValue], layout: &SideLayout) -> Buckets {
    layout.buckets(counts.iter().map(XorValue::value))
}
