//! What one server can do: found out by asking it, remembered, and found out again.
//!
//! Asked are, all at once, a remote read of nothing, the server's config for its `external_labels`, and its version; then, for
//! each external label, whether series are stored with a label of that name, and of a Quiver a select of nothing over Arrow Flight. The first query to a server waits for this, but
//! not for long; later ones are served with what is known while it is found out anew beside them.
//!
//! | known | new after | used for |
//! |---|---|---|
//! | reads raw samples | [`REFRESH_AFTER`] | [`RAW_USABLE_FOR`]: so long a change of `external_labels` may go unseen |
//! | has no remote read | [`REFRESH_AFTER`] | ever: the query API is always right |
//! | serves Arrow Flight | [`REFRESH_AFTER`]; sooner where it turns out otherwise | ever: a failure is noticed |
//! | could not be found out | [`RETRY_AFTER`], doubled each time | the same |

mod memory;
mod probe;

use std::time::Duration;

pub(super) use memory::AbilityMemory;
pub(super) use probe::AbilityProbe;

use super::KnownLeaf;
use super::flight::FlightPlace;
use super::instrument::{FLIGHT, JSON, REMOTE_READ};
use super::remote_read::ExternalLabels;

/// What was learned is learned anew, beside a query, when it is older than this.
const REFRESH_AFTER: Duration = Duration::from_secs(60);
/// No raw samples are read with external labels that are older than this: the query waits for new ones.
const RAW_USABLE_FOR: Duration = Duration::from_secs(120);
/// After a server could not be asked, the next try is so much later at first …
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// … and twice as much later each time, up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A query waits at most so long, and at most a quarter of the time that it has, for what it does not need to be answered.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Finding out takes at most so long.
const LEARN_FOR: Duration = Duration::from_secs(10);

/// `remote_read` of the group's config.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum RemoteReadWish {
    /// Absent: where the server has it, and where it is known to be exact.
    FindOut,
    /// `true`: also where external labels cannot be learned, or tell nothing apart.
    Always,
    /// `false`.
    Never,
}

impl From<Option<bool>> for RemoteReadWish {
    fn from(remote_read: Option<bool>) -> Self {
        match remote_read {
            None => Self::FindOut,
            Some(true) => Self::Always,
            Some(false) => Self::Never,
        }
    }
}

/// What is known of one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ability {
    raw: RawAbility,
    version: Option<(u32, u32)>,
    flight: FlightAbility,
    /// Do samples that come over Arrow Flight have start timestamps where they are known?
    flight_tells_start_times: bool,
}

/// Whether it can be asked over Arrow Flight.
#[derive(Clone, PartialEq, Eq, Debug)]
enum FlightAbility {
    Serves(FlightPlace),
    /// And why not.
    Not(String),
    /// And why not just now.
    Unknown(String),
}

/// Whether raw samples can be read exactly.
#[derive(Clone, PartialEq, Eq, Debug)]
enum RawAbility {
    Reads(ExternalLabels),
    /// And why not.
    Not(String),
    /// And why nobody knows.
    Unknown(String),
}

impl Ability {
    /// Of a server that hands out everything that it has and adds no labels to it.
    pub fn of_raw_samples() -> Self {
        Self::without_flight(RawAbility::Reads(ExternalLabels::default()), None)
    }

    fn without_flight(raw: RawAbility, version: Option<(u32, u32)>) -> Self {
        let flight = FlightAbility::Not("it is no Quiver".to_owned());
        Self { raw, version, flight, flight_tells_start_times: false }
    }

    /// Is it asked over Arrow Flight?
    pub fn serves_flight(&self) -> bool {
        self.flight().is_some()
    }

    /// Why it is not asked over Arrow Flight; `None` where it is.
    pub fn why_not_flight(&self) -> Option<&str> {
        match &self.flight {
            FlightAbility::Serves(_) => None,
            FlightAbility::Not(why) | FlightAbility::Unknown(why) => Some(why),
        }
    }

    /// How its series are read, and why not in a better way. That it is no Quiver goes without saying.
    pub fn leaf(&self) -> KnownLeaf {
        let no_flight = match &self.flight {
            FlightAbility::Serves(_) => return KnownLeaf::Reads { leaf: FLIGHT, why: None },
            FlightAbility::Not(_) => None,
            FlightAbility::Unknown(why) => Some(why.as_str()),
        };
        let leaf = if self.reads_raw() { REMOTE_READ } else { JSON };
        let reasons: Vec<&str> = self.why_not_raw().into_iter().chain(no_flight).collect();
        KnownLeaf::Reads { leaf, why: (!reasons.is_empty()).then(|| reasons.join("; ")) }
    }

    /// Where it is asked over Arrow Flight, if it is.
    pub(super) fn flight(&self) -> Option<&FlightPlace> {
        match &self.flight {
            FlightAbility::Serves(place) => Some(place),
            FlightAbility::Not(_) | FlightAbility::Unknown(_) => None,
        }
    }

    /// Do its raw samples have start timestamps, where they are known at all?
    pub fn tells_start_times(&self) -> bool {
        if self.serves_flight() { self.flight_tells_start_times } else { self.reads_raw() }
    }

    /// Does it hand out raw samples over remote read, with stale markers and native histograms whole?
    pub fn reads_raw(&self) -> bool {
        self.external_labels().is_some()
    }

    /// `(3, 14)` of a Prometheus 3.14.0; `None` where it is no Prometheus, or does not say.
    pub fn version(&self) -> Option<(u32, u32)> {
        self.version
    }

    /// Why it is asked over the query API; `None` where it is not.
    pub fn why_not_raw(&self) -> Option<&str> {
        match &self.raw {
            RawAbility::Reads(_) => None,
            RawAbility::Not(why) | RawAbility::Unknown(why) => Some(why),
        }
    }

    /// What is to be taken off its raw series; `None` where raw samples are not to be read.
    pub(super) fn external_labels(&self) -> Option<&ExternalLabels> {
        match &self.raw {
            RawAbility::Reads(labels) => Some(labels),
            RawAbility::Not(_) | RawAbility::Unknown(_) => None,
        }
    }
}
