//! Replicas' raw samples of one series.

use std::cmp::Ordering;

use super::{MergeValue, infer_anti_affinity_ms};

/// How the replicas of a group are merged: the group's `anti_affinity`, `anti_affinity_dynamic` and `prefer_max`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd)]
pub struct MergePolicy {
    /// Milliseconds, below 0 is 0. A sample of another replica may fill in only where it is further than this from the base's
    /// samples on both sides. Default 10 000: two replicas scrape the same target up to one interval apart.
    pub anti_affinity_ms: i64,
    /// Infer the window per series from its sample spacing, and use `anti_affinity_ms` only where that fails.
    pub dynamic: bool,
    /// Of two samples of the same scrape the larger value counts.
    pub prefer_max: bool,
}

impl MergePolicy {
    /// Between groups: whatever is at another time is another sample.
    pub const BETWEEN_GROUPS: Self = Self { anti_affinity_ms: 0, dynamic: false, prefer_max: false };

    /// The window for one series, given the times of its replicas, the base first.
    pub(super) fn window_ms<'a>(&self, times: impl IntoIterator<Item = &'a [i64]>) -> i64 {
        let inferred = if self.dynamic { infer_anti_affinity_ms(times) } else { None };
        inferred.unwrap_or(self.anti_affinity_ms).max(0)
    }
}

impl Default for MergePolicy {
    fn default() -> Self {
        Self { anti_affinity_ms: 10_000, dynamic: false, prefer_max: false }
    }
}

/// One replica's samples of a series: times (ms, ascending) and values, of equal length.
pub type Samples<'a, V = f64> = (&'a [i64], &'a [V]);

/// Appends the merged samples of all replicas of one series, ascending in time. The order of `replicas` does not matter.
///
/// The replica with the most samples is the base (of equal counts the one whose content sorts first), and all of its samples
/// are in the result. The others are folded in by their size. With W the window, a sample of another replica fills in
/// - before the base's first sample, if more than W before it;
/// - between two base samples that are more than 2 W apart, if more than W from both;
/// - behind the last one, if more than W behind it.
///
/// Samples of one replica are never spaced against each other. With `prefer_max` a base sample takes the value of the other
/// replica's first sample less than W away (or at the same time), if that is larger; NaN is never larger. Stale markers are
/// samples like any other, and so are histograms ([`MergeValue`]). As promxy's merge, but at millisecond resolution, and `prefer_max` holds for the first sample too.
///
/// | W | replica | replica | result |
/// |---|---|---|---|
/// | 2 | 1, 6 | 1 2 3 4 5 6 | 1 2 3 4 5 6 |
/// | 100 | 200, 400 | 100, 300 | 100, 300 (of two equal counts the earlier is the base; 400 is not more than 100 behind 300) |
/// | 0 | any | any | all times of both; of the same time the base's |
pub fn merge_samples<V: MergeValue>(
    replicas: &[Samples<'_, V>],
    policy: &MergePolicy,
    out_times: &mut Vec<i64>,
    out_values: &mut Vec<V>,
) {
    debug_assert!(replicas.iter().all(|(times, values)| times.len() == values.len()));
    let mut sorted: Vec<Samples<'_, V>> = replicas.iter().copied().filter(|(times, _)| !times.is_empty()).collect();
    if sorted.len() > 1 {
        sorted.sort_by(compare_replicas);
        sorted.dedup_by(|a, b| compare_replicas(a, b) == Ordering::Equal);
    }
    let (base, others) = match sorted.as_slice() {
        [] => return,
        [base, others @ ..] => (*base, others),
    };
    let Some((last, middle)) = others.split_last() else {
        out_times.extend_from_slice(base.0);
        out_values.extend_from_slice(base.1);
        return;
    };
    let fold = PairMerge { window: policy.window_ms(sorted.iter().map(|(times, _)| *times)), policy };
    let mut merged: Option<(Vec<i64>, Vec<V>)> = None;
    for other in middle {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let so_far = merged.as_ref().map_or(base, |(times, values)| (times, values));
        fold.merge(so_far, *other, &mut times, &mut values);
        merged = Some((times, values));
    }
    let so_far = merged.as_ref().map_or(base, |(times, values)| (times, values));
    fold.merge(so_far, *last, out_times, out_values);
}

/// More samples first; then by times, then by the values, so that nothing but equal content compares equal.
fn compare_replicas<V: MergeValue>(a: &Samples<'_, V>, b: &Samples<'_, V>) -> Ordering {
    let by_values = || {
        let different = a.1.iter().zip(b.1).map(|(a, b)| a.compare_content(b)).find(|order| order.is_ne());
        different.unwrap_or(Ordering::Equal)
    };
    b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(b.0)).then_with(by_values)
}

