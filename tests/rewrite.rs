//! Groups whose series get other labels than their servers store: every answer is that of one Prometheus that holds the series
//! with the labels that they get.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use proptest::prelude::*;

use quiver::config::{MetricsRelabel, MetricsRelabelAction, PromxyConfig, ServerGroupConfig, StaticConfig};
use quiver::model::{
    DurationMs, Exemplar, Labels, LabelsBuilder, MatchOp, Matcher, MetadataRequest, QueryContext, QueryValue, StepGrid,
    TimestampMs,
};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::{GroupsSource, SeriesSource};
use quiver::servergroup::ServerGroupSet;
use quiver::testing::fake_prometheus::FakePrometheus;
use quiver::testing::{MemoryStore, format_tables};

/// Samples come every 30 s from 0; queries ask for 0 to 4 minutes by minutes.
const SCRAPE: DurationMs = DurationMs(30_000);

fn grid() -> StepGrid {
    StepGrid::with_count(TimestampMs(0), DurationMs(60_000), 5)
}

/// The series, each with the same exemplars: those of series that become one are there once.
fn store(lines: &[&str]) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    store.load(lines, TimestampMs(0), SCRAPE).expect("well-formed");
    let request = MetadataRequest { selectors: Vec::new(), start: None, end: None, limit: None };
    let series = store.series(&request, &QueryContext::default()).now_or_never();
    for series in series.expect("it is in memory").expect("a store answers") {
        for (trace, ms) in [("a", 30_000), ("b", 90_500)] {
            let labels = Labels::from_pairs([("trace_id", trace)]);
            let exemplar = Exemplar { labels, value: 0.5, timestamp: TimestampMs(ms) };
            store.append_exemplar(0, &series, exemplar).expect("part 0");
        }
    }
    Arc::new(store)
}

fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split_whitespace().filter_map(|pair| pair.split_once('=')))
}

/// A group: its labels, its rules (`replace a b, labeldrop c`), its injected matchers, what each of its servers stores.
struct Group<'a> {
    labels: &'a str,
    rules: &'a str,
    injected: Vec<Matcher>,
    servers: Vec<Vec<&'a str>>,
}

impl<'a> Group<'a> {
    fn new(labels: &'a str, rules: &'a str, servers: Vec<Vec<&'a str>>) -> Self {
        Self { labels, rules, injected: Vec::new(), servers }
    }
}

fn rules(text: &str) -> Vec<MetricsRelabel> {
    let rule = |rule: &str| {
        let words: Vec<&str> = rule.split_whitespace().collect();
        let action = match words[0] {
            "replace" => MetricsRelabelAction::Replace,
            "labeldrop" => MetricsRelabelAction::Labeldrop,
            "lowercase" => MetricsRelabelAction::Lowercase,
            "uppercase" => MetricsRelabelAction::Uppercase,
            other => panic!("no action {other}"),
        };
        let target_label = words.get(2).map_or(String::new(), |target| (*target).to_owned());
        MetricsRelabel { action, source_label: words[1].to_owned(), target_label }
    };
    text.split(',').filter(|rule| !rule.trim().is_empty()).map(rule).collect()
}

/// A gateway in front of such groups, and one store with everything as it is to be.
struct Scene {
    /// Over remote read, and over the query API alone.
    gateways: [QueryEngine; 2],
    truth: QueryEngine,
    servers: Vec<FakePrometheus>,
}

