//! What a flag turns on is refused without it, in the words of a Prometheus 3.14, and accepted with it.

use crate::syntax::*;

/// What turns a construct on.
type Flag = fn(&mut Features);
const FUNCTIONS: Flag = |features| features.experimental_functions = true;
const FILL: Flag = |features| features.binop_fill_modifiers = true;
const EXTENDED: Flag = |features| features.extended_range_selectors = true;

fn with(flags: &[Flag]) -> Features {
    let mut features = Features::default();
    flags.iter().for_each(|flag| flag(&mut features));
    features
}

/// Flag, place of the complaint, a query that needs the flag. The places were told by a Prometheus 3.14 without flags.
const FUNCTION_CALLS: [(&str, &str); 19] = [
    ("1:1", "double_exponential_smoothing(a[5m], 0.5, 0.5)"),
    ("1:8", "vector(end())"),
    ("1:1", r#"histogram_quantiles(a, "q", 0.5)"#),
    ("1:1", "info(a)"),
    ("1:1", r#"info(a, {b="c"})"#),
    ("1:1", "mad_over_time(a[5m])"),
    ("1:8", "vector(max_of(1, 2))"),
    ("1:8", "vector(min_of(1, 2))"),
    ("1:8", "vector(range())"),
    ("1:1", r#"sort_by_label(a, "job")"#),
    ("1:1", r#"sort_by_label_desc(a, "job")"#),
    ("1:8", "vector(start())"),
    ("1:1", "start_timestamp(a)"),
    ("1:8", "vector(step())"),
    ("1:1", "ts_of_first_over_time(a[5m])"),
    ("1:1", "ts_of_last_over_time(a[5m])"),
    ("1:1", "ts_of_max_over_time(a[5m])"),
    ("1:1", "ts_of_min_over_time(a[5m])"),
    ("1:25", "sum(limitk by (job) (1, info(a)))"),
];

/// As [`FUNCTION_CALLS`], and whose modifier or operator it is.
const OTHERS: [(Flag, &str, &str, &str); 13] = [
    (FUNCTIONS, "1:1", "limitk()", "limitk(1, a)"),
    (FUNCTIONS, "1:1", "limitk()", "LIMITK by (job) (1, a)"),
    (FUNCTIONS, "1:5", "limit_ratio()", "sum(limit_ratio(0.5, a))"),
    (FILL, "1:1", "binop fill modifiers are", "a + fill(1) a"),
    (FILL, "1:1", "binop fill modifiers are", "a + fill_left(1) a"),
    (FILL, "1:1", "binop fill modifiers are", "a + fill_right(1) a"),
    (FILL, "1:1", "binop fill modifiers are", "a + on (job) group_left fill_left(2) fill_right(3) a"),
    (EXTENDED, "1:1", "anchored modifier is", "a anchored"),
    (EXTENDED, "1:1", "anchored modifier is", "a[5m] anchored"),
    (EXTENDED, "1:6", "anchored modifier is", "rate(a[5m] anchored)"),
    (EXTENDED, "1:1", "smoothed modifier is", "a smoothed"),
    (EXTENDED, "1:1", "smoothed modifier is", "a[5m] smoothed"),
    (EXTENDED, "1:6", "smoothed modifier is", "rate(a[5m] smoothed)"),
];

/// With every other flag on and its own off a query is refused; with its own alone it is accepted.
fn check(query: &str, message: &str, own: Flag) {
    let others: Vec<Flag> =
        [FUNCTIONS, FILL, EXTENDED].into_iter().filter(|flag| with(&[*flag]) != with(&[own])).collect();
    for features in [with(&[]), with(&others)] {
        assert_eq!(parse(query, &features).expect_err(query).render(query), message, "{query}");
    }
    assert!(parse(query, &with(&[own])).is_ok(), "{query}");
}

#[test]
fn experimental_functions_need_their_flag() {
    for (place, query) in FUNCTION_CALLS {
        let name = Function::all().iter().filter(|function| function.experimental).find(|function| {
            let call = format!("{}(", function.name);
            query.starts_with(&call) || query.contains(&format!("({call}")) || query.contains(&format!(" {call}"))
        });
        let name = name.expect("the query calls one").name;
        check(query, &format!("{place}: parse error: function {name:?} is not enabled"), FUNCTIONS);
    }
    let is_tested = |name: &str| FUNCTION_CALLS.iter().any(|(_, query)| query.contains(&format!("{name}(")));
    for function in Function::all().iter().filter(|function| function.experimental) {
        assert!(is_tested(function.name), "{} has no example here", function.name);
    }
    assert_eq!(Function::all().iter().filter(|function| function.experimental).count(), 17);
}

#[test]
fn experimental_aggregations_and_modifiers_need_their_flag() {
    for (own, place, what, query) in OTHERS {
        let why = match what.strip_suffix("()") {
            Some(_) => "is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            None => "experimental and not enabled",
        };
        check(query, &format!("{place}: parse error: {what} {why}"), own);
    }
}

#[test]
fn what_prometheus_3_14_has_on_by_default_needs_no_flag() {
    for query in [
        "a[5m + 1m]",
        "a[step() + 1m]",
        "rate(a[max_of(1m, 2m)])",
        "a offset (1m * 2)",
        "a[5m:range() + 1m]",
        "a[min_of(step(), 1m)]",
        "a </ 1",
        "a >/ 1",
        r#"{"utf-8.name"}"#,
        r#"sum by ("a.b") (a)"#,
        r#"a{"http.status"="200"}"#,
        "first_over_time(a[5m])",
        "a @ start()",
        "a[5m] @ end()",
        "a offset -5m",
        "0x1F + 1_000 + 5m",
        "histogram_avg(a)",
        // Words that mean something only where a flag and the place make them.
        "sum(fill) by (smoothed)",
        "anchored + start + step - info * limitk",
    ] {
        assert!(parse(query, &Features::default()).is_ok(), "{query}");
    }
}
