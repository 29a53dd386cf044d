//! Keys of server groups that say what a group has, against one engine over exactly that.

use std::sync::Arc;

use quiver::config::{
    AbsoluteTimeRange, HttpClientConfig, PromxyConfig, RelativeTimeRange, ServerGroupConfig, StaticConfig,
};
use quiver::model::{DurationMs, Labels, MetadataRequest, QueryContext, QueryValue, StepGrid, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::GroupsSource;
use quiver::servergroup::ServerGroupSet;
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
    }
    for kind in RequestKind::ALL.into_iter().filter(|kind| *kind != RequestKind::Other) {
        assert_eq!(server.seen_count(kind), 0, "{kind:?}");
    }
}
