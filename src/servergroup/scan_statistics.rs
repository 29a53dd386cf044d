//! What scans of a bucket have shown, and what it would cost to have an expression evaluated here or there (ADR 0014).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::EvaluatedWindows;

/// So many selectors of a bucket are remembered; of more, the one that was not seen for the longest time is forgotten.
const SELECTORS_MAX: usize = 1_000;
/// Scans of fewer samples say more about the way to the server than about its pace.
const PACE_SAMPLES_MIN: u64 = 20_000;
/// How much the newest scan counts in the pace.
const PACE_WEIGHT: f64 = 0.3;
/// Below so many samples nothing is gained by asking a server to evaluate: both answers come at once.
const SAMPLES_WORTH_MIN: f64 = 200_000.0;

/// What a Prometheus takes for each sample that it reads for an expression: 0.88 to 1.02 s for 10.4 million samples
/// (Prometheus 2.42, `sum by (job)(rate(x[5m]))`, 361 steps).
const SERVER_NS_PER_SAMPLE: f64 = 95.0;
/// … and once more for each further window that a sample lies in.
const SERVER_NS_PER_OVERLAP: f64 = 2.0;
/// … and for each series at each step: the rest of `x` as 361 steps of 7,200 series, 0.7 to 1.0 s.
const SERVER_NS_PER_CELL: f64 = 100.0;
/// A cell of the answer in JSON, written there, sent, and read here.
const ANSWER_NS_PER_CELL: f64 = 300.0;
/// After replicas differed, or a server refused, nobody is asked again for so long.
const REFUSAL_LASTS: Duration = Duration::from_secs(600);

/// What a scan has shown of a selector.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Series that it selected.
    pub series: u64,
    /// Samples of all of them, each second.
    pub samples_per_second: f64,
}

#[derive(Debug, Default)]
struct Remembered {
    seen: Option<Seen>,
    refused: Option<(Instant, String)>,
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    selectors: HashMap<String, Remembered>,
    clock: u64,
    /// How long a sample took to arrive and be worked off, smoothed.
    ns_per_sample: Option<f64>,
}

/// The memory of a bucket.
#[derive(Debug, Default)]
pub(super) struct ScanStatistics(Mutex<State>);

/// A scan that came to its end.
#[derive(Copy, Clone, Debug)]
pub(super) struct FinishedScan {
    pub series: u64,
    pub samples: u64,
    /// How long the samples' times span.
    pub span: Duration,
    pub took: Duration,
}

/// What both ways would cost.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Costs {
    pub samples: f64,
    pub exact: Duration,
    pub pushed: Duration,
}

impl ScanStatistics {
    /// Takes in what a scan of raw samples has shown.
    pub(super) fn learn(&self, selector: &str, scan: &FinishedScan) {
        let seconds = scan.span.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let mut state = self.0.lock();
        if scan.samples >= PACE_SAMPLES_MIN {
            let pace = scan.took.as_nanos() as f64 / scan.samples as f64;
            state.ns_per_sample = Some(state.ns_per_sample.map_or(pace, |known| known + PACE_WEIGHT * (pace - known)));
        }
        let samples_per_second = scan.samples as f64 / seconds;
        state.remember(selector).seen = Some(Seen { series: scan.series, samples_per_second });
    }

    /// Remembers that asking for an evaluation led to nothing.
    pub(super) fn learn_refusal(&self, selector: &str, reason: &str) {
        self.0.lock().remember(selector).refused = Some((Instant::now(), reason.to_owned()));
    }

    /// Why nobody is asked just now.
    pub(super) fn refusal(&self, selector: &str) -> Option<String> {
        let mut state = self.0.lock();
        let remembered = state.selectors.get_mut(selector)?;
        let is_over = remembered.refused.as_ref().is_some_and(|(since, _)| since.elapsed() >= REFUSAL_LASTS);
        if is_over {
            remembered.refused = None;
        }
        remembered.refused.as_ref().map(|(_, reason)| reason.clone())
    }

    /// The costs of an expression that reads `span` and answers `is_aggregation`, if enough is known.
    pub(super) fn costs(
        &self,
        selector: &str,
        span: Duration,
        windows: EvaluatedWindows,
        (steps, is_aggregation): (usize, bool),
    ) -> Option<Costs> {
        let mut state = self.0.lock();
        let seen = state.selectors.get(selector)?.seen?;
        state.remember(selector);
        let pace = state.ns_per_sample?;
        Some(estimate(seen, pace, span, windows, (steps, is_aggregation)))
    }
}

impl State {
    fn remember(&mut self, selector: &str) -> &mut Remembered {
        self.clock += 1;
        let now = self.clock;
        if self.selectors.len() >= SELECTORS_MAX && !self.selectors.contains_key(selector) {
            let oldest = self.selectors.iter().min_by_key(|(_, own)| own.used).map(|(text, _)| text.clone());
            oldest.and_then(|text| self.selectors.remove(&text));
        }
        let remembered = self.selectors.entry(selector.to_owned()).or_default();
        remembered.used = now;
        remembered
    }
}