impl Scene {
    async fn start(groups: Vec<Group<'_>>, truth: &[&str]) -> Self {
        let (mut configs, mut servers) = (Vec::new(), Vec::new());
        for group in groups {
            let mut targets = Vec::new();
            for lines in &group.servers {
                let server = FakePrometheus::start(store(lines)).await.expect("a free port");
                targets.push(server.target());
                servers.push(server);
            }
            configs.push(ServerGroupConfig {
                static_configs: vec![StaticConfig { targets, labels: Labels::default() }],
                labels: labels(group.labels),
                metrics_relabel_configs: rules(group.rules),
                inject_matchers: group.injected,
                ..ServerGroupConfig::default()
            });
        }
        let gateways = [None, Some(false)].map(|remote_read| {
            let with_route = |config: &ServerGroupConfig| ServerGroupConfig { remote_read, ..config.clone() };
            let server_groups = configs.iter().map(with_route).collect();
            let set = ServerGroupSet::try_new(&PromxyConfig { server_groups }).expect("a good config");
            QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(set))), EngineOptions::default())
        });
        let truth = QueryEngine::new(store(truth), EngineOptions::default());
        Self { gateways, truth, servers }
    }

    /// Each query has the same answer, or the same error, from both; and it is not empty unless said so.
    async fn check(&self, queries: &[&str]) {
        for query in queries {
            let expected = answer(&self.truth, query).await;
            assert!(!expected.is_empty(), "{query}: the test asks for nothing");
            for gateway in &self.gateways {
                assert_eq!(answer(gateway, query).await, expected, "{query}");
            }
        }
    }

    async fn check_empty(&self, queries: &[&str]) {
        for query in queries {
            assert_eq!(answer(&self.truth, query).await, [""; 0], "{query}");
            for gateway in &self.gateways {
                assert_eq!(answer(gateway, query).await, [""; 0], "{query}");
            }
        }
    }

    /// Names, values of each label, series and exemplars are the same from both.
    async fn check_metadata(&self, selectors: &[Vec<Matcher>], names: &[&str]) {
        let (gateway, truth) = (self.gateways[0].source(), self.truth.source());
        let context = QueryContext::default();
        for selector in selectors {
            // Asked without a selector too, where it selects everything.
            let request = MetadataRequest {
                selectors: if selector.is_empty() { Vec::new() } else { vec![selector.clone()] },
                start: None,
                end: None,
                limit: None,
            };
            let expected = truth.label_names(&request, &context).await.expect("answers");
            assert_eq!(gateway.label_names(&request, &context).await, Ok(expected), "{selector:?}");
            let expected = truth.series(&request, &context).await.expect("answers");
            assert_eq!(gateway.series(&request, &context).await, Ok(expected), "{selector:?}");
            let expected = truth.exemplars(&request, &context).await.expect("answers").series;
            let got = gateway.exemplars(&request, &context).await.map(|found| found.series);
            assert_eq!(got.as_ref(), Ok(&expected), "{selector:?}");
            assert_eq!(expected.is_empty(), truth.series(&request, &context).await == Ok(Vec::new()));
            for name in names {
                let expected = truth.label_values(name, &request, &context).await.expect("answers");
                assert_eq!(gateway.label_values(name, &request, &context).await, Ok(expected), "{name} {selector:?}");
            }
        }
    }

    /// The queries that the servers were asked, of all of them.
    fn asked(&self) -> Vec<String> {
        let seen = self.servers.iter().flat_map(FakePrometheus::seen);
        seen.filter_map(|request| request.parameter("query").map(str::to_owned)).collect()
    }
}

/// Lines of a range query, sorted, or the kind of its error.
async fn answer(engine: &QueryEngine, query: &str) -> Vec<String> {
    match engine.range(query, grid(), &QueryOptions::default()).await {
        Ok(result) => {
            let QueryValue::Matrix { batches, .. } = result.value else { panic!("{query}: no matrix") };
            let mut lines = format_tables(&batches).expect("a steps table");
            lines.sort();
            lines
        }
        Err(error) => vec![format!("{:?}", error.kind())],
    }
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value)
}

fn m(rest: &[Matcher]) -> Vec<Matcher> {
    [&[Matcher::equal("__name__", "m")], rest].concat()
}

