//! The Store API's lists of names and values.

use quiver::serve::grpc::thanos::proto;
use tonic::Code;

use super::support::refusing_address;
use super::{Gateway, matcher, over_config};

const LINES: [&str; 3] =
    [r#"up{job="web",replica="x"} 1x10"#, r#"hits{job="api",pod="1"} 1x10"#, r#"late{job="late"} _x100 1x10"#];

fn names() -> proto::LabelNamesRequest {
    proto::LabelNamesRequest::default()
}

fn values(label: &str) -> proto::LabelValuesRequest {
    proto::LabelValuesRequest { label: label.to_owned(), ..Default::default() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn names_are_those_of_the_series_that_match_in_the_range() {
    let gateway = Gateway::over(&LINES).await;
    for (request, expected) in [
        (names(), texts(&["__name__", "job", "pod", "replica"])),
        (
            proto::LabelNamesRequest { matchers: vec![matcher("job=api")], ..names() },
            texts(&["__name__", "job", "pod"]),
        ),
        (proto::LabelNamesRequest { matchers: vec![matcher("job=~a.*"), matcher("pod!=1")], ..names() }, texts(&[])),
        (proto::LabelNamesRequest { start: 1_000_000, end: i64::MAX, ..names() }, texts(&["__name__", "job"])),
        (
            proto::LabelNamesRequest { start: i64::MIN, end: i64::MAX, ..names() },
            texts(&["__name__", "job", "pod", "replica"]),
        ),
        (
            proto::LabelNamesRequest { without_replica_labels: texts(&["replica", "a"]), ..names() },
            texts(&["__name__", "job", "pod"]),
        ),
        (proto::LabelNamesRequest { limit: 2, ..names() }, texts(&["__name__", "job"])),
        (
            proto::LabelNamesRequest { limit: 3, without_replica_labels: texts(&["job"]), ..names() },
            texts(&["__name__", "pod", "replica"]),
        ),
    ] {
        let answer = gateway.store().label_names(request.clone()).await.expect("an answer").into_inner();
        assert_eq!(answer, proto::LabelNamesResponse { names: expected, warnings: vec![] }, "{request:?}");
    }
}

#[tokio::test]
async fn values_are_those_of_one_label() {
    let gateway = Gateway::over(&LINES).await;
    for (request, expected) in [
        (values("job"), texts(&["api", "late", "web"])),
        (values("nosuch"), texts(&[])),
        (proto::LabelValuesRequest { matchers: vec![matcher("__name__=hits")], ..values("job") }, texts(&["api"])),
        (proto::LabelValuesRequest { start: 1_000_000, end: 9_000_000, ..values("job") }, texts(&["late"])),
        (proto::LabelValuesRequest { limit: 1, ..values("job") }, texts(&["api"])),
        // Without its replica labels no series has any of them.
        (proto::LabelValuesRequest { without_replica_labels: texts(&["job"]), ..values("job") }, texts(&[])),
        (
            proto::LabelValuesRequest { without_replica_labels: texts(&["replica"]), limit: 2, ..values("job") },
            texts(&["api", "late"]),
        ),
    ] {
        let answer = gateway.store().label_values(request.clone()).await.expect("an answer").into_inner();
        assert_eq!(answer, proto::LabelValuesResponse { values: expected, warnings: vec![] }, "{request:?}");
    }
}

#[tokio::test]
async fn mistakes_have_a_text_and_failures_are_as_the_caller_wants_them() {
    let gateway = Gateway::over(&LINES).await;
    let status = gateway.store().label_values(values("")).await.expect_err("no name");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "label name parameter cannot be empty"));
    let bad = proto::LabelNamesRequest { matchers: vec![matcher("a=~[")], ..names() };
    let status = gateway.store().label_names(bad).await.expect_err("no pattern");
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "error parsing regexp: missing closing ]: `[`")
    );

    let server =
        quiver::testing::fake_prometheus::FakePrometheus::start(super::store(&LINES)).await.expect("a free port");
    let config = format!(
        "promxy:\n  server_groups:\n    - static_configs: [{{targets: [{}]}}]\n    - static_configs: [{{targets: [{}]}}]\n",
        server.target(),
        refusing_address().await
    );
    let half = Gateway::connect(over_config(&config).await, Vec::new()).await;
    let answer = half.store().label_values(values("pod")).await.expect("half an answer").into_inner();
    assert_eq!((answer.values, answer.warnings.len()), (texts(&["1"]), 1));
    let strict = proto::LabelValuesRequest { partial_response_disabled: true, ..values("pod") };
    assert_eq!(half.store().label_values(strict).await.expect_err("half").code(), Code::Unavailable);
}
