//! Measures calls of a target: into the metrics of the process and the statistics of the query.
//!
//! ```text
//! let meter = instrument.begin(CallKind { call: "query", leaf: JSON }, context);
//! …                                        meter.first_byte(), meter.read(bytes), meter.decoded(samples) on the way
//! meter.end(&result);                      dropped without: the call was canceled
//! ```
//!
//! Whoever sends requests with [`HttpClient`](super::HttpClient) puts a clone of the meter into their extensions: the client
//! counts there what it repeats.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::TargetUrl;
use crate::error::Error;
use crate::model::{QueryContext, RunningRequest, TargetReports};
use crate::telemetry::{CANCELED, CallCounts, CallKind, RecentLatencies, SUCCESS, TargetMetrics, TargetRegistry};

/// The leaf of answers in JSON.
pub const JSON: &str = "json";
/// The leaf of answers over Arrow Flight.
pub const FLIGHT: &str = "flight";
/// The leaf of answers to remote read.
pub const REMOTE_READ: &str = "remote_read";

/// A second request is sent once the first takes longer than so many of 100 answers did.
const HEDGED_SHARE: f32 = 0.95;
/// Fewer answers than this tell nothing of what is usual.
const HEDGED_ANSWERS_MIN: u64 = 20;
/// Not before this: where answers take a millisecond, two are no matter.
const HEDGED_AFTER_MIN: Duration = Duration::from_millis(20);
/// Calls that usually take longer are too dear to be made twice.
const HEDGED_LATENCY_MAX: Duration = Duration::from_secs(1);
/// At most so many of 100 calls are made twice …
const HEDGED_PERCENT: u32 = 5;
/// … so many of them in a row.
const HEDGED_AT_ONCE: u32 = 5;

/// Who a target is, and where it is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TargetInstrument {
    group: Arc<str>,
    target: Arc<str>,
    metrics: Arc<TargetMetrics>,
    hedging: Arc<Hedging>,
}

/// When a call is made a second time, of a target whose data nobody else has. Where it has a pair, both are asked anyway.
#[derive(Debug, Default)]
struct Hedging {
    is_alone: AtomicBool,
    /// In hundredths of a call.
    budget: AtomicU32,
    latencies: Mutex<BTreeMap<CallKind, RecentLatencies>>,
}

impl TargetInstrument {
    /// For a target of group number `ordinal`, called `group`.
    pub fn new(registry: &TargetRegistry, ordinal: usize, group: &str, url: &TargetUrl) -> Self {
        let metrics = registry.target(ordinal, group, url.host());
        Self { group: Arc::from(group), target: Arc::from(url.as_str()), metrics, hedging: Arc::default() }
    }

    /// Counts where nobody looks.
    pub fn unseen(url: &TargetUrl) -> Self {
        Self::new(&TargetRegistry::default(), 0, "", url)
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &Arc<TargetMetrics> {
        &self.metrics
    }

    /// Nobody else has its data, so that a late answer of it makes a query late: such calls may be made twice.
    pub fn set_alone(&self) {
        self.hedging.is_alone.store(true, Ordering::Relaxed);
    }

    /// A call begins.
    pub fn begin(&self, kind: CallKind, context: &QueryContext) -> CallMeter {
        self.metrics.begin();
        self.hedging.earn();
        let running = Arc::new(RunningRequest {
            group: Arc::clone(&self.group),
            target: Arc::clone(&self.target),
            call: kind.call,
            leaf: kind.leaf,
            started: Instant::now(),
            first_byte: OnceLock::new(),
            bytes: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            series: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        });
        context.targets.watch(&running);
        CallMeter(Arc::new(Measured {
            instrument: self.clone(),
            reports: context.targets.clone(),
            kind,
            running,
            retries: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            is_ended: AtomicBool::new(false),
        }))
    }
}

/// Measures one call. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct CallMeter(Arc<Measured>);

#[derive(Debug)]
struct Measured {
    instrument: TargetInstrument,
    reports: TargetReports,
    kind: CallKind,
    running: Arc<RunningRequest>,
    retries: AtomicU64,
    hedges: AtomicU64,
    is_ended: AtomicBool,
}

impl CallMeter {
    /// The head of the answer is there. Only the first time counts.
    pub fn first_byte(&self) {
        let latency = self.0.running.started.elapsed();
        if self.0.running.first_byte.set(latency).is_ok() {
            self.0.instrument.hedging.observe(self.0.kind, latency);
        }
    }

    /// Where its target is counted.
    pub fn metrics(&self) -> &Arc<TargetMetrics> {
        &self.0.instrument.metrics
    }

    /// After which wait the call should be made a second time; `None` where it should not.
    pub fn hedge_after(&self) -> Option<Duration> {
        self.0.instrument.hedging.after(self.0.kind)
    }