/// Folds one further replica into what is merged so far.
struct PairMerge<'a> {
    window: i64,
    policy: &'a MergePolicy,
}

impl PairMerge<'_> {
    fn merge<V: MergeValue>(
        &self,
        base: Samples<'_, V>,
        other: Samples<'_, V>,
        out_times: &mut Vec<i64>,
        out_values: &mut Vec<V>,
    ) {
        let ((base_times, base_values), (other_times, other_values)) = (base, other);
        let (Some(first), Some(last)) = (base_times.first(), base_times.last()) else { return };
        let fill = |from: usize, to: usize, out_times: &mut Vec<i64>, out_values: &mut Vec<V>| {
            out_times.extend_from_slice(&other_times[from..to]);
            out_values.extend_from_slice(&other_values[from..to]);
        };
        // Samples of `other` before this index have been used, or lie before what comes next.
        let mut cursor = other_times.partition_point(|time| *time < first.saturating_sub(self.window));
        fill(0, cursor, out_times, out_values);
        let mut larger = LargerNeighbour { times: other_times, values: other_values, window: self.window, at: cursor };
        let mut keep = |from: usize, to: usize, out_times: &mut Vec<i64>, out_values: &mut Vec<V>| {
            out_times.extend_from_slice(&base_times[from..to]);
            if self.policy.prefer_max {
                let run = base_times[from..to].iter().zip(&base_values[from..to]);
                out_values.extend(run.map(|(time, value)| larger.value_at(*time, value)));
            } else {
                out_values.extend_from_slice(&base_values[from..to]);
            }
        };
        let hole_min = self.window.saturating_mul(2);
        let mut run_start = 0;
        for next in 1..base_times.len() {
            let (before, after) = (base_times[next - 1], base_times[next]);
            if after.saturating_sub(before) <= hole_min {
                continue;
            }
            let from = cursor + other_times[cursor..].partition_point(|t| *t <= before.saturating_add(self.window));
            let to = from + other_times[from..].partition_point(|t| *t < after.saturating_sub(self.window));
            cursor = to;
            if from < to {
                keep(run_start, next, out_times, out_values);
                fill(from, to, out_times, out_values);
                run_start = next;
            }
        }
        keep(run_start, base_times.len(), out_times, out_values);
        let tail = cursor + other_times[cursor..].partition_point(|time| *time <= last.saturating_add(self.window));
        fill(tail, other_times.len(), out_times, out_values);
    }
}

/// Looks for a larger value in the other replica; must be asked in ascending order of time.
struct LargerNeighbour<'a, V> {
    times: &'a [i64],
    values: &'a [V],
    window: i64,
    at: usize,
}

