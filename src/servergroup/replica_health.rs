//! Whether a replica is worth waiting for, learned from how it answered. No clock inside: times are handed in.
//!
//! ```text
//!            3 failures in a row                 a probe is answered
//! Healthy ───────────────────────▶ Unhealthy ─────────────────────────▶ OnTrial
//!    ▲                              │  ▲  └─ probe at 1 s, 2 s, 4 s … 10 s │  │
//!    │      a query is answered     │  └────────── one failure ───────────┘  │
//!    └──────────────────────────────┴────────── a query is answered ─────────┘
//! ```
//!
//! | replica | asked | waited for, once its pair has answered in full |
//! |---|---|---|
//! | healthy, on trial | yes | [`ReplicaHealth::straggler_wait`] |
//! | unhealthy, its pair is not | no, and a warning says so; small probes of our own find out when it is back | – |
//! | unhealthy, and so are all of its bucket | yes | as a healthy one |
//!
//! Leaving a replica out may lose what only it has. So it is always a warning, and it is done to a replica that has shown
//! several times in a row that it does not answer, never because it is somewhat slower than its pair.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};
use crate::telemetry::RecentLatencies;

/// One lost request is a restart or a lost packet; three in a row are a state.
const FAILURES_MAX: u32 = 3;
/// A probe is one small request, so it may come often; a replica that is back should be missed for seconds, not minutes.
const PROBE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The interval doubles up to this.
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// A straggler gets at least this: pauses of a garbage collector or a disk are no reason to lose data.
const STRAGGLER_WAIT_MIN: Duration = Duration::from_millis(250);
/// What a replica's history alone can earn it where its group sets no `timeout`.
const STRAGGLER_WAIT_MAX: Duration = Duration::from_secs(2);
/// A replica of which little is known gets this.
const STRAGGLER_WAIT_UNKNOWN: Duration = Duration::from_secs(1);
/// A replica may stay behind for so many times what 95 of 100 of its answers take.
const STRAGGLER_FACTOR: u32 = 3;
/// Fewer answers than this tell nothing of what is usual.
const ANSWERS_MIN: u64 = 5;
/// How many of 100 answers a latency is usual for.
const USUAL_SHARE: f32 = 0.95;
/// Of a reason so many bytes are kept.
const REASON_BYTES_MAX: usize = 256;

/// Calls that cost alike.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CallClass {
    /// Series of a selector, or of a pushed expression.
    Select,
    /// Names, values, label sets, metadata.
    Metadata,
}

/// How one request ended.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Outcome<'a> {
    /// In full.
    Answered {
        /// From the request to the first byte of its answer, or to its first table.
        first_byte: Duration,
    },
    /// With this error. Errors that the query is to blame for, and ends of the query itself, say nothing of health.
    Failed(&'a Error),
    /// It was left behind for its pair.
    LeftBehind {
        /// How long it had been waited for.
        waited: Duration,
    },
}

/// What an outcome changed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// It has just become unhealthy: somebody must begin to probe it.
    BecameUnhealthy,
    /// It has just become healthy.
    Healed,
}

/// Where a replica stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It answers.
    Healthy,
    /// A probe was answered. Asked like a healthy one; the next failure makes it unhealthy again.
    OnTrial,
    /// It does not answer.
    Unhealthy {
        /// When it became so.
        since: Instant,
        /// How its last request failed.
        reason: String,
    },
}

impl Standing {
    /// Is it one to be left out where its pair is there?
    pub fn is_unhealthy(&self) -> bool {
        matches!(self, Self::Unhealthy { .. })
    }
}

/// What is known of one replica. Cheap: a lock for tens of nanoseconds per request.
#[derive(Debug)]
pub struct ReplicaHealth(Mutex<State>);

/// Where a replica stands, in figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthFigures {
    /// Where it stands.
    pub standing: Standing,
    /// Since when.
    pub changed_at: Instant,
    /// How often it has failed since it last answered.
    pub failures_in_a_row: u32,
    /// The last failure that speaks of its health, however long ago.
    pub last_failure: Option<(Instant, String)>,
}

#[derive(Debug)]
struct State {
    standing: Standing,
    /// Requests that were begun before this say nothing of now.
    changed_at: Instant,
    failures_in_a_row: u32,
    last_failure: Option<(Instant, String)>,
    probe_interval: Duration,
    select: RecentLatencies,
    metadata: RecentLatencies,
}

