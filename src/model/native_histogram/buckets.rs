//! The buckets of a histogram one by one, with their bounds.

use super::{Buckets, NativeHistogram, bucket_bound};

/// One bucket of a native histogram.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct HistogramBucket {
    /// Lower bound; -Inf below the lowest custom bound.
    pub lower: f64,
    /// Upper bound; +Inf above the highest custom bound.
    pub upper: f64,
    /// Does the lower bound belong to the bucket?
    pub lower_inclusive: bool,
    /// Does the upper bound?
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
}

impl HistogramBucket {
    /// The number by which Prometheus' API tells which bounds belong to a bucket: 0 the upper, 1 the lower, 2 none, 3 both.
    pub fn boundary_rule(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
}

impl Buckets {
    /// Indexes and counts, ascending. Never more than there are counts, whatever the spans say.
    pub fn indexed(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let mut end = 0_i64;
        let indexes = self.spans.iter().flat_map(move |span| {
            let start = end.saturating_add(i64::from(span.offset));
            end = start.saturating_add(i64::from(span.length));
            start..end
        });
        indexes.map(|index| index as i32).zip(self.counts.iter().copied())
    }

    /// Does a bucket count less than before, or is one that counted something gone?
    pub fn has_fallen_since(&self, before: &Self) -> bool {
        let mut now = self.indexed().peekable();
        let mut before = before.indexed();
        before.any(|(index, count)| {
            while now.next_if(|(other, _)| *other < index).is_some() {}
            match now.next_if(|(other, _)| *other == index) {
                Some((_, count_now)) => count > count_now,
                None => count != 0.0,
            }
        })
    }

    /// Indexes and counts, descending.
    pub fn indexed_rev(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let mut start = self
            .spans
            .iter()
            .fold(0_i64, |end, span| end.saturating_add(i64::from(span.offset) + i64::from(span.length)));
        let indexes = self.spans.iter().rev().flat_map(move |span| {
            let end = start;
            let first = end.saturating_sub(i64::from(span.length));
            start = first.saturating_sub(i64::from(span.offset));
            (first..end).rev()
        });
        indexes.map(|index| index as i32).zip(self.counts.iter().rev().copied())
    }

    /// Are there no buckets, not even empty ones?
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl NativeHistogram {
    /// The bucket around zero; custom buckets have none.
    pub fn zero_bucket(&self) -> Option<HistogramBucket> {
        (!self.uses_custom_buckets()).then_some(HistogramBucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        })
    }

    /// All buckets in ascending order, the zero bucket only if it counts something, empty others too. A neighbour that
    /// reaches into the zero bucket is cut at its threshold. As Prometheus v3.14 `AllBucketIterator`.
    pub fn buckets(&self) -> impl Iterator<Item = HistogramBucket> + '_ {
        let below = self.negative.indexed_rev().map(|(index, count)| self.negative_bucket(index, count));
        let above = self.positive.indexed().map(|(index, count)| self.positive_bucket(index, count));
        self.with_zero_bucket(below, above)
    }