impl<V: MergeValue> LargerNeighbour<'_, V> {
    /// Only the first sample in the window counts, as in promxy: the one that most likely is the same scrape.
    fn value_at(&mut self, time: i64, own: &V) -> V {
        let too_early = |other: i64| other != time && other <= time.saturating_sub(self.window);
        while self.times.get(self.at).is_some_and(|other| too_early(*other)) {
            self.at += 1;
        }
        match self.times.get(self.at) {
            Some(other) if *other == time || *other < time.saturating_add(self.window) => {
                let larger = if self.values[self.at].is_larger_than(own) { &self.values[self.at] } else { own };
                larger.clone()
            }
            _ => own.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{is_stale, stale_marker};

    type Series = Vec<(i64, f64)>;

    /// `"100 200:7"`: samples at 100 (value 100) and at 200 (value 7).
    fn series(text: &str) -> Series {
        text.split_whitespace()
            .map(|sample| match sample.split_once(':') {
                Some((time, value)) => (time.parse().expect("time"), value.parse().expect("value")),
                None => (sample.parse().expect("time"), sample.parse().expect("time as value")),
            })
            .collect()
    }

    fn merge(replicas: &[Series], policy: &MergePolicy) -> Series {
        let columns: Vec<(Vec<i64>, Vec<f64>)> =
            replicas.iter().map(|samples| samples.iter().copied().unzip()).collect();
        let views: Vec<Samples<'_>> = columns.iter().map(|(times, values)| (&times[..], &values[..])).collect();
        let (mut times, mut values) = (Vec::new(), Vec::new());
        merge_samples(&views, policy, &mut times, &mut values);
        times.into_iter().zip(values).collect()
    }

    fn fixed(window: i64) -> MergePolicy {
        MergePolicy { anti_affinity_ms: window, dynamic: false, prefer_max: false }
    }

    /// Checks both orders of the replicas.
    fn check(policy: MergePolicy, a: &str, b: &str, merged: &str) {
        let (a, b, merged) = (series(a), series(b), series(merged));
        assert_eq!(merge(&[a.clone(), b.clone()], &policy), merged, "{policy:?} {a:?} {b:?}");
        assert_eq!(merge(&[b, a], &policy), merged, "{policy:?}, the other order");
    }

    #[test]
    fn promxys_worked_examples_hold_in_either_order() {
        check(fixed(20), "200 400", "100 300 500", "100 200 300 400 500");
        check(fixed(2), "1 6", "1 2 3 4 5 6", "1 2 3 4 5 6");
        check(fixed(10), "10 20 50 60", "30 40 50 60", "10 20 50 60");
        check(fixed(2), "", "1 2", "1 2");
        check(fixed(2), "", "", "");
        // promxy takes whichever came first here; we take the earlier.
        check(fixed(100), "200 400", "100 300", "100 300");
        check(fixed(2), "101", "100", "100");
    }

    #[test]
    fn equal_scrape_intervals_with_a_skew_double_unless_the_window_is_inferred() {
        let (a, b) = ("0 60000 120000", "30000 90000 150000");
        check(fixed(15_000), a, b, "0 30000 60000 90000 120000 150000");
        check(MergePolicy { dynamic: true, ..fixed(15_000) }, a, b, a);
    }

    #[test]
    fn an_inferred_window_lets_a_short_hole_be_filled() {
        let (a, b) = ("0 10000 20000 40000 50000", "30000");
        check(fixed(30_000), a, b, a);
        check(MergePolicy { dynamic: true, ..fixed(30_000) }, a, b, "0 10000 20000 30000 40000 50000");
    }

    #[test]
    fn the_replica_with_the_shorter_scrape_interval_is_the_base() {
        let dense = "0 30000 60000 90000 120000";
        check(MergePolicy { dynamic: true, ..fixed(10_000) }, "0 60000 120000", dense, dense);
    }

    #[test]
    fn prefer_max_takes_the_larger_of_one_scrape_even_at_the_first_sample() {
        let policy = |window| MergePolicy { prefer_max: true, ..fixed(window) };
        for window in [0, 1] {
            check(policy(window), "600:1 630:8 660:1", "600:8 630:1 660:8", "600:8 630:8 660:8");
        }
        check(policy(2), "1:10 3:20 6:20", "1:10 2:10 3:10 4:10 5:10 6:10", "1:10 2:10 3:20 4:20 5:20 6:20");
        check(policy(0), "1:1", "1:8", "1:8");
        check(policy(0), "1:1", "2:8", "1:1 2:8");
    }

    #[test]
    fn nan_is_never_the_larger_value() {
        let policy = MergePolicy { prefer_max: true, ..fixed(5) };
        let merged = merge(&[vec![(1, 3.0), (20, f64::NAN), (40, 1.0)], vec![(1, f64::NAN), (20, 5.0)]], &policy);
        assert_eq!(merged[0], (1, 3.0));
        assert!(merged[1].1.is_nan());
    }

    #[test]
    fn a_hole_of_exactly_two_windows_is_not_filled() {
        check(fixed(10), "0 20 40", "10 30", "0 20 40");
        check(fixed(10), "0 22 44", "11", "0 11 22 44");
        check(fixed(10), "0 22 44", "10", "0 22 44");
    }

    #[test]
    fn second_replica_fills_before_and_behind_only_after_anti_affinity() {
        check(fixed(10), "100 110 120", "89 131", "89 100 110 120 131");
        check(fixed(10), "100 110 120", "90 130", "100 110 120");
    }

    #[test]
    fn without_a_window_all_times_are_united() {
        check(fixed(0), "1 3 5 6", "2:0 3:0 7:0", "1 2:0 3 5 6 7:0");
        check(fixed(-5), "1 3 5 6", "2:0 3:0 7:0", "1 2:0 3 5 6 7:0");
    }

    #[test]
    fn stale_markers_are_kept_like_samples() {
        let stale = stale_marker();
        let merged = merge(&[vec![(0, 1.0), (15, stale), (100, 2.0)], vec![(50, stale)]], &fixed(10));
        assert_eq!(merged.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [0, 15, 50, 100]);
        assert!(is_stale(merged[1].1) && is_stale(merged[2].1));
    }

    #[test]
    fn a_third_replica_fills_what_two_have_left() {
        let replicas = [series("0 10 20 70 80 90"), series("30 40"), series("60:1 10:1 50:1")];
        let mut replicas = replicas.map(|mut samples| {
            samples.sort_by_key(|(time, _)| *time);
            samples
        });
        let merged = series("0 10 20 30 40 50:1 60:1 70 80 90");
        for _ in 0..3 {
            replicas.rotate_left(1);
            assert_eq!(merge(&replicas, &fixed(4)), merged);
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let merged = merge(&[vec![(i64::MIN, 1.0), (i64::MAX, 2.0)], vec![(0, 3.0)]], &fixed(i64::MAX));
        assert_eq!(merged.len(), 2);
        let merged = merge(&[vec![(i64::MIN, 1.0), (i64::MAX, 2.0)], vec![(0, 3.0)]], &fixed(1));
        assert_eq!(merged.len(), 3);
    }

    /// The pair merge, sample by sample, as plainly as it can be said.
    fn merge_pair_slowly(window: i64, prefer_max: bool, base: &Series, other: &Series) -> Series {
        if base.is_empty() {
            return other.clone();
        }
        let far = |a: i64, b: i64| (a - b).abs() > window;
        let mut merged: Series = base
            .iter()
            .map(|(time, value)| {
                let near = other.iter().find(|(t, _)| t == time || (t - time).abs() < window);
                match near {
                    Some((_, larger)) if prefer_max && larger > value => (*time, *larger),
                    _ => (*time, *value),
                }
            })
            .collect();
        for (time, value) in other {
            let before = base.iter().rev().map(|(t, _)| *t).find(|t| t <= time);
            let after = base.iter().map(|(t, _)| *t).find(|t| t > time);
            let room = match (before, after) {
                (Some(before), Some(after)) => after - before > 2 * window && far(*time, before) && far(*time, after),
                (Some(edge), None) | (None, Some(edge)) => far(*time, edge),
                (None, None) => true,
            };
            if room && before != Some(*time) {
                merged.push((*time, *value));
            }
        }
        merged.sort_by_key(|(time, _)| *time);
        merged
    }

    fn merge_slowly(replicas: &[Series], policy: &MergePolicy) -> Series {
        let mut sorted = replicas.to_vec();
        let content = |samples: &Series| samples.iter().map(|(t, v)| (*t, v.to_bits())).unzip::<_, _, Vec<_>, Vec<_>>();
        sorted.sort_by_key(|samples| (std::cmp::Reverse(samples.len()), content(samples)));
        let times: Vec<Vec<i64>> =
            sorted.iter().map(|samples| samples.iter().map(|(time, _)| *time).collect()).collect();
        let window = policy.window_ms(times.iter().map(Vec::as_slice));
        sorted.iter().fold(Vec::new(), |merged, other| merge_pair_slowly(window, policy.prefer_max, &merged, other))
    }

    fn any_series() -> impl Strategy<Value = Series> {
        prop::collection::btree_map(0i64..120, 0u8..4, 0..25)
            .prop_map(|samples| samples.into_iter().map(|(time, value)| (time, f64::from(value))).collect())
    }

    fn any_policy() -> impl Strategy<Value = MergePolicy> {
        (0i64..20, any::<bool>(), any::<bool>()).prop_map(|(anti_affinity_ms, dynamic, prefer_max)| MergePolicy {
            anti_affinity_ms,
            dynamic,
            prefer_max,
        })
    }

    proptest! {
        #[test]
        fn it_equals_the_slow_obvious_merge(replicas in prop::collection::vec(any_series(), 0..5), policy in any_policy()) {
            prop_assert_eq!(merge(&replicas, &policy), merge_slowly(&replicas, &policy));
        }

        #[test]
        fn the_order_of_replicas_does_not_matter(
            (replicas, shuffled) in prop::collection::vec(any_series(), 0..5)
                .prop_flat_map(|replicas| (Just(replicas.clone()), Just(replicas).prop_shuffle())),
            policy in any_policy(),
        ) {
            prop_assert_eq!(merge(&replicas, &policy), merge(&shuffled, &policy));
        }

        #[test]
        fn times_ascend_and_come_from_a_replica(replicas in prop::collection::vec(any_series(), 1..5), policy in any_policy()) {
            let merged = merge(&replicas, &policy);
            prop_assert!(merged.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert!(merged.iter().all(|(time, _)| replicas.iter().flatten().any(|(t, _)| t == time)));
            let longest = replicas.iter().map(Vec::len).max().unwrap_or(0);
            prop_assert!(merged.len() >= longest);
        }
    }
}