    /// Makes the call a second time, if the target's budget allows; counts it.
    pub fn may_hedge(&self) -> bool {
        let may = self.0.instrument.hedging.spend();
        if may {
            self.0.hedges.fetch_add(1, Ordering::Relaxed);
            self.0.running.repeated.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// So many bytes of the body came over the wire.
    pub fn read(&self, bytes: usize) {
        self.0.running.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many samples were decoded.
    pub fn decoded(&self, samples: usize) {
        self.0.running.samples.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// So many series are whole.
    pub fn finished_series(&self, series: usize) {
        self.0.running.series.fetch_add(series as u64, Ordering::Relaxed);
    }

    /// The request is sent again because its connection died.
    pub fn retry(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
        self.0.running.repeated.fetch_add(1, Ordering::Relaxed);
    }

    /// The call has ended. Only the first time counts.
    pub fn end<T>(&self, result: &Result<T, Error>) {
        self.0.end(match result {
            Ok(_) => SUCCESS,
            Err(error) => error.kind().api_type(),
        });
    }
}

impl Hedging {
    fn earn(&self) {
        let most = HEDGED_AT_ONCE * 100;
        let earned = |budget: u32| Some((budget + HEDGED_PERCENT).min(most));
        self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned).expect("never refuses");
    }

    fn spend(&self) -> bool {
        self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |budget| budget.checked_sub(100)).is_ok()
    }

    fn observe(&self, kind: CallKind, latency: Duration) {
        self.latencies.lock().entry(kind).or_default().observe(latency);
    }

    fn after(&self, kind: CallKind) -> Option<Duration> {
        if !self.is_alone.load(Ordering::Relaxed) {
            return None;
        }
        let latencies = self.latencies.lock();
        let known = latencies.get(&kind).filter(|known| known.observed() >= HEDGED_ANSWERS_MIN)?;
        let usual = known.quantile(HEDGED_SHARE).filter(|usual| *usual <= HEDGED_LATENCY_MAX)?;
        Some(usual.max(HEDGED_AFTER_MIN))
    }
}

impl Measured {
    fn end(&self, outcome: &'static str) {
        if self.is_ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let took = self.running.started.elapsed();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = CallCounts {
            bytes: count(&self.running.bytes),
            samples: count(&self.running.samples),
            retries: count(&self.retries),
            hedges: count(&self.hedges),
        };
        self.instrument.metrics.end(self.kind, outcome, took, counts);
        self.reports.ended(&self.running, outcome);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.end(CANCELED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;
    use crate::error::ErrorKind;

    #[test]
    fn a_call_is_reported_once_with_what_it_read_and_how_it_ended() {
        let url = TargetUrl::try_new(Scheme::Http, "a:9090", "/p").expect("a host");
        let instrument = TargetInstrument::new(&TargetRegistry::default(), 0, "eu", &url);
        let context = QueryContext::default();
        let kind = CallKind { call: "query", leaf: JSON };
        let answered = instrument.begin(kind, &context);
        answered.first_byte();
        answered.read(10);
        answered.clone().read(5);
        answered.decoded(3);
        answered.retry();
        answered.end(&Ok::<(), Error>(()));
        answered.end(&Err::<(), Error>(Error::internal("too late")));
        drop(answered);
        instrument.begin(kind, &context).end(&Err::<(), _>(Error::new(ErrorKind::Timeout, "late")));
        drop(instrument.begin(kind, &context));
        let rows = context.targets.snapshot();
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.outcome, row.requests, row.bytes, row.samples, row.time_to_first_byte.is_some()))
            .collect();
        let expected = [("canceled", 1, 0, 0, false), ("success", 2, 15, 3, true), ("timeout", 1, 0, 0, false)];
        assert_eq!(told, expected);
        assert_eq!((&*rows[0].group, &*rows[0].target), ("eu", "http://a:9090/p"));
    }

    #[test]
    fn a_lone_target_is_asked_twice_when_it_is_late_within_a_budget() {
        let url = TargetUrl::try_new(Scheme::Http, "a:9090", "").expect("a host");
        let instrument = TargetInstrument::unseen(&url);
        let context = QueryContext::default();
        let kind = CallKind { call: "query", leaf: JSON };
        let answer_in = |latency| (0..40).for_each(|_| instrument.hedging.observe(kind, latency));
        answer_in(Duration::from_millis(100));
        assert_eq!(instrument.begin(kind, &context).hedge_after(), None, "its pair is asked anyway");
        instrument.set_alone();
        assert_eq!(instrument.begin(kind, &context).hedge_after(), Some(Duration::from_millis(128)));
        let unknown = CallKind { call: "series", leaf: JSON };
        assert_eq!(instrument.begin(unknown, &context).hedge_after(), None, "too little is known");
        let calls = 200;
        let meters: Vec<CallMeter> = (0..calls).map(|_| instrument.begin(kind, &context)).collect();
        let hedged = meters.iter().filter(|meter| meter.may_hedge()).count();
        assert_eq!(hedged, HEDGED_AT_ONCE as usize, "a burst has its bound");
        let hedged = (0..calls).filter(|_| instrument.begin(kind, &context).may_hedge()).count();
        assert_eq!(hedged, calls * HEDGED_PERCENT as usize / 100);
        drop(meters);
        let sent: u64 = context.targets.snapshot().iter().map(|row| row.requests).sum();
        assert_eq!(sent, 3 + 2 * calls as u64 + u64::from(HEDGED_AT_ONCE) + hedged as u64);
        answer_in(Duration::from_secs(3));
        assert_eq!(instrument.begin(kind, &context).hedge_after(), None, "too dear");
    }
}
