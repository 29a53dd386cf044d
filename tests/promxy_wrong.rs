//! The questions that promxy answers wrongly (its issues, and what trying it has shown), with the answers that one Prometheus
//! with all the data gives: in every mode, over the JSON of real servers of ours.

use std::sync::Arc;

use quiver::config::{MetricsRelabel, MetricsRelabelAction, PromxyConfig, ServerGroupConfig, StaticConfig};
use quiver::model::{
    DurationMs, EvaluatedBy, EvaluationMode, Labels, PartEvaluation, QueryValue, StepGrid, StepsTable, TimestampMs,
};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::GroupsSource;
use quiver::servergroup::ServerGroupSet;
use quiver::testing::MemoryStore;
use quiver::testing::fake_prometheus::FakePrometheus;

const MINUTE: DurationMs = DurationMs(60_000);

/// Groups of servers, and an engine over them.
struct World {
    engine: QueryEngine,
    _servers: Vec<FakePrometheus>,
}

/// One group: what it is configured with, and the series of each of its replicas, a value a minute.
struct Group<'a> {
    config: ServerGroupConfig,
    replicas: &'a [&'a [&'a str]],
}

fn labelled(name: &str) -> ServerGroupConfig {
    ServerGroupConfig {
        name: Some(name.to_owned()),
        labels: Labels::from_pairs([("sg", name)]),
        ..unlabelled() //
    }
}

/// Over JSON alone.
fn unlabelled() -> ServerGroupConfig {
    ServerGroupConfig { remote_read: Some(false), anti_affinity: DurationMs(0), ..ServerGroupConfig::default() }
}

async fn world(groups: Vec<Group<'_>>) -> World {
    let (mut servers, mut configs) = (Vec::new(), Vec::new());
    for Group { mut config, replicas } in groups {
        let mut targets = Vec::new();
        for lines in replicas {
            let store = MemoryStore::new();
            store.load(lines, TimestampMs(0), MINUTE).expect("the notation is well-formed");
            let server = FakePrometheus::start(Arc::new(store)).await.expect("a free port");
            targets.push(server.target());
            servers.push(server);
        }
        config.static_configs = vec![StaticConfig { targets, labels: Labels::default() }];
        configs.push(config);
    }
    let set = ServerGroupSet::try_new(&PromxyConfig { server_groups: configs }).expect("a good config");
    let source = GroupsSource::new(Arc::new(set));
    World { engine: QueryEngine::new(Arc::new(source), EngineOptions::default()), _servers: servers }
}

/// Rows as `labels: cell cell _`.
fn rows(value: &QueryValue) -> Vec<String> {
    let batches = match value {
        QueryValue::Vector { batches, .. } | QueryValue::Matrix { batches, .. } => batches,
        QueryValue::Scalar { value, .. } => return vec![value.to_string()],
        other => panic!("no table in {other:?}"),
    };
    let mut rows = Vec::new();
    for batch in batches {
        let table = StepsTable::try_new(batch).expect("a steps table");
        for row in 0..table.row_count() {
            let cells: Vec<String> =
                table.row(row).map(|cell| cell.map_or_else(|| "_".to_owned(), |value| value.to_string())).collect();
            rows.push(format!("{}: {}", table.labels(row), cells.join(" ")));
        }
    }
    rows.sort();
    rows
}

impl World {
    async fn ask(&self, query: &str, grid: StepGrid, mode: EvaluationMode) -> (Vec<String>, Vec<PartEvaluation>) {
        let options = QueryOptions { mode: Some(mode), ..QueryOptions::default() };
        let result = match grid.step_count() {
            1 => self.engine.instant(query, grid.start(), &options).await,
            _ => self.engine.range(query, grid, &options).await,
        };
        let result = result.unwrap_or_else(|error| panic!("{query} in mode {mode}: {error}"));
        (rows(&result.value), result.part_evaluations)
    }

    async fn check_in(&self, modes: &[EvaluationMode], query: &str, grid: StepGrid, expected: &[&str]) {
        for mode in modes {
            let (rows, parts) = self.ask(query, grid, *mode).await;
            assert_eq!(rows, expected, "{query} on {grid:?} in mode {mode}: {parts:#?}");
        }
    }

    /// At one time, in every mode.
    async fn check(&self, query: &str, expected: &[&str]) {
        self.check_in(&EvaluationMode::ALL, query, StepGrid::instant(TimestampMs(1_200_000)), expected).await;
    }

    /// Who evaluated the parts of a query that is pushed down where that may be.
    async fn evaluated_by(&self, query: &str, grid: StepGrid) -> Vec<(EvaluatedBy, String)> {
        let (_, parts) = self.ask(query, grid, EvaluationMode::Pushdown).await;
        parts.into_iter().map(|part| (part.by, part.reason)).collect()
    }

