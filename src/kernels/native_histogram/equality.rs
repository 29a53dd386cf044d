//! `==` of two histograms.

use crate::model::{BucketSpan, Buckets, NativeHistogram};

/// Are two histograms the same data? Counts and sums by their bits (a NaN equals itself, -0 is not 0), layouts including empty
/// buckets; the reset hints do not matter. As Prometheus v3.14 `FloatHistogram.Equals`.
pub fn histograms_equal(left: &NativeHistogram, right: &NativeHistogram) -> bool {
    let same = |left: f64, right: f64| left.to_bits() == right.to_bits();
    left.schema == right.schema
        && same(left.count, right.count)
        && same(left.sum, right.sum)
        && (!left.uses_custom_buckets() || left.custom_bounds == right.custom_bounds)
        && left.zero_threshold == right.zero_threshold
        && same(left.zero_count, right.zero_count)
        && buckets_equal(&left.negative, &right.negative)
        && buckets_equal(&left.positive, &right.positive)
}

fn buckets_equal(left: &Buckets, right: &Buckets) -> bool {
    left.counts.len() == right.counts.len()
        && left.counts.iter().zip(&right.counts).all(|(left, right)| left.to_bits() == right.to_bits())
        && filled_spans(&left.spans).eq(filled_spans(&right.spans))
}

/// Spans without those of length 0, whose offsets are handed on to the next.
fn filled_spans(spans: &[BucketSpan]) -> impl Iterator<Item = BucketSpan> + '_ {
    let mut carried = 0_i32;
    spans.iter().filter_map(move |span| {
        let offset = span.offset.wrapping_add(carried);
        carried = if span.length == 0 { offset } else { 0 };
        (span.length > 0).then_some(BucketSpan { offset, ..*span })
    })
}