impl ReplicaHealth {
    /// Healthy until it shows otherwise.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            standing: Standing::Healthy,
            changed_at: now,
            failures_in_a_row: 0,
            last_failure: None,
            probe_interval: PROBE_INTERVAL_MIN,
            select: RecentLatencies::default(),
            metadata: RecentLatencies::default(),
        }))
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.0.lock().standing.clone()
    }

    /// Where it stands, and how it came to that.
    pub fn figures(&self) -> HealthFigures {
        let state = self.0.lock();
        HealthFigures {
            standing: state.standing.clone(),
            changed_at: state.changed_at,
            failures_in_a_row: state.failures_in_a_row,
            last_failure: state.last_failure.clone(),
        }
    }

    /// How many answers there were, and what 50 and 95 of 100 of the newest took to their first byte.
    pub fn latencies(&self, class: CallClass) -> (u64, Option<Duration>, Option<Duration>) {
        let mut state = self.0.lock();
        let latencies = state.latencies(class);
        (latencies.observed(), latencies.quantile(0.5), latencies.quantile(USUAL_SHARE))
    }

    /// Is it to be left out where its pair is there?
    pub fn is_unhealthy(&self) -> bool {
        self.0.lock().standing.is_unhealthy()
    }

    /// Learns how a request ended that was begun at `asked_at`.
    ///
    /// A failure of a request that is older than the last change is not counted: those that hung when it froze must not
    /// speak against it after it is back.
    pub fn record(&self, class: CallClass, outcome: Outcome<'_>, asked_at: Instant, now: Instant) -> Change {
        let mut state = self.0.lock();
        match outcome {
            Outcome::Answered { first_byte } => {
                state.latencies(class).observe(first_byte);
                state.heal(now)
            }
            Outcome::Failed(error) if !speaks_of_health(error) => Change::None,
            Outcome::Failed(error) => state.fail(asked_at, now, || shortened(error.message())),
            Outcome::LeftBehind { waited } => state.fail(asked_at, now, || {
                format!("no complete answer within {}ms, its pair has answered", waited.as_millis())
            }),
        }
    }

    /// How long to wait from one probe to the next; `None` once there is nothing to probe. Doubles with each call.
    pub fn next_probe_in(&self) -> Option<Duration> {
        let mut state = self.0.lock();
        if !state.standing.is_unhealthy() {
            return None;
        }
        let interval = state.probe_interval;
        state.probe_interval = (interval * 2).min(PROBE_INTERVAL_MAX);
        Some(interval)
    }

    /// A probe was answered. A server that answers a trifle may still not answer queries, hence only a trial.
    pub fn probe_answered(&self, now: Instant) {
        let mut state = self.0.lock();
        if state.standing.is_unhealthy() {
            state.standing = Standing::OnTrial;
            state.changed_at = now;
        }
    }

    /// What 95 of 100 of its answers took to their first byte, at most 41 % overstated; `None` while too little is known.
    pub fn usual_latency(&self, class: CallClass) -> Option<Duration> {
        let mut state = self.0.lock();
        let latencies = state.latencies(class);
        if latencies.observed() < ANSWERS_MIN { None } else { latencies.quantile(USUAL_SHARE) }
    }

    /// How long it may stay behind from when its pair, which took `pair_took`, has answered in full.
    ///
    /// | what | why |
    /// |---|---|
    /// | three times its own usual latency, 250 ms to 2 s | nothing that it does every day makes it lose data |
    /// | at least as long again as its pair took | who needs 10 s for this query may need 13 s for it |
    /// | never more than the group's `timeout` | that is what it is for |
    ///
    /// A replica that freezes so costs the first three queries up to this wait, each, and the others nothing.
    pub fn straggler_wait(&self, class: CallClass, pair_took: Duration, timeout: Option<Duration>) -> Duration {
        let usual = self.usual_latency(class).map_or(STRAGGLER_WAIT_UNKNOWN, |usual| usual * STRAGGLER_FACTOR);
        let wait = usual.clamp(STRAGGLER_WAIT_MIN, STRAGGLER_WAIT_MAX).max(pair_took);
        timeout.map_or(wait, |timeout| wait.min(timeout))
    }
}

impl State {
    fn latencies(&mut self, class: CallClass) -> &mut RecentLatencies {
        match class {
            CallClass::Select => &mut self.select,
            CallClass::Metadata => &mut self.metadata,
        }
    }

    fn heal(&mut self, now: Instant) -> Change {
        self.failures_in_a_row = 0;
        self.probe_interval = PROBE_INTERVAL_MIN;
        if self.standing == Standing::Healthy {
            return Change::None;
        }
        self.standing = Standing::Healthy;
        self.changed_at = now;
        Change::Healed
    }

