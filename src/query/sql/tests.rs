//! Statements, and what they give.

use std::time::Duration;

use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;

use super::*;
use crate::model::DurationMs;
use crate::query::EngineOptions;
use crate::testing::MemoryStore;

const NOW: TimestampMs = TimestampMs(60_000);

fn engine(options: EngineOptions) -> QueryEngine {
    let store = MemoryStore::new();
    let lines = [
        r#"hits{job="api",zone="é"} 0+10x6"#,
        r#"hits{job="web"} 5x2 _x1 7x3"#,
        r#"native {{schema:0 sum:4 count:3 buckets:[1 2]}}x6"#,
    ];
    store.load(&lines, TimestampMs(0), DurationMs(10_000)).expect("series");
    QueryEngine::new(Arc::new(store), options)
}

async fn ask(statement: &str) -> Result<Vec<String>, Error> {
    ask_of(engine(EngineOptions::default()), statement).await
}

async fn ask_of(engine: QueryEngine, statement: &str) -> Result<Vec<String>, Error> {
    let planned = engine.sql(statement, NOW, &QueryOptions::default()).await?;
    let schema = planned.schema();
    let (tables, context) = planned.run()?;
    let tables: Vec<_> = tables.try_collect().await?;
    let mut rows = Vec::new();
    for (table, _held) in &tables {
        assert_eq!(table.schema(), schema);
        for row in 0..table.num_rows() {
            let cells = table.columns().iter().map(|column| array_value_to_string(column, row).expect("a cell"));
            rows.push(cells.collect::<Vec<_>>().join(" | "));
        }
    }
    drop(tables);
    assert_eq!(context.budget().bytes(), 0, "everything was given back");
    Ok(rows)
}

#[tokio::test]
async fn promql_is_a_table_of_samples() {
    for (statement, rows) in [
        ("SELECT value FROM promql('1 + 1')", &["2.0"][..]),
        (
            "SELECT label(labels, 'job') AS job, value FROM promql('hits', 20) ORDER BY job",
            &["api | 20.0", "web | 5.0"],
        ),
        (
            "SELECT timestamp, value FROM promql('hits{job=\"web\"}', 0, '1970-01-01T00:00:20Z', '10s') ORDER BY 1 DESC",
            &["1970-01-01T00:00:20Z | 5.0", "1970-01-01T00:00:10Z | 5.0", "1970-01-01T00:00:00Z | 5.0"],
        ),
        ("SELECT count(*) FROM promql('hits', now() - INTERVAL '60 seconds', now(), INTERVAL '10 seconds')", &["14"]),
        // A lookback of 5 s does not reach over the gap at 30 s.
        ("SELECT count(*) FROM promql('hits', 0, 60, 10, 5)", &["13"]),
        ("SELECT count(*) FROM promql('hits[20s]', 60)", &["4"]),
        (
            "WITH a AS (SELECT label(labels, 'job') AS job, value FROM promql('hits', 10)) \
             SELECT sum(value), max(job) FROM a WHERE job <> 'web'",
            &["10.0 | api"],
        ),
        (
            "SELECT label(labels, 'zone') IS NULL AS none, count(*) FROM promql('hits', 10) GROUP BY none ORDER BY none",
            &["false | 1", "true | 1"],
        ),
        ("SELECT * FROM promql('hits{job=\"web\"}', 10)", &["1970-01-01T00:00:10Z | 5.0 | {__name__: hits, job: web}"]),
        ("SELECT value FROM promql('nosuch', 10)", &[]),
    ] {
        assert_eq!(ask(statement).await.expect(statement), rows, "{statement}");
    }
}

