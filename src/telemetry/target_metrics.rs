//! What is counted of each downstream target.
//!
//! A target's series are on `/metrics` as long as it is in the configuration: they go on counting over a reload that keeps it,
//! and vanish with it. Labels are the group's name, or its place in the file, and the target's host and port, as promxy has
//! them: never a URL with a query.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;

/// Seconds. From what a server's cache answers to what `--query.timeout` allows by default.
const SECONDS_BUCKETS: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Which call of a server's API, in promxy's words where it has one, and how the answer travels.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKind {
    /// `query`, `query_range`, `get_value` (raw samples), `series`, `label_names`, `label_values`, `metadata`.
    pub call: &'static str,
    /// `json` or `remote_read`.
    pub leaf: &'static str,
}

/// How one call went.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Bytes of the body as they came over the wire.
    pub bytes: u64,
    /// Samples decoded from them.
    pub samples: u64,
    /// Requests beyond the first: repeated on a new connection.
    pub retries: u64,
    /// Requests beyond the first: sent because the first was late.
    pub hedges: u64,
}

/// Everything that is counted of one target.
#[derive(Debug)]
pub struct TargetMetrics {
    labels: TargetLabels,
    /// The place of its group in the file.
    ordinal: AtomicU64,
    calls: Mutex<Calls>,
    in_flight: AtomicI64,
    left_behind: AtomicU64,
    left_out: AtomicU64,
    is_unhealthy: AtomicI64,
    streams: AtomicI64,
    slot_wait_us: AtomicU64,
    over_bound: AtomicU64,
}

