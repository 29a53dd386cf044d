//! Queries over server groups: who is asked, whether all must answer, what the client learns of it while they do and after.

use std::sync::Arc;
use std::time::Duration;

use quiver::config::{PromxyConfig, ServerGroupConfig, StaticConfig};
use quiver::model::Labels;
use quiver::scan::GroupsSource;
use quiver::serve::grpc::proto::{self, RequestState, query_response::Part};
use quiver::servergroup::ServerGroupSet;
use tonic::{Code, Status};

use crate::support::{Asked, Reply, Server as Downstream, refusing_address};
use crate::{Answer, Server};

/// A group of one target, which adds `region`.
pub fn group(name: &str, address: String) -> ServerGroupConfig {
    ServerGroupConfig {
        name: Some(name.to_owned()),
        labels: Labels::from_pairs([("region", name)]),
        static_configs: vec![StaticConfig { targets: vec![address], labels: Labels::default() }],
        remote_read: Some(false),
        ..ServerGroupConfig::default()
    }
}

pub async fn gateway(groups: Vec<ServerGroupConfig>) -> Server {
    let set = ServerGroupSet::try_new(&PromxyConfig { server_groups: groups }).expect("a good config");
    Server::start(Arc::new(GroupsSource::new(Arc::new(set)))).await
}

