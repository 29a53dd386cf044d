use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::label_origins::tests::{labels, rules};
use super::super::tests::rewrites;
use super::*;
use crate::config::ServerGroupConfig;
use crate::model::{DurationMs, Labels, QueryValue, SamplesTableBuilder, StepGrid, StepsTable, TimestampMs};
use crate::query::{EngineOptions, QueryEngine, QueryOptions};
use crate::syntax::{Features, parse};
use crate::testing::MemoryStore;

fn rewritten(rewrites: &Rewrites, query: &str) -> PushedExpression {
    let expr = parse(query, &Features { experimental_functions: true, ..Features::default() }).expect(query);
    rewrites.rewrite_expression(&expr).expect("good patterns")
}

/// What is asked, or why nothing is.
fn asked(rewrites: &Rewrites, query: &str) -> String {
    match rewritten(rewrites, query) {
        PushedExpression::Pushed(pushed) => pushed.expr.to_string(),
        PushedExpression::Nothing => "nothing".to_owned(),
        PushedExpression::Refused(reason) => format!("refused: {reason}"),
    }
}

#[test]
fn selectors_and_groupings_are_said_in_stored_labels() {
    for (added, rules, query, expected) in [
        ("sg=eu", "", "sum by (sg, job) (rate(x{sg=\"eu\"}[5m]))", "sum by (job) (rate(x[5m]))"),
        ("sg=eu", "", "sum by (sg) (x)", "sum(x)"),
        ("sg=eu", "", "sum without (sg, job) (x)", "sum without (job) (x)"),
        ("sg=eu", "", "sum(x{sg=\"us\"})", "nothing"),
        ("sg=eu", "", "x{sg=\"us\"} > 5", "nothing"),
        ("", "replace a b", "sum by (b, a, c) (x{b=~\"1|2\"})", "sum by (a, c) (x{a=~\"1|2\"})"),
        ("", "replace a b", "max without (a) (x)", "max without () (x)"),
        ("", "replace a b", "max without (a, b, c) (x)", "max without (c, a) (x)"),
        ("", "replace a b, labeldrop a", "max without (b) (x)", "max without (a) (x)"),
        ("", "replace a b, labeldrop a", "max by (a) (x)", "max(x)"),
        ("", "replace a b", "sum by (b) (max by (a, c) (x))", "sum(max by (a, c) (x))"),
        ("", "replace a b", "sum by (a) (max by (b, c) (x))", "sum(max by (a, c) (x))"),
        ("sg=eu", "", "topk by (sg, a) (2, x)", "topk by (a) (2, x)"),
        ("", "replace a b", "count_values by (b) (\"v\", x)", "count_values by (a) (\"v\", x)"),
        ("", "lowercase a b", "sum by (c) (x{b=\"x.1\"})", "sum by (c) (x{a=~\"[Xx]\\\\.1\"})"),
        // Both sides are no vectors: promxy fails on these.
        ("", "replace a b", "sum(x * (60 * 60))", "sum(x * (60 * 60))"),
        ("", "replace a b", "max(time() - x)", "max(time() - x)"),
        ("", "replace a b", "max_over_time(rate(x{b=\"1\"}[5m])[1h:1m])", "max_over_time(rate(x{a=\"1\"}[5m])[1h:1m])"),
        ("", "replace a b", "-(x offset 5m) * scalar(x)", "-(x offset 5m) * scalar(x)"),
        ("", "replace a b", "histogram_quantile(0.9, x)", "histogram_quantile(0.9, x)"),
    ] {
        assert_eq!(asked(&rewrites(added, rules, &[]), query), expected, "{added} {rules} {query}");
    }
}

#[test]
fn what_cannot_be_asked_exactly_is_refused_with_a_reason() {
    for (added, rules, query, reason) in [
        ("", "labeldrop r", "sum(x)", "metrics_relabel_configs lose the label \"r\""),
        ("", "lowercase a a", "sum(x)", "metrics_relabel_configs lose the label \"a\""),
        ("", "replace __name__ m", "sum(x)", "metrics_relabel_configs read or write metric names"),
        ("", "lowercase a b", "sum by (b) (x)", "groups are made of the label \"b\", whose letters are changed"),
        ("", "lowercase a b", "sum without (a) (x)", "groups are made of the label \"b\", whose letters are changed"),
        ("", "lowercase a b", "sum(x{b=~\"[a]\"})", "a pattern on a label in other letters"),
        ("sg=eu", "", "limitk(1, x)", "what limitk picks depends on the order"),
        ("sg=eu", "", "x + x", "labels of two vectors are matched"),
        ("sg=eu", "", "x or vector(1)", "labels of two vectors are matched"),
        ("sg=eu", "", "absent(x)", "absent() makes labels"),
        ("sg=eu", "", "scalar(x{sg=\"us\"})", "scalar() of no series is not empty"),
        ("sg=eu", "", "label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")", "label_replace() reads and writes labels"),
        ("sg=eu", "", "count_values(\"sg\", x)", "the label \"sg\" is added or relabelled"),
        ("", "replace a le", "histogram_quantile(0.9, x)", "the label \"le\" is added or relabelled"),
        ("", "replace a b", "histogram_quantiles(x, \"b\", 0.9)", "the label \"b\" is added or relabelled"),
        ("", "replace a b", "sort_by_label(x, \"a\")", "sort_by_label() puts series in order"),
        ("", "replace a b", "info(x)", "info() finds series by labels"),
    ] {
        let text = asked(&rewrites(added, rules, &[]), query);
        assert!(text.starts_with(&format!("refused: {reason}")), "{query}: {text}");
    }
}

