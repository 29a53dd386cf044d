//! Custom buckets whose bounds differ.

use std::sync::Arc;

use super::cell::Cell;
use super::side::{Entry, Side};
use super::working::Working;
use crate::kernels::KahanSum;
use crate::model::NativeHistogram;

impl<C: Cell> Working<C> {
    /// Maps both histograms to the bounds that both have, and adds them there. Empty buckets fall away. As Prometheus v3.14
    /// `addCustomBucketsWithMismatches`, which compensates here even where it otherwise does not.
    pub(super) fn add_buckets_of_other_bounds(&mut self, other: &NativeHistogram, sign: f64) {
        let bounds = common_bounds(&self.custom_bounds, &other.custom_bounds);
        let mut sums = vec![KahanSum::default(); bounds.len() + 1];
        let own = self.positive.entries.iter().map(|entry| (entry.index, entry.count.as_kahan()));
        add_mapped(&mut sums, &bounds, own, &self.custom_bounds);
        let others = other.positive.indexed().map(|(index, count)| (index, KahanSum::starting_at(count * sign)));
        add_mapped(&mut sums, &bounds, others, &other.custom_bounds);
        let mut entries = Vec::new();
        let mut end = None;
        for (index, sum) in (0_i32..).zip(&sums) {
            if !sum.is_zero() {
                entries.push(Entry { index, starts_span: end != Some(index), count: C::of_kahan(*sum) });
                end = Some(index + 1);
            }
        }
        self.positive = Side { entries };
        self.custom_bounds = bounds;
    }
}

/// The bounds that are in both lists; both ascend.
pub(super) fn common_bounds(left: &[f64], right: &[f64]) -> Arc<[f64]> {
    let mut rest = right.iter().peekable();
    let is_common = |bound: &&f64| {
        while rest.next_if(|other| *other < *bound).is_some() {}
        rest.next_if_eq(bound).is_some()
    };
    left.iter().filter(is_common).copied().collect()
}

/// Adds buckets into those of coarser bounds: each into the first whose bound is not below its own.
fn add_mapped(sums: &mut [KahanSum], coarser: &[f64], buckets: impl Iterator<Item = (i32, KahanSum)>, bounds: &[f64]) {
    let mut at = 0;
    for (index, count) in buckets {
        let target = match bounds.get(usize::try_from(index).unwrap_or(0)) {
            Some(bound) => {
                at += coarser[at..].iter().take_while(|coarse| **coarse < *bound).count();
                at
            }
            None => coarser.len(),
        };
        sums[target].absorb(count);
    }
}
