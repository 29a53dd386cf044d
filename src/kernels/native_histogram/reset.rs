//! Counter resets.

use super::custom_bounds::common_bounds;
use super::side::Side;
use super::zero_bucket::zero_count_for;
use crate::model::{CounterResetHint, NativeHistogram, bucket_bound};

/// Was the counter reset between two histograms of a series? As Prometheus v3.14 `DetectReset`.
///
/// The hint of the current one decides if it says so. Otherwise it is a reset if the count, the zero count or a bucket fell,
/// a populated bucket is gone, the resolution grew, the zero bucket shrank or ends within what was a populated bucket, or
/// exponential buckets became custom ones. Gauges are looked at like counters.
pub fn detect_reset(current: &NativeHistogram, previous: &NativeHistogram) -> bool {
    match current.counter_reset_hint {
        CounterResetHint::Reset => return true,
        CounterResetHint::NotReset => return false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => {}
    }
    if current.count < previous.count {
        return true;
    }
    if current.uses_custom_buckets() {
        if !previous.uses_custom_buckets() {
            return true;
        }
        if current.custom_bounds != previous.custom_bounds {
            return has_fallen_at_common_bounds(current, previous);
        }
    }
    if current.schema > previous.schema || current.zero_threshold < previous.zero_threshold {
        return true;
    }
    let is_custom = current.uses_custom_buckets();
    let before = (Side::<f64>::of(&previous.positive, 1.0), Side::<f64>::of(&previous.negative, 1.0));
    if current.zero_threshold == previous.zero_threshold {
        if current.zero_count < previous.zero_count {
            return true;
        }
    } else {
        let (zero_count, threshold) =
            zero_count_for(current.zero_threshold, previous.zero_count, &before.0, &before.1, previous.schema);
        if threshold != current.zero_threshold || current.zero_count < zero_count {
            return true;
        }
    }
    let (mut positive, mut negative) = before;
    if current.schema < previous.schema {
        positive.reduce(previous.schema, current.schema);
        negative.reduce(previous.schema, current.schema);
    }
    let sides = [(&current.positive, positive), (&current.negative, negative)];
    sides.into_iter().any(|(now, before)| {
        let within_zero = |index: i32| {
            current.zero_threshold != 0.0
                && !is_custom
                && bucket_bound(index, current.schema, &[]) <= current.zero_threshold
        };
        has_bucket_fallen(
            now.indexed().skip_while(|(index, _)| within_zero(*index)),
            before.entries.iter().map(|entry| (entry.index, entry.count)).skip_while(|(index, _)| within_zero(*index)),
        )
    })
}

/// Is a bucket that was populated before smaller now, or gone?
///
/// Where the current histogram has no more buckets, the first bucket of the previous one that is left decides alone: Prometheus
/// v3.14 goes through the others without looking at them, and a reset that it does not see must be none here.
fn has_bucket_fallen(now: impl Iterator<Item = (i32, f64)>, before: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|(other, _)| *other < index).is_some() {}
        match now.peek() {
            None => return count != 0.0,
            Some((other, count_now)) if *other == index && *count_now < count => return true,
            Some((other, _)) if *other > index && count != 0.0 => return true,
            Some(_) => {}
        }
    }
    false
}

/// Custom buckets of different bounds are compared at the bounds that both have.
fn has_fallen_at_common_bounds(current: &NativeHistogram, previous: &NativeHistogram) -> bool {
    let bounds = common_bounds(&current.custom_bounds, &previous.custom_bounds);
    let mut now = current.positive.indexed().peekable();
    let mut before = previous.positive.indexed().peekable();
    bounds.iter().copied().chain([f64::INFINITY]).any(|bound| {
        let upper =
            |index, histogram: &NativeHistogram| bucket_bound(index, histogram.schema, &histogram.custom_bounds);
        let mut rolled_up = [0.0, 0.0];
        while let Some((_, count)) = now.next_if(|(index, _)| upper(*index, current) <= bound) {
            rolled_up[0] += count;
        }
        while let Some((_, count)) = before.next_if(|(index, _)| upper(*index, previous) <= bound) {
            rolled_up[1] += count;
        }
        rolled_up[0] < rolled_up[1]
    })
}
