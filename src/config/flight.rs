//! `flight` of a server group: whether and where its targets are asked over Arrow Flight.

use std::fmt;

use super::problem::{Problems, quote};
use super::section::Item;
use super::target_address::check_target_address;

/// Whether and where targets that are Quivers are asked over Arrow Flight.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum FlightConfig {
    /// Where a target says that it is a Quiver, and at the port that it tells.
    #[default]
    FindOut,
    /// Nowhere.
    Never,
    /// At the address of the HTTP API, whatever the target says.
    SamePort,
    /// At this port of each target, whatever it says.
    Port(u16),
    /// At this `host:port`, whatever the target says.
    Address(String),
}

/// As it is written in a config file.
impl fmt::Display for FlightConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FindOut => f.write_str("null"),
            Self::Never => f.write_str("false"),
            Self::SamePort => f.write_str("true"),
            Self::Port(port) => write!(f, ":{port}"),
            Self::Address(address) => f.write_str(address),
        }
    }
}

/// `true`, `false`, `:port` or `host:port`.
pub(super) fn read_flight(item: &Item<'_>, problems: &mut Problems) -> FlightConfig {
    let Some(text) = item.text(problems) else { return FlightConfig::FindOut };
    let address = match text.as_str() {
        "true" => return FlightConfig::SamePort,
        "false" => return FlightConfig::Never,
        text => text,
    };
    let refused = match address.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(port @ 1..)) => return FlightConfig::Port(port),
        Some(_) => format!("{} is not a port, write for example \":8083\"", quote(address)),
        None if address.parse::<u16>().is_ok() => {
            format!("is a number, write \":{address}\" for that port of each target")
        }
        None => match check_target_address(address) {
            Ok(()) if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                return FlightConfig::Address(address.to_owned());
            }
            Ok(()) => format!("{} has no port, write true, false, \":port\" or \"host:port\"", quote(address)),
            Err(message) => message,
        },
    };
    item.error(problems, refused);
    FlightConfig::FindOut
}