#[tokio::test]
async fn a_renamed_label_is_the_label_for_every_query() {
    let scene = Scene::start(
        vec![
            Group::new(
                "sg=a",
                "replace dc region, labeldrop dc",
                vec![vec![r#"m{dc="x"} 1+1x8"#, r#"m{dc="y",i="1"} 5x8"#, "m 7x8"]],
            ),
            Group::new("sg=b", "", vec![vec![r#"m{region="x"} 2x8"#, r#"limit{region="x"} 3x8"#]]),
        ],
        &[
            r#"m{region="x",sg="a"} 1+1x8"#,
            r#"m{region="y",i="1",sg="a"} 5x8"#,
            r#"m{sg="a"} 7x8"#,
            r#"m{region="x",sg="b"} 2x8"#,
            r#"limit{region="x",sg="b"} 3x8"#,
        ],
    )
    .await;
    scene
        .check(&[
            "m",
            r#"m{region="x"}"#,
            r#"m{region=""}"#,
            r#"m{region!="x"}"#,
            r#"m{region=~"x|y",sg="a"}"#,
            r#"m{region!~".+"}"#,
            r#"m{dc=""}"#,
            "sum by (region) (m)",
            "sum without (region) (m)",
            "max by (region, sg) (rate(m[2m]))",
            "m > on (region) group_left () limit",
            r#"m{sg="a"} + ignoring (sg) m{sg="b"}"#,
            r#"m{sg="a"} * on (region) group_left (extra) label_replace(limit, "extra", "$1", "region", "(.*)")"#,
            "count_values by (region) (\"v\", m)",
            r#"label_replace(m, "region", "new", "region", "x")"#,
            r#"absent(m{region="z"})"#,
            r#"absent_over_time(m{region=~"z|none"}[1m])"#,
            "topk by (region) (1, m)",
            "{sg=\"a\"}",
        ])
        .await;
    scene
        .check_empty(&[r#"m{dc="x"}"#, r#"m{region="x",dc=~".+"}"#, r#"absent_over_time(m{region=~"x|y"}[1m])"#])
        .await;
    scene
        .check_metadata(
            &[
                vec![],
                m(&[]),
                m(&[matcher("region", MatchOp::Equal, "x")]),
                m(&[matcher("region", MatchOp::Equal, "")]),
                m(&[matcher("dc", MatchOp::NotEqual, "")]),
                m(&[matcher("sg", MatchOp::Equal, "a")]),
                vec![matcher("sg", MatchOp::Equal, "a")],
            ],
            &["region", "dc", "sg", "i", "__name__", "none"],
        )
        .await;
    assert!(scene.asked().iter().all(|query| !query.contains("region=\"y\"")), "{:?}", scene.asked());
}

/// Each member of a pair has a replica label of its own and lacks what the other one has.
#[tokio::test]
async fn a_dropped_replica_label_makes_one_series_of_a_pair() {
    let one = [r#"m{replica="1",i="a"} 1 2 _ _ _ 6 7 8 9"#, r#"m{replica="1",i="b"} 1+1x8"#];
    let two = [r#"m{replica="2",i="a"} 1 _ 3 4 5 6 _ _ 9"#, r#"m{replica="2",i="c"} 3x8"#];
    let truth = [r#"m{i="a"} 1+1x8"#, r#"m{i="b"} 1+1x8"#, r#"m{i="c"} 3x8"#];
    let both: Vec<&str> = one.into_iter().chain(two).collect();
    let queries = [
        "m",
        "m + m",
        "sum(m)",
        "count(m)",
        "rate(m[2m])",
        "sum by (i) (increase(m[3m]))",
        "avg without (i) (m)",
        "count_over_time(m[4m])",
        r#"m{replica=""}"#,
        r#"m{replica!~".+"}"#,
    ];
    // On two targets, and within one.
    for servers in [vec![one.to_vec(), two.to_vec()], vec![both.clone()], vec![both.clone(), both]] {
        let scene = Scene::start(vec![Group::new("", "labeldrop replica", servers)], &truth).await;
        scene.check(&queries).await;
        scene.check_empty(&[r#"m{replica="1"}"#, r#"m{replica=~".+"}"#]).await;
        let selectors =
            [vec![], m(&[]), m(&[matcher("replica", MatchOp::Equal, "1")]), m(&[matcher("i", MatchOp::Equal, "a")])];
        scene.check_metadata(&selectors, &["replica", "i"]).await;
    }
}

/// The label that tells the members of a pair apart may be one that the config adds.
#[tokio::test]
async fn targets_whose_own_labels_are_dropped_are_replicas() {
    let lines = [[r#"m{i="a"} 1 2 _ _ _"#], [r#"m{i="a"} 1 _ 3 4 5"#]];
    let mut static_configs = Vec::new();
    let mut servers = Vec::new();
    for (number, lines) in lines.iter().enumerate() {
        let server = FakePrometheus::start(store(lines)).await.expect("a free port");
        let labels = Labels::from_pairs([("replica", number.to_string())]);
        static_configs.push(StaticConfig { targets: vec![server.target()], labels });
        servers.push(server);
    }
    let config = ServerGroupConfig {
        static_configs,
        metrics_relabel_configs: rules("labeldrop replica"),
        ..ServerGroupConfig::default()
    };
    let set = ServerGroupSet::try_new(&PromxyConfig { server_groups: vec![config] }).expect("a good config");
    assert_eq!(set.parts().count(), 1);
    let shown: Vec<String> = set.groups()[0].targets().map(|(labels, _)| labels.to_string()).collect();
    assert_eq!(shown, [r#"{replica="0"}"#, r#"{replica="1"}"#]);
    let gateway = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(set))), EngineOptions::default());
    let truth = QueryEngine::new(store(&[r#"m{i="a"} 1 2 3 4 5"#]), EngineOptions::default());
    assert_eq!(answer(&gateway, "m").await, answer(&truth, "m").await);
}

#[tokio::test]
async fn letters_change_in_answers_and_back_in_questions() {
    let scene = Scene::start(
        vec![Group::new(
            "",
            "lowercase host name, labeldrop host, uppercase env env",
            vec![vec![
                r#"m{host="A.b",env="Dev"} 1x8"#,
                r#"m{host="aXb",env="prod"} 2x8"#,
                r#"m{host="AXB",env="PROD"} 4x8"#,
            ]],
        )],
        // The last two have become one; the sample that both have is the first one's.
        &[r#"m{name="a.b",env="DEV"} 1x8"#, r#"m{name="axb",env="PROD"} 4x8"#],
    )
    .await;
    scene
        .check(&[
            r#"m{name="a.b"}"#,
            r#"m{name!="axb"}"#,
            r#"m{name=~"a.b",env="DEV"}"#,
            r#"m{name=~"a[.]b"}"#,
            r#"m{name=~"[^A]\\.[^B]"}"#,
            r#"m{name!~"[^A]x.*"}"#,
            r#"m{env=~"D.+|X"}"#,
            r#"m{name!~"A.*"} == 1"#,
            "count by (name, env) (m)",
        ])
        .await;
    scene.check_empty(&[r#"m{name="A.b"}"#, r#"m{env="dev"}"#, r#"m{host="A.b"}"#, r#"m{name=~"A.*"}"#]).await;
    let selectors = [
        vec![],
        m(&[matcher("name", MatchOp::Equal, "a.b")]),
        m(&[matcher("name", MatchOp::Regex, "[^A]\\..*")]),
        m(&[matcher("env", MatchOp::Regex, "[^D].*")]),
        m(&[matcher("name", MatchOp::Regex, "A.*")]),
    ];
    scene.check_metadata(&selectors, &["name", "host", "env"]).await;
}

/// promxy's process dies of this one: a rule renames a label that the group itself adds.
#[tokio::test]
async fn a_pattern_on_a_renamed_label_of_the_group_is_decided() {
    let scene = Scene::start(
        vec![
            Group::new("node=a", "replace node shard", vec![vec!["m 1x8"]]),
            Group::new("node=c", "replace node shard", vec![vec!["m 2x8", r#"foo{job="j"} 3x8"#]]),
        ],
        &[r#"m{node="a",shard="a"} 1x8"#, r#"m{node="c",shard="c"} 2x8"#, r#"foo{node="c",shard="c",job="j"} 3x8"#],
    )
    .await;
    scene
        .check(&[
            r#"m{shard=~"a|b"}"#,
            r#"absent_over_time(m{shard=~"x|b"}[1m])"#,
            r#"count_over_time(m{shard!~"a|b"}[1m])"#,
            // promxy answers these with an error.
            "sum(foo*(60*60))",
            "max(time()-foo)",
            "sum by (shard) (m * 2)",
            "sum(foo) / sum(m)",
        ])
        .await;
    scene.check_empty(&[r#"absent_over_time(m{shard=~"a|b"}[1m])"#, r#"m{shard=~"x|b"}"#]).await;
    let selectors =
        [vec![], m(&[matcher("shard", MatchOp::Regex, "a|b")]), m(&[matcher("shard", MatchOp::Regex, "x")])];
    scene.check_metadata(&selectors, &["shard", "node", "job"]).await;
}

/// Matchers that are injected are about stored labels, on every way to them.
#[tokio::test]
async fn injected_matchers_scope_queries_and_metadata() {
    let mut own = Group::new(
        "sg=a",
        "replace tenant owner, labeldrop tenant",
        vec![vec![r#"m{tenant="t1"} 1x8"#, r#"m{tenant="t2",secret="s"} 2x8"#, r#"other{tenant="t2"} 2x8"#]],
    );
    own.injected = vec![matcher("tenant", MatchOp::Equal, "t1")];
    let scene = Scene::start(vec![own], &[r#"m{owner="t1",sg="a"} 1x8"#]).await;
    scene.check(&["m", "sum(m)", "{sg=\"a\"}", r#"m{owner=~"t.*"}"#]).await;
    scene.check_empty(&["other", r#"m{owner="t2"}"#]).await;
    let selectors =
        [vec![], m(&[]), vec![matcher("sg", MatchOp::Equal, "a")], m(&[matcher("owner", MatchOp::Equal, "t2")])];
    scene.check_metadata(&selectors, &["owner", "secret", "sg", "__name__"]).await;
    assert!(scene.asked().iter().all(|query| query.contains(r#"tenant="t1""#)), "{:?}", scene.asked());
}

/// `{a}` sorts before `{a,b}`, but `{a,sg}` behind `{a,b,sg}`.
#[tokio::test]
async fn added_labels_leave_series_in_order() {
    let lines = ["m 1x8", r#"m{a="1"} 2x8"#, r#"m{a="1",z="1"} 3x8"#, r#"m{a="1",b="1"} 4x8"#, r#"m{b="1"} 5x8"#];
    let with_sg = |line: &&str, sg: &str| match line.split_once('}') {
        Some((labels, samples)) => format!("{labels},sg=\"{sg}\"}}{samples}"),
        None => line.replacen("m ", &format!("m{{sg=\"{sg}\"}} "), 1),
    };
    let truth: Vec<String> = ["a", "b"].iter().flat_map(|sg| lines.iter().map(move |line| with_sg(line, sg))).collect();
    let truth: Vec<&str> = truth.iter().map(String::as_str).collect();
    let groups = ["sg=a", "sg=b"].map(|labels| Group::new(labels, "", vec![lines.to_vec(), lines[1..].to_vec()]));
    let scene = Scene::start(groups.into_iter().collect(), &truth).await;
    scene.check(&["m", "sum by (sg) (m)", "rate(m[2m])", "m + m", "max without (a) (m)"]).await;
}

/// A group's label goes over a stored one: series may change their places altogether, or become one.
#[tokio::test]
async fn overwritten_labels_break_no_order() {
    for (lines, truth) in [
        (
            vec![r#"m{a="x",z="2"} 1x8"#, r#"m{a="y",z="1"} 2x8"#, "m 3x8"],
            vec![r#"m{a="new",z="2"} 1x8"#, r#"m{a="new",z="1"} 2x8"#, r#"m{a="new"} 3x8"#],
        ),
        (vec![r#"m{a="x"} 1 2 _ _ 5"#, r#"m{a="y"} _ _ 3 4 5"#], vec![r#"m{a="new"} 1 2 3 4 5"#]),
    ] {
        let scene = Scene::start(vec![Group::new("a=new", "", vec![lines])], &truth).await;
        // The first one finds out, and the others know.
        scene.check(&["m", "m", "sum(m)", "rate(m[2m])"]).await;
    }
}

/// Servers that move range queries to multiples of the step are asked for multiples, and answer for the steps.
#[tokio::test]
async fn servers_that_snap_to_the_step_answer_for_the_steps_that_were_asked_for() {
    let lines = ["m{i=\"a\"} 0+1x40", "m{i=\"b\"} 5 _ _ 7 stale _ 8x30", "other{i=\"a\"} 1+1x40"];
    let truth = QueryEngine::new(store(&lines), EngineOptions::default());
    for replicas in [1, 2] {
        let mut servers = Vec::new();
        for _ in 0..replicas {
            servers.push(FakePrometheus::start(store(&lines)).await.expect("a free port"));
        }
        let targets = servers.iter().map(FakePrometheus::target).collect();
        let config = ServerGroupConfig {
            static_configs: vec![StaticConfig { targets, labels: Labels::default() }],
            align_query_range_with_step: true,
            remote_read: Some(false),
            ..ServerGroupConfig::default()
        };
        let set = ServerGroupSet::try_new(&PromxyConfig { server_groups: vec![config] }).expect("a good config");
        let gateway = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(set))), EngineOptions::default());
        for start in [95_000, 120_000, 137_123] {
            let grid = StepGrid::with_count(TimestampMs(start), DurationMs(60_000), 6);
            for query in ["m", "{i=\"a\"}", "sum(m offset 30s)", "rate(m[2m])", "timestamp(m)"] {
                let mut lines = Vec::new();
                for engine in [&gateway, &truth] {
                    let result = engine.range(query, grid, &QueryOptions::default()).await;
                    let QueryValue::Matrix { batches, .. } = result.expect(query).value else { panic!("no matrix") };
                    lines.push(format_tables(&batches).expect("a steps table"));
                }
                assert!(!lines[1].is_empty(), "{query}");
                assert_eq!(lines[0], lines[1], "{query} from {start}");
            }
        }
        let ranges = servers.iter().flat_map(FakePrometheus::seen).filter(|seen| seen.parameter("step").is_some());
        let starts: Vec<f64> =
            ranges.map(|seen| seen.parameter("start").expect("a start").parse().expect("s")).collect();
        assert!(!starts.is_empty() && starts.iter().all(|start| start % 60.0 == 0.0), "{starts:?}");
    }
}

/// A label set and, for each of two replicas, which of ten samples it has.
type Held = (Labels, [u16; 2]);

/// Series that become the same have the same value at the same time: which one is taken does not show.
fn value_at(answer: &Labels, index: usize) -> usize {
    let seed: usize = answer.to_string().bytes().map(usize::from).sum();
    (seed * 7 + index * (1 + seed % 5)) % 50
}

fn line(stored: &Labels, answer: &Labels, held: u16) -> String {
    let sample =
        |index: usize| if held >> index & 1 == 1 { value_at(answer, index).to_string() } else { "_".to_owned() };
    format!("m{stored} {}", (0..10).map(sample).collect::<Vec<_>>().join(" "))
}

fn rewritten(group: &(String, String, Vec<Held>), stored: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from(stored);
    for (name, value) in labels(&group.0).iter() {
        builder.set(name, value);
    }
    let mut set = builder.finish();
    for rule in rules(&group.1) {
        let source = set.get(&rule.source_label).unwrap_or("").to_owned();
        let mut next = LabelsBuilder::from(&set);
        match rule.action {
            MetricsRelabelAction::Replace => next.set(&rule.target_label, &source),
            MetricsRelabelAction::Lowercase => next.set(&rule.target_label, &source.to_lowercase()),
            MetricsRelabelAction::Uppercase => next.set(&rule.target_label, &source.to_uppercase()),
            MetricsRelabelAction::Labeldrop => next.remove(&rule.source_label),
        };
        set = next.finish();
    }
    set
}

fn random_group() -> impl Strategy<Value = (String, String, Vec<Held>)> {
    let rules = [
        "",
        "",
        "labeldrop r",
        "replace a n",
        "replace a n, labeldrop a",
        "lowercase a a",
        "uppercase b n, labeldrop b",
        "replace a t, replace b a, replace t b, labeldrop t",
        "replace sg n, labeldrop sg",
        "lowercase a n, replace n b, labeldrop r",
    ];
    let sets = prop::collection::btree_map(
        prop::collection::vec(("[abnr]", "[xXy]"), 0..4).prop_map(Labels::from_pairs),
        [0u16..1024, 0u16..1024],
        1..5,
    );
    (prop::sample::select(vec!["", "sg=a", "sg=b", "a=x", "b=Y sg=a"]), prop::sample::select(rules.to_vec()), sets)
        .prop_map(|(added, rules, sets)| (added.to_owned(), rules.to_owned(), sets.into_iter().collect()))
}

const RANDOM_QUERIES: [&str; 14] = [
    "m",
    "m{a=\"x\"}",
    "m{a!=\"x\"}",
    "m{n=\"\"}",
    "m{n=~\"X|y\",b!=\"\"}",
    "m{b=~\"[^x]\"}",
    "m{sg=~\"a|b\",r=\"\"}",
    "{sg=\"a\"}",
    "sum by (a, n) (m)",
    "count without (b, sg) (m)",
    "max by (sg) (max_over_time(m[2m]))",
    "m > on (a, b, n, r, sg) m * 0 + 20",
    "count_over_time(m{b!~\"y.*\"}[90s])",
    "sum(m * (2 * 3)) by (b)",
];

/// How many random groups are tried; each is asked some twenty questions over HTTP.
fn random_cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(8)
}

async fn check_random(groups: &[(String, String, Vec<Held>)]) {
    let mut samples: BTreeMap<Labels, u16> = BTreeMap::new();
    let mut scenes: Vec<(&str, &str, [Vec<String>; 2])> = Vec::new();
    for group in groups {
        let mut servers = [Vec::new(), Vec::new()];
        for (stored, held) in &group.2 {
            let answer = rewritten(group, stored);
            *samples.entry(answer.clone()).or_default() |= held[0] | held[1];
            for (server, held) in servers.iter_mut().zip(held) {
                server.push(line(stored, &answer, *held));
            }
        }
        scenes.push((&group.0, &group.1, servers));
    }
    let truth: Vec<String> = samples.iter().map(|(answer, held)| line(answer, answer, *held)).collect();
    let truth: Vec<&str> = truth.iter().map(String::as_str).collect();
    let groups = scenes.iter().map(|(added, rules, servers)| {
        let servers = servers.iter().map(|lines| lines.iter().map(String::as_str).collect());
        Group::new(added, rules, servers.collect())
    });
    let scene = Scene::start(groups.collect(), &truth).await;
    for query in RANDOM_QUERIES {
        let expected = answer(&scene.truth, query).await;
        let has_samples = samples.values().any(|held| held & 0b1_1111_1111 != 0);
        assert!(query != "m" || !has_samples || !expected.is_empty(), "the test asks for nothing");
        for gateway in &scene.gateways {
            assert_eq!(answer(gateway, query).await, expected, "{query} of {truth:#?}");
        }
    }
    let selectors = [vec![], m(&[matcher("n", MatchOp::Regex, "[xX]")]), m(&[matcher("b", MatchOp::Regex, "[^x]")])];
    scene.check_metadata(&selectors, &["a", "b", "n", "r", "sg", "__name__"]).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: random_cases(), ..ProptestConfig::default() })]
    #[test]
    fn random_groups_answer_as_one_server_with_their_rewritten_series(groups in prop::collection::vec(random_group(), 1..3)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(check_random(&groups));
    }
}
