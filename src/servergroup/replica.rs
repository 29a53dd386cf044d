//! One replica of a bucket: how to ask it, and what is known of its health.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

use super::replica_health::{CallClass, Change, Outcome, ReplicaHealth, Standing};
use crate::downstream::{Downstream, TargetUrl};
use crate::error::{Error, ErrorKind};

/// A target as a member of its bucket.
#[derive(Debug)]
pub(super) struct Replica {
    downstream: Arc<dyn Downstream>,
    health: ReplicaHealth,
    /// One moment on both clocks: health is measured in the one, and told in the other.
    began: (Instant, SystemTime),
}

impl Replica {
    /// Healthy until it shows otherwise.
    pub(super) fn new(downstream: Arc<dyn Downstream>) -> Arc<Self> {
        let began = Instant::now();
        if let Some(metrics) = downstream.metrics() {
            metrics.set_unhealthy(false);
        }
        Arc::new(Self { downstream, health: ReplicaHealth::new(began.into_std()), began: (began, SystemTime::now()) })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &TargetUrl {
        self.downstream.url()
    }

    /// How to ask it.
    pub(super) fn downstream(&self) -> &Arc<dyn Downstream> {
        &self.downstream
    }

    /// What is known of it.
    pub(super) fn health(&self) -> &ReplicaHealth {
        &self.health
    }

    /// It answered in full a request that was begun at `asked_at`, the first of it after `first_byte_at`.
    pub(super) fn answered(self: &Arc<Self>, class: CallClass, asked_at: Instant, first_byte_at: Instant) {
        let first_byte = first_byte_at.saturating_duration_since(asked_at);
        self.record(class, Outcome::Answered { first_byte }, asked_at);
    }

    /// A request that was begun at `asked_at` failed.
    pub(super) fn failed(self: &Arc<Self>, class: CallClass, asked_at: Instant, error: &Error) {
        self.record(class, Outcome::Failed(error), asked_at);
    }

    /// It was left behind for its pair: notes it, and returns what to say.
    pub(super) fn left_behind(self: &Arc<Self>, class: CallClass, asked_at: Instant) -> Error {
        if let Some(metrics) = self.downstream.metrics() {
            metrics.left_behind();
        }
        let waited = asked_at.elapsed();
        self.record(class, Outcome::LeftBehind { waited }, asked_at);
        let text = format!("no complete answer within {}ms, its pair has answered", waited.as_millis());
        Error::new(ErrorKind::Timeout, text)
    }

    /// It was not asked: notes it, and returns what to say.
    pub(super) fn left_out(&self) -> Error {
        if let Some(metrics) = self.downstream.metrics() {
            metrics.left_out();
        }
        let text = match self.health.standing() {
            Standing::Unhealthy { since, reason } => {
                format!("not asked, because it has been failing since {}: {reason}", self.told(since.into()))
            }
            // It is back just now.
            Standing::Healthy | Standing::OnTrial => "not asked, because it was failing".to_owned(),
        };
        Error::new(ErrorKind::Unavailable, text)
    }

    fn told(&self, moment: Instant) -> String {
        DateTime::<Utc>::from(self.on_the_wall(moment)).to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// A moment on the clock that people read.
    pub(super) fn on_the_wall(&self, moment: Instant) -> SystemTime {
        let (began, at) = self.began;
        at + moment.saturating_duration_since(began)
    }

    fn record(self: &Arc<Self>, class: CallClass, outcome: Outcome<'_>, asked_at: Instant) {
        let now = Instant::now().into_std();
        match self.health.record(class, outcome, asked_at.into_std(), now) {
            Change::None => {}
            Change::BecameUnhealthy => {
                self.tell(true);
                if let Standing::Unhealthy { reason, .. } = self.health.standing() {
                    tracing::warn!(target_url = %self.url(), reason, "a target fails again and again: while its pair answers, queries go on without it");
                }
                // Ends by itself when there is nothing to probe, or nobody to probe for.
                drop(tokio::spawn(probe(Arc::downgrade(self))));
            }
            Change::Healed => {
                self.tell(false);
                tracing::info!(target_url = %self.url(), "a target answers again");
            }
        }
    }

    fn tell(&self, is_unhealthy: bool) {
        if let Some(metrics) = self.downstream.metrics() {
            metrics.set_unhealthy(is_unhealthy);
        }
    }
}

/// Asks it a trifle now and then until it answers.
async fn probe(replica: Weak<Replica>) {
    loop {
        let Some(wait) = replica.upgrade().and_then(|replica| replica.health.next_probe_in()) else { return };
        tokio::time::sleep(wait).await;
        let Some(replica) = replica.upgrade().filter(|replica| replica.health.is_unhealthy()) else { return };
        if replica.downstream.probe().await.is_ok() {
            replica.health.probe_answered(Instant::now().into_std());
            replica.tell(false);
            tracing::info!(target_url = %replica.url(), "a target answers a probe: queries ask it again");
            return;
        }
    }
}

/// Which of the replicas to ask now; who is left out is to be asked should all others fail.
pub(super) fn to_ask(replicas: &[Arc<Replica>]) -> Vec<bool> {
    super::replica_health::replicas_to_ask(replicas.iter().map(|replica| &replica.health))
}
