//! Keys of server groups that say what a group has, against one engine over exactly that.

use std::sync::Arc;

use quiver::config::{
    AbsoluteTimeRange, HttpClientConfig, LabelFilterConfig, PromxyConfig, RelativeTimeRange, ServerGroupConfig,
    StaticConfig, parse,
};
use quiver::model::{DurationMs, Exemplar, Labels, MetadataRequest, QueryContext, QueryValue, StepGrid, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::GroupsSource;
use quiver::servergroup::ServerGroupSet;
use quiver::telemetry::Metrics;
use quiver::testing::fake_prometheus::{FakePrometheus, RequestKind};
use quiver::testing::{MemoryStore, format_tables};

const SECOND: i64 = 1_000;

/// A sample every 10 s for 20 minutes; the second series ends with a stale marker at 400 s and comes back at 700 s, the
/// third has a sample now and then.
fn series() -> Vec<(Labels, Vec<(i64, f64)>)> {
    let labels = |name: &str| Labels::from_pairs([("__name__", "x"), ("series", name)]);
    let every = |from: i64, to: i64, step: i64| (from..=to).step_by(step as usize).map(|at| (at * SECOND, at as f64));
    let stale = f64::from_bits(quiver::model::STALE_MARKER_BITS);
    let ending = every(0, 390, 10).chain([(400 * SECOND, stale)]).chain(every(700, 1200, 10));
    vec![
        (labels("always"), every(0, 1200, 10).collect()),
        (labels("ending"), ending.collect()),
        (labels("seldom"), every(7, 1200, 170).collect()),
    ]
}

fn store(keep: impl Fn(i64) -> bool) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    for (labels, samples) in series() {
        for (time, value) in samples.into_iter().filter(|(time, _)| keep(*time)) {
            store.append(&labels, TimestampMs(time), value).expect("ascending times");
        }
    }
    Arc::new(store)
}

fn group(target: &str) -> ServerGroupConfig {
    ServerGroupConfig {
        static_configs: vec![StaticConfig { targets: vec![target.to_owned()], labels: Labels::default() }],
        http_client: HttpClientConfig {
            dial_timeout: std::time::Duration::from_secs(5),
            ..HttpClientConfig::default()
        },
        ..ServerGroupConfig::default()
    }
}

fn set(groups: Vec<ServerGroupConfig>) -> Arc<ServerGroupSet> {
    Arc::new(ServerGroupSet::try_new(&PromxyConfig { server_groups: groups }).expect("a good config"))
}

fn gateway(groups: Vec<ServerGroupConfig>) -> QueryEngine {
    QueryEngine::new(Arc::new(GroupsSource::new(set(groups))), EngineOptions::default())
}

