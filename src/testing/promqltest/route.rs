//! By which way, in front of which layout of the data, and how the queries of a test file are answered.

use std::fmt;

use super::super::{Layout, Transport};
use crate::model::EvaluationMode;

/// The way of the data to the engine under test.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Route {
    /// No network: one store, or server groups over stores in memory.
    #[default]
    Engine,
    /// Servers that speak the JSON API.
    Http,
    /// Servers that speak remote read too.
    RemoteRead,
    /// Gateways below the gateway, asked over Arrow Flight.
    Flight,
    /// The same with another gateway in between.
    FlightTwice,
    /// The same with two gateways in between.
    FlightThrice,
}

/// Something that samples have and that a way may lose.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Trait {
    /// Native histograms: JSON shows their buckets, not their schema.
    Histograms,
    /// The markers at the end of a series: JSON leaves them out.
    StaleMarkers,
    /// Start timestamps: JSON has no place for them.
    StartTimes,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Engine, Self::Http, Self::RemoteRead, Self::Flight, Self::FlightTwice, Self::FlightThrice];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Http => "http",
            Self::RemoteRead => "remote-read",
            Self::Flight => "flight",
            Self::FlightTwice => "flight-2",
            Self::FlightThrice => "flight-3",
        }
    }

    /// Does it lose what samples have?
    pub fn loses(self, lost: Trait) -> bool {
        match lost {
            Trait::Histograms | Trait::StaleMarkers | Trait::StartTimes => self == Self::Http,
        }
    }

    pub(super) fn transport(self) -> Transport {
        match self {
            Self::Engine => Transport::InProcess,
            Self::Http => Transport::Json,
            Self::RemoteRead => Transport::RemoteRead,
            Self::Flight => Transport::Flight { levels: 1 },
            Self::FlightTwice => Transport::Flight { levels: 2 },
            Self::FlightThrice => Transport::Flight { levels: 3 },
        }
    }
}

impl Trait {
    /// All of them; those that say more first.
    pub const ALL: [Self; 3] = [Self::Histograms, Self::StaleMarkers, Self::StartTimes];

    /// As it is written in the list of excused cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Histograms => "histograms",
            Self::StaleMarkers => "stale-markers",
            Self::StartTimes => "start-times",
        }
    }
}

impl fmt::Display for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Histograms => "native histograms",
            Self::StaleMarkers => "stale markers",
            Self::StartTimes => "start timestamps",
        })
    }
}

/// How the queries of a run reach their data.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Way {
    /// Who holds what.
    pub layout: Layout,
    /// How it is fetched.
    pub route: Route,
    /// Who evaluates what.
    pub mode: EvaluationMode,
}

/// One store, and everything evaluated here.
impl Default for Way {
    fn default() -> Self {
        Self { layout: Layout::Single, route: Route::Engine, mode: EvaluationMode::Exact }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.route.name(), self.layout, self.mode)
    }
}
