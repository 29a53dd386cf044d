//! Expression → what servers are asked and what becomes of it, or why not.

use expect_test::{Expect, expect};

use super::*;
use crate::model::{DurationMs, StepGrid, TimestampMs};
use crate::promql::preprocess::QueryBounds;
use crate::syntax::{Features, parse};

fn surroundings(features: Features) -> Surroundings {
    let bounds = QueryBounds { start: TimestampMs(1_000_000), end: TimestampMs(1_310_000), step: DurationMs(60_000) };
    Surroundings { bounds, default_subquery_step: DurationMs(60_000), lookback: DurationMs(300_000), features }
}

fn table(features: Features, queries: &[&str]) -> String {
    let grid = StepGrid::with_count(TimestampMs(1_000_000), DurationMs(60_000), 6);
    let mut text = String::new();
    for query in queries {
        let expr = parse(query, &features).expect(query);
        let line = match find_pushable(&expr, grid, &surroundings(features)) {
            Err(WhyNot(reason)) => format!("no: {reason}"),
            Ok(pushable) => {
                let asked: Vec<String> = pushable.expressions.iter().map(ToString::to_string).collect();
                let same = asked.iter().all(|asked| parse(asked, &features).is_ok());
                assert!(same, "{asked:?} is no PromQL");
                let proof = if pushable.agreement_proves { ", agreement proves" } else { "" };
                format!("{} => {}{proof}", asked.join(" ; "), pushable.recombination.describe())
            }
        };
        text.push_str(&format!("{query}\n    {line}\n"));
    }
    text
}

fn check(queries: &[&str], expected: &Expect) {
    expected.assert_eq(&table(Features::default(), queries));
}