/// By calls, outcomes and leaves, of which there are few.
#[derive(Clone, Debug, Default)]
struct Calls {
    ended: BTreeMap<(CallKind, &'static str), u64>,
    seconds: BTreeMap<(CallKind, &'static str), Histogram>,
    read: BTreeMap<&'static str, CallCounts>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
struct TargetLabels {
    group: String,
    host: String,
}

/// Success, in the words of outcomes; a failure is the type of its error.
pub const SUCCESS: &str = "success";
/// Nobody waited for the end: the outcome of a call that was dropped.
pub const CANCELED: &str = "canceled";

impl TargetMetrics {
    fn host_labels(&self) -> [(&str, &str); 2] {
        [("group", self.labels.group.as_str()), ("host", self.labels.host.as_str())]
    }

    /// A call begins.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call that has begun ends; `outcome` is [`SUCCESS`], [`CANCELED`], or the type of an error.
    pub fn end(&self, kind: CallKind, outcome: &'static str, took: Duration, counts: CallCounts) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut calls = self.calls.lock();
        *calls.ended.entry((kind, outcome)).or_default() += 1;
        let status = match outcome {
            SUCCESS => Some(SUCCESS),
            CANCELED => None,
            _ => Some("error"),
        };
        if let Some(status) = status {
            let seconds = calls.seconds.entry((kind, status)).or_insert_with(|| Histogram::new(SECONDS_BUCKETS));
            seconds.observe(took.as_secs_f64());
        }
        let all = calls.read.entry(kind.leaf).or_default();
        all.bytes = all.bytes.saturating_add(counts.bytes);
        all.samples = all.samples.saturating_add(counts.samples);
        all.retries = all.retries.saturating_add(counts.retries);
        all.hedges = all.hedges.saturating_add(counts.hedges);
    }

    /// A query went on without its answer because its pair had answered.
    pub fn left_behind(&self) {
        self.left_behind.fetch_add(1, Ordering::Relaxed);
    }

    /// A query did not ask it because it is unhealthy and its pair is not.
    pub fn left_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// It became unhealthy or healthy.
    pub fn set_unhealthy(&self, is_unhealthy: bool) {
        self.is_unhealthy.store(i64::from(is_unhealthy), Ordering::Relaxed);
    }

    /// So many more streams are read from it, or fewer.
    pub fn add_streams(&self, difference: i64) {
        self.streams.fetch_add(difference, Ordering::Relaxed);
    }

    /// A query has waited so long for its turn to read a stream.
    pub fn waited_for_slot(&self, wait: Duration) {
        self.slot_wait_us.fetch_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A stream was read into memory, because as many as may be handed out as they arrive are being read.
    pub fn went_over_bound(&self) {
        self.over_bound.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls have not ended.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many streams are read now.
    pub fn streams(&self) -> i64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// How many streams had to be read into memory so far.
    pub fn over_bound(&self) -> u64 {
        self.over_bound.load(Ordering::Relaxed)
    }
}

/// The targets that there are. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct TargetRegistry(Arc<Mutex<BTreeMap<TargetLabels, Weak<TargetMetrics>>>>);

impl TargetRegistry {
    /// The metrics of a target: of group number `ordinal`, called `group`, at `host` (with port). Asked again for one that is
    /// still in use, the same ones: two groups of one name are counted as one.
    pub fn target(&self, ordinal: usize, group: &str, host: &str) -> Arc<TargetMetrics> {
        let labels = TargetLabels { group: group.to_owned(), host: host.to_owned() };
        let mut targets = self.0.lock();
        targets.retain(|_, target| target.strong_count() > 0);
        if let Some(target) = targets.get(&labels).and_then(Weak::upgrade) {
            target.ordinal.store(ordinal as u64, Ordering::Relaxed);
            return target;
        }
        let target = Arc::new(TargetMetrics {
            labels: labels.clone(),
            ordinal: AtomicU64::new(ordinal as u64),
            calls: Mutex::default(),
            in_flight: AtomicI64::new(0),
            left_behind: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            is_unhealthy: AtomicI64::new(0),
            streams: AtomicI64::new(0),
            slot_wait_us: AtomicU64::new(0),
            over_bound: AtomicU64::new(0),
        });
        targets.insert(labels, Arc::downgrade(&target));
        target
    }

    fn live(&self) -> Vec<Arc<TargetMetrics>> {
        self.0.lock().values().filter_map(Weak::upgrade).collect()
    }
}

impl Collector for TargetRegistry {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let targets = self.live();
        let mut page = Page { encoder, targets: &targets };
        page.groups()?;
        page.calls()?;
        page.reads()?;
        page.states()
    }
}

struct Page<'a, 'e> {
    encoder: DescriptorEncoder<'e>,
    targets: &'a [Arc<TargetMetrics>],
}

impl Page<'_, '_> {
    fn family<L: EncodeLabelSet, M: EncodeMetric>(&mut self, name: &str, help: &str, rows: &[(L, M)]) -> fmt::Result {
        let Some((_, first)) = rows.first() else { return Ok(()) };
        let mut family = self.encoder.encode_descriptor(name, help, None, first.metric_type())?;
        rows.iter().try_for_each(|(labels, metric)| metric.encode(family.encode_family(labels)?))
    }

    fn groups(&mut self) -> fmt::Result {
        let mut counts: BTreeMap<(u64, &str), i64> = BTreeMap::new();
        for target in self.targets {
            *counts.entry((target.ordinal.load(Ordering::Relaxed), &target.labels.group)).or_default() += 1;
        }
        let row = |((ordinal, name), count): ((u64, &str), i64)| {
            ([("ordinal", ordinal.to_string()), ("name", name.to_owned())], ConstGauge::<i64>::new(count))
        };
        let rows: Vec<_> = counts.into_iter().map(row).collect();
        self.family("server_group_targets", "Number of targets of a server group", &rows)
    }

    fn calls(&mut self) -> fmt::Result {
        let (mut ended, mut seconds) = (Vec::new(), Vec::new());
        let all: Vec<Calls> = self.targets.iter().map(|target| target.calls.lock().clone()).collect();
        for (TargetLabels { group, host }, calls) in self.targets.iter().map(|target| &target.labels).zip(&all) {
            ended.extend(calls.ended.iter().map(|((CallKind { call, leaf }, outcome), count)| {
                (
                    [
                        ("group", group.as_str()),
                        ("host", host.as_str()),
                        ("call", *call),
                        ("leaf", *leaf),
                        ("outcome", *outcome),
                    ],
                    ConstCounter::new(*count),
                )
            }));
            seconds.extend(calls.seconds.iter().map(|((CallKind { call, leaf }, status), seconds)| {
                (
                    [
                        ("group", group.as_str()),
                        ("host", host.as_str()),
                        ("call", *call),
                        ("leaf", *leaf),
                        ("status", *status),
                    ],
                    seconds.clone(),
                )
            }));
        }
        let help =
            "Requests to targets by call, by how the answer travels, and by outcome: success, or the type of the error";
        self.family("quiver_target_requests", help, &ended)?;
        // promxy's summary has no quantiles: a histogram has its two series, and buckets.
        let help = "How long calls to targets took to their end; those that nobody waited for are not counted";
        self.family("server_group_request_duration_seconds", help, &seconds)
    }

    fn reads(&mut self) -> fmt::Result {
        type Value = fn(&CallCounts) -> u64;
        let counters: [(&str, &str, Value); 4] = [
            ("quiver_target_read_bytes", "Bytes of answers, as they came over the wire", |read| read.bytes),
            ("quiver_target_decoded_samples", "Samples decoded from answers", |read| read.samples),
            ("quiver_target_retries", "Requests repeated because a kept connection had died", |read| read.retries),
            ("quiver_target_hedges", "Requests sent twice because the first answer was late", |read| read.hedges),
        ];
        for (name, help, value) in counters {
            let mut rows = Vec::new();
            for target in self.targets {
                let TargetLabels { group, host } = &target.labels;
                let row = |(leaf, read): (&&'static str, &CallCounts)| {
                    (
                        [("group", group.as_str()), ("host", host.as_str()), ("leaf", *leaf)],
                        ConstCounter::new(value(read)),
                    )
                };
                rows.extend(target.calls.lock().read.iter().map(row));
            }
            self.family(name, help, &rows)?;
        }
        Ok(())
    }

    fn states(&mut self) -> fmt::Result {
        type Gauge = fn(&TargetMetrics) -> &AtomicI64;
        let gauges: [(&str, &str, Gauge); 3] = [
            ("quiver_target_in_flight_requests", "Requests that have not ended", |target| &target.in_flight),
            ("quiver_target_streams", "Streamed answers that are being read", |target| &target.streams),
            (
                "quiver_target_unhealthy",
                "1 while queries do not ask the target because it failed several times in a row and its pair is there",
                |target| &target.is_unhealthy,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = |target: &TargetMetrics| ConstGauge::new(value(target).load(Ordering::Relaxed));
            let rows: Vec<_> = self.targets.iter().map(|target| (target.host_labels(), gauge(target))).collect();
            self.family(name, help, &rows)?;
        }
        type Counter = fn(&TargetMetrics) -> &AtomicU64;
        let counters: [(&str, &str, Counter); 3] = [
            (
                "quiver_target_left_behind",
                "Queries that did not wait for the target because its pair had answered",
                |target| &target.left_behind,
            ),
            ("quiver_target_left_out", "Queries that did not ask the target because it is unhealthy", |target| {
                &target.left_out
            }),
            (
                "quiver_target_streams_over_bound",
                "Streamed answers that were read into memory because as many were being read as may be handed out as they arrive",
                |target| &target.over_bound,
            ),
        ];
        for (name, help, value) in counters {
            let counter = |target: &TargetMetrics| ConstCounter::new(value(target).load(Ordering::Relaxed));
            let rows: Vec<_> = self.targets.iter().map(|target| (target.host_labels(), counter(target))).collect();
            self.family(name, help, &rows)?;
        }
        let seconds = |target: &TargetMetrics| {
            let wait = Duration::from_micros(target.slot_wait_us.load(Ordering::Relaxed));
            ConstCounter::new(wait.as_secs_f64())
        };
        let rows: Vec<_> = self.targets.iter().map(|target| (target.host_labels(), seconds(target))).collect();
        self.family("quiver_target_stream_wait_seconds", "How long queries have waited for their turn at the target, which bounds how many requests it has at a time", &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    const JSON_QUERY: CallKind = CallKind { call: "query", leaf: "json" };

    fn value(page: &str, series: &str) -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn what_was_counted_of_a_target_is_on_the_page() {
        let metrics = Metrics::default();
        let target = metrics.targets().target(0, "eu", "a:9090");
        let ms = Duration::from_millis;
        let counts = CallCounts { bytes: 100, samples: 7, retries: 1, hedges: 2 };
        for (outcome, took) in [(SUCCESS, ms(30)), ("timeout", ms(2_000)), (CANCELED, ms(9_000))] {
            target.begin();
            target.end(JSON_QUERY, outcome, took, counts);
        }
        target.begin();
        target.left_behind();
        target.left_out();
        target.set_unhealthy(true);
        target.add_streams(3);
        target.add_streams(-1);
        target.waited_for_slot(ms(1_500));
        target.went_over_bound();
        let page = metrics.render();
        for (series, expected) in [
            (r#"server_group_targets{ordinal="0",name="eu"}"#, 1.0),
            (
                r#"quiver_target_requests_total{group="eu",host="a:9090",call="query",leaf="json",outcome="success"}"#,
                1.0,
            ),
            (
                r#"quiver_target_requests_total{group="eu",host="a:9090",call="query",leaf="json",outcome="timeout"}"#,
                1.0,
            ),
            (
                r#"quiver_target_requests_total{group="eu",host="a:9090",call="query",leaf="json",outcome="canceled"}"#,
                1.0,
            ),
            (
                r#"server_group_request_duration_seconds_count{group="eu",host="a:9090",call="query",leaf="json",status="success"}"#,
                1.0,
            ),
            (
                r#"server_group_request_duration_seconds_sum{group="eu",host="a:9090",call="query",leaf="json",status="error"}"#,
                2.0,
            ),
            (r#"quiver_target_read_bytes_total{group="eu",host="a:9090",leaf="json"}"#, 300.0),
            (r#"quiver_target_decoded_samples_total{group="eu",host="a:9090",leaf="json"}"#, 21.0),
            (r#"quiver_target_retries_total{group="eu",host="a:9090",leaf="json"}"#, 3.0),
            (r#"quiver_target_hedges_total{group="eu",host="a:9090",leaf="json"}"#, 6.0),
            (r#"quiver_target_in_flight_requests{group="eu",host="a:9090"}"#, 1.0),
            (r#"quiver_target_left_behind_total{group="eu",host="a:9090"}"#, 1.0),
            (r#"quiver_target_left_out_total{group="eu",host="a:9090"}"#, 1.0),
            (r#"quiver_target_unhealthy{group="eu",host="a:9090"}"#, 1.0),
            (r#"quiver_target_streams{group="eu",host="a:9090"}"#, 2.0),
            (r#"quiver_target_stream_wait_seconds_total{group="eu",host="a:9090"}"#, 1.5),
            (r#"quiver_target_streams_over_bound_total{group="eu",host="a:9090"}"#, 1.0),
        ] {
            assert_eq!(value(&page, series), Some(expected), "{series} in\n{page}");
        }
        assert!(!page.contains(r#"status="canceled""#), "{page}");
    }

    #[test]
    fn a_target_counts_on_over_a_reload_and_vanishes_with_the_config() {
        let metrics = Metrics::default();
        let before = metrics.targets().target(0, "eu", "a:9090");
        before.left_out();
        let after = metrics.targets().target(0, "eu", "a:9090");
        drop(before);
        after.left_out();
        let other = metrics.targets().target(0, "eu", "b:9090");
        let page = metrics.render();
        assert_eq!(value(&page, r#"quiver_target_left_out_total{group="eu",host="a:9090"}"#), Some(2.0), "{page}");
        drop((after, other));
        assert!(!metrics.render().contains("a:9090"));
        let anew = metrics.targets().target(0, "eu", "a:9090");
        assert_eq!(anew.left_out.load(Ordering::Relaxed), 0);
    }
}