#[test]
fn without_rewrites_everything_passes_and_only_matchers_are_injected() {
    let none = Rewrites::default();
    for query in ["topk(1, x)", "x + on (a) x", "absent(x)", "sum by (a) (x)"] {
        assert_eq!(asked(&none, query), query);
    }
    let tenant = [Matcher::equal("tenant", "a")];
    let own = rewrites("", "", &tenant);
    assert_eq!(asked(&own, "topk(1, x{b=\"1\"})"), "topk(1, x{b=\"1\",tenant=\"a\"})");
    assert_eq!(asked(&own, "x + on (a) x"), "x{tenant=\"a\"} + on (a) x{tenant=\"a\"}");
    let PushedExpression::Pushed(pushed) = rewritten(&own, "x") else { panic!("nothing to refuse") };
    assert!(pushed.must_select_nothing.is_empty());
}

#[test]
fn a_stored_label_that_is_hidden_has_to_be_ruled_out() {
    let hidden = |added: &str, rules: &str, injected: &[Matcher]| {
        let PushedExpression::Pushed(pushed) = rewritten(&rewrites(added, rules, injected), "sum(x)") else {
            panic!("nothing to refuse")
        };
        let selectors = pushed.must_select_nothing.into_iter();
        selectors.map(|matchers| crate::model::Selector { matchers }.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(hidden("dc=1 sg=eu", "", &[]), ["x{dc!=\"\"}", "x{sg!=\"\"}"]);
    assert_eq!(hidden("", "replace a b, labeldrop a", &[]), ["x{b!=\"\"}"]);
    // Where all have the same value, it tells no two series apart.
    assert_eq!(hidden("sg=eu", "", &[Matcher::equal("sg", "old")]), [] as [&str; 0]);
}

#[test]
fn answers_get_the_labels_that_the_expression_leaves() {
    for (added, rules, query, stored, expected) in [
        ("sg=eu", "", "rate(x[5m])", "a=1", "a=1 sg=eu"),
        ("sg=eu", "", "sum(x)", "", ""),
        ("sg=eu", "", "sum by (sg, a) (x)", "a=1", "a=1 sg=eu"),
        ("sg=eu", "", "sum by (a) (x)", "a=1", "a=1"),
        ("sg=eu", "", "sum without (a) (x)", "c=1", "c=1 sg=eu"),
        ("", "replace a b", "sum by (b) (x)", "a=1", "b=1"),
        ("", "replace a b", "sum by (a) (x)", "a=1", "a=1"),
        ("", "replace a b", "sum without (a) (x)", "a=1 c=2", "b=1 c=2"),
        ("", "replace a b", "count_values by (b) (\"v\", x)", "a=1 v=7", "b=1 v=7"),
        ("", "replace a b", "x * 2", "a=1", "a=1 b=1"),
    ] {
        let PushedExpression::Pushed(pushed) = rewritten(&rewrites(added, rules, &[]), query) else {
            panic!("{query}: {}", asked(&rewrites(added, rules, &[]), query))
        };
        let mut builder = SamplesTableBuilder::default();
        builder.push_sample(1, 1.0);
        builder.finish_series(labels(stored).encode().as_bytes());
        let table = pushed.labels.rewrite_table(builder.finish()).expect("a table");
        let bytes = labels_of(&table).expect("labels").value(0).to_vec();
        assert_eq!(LabelsRef::new(&bytes).to_labels(), labels(expected), "{rules} {query}");
    }
}

/// The rows of an answer, sorted: labels and cells. An error is its text.
fn evaluate(
    series: &[(Labels, u8)],
    query: &str,
    relabel: impl Fn(RecordBatch) -> RecordBatch,
) -> Vec<(String, Vec<String>)> {
    let store = MemoryStore::new();
    let line = |(set, value): &(Labels, u8)| format!("x{set} {value} {} _ {value}", u32::from(*value) * 3 % 7);
    let lines: Vec<String> = series.iter().map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    store.load(&lines, TimestampMs(0), DurationMs(60_000)).expect("well-formed");
    let engine = QueryEngine::new(Arc::new(store), EngineOptions::default());
    let grid = StepGrid::with_count(TimestampMs(0), DurationMs(60_000), 4);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let result = match runtime.block_on(engine.range(query, grid, &QueryOptions::default())) {
        Ok(result) => result,
        Err(error) => return vec![(format!("{:?}", error.kind()), Vec::new())],
    };
    let QueryValue::Matrix { batches, .. } = result.value else { panic!("no matrix") };
    let mut rows = Vec::new();
    for batch in batches.into_iter().map(relabel) {
        let table = StepsTable::try_new(&batch).expect("a steps table");
        for row in 0..table.row_count() {
            rows.push((table.labels(row).to_string(), table.row(row).map(|cell| format!("{cell:?}")).collect()));
        }
    }
    rows.sort();
    rows
}

fn random_rules() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "replace a n",
        "replace a n, labeldrop a",
        "replace a t, replace b a, replace t b, labeldrop t",
        "lowercase a n",
        "replace sg n",
        "replace sg n, labeldrop sg",
        "replace a n, lowercase n o",
    ])
    .prop_map(str::to_owned)
}

