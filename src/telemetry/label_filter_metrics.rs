//! What label filters of server groups know and save, under promxy's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. One request a label and server: from a cached answer to the patience of a sync.
const SECONDS_BUCKETS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Bucket {
    server_group: String,
}

/// Counters of all label filters of a process. Cheap to clone; a default one counts for nobody.
#[derive(Clone, Debug)]
pub struct LabelFilterMetrics {
    syncs: Family<Status, Counter>,
    sync_seconds: Family<Status, Histogram, fn() -> Histogram>,
    filtered: Family<Kind, Counter>,
    known_values: Family<Bucket, Gauge>,
}

fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS_BUCKETS)
}

impl Default for LabelFilterMetrics {
    fn default() -> Self {
        Self {
            syncs: Family::default(),
            sync_seconds: Family::new_with_constructor(seconds_histogram),
            filtered: Family::default(),
            known_values: Family::default(),
        }
    }
}

impl LabelFilterMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "promxy_label_filter_sync_count",
            "How often label filters learned values",
            self.syncs.clone(),
        );
        registry.register(
            "promxy_label_filter_sync_duration_seconds",
            "How long learning the values of a label filter took",
            self.sync_seconds.clone(),
        );
        registry.register(
            "promxy_label_filter_filtered_count",
            "Questions that a label filter answered without a request",
            self.filtered.clone(),
        );
        registry.register(
            "quiver_label_filter_known_values",
            "How many values the label filter of a server group has learned; -1 while it knows none",
            self.known_values.clone(),
        );
    }

    /// Counts one attempt to learn; `known_values` is what the filter of the group knows now.
    pub fn synced(&self, server_group: &str, succeeded: bool, took: Duration, known_values: Option<usize>) {
        let status = Status { status: if succeeded { "success" } else { "error" } };
        self.syncs.get_or_create(&status).inc();
        self.sync_seconds.get_or_create(&status).observe(took.as_secs_f64());
        let known = known_values.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        self.known_values.get_or_create(&Bucket { server_group: server_group.to_owned() }).set(known);
    }

    /// Counts one question that was not put; `kind` is promxy's word for it.
    pub fn filtered(&self, kind: &'static str) {
        self.filtered.get_or_create(&Kind { r#type: kind }).inc();
    }

    /// Forgets what the filters of groups knew: they are gone, or will say so anew.
    pub fn forget_groups(&self) {
        self.known_values.clear();
    }
}