async fn answer(engine: &QueryEngine, query: &str, grid: StepGrid) -> Vec<String> {
    let result =
        engine.range(query, grid, &QueryOptions::default()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    assert!(result.annotations.is_empty(), "{query}: {:?}", result.annotations);
    match result.value {
        QueryValue::Vector { batches, .. } | QueryValue::Matrix { batches, .. } => {
            format_tables(&batches).expect("tables")
        }
        other => panic!("{query}: {other:?}"),
    }
}

fn grid(start: i64, end: i64, step: i64) -> StepGrid {
    let (start, end) = (TimestampMs(start * SECOND), TimestampMs(end * SECOND));
    StepGrid::try_new(start, end, DurationMs(step * SECOND)).expect("a grid")
}

fn truncated(start: i64, end: i64) -> AbsoluteTimeRange {
    let (start, end) = (Some(TimestampMs(start * SECOND)), Some(TimestampMs(end * SECOND)));
    AbsoluteTimeRange { start, end, truncate: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_outside_of_a_truncated_range_do_not_count() {
    let server = FakePrometheus::start(store(|_| true)).await.expect("a free port");
    for (start, end) in [(300, 600), (405, 555), (0, 395), (701, 5_000), (600, 600)] {
        let absolute_time_range = Some(truncated(start, end));
        let gateway = gateway(vec![ServerGroupConfig { absolute_time_range, ..group(&server.target()) }]);
        let within = move |time| start * SECOND <= time && time <= end * SECOND;
        let truth = QueryEngine::new(store(within), EngineOptions::default());
        for query in ["x", "timestamp(x)", "{series=~\".+\"}", "sum_over_time(x[90s])", "x offset 2m", "x @ 650"] {
            for grid in
                [grid(0, 1500, 7), grid(0, 1500, 130), grid(250, 350, 10), grid(590, 1000, 15), grid(620, 620, 1)]
            {
                let (wanted, got) = (answer(&truth, query, grid).await, answer(&gateway, query, grid).await);
                assert_eq!(got, wanted, "{query} on {grid:?} of {start} to {end}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exemplars_outside_of_a_truncated_range_do_not_count() {
    let store = store(|_| true);
    let series = Labels::from_pairs([("__name__", "x"), ("series", "always")]);
    for seconds in [299, 300, 600, 601] {
        let (labels, timestamp) = (Labels::default(), TimestampMs(seconds * SECOND));
        store.append_exemplar(0, &series, Exemplar { labels, value: 1.0, timestamp }).expect("part 0");
    }
    let server = FakePrometheus::start(store).await.expect("a free port");
    let at = |seconds: i64| Some(TimestampMs(seconds * SECOND));
    for (truncate, (start, end), expected) in [
        (true, (None, None), &[300, 600][..]),
        (true, (at(0), at(500)), &[300]),
        (true, (at(601), at(900)), &[]),
        (false, (None, None), &[299, 300, 600, 601]),
        (false, (at(400), at(900)), &[600, 601]),
        (false, (at(601), at(900)), &[]),
    ] {
        let range = AbsoluteTimeRange { truncate, ..truncated(300, 600) };
        let set = set(vec![ServerGroupConfig { absolute_time_range: Some(range), ..group(&server.target()) }]);
        let request = MetadataRequest { selectors: Vec::new(), start, end, limit: None };
        let found = set.exemplars(&request, &QueryContext::default()).await.expect("answers");
        let times = found.series.iter().flat_map(|one| &one.exemplars).map(|one| one.timestamp.0 / SECOND);
        assert_eq!(times.collect::<Vec<_>>(), expected, "truncate: {truncate}, {start:?} to {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_that_share_time_answer_like_one() {
    let [old, new] = [FakePrometheus::start(store(|_| true)), FakePrometheus::start(store(|_| true))];
    let (old, new) = (old.await.expect("a free port"), new.await.expect("a free port"));
    let with = |server: &FakePrometheus, range| ServerGroupConfig {
        absolute_time_range: Some(range),
        ..group(&server.target())
    };
    let gateway = gateway(vec![with(&old, truncated(0, 599)), with(&new, truncated(600, 9_000))]);
    let truth = QueryEngine::new(store(|_| true), EngineOptions::default());
    for query in ["x", "sum_over_time(x[90s])", "sum(x)", "max_over_time(x[2m])"] {
        let (wanted, got) =
            (answer(&truth, query, grid(0, 1500, 20)).await, answer(&gateway, query, grid(0, 1500, 20)).await);
        assert_eq!(got, wanted, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_nothing_of_the_time_is_not_asked() {
    let server = FakePrometheus::start(store(|_| true)).await.expect("a free port");
    for truncate in [false, true] {
        let range = RelativeTimeRange { start: Some(DurationMs(-3_600_000)), end: None, truncate };
        let group = ServerGroupConfig { relative_time_range: Some(range), ..group(&server.target()) };
        // All of the samples are of 1970.
        let gateway = gateway(vec![group.clone()]);
        for query in ["x", "rate(x[5m])"] {
            assert_eq!(answer(&gateway, query, grid(0, 1500, 100)).await, Vec::<String>::new());
        }
        let set = set(vec![group]);
        let (start, end) = (Some(TimestampMs(0)), Some(TimestampMs(1_500_000)));
        let request = MetadataRequest { selectors: Vec::new(), start, end, limit: None };
        let context = QueryContext::default();
        assert_eq!(set.label_names(&request, &context).await, Ok(Vec::new()));
        assert_eq!(set.label_values("series", &request, &context).await, Ok(Vec::new()));
        assert_eq!(set.series(&request, &context).await, Ok(Vec::new()));
        assert_eq!(set.exemplars(&request, &context).await.map(|found| found.series), Ok(Vec::new()));
    }
    for kind in RequestKind::ALL.into_iter().filter(|kind| *kind != RequestKind::Other) {
        assert_eq!(server.seen_count(kind), 0, "{kind:?}");
    }
}

/// Asks until nothing is sent any more: what is learned in the background has been learned.
async fn until_not_asked(server: &FakePrometheus, gateway: &QueryEngine, query: &str) {
    let waiting = async {
        loop {
            server.forget_seen();
            assert_eq!(answer(gateway, query, grid(0, 1200, 100)).await, [""; 0]);
            if server.seen_count(RequestKind::QueryRange) == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.expect("the filter learns");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_not_asked_for_values_that_it_does_not_have() {
    let server = FakePrometheus::start(store(|_| true)).await.expect("a free port");
    let filter = LabelFilterConfig { dynamic_labels: ["series".to_owned()].into(), ..LabelFilterConfig::default() };
    let group = ServerGroupConfig { label_filter: Some(filter), remote_read: Some(false), ..group(&server.target()) };
    let mut groups = ServerGroupSet::try_new(&PromxyConfig { server_groups: vec![group] }).expect("a good config");
    let metrics = Metrics::default();
    groups.start(metrics.label_filters());
    let groups = Arc::new(groups);
    let gateway = QueryEngine::new(Arc::new(GroupsSource::new(Arc::clone(&groups))), EngineOptions::default());
    until_not_asked(&server, &gateway, "x{series=\"nobody\"}").await;

    let truth = QueryEngine::new(store(|_| true), EngineOptions::default());
    for (query, is_asked) in [
        ("x{series=\"always\"}", true),
        ("x{series!=\"always\"}", true),
        ("x{series=~\"al.*|nobody\"}", true),
        ("y{series=\"\"}", true),
        ("x{series=~\"no.*\"}", false),
        ("x{series!=\"\",series!~\"always|ending|seldom\"}", false),
        ("sum(x{series=\"nobody\"})", false),
    ] {
        server.forget_seen();
        let grid = grid(0, 1200, 100);
        assert_eq!(answer(&gateway, query, grid).await, answer(&truth, query, grid).await, "{query}");
        assert_eq!(server.seen_count(RequestKind::QueryRange) > 0, is_asked, "{query}");
    }
    server.forget_seen();
    let nobody = quiver::model::Matcher::equal("series", "nobody");
    let request = MetadataRequest { selectors: vec![vec![nobody]], start: None, end: None, limit: None };
    assert_eq!(groups.series(&request, &QueryContext::default()).await, Ok(Vec::new()));
    assert_eq!(server.seen().len(), 0);
    let page = metrics.render();
    for line in [
        "promxy_label_filter_sync_count_total{status=\"success\"} 1",
        "promxy_label_filter_filtered_count_total{type=\"Series\"} 1",
        "quiver_label_filter_known_values{server_group=\"0\"} 3",
    ] {
        assert!(page.lines().any(|own| own == line), "{line}\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_cannot_learn_keeps_nobody_from_data() {
    let server = FakePrometheus::start(store(|_| true)).await.expect("a free port");
    let filter = LabelFilterConfig { dynamic_labels: ["series".to_owned()].into(), ..LabelFilterConfig::default() };
    // Its pair never answers: what only that one has is not known. And errors of the group are not shown.
    let with_dead_pair =
        StaticConfig { targets: vec![server.target(), "127.0.0.1:1".to_owned()], labels: Labels::default() };
    let group = ServerGroupConfig {
        label_filter: Some(filter),
        static_configs: vec![with_dead_pair],
        ignore_error: true,
        ..group(&server.target())
    };
    let mut groups = ServerGroupSet::try_new(&PromxyConfig { server_groups: vec![group] }).expect("a good config");
    let metrics = Metrics::default();
    groups.start(metrics.label_filters());
    let failed = "promxy_label_filter_sync_count_total{status=\"error\"}";
    let waiting = async {
        while !metrics.render().contains(failed) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.expect("a sync ends");
    let gateway = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(groups))), EngineOptions::default());
    server.forget_seen();
    let result = gateway.range("x{series=\"nobody\"}", grid(0, 1200, 100), &QueryOptions::default()).await;
    assert!(result.is_ok_and(|result| !result.annotations.is_empty()));
    assert!(!server.seen().is_empty(), "the selector was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_with_other_labels_after_relabelling_are_no_replicas() {
    let [a, b] = [FakePrometheus::start(store(|_| true)), FakePrometheus::start(store(|_| true))];
    let (a, b) = (a.await.expect("a free port"), b.await.expect("a free port"));
    let port = |server: &FakePrometheus| server.target().rsplit(':').next().map(str::to_owned).expect("a port");
    let text = format!(
        "promxy:
  server_groups:
  - static_configs: [{{targets: ['{}', '{}', 'gone:1'], labels: {{__meta_x: y, dc: d1}}}}]
    http_client: {{dial_timeout: 5s}}
    relabel_configs:
    - {{action: drop, source_labels: [__address__], regex: 'gone:.*'}}
    - {{source_labels: [__address__], regex: '.*:{}', target_label: site, replacement: a}}
    - {{source_labels: [__address__], regex: '.*:{}', target_label: site, replacement: b}}
",
        a.target(),
        b.target(),
        port(&a),
        port(&b)
    );
    let config = parse(&text, "f.yml").unwrap_or_else(|error| panic!("{error}")).config;
    let gateway = gateway(config.promxy.server_groups);
    let grid = grid(100, 100, 1);
    let rows = answer(&gateway, "x{series=\"always\"}", grid).await;
    assert_eq!(rows, [r#"x{dc="d1", series="always", site="a"} 100"#, r#"x{dc="d1", series="always", site="b"} 100"#]);
    assert_eq!(answer(&gateway, "sum(x{series=\"always\"})", grid).await, ["{} 200"]);
    b.forget_seen();
    assert_eq!(answer(&gateway, "count(x{site=\"a\"})", grid).await, ["{} 3"]);
    assert_eq!(b.seen().len(), 0, "its site cannot match");
}

#[test]
fn groups_that_cannot_be_told_apart_are_named_at_start() {
    let with = |name: &str, labels: &[(&str, &str)], disjoint| ServerGroupConfig {
        name: Some(name.to_owned()),
        labels: Labels::from_pairs(labels.iter().copied()),
        disjoint,
        ..group("a:1")
    };
    let named = |groups: Vec<ServerGroupConfig>| {
        let hint = ServerGroupSet::try_new(&PromxyConfig { server_groups: groups }).expect("a good config").hint();
        hint.map(|hint| hint.split(" cannot").next().map(str::to_owned).expect("a text"))
    };
    let (eu, us) = (&[("region", "eu")][..], &[("region", "us")][..]);
    for (groups, hint) in [
        (vec![], None),
        (vec![with("a", &[], false)], None),
        (vec![with("a", eu, false), with("b", us, false)], None),
        (vec![with("a", &[], false), with("b", &[], false)], Some(r#"server groups "a", "b""#)),
        (vec![with("a", eu, false), with("b", us, false), with("c", eu, false)], Some(r#"server groups "a", "c""#)),
        // One of the two is enough to say so.
        (vec![with("a", &[], true), with("b", &[], false)], None),
        (vec![with("a", &[], true), with("b", &[], false), with("c", &[], false)], Some(r#"server groups "b", "c""#)),
    ] {
        assert_eq!(named(groups).as_deref(), hint);
    }
}