fn random_query() -> impl Strategy<Value = String> {
    let names = prop::collection::vec(prop::sample::select(vec!["a", "b", "n", "o", "sg", "c"]), 0..3)
        .prop_map(|names| names.join(", "));
    let selector = prop::sample::select(vec![
        "x",
        "x{n=\"x\"}",
        "x{a!=\"\"}",
        "x{b=~\"x|Y\"}",
        "x{n!~\".+\"}",
        "x{sg=\"eu\",c=\"\"}",
        "x{sg!=\"eu\"}",
    ]);
    let inner = (selector, prop::sample::select(vec!["$", "sum_over_time($[2m])", "-$", "$ * (2 + 3)", "$ > 2"]))
        .prop_map(|(selector, form)| form.replace('$', selector));
    let grouping =
        (prop::sample::select(vec!["by", "without"]), names).prop_map(|(word, names)| format!("{word} ({names})"));
    let fold = prop::sample::select(vec!["sum G ($)", "max G ($)", "count G ($)", "count_values G (\"v\", $)"]);
    (inner, prop::collection::vec((fold, grouping), 0..3)).prop_map(|(inner, folds)| {
        folds.into_iter().fold(inner, |inner, (fold, grouping)| fold.replace('G', &grouping).replace('$', &inner))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_pushed_answer_is_that_of_the_rewritten_series(
        is_added in any::<bool>(),
        rule_texts in random_rules(),
        query in random_query(),
        sets in prop::collection::btree_map(prop::collection::vec(("[abcn]", "[xXY]"), 0..4).prop_map(Labels::from_pairs), 1..9u8, 1..6),
    ) {
        let config = ServerGroupConfig {
            labels: labels(if is_added { "sg=eu" } else { "" }),
            metrics_relabel_configs: rules(&rule_texts),
            ..ServerGroupConfig::default()
        };
        let own = Rewrites::new(&config.labels, &config);
        let stored: Vec<(Labels, u8)> = sets.into_iter().collect();
        // Those that become the same are all selected or none of them is: any one of them will do.
        let answer: BTreeMap<Labels, u8> = stored.iter().map(|(set, value)| (own.rewrite_labels(set), *value)).collect();
        let answer: Vec<(Labels, u8)> = answer.into_iter().collect();
        let expected = || evaluate(&answer, &query, |table| table);
        match rewritten(&own, &query) {
            PushedExpression::Refused(_) => {}
            PushedExpression::Nothing => prop_assert_eq!(expected(), vec![], "{} / {}", rule_texts, query),
            PushedExpression::Pushed(pushed) => {
                let hides = |matchers: &Vec<Matcher>| {
                    let compiled = crate::model::CompiledMatchers::compile(matchers).expect("good patterns");
                    stored.iter().any(|(set, _)| {
                        let mut named = crate::model::LabelsBuilder::from(set);
                        named.set(METRIC_NAME, "x");
                        compiled.match_labels(named.finish().encode().as_ref())
                    })
                };
                if pushed.must_select_nothing.iter().any(hides) {
                    return Ok(());
                }
                let text = pushed.expr.to_string();
                let got = evaluate(&stored, &text, |table| pushed.labels.rewrite_table(table).expect("a table"));
                prop_assert_eq!(got, expected(), "{} / {} / {}", rule_texts, query, text);
            }
        }
    }
}
