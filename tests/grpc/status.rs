//! What the gateway knows of itself and of its targets, and what it would do for a query.

use quiver::config::ServerGroupConfig;
use quiver::serve::grpc::proto::status_service_client::StatusServiceClient;
use quiver::serve::grpc::proto::{self, PartDecision, TargetHealth};
use quiver::serve::http::ConfigStatus;
use std::time::{Duration, SystemTime};
use tonic::Code;
use tonic::transport::Channel;

use crate::groups::{gateway, group, up};
use crate::support::{Server as Downstream, refusing_address};
use crate::{Server, instant, two_jobs};

fn client(server: &Server) -> StatusServiceClient<Channel> {
    StatusServiceClient::new(server.channel.clone())
}

async fn targets(server: &Server, request: proto::TargetsRequest) -> proto::TargetsResponse {
    let mut stream = client(server).targets(request).await.expect("an answer").into_inner();
    let answer = stream.message().await.expect("a message").expect("one");
    assert!(stream.message().await.expect("the end").is_none());
    answer
}

#[tokio::test]
async fn targets_are_told_with_their_health_and_how_they_are_read() {
    let (eu, dead) = (Downstream::start(up).await, refusing_address().await);
    let mut pair = group("eu", eu.address());
    pair.static_configs[0].targets.push(dead.clone());
    let asia = ServerGroupConfig { static_configs: Vec::new(), ..group("asia", String::new()) };
    let server = gateway(vec![pair, asia, group("us", eu.address())]).await;

    let before = targets(&server, proto::TargetsRequest::default()).await;
    let groups: Vec<_> =
        before.groups.iter().map(|group| (&*group.name, group.ordinal, group.part_count, group.target_count)).collect();
    assert_eq!(groups, [("eu", 0, 1, 2), ("asia", 1, 0, 0), ("us", 2, 1, 1)]);
    assert!(before.targets.iter().all(|target| target.health() == TargetHealth::Healthy && target.leaf.is_empty()));
    let labels = before.targets[2].labels.as_ref().expect("labels");
    assert_eq!((&*labels.labels[0].name, &*labels.labels[0].value), ("region", "us"));

    // Three failures in a row, and what its answers show is learned beside them.
    let mut tries = 0;
    let after = loop {
        let answer = instant(&server, "up{region=\"eu\"}", 60_000).await.expect("one of the pair answers");
        assert_eq!(answer.rows().len(), 1);
        let after =
            targets(&server, proto::TargetsRequest { groups: vec!["eu".to_owned()], only_unhealthy: false }).await;
        let [good, bad] = &after.targets[..] else { panic!("two targets: {after:?}") };
        if bad.health() == TargetHealth::Unhealthy && !good.leaf.is_empty() {
            break after;
        }
        tries += 1;
        assert!(tries < 1_000, "{after:?}");
    };
    let [good, bad] = &after.targets[..] else { panic!("two targets: {after:?}") };
    assert_eq!((good.health(), &*good.url), (TargetHealth::Healthy, &*format!("http://{}", eu.address())));
    assert_eq!((&*good.leaf, &*good.leaf_reason), ("json", "the config says remote_read: false"));
    let select = good.select.expect("figures");
    assert!(select.answers >= 3 && select.median_seconds <= select.p95_seconds && select.p95_seconds.is_some());
    assert_eq!((&*bad.url, &*bad.reason), (&*format!("http://{dead}"), "refused the connection"));
    assert_eq!(bad.last_failure.as_ref().expect("a failure").text, "refused the connection");
    assert!(bad.failures_in_a_row >= 3 && bad.since_ms > 1_700_000_000_000, "{bad:?}");
    assert_eq!(after.groups[0].unhealthy_part_count, 0, "its pair answers");

    let unhealthy = targets(&server, proto::TargetsRequest { groups: vec![], only_unhealthy: true }).await;
    assert_eq!(unhealthy.targets.iter().map(|target| &*target.url).collect::<Vec<_>>(), [format!("http://{dead}")]);
    let request = proto::TargetsRequest { groups: vec!["nosuch".to_owned()], only_unhealthy: false };
    let error = client(&server).targets(request).await.expect_err("unknown");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.message(), r#"there is no server group "nosuch", there are "eu", "asia", "us""#);

    let readiness = client(&server).readiness(proto::ReadinessRequest {}).await.expect("an answer").into_inner();
    let told = (readiness.is_ready, readiness.part_count, readiness.unhealthy_part_count);
    assert_eq!((told, readiness.target_count, readiness.unhealthy_target_count), ((true, 2, 0), 3, 1));
}