    fn fail(&mut self, asked_at: Instant, now: Instant, reason: impl Fn() -> String) -> Change {
        self.last_failure = Some((now, reason()));
        if asked_at < self.changed_at || self.standing.is_unhealthy() {
            return Change::None;
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.standing == Standing::Healthy && self.failures_in_a_row < FAILURES_MAX {
            return Change::None;
        }
        self.standing = Standing::Unhealthy { since: now, reason: reason() };
        self.changed_at = now;
        Change::BecameUnhealthy
    }
}

/// Does this error say that the server cannot be had, rather than that it understood the query and refused it, or that we
/// ended the query?
fn speaks_of_health(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Timeout | ErrorKind::Unavailable => true,
        ErrorKind::BadData
        | ErrorKind::Execution
        | ErrorKind::Canceled
        | ErrorKind::TooManySamples
        | ErrorKind::Internal
        | ErrorKind::NotFound
        | ErrorKind::Loop => false,
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=REASON_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

/// Which replicas of a bucket to ask now, in their order: the healthy ones, and all where none is.
///
/// Who is left out here must be asked after all should everybody else fail: an error is worse than waiting.
pub fn replicas_to_ask<'a>(replicas: impl Iterator<Item = &'a ReplicaHealth>) -> Vec<bool> {
    let mut asked: Vec<bool> = replicas.map(|replica| !replica.is_unhealthy()).collect();
    if !asked.contains(&true) {
        asked.fill(true);
    }
    asked
}

impl fmt::Display for CallClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Select => "select",
            Self::Metadata => "metadata",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// One thing that happens to a replica, a second after the one before.
    #[derive(Copy, Clone, Debug)]
    enum Event {
        Answer,
        Fail(ErrorKind),
        LeaveBehind,
        AnswerProbe,
    }
    use Event::{Answer, AnswerProbe, Fail, LeaveBehind};

    fn after(events: &[Event]) -> (ReplicaHealth, Instant, Vec<Change>) {
        let mut now = Instant::now();
        let health = ReplicaHealth::new(now);
        let mut changes = Vec::new();
        for event in events {
            now += SECOND;
            let mut record = |outcome| changes.push(health.record(CallClass::Select, outcome, now, now));
            match event {
                Answer => record(Outcome::Answered { first_byte: MS }),
                Fail(kind) => record(Outcome::Failed(&Error::new(*kind, "boom"))),
                LeaveBehind => record(Outcome::LeftBehind { waited: 300 * MS }),
                AnswerProbe => health.probe_answered(now),
            }
        }
        (health, now, changes)
    }

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy_and_an_answer_heals_it() {
        let refused = Fail(ErrorKind::Unavailable);
        let late = Fail(ErrorKind::Timeout);
        let cases: [(&[Event], bool); 11] = [
            (&[], false),
            (&[refused, refused], false),
            (&[refused, late, LeaveBehind], true),
            (&[LeaveBehind, LeaveBehind, Answer, LeaveBehind, LeaveBehind], false),
            (&[LeaveBehind, LeaveBehind, LeaveBehind, Answer], false),
            // After an answer it takes three again …
            (&[refused, refused, refused, Answer, refused, refused], false),
            // … after a probe's answer only one.
            (&[refused, refused, refused, AnswerProbe], false),
            (&[refused, refused, refused, AnswerProbe, LeaveBehind], true),
            (&[refused, refused, refused, AnswerProbe, Answer, LeaveBehind, LeaveBehind], false),
            // A probe's answer is no news of a healthy one.
            (&[refused, refused, AnswerProbe, refused], true),
            // What the query is to blame for, and its own end, say nothing.
            (
                &[Fail(ErrorKind::Execution), refused, Fail(ErrorKind::BadData), refused, Fail(ErrorKind::Canceled)],
                false,
            ),
        ];
        for (events, is_unhealthy) in cases {
            let (health, ..) = after(events);
            assert_eq!(health.is_unhealthy(), is_unhealthy, "{events:?}");
        }
    }

    #[test]
    fn each_change_is_told_once_and_with_its_reason_and_time() {
        let (health, now, changes) = after(&[LeaveBehind, LeaveBehind, LeaveBehind, LeaveBehind]);
        assert_eq!(changes, [Change::None, Change::None, Change::BecameUnhealthy, Change::None]);
        let reason = "no complete answer within 300ms, its pair has answered".to_owned();
        assert_eq!(health.standing(), Standing::Unhealthy { since: now - SECOND, reason });
        let (_, _, changes) = after(&[LeaveBehind, LeaveBehind, LeaveBehind, Answer, Answer]);
        assert_eq!(changes[3..], [Change::Healed, Change::None]);
        let (_, _, changes) = after(&[LeaveBehind, LeaveBehind, LeaveBehind, AnswerProbe, LeaveBehind]);
        assert_eq!(changes.last(), Some(&Change::BecameUnhealthy));
    }

