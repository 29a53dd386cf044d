//! Asks a server what it can do.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use http::StatusCode;

use super::{Ability, FlightAbility, RawAbility, RemoteReadWish};
use crate::config::{self, FlightConfig};
use crate::decode::{
    ApiResponse, BuildInfo, DecodeError, ResponseStatus, decode_build_info, decode_status_config, decode_strings,
};
use crate::downstream::flight::{FlightLeaf, find_place};
use crate::downstream::open_answer::OpenRequest;
use crate::downstream::remote_read::{ExternalLabels, ReadError, RemoteRead};
use crate::downstream::response_error::bad_answer;
use crate::downstream::target_url::label_name_in_path;
use crate::downstream::{HttpClient, TargetUrl};
use crate::error::Error;
use crate::model::QueryContext;

/// A config with ten thousand jobs is a few MiB.
const CONFIG_BYTES_MAX: usize = 16 << 20;
/// A list of the values of one label.
const VALUES_BYTES_MAX: usize = 1 << 20;
/// More values of a label that has the name of an external one are not remembered.
const STORED_VALUES_MAX: usize = 1000;
const BUILD_INFO_BYTES_MAX: usize = 64 << 10;
/// Labels whose values are asked for at a time.
const LABELS_AT_A_TIME: usize = 4;

/// How to find out about one server.
#[derive(Clone, Debug)]
pub(in crate::downstream) struct AbilityProbe {
    client: Arc<HttpClient>,
    url: TargetUrl,
    remote_read: RemoteRead,
    wish: RemoteReadWish,
    flight: FlightLeaf,
    flight_config: FlightConfig,
}

/// Why an answer is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
enum NotLearned {
    /// The server answered, and will answer so again.
    Refused(String),
    /// It did not, or asks for patience: nobody knows.
    Unreachable(String),
}

impl AbilityProbe {
    pub(in crate::downstream) fn new(
        client: Arc<HttpClient>,
        url: TargetUrl,
        remote_read: RemoteRead,
        wish: RemoteReadWish,
        flight: FlightLeaf,
    ) -> Self {
        Self { client, url, remote_read, wish, flight, flight_config: FlightConfig::FindOut }
    }

    /// The same, as the config wants Arrow Flight.
    pub(in crate::downstream) fn with_flight(self, flight_config: FlightConfig) -> Self {
        Self { flight_config, ..self }
    }

    pub(super) fn url(&self) -> &TargetUrl {
        &self.url
    }

    /// Does the config leave it open to ask otherwise than over the query API?
    pub(super) fn may_do_better(&self) -> bool {
        self.wish != RemoteReadWish::Never || self.flight_config != FlightConfig::Never
    }

    /// Asks everything. `context` brings the deadline and the headers of some client.
    pub(super) async fn learn(&self, context: &QueryContext) -> Ability {
        if self.wish == RemoteReadWish::Never {
            let raw = RawAbility::Not("the config says remote_read: false".to_owned());
            return self.introduced(context).await.into_ability(raw);
        }
        let (speaks, labels, introduced) =
            tokio::join!(self.remote_read.try_out(context), self.external_labels(context), self.introduced(context));
        introduced.into_ability(judge(self.wish, speaks, labels))
    }

    async fn build_info(&self, context: &QueryContext) -> Result<BuildInfo, NotLearned> {
        let path = "api/v1/status/buildinfo";
        self.get(path, vec![], BUILD_INFO_BYTES_MAX, decode_build_info, context).await
    }

