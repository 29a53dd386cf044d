//! Replicas' step cells of one series.

use std::cmp::{Ordering, Reverse};

use super::{MergePolicy, MergeValue};

/// The newest sample that is visible at a step: its value and its own time (ms). `None`: no sample.
pub type StepCell<V = f64> = Option<(V, i64)>;

/// Appends the merged cells of all replicas of one series, one a step. The order of `replicas` does not matter; all have the
/// same number of cells.
///
/// The replica with the most cells is the base (of equal counts the one whose content sorts first). At each step its cell
/// counts, unless it has none or another replica's sample is more than the window newer: then the base has missed scrapes.
/// With `prefer_max` the largest value among the samples less than one window older than the newest counts; NaN is never larger.
///
/// | window | base (time of the sample) | other | merged |
/// |---|---|---|---|
/// | 10 s | `0s _ 60s` | `5s 35s 65s` | `0s 35s 60s` |
/// | 10 s | `0s 0s` | `5s 35s` | `0s 35s` |
/// | 0 | `0s 30s` | `5s 30s` | `5s`, and at the second step the base's |
pub fn merge_steps<V: MergeValue>(replicas: &[&[StepCell<V>]], policy: &MergePolicy, out: &mut Vec<StepCell<V>>) {
    debug_assert!(replicas.windows(2).all(|pair| pair[0].len() == pair[1].len()));
    let (base, others) = match replicas {
        [] => return,
        [only] => return out.extend_from_slice(only),
        [first, rest @ ..] if rest.iter().all(|other| compare_cells(first, other) == Ordering::Equal) => {
            return out.extend_from_slice(first);
        }
        _ => sorted_by_content(replicas),
    };
    let window = window_ms(base, &others, policy);
    out.reserve(base.len());
    for step in 0..base.len() {
        let cells = others.iter().map(|other| &other[step]);
        let mut merged = cells.clone().fold(&base[step], |so_far, other| newer_cell(so_far, other, window));
        let largest;
        if policy.prefer_max {
            largest = largest_of_scrape(merged, std::iter::once(&base[step]).chain(cells), window);
            merged = &largest;
        }
        out.push(merged.clone());
    }
}

/// The base and the others, in the order in which they are folded.
fn sorted_by_content<'a, V: MergeValue>(replicas: &[&'a [StepCell<V>]]) -> (&'a [StepCell<V>], Vec<&'a [StepCell<V>]>) {
    let mut sorted: Vec<(usize, &[StepCell<V>])> =
        replicas.iter().map(|cells| (cells.iter().flatten().count(), *cells)).collect();
    sorted.sort_by(|a, b| Reverse(a.0).cmp(&Reverse(b.0)).then_with(|| compare_cells(a.1, b.1)));
    let base = sorted.remove(0).1;
    (base, sorted.into_iter().map(|(_, cells)| cells).collect())
}