#[test]
fn what_each_series_is_by_itself_is_left_to_its_server() {
    check(
        &[
            "rate(x[5m])",
            "(x > 5)",
            "x != bool 2",
            "-x",
            "100 - x * (60*60) / pi()",
            "time() - x",
            "clamp(abs(x{a=\"b\"}), -1, 1e3)",
            "round(x)",
            "hour(x)",
            "quantile_over_time(0.9, x[5m])",
            "predict_linear(x[5m] offset 5m, 600)",
            "max_over_time(x[1h])",
            "max_over_time(rate(x[5m])[1h:])",
            "last_over_time({__name__=~\"a|b\"}[1h])",
        ],
        &expect![[r#"
            rate(x[5m])
                rate(x[5m]) => unite
            (x > 5)
                (x > 5) => unite
            x != bool 2
                x != bool 2 => unite
            -x
                -x => unite
            100 - x * (60*60) / pi()
                100 - x * (60 * 60) / pi() => unite
            time() - x
                time() - x => unite
            clamp(abs(x{a="b"}), -1, 1e3)
                clamp(abs(x{a="b"}), -1, 1000) => unite
            round(x)
                round(x) => unite
            hour(x)
                hour(x) => unite
            quantile_over_time(0.9, x[5m])
                quantile_over_time(0.9, x[5m]) => unite
            predict_linear(x[5m] offset 5m, 600)
                predict_linear(x[5m] offset 5m, 600) => unite
            max_over_time(x[1h])
                max_over_time(x[1h]) => unite, agreement proves
            max_over_time(rate(x[5m])[1h:])
                max_over_time(rate(x[5m])[1h:1m]) => unite
            last_over_time({__name__=~"a|b"}[1h])
                last_over_time({__name__=~"a|b"}[1h]) => unite
        "#]],
    );
}

#[test]
fn aggregations_are_made_of_the_parts_own() {
    check(
        &[
            "sum(x)",
            "sum by (job) (rate(x[5m]))",
            "min without (a, b) (x)",
            "max(max_over_time(x[1h]))",
            "min(max_over_time(x[1h]))",
            "group(present_over_time(x[1h]))",
            "count by (a) (x > 0)",
            "avg by (a) (x)",
            "count_values by (a) (\"v\", x)",
            "count_values((\"v\"), x offset 5m)",
            "topk by (a) (3.7, x)",
            "bottomk(1, x)",
            "topk(2, sum by (a) (x))",
            "sum by (__name__) (x)",
        ],
        &expect![[r#"
            sum(x)
                sum(x) => sum
            sum by (job) (rate(x[5m]))
                sum by (job) (rate(x[5m])) => sum
            min without (a, b) (x)
                min without (a, b) (x) => min
            max(max_over_time(x[1h]))
                max(max_over_time(x[1h])) => max, agreement proves
            min(max_over_time(x[1h]))
                min(max_over_time(x[1h])) => min
            group(present_over_time(x[1h]))
                group(present_over_time(x[1h])) => group, agreement proves
            count by (a) (x > 0)
                count by (a) (x > 0) => count
            avg by (a) (x)
                sum by (a) (x) ; count by (a) (x) => sum/count
            count_values by (a) ("v", x)
                count_values by (a) ("v", x) => count
            count_values(("v"), x offset 5m)
                count_values("v", x offset 5m) => count
            topk by (a) (3.7, x)
                topk by (a) (4, x) => topk 3 keep a
            bottomk(1, x)
                bottomk(2, x) => bottomk 1 keep 
            topk(2, sum by (a) (x))
                sum by (a) (x) => sum, topk 2 keep 
            sum by (__name__) (x)
                sum by (__name__) (x) => sum
        "#]],
    );
}

#[test]
fn the_text_means_the_same_everywhere() {
    check(
        &[
            "sum(x @ start())",
            "sum(rate(x[5m] @ end() offset 1m))",
            "sum(x offset -90s)",
            "sum(rate(x[1m + 30s]))",
            "sum(rate(x[step()] offset (range() / 2)))",
            "sum(max_over_time(x[10m:] @ end() offset 1m))",
            "sum(max_over_time(x[10m:1m * 2]))",
            "x > 5m",
            "sum({\"odd.name\", \"odd label\"=\"a\\nb\"})",
            "sum(x{a=~\"b|c\", d!=\"\"})",
        ],
        &expect![[r#"
            sum(x @ start())
                sum(x @ 1000.000) => sum
            sum(rate(x[5m] @ end() offset 1m))
                sum(rate(x[5m] @ 1310.000 offset 1m)) => sum
            sum(x offset -90s)
                sum(x offset -1m30s) => sum
            sum(rate(x[1m + 30s]))
                sum(rate(x[1m30s])) => sum
            sum(rate(x[step()] offset (range() / 2)))
                sum(rate(x[1m] offset 2m35s)) => sum
            sum(max_over_time(x[10m:] @ end() offset 1m))
                sum(max_over_time(x[10m:1m] @ 1310.000 offset 1m)) => sum
            sum(max_over_time(x[10m:1m * 2]))
                sum(max_over_time(x[10m:2m])) => sum
            x > 5m
                x > 300 => unite
            sum({"odd.name", "odd label"="a\nb"})
                sum({"odd label"="a\nb",__name__="odd.name"}) => sum
            sum(x{a=~"b|c", d!=""})
                sum(x{a=~"b|c",d!=""}) => sum
        "#]],
    );
}

#[test]
fn the_rest_is_evaluated_here() {
    check(
        &[
            "x",
            "(+x)",
            "1",
            "vector(1)",
            "max(x) < 5",
            "max(x) * -1",
            "abs(sum(x))",
            "sum(sum by (a) (x))",
            "max_over_time(sum(x)[5m:1m])",
            "x + y",
            "sum(x and y)",
            "x - sum(x)",
            "scalar(x)",
            "x * scalar(y)",
            "topk(scalar(y), x)",
            "topk(0, x)",
            "topk(NaN, x)",
            "topk(1e9, x)",
            "quantile(0.5, x)",
            "stddev(x)",
            "stdvar(x)",
            "absent(x)",
            "absent_over_time(x[5m])",
            "label_replace(x, \"a\", \"b\", \"c\", \"d\")",
            "label_join(x, \"a\", \"b\", \"c\")",
            "sort(x)",
            "timestamp(x)",
            "histogram_quantile(0.9, x)",
            "histogram_count(x)",
            "hour()",
            "clamp_min(x, scalar(y))",
            "sum by (__name__) (rate(x[5m]))",
            "count_values(\"a\", x) + 1",
            "count_values by (a) (\"a\", x)",
            "x </ 5",
        ],
        &expect![[r#"
            x
                no: a plain selector is fetched as it is
            (+x)
                no: a plain selector is fetched as it is
            1
                no: nothing is selected
            vector(1)
                no: vector() is evaluated here
            max(x) < 5
                no: what stands above an aggregation works on all parts' answer
            max(x) * -1
                no: what stands above an aggregation works on all parts' answer
            abs(sum(x))
                no: what stands above an aggregation works on all parts' answer
            sum(sum by (a) (x))
                no: what stands above an aggregation works on all parts' answer
            max_over_time(sum(x)[5m:1m])
                no: what stands above an aggregation works on all parts' answer
            x + y
                no: two vectors: what matches may lie in different parts
            sum(x and y)
                no: and is evaluated here
            x - sum(x)
                no: two vectors: what matches may lie in different parts
            scalar(x)
                no: scalar() is evaluated here
            x * scalar(y)
                no: a scalar beside the series is no literal
            topk(scalar(y), x)
                no: the parameter of topk is no literal
            topk(0, x)
                no: the parameter of topk is not in 1 to 10000
            topk(NaN, x)
                no: the parameter of topk is not in 1 to 10000
            topk(1e9, x)
                no: the parameter of topk is not in 1 to 10000
            quantile(0.5, x)
                no: quantile needs every value of a group at once
            stddev(x)
                no: stddev needs every value of a group at once
            stdvar(x)
                no: stdvar needs every value of a group at once
            absent(x)
                no: absent() is evaluated here
            absent_over_time(x[5m])
                no: absent_over_time() is evaluated here
            label_replace(x, "a", "b", "c", "d")
                no: label_replace() is evaluated here
            label_join(x, "a", "b", "c")
                no: label_join() is evaluated here
            sort(x)
                no: sort() is evaluated here
            timestamp(x)
                no: timestamp() is evaluated here
            histogram_quantile(0.9, x)
                no: histogram_quantile() is evaluated here
            histogram_count(x)
                no: histogram_count() is evaluated here
            hour()
                no: nothing is selected
            clamp_min(x, scalar(y))
                no: a scalar beside the series is no literal
            sum by (__name__) (rate(x[5m]))
                no: it groups by a name that its series have lost
            count_values("a", x) + 1
                no: what stands above an aggregation works on all parts' answer
            count_values by (a) ("a", x)
                no: the label of count_values is one that is also grouped by, or none
            x </ 5
                no: </ is evaluated here
        "#]],
    );
}

#[test]
fn what_is_gated_is_evaluated_here() {
    let experimental = Features { experimental_functions: true, extended_range_selectors: true, ..Features::default() };
    let queries = [
        "limitk(1, x)",
        "limit_ratio(0.5, x)",
        "mad_over_time(x[5m])",
        "ts_of_max_over_time(x[5m])",
        "info(x)",
        "sum(rate(x[5m] anchored))",
        "sum(x smoothed)",
        "x * step()",
        "sum(rate(x[5m]))",
    ];
    expect![[r#"
        limitk(1, x)
            no: limitk needs every value of a group at once
        limit_ratio(0.5, x)
            no: limit_ratio needs every value of a group at once
        mad_over_time(x[5m])
            no: mad_over_time() is evaluated here
        ts_of_max_over_time(x[5m])
            no: ts_of_max_over_time() is evaluated here
        info(x)
            no: info() is evaluated here
        sum(rate(x[5m] anchored))
            no: anchored and smoothed ranges are evaluated here
        sum(x smoothed)
            no: anchored and smoothed ranges are evaluated here
        x * step()
            no: a scalar beside the series is no literal
        sum(rate(x[5m]))
            sum(rate(x[5m])) => sum
    "#]]
    .assert_eq(&table(experimental, &queries));
    for features in [
        Features { delayed_name_removal: true, ..Features::default() },
        Features { type_and_unit_labels: true, ..Features::default() },
        Features { use_start_timestamps: true, ..Features::default() },
    ] {
        assert!(table(features, &["sum(x)"]).contains("no: the feature "), "{features:?}");
    }
}
