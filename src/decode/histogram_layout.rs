//! Where the buckets of a native histogram lie, checked as it comes from outside.

use std::sync::Arc;

use thiserror::Error;

use crate::model::{BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN};

/// Prometheus takes finer schemas up to this one and makes them as coarse as the finest that it computes with.
const SCHEMA_MAX_TAKEN: i64 = 52;
/// Buckets of one sign. The finest schema has about 540,000 for all floats there are.
pub(super) const SIDE_BUCKETS_MAX: usize = 1 << 20;

/// Why buckets cannot lie as they are said to.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum HistogramLayoutError {
    /// No schema that can be computed with.
    #[error("histogram schema {0} is neither one of -4 to 52 nor -53 for custom buckets")]
    Schema(i64),
    /// More buckets than floats could fill.
    #[error("a histogram has more than 1048576 buckets of one sign")]
    TooManyBuckets,
    /// Spans go back, or beyond what an index can say.
    #[error("a bucket span of a histogram begins at {0}, outside of what is possible")]
    SpanOffset(i64),
    /// Bounds do not ascend, are no numbers, or name the infinite one, which goes without saying.
    #[error("the custom bounds of a histogram do not ascend to a finite one")]
    CustomBounds,
    /// More buckets than bounds make, or negative ones.
    #[error("a histogram has buckets outside of its custom bounds")]
    OutsideOfBounds,
}

/// The buckets of one sign.
#[derive(Clone, Debug, Default)]
pub(super) struct SideLayout {
    /// How many counts are sent.
    pub(super) sent_buckets: usize,
    spans: Vec<BucketSpan>,
    /// For each sent count which of the buckets it belongs to, where the sent schema is too fine.
    merged_into: Option<Vec<u32>>,
}

impl SideLayout {
    /// The buckets with their counts, as many as are sent.
    pub(super) fn buckets(&self, counts: impl ExactSizeIterator<Item = f64>) -> Buckets {
        debug_assert_eq!(counts.len(), self.sent_buckets);
        let counts = match &self.merged_into {
            None => counts.collect(),
            Some(merged_into) => {
                let mut merged = vec![0.0; merged_into.last().map_or(0, |last| *last as usize + 1)];
                counts.zip(merged_into).for_each(|(count, bucket)| merged[*bucket as usize] += count);
                merged
            }
        };
        Buckets { spans: self.spans.clone(), counts }
    }

    fn try_new(spans: Vec<BucketSpan>) -> Result<Self, HistogramLayoutError> {
        let mut end = 0_i64;
        let mut sent_buckets = 0_usize;
        for (index, span) in spans.iter().enumerate() {
            end += i64::from(span.offset);
            if (index > 0 && span.offset < 0) || i32::try_from(end).is_err() {
                return Err(HistogramLayoutError::SpanOffset(end));
            }
            end += i64::from(span.length);
            sent_buckets = sent_buckets.saturating_add(span.length as usize);
            if sent_buckets > SIDE_BUCKETS_MAX || i32::try_from(end).is_err() {
                return Err(HistogramLayoutError::TooManyBuckets);
            }
        }
        Ok(Self { sent_buckets, spans, merged_into: None })
    }

    /// Merges buckets until they are those of a schema that is coarser by `steps`.
    fn coarsened(self, steps: u32) -> Self {
        let mut spans: Vec<BucketSpan> = Vec::new();
        let mut merged_into = Vec::with_capacity(self.sent_buckets);
        let (mut bucket_count, mut last) = (0, 0_i64);
        let mut end = 0_i64;
        for span in &self.spans {
            end += i64::from(span.offset);
            for index in end..end + i64::from(span.length) {
                let target = ((index - 1) >> steps) + 1;
                match spans.last_mut() {
                    Some(_) if target == last => {}
                    Some(span) if target == last + 1 => {
                        span.length += 1;
                        bucket_count += 1;
                    }
                    before => {
                        let offset = if before.is_some() { target - last - 1 } else { target };
                        // It fits: indexes only come closer together.
                        spans.push(BucketSpan { offset: offset as i32, length: 1 });
                        bucket_count += 1;
                    }
                }
                last = target;
                merged_into.push(bucket_count - 1);
            }
            end += i64::from(span.length);
        }
        Self { spans, merged_into: Some(merged_into), ..self }
    }
}

/// What all histograms of a chunk have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct HistogramLayout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive: SideLayout,
    pub(super) negative: SideLayout,
    pub(super) custom_bounds: Arc<[f64]>,
}