    #[test]
    fn requests_that_hung_from_before_do_not_speak_against_one_that_is_back() {
        let (health, now, _) = after(&[LeaveBehind, LeaveBehind, LeaveBehind, AnswerProbe]);
        let late = Outcome::LeftBehind { waited: SECOND };
        assert_eq!(health.record(CallClass::Select, late, now - 2 * SECOND, now + SECOND), Change::None);
        assert_eq!(health.standing(), Standing::OnTrial);
        assert_eq!(health.record(CallClass::Select, late, now, now + SECOND), Change::BecameUnhealthy);
    }

    #[test]
    fn probes_become_rarer_and_begin_anew_only_after_an_answer() {
        let seconds = |health: &ReplicaHealth, count| -> Vec<u64> {
            (0..count).filter_map(|_| health.next_probe_in()).map(|wait| wait.as_secs()).collect()
        };
        let (health, now, _) = after(&[LeaveBehind, LeaveBehind, LeaveBehind]);
        assert_eq!(seconds(&health, 6), [1, 2, 4, 8, 10, 10]);
        // It answers trifles and hangs in queries.
        health.probe_answered(now);
        assert_eq!(health.next_probe_in(), None);
        health.record(CallClass::Select, Outcome::LeftBehind { waited: SECOND }, now, now);
        assert_eq!(seconds(&health, 1), [10]);
        health.record(CallClass::Select, Outcome::Answered { first_byte: MS }, now, now);
        assert_eq!(health.next_probe_in(), None);
        for _ in 0..3 {
            health.record(CallClass::Select, Outcome::LeftBehind { waited: SECOND }, now, now);
        }
        assert_eq!(seconds(&health, 2), [1, 2]);
    }

    #[test]
    fn a_straggler_may_stay_behind_for_what_is_usual() {
        let now = Instant::now();
        for (answers, first_byte, pair_took, timeout, wait) in [
            // Little is known: a second.
            (0, MS, MS, None, 1_000),
            (4, MS, MS, None, 1_000),
            (5, MS, MS, None, 250),
            // Three times 128 ms, the edge of the bucket that 100 ms are in.
            (100, 100 * MS, MS, None, 384),
            (100, 5 * SECOND, MS, None, 2_000),
            // As long again as its pair took, however fast it usually is.
            (100, MS, 10 * SECOND, None, 10_000),
            // The group's timeout is the limit.
            (100, 5 * SECOND, MS, Some(400 * MS), 400),
            (100, MS, 10 * SECOND, Some(30 * SECOND), 10_000),
            (100, MS, 10 * SECOND, Some(3 * SECOND), 3_000),
            (100, MS, MS, Some(30 * SECOND), 250),
        ] {
            let health = ReplicaHealth::new(now);
            for _ in 0..answers {
                health.record(CallClass::Select, Outcome::Answered { first_byte }, now, now);
                // Other calls do not count.
                health.record(CallClass::Metadata, Outcome::Answered { first_byte: 9 * SECOND }, now, now);
            }
            let found = health.straggler_wait(CallClass::Select, pair_took, timeout);
            assert_eq!(found.as_millis(), wait, "{answers} answers of {first_byte:?}, pair {pair_took:?}, {timeout:?}");
        }
    }

    #[test]
    fn the_unhealthy_are_left_out_unless_all_are() {
        let unhealthy = || after(&[LeaveBehind, LeaveBehind, LeaveBehind]).0;
        let healthy = || after(&[]).0;
        let on_trial = || after(&[LeaveBehind, LeaveBehind, LeaveBehind, AnswerProbe]).0;
        for (replicas, asked) in [
            (vec![], vec![]),
            (vec![healthy(), healthy()], vec![true, true]),
            (vec![unhealthy(), healthy()], vec![false, true]),
            (vec![unhealthy(), on_trial()], vec![false, true]),
            (vec![unhealthy(), unhealthy()], vec![true, true]),
        ] {
            assert_eq!(replicas_to_ask(replicas.iter()), asked, "{replicas:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let now = Instant::now();
        let health = ReplicaHealth::new(now);
        let error = Error::new(ErrorKind::Unavailable, format!("a{}", "é".repeat(REASON_BYTES_MAX)));
        for _ in 0..3 {
            health.record(CallClass::Select, Outcome::Failed(&error), now, now);
        }
        let Standing::Unhealthy { reason, .. } = health.standing() else { panic!("three failures") };
        assert_eq!(reason.len(), REASON_BYTES_MAX - 1);
    }
}
