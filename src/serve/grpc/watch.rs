//! A query that is evaluated again at every step, as time goes by.
//!
//! Each evaluation is a query of its own: it takes a slot while it runs, has the timeout of a query, and is answered by the engine
//! that runs then. One is never begun before the one before has been taken by the client: what took too long leaves steps out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::{Code, Status};

use super::answer::{
    Answer, MESSAGES_WAITING_MAX, Parts, Writing, client_is_gone, messages_then_end, send, write_answer,
};
use super::proto::{self, watch_response::Part};
use super::status::status_of;
use crate::error::Error;
use crate::model::{AnnotationSink, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, QueryWatch};
use crate::serve::http::{ApiState, Evaluation, Notes, evaluate, now};
use crate::syntax;

/// A server has so many watches at a time: each keeps a task, and takes its turn among all queries at every step.
pub(super) const WATCHES_MAX: usize = 100;

/// Who wants to know more often than this asks too much of the servers below …
const STEP_MS_MIN: i64 = 1_000;
/// … and who wants to know less often than daily asks anew.
const STEP_MS_MAX: i64 = 86_400_000;

/// A query to be watched.
pub(super) struct Watched {
    query: String,
    options: QueryOptions,
    has_target_stats: bool,
    step_ms: i64,
    /// How many evaluations are left; `None`: no end.
    left: Option<u64>,
}

impl Watched {
    /// Checks what can be checked before the first evaluation.
    pub(super) fn try_new(
        engine: &QueryEngine,
        request: proto::WatchRequest,
        options: QueryOptions,
    ) -> Result<Self, Error> {
        let asked = request.options.unwrap_or_default();
        if asked.progress_interval_ms != 0 {
            return Err(Error::bad_data(
                "progress_interval_ms is for single queries: a watch tells of whole evaluations",
            ));
        }
        let step_ms = request.step_ms;
        if !(STEP_MS_MIN..=STEP_MS_MAX).contains(&step_ms) {
            let text = format!("step_ms is {step_ms}, it must be at least {STEP_MS_MIN} and at most {STEP_MS_MAX}");
            return Err(Error::bad_data(text));
        }
        let refused = |error: syntax::ParseError| Error::bad_data(error.render(&request.query));
        syntax::parse(&request.query, &engine.options().features)
            .map_err(|error| refused(error).in_context("invalid parameter \"query\""))?;
        Ok(Self {
            query: request.query,
            options,
            has_target_stats: asked.target_stats,
            step_ms,
            left: (request.count > 0).then_some(request.count),
        })
    }

    /// Evaluations until the client has had enough. Dropping the stream ends the one that runs, and gives `place` back.
    pub(super) fn answer(self, api: &ApiState, place: OwnedSemaphorePermit) -> Answer<proto::WatchResponse> {
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (cpu, api) = (api.cpu(), api.clone());
        let task = cpu.spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = sender.closed() => Err(client_is_gone()),
                ended = self.run(&api, &sender) => ended,
            }
        });
        messages_then_end(receiver, task)
    }

    async fn run(&self, api: &ApiState, sender: &mpsc::Sender<proto::WatchResponse>) -> Result<(), Error> {
        let mut schedule = Schedule::starting_at(now(), self.step_ms);
        let mut left = self.left;
        while left != Some(0) {
            tokio::time::sleep(schedule.wait(now())).await;
            let due = schedule.take(now());
            self.evaluate_at(due, api, sender).await?;
            left = left.map(|left| left - 1);
        }
        Ok(())
    }

    /// An error ends the watch; that of the query is a message.
    async fn evaluate_at(
        &self,
        Due { time, skipped_steps }: Due,
        api: &ApiState,
        sender: &mpsc::Sender<proto::WatchResponse>,
    ) -> Result<(), Error> {
        let message = move |part| proto::WatchResponse { time_ms: time.0, skipped_steps, part: Some(part) };
        let options = QueryOptions {
            asked_at: Some(Instant::now()),
            noted: AnnotationSink::default(),
            watch: QueryWatch::default(),
            ..self.options.clone()
        };
        let (query, noted) = (self.query.clone(), options.noted.clone());
        let evaluation = Evaluation {
            kind: "instant",
            timeout: options.timeout,
            start: move |engine: Arc<QueryEngine>| async move { engine.instant(&query, time, &options).await },
        };
        match evaluate(api, evaluation, |result, timings| (result, timings)).await {
            Ok((result, timings)) => {
                let answer = move |part| message(Part::Answer(proto::QueryResponse { part: Some(part) }));
                let writing = Writing { query: self.query.clone(), time, has_target_stats: self.has_target_stats };
                write_answer(&Parts::new(sender.clone(), answer), writing, result, timings).await
            }
            Err(error) => {
                let status = status_of(&error);
                let notes = Notes::new(&noted.snapshot(), &self.query);
                let failed = proto::WatchError {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    notes: Some(notes.into()),
                };
                send(sender, message(Part::Error(failed))).await
            }
        }
    }
}

