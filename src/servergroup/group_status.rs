//! What is known of the groups and their targets just now, without asking anybody.

use std::time::{Duration, SystemTime};

use super::ServerGroup;
use super::replica::Replica;
use super::replica_health::{CallClass, HealthFigures, Standing};
use crate::downstream::KnownLeaf;
use crate::model::{EvaluationMode, Labels, QueryContext, SelectRequest};

/// One group.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// Its name, or its place in the config where it has none.
    pub name: String,
    /// Its place in the config, counted from 0.
    pub ordinal: usize,
    /// Its own mode, over the program's.
    pub mode: Option<EvaluationMode>,
    /// Its parts; none where it has no targets.
    pub parts: Vec<PartStatus>,
}

/// Targets that hold the same data.
#[derive(Clone, Debug)]
pub struct PartStatus {
    /// What it is called in plans.
    pub name: String,
    /// Its targets, in the order of the config.
    pub targets: Vec<TargetStatus>,
}

impl PartStatus {
    /// Does no target of it answer? Then queries that need it fail, or warn.
    pub fn is_unhealthy(&self) -> bool {
        self.targets.iter().all(|target| matches!(target.standing, TargetStanding::Unhealthy { .. }))
    }
}

/// Where a target stands, on the clock that people read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetStanding {
    /// It answers, or was not asked yet.
    Healthy,
    /// A probe was answered, no query yet.
    OnTrial,
    /// It failed again and again; queries go on without it where its pair answers.
    Unhealthy {
        /// How its last request failed.
        reason: String,
    },
}

/// One target.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// Its URL, without query and credentials.
    pub url: String,
    /// What it adds to its series, before any rule of the config.
    pub labels: Labels,
    /// Where it stands.
    pub standing: TargetStanding,
    /// Since when.
    pub since: SystemTime,
    /// How often in a row it has failed.
    pub failures_in_a_row: u32,
    /// The last failure that speaks of its health, and when that was.
    pub last_failure: Option<(SystemTime, String)>,
    /// How its series are read.
    pub leaf: KnownLeaf,
    /// `(3, 14)` of a Prometheus 3.14.0, where it says so.
    pub version: Option<(u32, u32)>,
    /// How long its answers to selectors and expressions take.
    pub select: LatencyFigures,
    /// How long its answers to questions about series take.
    pub metadata: LatencyFigures,
    /// Requests that have not ended.
    pub requests_in_flight: u64,
}

/// How long answers take to their first byte. The newest 200 or so count; at most 41 % overstated.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct LatencyFigures {
    /// How many answers there were, since the config was loaded.
    pub answers: u64,
    /// What half of them take at most.
    pub median: Option<Duration>,
    /// What 95 of 100 take at most.
    pub p95: Option<Duration>,
}

/// How a part would be read for a selector.
#[derive(Clone, Debug)]
pub struct PartLeaf {
    /// What it is called in plans.
    pub part: String,
    /// Why nobody of it would be asked; `None`: it would.
    pub why_not: Option<String>,
    /// Its targets, where they would be asked.
    pub targets: Vec<TargetLeaf>,
}

/// How a target would be read.
#[derive(Clone, Debug)]
pub struct TargetLeaf {
    /// Its URL, without query and credentials.
    pub url: String,
    /// How, as far as that is known without asking it.
    pub leaf: KnownLeaf,
    /// It would not be asked because it is unhealthy and its pair is not.
    pub is_left_out: bool,
}

impl ServerGroup {
    /// What is known of it.
    pub fn status(&self) -> GroupStatus {
        let part = |(number, bucket): (usize, &super::group::Bucket)| PartStatus {
            name: self.bucket_name(number),
            targets: bucket.labelled_replicas().map(|(labels, replica)| replica.status(labels)).collect(),
        };
        GroupStatus {
            name: self.name(),
            ordinal: self.ordinal(),
            mode: self.mode,
            parts: self.buckets().iter().enumerate().map(part).collect(),
        }
    }

    /// How one of its buckets would be read for a selector. Asks nobody.
    pub fn leaf(&self, bucket_index: usize, request: &SelectRequest, context: &QueryContext) -> PartLeaf {
        let part = self.bucket_name(bucket_index);
        let not_asked = |why: &str| PartLeaf { part: part.clone(), why_not: Some(why.to_owned()), targets: Vec::new() };
        let Some(bucket) = self.buckets().get(bucket_index) else { return not_asked("it has no targets") };
        if !self.is_chosen(context) {
            return not_asked("the query is about other groups");
        }
        match self.may_have(bucket_index, request, context) {
            Ok(true) => {}
            Ok(false) => return not_asked("it cannot have such series, by its time ranges or its label filter"),
            Err(error) => return not_asked(error.message()),
        }
        match bucket.rewrites.route(&request.matchers) {
            Ok(Some(_)) => {}
            Ok(None) => return not_asked("its labels do not match"),
            Err(error) => return not_asked(error.message()),
        }
        let asked = super::replica::to_ask(&bucket.replicas);
        let target = |(replica, is_asked): (&std::sync::Arc<Replica>, bool)| TargetLeaf {
            url: replica.url().to_string(),
            leaf: replica.downstream().leaf(),
            is_left_out: !is_asked,
        };
        PartLeaf { part, why_not: None, targets: bucket.replicas.iter().zip(asked).map(target).collect() }
    }
}

impl Replica {
    fn status(&self, labels: &Labels) -> TargetStatus {
        let HealthFigures { standing, changed_at, failures_in_a_row, last_failure } = self.health().figures();
        let latencies = |class| {
            let (answers, median, p95) = self.health().latencies(class);
            LatencyFigures { answers, median, p95 }
        };
        let metrics = self.downstream().metrics();
        TargetStatus {
            url: self.url().to_string(),
            labels: labels.clone(),
            standing: match standing {
                Standing::Healthy => TargetStanding::Healthy,
                Standing::OnTrial => TargetStanding::OnTrial,
                Standing::Unhealthy { reason, .. } => TargetStanding::Unhealthy { reason },
            },
            since: self.on_the_wall(changed_at.into()),
            failures_in_a_row,
            last_failure: last_failure.map(|(at, text)| (self.on_the_wall(at.into()), text)),
            leaf: self.downstream().leaf(),
            version: self.downstream().ability().and_then(|ability| ability.version()),
            select: latencies(CallClass::Select),
            metadata: latencies(CallClass::Metadata),
            requests_in_flight: metrics.map_or(0, |metrics| u64::try_from(metrics.in_flight()).unwrap_or(0)),
        }
    }
}
