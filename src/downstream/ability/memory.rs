//! What is known of a server, shared by all queries to it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    Ability, AbilityProbe, FlightAbility, LEARN_FOR, RAW_USABLE_FOR, REFRESH_AFTER, RETRY_AFTER, RETRY_AFTER_MAX,
    RawAbility, WAIT_MAX,
};
use crate::downstream::TargetUrl;
use crate::model::QueryContext;

/// Remembers, and sees to it that what is old is found out anew.
#[derive(Debug)]
pub(in crate::downstream) struct AbilityMemory {
    probe: AbilityProbe,
    state: Mutex<State>,
    /// Rung when something was learned.
    learned: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    is_learning: bool,
    /// How often in a row the server could not be asked.
    failures: u32,
    /// What was last said of it in the log.
    told: Option<String>,
}

#[derive(Debug)]
struct Known {
    ability: Arc<Ability>,
    since: Instant,
    /// When to find out anew.
    refresh_at: Instant,
}

impl Known {
    fn is_usable(&self, now: Instant) -> bool {
        !self.ability.reads_raw() || now.saturating_duration_since(self.since) < RAW_USABLE_FOR
    }
}

impl State {
    /// What may be relied on.
    fn usable(&self, now: Instant) -> Option<&Known> {
        self.known.as_ref().filter(|known| known.is_usable(now))
    }

    /// Is it time to find out anew?
    fn is_due(&self, now: Instant) -> bool {
        self.usable(now).is_none_or(|known| known.refresh_at <= now)
    }

    fn remember(&mut self, ability: Ability, now: Instant) {
        let is_certain = ability.is_certain();
        self.failures = if is_certain { 0 } else { self.failures.saturating_add(1) };
        let refresh_at = now + if is_certain { REFRESH_AFTER } else { retry_after(self.failures) };
        match &mut self.known {
            // The server does not answer just now. What it was goes on to be so, as long as that is usable.
            Some(known) if !is_certain && known.ability.is_certain() && known.is_usable(now) => {
                known.refresh_at = refresh_at;
            }
            known => *known = Some(Known { ability: Arc::new(ability), since: now, refresh_at }),
        }
    }
}

impl AbilityMemory {
    /// Knows nothing yet.
    pub(in crate::downstream) fn new(probe: AbilityProbe) -> Self {
        Self { probe, state: Mutex::default(), learned: watch::Sender::new(()) }
    }

    /// How it finds out.
    pub(in crate::downstream) fn probe(&self) -> &AbilityProbe {
        &self.probe
    }

    /// What is known and still usable, without asking anybody.
    pub(in crate::downstream) fn known(&self) -> Option<Arc<Ability>> {
        self.state.lock().usable(Instant::now()).map(|known| Arc::clone(&known.ability))
    }

    /// What is known, after asking the server where need be: the query waits for that, within bounds. `None`: nothing was
    /// found out within them.
    pub(in crate::downstream) async fn ask(self: &Arc<Self>, context: &QueryContext) -> Option<Arc<Ability>> {
        let now = Instant::now();
        let mut learned = self.learned.subscribe();
        {
            let mut state = self.state.lock();
            if state.is_due(now) {
                self.begin_learning(&mut state, context);
            }
            if let Some(known) = state.usable(now) {
                return Some(Arc::clone(&known.ability));
            }
            if !self.probe.may_do_better() {
                return None;
            }
        }
        let of_query = context.deadline.map(|deadline| Instant::from_std(deadline).saturating_duration_since(now) / 4);
        let patience = of_query.map_or(WAIT_MAX, |of_query| of_query.min(WAIT_MAX));
        self.wait(&mut learned, patience).await
    }

    /// What the server says now, as far as it says anything. What was learned within the last seconds is not asked again.
    pub(in crate::downstream) async fn ask_anew(self: &Arc<Self>, context: &QueryContext) -> Option<Arc<Ability>> {
        let mut learned = self.learned.subscribe();
        {
            let mut state = self.state.lock();
            let is_new = |known: &&Known| known.since.elapsed() < RETRY_AFTER && known.ability.is_certain();
            if let Some(known) = state.known.as_ref().filter(is_new) {
                return Some(Arc::clone(&known.ability));
            }
            self.begin_learning(&mut state, context);
        }
        let of_query = context.deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        self.wait(&mut learned, of_query.map_or(LEARN_FOR, |of_query| of_query.min(LEARN_FOR))).await
    }

