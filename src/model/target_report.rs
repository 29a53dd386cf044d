//! What a query's requests to its targets cost, for whoever wants to know (`stats=all`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// More rows than this are not kept: beyond, only those grow that are there.
const ROWS_MAX: usize = 1_000;

/// Requests of one query to one target that were alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetReport {
    /// The group's name, or its place in the config.
    pub group: Arc<str>,
    /// The target's URL, without query and credentials.
    pub target: Arc<str>,
    /// The call, as in the metrics: `query`, `query_range`, `get_value`, `series`, …
    pub call: &'static str,
    /// How the answer travelled: `json` or `remote_read`.
    pub leaf: &'static str,
    /// `success`, `canceled`, or the type of the error.
    pub outcome: &'static str,
    /// Requests that were sent, repeated ones included.
    pub requests: u64,
    /// From the request to the head of its answer, the slowest; `None` where none came.
    pub time_to_first_byte: Option<Duration>,
    /// From the request to its end, the slowest.
    pub duration: Duration,
    /// Bytes of the bodies as they came over the wire.
    pub bytes: u64,
    /// Samples decoded from them.
    pub samples: u64,
}

impl TargetReport {
    fn is_like(&self, other: &Self) -> bool {
        (&self.group, &self.target, self.call, self.leaf, self.outcome)
            == (&other.group, &other.target, other.call, other.leaf, other.outcome)
    }

    fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.time_to_first_byte = self.time_to_first_byte.max(other.time_to_first_byte);
        self.duration = self.duration.max(other.duration);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.samples = self.samples.saturating_add(other.samples);
    }
}

/// Collects the reports of one query. Cheap to clone; all clones are one. Bounded: like requests are one row.
#[derive(Clone, Debug, Default)]
pub struct TargetReports(Arc<Mutex<Vec<TargetReport>>>);

impl TargetReports {
    /// Adds what one request, or several, cost.
    pub fn record(&self, report: TargetReport) {
        let mut rows = self.0.lock();
        let has_room = rows.len() < ROWS_MAX;
        match rows.iter_mut().find(|row| row.is_like(&report)) {
            Some(row) => row.add(&report),
            None if has_room => rows.push(report),
            None => {}
        }
    }

    /// What has been reported, sorted by group, target, call, leaf, and outcome.
    pub fn snapshot(&self) -> Vec<TargetReport> {
        let mut rows = self.0.lock().clone();
        rows.sort_by(|a, b| {
            (&a.group, &a.target, a.call, a.leaf, a.outcome).cmp(&(&b.group, &b.target, b.call, b.leaf, b.outcome))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(target: &str, outcome: &'static str, ms: u64) -> TargetReport {
        TargetReport {
            group: Arc::from("eu"),
            target: Arc::from(target),
            call: "query",
            leaf: "json",
            outcome,
            requests: 1,
            time_to_first_byte: Some(Duration::from_millis(ms / 2)),
            duration: Duration::from_millis(ms),
            bytes: 10,
            samples: ms,
        }
    }

    #[test]
    fn like_requests_are_one_row_of_sums_and_of_the_slowest() {
        let reports = TargetReports::default();
        for (target, outcome, ms) in
            [("b", "success", 4), ("a", "timeout", 2), ("b", "success", 8), ("b", "success", 6)]
        {
            reports.record(report(target, outcome, ms));
        }
        let three = TargetReport { requests: 3, bytes: 30, samples: 18, ..report("b", "success", 8) };
        assert_eq!(reports.snapshot(), [report("a", "timeout", 2), three]);
    }

    #[test]
    fn rows_are_bounded_and_those_that_are_there_still_grow() {
        let reports = TargetReports::default();
        (0..2 * ROWS_MAX).for_each(|target| reports.record(report(&target.to_string(), "success", 1)));
        reports.record(report("0", "success", 1));
        let rows = reports.snapshot();
        assert_eq!(rows.len(), ROWS_MAX);
        assert_eq!(rows[0].requests, 2);
    }
}
