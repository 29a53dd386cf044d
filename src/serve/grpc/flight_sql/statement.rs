//! What may stand in a statement: PromQL, `TQL`, or SQL.
//!
//! | statement | means |
//! |---|---|
//! | `sum(rate(x[5m]))` | an instant query, now |
//! | `TQL EVAL (0, 3600, '15s') x` | a range query; the words are GreptimeDB's |
//! | `TQL EVAL (now() - '1h', now(), '15s', '1m') x` | the same, relative to now, with its own lookback |
//! | `TQL EXPLAIN [(…)] x`, `TQL ANALYZE [(…)] x` | the plan as text; with what it has cost |
//! | `SELECT …` and other verbs of SQL | SQL |
//!
//! QueryTimes are seconds since 1970 or, in quotes, RFC 3339; lengths of time are seconds or, with or without quotes, `5m`. Blocks
//! `/* … */` may stand anywhere but in strings, for they are no PromQL. Lines `-- …` may stand before `TQL` and SQL and behind the
//! `;` that ends a statement, but nowhere in PromQL: there `--1` is a number.

use super::scan::{Cursor, blank_comments, end_of_query, skip_leading};
use crate::error::Error;
use crate::model::{DurationMs, StepGrid, TimestampMs};
use crate::query::QueryTimes;
use crate::serve::http::{RANGE_INTERVALS_MAX, parse_duration_ns, parse_time};
use crate::syntax::{Expr, Features, QUERY_BYTES_MAX, parse, position};

/// A query has [`QUERY_BYTES_MAX`]; the rest is for the words before it and for comments.
pub(super) const STATEMENT_BYTES_MAX: usize = QUERY_BYTES_MAX + (16 << 10);

/// Words by which SQL begins, besides `select`. Such a metric may stand alone, in braces or before a sign, so these are SQL only
/// where a word, a quote or a parenthesis follows.
const SQL_VERBS: [&str; 29] = [
    "alter",
    "analyze",
    "begin",
    "call",
    "copy",
    "create",
    "deallocate",
    "delete",
    "desc",
    "describe",
    "drop",
    "execute",
    "explain",
    "grant",
    "insert",
    "load",
    "merge",
    "prepare",
    "reset",
    "revoke",
    "rollback",
    "set",
    "show",
    "start",
    "truncate",
    "update",
    "use",
    "values",
    "with",
];

/// Words that may follow a metric in PromQL, be it named `tql` or as a verb of SQL.
const PROMQL_OPERATORS: [&str; 5] = ["and", "or", "unless", "atan2", "offset"];

/// A statement, read but for its query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Statement {
    /// PromQL and when it is evaluated.
    Query(QueryStatement),
    /// SQL, which is not read here.
    Sql {
        /// The word it begins with, in lower case.
        verb: &'static str,
    },
}

/// What is to be done with a query.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its samples are wanted.
    Evaluate,
    /// Its plan is wanted.
    Explain,
    /// Its plan is wanted, and what it costs.
    Analyze,
}

/// A PromQL query in a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QueryStatement {
    /// What is to be done with it.
    pub(super) purpose: Purpose,
    /// The query; comments in blocks have become spaces.
    pub(super) query: String,
    /// At which byte of the statement it begins.
    pub(super) query_at: usize,
    /// When it is evaluated.
    pub(super) times: QueryTimes,
    /// Replaces the engine's lookback.
    pub(super) lookback: Option<DurationMs>,
}

impl QueryStatement {
    /// The query as a tree; a mistake is said with its place in the statement, which is `statement`.
    pub(super) fn parse(&self, statement: &str, features: &Features) -> Result<Expr, Error> {
        parse(&self.query, features).map_err(|error| {
            let at = (self.query_at + error.span.start).min(statement.len());
            Error::bad_data(format!("{}: parse error: {}", position(at, statement), error.message))
        })
    }
}