/// `up{job="a"}`, and its sum, is 1 at whatever time is asked for.
pub fn up(asked: &Asked) -> Reply {
    if asked.path.ends_with("/series") {
        return Reply::json(r#"{"status":"success","data":[]}"#);
    }
    let time = asked.param("time").unwrap_or("0");
    let is_sum = asked.param("query").is_some_and(|query| query.starts_with("sum("));
    let labels = if is_sum { "" } else { r#""__name__":"up","job":"a""# };
    let series = format!(r#"{{"metric":{{{labels}}},"value":[{time},"1"]}}"#);
    Reply::json(format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#))
}

async fn ask(server: &Server, query: &str, options: proto::QueryOptions) -> Result<Answer, Status> {
    let request = proto::QueryRequest { query: query.to_owned(), time_ms: Some(60_000), options: Some(options) };
    Answer::read(server.client().query(request).await?.into_inner()).await
}

const EU: &str = r#"{__name__="up", job="a", region="eu"} 1"#;

#[tokio::test]
async fn a_query_says_whom_it_asks_and_whether_all_must_answer() {
    let eu = Downstream::start(up).await;
    let us = ServerGroupConfig { downgrade_error: true, ..group("us", refusing_address().await) };
    let server = gateway(vec![group("eu", eu.address()), us]).await;
    let partial = |response: proto::PartialResponse| proto::QueryOptions {
        partial_response: response.into(),
        ..proto::QueryOptions::default()
    };
    let of = |groups: &[&str], options: proto::QueryOptions| proto::QueryOptions {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..options
    };
    use proto::PartialResponse::{Allow, Refuse, Unspecified};
    for (options, warning_count) in [
        (partial(Unspecified), 1),
        (partial(Allow), 1),
        (of(&["eu"], partial(Refuse)), 0),
        (of(&["eu", "us"], partial(Allow)), 1),
    ] {
        let answer = ask(&server, "up", options.clone()).await.expect("eu answers");
        assert_eq!((answer.rows(), answer.warnings().len()), (vec![EU.to_owned()], warning_count), "{options:?}");
    }
    // The same where the servers evaluate themselves.
    let trusting = |response| proto::QueryOptions { mode: proto::EvaluationMode::Trust.into(), ..partial(response) };
    let answer = ask(&server, "sum(up)", trusting(Allow)).await.expect("eu answers");
    assert_eq!((answer.rows(), answer.warnings().len()), (vec!["{} 1".to_owned()], 1));
    let error = ask(&server, "sum(up)", trusting(Refuse)).await.expect_err("us does not");
    assert_eq!(error.code(), Code::Unavailable, "{error}");

    for (options, code, text) in [
        (partial(Refuse), Code::Unavailable, "server group \"us\": 0 of 1 replicas answered"),
        (of(&["us"], partial(Allow)), Code::Unavailable, "no server group answered: server group \"us\""),
        (
            of(&["asia"], partial(Allow)),
            Code::InvalidArgument,
            "there is no server group \"asia\", there are \"eu\", \"us\"",
        ),
        (
            proto::QueryOptions { partial_response: 9, ..Default::default() },
            Code::InvalidArgument,
            "there is no way number 9 to take partial responses",
        ),
        (
            proto::QueryOptions { mode: -1, ..Default::default() },
            Code::InvalidArgument,
            "there is no mode of evaluation number -1",
        ),
        (
            proto::QueryOptions { progress_interval_ms: 99, ..Default::default() },
            Code::InvalidArgument,
            "progress_interval_ms is 99, it must be at least 100, or 0 for none",
        ),
    ] {
        let error = ask(&server, "up", options.clone()).await.expect_err(text);
        assert_eq!(error.code(), code, "{options:?}: {error}");
        assert!(error.message().starts_with(text), "{options:?}: {error}");
    }
}

#[tokio::test]
async fn the_trailer_tells_of_targets_and_who_evaluated_where_it_is_asked_to() {
    let eu = Downstream::start(up).await;
    let server = gateway(vec![group("eu", eu.address())]).await;
    let answer = ask(&server, "sum(up)", proto::QueryOptions::default()).await.expect("an answer");
    assert!(answer.trailer.targets.is_empty() && answer.trailer.part_evaluations.is_empty());
    let stats = answer.trailer.stats.expect("stats");
    assert!(stats.peak_samples > 0 && stats.peak_bytes > 0, "{stats:?}");
    assert!(stats.preparation_seconds > 0.0 && stats.fetching_seconds > 0.0, "{stats:?}");

    let wish = proto::QueryOptions { target_stats: true, ..proto::QueryOptions::default() };
    let trusting = proto::QueryOptions { mode: proto::EvaluationMode::Trust.into(), ..wish.clone() };
    let exact = proto::QueryOptions { mode: proto::EvaluationMode::Exact.into(), ..wish };
    let trailer = ask(&server, "sum(up)", trusting).await.expect("an answer").trailer;
    let told = |part: &proto::PartEvaluation| (part.expression.clone(), part.part.clone(), part.by());
    let evaluations: Vec<_> = trailer.part_evaluations.iter().map(told).collect();
    assert_eq!(evaluations, [("sum(up)".to_owned(), "eu".to_owned(), proto::EvaluatedBy::Servers)]);
    assert!(eu.asked().iter().any(|asked| asked.param("query") == Some("sum(up)")), "it was asked just that");

    let trailer = ask(&server, "sum(up)", exact).await.expect("an answer").trailer;
    assert_eq!(trailer.part_evaluations, [], "nobody thought of asking");
    let target = &trailer.targets[0];
    assert_eq!((&*target.group, &*target.outcome, &*target.leaf), ("eu", "success", "json"));
    assert_eq!(target.target, format!("http://{}", eu.address()));
    assert!(target.bytes > 0 && target.series > 0 && target.first_byte_seconds.is_some(), "{target:?}");
}

#[tokio::test]
async fn a_query_that_runs_says_how_far_its_targets_are() {
    let (eu, us) = (Downstream::start(up).await, Downstream::start(|_| Reply::Hang).await);
    let server = gateway(vec![group("eu", eu.address()), group("us", us.address())]).await;
    let options = proto::QueryOptions { progress_interval_ms: 100, ..proto::QueryOptions::default() };
    let request = proto::QueryRequest { query: "up".to_owned(), time_ms: Some(60_000), options: Some(options.clone()) };
    let mut answer = server.client().query(request).await.expect("it begins").into_inner();
    let mut messages = 0;
    // It says so as soon as it is so.
    let progress = loop {
        let message = answer.message().await.expect("no error").expect("no end");
        let Some(Part::Progress(progress)) = message.part else { panic!("us never answers") };
        messages += 1;
        let is_at = |group: &str, state| {
            let mut rows = progress.targets.iter().filter(|row| row.group == group);
            rows.any(|row| row.state() == state)
        };
        if is_at("eu", RequestState::Done) && is_at("us", RequestState::Asked) {
            break progress;
        }
        assert!(messages < 300, "{progress:?}");
    };
    assert!(!progress.is_queued && progress.elapsed_seconds > 0.09 && progress.samples_loaded > 0, "{progress:?}");
    let eu_row = progress.targets.iter().find(|row| row.group == "eu").expect("eu");
    assert!(eu_row.bytes > 0 && eu_row.series > 0 && eu_row.outcome == "success", "{eu_row:?}");
    drop(answer);
    let hung_up = tokio::time::timeout(Duration::from_secs(30), us.hung_up.notified());
    hung_up.await.expect("the request ends with the client");

    let quick = ask(&server, "up", proto::QueryOptions { groups: vec!["eu".to_owned()], ..options.clone() }).await;
    assert_eq!(quick.expect("a whole answer").rows(), [EU]);
    let wrong = ask(&server, "sum(", options).await.expect_err("no query");
    assert_eq!(wrong.code(), Code::InvalidArgument);
}