    async fn is_pushed(&self, query: &str) -> bool {
        let parts = self.evaluated_by(query, StepGrid::instant(TimestampMs(1_200_000))).await;
        !parts.is_empty() && parts.iter().all(|(by, _)| *by == EvaluatedBy::Servers)
    }
}

const A: &[&str] = &[
    r#"foo{i="1"} 3x30"#,
    r#"foo{i="2"} 4x30"#,
    "onlya 5x30",
    r#"up{job="j"} 0x30"#,
    r#"c{i="1"} 0+60x30"#,
    r#"gone{i="1"} 1x4 stale"#,
    r#"bar{i="1"} 9x4 1x20"#,
];
const B: &[&str] = &[r#"foo{i="3"} 9x30"#, r#"up{job="j"} 1x30"#, r#"c{i="2"} 0+66x30"#, r#"bar{i="2"} 8x4 7x20"#];

async fn labelled_shards() -> World {
    world(vec![Group { config: labelled("a"), replicas: &[A] }, Group { config: labelled("b"), replicas: &[B] }]).await
}

/// Case 1: what is compared is the maximum of all, not of a group.
#[tokio::test]
async fn operators_stand_above_the_last_aggregation() {
    let world = labelled_shards().await;
    for (query, expected) in [
        ("min(foo) > 5", &[][..]),
        ("max(foo) < 5", &[]),
        ("max(foo) == 4", &[]),
        ("max by (job) (up) == 0", &[]),
        ("min(foo) != 3", &[]),
        ("max(foo) < bool 5", &["{}: 0"]),
        ("max(foo) * -1", &["{}: -9"]),
        ("100 - max(foo)", &["{}: 91"]),
        ("1 / max(foo)", &["{}: 0.1111111111111111"]),
        ("topk(1, foo) < 5", &[]),
        ("bottomk(1, foo) > 5", &[]),
        ("max(foo > 3)", &["{}: 9"]),
        ("count(foo > 3)", &["{}: 2"]),
        ("topk(1, foo)", &[r#"{__name__="foo", i="3", sg="b"}: 9"#]),
        ("sum by (sg) (foo)", &[r#"{sg="a"}: 7"#, r#"{sg="b"}: 9"#]),
        ("avg without (i) (foo)", &[r#"{sg="a"}: 3.5"#, r#"{sg="b"}: 9"#]),
    ] {
        world.check(query, expected).await;
    }
    for query in ["max(foo) < 5", "topk(1, foo) < 5", "avg without (i) (foo)", "sum by (sg) (foo)", "foo > 3"] {
        assert!(world.is_pushed(query).await, "{query}: {:?}", {
            world.evaluated_by(query, StepGrid::instant(TimestampMs(1_200_000))).await
        });
    }
}

/// Case 2: a group without the metric says nothing of it.
#[tokio::test]
async fn scalars_are_of_all_groups() {
    let world = labelled_shards().await;
    for (query, expected) in [
        ("scalar(onlya)", &["5"][..]),
        ("scalar(max(foo))", &["9"]),
        ("scalar(sum(onlya))", &["5"]),
        ("vector(scalar(onlya))", &["{}: 5"]),
        ("foo * scalar(onlya)", &[r#"{i="1", sg="a"}: 15"#, r#"{i="2", sg="a"}: 20"#, r#"{i="3", sg="b"}: 45"#]),
    ] {
        world.check(query, expected).await;
    }
}

/// Case 3: what the servers have evaluated is not looked back over again.
#[tokio::test]
async fn an_ended_series_ends() {
    let world = labelled_shards().await;
    // The marker stands at 300 s, the values change there.
    let grid = StepGrid::with_count(TimestampMs(240_000), DurationMs(30_000), 5);
    for (query, expected) in [
        ("gone", &[r#"{__name__="gone", i="1", sg="a"}: 1 1 _ _ _"#][..]),
        ("sum(gone)", &["{}: 1 1 _ _ _"]),
        ("count(gone)", &["{}: 1 1 _ _ _"]),
        ("max(gone) > 0", &["{}: 1 1 _ _ _"]),
        ("-gone", &[r#"{i="1", sg="a"}: -1 -1 _ _ _"#]),
        ("abs(gone)", &[r#"{i="1", sg="a"}: 1 1 _ _ _"#]),
        (r#"label_replace(gone, "x", "$1", "i", "(.*)")"#, &[r#"{__name__="gone", i="1", sg="a", x="1"}: 1 1 _ _ _"#]),
        ("bar > 8", &[r#"{__name__="bar", i="1", sg="a"}: 9 9 _ _ _"#]),
        (
            "topk(1, bar)",
            &[r#"{__name__="bar", i="1", sg="a"}: 9 9 _ _ _"#, r#"{__name__="bar", i="2", sg="b"}: _ _ 7 7 7"#],
        ),
    ] {
        world.check_in(&EvaluationMode::ALL, query, grid, expected).await;
    }
    let parts = world.evaluated_by("bar > 8", grid).await;
    assert!(parts.iter().all(|(by, _)| *by == EvaluatedBy::Servers), "{parts:?}");
}

/// Cases 4, 5 and 8: an offset counts once, also in a subquery, and moves no evaluation time.
#[tokio::test]
async fn offsets_count_once() {
    let world = labelled_shards().await;
    let both = |a: &'static str, b: &'static str| [a, b];
    for (query, expected) in [
        ("max_over_time(c[2m:1m] offset 5m)", both(r#"{i="1", sg="a"}: 900"#, r#"{i="2", sg="b"}: 990"#)),
        (r#"count_values("v", c offset 5m)"#, both(r#"{v="900"}: 1"#, r#"{v="990"}: 1"#)),
        // 900 at the end of the window; 300 s more to the evaluation time, and 600 s.
        ("predict_linear(c[5m] offset 5m, 600)", both(r#"{i="1", sg="a"}: 1800"#, r#"{i="2", sg="b"}: 1980"#)),
        ("c offset 5m + 0", both(r#"{i="1", sg="a"}: 900"#, r#"{i="2", sg="b"}: 990"#)),
    ] {
        world.check(query, &expected).await;
        assert!(world.is_pushed(query).await, "{query}");
    }
    world.check("max_over_time(sum(c)[2m:1m] offset 5m)", &["{}: 1890"]).await;
    world.check("sum(c offset 5m)", &["{}: 1890"]).await;
    let grid = StepGrid::with_count(TimestampMs(1_140_000), MINUTE, 2);
    for (query, expected) in [
        ("max_over_time(c[2m:1m] offset 5m)", &[r#"{i="1", sg="a"}: 840 900"#, r#"{i="2", sg="b"}: 924 990"#][..]),
        ("max_over_time(sum(c)[2m:1m] offset 5m)", &["{}: 1764 1890"]),
        ("sum(c @ end() offset 5m)", &["{}: 1890 1890"]),
    ] {
        world.check_in(&EvaluationMode::ALL, query, grid, expected).await;
    }
}

/// Cases 6 and 7.
#[tokio::test]
async fn count_values_keeps_its_label_and_takes_parentheses() {
    let world = labelled_shards().await;
    let by_value = [r#"{v="3"}: 1"#, r#"{v="4"}: 1"#, r#"{v="9"}: 1"#];
    let without = [r#"{sg="a", v="3"}: 1"#, r#"{sg="a", v="4"}: 1"#, r#"{sg="b", v="9"}: 1"#];
    world.check(r#"count_values without (i) ("v", foo)"#, &without).await;
    world.check(r#"count_values(("v"), foo)"#, &by_value).await;
    assert!(world.is_pushed(r#"count_values without (i) ("v", foo)"#).await);
}

/// Case 9: JSON cannot carry native histograms. That is said, and nothing else is put in their place.
#[tokio::test]
async fn native_histograms_are_no_other_numbers() {
    let lines: &[&str] =
        &["nh {{schema:0 sum:5 count:4 buckets:[1 2 1]}}+{{schema:0 sum:2 count:2 buckets:[1 0 1]}}x30"];
    let world = world(vec![Group { config: labelled("a"), replicas: &[lines] }]).await;
    for mode in EvaluationMode::ALL {
        let options = QueryOptions { mode: Some(mode), ..QueryOptions::default() };
        for query in ["sum(nh offset 5m)", "rate(nh[5m] offset 5m)", "avg(nh)"] {
            let answer = world.engine.instant(query, TimestampMs(1_200_000), &options).await;
            let error = answer.expect_err("histograms have no numbers");
            assert!(error.message().contains("native histograms"), "{query} in mode {mode}: {error}");
        }
    }
    // What is a number there is one here.
    let grid = StepGrid::instant(TimestampMs(1_200_000));
    world.check_in(&[EvaluationMode::Pushdown], "count(nh offset 5m)", grid, &["{}: 1"]).await;
}

/// Case 10, the first half: shards that no label tells apart.
#[tokio::test]
async fn groups_without_labels_add_up() {
    let world = |disjoint| async move {
        let config = || ServerGroupConfig { disjoint, ..unlabelled() };
        world(vec![Group { config: config(), replicas: &[A] }, Group { config: config(), replicas: &[B] }]).await
    };
    for disjoint in [false, true] {
        let world = world(disjoint).await;
        for (query, expected) in [
            ("sum(foo)", "{}: 16"),
            ("count(foo)", "{}: 3"),
            ("avg(foo)", "{}: 5.333333333333333"),
            ("max(foo)", "{}: 9"),
            ("min(foo)", "{}: 3"),
            ("topk(1, foo)", r#"{__name__="foo", i="3"}: 9"#),
            ("sum by (job) (foo)", "{}: 16"),
        ] {
            world.check(query, &[expected]).await;
            assert_eq!(world.is_pushed(query).await, disjoint, "{query}");
        }
        // Both have `up{job="j"}`: which of them counts nobody can say, but it is not two series.
        if !disjoint {
            world.check("count(up)", &["{}: 1"]).await;
        }
    }
}

/// Case 10, the second half: replicas of which one lacks data.
#[tokio::test]
async fn what_one_replica_lacks_the_other_has() {
    let whole: &[&str] = &[r#"foo{i="1"} 3x30"#, r#"foo{i="2"} 4x30"#, r#"c{i="1"} 0+60x30"#];
    let without_a_series: &[&str] = &[r#"foo{i="1"} 3x30"#, r#"c{i="1"} _x15 900+60x14"#];
    let modes = [EvaluationMode::Exact, EvaluationMode::Pushdown, EvaluationMode::Auto];
    for replicas in [[whole, without_a_series], [without_a_series, whole]] {
        let world = world(vec![Group { config: labelled("a"), replicas: &replicas }]).await;
        let instant = StepGrid::instant(TimestampMs(1_200_000));
        for (query, expected) in [
            ("sum(foo)", "{}: 7"),
            ("count(foo)", "{}: 2"),
            ("max(foo)", "{}: 4"),
            ("sum(count_over_time(c[15m]))", "{}: 15"),
            ("increase(c[15m])", r#"{i="1", sg="a"}: 900"#),
            ("min(min_over_time(c[15m]))", "{}: 360"),
            ("max(max_over_time(c[15m]))", "{}: 1200"),
            ("group by (i) (present_over_time(c[15m]))", r#"{i="1"}: 1"#),
        ] {
            world.check_in(&modes, query, instant, &[expected]).await;
        }
        let grid = StepGrid::with_count(TimestampMs(600_000), MINUTE, 3);
        world.check_in(&modes, "sum(foo)", grid, &["{}: 7 7 7"]).await;

        // Where agreement proves something, they are asked and compared; else they are not even asked.
        let said = |parts: Vec<(EvaluatedBy, String)>| match &parts[..] {
            [(by, reason)] => (*by, reason.clone()),
            other => panic!("one part: {other:?}"),
        };
        let (by, reason) = said(world.evaluated_by("max(max_over_time(c[15m]))", instant).await);
        assert_eq!(by, EvaluatedBy::Servers, "{reason}");
        let (by, reason) = said(world.evaluated_by("min(min_over_time(c[15m]))", instant).await);
        assert_eq!(by, EvaluatedBy::Quiver);
        assert!(reason.starts_with("its replicas answer differently: "), "{reason}");
        let (by, reason) = said(world.evaluated_by("sum(foo)", instant).await);
        assert_eq!(by, EvaluatedBy::Quiver);
        assert_eq!(reason, "it has 2 replicas, and that they agree on this would prove nothing");
    }
}

/// Case 11: relabel rules and arithmetic.
#[tokio::test]
async fn relabelled_groups_take_any_expression() {
    let rules = vec![MetricsRelabel {
        action: MetricsRelabelAction::Replace,
        source_label: "i".to_owned(),
        target_label: "n".to_owned(),
    }];
    let config = |name| ServerGroupConfig { metrics_relabel_configs: rules.clone(), ..labelled(name) };
    let world =
        world(vec![Group { config: config("a"), replicas: &[A] }, Group { config: config("b"), replicas: &[B] }]).await;
    for (query, expected) in [
        ("sum(foo*(60*60))", &["{}: 57600"][..]),
        ("max(time()-foo)", &["{}: 1197"]),
        ("sum by (n) (foo)", &[r#"{n="1"}: 3"#, r#"{n="2"}: 4"#, r#"{n="3"}: 9"#]),
        (r#"count(foo{n=~"1|3"})"#, &["{}: 2"]),
    ] {
        world.check(query, expected).await;
    }
}

/// A stored label below an added one of the same name: two series of the server become one.
#[tokio::test]
async fn hidden_labels_are_found_before_anything_is_added_up() {
    let lines: &[&str] = &[r#"foo{i="1", sg="x"} 3x30"#, r#"foo{i="1", sg="y"} 3x30"#, r#"foo{i="2"} 4x30"#];
    let world = world(vec![Group { config: labelled("a"), replicas: &[lines] }]).await;
    world
        .check_in(
            &[EvaluationMode::Exact, EvaluationMode::Pushdown],
            "count(foo)",
            StepGrid::instant(TimestampMs(1_200_000)),
            &["{}: 2"],
        )
        .await;
    let parts = world.evaluated_by("count(foo)", StepGrid::instant(TimestampMs(1_200_000))).await;
    assert!(parts[0].1.starts_with("an added label hides a stored one"), "{parts:?}");
}
