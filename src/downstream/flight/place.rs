//! Where the Flight service of a target is.

use std::fmt;

use crate::config::FlightConfig;
use crate::decode::{FLIGHT_FORMAT, QuiverInfo};
use crate::downstream::TargetUrl;

/// `host:port`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::downstream) struct FlightPlace(String);

impl fmt::Display for FlightPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where to ask a target, by the config and by what it tells of itself (`None`: it is no Quiver). `Err`: why nowhere.
pub(in crate::downstream) fn find_place(
    url: &TargetUrl,
    config: &FlightConfig,
    told: Option<&QuiverInfo>,
) -> Result<FlightPlace, String> {
    if *config == FlightConfig::Never {
        return Err("the config says flight: false".to_owned());
    }
    if url.is_tls() {
        return Err("Arrow Flight is not asked over TLS yet".to_owned());
    }
    match (config, told) {
        (FlightConfig::SamePort, _) => Ok(FlightPlace(url.host().to_owned())),
        (FlightConfig::Port(port), _) => Ok(FlightPlace(url.with_port(*port))),
        (FlightConfig::Address(address), _) => Ok(FlightPlace(address.clone())),
        (FlightConfig::FindOut | FlightConfig::Never, None) => Err("it is no Quiver".to_owned()),
        (FlightConfig::FindOut | FlightConfig::Never, Some(told)) => match (told.flight_port, &told.flight_format) {
            (None, _) => Err("it is a Quiver that does not serve gRPC".to_owned()),
            (Some(_), Some(format)) if format != FLIGHT_FORMAT => {
                Err(format!("its native tables are of format {:.20?}, not {FLIGHT_FORMAT}", format))
            }
            (Some(0), _) => Ok(FlightPlace(url.host().to_owned())),
            (Some(port), _) => Ok(FlightPlace(url.with_port(port))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;

    #[test]
    fn a_target_is_asked_where_it_says_unless_the_config_knows_better() {
        let told = |port, format: &str| {
            Some(QuiverInfo { flight_port: port, flight_format: Some(format.to_owned()), ..QuiverInfo::default() })
        };
        let http = |address| TargetUrl::try_new(Scheme::Http, address, "/below").expect("an address");
        let at = |address: &str| Ok(address.to_owned());
        let not = |why: &str| Err(why.to_owned());
        use FlightConfig::{Address, FindOut, Never, Port, SamePort};
        for (url, config, told, expected) in [
            (http("a:8082"), FindOut, told(Some(8083), "1"), at("a:8083")),
            (http("a"), FindOut, told(Some(8083), "1"), at("a:8083")),
            (http("[::1]:8082"), FindOut, told(Some(8083), "1"), at("[::1]:8083")),
            (http("a:8082"), FindOut, told(Some(0), "1"), at("a:8082")),
            (http("a:8082"), FindOut, told(None, "1"), not("it is a Quiver that does not serve gRPC")),
            (http("a:8082"), FindOut, told(Some(8083), "2"), not("its native tables are of format \"2\", not 1")),
            (http("a:8082"), FindOut, None, not("it is no Quiver")),
            (http("a:8082"), Never, told(Some(8083), "1"), not("the config says flight: false")),
            (http("a:8082"), SamePort, None, at("a:8082")),
            (http("a:8082"), Port(9), told(Some(8083), "1"), at("a:9")),
            (http("a:8082"), Address("b:9".to_owned()), None, at("b:9")),
            (
                TargetUrl::try_new(Scheme::Https, "a", "").expect("an address"),
                SamePort,
                told(Some(8083), "1"),
                not("Arrow Flight is not asked over TLS yet"),
            ),
        ] {
            let found = find_place(&url, &config, told.as_ref()).map(|place| place.to_string());
            assert_eq!(found, expected, "{url} {config:?} {told:?}");
        }
    }
}