impl HistogramLayout {
    /// Checks what was sent. Schemas finer than those that can be computed with become the finest of these, as in Prometheus.
    pub(super) fn try_new(
        schema: i64,
        zero_threshold: f64,
        positive: Vec<BucketSpan>,
        negative: Vec<BucketSpan>,
        custom_bounds: Vec<f64>,
    ) -> Result<Self, HistogramLayoutError> {
        let (mut positive, mut negative) = (SideLayout::try_new(positive)?, SideLayout::try_new(negative)?);
        if schema == i64::from(CUSTOM_BUCKETS_SCHEMA) {
            check_custom(&positive, &negative, &custom_bounds)?;
            let custom_bounds = custom_bounds.into();
            return Ok(Self { schema: CUSTOM_BUCKETS_SCHEMA, zero_threshold, positive, negative, custom_bounds });
        }
        if !(i64::from(EXPONENTIAL_SCHEMA_MIN)..=SCHEMA_MAX_TAKEN).contains(&schema) {
            return Err(HistogramLayoutError::Schema(schema));
        }
        if !custom_bounds.is_empty() {
            return Err(HistogramLayoutError::CustomBounds);
        }
        let mut schema = schema as i32;
        if schema > EXPONENTIAL_SCHEMA_MAX {
            let steps = schema.abs_diff(EXPONENTIAL_SCHEMA_MAX);
            (positive, negative) = (positive.coarsened(steps), negative.coarsened(steps));
            schema = EXPONENTIAL_SCHEMA_MAX;
        }
        Ok(Self { schema, zero_threshold, positive, negative, custom_bounds: Arc::from([]) })
    }
}

fn check_custom(positive: &SideLayout, negative: &SideLayout, bounds: &[f64]) -> Result<(), HistogramLayoutError> {
    let ascend = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascend || bounds.first().is_some_and(|bound| bound.is_nan()) || bounds.last() == Some(&f64::INFINITY) {
        return Err(HistogramLayoutError::CustomBounds);
    }
    let end: i64 = positive.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    let begins_below = positive.spans.first().is_some_and(|span| span.offset < 0);
    if begins_below || end > bounds.len() as i64 + 1 || negative.sent_buckets > 0 {
        return Err(HistogramLayoutError::OutsideOfBounds);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(i32, u32)]) -> Vec<BucketSpan> {
        spans.iter().map(|&(offset, length)| BucketSpan { offset, length }).collect()
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let layout = |schema, positive: &[(i32, u32)], negative: &[(i32, u32)], bounds: &[f64]| {
            HistogramLayout::try_new(schema, 0.0, spans(positive), spans(negative), bounds.to_vec())
                .map(|layout| layout.schema)
        };
        use HistogramLayoutError::*;
        for (schema, positive, negative, bounds, expected) in [
            (8, &[(-5, 2), (0, 0), (3, 1)][..], &[(i32::MIN, 1)][..], &[][..], Ok(8)),
            (52, &[], &[], &[], Ok(8)),
            (-4, &[], &[], &[], Ok(-4)),
            (-5, &[], &[], &[], Err(Schema(-5))),
            (53, &[], &[], &[], Err(Schema(53))),
            (i64::MIN, &[], &[], &[], Err(Schema(i64::MIN))),
            (0, &[(0, 1), (-1, 1)], &[], &[], Err(SpanOffset(0))),
            (0, &[(i32::MAX, 0), (1, 0)], &[], &[], Err(SpanOffset(1 << 31))),
            (0, &[], &[(i32::MAX, 1)], &[], Err(TooManyBuckets)),
            (0, &[(0, u32::MAX)], &[], &[], Err(TooManyBuckets)),
            (0, &[(0, 1 << 20)], &[], &[], Ok(0)),
            (0, &[(0, 1 << 20), (0, 1)], &[], &[], Err(TooManyBuckets)),
            (0, &[], &[], &[1.0], Err(CustomBounds)),
            (-53, &[(0, 3)], &[], &[1.0, 2.0], Ok(-53)),
            (-53, &[(1, 1), (1, 1)], &[], &[f64::NEG_INFINITY, 2.0], Err(OutsideOfBounds)),
            (-53, &[(-1, 1)], &[], &[1.0], Err(OutsideOfBounds)),
            (-53, &[], &[(0, 1)], &[1.0], Err(OutsideOfBounds)),
            (-53, &[], &[], &[1.0, 1.0], Err(CustomBounds)),
            (-53, &[], &[], &[f64::NAN], Err(CustomBounds)),
            (-53, &[], &[], &[1.0, f64::INFINITY], Err(CustomBounds)),
        ] {
            assert_eq!(layout(schema, positive, negative, bounds), expected, "{schema} {positive:?} {negative:?}");
        }
    }

    #[test]
    fn buckets_of_a_too_fine_schema_are_merged() {
        // Of schema 10, four make one of schema 8: 1 to 4 are 1, 5 to 8 are 2, -3 to 0 are 0.
        let sent = spans(&[(-4, 2), (0, 0), (1, 1), (3, 3), (9, 1)]);
        let layout = HistogramLayout::try_new(10, 0.5, sent, Vec::new(), Vec::new()).expect("taken");
        assert_eq!((layout.schema, layout.positive.sent_buckets), (8, 7));
        let buckets = layout.positive.buckets([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].into_iter());
        // Sent indexes -4 -3 -1 3 4 5 15.
        assert_eq!(buckets.spans, spans(&[(-1, 4), (1, 1)]));
        assert_eq!(buckets.counts, [1.0, 6.0, 24.0, 32.0, 64.0]);
    }
}
