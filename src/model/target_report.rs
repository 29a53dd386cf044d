//! What a query's requests to its targets cost, and how far they are, for whoever wants to know (`stats=all`, progress).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

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
    /// How the answer travelled: `json`, `remote_read`, `flight`.
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
    /// Series of the answers.
    pub series: u64,
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
        self.series = self.series.saturating_add(other.series);
    }
}

/// One request while it runs. Whoever measures it counts here; the query's reports look on.
#[derive(Debug)]
pub struct RunningRequest {
    /// The group's name, or its place in the config.
    pub group: Arc<str>,
    /// The target's URL, without query and credentials.
    pub target: Arc<str>,
    /// The call, as in the metrics.
    pub call: &'static str,
    /// How the answer travels.
    pub leaf: &'static str,
    /// When it began.
    pub started: Instant,
    /// How long it took to the head of the answer.
    pub first_byte: OnceLock<Duration>,
    /// Bytes of the body so far.
    pub bytes: AtomicU64,
    /// Samples decoded so far.
    pub samples: AtomicU64,
    /// Series that are whole.
    pub series: AtomicU64,
    /// Requests beyond the first.
    pub repeated: AtomicU64,
}

impl RunningRequest {
    /// What it has cost, now that it is over.
    pub fn report(&self, outcome: &'static str) -> TargetReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TargetReport {
            group: Arc::clone(&self.group),
            target: Arc::clone(&self.target),
            call: self.call,
            leaf: self.leaf,
            outcome,
            requests: count(&self.repeated).saturating_add(1),
            time_to_first_byte: self.first_byte.get().copied(),
            duration: self.started.elapsed(),
            bytes: count(&self.bytes),
            samples: count(&self.samples),
            series: count(&self.series),
        }
    }
}

/// How far a request is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestState {
    /// It was sent, or waits for its turn at the target.
    Asked,
    /// The head of the answer is there.
    Answering,
    /// Answered in full.
    Done,
    /// Failed, or not needed any more.
    Failed,
}

/// Like requests that are equally far; `outcome` is empty while they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetProgress {
    /// How far.
    pub state: RequestState,
    /// What they have cost so far.
    pub so_far: TargetReport,
}

/// Collects the reports of one query. Cheap to clone; all clones are one. Bounded: like requests are one row.
#[derive(Clone, Debug, Default)]
pub struct TargetReports(Arc<Mutex<Reports>>);

#[derive(Debug, Default)]
struct Reports {
    ended: Vec<TargetReport>,
    running: Vec<Weak<RunningRequest>>,
}

impl TargetReports {
    /// Adds what one request, or several, cost.
    pub fn record(&self, report: TargetReport) {
        let rows = &mut self.0.lock().ended;
        let has_room = rows.len() < ROWS_MAX;
        match rows.iter_mut().find(|row| row.is_like(&report)) {
            Some(row) => row.add(&report),
            None if has_room => rows.push(report),
            None => {}
        }
    }

    /// Looks on while a request runs: until it is dropped.
    pub fn watch(&self, request: &Arc<RunningRequest>) {
        let running = &mut self.0.lock().running;
        if running.len() >= ROWS_MAX {
            running.retain(|running| running.strong_count() > 0);
        }
        if running.len() < ROWS_MAX {
            running.push(Arc::downgrade(request));
        }
    }

