//! The buckets of one sign in the making: a list by index, instead of spans and counts.

use super::cell::Cell;
use crate::model::{BucketSpan, Buckets, NativeHistogram, bucket_bound};

/// A bucket in the making.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Entry<C> {
    /// Index in the schema.
    pub(super) index: i32,
    /// Does a span start here, even without a gap before it? Prometheus does not unite spans until it compacts, and `==`
    /// of two histograms compares spans.
    pub(super) starts_span: bool,
    /// Observations.
    pub(super) count: C,
}

/// Buckets of one sign by index, ascending as long as the spans they came from were sound.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Side<C> {
    pub(super) entries: Vec<Entry<C>>,
}

impl<C: Cell> Side<C> {
    /// The buckets, each count multiplied by `sign`.
    pub(super) fn of(buckets: &Buckets, sign: f64) -> Self {
        let mut entries = Vec::with_capacity(buckets.counts.len());
        let mut counts = buckets.counts.iter();
        let mut next = 0_i64;
        for span in &buckets.spans {
            next = next.saturating_add(i64::from(span.offset));
            for (at, count) in (0..span.length).zip(&mut counts) {
                let index = next.saturating_add(i64::from(at)) as i32;
                entries.push(Entry { index, starts_span: at == 0, count: C::of(count * sign) });
            }
            next = next.saturating_add(i64::from(span.length));
        }
        Self { entries }
    }

    /// Spans and counts; what rounding took is left behind.
    pub(super) fn to_buckets(&self) -> Buckets {
        let mut spans: Vec<BucketSpan> = Vec::new();
        let mut end = 0_i32;
        for entry in &self.entries {
            match spans.last_mut() {
                Some(span) if !entry.starts_span && entry.index == end => span.length += 1,
                _ => spans.push(BucketSpan { offset: entry.index.wrapping_sub(end), length: 1 }),
            }
            end = entry.index.wrapping_add(1);
        }
        Buckets { spans, counts: self.entries.iter().map(|entry| entry.count.value()).collect() }
    }

    /// Adds the buckets of another, both of one schema. Leading buckets of the other that lie within the zero bucket are in
    /// its count already and left out.
    pub(super) fn add(&mut self, other: &Self, schema: i32, zero_threshold: f64, is_exponential: bool) {
        let within = |entry: &&Entry<C>| is_exponential && bucket_bound(entry.index, schema, &[]) <= zero_threshold;
        let skipped = other.entries.iter().take_while(within).count();
        let added = &other.entries[skipped..];
        let mut missing = false;
        let mut at = 0;
        for entry in added {
            at += self.entries[at..].iter().take_while(|own| own.index < entry.index).count();
            match self.entries.get_mut(at) {
                Some(own) if own.index == entry.index => own.count.absorb(entry.count),
                _ => missing = true,
            }
        }
        if missing {
            self.insert_missing(added);
        }
    }

    /// Inserts the entries whose index is not there yet. A new bucket belongs to the span right before it, or else to that
    /// right behind it.
    fn insert_missing(&mut self, added: &[Entry<C>]) {
        let mut united: Vec<Entry<C>> = Vec::with_capacity(self.entries.len() + added.len());
        let mut own = self.entries.iter().copied().peekable();
        for entry in added {
            while let Some(next) = own.next_if(|next| next.index < entry.index) {
                united.push(next);
            }
            if own.peek().is_some_and(|next| next.index == entry.index) {
                continue;
            }
            let follows = united.last().is_some_and(|last| last.index.wrapping_add(1) == entry.index);
            if !follows && let Some(next) = own.peek_mut().filter(|next| next.index == entry.index.wrapping_add(1)) {
                next.starts_span = false;
            }
            united.push(Entry { starts_span: !follows, ..*entry });
        }
        united.extend(own);
        self.entries = united;
    }

    /// Merges buckets to a coarser schema.
    pub(super) fn reduce(&mut self, schema: i32, coarser: i32) {
        let shift = schema.saturating_sub(coarser).clamp(0, 31);
        let mut reduced: Vec<Entry<C>> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let index = (entry.index.wrapping_sub(1) >> shift).wrapping_add(1);
            match reduced.last_mut() {
                Some(last) if last.index == index => last.count.absorb(entry.count),
                last => {
                    let starts_span = last.is_none_or(|last| last.index.wrapping_add(1) != index);
                    reduced.push(Entry { index, starts_span, count: entry.count });
                }
            }
        }
        self.entries = reduced;
    }

    /// Drops empty buckets and unites spans without a gap between them.
    pub(super) fn compact(&mut self) {
        self.entries.retain(|entry| !entry.count.is_zero());
        let mut end = None;
        for entry in &mut self.entries {
            entry.starts_span = end != Some(entry.index);
            end = Some(entry.index.wrapping_add(1));
        }
    }
}

/// Drops empty buckets and unites spans without a gap between them; as Prometheus v3.14 `Compact(0)`. Arithmetic leaves empty
/// buckets behind: Prometheus compacts after each operator and aggregation, but not after `sum_over_time`.
pub fn compact(histogram: &mut NativeHistogram) {
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let has_work = buckets.counts.contains(&0.0)
            || buckets.spans.iter().any(|span| span.length == 0)
            || buckets.spans.iter().skip(1).any(|span| span.offset == 0);
        if has_work {
            let mut side = Side::<f64>::of(buckets, 1.0);
            side.compact();
            *buckets = side.to_buckets();
        }
    }
}