impl Statement {
    /// Reads a statement; `now` is what is meant by now.
    ///
    /// # Errors
    /// `line:column: what is wrong, and what to write`.
    pub(super) fn read(text: &str, now: TimestampMs) -> Result<Self, Error> {
        if text.len() > STATEMENT_BYTES_MAX {
            return Err(Error::bad_data(format!(
                "statement has {} bytes, at most {STATEMENT_BYTES_MAX} are read",
                text.len()
            )));
        }
        let (promql_at, words_at) = skip_leading(text)?;
        let mut cursor = Cursor::new(text, words_at);
        let word = cursor.word().to_ascii_lowercase();
        let has_space = cursor.skip_space();
        if word == "tql" && has_space {
            let verb_at = cursor.at();
            let verb = cursor.word().to_ascii_lowercase();
            let purpose = match verb.as_str() {
                "eval" | "evaluate" => Some(Purpose::Evaluate),
                "explain" => Some(Purpose::Explain),
                "analyze" | "analyse" => Some(Purpose::Analyze),
                _ => None,
            };
            match purpose {
                Some(purpose) => return read_tql(cursor, purpose, now),
                None if verb.is_empty() || PROMQL_OPERATORS.contains(&verb.as_str()) => {}
                None => return Err(Cursor::new(text, verb_at).expected("EVAL, EXPLAIN or ANALYZE behind TQL")),
            }
        }
        if let Some(verb) = sql_verb(&word, cursor) {
            return Ok(Self::Sql { verb });
        }
        let mut cursor = Cursor::new(text, promql_at);
        cursor.skip_space();
        let times = QueryTimes::Instant(now);
        query_statement(cursor, Purpose::Evaluate, times, None)
    }
}

