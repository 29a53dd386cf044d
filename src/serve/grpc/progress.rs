//! Says how far a query is while it runs.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at};

use super::answer::client_is_gone;
use super::proto::{self, query_response::Part};
use crate::error::Error;
use crate::model::{RequestState, TargetProgress};
use crate::query::QueryWatch;

/// A query that is looked at while it runs.
pub(super) struct Watching {
    /// How often it is said how far it is.
    pub(super) interval: Duration,
    /// Where that shows.
    pub(super) watch: QueryWatch,
}

impl Watching {
    /// The outcome of `work`, with messages on the way. A client that does not keep up misses some; one that goes away ends it.
    pub(super) async fn until<T>(
        self,
        work: impl Future<Output = Result<T, Error>>,
        sender: &mpsc::Sender<proto::QueryResponse>,
    ) -> Result<T, Error> {
        let asked_at = Instant::now();
        let mut ticks = interval_at(tokio::time::Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return Err(client_is_gone()),
                ended = &mut work => return ended,
                _ = ticks.tick() => {
                    if let Ok(place) = sender.try_reserve() {
                        let progress = self.progress(asked_at.elapsed());
                        place.send(proto::QueryResponse { part: Some(Part::Progress(progress)) });
                    }
                }
            }
        }
    }

    fn progress(&self, elapsed: Duration) -> proto::QueryProgress {
        let elapsed_seconds = elapsed.as_secs_f64();
        match self.watch.context() {
            None => proto::QueryProgress { elapsed_seconds, is_queued: true, ..proto::QueryProgress::default() },
            Some(context) => proto::QueryProgress {
                elapsed_seconds,
                is_queued: false,
                samples_loaded: context.samples_loaded(),
                bytes_held: context.budget().bytes(),
                samples_held: context.budget().samples(),
                targets: context.targets.progress().into_iter().map(target_progress).collect(),
            },
        }
    }
}

fn target_progress(TargetProgress { state, so_far }: TargetProgress) -> proto::TargetProgress {
    let state = match state {
        RequestState::Asked => proto::RequestState::Asked,
        RequestState::Answering => proto::RequestState::Answering,
        RequestState::Done => proto::RequestState::Done,
        RequestState::Failed => proto::RequestState::Failed,
    };
    proto::TargetProgress {
        group: so_far.group.to_string(),
        target: so_far.target.to_string(),
        call: so_far.call.to_owned(),
        leaf: so_far.leaf.to_owned(),
        state: state.into(),
        outcome: so_far.outcome.to_owned(),
        requests: so_far.requests,
        bytes: so_far.bytes,
        samples: so_far.samples,
        series: so_far.series,
        seconds: so_far.duration.as_secs_f64(),
    }
}
