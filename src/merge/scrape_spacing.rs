//! How far apart the samples of a series are, for groups that want their anti-affinity inferred.

/// Fewer gaps than this say nothing about the scrape interval.
const GAPS_MIN: usize = 3;

/// Half of the median gap between the samples of a series (ms): a sample that is closer than that to one of the other
/// replica belongs to the same scrape. `None` where there are too few gaps to tell.
///
/// `replicas` are the times (ms, ascending) of each replica, the base first. A further replica is looked at only as long as
/// those before it have fewer than three gaps together. Of an even number of gaps the upper middle one counts, as in promxy.
///
/// | times | window |
/// |---|---|
/// | 0, 15 s, 30 s, 45 s | 7.5 s |
/// | 0, 10 s, 20 s, 40 s, 50 s | 5 s |
/// | 0, 15 s, 30 s | none |
pub fn infer_anti_affinity_ms<'a>(replicas: impl IntoIterator<Item = &'a [i64]>) -> Option<i64> {
    let mut gaps: Vec<i64> = Vec::new();
    for times in replicas {
        let positive = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).filter(|gap| *gap > 0);
        gaps.extend(positive);
        if gaps.len() >= GAPS_MIN {
            let middle = gaps.len() / 2;
            let (_, median, _) = gaps.select_nth_unstable(middle);
            return Some(*median / 2);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_half_the_median_gap() {
        let cases: [(&[&[i64]], Option<i64>); 7] = [
            (&[&[0, 15, 30, 45]], Some(7)),
            (&[&[0, 10, 20, 40, 50]], Some(5)),
            // An even count of gaps takes the upper middle.
            (&[&[0, 10, 20, 50, 80]], Some(15)),
            (&[&[0, 15, 30]], None),
            (&[&[0, 15, 30], &[7, 22]], Some(7)),
            (&[&[5, 5, 5, 5, 5]], None),
            (&[], None),
        ];
        for (replicas, window) in cases {
            assert_eq!(infer_anti_affinity_ms(replicas.iter().copied()), window, "{replicas:?}");
        }
    }

    #[test]
    fn gaps_wider_than_a_number_do_not_overflow() {
        let times = [i64::MIN, -1, 0, i64::MAX];
        assert_eq!(infer_anti_affinity_ms([&times[..]]), Some(i64::MAX / 2));
    }
}