/// The verb of SQL that a word is, by what follows it. What begins with `select` and goes on is never PromQL, where `select - 1`
/// is a difference: an error is better than a number that nobody meant.
fn sql_verb(word: &str, mut behind: Cursor<'_>) -> Option<&'static str> {
    let next = behind.rest().chars().next()?;
    if word == "select" {
        return (!matches!(next, '{' | '[' | ';' | '#')).then_some("select");
    }
    let verb = SQL_VERBS.into_iter().find(|verb| *verb == word)?;
    let next_word = behind.word().to_ascii_lowercase();
    let goes_on = next.is_ascii_alphabetic() || matches!(next, '"' | '\'' | '(');
    (goes_on && !PROMQL_OPERATORS.contains(&next_word.as_str())).then_some(verb)
}

/// What stands behind the verb of a `TQL` statement.
fn read_tql(mut cursor: Cursor<'_>, purpose: Purpose, now: TimestampMs) -> Result<Statement, Error> {
    cursor.skip_space();
    if purpose != Purpose::Evaluate {
        skip_explain_options(&mut cursor)?;
    }
    if cursor.take('(') {
        let (times, lookback) = read_arguments(&mut cursor, now)?;
        cursor.skip_space();
        return query_statement(cursor, purpose, times, lookback);
    }
    match purpose {
        Purpose::Evaluate => Err(cursor.expected("(start, end, step) or (start, end, step, lookback)")),
        Purpose::Explain | Purpose::Analyze => query_statement(cursor, purpose, QueryTimes::Instant(now), None),
    }
}

/// `VERBOSE` says nothing more; of the forms there is one.
fn skip_explain_options(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    if cursor.take_word("verbose") {
        cursor.skip_space();
    }
    // A metric may be named `format`.
    let mut ahead = *cursor;
    if ahead.take_word("format") && ahead.skip_space() {
        let form = ahead.word();
        if form.eq_ignore_ascii_case("text") {
            ahead.skip_space();
            *cursor = ahead;
        } else if form.eq_ignore_ascii_case("json") || form.eq_ignore_ascii_case("graphviz") {
            return Err(cursor.error("plans are told as text only, leave FORMAT out"));
        }
    }
    Ok(())
}

fn query_statement(
    cursor: Cursor<'_>,
    purpose: Purpose,
    times: QueryTimes,
    lookback: Option<DurationMs>,
) -> Result<Statement, Error> {
    let end = end_of_query(cursor)?;
    let query = blank_comments(cursor, end)?;
    let query = query.trim_end();
    if query.trim_start().is_empty() {
        return Err(cursor.expected("a PromQL expression, such as up"));
    }
    Ok(Statement::Query(QueryStatement { purpose, query: query.to_owned(), query_at: cursor.at(), times, lookback }))
}

/// `start, end, step[, lookback])`.
fn read_arguments(cursor: &mut Cursor<'_>, now: TimestampMs) -> Result<(QueryTimes, Option<DurationMs>), Error> {
    let start = read_time(cursor, "start", now)?;
    cursor.comma_before("end")?;
    let end_at = *cursor;
    let end = read_time(cursor, "end", now)?;
    cursor.comma_before("step")?;
    let step_at = *cursor;
    let step = read_length(cursor, "step")?;
    let mut lookback = None;
    cursor.skip_space();
    if cursor.take(',') {
        cursor.skip_space();
        lookback = Some(read_length(cursor, "lookback")?);
        cursor.skip_space();
    }
    if !cursor.take(')') {
        return Err(cursor.expected("\")\" behind start, end, step and lookback"));
    }
    if end < start {
        return Err(end_at.error("end lies before start"));
    }
    if (i128::from(end.0) - i128::from(start.0)) / i128::from(step.0) > RANGE_INTERVALS_MAX {
        return Err(step_at.error(format!(
            "more than {} steps from start to end, take a longer step or ask for a part of the time",
            RANGE_INTERVALS_MAX + 1
        )));
    }
    let grid = StepGrid::try_new(start, end, step).ok_or_else(|| step_at.error("no steps from start to end"))?;
    Ok((QueryTimes::Range { grid, end }, lookback))
}

/// `1700000000`, `'2026-01-02T03:04:05Z'`, `now()`, `now() - '1h'`, `now() - interval '1h'`.
fn read_time(cursor: &mut Cursor<'_>, name: &str, now: TimestampMs) -> Result<TimestampMs, Error> {
    cursor.skip_space();
    let began = *cursor;
    let wanted = || {
        began.expected(&format!(
            "{name} as seconds since 1970, as '2026-01-02T03:04:05Z' in single quotes, or as now() - '1h'"
        ))
    };
    if let Some(text) = cursor.quoted()? {
        return parse_time(text).map_err(|_| wanted());
    }
    if !cursor.take_word("now") {
        return parse_time(cursor.value()).map_err(|_| wanted());
    }
    cursor.skip_space();
    if cursor.take('(') {
        cursor.skip_space();
        if !cursor.take(')') {
            return Err(cursor.expected("\")\" behind now("));
        }
        cursor.skip_space();
    }
    let sign = if cursor.take('-') {
        -1
    } else if cursor.take('+') {
        1
    } else {
        return Ok(now);
    };
    cursor.skip_space();
    if cursor.take_word("interval") {
        cursor.skip_space();
    }
    let DurationMs(length) = read_length(cursor, "the distance from now()")?;
    let moved = now.0.checked_add(sign * length);
    moved.map(TimestampMs).ok_or_else(|| began.error(format!("{name} lies beyond all time")))
}

/// A positive length of time: `15`, `0.5` (seconds), `5m`, `'5m'`.
fn read_length(cursor: &mut Cursor<'_>, name: &str) -> Result<DurationMs, Error> {
    cursor.skip_space();
    let began = *cursor;
    let text = match cursor.quoted()? {
        Some(text) => text,
        None => cursor.value(),
    };
    let length = parse_duration_ns(text)
        .map_err(|_| began.expected(&format!("{name} as seconds, such as 15, or as a duration, such as '5m'")))?;
    match length / 1_000_000 {
        ..1 => Err(began.error(format!("{name} must be a millisecond or more"))),
        ms => Ok(DurationMs(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn query(text: &str) -> QueryStatement {
        match Statement::read(text, NOW) {
            Ok(Statement::Query(query)) => query,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> QueryTimes {
        let end = TimestampMs(end_ms);
        let grid = StepGrid::try_new(TimestampMs(start_ms), end, DurationMs(step_ms)).expect("a grid");
        QueryTimes::Range { grid, end }
    }

    #[test]
    fn promql_alone_is_an_instant_query_now() {
        for (text, wanted) in [
            ("up", "up"),
            ("  up{job=\"a\"} ;", "up{job=\"a\"}"),
            ("up;;\n-- done\n/* really */ # yes", "up"),
            ("/* tool: x; */ up /* y; */ + 1", "up          + 1"),
            ("x{a=\";\",b='/*',c=`\\`}; ", "x{a=\";\",b='/*',c=`\\`}"),
            ("x{a=\"\\\";\"}", "x{a=\"\\\";\"}"),
            ("up # a; b\n + 1;", "up # a; b\n + 1"),
            ("--1", "--1"),
            ("1 --1", "1 --1"),
            ("tql", "tql"),
            ("tql{a=\"b\"}", "tql{a=\"b\"}"),
            ("tql and up", "tql and up"),
            ("tql or up", "tql or up"),
            ("tql - up", "tql - up"),
            ("select", "select"),
            ("select{a=\"b\"}", "select{a=\"b\"}"),
            ("select {a=\"b\"}", "select {a=\"b\"}"),
            ("load / 2", "load / 2"),
            ("load and up", "load and up"),
            ("selected * 2", "selected * 2"),
        ] {
            let read = query(text);
            assert_eq!(
                (read.query.as_str(), read.times, read.lookback),
                (wanted, QueryTimes::Instant(NOW), None),
                "{text}"
            );
            assert_eq!(read.purpose, Purpose::Evaluate, "{text}");
        }
    }

    #[test]
    fn tql_eval_is_a_range_query() {
        let hour = range(0, 3_600_000, 15_000);
        let last_hour = range(NOW.0 - 3_600_000, NOW.0, 15_000);
        for (text, times, lookback) in [
            ("TQL EVAL (0, 3600, 15) up", hour, None),
            ("tql eval(0,3600,'15s')up", hour, None),
            ("Tql Evaluate ( 0.0 , 3.6e3 , 15s , 60 ) up ;", hour, Some(60_000)),
            ("-- hello\nTQL EVAL ('0', '1970-01-01T01:00:00Z', \"15s\", '1m') up", hour, Some(60_000)),
            ("/* a */ # b\n TQL EVAL ('1970-01-01T00:00:00Z', 3600, 15) up", hour, None),
            ("TQL EVAL (now() - '1h', now(), '15s') up", last_hour, None),
            ("TQL EVAL (NOW - interval '1h', now ( ) , '15s') up", last_hour, None),
            ("TQL EVAL (now()-3600, now()+0.001, '15s') up", range(NOW.0 - 3_600_000, NOW.0 + 1, 15_000), None),
            ("TQL EVAL (-10, 5, '15s') up", range(-10_000, 5_000, 15_000), None),
            ("TQL EVAL (5, 5, '15s') up", range(5_000, 5_000, 15_000), None),
        ] {
            let read = query(text);
            assert_eq!((read.query.as_str(), read.times), ("up", times), "{text}");
            assert_eq!((read.purpose, read.lookback), (Purpose::Evaluate, lookback.map(DurationMs)), "{text}");
        }
    }

    #[test]
    fn plans_may_be_asked_for() {
        for (text, purpose, times) in [
            ("TQL EXPLAIN up", Purpose::Explain, QueryTimes::Instant(NOW)),
            ("tql explain verbose format text (0, 10, 1) up", Purpose::Explain, range(0, 10_000, 1_000)),
            ("TQL ANALYZE (0, 10, 1) up;", Purpose::Analyze, range(0, 10_000, 1_000)),
        ] {
            let read = query(text);
            assert_eq!((read.purpose, read.query.as_str(), read.times), (purpose, "up", times), "{text}");
        }
        assert_eq!(query("TQL EXPLAIN format * 2").query, "format * 2");
    }

    #[test]
    fn verbs_of_sql_are_sql() {
        for (text, verb) in [
            ("SELECT 1", "select"),
            ("select - 1", "select"),
            ("SELECT * FROM up", "select"),
            ("select'a'", "select"),
            ("-- x\n  With a AS (SELECT 1) SELECT * FROM a", "with"),
            ("COPY x TO '/tmp/x'", "copy"),
            ("create external table x stored as csv location '/etc/passwd'", "create"),
            ("VALUES (1)", "values"),
            ("SET x = 1", "set"),
        ] {
            assert_eq!(Statement::read(text, NOW), Ok(Statement::Sql { verb }), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_to_write() {
        let seconds = "as seconds since 1970, as '2026-01-02T03:04:05Z' in single quotes, or as now() - '1h'";
        for (text, why) in [
            ("", "unknown position: statement ends, expected a PromQL expression, such as up".to_owned()),
            (" ;", "1:2: found \";\", expected a PromQL expression, such as up".to_owned()),
            ("/* up", "1:1: the comment is not closed, write */".to_owned()),
            ("up /* 1", "1:4: the comment is not closed, write */".to_owned()),
            (
                "up; down",
                "1:5: something stands behind the ; that ends the statement, send one statement at a time".to_owned(),
            ),
            ("TQL RUN up", "1:5: found \"RUN up\", expected EVAL, EXPLAIN or ANALYZE behind TQL".to_owned()),
            (
                "TQL EVAL up",
                "1:10: found \"up\", expected (start, end, step) or (start, end, step, lookback)".to_owned(),
            ),
            ("TQL EVAL\n (up) x", format!("2:3: found \"up) x\", expected start {seconds}")),
            ("TQL EVAL (0, later, 1) up", format!("1:14: found \"later, 1) up\", expected end {seconds}")),
            ("TQL EVAL (0, NaN, 1) up", format!("1:14: found \"NaN, 1) up\", expected end {seconds}")),
            ("TQL EVAL ('0, 1, 1) up", "1:11: the quote is not closed".to_owned()),
            ("TQL EVAL (0) up", "1:12: found \") up\", expected \",\" and end".to_owned()),
            ("TQL EVAL (0, 1) up", "1:15: found \") up\", expected \",\" and step".to_owned()),
            (
                "TQL EVAL (0, 1, often) up",
                "1:17: found \"often) up\", expected step as seconds, such as 15, or as a duration, such as '5m'"
                    .to_owned(),
            ),
            ("TQL EVAL (0, 1, 0) up", "1:17: step must be a millisecond or more".to_owned()),
            ("TQL EVAL (0, 1, '-5') up", "1:17: step must be a millisecond or more".to_owned()),
            ("TQL EVAL (0, 1, 1, 0) up", "1:20: lookback must be a millisecond or more".to_owned()),
            (
                "TQL EVAL (0, 1, 1, 1, 1) up",
                "1:21: found \", 1) up\", expected \")\" behind start, end, step and lookback".to_owned(),
            ),
            ("TQL EVAL (1, 0, 1) up", "1:14: end lies before start".to_owned()),
            (
                "TQL EVAL (0, 11001, 1) up",
                "1:21: more than 11001 steps from start to end, take a longer step or ask for a part of the time"
                    .to_owned(),
            ),
            ("TQL EVAL (0, now( , 1) up", "1:19: found \", 1) up\", expected \")\" behind now(".to_owned()),
            ("TQL EVAL (0, 1, 1)", "1:19: statement ends, expected a PromQL expression, such as up".to_owned()),
            ("TQL EXPLAIN FORMAT JSON up", "1:13: plans are told as text only, leave FORMAT out".to_owned()),
        ] {
            let error = Statement::read(text, NOW).expect_err(text);
            assert_eq!((error.kind(), error.message()), (ErrorKind::BadData, why.as_str()), "{text}");
        }
    }

    #[test]
    fn places_in_the_query_are_places_in_the_statement() {
        let text = "/* a\n */ TQL EVAL (0, 10, 1) /* b */ sum(x[5m]";
        let error = query(text).parse(text, &Features::default()).expect_err("not closed");
        assert!(error.message().starts_with("2:42: parse error: unclosed left parenthesis"), "{error}");
        let text = "up +";
        let error = query(text).parse(text, &Features::default()).expect_err("half a sum");
        assert!(error.message().starts_with("1:5: parse error: "), "{error}");
    }

    #[test]
    fn hostile_statements_end() {
        let long = "x".repeat(STATEMENT_BYTES_MAX + 1);
        assert!(Statement::read(&long, NOW).expect_err("long").message().contains("at most"), "too long");
        for piece in ["/**/", "--\n", "(", "'", "\\", ";", "TQL ", "é", "now()", "`", "#"] {
            let text = piece.repeat(STATEMENT_BYTES_MAX / piece.len() / 8);
            for before in ["", "TQL EVAL (", "TQL EVAL (0, 1, 1)", "TQL EXPLAIN ", "x{a=\"", "select "] {
                // Whatever comes of it, it comes.
                drop(Statement::read(&format!("{before}{text}"), NOW));
            }
        }
    }
}