/// What a client is told for whom there is no place.
pub(super) fn too_many_watches() -> Status {
    let text = format!(
        "{WATCHES_MAX} watches run already, the most there may be at a time: end one, or ask QueryService/Query now and then"
    );
    Status::new(Code::ResourceExhausted, text)
}

/// An evaluation that is due.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Due {
    time: TimestampMs,
    /// How many were left out before it.
    skipped_steps: u64,
}

/// When to evaluate: at multiples of a step, at each at most once, none of them late. No clock inside.
#[derive(Debug)]
struct Schedule {
    step_ms: i64,
    next_ms: i64,
}

impl Schedule {
    /// The first is the last multiple: it is due at once.
    fn starting_at(now: TimestampMs, step_ms: i64) -> Self {
        Self { step_ms, next_ms: last_multiple(now, step_ms) }
    }

    /// How long until the next is due.
    fn wait(&mut self, now: TimestampMs) -> Duration {
        // The clock was set back: what lies further ahead than a step was computed from another time.
        self.next_ms = self.next_ms.min(last_multiple(now, self.step_ms).saturating_add(self.step_ms));
        Duration::from_millis(u64::try_from(self.next_ms.saturating_sub(now.0)).unwrap_or(0))
    }

    /// The one that is due, or was last due where several were.
    fn take(&mut self, now: TimestampMs) -> Due {
        let time_ms = self.next_ms.max(last_multiple(now, self.step_ms));
        let skipped_steps = u64::try_from((time_ms - self.next_ms) / self.step_ms).unwrap_or(0);
        self.next_ms = time_ms.saturating_add(self.step_ms);
        Due { time: TimestampMs(time_ms), skipped_steps }
    }
}

fn last_multiple(now: TimestampMs, step_ms: i64) -> i64 {
    now.0.div_euclid(step_ms).saturating_mul(step_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::EngineOptions;
    use crate::testing::MemoryStore;

    #[test]
    fn evaluations_are_at_multiples_of_the_step_and_none_is_late() {
        let mut schedule = Schedule::starting_at(TimestampMs(12_345), 5_000);
        // When the evaluation before has ended, how long it then waits, which one it is, how many were left out.
        for (now, wait, time, skipped_steps) in [
            (12_345, 0, 10_000, 0),
            (12_400, 2_600, 15_000, 0),
            (15_001, 4_999, 20_000, 0),
            // The last one took 13 s: those of 25 and 30 s are left out.
            (33_000, 0, 30_000, 1),
            (35_000, 0, 35_000, 0),
            (80_001, 0, 80_000, 8),
            (80_002, 4_998, 85_000, 0),
            // The clock was set back by a minute.
            (25_500, 4_500, 30_000, 0),
            (30_100, 4_900, 35_000, 0),
        ] {
            assert_eq!(schedule.wait(TimestampMs(now)), Duration::from_millis(wait), "at {now}");
            let due = schedule.take(TimestampMs(now + i64::try_from(wait).expect("small")));
            assert_eq!(due, Due { time: TimestampMs(time), skipped_steps }, "at {now}");
        }
        // A timer that is a little early does not evaluate the step before again.
        let wait = schedule.wait(TimestampMs(35_500));
        assert_eq!(
            (wait, schedule.take(TimestampMs(39_999)).time),
            (Duration::from_millis(4_500), TimestampMs(40_000))
        );
    }

    #[test]
    fn what_cannot_be_watched_is_refused_before_it_begins() {
        let engine = QueryEngine::new(Arc::new(MemoryStore::new()), EngineOptions::default());
        let request = |query: &str, step_ms| proto::WatchRequest {
            query: query.to_owned(),
            step_ms,
            ..proto::WatchRequest::default()
        };
        let progress = proto::QueryOptions { progress_interval_ms: 100, ..proto::QueryOptions::default() };
        for (request, why) in [
            (request("sum(", 1_000), "invalid parameter \"query\": 1:5: parse error"),
            (request("up", 0), "step_ms is 0, it must be at least 1000 and at most 86400000"),
            (request("up", i64::MIN), "step_ms is -9223372036854775808, it must be"),
            (request("up", 86_400_001), "step_ms is 86400001, it must be"),
            (proto::WatchRequest { options: Some(progress), ..request("up", 1_000) }, "progress_interval_ms is for"),
        ] {
            match Watched::try_new(&engine, request, QueryOptions::default()) {
                Ok(_) => panic!("{why}"),
                Err(error) => assert!(error.message().starts_with(why), "{error}"),
            }
        }
        assert!(Watched::try_new(&engine, request("up", 86_400_000), QueryOptions::default()).is_ok());
    }
}