    /// What the server says that it is, and what comes of that.
    async fn introduced(&self, context: &QueryContext) -> Introduced {
        let info = self.build_info(context).await;
        let version = info.as_ref().ok().and_then(BuildInfo::prometheus_version);
        let told = info.as_ref().ok().and_then(BuildInfo::quiver).cloned();
        let mut flight_tells_start_times = told.as_ref().is_some_and(|told| told.tells_start_times);
        let flight = match (find_place(&self.url, &self.flight_config, told.as_ref()), info) {
            (Ok(place), _) => match self.flight.try_out(&place, context).await {
                Ok(()) => {
                    // What it knows of its own servers it may have found out just for this.
                    if !flight_tells_start_times && told.is_some() {
                        let again = self.build_info(context).await.ok();
                        let again = again.as_ref().and_then(BuildInfo::quiver);
                        flight_tells_start_times = again.is_some_and(|told| told.tells_start_times);
                    }
                    FlightAbility::Serves(place)
                }
                Err(error) => FlightAbility::Unknown(format!("Arrow Flight at {place}: {}", error.error())),
            },
            (Err(_), Err(NotLearned::Unreachable(why))) if self.flight_config == FlightConfig::FindOut => {
                FlightAbility::Unknown(why)
            }
            (Err(why), _) => FlightAbility::Not(why),
        };
        Introduced { version, flight, flight_tells_start_times }
    }

    async fn external_labels(&self, context: &QueryContext) -> Result<ExternalLabels, NotLearned> {
        let path = "api/v1/status/config";
        let config = self.get(path, vec![], CONFIG_BYTES_MAX, decode_status_config, context).await?;
        let labels =
            config::external_labels(&config.yaml).map_err(|error| NotLearned::Refused(format!("{path}: {error}")))?;
        let names: Vec<String> = labels.iter().map(|(name, _)| name.to_owned()).collect();
        let values = futures::stream::iter(names)
            .map(|name| async move { self.stored_values(&name, context).await })
            .buffered(LABELS_AT_A_TIME);
        let values: Vec<BTreeSet<String>> = values.try_collect().await?;
        Ok(ExternalLabels::new(&labels, values))
    }

    /// The values with which series are stored under a label's name.
    async fn stored_values(&self, name: &str, context: &QueryContext) -> Result<BTreeSet<String>, NotLearned> {
        let path = format!("api/v1/label/{}/values", label_name_in_path(name));
        let params = vec![("limit", (STORED_VALUES_MAX + 1).to_string())];
        let values: Vec<String> = self.get(&path, params, VALUES_BYTES_MAX, decode_strings, context).await?;
        if values.len() > STORED_VALUES_MAX {
            let text =
                format!("series are stored with more than {STORED_VALUES_MAX} values of the external label {name:?}");
            return Err(NotLearned::Refused(text));
        }
        Ok(values.into_iter().collect())
    }