    async fn wait(&self, learned: &mut watch::Receiver<()>, patience: Duration) -> Option<Arc<Ability>> {
        // When nothing new comes in time, what is known stands.
        let _ = tokio::time::timeout(patience, learned.changed()).await;
        self.known()
    }

    /// No raw samples are to be read on the strength of this: it has turned out to be wrong. The next query asks anew.
    pub(in crate::downstream) fn forget(&self, wrong: &Arc<Ability>) {
        let mut state = self.state.lock();
        if state.known.as_ref().is_some_and(|known| Arc::ptr_eq(&known.ability, wrong)) {
            state.known = None;
        }
    }

    /// It has turned out that the server has no remote read, whatever it said before.
    pub(in crate::downstream) fn learn_that_not_spoken(&self, before: &Ability, why: &str) {
        let raw = RawAbility::Not(format!("it has no remote read: {why}"));
        self.remember(Ability { raw, ..before.clone() });
    }

    /// It has turned out that the server cannot be asked over Arrow Flight just now. That is found out anew before long.
    pub(in crate::downstream) fn learn_that_flight_fails(&self, before: &Arc<Ability>, why: &str) {
        let mut state = self.state.lock();
        let failing = Ability { flight: FlightAbility::Unknown(why.to_owned()), ..Ability::clone(before) };
        tell(self.probe.url(), &failing, &mut state.told);
        if let Some(known) = state.known.as_mut().filter(|known| Arc::ptr_eq(&known.ability, before)) {
            *known = Known { ability: Arc::new(failing), refresh_at: Instant::now() + RETRY_AFTER, ..*known };
        }
    }

    fn begin_learning(self: &Arc<Self>, state: &mut State, context: &QueryContext) {
        if state.is_learning {
            return;
        }
        state.is_learning = true;
        let mut own_context = QueryContext::new(std::time::Instant::now().checked_add(LEARN_FOR), 0);
        own_context.proxied_headers = Arc::clone(&context.proxied_headers);
        let learning = Learning(Arc::clone(self));
        // On its own: what is learned serves the next query, even when this one is gone.
        tokio::spawn(async move {
            let ability = learning.0.probe.learn(&own_context).await;
            learning.0.remember(ability);
        });
    }

    fn remember(&self, ability: Ability) {
        let mut state = self.state.lock();
        tell(self.probe.url(), &ability, &mut state.told);
        state.remember(ability, Instant::now());
    }
}

/// How long to leave a server alone that could not be asked so many times in a row.
fn retry_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(8);
    RETRY_AFTER.saturating_mul(1 << doublings).min(RETRY_AFTER_MAX)
}

/// Whoever learns; when he is gone, however that came, somebody else may.
struct Learning(Arc<AbilityMemory>);

impl Drop for Learning {
    fn drop(&mut self) {
        self.0.state.lock().is_learning = false;
        self.0.learned.send_replace(());
    }
}

impl Ability {
    fn is_certain(&self) -> bool {
        match &self.flight {
            FlightAbility::Serves(_) => true,
            FlightAbility::Not(_) => !matches!(self.raw, RawAbility::Unknown(_)),
            FlightAbility::Unknown(_) => false,
        }
    }
}

/// Says in the log how a server is read, once, and again when that changes.
fn tell(url: &TargetUrl, ability: &Ability, told: &mut Option<String>) {
    if let FlightAbility::Serves(place) = &ability.flight {
        return tell_text(url, format!("it is a Quiver, and asked over Arrow Flight at {place}"), told);
    }
    let text = match &ability.raw {
        RawAbility::Reads(labels) if labels.is_empty() => "raw samples are read by remote read".to_owned(),
        RawAbility::Reads(labels) => {
            let names: Vec<&str> = labels.names().collect();
            format!("raw samples are read by remote read, without the server's external_labels {}", names.join(", "))
        }
        RawAbility::Not(why) => format!("samples are read over the query API: {why}"),
        RawAbility::Unknown(_) => return,
    };
    let text = match &ability.flight {
        FlightAbility::Unknown(why) => format!("{text}; not over Arrow Flight: {why}"),
        FlightAbility::Serves(_) | FlightAbility::Not(_) => text,
    };
    tell_text(url, text, told);
}

