//! Recent latencies, and how long all but the slowest of them took.

use std::time::Duration;

/// Edges lie √2 apart, so a quantile is overstated by up to 41 %: enough to tell a slow answer from a usual one.
const BUCKETS_PER_DOUBLING: f64 = 2.0;
/// Seconds. Whatever is faster counts as this.
const FIRST_EDGE: f64 = 0.000_5;
/// Up to 131 s; slower answers count as that.
const BUCKETS: usize = 37;
/// What is remembered: the weight of an answer has fallen to 1/e after so many more.
const REMEMBERED: f32 = 200.0;

/// A histogram that forgets: the newest 200 answers or so. A few hundred bytes; an observation costs tens of nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct RecentLatencies {
    weights: Weights,
    observed: u64,
}

#[derive(Clone, Debug)]
struct Weights([f32; BUCKETS]);

impl Default for Weights {
    fn default() -> Self {
        Self([0.0; BUCKETS])
    }
}

impl RecentLatencies {
    /// Remembers one answer.
    pub fn observe(&mut self, latency: Duration) {
        for weight in &mut self.weights.0 {
            *weight *= 1.0 - 1.0 / REMEMBERED;
        }
        self.weights.0[bucket_of(latency)] += 1.0;
        self.observed = self.observed.saturating_add(1);
    }

    /// How many answers there were, forgotten ones included.
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// An upper bound of what the fastest `share` (0 to 1) of the remembered answers took, at most 41 % above the truth;
    /// `None` before the first one.
    pub fn quantile(&self, share: f32) -> Option<Duration> {
        let total: f32 = self.weights.0.iter().sum();
        if self.observed == 0 || total <= 0.0 {
            return None;
        }
        let wanted = total * share.clamp(0.0, 1.0);
        let mut below = 0.0;
        let is_reached = |weight: &f32| {
            below += weight;
            *weight > 0.0 && below >= wanted
        };
        // Sums of floats may fall short of their total by a digit: then it is the last one that has a weight.
        let last = self.weights.0.iter().rposition(|weight| *weight > 0.0).unwrap_or(BUCKETS - 1);
        let bucket = self.weights.0.iter().position(is_reached).unwrap_or(last);
        Some(Duration::from_secs_f64(FIRST_EDGE * (bucket as f64 / BUCKETS_PER_DOUBLING).exp2()))
    }
}

fn bucket_of(latency: Duration) -> usize {
    let doublings = (latency.as_secs_f64() / FIRST_EDGE).max(1.0).log2();
    ((doublings * BUCKETS_PER_DOUBLING).ceil() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn after(latencies: impl IntoIterator<Item = Duration>) -> RecentLatencies {
        let mut recent = RecentLatencies::default();
        latencies.into_iter().for_each(|latency| recent.observe(latency));
        recent
    }

    #[test]
    fn a_quantile_is_never_below_the_truth_and_at_most_half_above() {
        for latencies in [vec![10 * MS], (1..=100).map(|n| n * MS).collect(), vec![3 * MS, 5 * MS, 70_000 * MS]] {
            let recent = after(latencies.clone());
            for share in [0.0, 0.5, 0.95, 1.0] {
                let at = ((latencies.len() as f32 * share).ceil() as usize).max(1);
                let (truth, found) = (latencies[at - 1], recent.quantile(share).expect("observed"));
                // Newer answers weigh more, so that the place in the order may be one or two of a hundred off.
                assert!(found >= truth && found <= truth.mul_f64(1.5) + 4 * MS, "{share}: {found:?} for {truth:?}");
            }
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_answer_and_nothing_is_out_of_range() {
        assert_eq!(RecentLatencies::default().quantile(0.95), None);
        let recent = after([Duration::ZERO, Duration::MAX]);
        assert_eq!(recent.quantile(0.4), Some(Duration::from_micros(500)));
        assert_eq!(recent.quantile(1.0), Some(Duration::from_micros(131_072_000)));
        assert_eq!(recent.observed(), 2);
    }

    #[test]
    fn old_answers_are_forgotten() {
        let slow_then_fast = after(std::iter::repeat_n(1_000 * MS, 1_000).chain(std::iter::repeat_n(MS, 1_000)));
        assert!(slow_then_fast.quantile(0.95).expect("observed") < 2 * MS);
    }
}