fn compare_cells<V: MergeValue>(a: &[StepCell<V>], b: &[StepCell<V>]) -> Ordering {
    let compare = |(a, b): (&StepCell<V>, &StepCell<V>)| match (a, b) {
        (Some((value, time)), Some((other, other_time))) => {
            time.cmp(other_time).then_with(|| value.compare_content(other))
        }
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    a.iter().zip(b).map(compare).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn window_ms<V: MergeValue>(base: &[StepCell<V>], others: &[&[StepCell<V>]], policy: &MergePolicy) -> i64 {
    if !policy.dynamic {
        return policy.window_ms([]);
    }
    // The same sample is seen at several steps where the step is shorter than the scrape interval; gaps of 0 do not count.
    let times: Vec<Vec<i64>> = std::iter::once(&base)
        .chain(others)
        .map(|cells| cells.iter().flatten().map(|(_, time)| *time).collect())
        .collect();
    policy.window_ms(times.iter().map(Vec::as_slice))
}

fn newer_cell<'a, V>(so_far: &'a StepCell<V>, other: &'a StepCell<V>, window: i64) -> &'a StepCell<V> {
    match (so_far, other) {
        (Some((_, own)), Some((_, time))) if *time > own.saturating_add(window) => other,
        (None, other) => other,
        (so_far, _) => so_far,
    }
}

/// The value of the largest sample of the newest scrape, at the merged cell's time.
fn largest_of_scrape<'a, V: MergeValue + 'a>(
    merged: &'a StepCell<V>,
    cells: impl Iterator<Item = &'a StepCell<V>> + Clone,
    window: i64,
) -> StepCell<V> {
    let newest = cells.clone().flatten().map(|(_, time)| *time).max()?;
    let of_scrape = cells.flatten().filter(|(_, time)| *time == newest || *time > newest.saturating_sub(window));
    let (value, time) = merged.as_ref()?;
    let larger = |so_far: &'a V, value: &'a V| if value.is_larger_than(so_far) { value } else { so_far };
    let largest = of_scrape.map(|(value, _)| value).fold(value, larger);
    Some((largest.clone(), *time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `"0 _ 60:7"`: a sample taken at 0 (value 0), none, one taken at 60 with value 7.
    fn cells(text: &str) -> Vec<StepCell> {
        let number = |text: &str| text.parse::<i64>().expect("number");
        text.split_whitespace()
            .map(|cell| match cell.split_once(':') {
                _ if cell == "_" => None,
                Some((time, value)) => Some((number(value) as f64, number(time))),
                None => Some((number(cell) as f64, number(cell))),
            })
            .collect()
    }

    fn merge(replicas: &[Vec<StepCell>], policy: &MergePolicy) -> Vec<StepCell> {
        let views: Vec<&[StepCell]> = replicas.iter().map(Vec::as_slice).collect();
        let mut merged = Vec::new();
        merge_steps(&views, policy, &mut merged);
        merged
    }

    fn fixed(window: i64) -> MergePolicy {
        MergePolicy { anti_affinity_ms: window, dynamic: false, prefer_max: false }
    }

    /// Checks both orders of the replicas.
    fn check(policy: MergePolicy, a: &str, b: &str, merged: &str) {
        let (a, b, merged) = (cells(a), cells(b), cells(merged));
        assert_eq!(merge(&[a.clone(), b.clone()], &policy), merged, "{policy:?} {a:?} {b:?}");
        assert_eq!(merge(&[b, a], &policy), merged, "{policy:?}, the other order");
    }

    #[test]
    fn the_base_counts_unless_it_has_missed_scrapes() {
        check(fixed(10), "0 30 60 90", "5 35 65 95", "0 30 60 90");
        check(fixed(10), "0 0 60 90", "5 35 65 95", "0 35 60 90");
        check(fixed(10), "0 _ 60 90", "5 35 65 _", "0 35 60 90");
        check(fixed(10), "0 30 60 90", "_ _ _ _", "0 30 60 90");
        check(fixed(10), "0 30", "10 41", "0 41");
    }

    #[test]
    fn the_base_is_the_fuller_replica() {
        check(fixed(10), "0 _ 60:1", "5 35 65:2", "5 35 65:2");
    }

    #[test]
    fn between_groups_the_newest_sample_counts() {
        check(MergePolicy::BETWEEN_GROUPS, "0 30:7 60", "5 30:8 59", "5 30:7 60");
    }

    #[test]
    fn prefer_max_takes_the_larger_of_one_scrape_even_at_an_instant() {
        let policy = MergePolicy { prefer_max: true, ..fixed(10) };
        check(policy, "100:1", "105:8", "100:8");
        check(policy, "100:9", "105:8", "100:9");
        // Not the same scrape: the newer one counts, however small.
        check(policy, "100:9", "150:8", "150:8");
        let merged = merge(&[vec![Some((f64::NAN, 0))], vec![Some((3.0, 20))]], &policy);
        assert_eq!(merged, cells("20:3"));
    }

    #[test]
    fn an_inferred_window_counts_distinct_samples_only() {
        let policy = MergePolicy { dynamic: true, ..fixed(1_000) };
        // Scraped each 60, asked each 30; the second replica is newer by 40, more than half of 60.
        check(policy, "0 0 60 60 120 120 180 180 180", "_ _ _ _ _ _ _ _ 220", "0 0 60 60 120 120 180 180 220");
        check(policy, "0 0 60 60 120 120 180 180 180", "_ _ _ _ _ _ _ _ 205", "0 0 60 60 120 120 180 180 180");
    }

    #[test]
    fn nothing_merges_to_nothing_and_one_to_itself() {
        assert_eq!(merge(&[], &fixed(1)), []);
        assert_eq!(merge(&[cells("1 _")], &fixed(1)), cells("1 _"));
    }

    fn any_cells(step_count: usize) -> impl Strategy<Value = Vec<StepCell>> {
        let cell = prop::option::weighted(0.8, (0u8..4, 0i64..20).prop_map(|(value, age)| (f64::from(value), age)));
        prop::collection::vec(cell, step_count).prop_map(|cells| {
            let timed = |(step, cell): (usize, StepCell)| cell.map(|(value, age)| (value, 30 * step as i64 - age));
            cells.into_iter().enumerate().map(timed).collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_replicas_does_not_matter(
            (replicas, shuffled) in prop::collection::vec(any_cells(6), 0..5)
                .prop_flat_map(|replicas| (Just(replicas.clone()), Just(replicas).prop_shuffle())),
            anti_affinity_ms in 0i64..30,
            dynamic in any::<bool>(),
            prefer_max in any::<bool>(),
        ) {
            let policy = MergePolicy { anti_affinity_ms, dynamic, prefer_max };
            let merged = merge(&replicas, &policy);
            prop_assert_eq!(&merged, &merge(&shuffled, &policy));
            for (step, cell) in merged.iter().enumerate() {
                let present: Vec<(f64, i64)> = replicas.iter().filter_map(|cells| cells[step]).collect();
                prop_assert_eq!(cell.is_some(), !present.is_empty(), "a step is present where any replica has it");
                if let Some((value, time)) = cell {
                    prop_assert!(present.iter().any(|(v, _)| v == value) && present.iter().any(|(_, t)| t == time));
                    if !dynamic {
                        let newest = present.iter().map(|(_, time)| *time).max().unwrap_or(*time);
                        prop_assert!(newest - time <= anti_affinity_ms, "never older than the newest by more than the window");
                    }
                }
            }
        }
    }
}