fn estimate(
    seen: Seen,
    pace_ns: f64,
    span: Duration,
    windows: EvaluatedWindows,
    (steps, is_aggregation): (usize, bool),
) -> Costs {
    let samples = seen.samples_per_second * span.as_secs_f64();
    let in_windows = windows.count as f64 * seen.samples_per_second * windows.length.as_float_seconds().max(0.0);
    let evaluated_cells = seen.series as f64 * windows.count as f64;
    // How many groups there will be is not known; rarely is it more than one for ten series.
    let rows = if is_aggregation { (seen.series as f64 / 10.0).max(1.0) } else { seen.series as f64 };
    let pushed = samples * SERVER_NS_PER_SAMPLE
        + (in_windows - samples).max(0.0) * SERVER_NS_PER_OVERLAP
        + evaluated_cells * SERVER_NS_PER_CELL
        + rows * steps as f64 * ANSWER_NS_PER_CELL;
    Costs { samples, exact: nanoseconds(samples * pace_ns), pushed: nanoseconds(pushed) }
}

fn nanoseconds(ns: f64) -> Duration {
    // The cast saturates.
    Duration::from_nanos(ns.max(0.0) as u64)
}

impl Costs {
    /// Is it worth asking?
    pub(super) fn favours_pushdown(&self) -> bool {
        self.samples >= SAMPLES_WORTH_MIN && self.pushed < self.exact
    }
}

impl std::fmt::Display for Costs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (exact, pushed) = (self.exact.as_millis(), self.pushed.as_millis());
        write!(f, "about {:.0} samples: exact {exact}ms, pushdown {pushed}ms", self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DurationMs;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn windows(count: usize, length_ms: i64) -> EvaluatedWindows {
        EvaluatedWindows { count, length: DurationMs(length_ms) }
    }

    /// 7,200 series, a sample each 15 s.
    fn scan(span: Duration, took: Duration) -> FinishedScan {
        FinishedScan { series: 7_200, samples: 480 * span.as_secs(), span, took }
    }

    #[test]
    fn nothing_is_known_before_the_first_scan_of_some_size() {
        let statistics = ScanStatistics::default();
        let costs = |statistics: &ScanStatistics| statistics.costs("x", HOUR, windows(60, 300_000), (60, true));
        assert_eq!(costs(&statistics), None);
        let few = FinishedScan { series: 1, samples: 10, span: HOUR, took: HOUR };
        statistics.learn("x", &few);
        assert_eq!(costs(&statistics), None);
        statistics.learn("y", &scan(HOUR, HOUR / 3_600));
        assert!(costs(&statistics).is_some());
        assert_eq!(statistics.costs("z", HOUR, windows(60, 300_000), (60, true)), None);
    }

    #[test]
    fn a_quick_source_of_raw_samples_is_cheaper_than_any_evaluation() {
        // Remote read of 10.4 million samples in 0.5 s, against about a second that the server needs.
        let statistics = ScanStatistics::default();
        statistics.learn("x", &scan(6 * HOUR, Duration::from_millis(500)));
        let costs = statistics.costs("x", 6 * HOUR, windows(361, 300_000), (361, true)).expect("known");
        assert!(!costs.favours_pushdown(), "{costs}");
    }

    #[test]
    fn a_slow_link_or_json_is_dearer_than_an_evaluation() {
        let statistics = ScanStatistics::default();
        statistics.learn("x", &scan(6 * HOUR, Duration::from_secs(10)));
        let costs = statistics.costs("x", 6 * HOUR, windows(361, 300_000), (361, true)).expect("known");
        assert!(costs.favours_pushdown(), "{costs}");
        assert_eq!(costs.exact, Duration::from_secs(10));
        // But not for what is small.
        let costs = statistics.costs("x", HOUR / 60, windows(1, 60_000), (1, true)).expect("known");
        assert!(!costs.favours_pushdown(), "{costs}");
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_was_not_used() {
        let statistics = ScanStatistics::default();
        statistics.learn("kept", &scan(HOUR, Duration::from_secs(1)));
        for number in 0..2 * SELECTORS_MAX {
            statistics.learn(&number.to_string(), &scan(HOUR, Duration::from_secs(1)));
            assert!(statistics.costs("kept", HOUR, windows(1, 0), (1, true)).is_some());
        }
        assert_eq!(statistics.0.lock().selectors.len(), SELECTORS_MAX);
        assert_eq!(statistics.costs("0", HOUR, windows(1, 0), (1, true)), None);
    }

    #[test]
    fn a_refusal_is_remembered() {
        let statistics = ScanStatistics::default();
        assert_eq!(statistics.refusal("x"), None);
        statistics.learn_refusal("x", "they differ");
        assert_eq!(statistics.refusal("x").as_deref(), Some("they differ"));
        assert_eq!(statistics.refusal("y"), None);
    }
}
