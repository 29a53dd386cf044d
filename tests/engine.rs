//! The engine over a store in memory: the plan runs, from text to tables.

use std::sync::Arc;

use quiver::encode::format_histogram;
use quiver::model::{DurationMs, QueryValue, Sample, SamplesTable, StepGrid, StepsTable, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::runtime::Runtimes;
use quiver::scan::SelectorForm;
use quiver::testing::{MemoryStore, SeriesNotation, format_tables};

fn engine(interval_ms: i64, lines: &[&str]) -> QueryEngine {
    let store = MemoryStore::new();
    store.load(lines, TimestampMs(0), DurationMs(interval_ms)).expect("the notation is well-formed");
    QueryEngine::new(Arc::new(store), EngineOptions::default())
}

/// Rows as `labels: cell cell _`, in the order of the answer.
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
    rows
}

async fn range(engine: &QueryEngine, query: &str, end_ms: i64, step_ms: i64) -> Vec<String> {
    let grid = StepGrid::try_new(TimestampMs(0), TimestampMs(end_ms), DurationMs(step_ms)).expect("a grid");
    let result = engine.range(query, grid, &QueryOptions::default()).await;
    rows(&result.unwrap_or_else(|error| panic!("{query}: {error}")).value)
}

#[tokio::test]
async fn every_kind_of_plan_runs() {
    let engine = engine(
        60_000,
        &[
            r#"requests_total{job="a",instance="1"} 0+60x10"#,
            r#"requests_total{job="a",instance="2"} 0+120x10"#,
            r#"requests_total{job="b",instance="1"} 0+30x10"#,
            r#"limit{job="a"} 5x10"#,
        ],
    );
    for (query, expected) in [
        ("sum by (job) (rate(requests_total[2m]))", &[r#"{job="a"}: _ 3 3"#, r#"{job="b"}: _ 0.5 0.5"#][..]),
        ("max(requests_total) - 100", &["{}: -100 500 1100"]),
        ("scalar(limit) * 2", &["{}: 10 10 10"]),
        ("sum by (job) (requests_total) > on (job) limit", &[r#"{job="a"}: _ 900 1800"#]),
        (
            "count_over_time(requests_total{job=\"b\"}[3m:1m]) or absent(nothing{x=\"1\"})",
            &[r#"{instance="1", job="b"}: 1 3 3"#, r#"{x="1"}: 1 1 1"#],
        ),
        ("limit @ 60 + time()", &[r#"{job="a"}: 5 305 605"#]),
    ] {
        assert_eq!(range(&engine, query, 600_000, 300_000).await, expected, "{query}");
    }
}

/// Texts as a Prometheus 3.14.0 gave them, but that it counts repairs twice over on grids, and that later versions sort the
/// two series of a match group.
#[tokio::test]
async fn notes_and_errors_are_worded_as_prometheus_words_them() {
    let engine = engine(
        60_000,
        &[
            r#"h_bucket{n="1", le="1"} 30 30"#,
            r#"h_bucket{n="1", le="2"} 20 10"#,
            r#"h_bucket{n="1", le="+Inf"} 40 40"#,
            r#"other_bucket{n="2", le="1"} _ 300"#,
            r#"other_bucket{n="2", le="+Inf"} _ 7"#,
            r#"bad_bucket{le="x"} 1 1"#,
            r#"up{job="a", instance="2"} _ 1"#,
            r#"up{job="a", instance="1"} _ 1"#,
            r#"up{job="b", instance="1"} 1 1"#,
            r#"up{job="b", instance="2"} 1 1"#,
        ],
    );
    let repaired = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 2 to \
                    +Inf, with a max diff of 2.9e+02, over 3 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:25)";
    let many_to_many = "found duplicate series for the match group {job=\"b\"} on the right hand-side of the operation: \
                        [{__name__=\"up\", instance=\"2\", job=\"b\"}, {__name__=\"up\", instance=\"1\", job=\"b\"}];\
                        many-to-many matching not allowed: matching labels must be unique on one side";
    for (query, expected) in [
        ("histogram_quantile(0.5, {__name__=~\"h_.*|other_.*\"})", repaired),
        (
            "histogram_quantile(0.5, bad_bucket)",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" (1:25)",
        ),
        (
            "rate(up[2m]) or rate(up[1h])",
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"up\" (1:22)",
        ),
        ("quantile(1234567, up)", "PromQL warning: quantile value should be between 0 and 1, got 1.234567e+06 (1:10)"),
        ("quantile(123456, up)", "PromQL warning: quantile value should be between 0 and 1, got 123456 (1:10)"),
        ("up + on (job) up", many_to_many),
        ("label_replace(up, \"\", \"\", \"\", \"\")", "invalid destination label name in label_replace(): "),
        ("label_join(up, \"a\\xffb\", \"\")", "invalid destination label name in label_join(): a\u{fffd}b"),
        ("count_values(\"\", up)", "invalid label name \"\""),
    ] {
        let grid = StepGrid::with_count(TimestampMs(0), DurationMs(60_000), 2);
        let said = match engine.range(query, grid, &QueryOptions::default()).await {
            Ok(result) => result.annotations.iter().map(|note| note.render(query)).collect(),
            Err(error) => vec![error.message().to_owned()],
        };
        assert_eq!(said, [expected], "{query}");
    }
}

#[tokio::test]
async fn a_series_of_numbers_and_histograms_is_whole_however_its_parts_hold_it() {
    let whole = r#"x{a="1"} {{count:1 sum:2 buckets:[1]}} {{count:3 sum:5 buckets:[3]}} 7 8 {{count:2 sum:1 buckets:[2]}}x1 stale _ {{count:9}}"#;
    let parts = [
        r#"x{a="1"} {{count:1 sum:2 buckets:[1]}} _ 7 8 _ {{count:2 sum:1 buckets:[2]}} stale"#,
        r#"x{a="1"} _ {{count:3 sum:5 buckets:[3]}} 7 _ {{count:2 sum:1 buckets:[2]}} _ stale _ {{count:9}}"#,
    ];
    let other = "x{a=\"0\"} 1+1x9";
    let grid = StepGrid::with_count(TimestampMs(0), DurationMs(30_000), 20);
    for form in [SelectorForm::Samples, SelectorForm::Steps] {
        let one = MemoryStore::new().answering(form);
        one.load(&[other, whole], TimestampMs(0), DurationMs(60_000)).expect("well-formed");
        let two = MemoryStore::with_parts(["eu", "us"]).answering(form);
        two.load_part(0, &[parts[0]], TimestampMs(0), DurationMs(60_000)).expect("well-formed");
        two.load_part(1, &[other, parts[1]], TimestampMs(0), DurationMs(60_000)).expect("well-formed");
        let [one, two] = [one, two].map(|store| QueryEngine::new(Arc::new(store), EngineOptions::default()));
        for query in ["x", "count_over_time(x[3m])", "resets(x[5m])", "changes(x[5m])", "last_over_time(x[2m])"] {
            let lines = async |engine: &QueryEngine| {
                let result = engine.range(query, grid, &QueryOptions::default()).await;
                let value = result.unwrap_or_else(|error| panic!("{query}: {error}")).value;
                let QueryValue::Matrix { batches, .. } = value else { panic!("no matrix") };
                // Where two parts take turns, less is known of resets; that is no part of the value.
                let lines = format_tables(&batches).expect("a steps table");
                lines.into_iter().map(|line| line.replace("counter_reset_hint:not_reset ", "")).collect::<Vec<_>>()
            };
            let (expected, got) = (lines(&one).await, lines(&two).await);
            assert!(expected.len() == 2 && expected[1].len() > 30, "{query}: {expected:?}");
            assert_eq!(got, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn raw_samples_of_several_parts_keep_their_start_times() {
    let store = MemoryStore::with_parts(["eu", "us"]);
    let minutes = |minutes: i64| Some(DurationMs(minutes * 60_000));
    for (part, line, starts) in [
        (0, "x 1 _ 3 stale", [None, None, minutes(-1), None]),
        (1, "x _ 2 _ _ {{count:5}}", [None, minutes(-2), None, None]),
    ] {
        let series = SeriesNotation::parse(line).expect("well-formed");
        let starts: Vec<_> = starts.into_iter().chain([minutes(-3)]).collect();
        let samples = series.started_samples(TimestampMs(0), DurationMs(60_000), &starts);
        store.append_to_part(part, &series.labels, samples).expect("in order");
    }
    let engine = QueryEngine::new(Arc::new(store), EngineOptions::default());
    let answer = engine.instant("x[5m]", TimestampMs(240_000), &QueryOptions::default()).await.expect("answers");
    let QueryValue::Samples { batches } = answer.value else { panic!("no samples") };
    let table = SamplesTable::try_new(&batches[0]).expect("a samples table");
    assert_eq!(table.series(0), (&[0, 60_000, 120_000][..], &[1.0, 2.0, 3.0][..]));
    assert_eq!(table.start_times(0), Some(&[0, -60_000, 60_000][..]));
    let histograms = table.histograms().row(0).expect("readable");
    assert_eq!((histograms[0].at, histograms[0].start_time), (240_000, Some(60_000)));
}

#[test]
fn a_thousand_levels_are_evaluated_or_refused_but_never_overflow_the_stack() {
    let engine = engine(60_000, &["x 1+1x10"]);
    let runtimes = Runtimes::try_new().expect("threads can be started");
    let nested = |levels: usize, open: &str, close: &str| format!("{}x{}", open.repeat(levels), close.repeat(levels));
    let chain = |terms: usize| vec!["x"; terms].join(" + ");
    for levels in [990, 1_100, 30_000] {
        let queries = [
            nested(levels, "(", ")"),
            nested(levels, "-", ""),
            nested(levels, "abs(", ")"),
            nested(levels, "sum(", ")"),
            nested(levels / 2, "max_over_time(", "[1m:1m])"),
            nested(levels / 2, "1 + (", ")"),
            nested(levels / 2, "x and (", ")"),
            chain(levels),
        ];
        for query in queries {
            let engine = engine.clone();
            let shown = query.chars().take(20).collect::<String>();
            let work = async move { engine.instant(&query, TimestampMs(300_000), &QueryOptions::default()).await };
            let answer = runtimes.block_on(runtimes.cpu().spawn(work)).expect("no panic");
            match answer {
                Ok(_) => assert!(levels <= 1_000, "{shown}… is deeper than the limit"),
                Err(error) => assert!(levels >= 990, "{shown}…: {error}"),
            }
        }
    }
}

/// Partial aggregates of native histograms are never written out, because no plan has two halves of an aggregation.
#[tokio::test]
async fn aggregations_are_planned_in_one_go() {
    let store = MemoryStore::with_parts(["a", "b"]);
    let engine = QueryEngine::new(Arc::new(store), EngineOptions::default());
    let grid = StepGrid::try_new(TimestampMs(0), TimestampMs(60_000), DurationMs(10_000)).expect("a grid");
    for op in ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"] {
        let plan =
            engine.explain(&format!("{op} by (job) (x)"), grid, &QueryOptions::default()).await.expect("plans").text;
        let aggregates: Vec<&str> = plan.lines().filter(|line| line.contains("AggregateExec")).collect();
        assert!(matches!(aggregates[..], [only] if only.contains("mode=Single")), "{op}: {plan}");
    }
}

/// Every sample of the first step, as `labels: number` or `labels: {histogram}`, with the annotations behind.
async fn samples(engine: &QueryEngine, query: &str) -> Vec<String> {
    let result = engine.instant(query, TimestampMs(0), &QueryOptions::default()).await;
    let result = result.unwrap_or_else(|error| panic!("{query}: {error}"));
    let QueryValue::Vector { batches, .. } = &result.value else { panic!("{query}: no vector") };
    let mut lines = Vec::new();
    for batch in batches {
        let table = StepsTable::try_new(batch).expect("a steps table");
        for row in 0..table.row_count() {
            let text = match &table.samples(row).expect("readable")[0] {
                Some(Sample::Float(value)) => value.to_string(),
                Some(Sample::Histogram(histogram)) => format_histogram(histogram),
                None => "_".to_owned(),
            };
            lines.push(format!("{}: {text}", table.labels(row)));
        }
    }
    lines.extend(result.annotations.iter().map(|note| note.render(query)));
    lines
}

#[tokio::test]
async fn vector_operators_know_what_to_do_with_native_histograms() {
    let engine = engine(
        60_000,
        &[
            r#"x{i="1"} {{schema:0 sum:3 count:2 buckets:[2]}}"#,
            r#"x{i="2"} {{schema:0 sum:5 count:4 buckets:[1 3]}}"#,
            r#"x{i="3"} 7"#,
            r#"typed{__type__="histogram"} {{schema:0 sum:3 count:2 buckets:[2]}}"#,
            r#"h{i="1"} {{schema:0 sum:3 count:2 buckets:[2]}}"#,
            r#"h{i="2"} {{schema:0 sum:5 count:4 buckets:[1 3]}}"#,
            r#"c{i="1"} {{schema:0 sum:3 count:2 buckets:[2]}}"#,
            r#"c{i="2"} {{schema:-53 sum:3 count:2 custom_values:[5] buckets:[2]}}"#,
        ],
    );
    let first = r#"{i="1"}: {count:2, sum:3, (0.5,1]:2}"#;
    let second = r#"{i="2"}: {count:4, sum:5, (0.5,1]:1, (1,2]:3}"#;
    let ignored = |what: &str, at: usize| format!("PromQL info: ignored histogram in {what} aggregation (1:{at})");
    let named = |line: &str| line.replacen("{", "{__name__=\"x\", ", 1);
    let (x1, x2, x3) = (named(first), named(second), r#"{__name__="x", i="3"}: 7"#.to_owned());
    for (query, expected) in [
        ("sum(h)", vec!["{}: {count:6, sum:8, (0.5,1]:3, (1,2]:3}".to_owned()]),
        ("avg(h)", vec!["{}: {count:3, sum:4, (0.5,1]:1.5, (1,2]:1.5}".to_owned()]),
        ("sum(x)", vec!["PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)".to_owned()]),
        ("avg(x)", vec!["PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)".to_owned()]),
        (
            "sum(c)",
            vec![
                "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name \"c\" (1:5)"
                    .to_owned(),
            ],
        ),
        ("count(x)", vec!["{}: 3".to_owned()]),
        ("group(h)", vec!["{}: 1".to_owned()]),
        ("min(x)", vec!["{}: 7".to_owned(), ignored("min", 5)]),
        ("max(h)", vec![ignored("max", 5)]),
        ("stddev(x)", vec!["{}: 0".to_owned(), ignored("stddev", 8)]),
        ("stdvar(x)", vec!["{}: 0".to_owned(), ignored("stdvar", 8)]),
        ("quantile(0.5, x)", vec!["{}: 7".to_owned(), ignored("quantile", 15)]),
        ("topk(5, x)", vec![x3.clone(), ignored("topk", 1)]),
        ("bottomk(5, x)", vec![x3.clone(), ignored("bottomk", 1)]),
        (
            "count_values(\"v\", h)",
            vec![
                r#"{v="{count:2, sum:3, (0.5,1]:2}"}: 1"#.to_owned(),
                r#"{v="{count:4, sum:5, (0.5,1]:1, (1,2]:3}"}: 1"#.to_owned(),
            ],
        ),
        ("sort(x)", vec![x3.clone()]),
        ("sort_desc(x)", vec![x3.clone()]),
        ("x and h", vec![x1.clone(), x2.clone()]),
        ("x unless h", vec![x3.clone()]),
        ("x{i!=\"2\"} or x", vec![x1.clone(), x3, x2.clone()]),
        ("absent(h)", vec![]),
        ("label_replace(h{i=\"1\"}, \"i\", \"\", \"\", \"\")", vec![named(first).replace("\"x\", i=\"1\"", "\"h\"")]),
        ("histogram_sum(typed)", vec![r#"{__type__="histogram"}: 3"#.to_owned()]),
        ("-typed", vec!["{}: {count:-2, sum:-3, (0.5,1]:-2}".to_owned()]),
        ("vector(scalar(x))", vec!["{}: 7".to_owned()]),
        ("vector(scalar(h))", vec!["{}: NaN".to_owned()]),
        ("timestamp(h)", vec![r#"{i="1"}: 0"#.to_owned(), r#"{i="2"}: 0"#.to_owned()]),
    ] {
        assert_eq!(samples(&engine, query).await, expected, "{query}");
    }
}