#[tokio::test]
async fn a_metric_is_a_table_of_raw_samples_from_a_time_on() {
    for (statement, rows) in [
        ("SELECT count(*) FROM hits WHERE timestamp >= to_timestamp(0)", &["13"][..]),
        ("SELECT count(*) FROM hits WHERE timestamp > to_timestamp(0)", &["11"]),
        ("SELECT count(*) FROM \"hits\" WHERE timestamp BETWEEN to_timestamp(20) AND to_timestamp(40)", &["5"]),
        ("SELECT count(*) FROM quiver.metrics.hits WHERE to_timestamp(40) < timestamp AND value > 6", &["4"]),
        (
            "SELECT count(*) FROM hits WHERE timestamp > now() - INTERVAL '1 hour' AND timestamp < to_timestamp(20)",
            &["4"],
        ),
        ("SELECT count(*) FROM nosuch WHERE timestamp > to_timestamp(0)", &["0"]),
        // What a day or a second begins is not all of it.
        ("SELECT count(*) FROM hits WHERE timestamp >= to_timestamp(0) AND timestamp::date = '1970-01-01'", &["13"]),
        ("SELECT count(*) FROM hits WHERE timestamp >= to_timestamp(0) AND timestamp::date <= '1970-01-01'", &["13"]),
        (
            "SELECT count(*) FROM hits WHERE timestamp >= to_timestamp(0) AND \
             timestamp::timestamp(0) <= '1970-01-01T00:00:20'",
            &["6"],
        ),
        ("SELECT count(*) FROM hits WHERE timestamp::timestamp >= '1970-01-01T00:00:20'", &["9"]),
    ] {
        assert_eq!(ask(statement).await.expect(statement), rows, "{statement}");
    }
    for statement in
        ["SELECT * FROM hits", "SELECT * FROM hits WHERE timestamp < now()", "SELECT * FROM hits WHERE value > 1"]
    {
        let error = ask(statement).await.expect_err(statement);
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert!(error.message().contains("say from when: WHERE timestamp > now() - INTERVAL '1 hour'"), "{error}");
    }
}

#[tokio::test]
async fn nothing_but_reading_is_done_and_nothing_but_metrics_is_reached() {
    for statement in [
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE SCHEMA x",
        "DROP TABLE hits",
        "COPY (SELECT 1) TO '/tmp/quiver-sql-test.csv'",
        "INSERT INTO hits SELECT * FROM hits",
        "DELETE FROM hits",
        "UPDATE hits SET value = 1",
        "SET datafusion.execution.batch_size = 1",
        "BEGIN",
        "PREPARE x AS SELECT 1",
        "SHOW TABLES",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM generate_series(1, 10)",
        "WITH a AS (SELECT 1) INSERT INTO hits SELECT * FROM a",
        "SELECT 1 INTO x",
        "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a) SELECT * FROM a",
        "SELECT 1; SELECT 2",
        "EXPLAIN COPY (SELECT 1) TO '/tmp/quiver-sql-test.csv'",
    ] {
        let error = ask(statement).await.expect_err(statement);
        assert_eq!(error.kind(), ErrorKind::BadData, "{statement}: {error}");
    }
    for statement in ["SET x = 1", "COPY (SELECT 1) TO '/tmp/x'", "EXPLAIN DROP TABLE x", "INSERT INTO x VALUES (1)"] {
        let error = ask(statement).await.expect_err(statement);
        assert!(error.message().contains("SQL here reads only, ask with SELECT"), "{error}");
    }
    assert!(!std::path::Path::new("/tmp/quiver-sql-test.csv").exists());
}

#[tokio::test]
async fn mistakes_are_the_callers() {
    for (statement, why) in [
        ("SELECT nosuch FROM promql('up')", "nosuch"),
        ("SELECT * FROM promql()", "promql takes 1, 2, 4 or 5 arguments, not 0"),
        ("SELECT * FROM promql(1)", "the query of promql must be text in single quotes"),
        ("SELECT * FROM promql('sum(')", "promql(\"sum(\"): 1:5: parse error: "),
        ("SELECT * FROM promql('up', 'later')", "promql: time is later, it must be seconds since 1970"),
        ("SELECT * FROM promql('up', 10, 0, 1)", "promql: end lies before start"),
        ("SELECT * FROM promql('up', 0, 10, 0)", "promql: step is 0, it must be a millisecond or more"),
        ("SELECT * FROM promql('up', 0, 11001, 1)", "promql: more than 11001 steps from start to end"),
        ("SELECT * FROM promql('up[5m]', 0, 10, 1)", "a range vector has no samples here, ask for an instant vector"),
        ("SELECT * FROM promql('\"a\"')", "a string has no samples here"),
        ("SELECT label(value, 'a') FROM promql('up')", "label takes the column labels and a name"),
    ] {
        let error = ask(statement).await.expect_err(statement);
        assert_eq!(error.kind(), ErrorKind::BadData, "{statement}: {error}");
        assert!(error.message().contains(why), "{statement}: {error}");
    }
    let error = ask("SELECT value FROM promql('native', 20)").await.expect_err("histograms are no numbers");
    assert_eq!(error.kind(), ErrorKind::Execution);
    assert!(error.message().contains("native histograms"), "{error}");
}