#[tokio::test]
async fn the_program_and_its_config_are_told() {
    let server = Server::start(two_jobs()).await;
    let build = client(&server).build_info(proto::BuildInfoRequest {}).await.expect("an answer").into_inner();
    assert_eq!((&*build.application, &*build.version), ("Quiver", env!("CARGO_PKG_VERSION")));
    assert!(build.prometheus_version.starts_with("3.") && build.started_at_ms > 1_700_000_000_000, "{build:?}");

    server.api.set_config(ConfigStatus {
        yaml: "global: {}\n".to_owned(),
        last_load_succeeded: false,
        loaded_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234),
        ..(*server.api.config()).clone()
    });
    for (with_yaml, yaml) in [(false, ""), (true, "global: {}\n")] {
        let config = client(&server).config(proto::ConfigRequest { with_yaml }).await.expect("an answer").into_inner();
        assert_eq!((config.last_load_succeeded, config.loaded_at_ms, &*config.yaml), (false, 1_234, yaml));
    }
    server.api.set_ready(false);
    let readiness = client(&server).readiness(proto::ReadinessRequest {}).await.expect("an answer").into_inner();
    assert!(!readiness.is_ready && readiness.target_count == 0, "a store in memory has no targets");
}

#[tokio::test]
async fn an_explanation_tells_each_decision_and_how_each_target_would_be_read() {
    let (eu, us) = (Downstream::start(up).await, Downstream::start(up).await);
    let raw = ServerGroupConfig { remote_read: None, ..group("us", us.address()) };
    let server = gateway(vec![group("eu", eu.address()), raw]).await;
    let explain = async |query: &str, mode: proto::EvaluationMode, groups: &[&str]| {
        let options = proto::QueryOptions {
            mode: mode.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..proto::QueryOptions::default()
        };
        let times = Some(proto::explain_request::Times::TimeMs(60_000));
        let request = proto::ExplainRequest { query: query.to_owned(), times, options: Some(options) };
        server.client().explain(request).await.expect("a plan").into_inner()
    };
    let told = explain("sum(up) > bool 1", proto::EvaluationMode::Trust, &["eu"]).await;
    let [sum] = &told.expressions[..] else { panic!("one expression: {told:?}") };
    let decisions: Vec<_> = sum.parts.iter().map(|part| (&*part.part, part.decision(), &*part.reason)).collect();
    assert_eq!(sum.expression, "sum(up)");
    assert_eq!(
        decisions,
        [("eu", PartDecision::Servers, "mode trust"), ("us", PartDecision::Nothing, "the query is about other groups"),]
    );
    assert_eq!(told.evaluated_here[0].expression, "sum(up) > bool 1");

    let told = explain("up{region!=\"us\"} offset 1m", proto::EvaluationMode::Exact, &[]).await;
    assert!(told.expressions.is_empty() && !told.is_cut && told.plan.contains("DownstreamExec"));
    let [selector] = &told.selectors[..] else { panic!("one selector: {told:?}") };
    assert_eq!(selector.selector, r#"up{region!="us"}"#);
    assert_eq!((selector.after_ms, selector.until_ms, selector.is_by_step), (-300_000, 0, true));
    let parts: Vec<_> = selector.parts.iter().map(|part| (&*part.part, part.is_asked, &*part.reason)).collect();
    assert_eq!(parts, [("eu", true, ""), ("us", false, "its labels do not match")]);
    let target = &selector.parts[0].targets[0];
    assert_eq!((&*target.target, target.is_left_out), (&*format!("http://{}", eu.address()), false));

    let raw = explain("rate(up[5m])", proto::EvaluationMode::Exact, &[]).await;
    assert_eq!((raw.selectors[0].after_ms, raw.selectors[0].is_by_step), (-240_000, false));
    assert_eq!((eu.all_asked().len(), us.all_asked().len()), (0, 0), "nobody was asked anything");
}