    /// A request is over and cost this.
    pub fn ended(&self, request: &Arc<RunningRequest>, outcome: &'static str) {
        let is_other = |other: &Weak<RunningRequest>| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(request));
        self.0.lock().running.retain(is_other);
        self.record(request.report(outcome));
    }

    /// What has been reported, sorted by group, target, call, leaf, and outcome.
    pub fn snapshot(&self) -> Vec<TargetReport> {
        let mut rows = self.0.lock().ended.clone();
        rows.sort_by(|a, b| {
            (&a.group, &a.target, a.call, a.leaf, a.outcome).cmp(&(&b.group, &b.target, b.call, b.leaf, b.outcome))
        });
        rows
    }

    /// How far all requests are, sorted by group, target, call, leaf, and state.
    pub fn progress(&self) -> Vec<TargetProgress> {
        let (ended, running) = {
            let reports = self.0.lock();
            (reports.ended.clone(), reports.running.iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
        };
        let state_of = |report: &TargetReport| match report.outcome {
            "success" => RequestState::Done,
            _ => RequestState::Failed,
        };
        let ended = ended.into_iter().map(|report| (state_of(&report), report));
        let running = running.into_iter().map(|request| {
            let has_begun = request.first_byte.get().is_some();
            (if has_begun { RequestState::Answering } else { RequestState::Asked }, request.report(""))
        });
        let mut rows = BTreeMap::new();
        for (state, report) in ended.chain(running) {
            let key = (
                Arc::clone(&report.group),
                Arc::clone(&report.target),
                report.call,
                report.leaf,
                state,
                report.outcome,
            );
            match rows.entry(key) {
                std::collections::btree_map::Entry::Vacant(row) => {
                    row.insert(report);
                }
                std::collections::btree_map::Entry::Occupied(mut row) => row.get_mut().add(&report),
            }
        }
        let rows = rows.into_iter().take(ROWS_MAX);
        rows.map(|((.., state, _), so_far)| TargetProgress { state, so_far }).collect()
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
            series: 2,
        }
    }

    fn request(target: &str) -> Arc<RunningRequest> {
        Arc::new(RunningRequest {
            group: Arc::from("eu"),
            target: Arc::from(target),
            call: "query",
            leaf: "json",
            started: Instant::now(),
            first_byte: OnceLock::new(),
            bytes: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            series: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        })
    }

    #[test]
    fn like_requests_are_one_row_of_sums_and_of_the_slowest() {
        let reports = TargetReports::default();
        for (target, outcome, ms) in
            [("b", "success", 4), ("a", "timeout", 2), ("b", "success", 8), ("b", "success", 6)]
        {
            reports.record(report(target, outcome, ms));
        }
        let three = TargetReport { requests: 3, bytes: 30, samples: 18, series: 6, ..report("b", "success", 8) };
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
        let requests: Vec<_> = (0..2 * ROWS_MAX).map(|target| request(&target.to_string())).collect();
        requests.iter().for_each(|request| reports.watch(request));
        assert_eq!(reports.progress().len(), ROWS_MAX);
    }

    #[test]
    fn requests_are_seen_while_they_run_and_after() {
        let reports = TargetReports::default();
        let mut requests: Vec<_> = ["a", "a", "b", "c", "d"].map(request).into();
        requests.iter().for_each(|request| reports.watch(request));
        let seen = || -> Vec<(String, RequestState, &'static str, u64, u64)> {
            let rows = reports.progress().into_iter();
            rows.map(|TargetProgress { state, so_far }| {
                (so_far.target.to_string(), state, so_far.outcome, so_far.requests, so_far.bytes)
            })
            .collect()
        };
        use RequestState::{Answering, Asked, Done, Failed};
        let row = |target: &str, state, outcome, requests, bytes| (target.to_owned(), state, outcome, requests, bytes);
        assert_eq!(
            seen(),
            [
                row("a", Asked, "", 2, 0),
                row("b", Asked, "", 1, 0),
                row("c", Asked, "", 1, 0),
                row("d", Asked, "", 1, 0)
            ]
        );
        requests[1].first_byte.set(Duration::ZERO).expect("once");
        requests[1].bytes.store(7, Ordering::Relaxed);
        reports.ended(&requests[2], "success");
        reports.ended(&requests[3], "timeout");
        requests.truncate(2);
        assert_eq!(
            seen(),
            [
                row("a", Asked, "", 1, 0),
                row("a", Answering, "", 1, 7),
                row("b", Done, "success", 1, 0),
                row("c", Failed, "timeout", 1, 0)
            ],
            "who was dropped without a word is gone"
        );
    }
}
