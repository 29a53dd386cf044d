//! What a Querier is told of us: it asks nobody who cannot have what it looks for, as far as it was told.

use quiver::serve::grpc::thanos::proto::info::{InfoRequest, InfoResponse, LabelSet};
use tonic::Code;

use super::{Gateway, text_of};

async fn info_of(groups: &[(&str, &[&str])]) -> InfoResponse {
    let gateway = Gateway::over_groups(groups).await;
    gateway.info().info(InfoRequest {}).await.expect("an answer").into_inner()
}

fn texts(sets: &[LabelSet]) -> Vec<String> {
    sets.iter().map(|set| text_of(&set.labels)).collect()
}

#[tokio::test]
async fn labels_are_announced_where_every_group_has_fixed_ones() {
    let eu = "      labels: {region: eu}\n";
    let us = "      labels: {region: us, zone: b}\n";
    let rewritten =
        "      labels: {region: asia}\n      metrics_relabel_configs: [{action: labeldrop, source_label: region}]\n";
    let (both, none) = (vec![r#"{region="eu"}"#, r#"{region="us",zone="b"}"#], Vec::<&str>::new());
    for (groups, expected) in [
        (vec![us, eu], both),
        (vec![eu, ""], none.clone()),
        // Its series do not have the label that it is configured with.
        (vec![eu, rewritten], none.clone()),
        (vec![], none),
    ] {
        let groups: Vec<(&str, &[&str])> = groups.into_iter().map(|options| (options, &[][..])).collect();
        let info = info_of(&groups).await;
        assert_eq!(texts(&info.label_sets), expected, "{groups:?}");
        let store = info.store.expect("a Store API");
        let tsdbs: Vec<LabelSet> = store.tsdb_infos.into_iter().map(|tsdb| tsdb.labels.expect("labels")).collect();
        // A Querier in distributed mode asks nobody who announces none.
        let expected = if expected.is_empty() { vec!["{}"] } else { expected };
        assert_eq!(texts(&tsdbs), expected, "{groups:?}");
        assert!(info.query.is_some() && store.supports_sharding && store.supports_without_replica_labels);
        assert_eq!(info.component_type, "query");
    }
}

#[tokio::test]
async fn times_are_those_of_all_groups_together() {
    let old = "      absolute_time_range: {start: 1970-01-01T00:01:00Z, end: 1970-01-01T00:02:00Z}\n";
    let new = "      absolute_time_range: {start: 1970-01-01T00:02:00Z}\n";
    // In an hour it has what it has not now.
    let moving = "      absolute_time_range: {start: 1970-01-01T00:03:00Z}\n      relative_time_range: {end: -1h}\n";
    for (groups, expected) in [
        (vec![old], (60_000, 120_000)),
        (vec![old, new], (60_000, i64::MAX)),
        (vec![moving], (180_000, i64::MAX)),
        (vec![old, ""], (i64::MIN, i64::MAX)),
    ] {
        let groups: Vec<(&str, &[&str])> = groups.into_iter().map(|options| (options, &[][..])).collect();
        let store = info_of(&groups).await.store.expect("a Store API");
        assert_eq!((store.min_time, store.max_time), expected, "{groups:?}");
        assert!(store.tsdb_infos.iter().all(|tsdb| (tsdb.min_time, tsdb.max_time) == expected));
    }
}

#[tokio::test]
async fn who_is_leaving_announces_nothing() {
    let gateway = Gateway::over(&[]).await;
    gateway.gateway.api().set_ready(false);
    let status = gateway.info().info(InfoRequest {}).await.expect_err("leaving");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not ready"));
}
