//! `quiver.v1.StatusService`: what is known of the process and of the servers below, without asking anybody.

use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt};
use prost::Message;
use tonic::{Request, Response, Status};

use super::answer::Answer;
use super::explanation::leaf_words;
use super::proto::{self, status_service_server::StatusService};
use super::service::label_set;
use super::status::status_of;
use super::trailer::cut;
use crate::model::EvaluationMode;
use crate::serve::http::{ApiState, PROMETHEUS_VERSION, check_groups};
use crate::servergroup::{GroupStatus, LatencyFigures, TargetStanding, TargetStatus};

/// Targets in messages of so many bytes, or a little more.
const MESSAGE_BYTES: usize = 1 << 18;

/// Answers from the state of the HTTP API.
#[derive(Clone, Debug)]
pub(super) struct ProcessStatus {
    api: ApiState,
}

impl ProcessStatus {
    pub(super) fn new(api: ApiState) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl StatusService for ProcessStatus {
    type TargetsStream = Answer<proto::TargetsResponse>;

    async fn targets(&self, request: Request<proto::TargetsRequest>) -> Result<Response<Self::TargetsStream>, Status> {
        let proto::TargetsRequest { groups, only_unhealthy } = request.into_inner();
        let chosen = (!groups.is_empty()).then_some(groups);
        check_groups(&self.api, chosen.as_deref()).map_err(|error| status_of(&error))?;
        let mut groups = self.api.engine().source().group_status();
        groups.retain(|group| chosen.as_ref().is_none_or(|chosen| chosen.contains(&group.name)));
        Ok(Response::new(stream::iter(messages(&groups, only_unhealthy)).map(Ok).boxed()))
    }

    async fn readiness(
        &self,
        _request: Request<proto::ReadinessRequest>,
    ) -> Result<Response<proto::ReadinessResponse>, Status> {
        let groups = self.api.engine().source().group_status();
        let parts = || groups.iter().flat_map(|group| &group.parts);
        let targets = || parts().flat_map(|part| &part.targets);
        Ok(Response::new(proto::ReadinessResponse {
            is_ready: self.api.is_ready(),
            part_count: count(parts()),
            unhealthy_part_count: count(parts().filter(|part| part.is_unhealthy())),
            target_count: count(targets()),
            unhealthy_target_count: count(targets().filter(|target| target.standing != TargetStanding::Healthy)),
        }))
    }

    async fn build_info(
        &self,
        _request: Request<proto::BuildInfoRequest>,
    ) -> Result<Response<proto::BuildInfoResponse>, Status> {
        Ok(Response::new(proto::BuildInfoResponse {
            application: "Quiver".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("QUIVER_COMMIT").to_owned(),
            prometheus_version: PROMETHEUS_VERSION.to_owned(),
            started_at_ms: milliseconds(self.api.started_at()),
        }))
    }

    async fn config(&self, request: Request<proto::ConfigRequest>) -> Result<Response<proto::ConfigResponse>, Status> {
        let config = self.api.config();
        Ok(Response::new(proto::ConfigResponse {
            last_load_succeeded: config.last_load_succeeded,
            loaded_at_ms: milliseconds(config.loaded_at),
            yaml: if request.get_ref().with_yaml { config.yaml.clone() } else { String::new() },
        }))
    }
}

fn messages(groups: &[GroupStatus], only_unhealthy: bool) -> Vec<proto::TargetsResponse> {
    let first = proto::TargetsResponse { groups: groups.iter().map(group_status).collect(), targets: Vec::new() };
    let mut messages = vec![first];
    let mut bytes = 0;
    for group in groups {
        for part in &group.parts {
            for target in &part.targets {
                if only_unhealthy && target.standing == TargetStanding::Healthy {
                    continue;
                }
                let row = target_status(&group.name, &part.name, target);
                if bytes >= MESSAGE_BYTES {
                    messages.push(proto::TargetsResponse::default());
                    bytes = 0;
                }
                bytes += row.encoded_len();
                messages.last_mut().expect("begins with one").targets.push(row);
            }
        }
    }
    messages
}

fn group_status(group: &GroupStatus) -> proto::ServerGroupStatus {
    let mode = match group.mode {
        None => proto::EvaluationMode::Unspecified,
        Some(EvaluationMode::Exact) => proto::EvaluationMode::Exact,
        Some(EvaluationMode::Pushdown) => proto::EvaluationMode::Pushdown,
        Some(EvaluationMode::Trust) => proto::EvaluationMode::Trust,
        Some(EvaluationMode::Auto) => proto::EvaluationMode::Auto,
    };
    proto::ServerGroupStatus {
        name: group.name.clone(),
        ordinal: u32::try_from(group.ordinal).unwrap_or(u32::MAX),
        mode: mode.into(),
        part_count: count(group.parts.iter()),
        target_count: count(group.parts.iter().flat_map(|part| &part.targets)),
        unhealthy_part_count: count(group.parts.iter().filter(|part| part.is_unhealthy())),
    }
}

fn target_status(group: &str, part: &str, target: &TargetStatus) -> proto::TargetStatus {
    let (health, reason) = match &target.standing {
        TargetStanding::Healthy => (proto::TargetHealth::Healthy, ""),
        TargetStanding::OnTrial => (proto::TargetHealth::OnTrial, ""),
        TargetStanding::Unhealthy { reason } => (proto::TargetHealth::Unhealthy, reason.as_str()),
    };
    let (leaf, leaf_reason) = leaf_words(target.leaf.clone());
    let last_failure = target.last_failure.as_ref();
    proto::TargetStatus {
        group: group.to_owned(),
        part: cut(part),
        url: target.url.clone(),
        labels: Some(label_set(&target.labels)),
        health: health.into(),
        since_ms: milliseconds(target.since),
        reason: reason.to_owned(),
        failures_in_a_row: target.failures_in_a_row,
        last_failure: last_failure
            .map(|(at, text)| proto::LastFailure { at_ms: milliseconds(*at), text: text.clone() }),
        leaf,
        leaf_reason,
        version: target.version.map(|(major, minor)| format!("{major}.{minor}")).unwrap_or_default(),
        select: Some(latency_figures(target.select)),
        metadata: Some(latency_figures(target.metadata)),
        requests_in_flight: target.requests_in_flight,
    }
}

fn latency_figures(figures: LatencyFigures) -> proto::LatencyFigures {
    proto::LatencyFigures {
        answers: figures.answers,
        median_seconds: figures.median.as_ref().map(Duration::as_secs_f64),
        p95_seconds: figures.p95.as_ref().map(Duration::as_secs_f64),
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn milliseconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::KnownLeaf;
    use crate::model::Labels;
    use crate::servergroup::PartStatus;

    fn target(standing: TargetStanding) -> TargetStatus {
        TargetStatus {
            url: "http://a:9090".to_owned(),
            labels: Labels::from_pairs([("region", "eu")]),
            standing,
            since: SystemTime::UNIX_EPOCH + Duration::from_millis(5),
            failures_in_a_row: 0,
            last_failure: None,
            leaf: KnownLeaf::NotYet,
            version: None,
            select: LatencyFigures::default(),
            metadata: LatencyFigures::default(),
            requests_in_flight: 0,
        }
    }

    #[test]
    fn many_targets_are_several_messages_and_the_groups_stand_in_the_first() {
        let targets = 20_000;
        let part = PartStatus { name: "eu".to_owned(), targets: vec![target(TargetStanding::Healthy); targets] };
        let group = GroupStatus { name: "eu".to_owned(), ordinal: 3, mode: None, parts: vec![part] };
        let told = messages(&[group], false);
        assert!(told.len() > 2 && told.iter().all(|message| message.encoded_len() < 2 * MESSAGE_BYTES));
        assert_eq!(told.iter().map(|message| message.targets.len()).sum::<usize>(), targets);
        let counts: Vec<usize> = told.iter().map(|message| message.groups.len()).collect();
        assert_eq!((counts[0], counts[1]), (1, 0));
        assert_eq!(told[0].groups[0].target_count as usize, targets);
    }

    #[test]
    fn a_part_is_unhealthy_when_none_of_its_targets_answers() {
        let unhealthy = || target(TargetStanding::Unhealthy { reason: "refused the connection".to_owned() });
        let part = |targets| PartStatus { name: "eu".to_owned(), targets };
        let parts = vec![
            part(vec![unhealthy(), target(TargetStanding::Healthy)]),
            part(vec![unhealthy(), unhealthy()]),
            part(vec![unhealthy(), target(TargetStanding::OnTrial)]),
        ];
        let group = GroupStatus { name: "eu".to_owned(), ordinal: 0, mode: None, parts };
        let told = messages(&[group], true);
        assert_eq!(told[0].groups[0].unhealthy_part_count, 1);
        let rows: Vec<(proto::TargetHealth, &str)> =
            told[0].targets.iter().map(|row| (row.health(), row.reason.as_str())).collect();
        let unhealthy = (proto::TargetHealth::Unhealthy, "refused the connection");
        assert_eq!(rows, [unhealthy, unhealthy, unhealthy, unhealthy, (proto::TargetHealth::OnTrial, "")]);
    }
}