    async fn get<T>(
        &self,
        path: &str,
        params: Vec<(&'static str, String)>,
        bytes_max: usize,
        decode: impl FnOnce(&[u8]) -> Result<ApiResponse<T>, DecodeError>,
        context: &QueryContext,
    ) -> Result<T, NotLearned> {
        let said = |error: Error| format!("{path}: {error}");
        let unreachable = |error: Error| NotLearned::Unreachable(said(error));
        let request = OpenRequest::Get { path: path.to_owned(), params };
        let answer = self.client.open(&self.url, &request, context, None).await.map_err(unreachable)?;
        let status = answer.status;
        if !status.is_success() {
            let text = said(answer.into_error().await);
            return Err(if is_passing(status) { NotLearned::Unreachable(text) } else { NotLearned::Refused(text) });
        }
        let body = answer.body.read_whole(bytes_max).await.map_err(unreachable)?;
        let response = decode(&body).map_err(|error| NotLearned::Refused(said(bad_answer(error))))?;
        match response.status {
            ResponseStatus::Success => Ok(response.data),
            ResponseStatus::Error { .. } => Err(NotLearned::Unreachable(format!("{path}: answered with an error"))),
        }
    }
}

/// What a server says that it is.
struct Introduced {
    version: Option<(u32, u32)>,
    flight: FlightAbility,
    flight_tells_start_times: bool,
}

impl Introduced {
    fn into_ability(self, raw: RawAbility) -> Ability {
        let Self { version, flight, flight_tells_start_times } = self;
        Ability { raw, version, flight, flight_tells_start_times }
    }
}

/// Is it the hour, or the client, rather than the server?
fn is_passing(status: StatusCode) -> bool {
    let is_of_client = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    );
    is_of_client || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

fn judge(
    wish: RemoteReadWish,
    speaks: Result<(), ReadError>,
    labels: Result<ExternalLabels, NotLearned>,
) -> RawAbility {
    match speaks {
        Ok(()) => {}
        Err(ReadError::NotSpoken(error)) => return RawAbility::Not(format!("it has no remote read: {error}")),
        Err(ReadError::Refused(error)) => return RawAbility::Not(format!("it refuses remote reads: {error}")),
        Err(ReadError::Failed(error)) => return RawAbility::Unknown(format!("remote read: {error}")),
    }
    match (wish, labels) {
        (RemoteReadWish::Always, Ok(labels)) => RawAbility::Reads(labels),
        (RemoteReadWish::Always, Err(NotLearned::Refused(_))) => RawAbility::Reads(ExternalLabels::default()),
        (_, Ok(labels)) => match labels.first_ambiguous() {
            None => RawAbility::Reads(labels),
            Some(name) => RawAbility::Not(format!(
                "it stores series with the value of its own external label {name:?}, which remote read would not tell \
                 from others; remote_read: true reads them as the others"
            )),
        },
        (_, Err(NotLearned::Refused(why))) => RawAbility::Not(format!(
            "its external_labels, which remote read adds to series, cannot be learned; write remote_read: true if it has \
             none: {why}"
        )),
        (_, Err(NotLearned::Unreachable(why))) => RawAbility::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::response_error::unavailable;
    use crate::model::Labels;

    fn external(stored: &[&str]) -> ExternalLabels {
        let stored = stored.iter().map(|value| (*value).to_owned()).collect();
        ExternalLabels::new(&Labels::from_pairs([("replica", "a")]), vec![stored])
    }

    #[test]
    fn what_was_learned_decides() {
        use RemoteReadWish::{Always, FindOut};
        let chunks = || Ok(());
        let refused = || Err(NotLearned::Refused("404".to_owned()));
        let gone = || Err(NotLearned::Unreachable("gone".to_owned()));
        let not_spoken = || Err(ReadError::NotSpoken(unavailable("answered 404 Not Found")));
        for (wish, speaks, labels, expected) in [
            (FindOut, chunks(), Ok(external(&[])), "reads"),
            (FindOut, chunks(), Ok(external(&["b"])), "reads"),
            (FindOut, chunks(), Ok(external(&["a"])), "not: it stores series with the value of its own external label"),
            (
                FindOut,
                chunks(),
                refused(),
                "not: its external_labels, which remote read adds to series, cannot be learned",
            ),
            (FindOut, chunks(), gone(), "unknown: gone"),
            (FindOut, not_spoken(), Ok(external(&[])), "not: it has no remote read: answered 404 Not Found"),
            (FindOut, Err(ReadError::Refused(unavailable("no"))), refused(), "not: it refuses remote reads: no"),
            (FindOut, Err(ReadError::Failed(unavailable("no"))), refused(), "unknown: remote read: no"),
            (Always, chunks(), Ok(external(&["a"])), "reads"),
            (Always, chunks(), refused(), "reads"),
            // It may have some, and they would be taken for stored ones.
            (Always, chunks(), gone(), "unknown: gone"),
            (Always, not_spoken(), gone(), "not: it has no remote read"),
        ] {
            let judged = match judge(wish, speaks.clone(), labels.clone()) {
                RawAbility::Reads(_) => "reads".to_owned(),
                RawAbility::Not(why) => format!("not: {why}"),
                RawAbility::Unknown(why) => format!("unknown: {why}"),
            };
            assert!(judged.starts_with(expected), "{wish:?} {speaks:?} {labels:?}: {judged}");
        }
    }

    #[test]
    fn passing_trouble_says_nothing_of_the_server() {
        for (passing, statuses) in [(true, [401, 403, 408, 429, 500, 503]), (false, [300, 400, 404, 405, 422, 501])] {
            for status in statuses {
                assert_eq!(is_passing(StatusCode::from_u16(status).expect("valid")), passing, "{status}");
            }
        }
    }
}