#[tokio::test]
async fn much_is_not_made_of_little() {
    let mut doubled = "WITH t0 AS (SELECT value FROM promql('hits'))".to_owned();
    for level in 1..=20 {
        doubled += &format!(", t{level} AS (SELECT a.value FROM t{0} a CROSS JOIN t{0} b)", level - 1);
    }
    let named = |count: usize| {
        let columns: Vec<_> = (0..count).map(|index| format!("value + {index} AS c{index}")).collect();
        format!("SELECT {} FROM promql('hits')", columns.join(", "))
    };
    let twice_twelve = doubled.split(", t12 ").next().expect("a part").to_owned() + " SELECT * FROM t11";
    let long = |bytes: usize| format!("SELECT '{}' FROM promql('hits')", "x".repeat(bytes));
    for (statement, why) in [
        ("SELECT repeat('x', 1000000000)".to_owned(), "repeat"),
        ("SELECT encode('x', 'hex')".to_owned(), "encode"),
        ("SELECT overlay('x' PLACING 'y' FROM 1)".to_owned(), ""),
        ("SELECT 'a' || label(labels, 'job') FROM promql('hits')".to_owned(), "join labels with label_join in PromQL"),
        ("SELECT string_agg(label(labels, 'job'), ',') FROM promql('hits')".to_owned(), "string_agg"),
        ("SELECT array_agg(value) FROM promql('hits')".to_owned(), "array_agg"),
        (doubled + " SELECT * FROM t20", "the statement names more than 24 tables"),
        (twice_twelve, "its plan has more than 1000 steps"),
        (named(257), "a table in it has 257 columns, at most 256 are made"),
        (long(1_025), "a text in it has 1025 bytes, at most 1024 are read"),
    ] {
        let error = ask(&statement).await.expect_err(&statement);
        assert_eq!(error.kind(), ErrorKind::BadData, "{statement}: {error}");
        assert!(error.message().contains(why), "{statement}: {error}");
    }
    for statement in [named(256), long(1_024)] {
        assert_eq!(ask(&statement).await.expect(&statement).len(), 2);
    }
}

#[tokio::test]
async fn a_statement_has_the_memory_of_one_query() {
    let options = || EngineOptions { query_bytes_max: 200_000, ..EngineOptions::default() };
    let sorted = |right: &str| {
        format!("SELECT a.value, b.labels FROM promql('hits', 0, 60, '100ms') a CROSS JOIN {right} b ORDER BY 2, 1")
    };
    let error = ask_of(engine(options()), &sorted("promql('hits', 0, 60, 1)")).await.expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::TooManySamples, "{error}");
    assert_eq!(
        ask_of(engine(options()), "SELECT count(*) FROM promql('hits', 0, 60, 1)").await.expect("fits"),
        ["122"]
    );
}

#[tokio::test]
async fn a_statement_has_the_time_of_one_query() {
    let options = EngineOptions { timeout: Duration::from_millis(200), ..EngineOptions::default() };
    let tables: Vec<_> = (0..5).map(|index| format!("promql('hits', 0, 60, '1s') t{index}")).collect();
    let statement = format!("SELECT count(*) FROM {} WHERE t0.value + t4.value < 0", tables.join(" CROSS JOIN "));
    let began = std::time::Instant::now();
    let error = ask_of(engine(options), &statement).await.expect_err("27 thousand million rows");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
