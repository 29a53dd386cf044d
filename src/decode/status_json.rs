//! The answers of `/api/v1/status/config` and `/api/v1/status/buildinfo`. Read whole: the caller bounds the body.

use serde::{Deserialize, Deserializer};

use super::label_json::decode;
use super::{ApiResponse, DecodeError};

/// A server's config file, with its defaults filled in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct StatusConfig {
    /// As YAML. Secrets in it are masked by the server; it is not for logs all the same.
    #[serde(default)]
    pub yaml: String,
}

/// Which program a server says it is. Other vendors answer some of the fields.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildInfo {
    version: Option<String>,
    revision: Option<String>,
    go_version: Option<String>,
    /// Only others than Prometheus say this.
    application: Option<String>,
    /// Only a Quiver says this; what is no answer of a Quiver says nothing.
    #[serde(deserialize_with = "quiver_info")]
    quiver: Option<QuiverInfo>,
}

/// What a Quiver says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuiverInfo {
    /// Its id among gateways.
    pub id: String,
    /// The port of its Arrow Flight service, 0 where that is the port of the HTTP API; `None` where it has none.
    pub flight_port: Option<u16>,
    /// The version of its native tables.
    pub flight_format: Option<String>,
    /// Do the raw samples that it hands out have start timestamps where they are known?
    pub tells_start_times: bool,
}

fn quiver_info<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<QuiverInfo>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

impl BuildInfo {
    /// What it says of itself if it is a Quiver.
    pub fn quiver(&self) -> Option<&QuiverInfo> {
        self.quiver.as_ref()
    }

    /// `(3, 14)` of a Prometheus 3.14.0, and of a Quiver that evaluates as one; `None` where it is no Prometheus, or may be none: VictoriaMetrics gives a version
    /// alone, Mimir and Cortex an application beside it, Thanos a version below 1.
    pub fn prometheus_version(&self) -> Option<(u32, u32)> {
        let is_given = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
        let is_prometheus = !is_given(&self.application) && is_given(&self.revision) && is_given(&self.go_version);
        if !is_prometheus && self.quiver.is_none() {
            return None;
        }
        let version = self.version.as_deref()?;
        let mut numbers = version.strip_prefix('v').unwrap_or(version).split('.');
        let major = numbers.next()?.parse().ok().filter(|major| *major >= 1)?;
        Some((major, numbers.next()?.parse().ok()?))
    }
}

/// The config of a server.
pub fn decode_status_config(body: &[u8]) -> Result<ApiResponse<StatusConfig>, DecodeError> {
    decode(body)
}

/// The version of a server.
pub fn decode_build_info(body: &[u8]) -> Result<ApiResponse<BuildInfo>, DecodeError> {
    decode(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prometheus_has_a_version() {
        for (data, version) in [
            (
                r#"{"version":"3.14.0","revision":"a1","branch":"HEAD","buildUser":"x","buildDate":"y","goVersion":"go1.27"}"#,
                Some((3, 14)),
            ),
            (r#"{"version":"2.42.0+ds","revision":"2.42.0+ds-5","goVersion":"go1.19.8"}"#, Some((2, 42))),
            (r#"{"version":"v3.1.0-rc.0","revision":"a1","goVersion":"go1.23"}"#, Some((3, 1))),
            // VictoriaMetrics.
            (r#"{"version":"2.24.0"}"#, None),
            // Mimir.
            (r#"{"application":"Grafana Mimir","version":"2.15.0","revision":"a1","goVersion":"go1.23"}"#, None),
            // Thanos.
            (r#"{"version":"0.40.1","revision":"a1","goVersion":"go1.24"}"#, None),
            (r#"{"version":"3","revision":"a1","goVersion":"go1.24"}"#, None),
            (r#"{"version":"99999999999.1","revision":"a1","goVersion":"go1.24"}"#, None),
            (r#"{"version":null,"revision":"","goVersion":"go1.24"}"#, None),
            (r#"{"application":"Quiver","version":"3.14.0","quiver":{"id":"a"}}"#, Some((3, 14))),
            (r#"{"application":"Quiver","version":"3.14.0","quiver":3}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            let body = format!(r#"{{"status":"success","data":{data}}}"#);
            let info = decode_build_info(body.as_bytes()).expect("an answer").data;
            assert_eq!(info.prometheus_version(), version, "{data}");
        }
        assert!(
            decode_build_info(br#"{"status":"success","data":[]}"#).is_ok_and(|info| info.data == BuildInfo::default())
        );
        assert!(decode_build_info(br#"{"status":"success","data":{"version":3}}"#).is_err());
    }

    #[test]
    fn a_quiver_says_where_it_is_asked() {
        let told = |quiver: &str| {
            let body = format!(r#"{{"status":"success","data":{{"version":"3.14.0","quiver":{quiver}}}}}"#);
            decode_build_info(body.as_bytes()).expect("an answer").data.quiver().cloned()
        };
        let whole = r#"{"id":"a1","flightPort":8083,"flightFormat":"1","tellsStartTimes":true,"new":[]}"#;
        let expected = QuiverInfo {
            id: "a1".to_owned(),
            flight_port: Some(8083),
            flight_format: Some("1".to_owned()),
            tells_start_times: true,
        };
        assert_eq!(told(whole), Some(expected));
        assert_eq!(told("{}"), Some(QuiverInfo::default()));
        for odd in ["null", "1", r#"{"flightPort":70000}"#, r#"{"flightPort":-1}"#, r#"{"id":7}"#] {
            assert_eq!(told(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_config_is_a_text() {
        let body = br#"{"status":"success","data":{"yaml":"global:\n  scrape_interval: 1m\n"}}"#;
        assert_eq!(decode_status_config(body).expect("valid").data.yaml, "global:\n  scrape_interval: 1m\n");
        assert!(decode_status_config(br#"{"status":"success","data":{"yaml":{}}}"#).is_err());
    }
}