    /// All buckets in descending order.
    pub fn buckets_rev(&self) -> impl Iterator<Item = HistogramBucket> + '_ {
        let above = self.positive.indexed_rev().map(|(index, count)| self.positive_bucket(index, count));
        let below = self.negative.indexed().map(|(index, count)| self.negative_bucket(index, count));
        self.with_zero_bucket(above, below)
    }

    fn with_zero_bucket<'a>(
        &'a self,
        first: impl Iterator<Item = HistogramBucket> + 'a,
        last: impl Iterator<Item = HistogramBucket> + 'a,
    ) -> impl Iterator<Item = HistogramBucket> + 'a {
        let zero = self.zero_bucket().filter(|bucket| bucket.count > 0.0);
        first
            .map(|bucket| self.cut_at_threshold(bucket))
            .chain(zero)
            .chain(last.map(|bucket| self.cut_at_threshold(bucket)))
    }

    /// The bucket of an index on the positive side.
    pub fn positive_bucket(&self, index: i32, count: f64) -> HistogramBucket {
        let lower = bucket_bound(index.wrapping_sub(1), self.schema, &self.custom_bounds);
        let upper = bucket_bound(index, self.schema, &self.custom_bounds);
        self.bucket(lower, upper, index, count)
    }

    /// The bucket of an index on the negative side; indexes grow away from zero.
    pub fn negative_bucket(&self, index: i32, count: f64) -> HistogramBucket {
        let lower = -bucket_bound(index, self.schema, &[]);
        let upper = -bucket_bound(index.wrapping_sub(1), self.schema, &[]);
        self.bucket(lower, upper, index, count)
    }

    fn bucket(&self, lower: f64, upper: f64, index: i32, count: f64) -> HistogramBucket {
        let (lower_inclusive, upper_inclusive) =
            if self.uses_custom_buckets() { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        HistogramBucket { lower, upper, lower_inclusive, upper_inclusive, count }
    }

    fn cut_at_threshold(&self, mut bucket: HistogramBucket) -> HistogramBucket {
        let threshold = self.zero_threshold;
        if bucket.lower > 0.0 && bucket.lower < threshold {
            bucket.lower = threshold;
        } else if bucket.upper < 0.0 && bucket.upper > -threshold {
            bucket.upper = -threshold;
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};
    use super::*;

    fn side(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
        let spans = spans.iter().map(|&(offset, length)| BucketSpan { offset, length }).collect();
        Buckets { spans, counts: counts.to_vec() }
    }

    fn shown(buckets: impl Iterator<Item = HistogramBucket>) -> Vec<(f64, f64, u8, f64)> {
        buckets.map(|bucket| (bucket.lower, bucket.upper, bucket.boundary_rule(), bucket.count)).collect()
    }

    #[test]
    fn buckets_ascend_from_the_negative_over_zero_to_the_positive() {
        let histogram = NativeHistogram {
            zero_threshold: 0.75,
            zero_count: 2.0,
            positive: side(&[(0, 1), (1, 0), (0, 2)], &[1.0, 0.0, 3.0]),
            negative: side(&[(0, 2)], &[4.0, 5.0]),
            ..NativeHistogram::default()
        };
        let ascending = [
            (-2.0, -1.0, 1, 5.0),
            (-1.0, -0.75, 1, 4.0),
            (-0.75, 0.75, 3, 2.0),
            (0.75, 1.0, 0, 1.0),
            (2.0, 4.0, 0, 0.0),
            (4.0, 8.0, 0, 3.0),
        ];
        assert_eq!(shown(histogram.buckets()), ascending);
        let mut descending = ascending;
        descending.reverse();
        assert_eq!(shown(histogram.buckets_rev()), descending);
    }

    #[test]
    fn an_empty_zero_bucket_is_left_out() {
        let histogram = NativeHistogram { positive: side(&[(1, 1)], &[1.0]), ..NativeHistogram::default() };
        assert_eq!(shown(histogram.buckets()), [(1.0, 2.0, 0, 1.0)]);
    }

    #[test]
    fn the_lowest_custom_bucket_is_closed_and_the_outer_ones_are_infinite() {
        let histogram = NativeHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: [5.0, 10.0].into(),
            positive: side(&[(0, 3)], &[1.0, 2.0, 3.0]),
            // Not allowed; must not be shown.
            zero_count: 7.0,
            ..NativeHistogram::default()
        };
        let ascending = [(f64::NEG_INFINITY, 5.0, 3, 1.0), (5.0, 10.0, 0, 2.0), (10.0, f64::INFINITY, 0, 3.0)];
        assert_eq!(shown(histogram.buckets()), ascending);
    }

    #[test]
    fn spans_that_do_not_fit_the_counts_do_no_harm() {
        let wild = side(&[(i32::MAX, u32::MAX), (i32::MIN, 0), (i32::MAX, u32::MAX)], &[1.0, 2.0]);
        assert_eq!(wild.indexed().count(), 2);
        assert_eq!(wild.indexed_rev().count(), 2);
        assert_eq!(side(&[], &[1.0]).indexed().count(), 0);
        assert_eq!(side(&[(0, 5)], &[1.0]).indexed().collect::<Vec<_>>(), [(0, 1.0)]);
    }
}