fn tell_text(url: &TargetUrl, text: String, told: &mut Option<String>) {
    if told.as_ref() != Some(&text) {
        tracing::info!(server = %url, "{text}");
        *told = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::remote_read::ExternalLabels;

    fn ability(raw: RawAbility) -> Ability {
        Ability::without_flight(raw, None)
    }

    fn reads() -> Ability {
        ability(RawAbility::Reads(ExternalLabels::default()))
    }

    fn unknown() -> Ability {
        ability(RawAbility::Unknown("refused the connection".to_owned()))
    }

    /// What is known so many seconds after the start, and whether it is time to find out anew.
    fn after(state: &State, start: Instant, seconds: u64) -> (&'static str, bool) {
        let now = start + Duration::from_secs(seconds);
        let known = match state.usable(now).map(|known| &known.ability.raw) {
            None => "nothing",
            Some(RawAbility::Reads(_)) => "reads",
            Some(RawAbility::Not(_)) => "not",
            Some(RawAbility::Unknown(_)) => "unknown",
        };
        (known, state.is_due(now))
    }

    #[test]
    fn what_is_known_grows_old() {
        let start = Instant::now();
        assert_eq!(after(&State::default(), start, 0), ("nothing", true));
        for (learned, expected) in [
            (
                reads(),
                [(0, "reads", false), (59, "reads", false), (60, "reads", true), (119, "reads", true)].as_slice(),
            ),
            // External labels that old are not relied on any more.
            (reads(), &[(120, "nothing", true)]),
            (ability(RawAbility::Not(String::new())), &[(59, "not", false), (60, "not", true), (9_000, "not", true)]),
            (unknown(), &[(4, "unknown", false), (5, "unknown", true), (9_000, "unknown", true)]),
        ] {
            let mut state = State::default();
            state.remember(learned, start);
            for (seconds, known, is_due) in expected {
                assert_eq!(after(&state, start, *seconds), (*known, *is_due), "after {seconds} s");
            }
        }
    }

    #[test]
    fn a_server_that_does_not_answer_for_a_while_stays_what_it_was() {
        let start = Instant::now();
        let mut state = State::default();
        state.remember(reads(), start);
        state.remember(unknown(), start + Duration::from_secs(60));
        assert_eq!(after(&state, start, 61), ("reads", false));
        assert_eq!(after(&state, start, 65), ("reads", true), "asked again soon");
        state.remember(unknown(), start + Duration::from_secs(65));
        assert_eq!(after(&state, start, 74), ("reads", false), "and then less soon");
        // It counts from when it was learned, not from when it was tried.
        assert_eq!(after(&state, start, 120), ("nothing", true));
        state.remember(unknown(), start + Duration::from_secs(120));
        assert_eq!(after(&state, start, 121), ("unknown", false));
        state.remember(reads(), start + Duration::from_secs(140));
        assert_eq!((after(&state, start, 141), state.failures), (("reads", false), 0));
    }

    #[test]
    fn what_fails_over_flight_is_tried_again_soon_and_what_serves_it_is_certain() {
        let place = || crate::downstream::flight::find_place(&url(), &crate::config::FlightConfig::SamePort, None);
        let with = |raw, flight| Ability { flight, ..ability(raw) };
        let serving = || with(RawAbility::Unknown(String::new()), FlightAbility::Serves(place().expect("plain HTTP")));
        let start = Instant::now();
        let mut state = State::default();
        state.remember(serving(), start);
        assert_eq!(after(&state, start, 59), ("unknown", false));
        // Not reached for once: nothing says that it is otherwise.
        state.remember(with(reads().raw, FlightAbility::Unknown(String::new())), start);
        assert!(state.known.as_ref().is_some_and(|known| known.ability.serves_flight()));
        let mut state = State::default();
        state.remember(with(reads().raw, FlightAbility::Unknown(String::new())), start);
        assert_eq!((after(&state, start, 4), after(&state, start, 5)), (("reads", false), ("reads", true)));
        state.remember(serving(), start + Duration::from_secs(5));
        assert!(state.known.as_ref().is_some_and(|known| known.ability.serves_flight()));
    }

    fn url() -> TargetUrl {
        TargetUrl::try_new(crate::config::Scheme::Http, "a:1", "").expect("an address")
    }

    #[test]
    fn a_silent_server_is_left_alone_for_longer_and_longer() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| retry_after(failures).as_secs()).into();
        assert_eq!(seconds, [5, 5, 10, 20, 40, 60, 60, 60]);
    }
}
