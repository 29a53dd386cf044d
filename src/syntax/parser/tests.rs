//! What is a query and what is none, what the tree looks like, and that no query overflows a stack.

use crate::syntax::*;

fn every_feature() -> Features {
    Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        ..Features::default()
    }
}

fn tree(query: &str) -> Expr {
    parse(query, &every_feature()).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Parentheses around every operator, so that the shape of a tree can be read.
fn shape(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary(binary) => {
            format!("({} {} {})", shape(&binary.lhs), binary.op.symbol(), shape(&binary.rhs))
        }
        ExprKind::Unary(UnaryOp::Minus, inner) => format!("(-{})", shape(inner)),
        ExprKind::Unary(UnaryOp::Plus, inner) => format!("(+{})", shape(inner)),
        ExprKind::Paren(inner) => shape(inner),
        _ => expr.to_string(),
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (query, expected) in [
        ("-1^2", "(-(1 ^ 2))"),
        ("-a * b", "((-a) * b)"),
        ("-a ^ b", "(-(a ^ b))"),
        ("2 ^ -a ^ b", "(2 ^ (-(a ^ b)))"),
        ("2 ^ -a * b", "((2 ^ (-a)) * b)"),
        ("2 ^ 3 ^ a", "(2 ^ (3 ^ a))"),
        ("a - b - c", "((a - b) - c)"),
        ("a + b * c ^ d", "(a + (b * (c ^ d)))"),
        ("a % b atan2 c", "((a % b) atan2 c)"),
        ("a == b != c", "((a == b) != c)"),
        ("a + 1 </ 2 + 3", "((a + 1) </ (2 + 3))"),
        ("a or b and c unless d", "(a or ((b and c) unless d))"),
        ("a and b == c", "(a and (b == c))"),
        ("- - a", "(-(-a))"),
        ("a offset -2^2", "(a offset -2s ^ 2)"),
        ("a offset 5m+1m", "(a offset 5m + 1m)"),
        ("a offset step()*2", "(a offset step() * 2)"),
        ("a offset -(5+3)+8", "(a offset -(5 + 3) + 8)"),
        // Prometheus' grammar goes on behind a parenthesis without a sign.
        ("a offset (5)+3", "a offset (5 + 3)"),
        ("a offset (step()+1)*2", "a offset ((step() + 1) * 2)"),
        ("-a offset 5m @ 1", "(-a @ 1.000 offset 5m)"),
        // Two signs make it arithmetic. Prometheus prints this one without parentheses, which it would read otherwise.
        ("a offset + -2^2", "a offset (-2 ^ 2)"),
        ("a offset - -step() * 2", "a offset (--step() * 2)"),
    ] {
        assert_eq!(shape(&tree(query)), expected, "{query}");
    }
}

#[test]
fn every_node_has_the_bytes_it_came_from() {
    let query = " sum by (x) ( rate(a{b=\"c\"}[5m] offset 1m) ) / on (x)\n-max_over_time((b @ 3)[1h:]) ";
    let mut texts = Vec::new();
    walk(&tree(query), &mut |expr| texts.push(query[expr.span.clone()].to_owned()));
    assert_eq!(
        texts,
        [
            "sum by (x) ( rate(a{b=\"c\"}[5m] offset 1m) ) / on (x)\n-max_over_time((b @ 3)[1h:])",
            "sum by (x) ( rate(a{b=\"c\"}[5m] offset 1m) )",
            "rate(a{b=\"c\"}[5m] offset 1m)",
            "a{b=\"c\"}[5m] offset 1m",
            "-max_over_time((b @ 3)[1h:])",
            "max_over_time((b @ 3)[1h:])",
            "(b @ 3)[1h:]",
            "(b @ 3)",
            "b @ 3",
        ]
    );
}

#[test]
fn valid_queries_print_in_prometheus_form() {
    for (query, printed) in [
        ("0x1F + 0755 + 1_000 + .5e3", "31 + 493 + 1000 + 500"),
        ("Inf - NaN", "+Inf - NaN"),
        ("1h30m * 25h", "1h30m * 1d1h"),
        ("'a\"b' # comment", r#""a\"b""#),
        (r#""\xff\u00e9""#, r#""\xffé""#),
        ("`\\d`", r#""\\d""#),
        ("foo{}", "foo"),
        ("foo{b='1',a=~`x|\\d`,}", r#"foo{a=~"x|\\d",b="1"}"#),
        (r#"{"foo.bar", "a b"!="c"}"#, r#"{"a b"!="c",__name__="foo.bar"}"#),
        ("sum{by=\"x\"}", "sum{by=\"x\"}"),
        ("or or or", "or or or"),
        ("fill + fill(0) fill", "fill + fill (0) fill"),
        ("a + fill_right(1e30) fill_left(-5m) b", "a + fill_left (-300) fill_right (1e+30) b"),
        ("SUM(a) BY (b, \"c d\",)", "sum by (b, \"c d\") (a)"),
        ("sum by (\"without\", on) (a)", "sum by (\"without\", on) (a)"),
        ("sum by () (a)", "sum(a)"),
        ("sum without () (a)", "sum without () (a)"),
        ("topk without (x) (5, a)", "topk without (x) (5, a)"),
        ("a == bool on () group_left b", "a == bool on () group_left () b"),
        ("a / ignoring (x) group_right (y) b", "a / ignoring (x) group_right (y) b"),
        ("a[300]", "a[5m]"),
        ("a[0.0001]", "a[0.0001]"),
        ("a[ ( 5m ) : ( 1m ) ]", "a[5m:1m]"),
        ("a[5m+2*STEP():range()/2]", "a[5m + 2 * step():range() / 2]"),
        ("a[1s1ms+1]", "a[1s1ms + 1]"),
        ("a offset 0", "a"),
        ("a offset -min_of(5s,step())", "a offset -min_of(5s, step())"),
        ("a offset 1m @ -1.5", "a @ -1.500 offset 1m"),
        ("a[5m] @ start() offset 1m smoothed", "a[5m] smoothed @ start() offset 1m"),
        ("a anchored @ end()", "a @ end() anchored"),
        ("info(a, {})", "info(a, {})"),
        ("Inf ^ 2", "Inf ^ 2"),
        ("max_of(step(), start())", "max_of(step(), start())"),
    ] {
        assert_eq!(tree(query).to_string(), printed, "{query}");
    }
}

#[test]
fn what_is_no_query_is_refused_in_prometheus_words() {
    for (query, message) in [
        ("", "unknown position: parse error: no expression found in input"),
        (" # only", "1:1: parse error: no expression found in input"),
        ("foo\n  bar", r#"2:3: parse error: unexpected identifier "bar""#),
        ("é", "1:1: parse error: unexpected character: 'é'"),
        ("\"é\" é", "1:6: parse error: unexpected character: 'é'"),
        ("2.5.", r#"1:1: parse error: bad number or duration syntax: "2.5.""#),
        ("1e400", r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "1e400": value out of range"#),
        ("\"\\z\"", "1:1: parse error: unknown escape sequence U+007A 'z'"),
        ("\"a", "1:1: parse error: unterminated quoted string"),
        ("`a", "1:1: parse error: unterminated raw string"),
        ("*1", "1:1: parse error: unexpected <op:*>"),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("1)", "1:3: parse error: unexpected right parenthesis ')'"),
        ("foo !x", "1:5: parse error: unexpected character after '!': 'x'"),
        ("foo{a=1}", "1:7: parse error: unexpected character inside braces: '1'"),
        ("foo{a=}", r#"1:7: parse error: unexpected "}" in label matching, expected string"#),
        ("foo{a}", r#"1:6: parse error: unexpected "}" in label matching, expected label matching operator"#),
        ("foo{,}", r#"1:5: parse error: unexpected "," in label matching, expected identifier or "}""#),
        (r#"foo{"a" b}"#, r#"1:9: parse error: unexpected identifier "b" in label matching, expected "," or "}""#),
        (r#"foo{__name__="bar"}"#, r#"1:1: parse error: metric name must not be set twice: "foo" or "bar""#),
        (r#"{a=~".*"}"#, "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("sum(foo bar)", r#"1:9: parse error: unexpected identifier "bar" in aggregation"#),
        ("sum by foo", r#"1:8: parse error: unexpected identifier "foo" in grouping opts, expected "(""#),
        ("sum by (without) (a)", "1:9: parse error: unexpected <without> in grouping opts, expected label"),
        ("sum by (\"\") (a)", r#"1:9: parse error: invalid label name for grouping: """#),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("topk(a)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
        ("topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
        ("rate(a[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
        ("rate(a)", r#"1:6: parse error: expected type range vector in call to function "rate", got instant vector"#),
        ("hour(a, a)", r#"1:1: parse error: expected at most 1 argument(s) in call to "hour", got 2"#),
        ("label_join(a, \"b\")", r#"1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 2"#),
        ("RATE(a[5m])", r#"1:1: parse error: unknown function with name "RATE""#),
        (
            "a[]",
            r#"1:3: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        ("a[5m:x]", "1:6: parse error: unexpected character: 'x', expected ':'"),
        ("a[0]", "1:3: parse error: duration must be greater than 0"),
        ("a[5m1h]", r#"1:3: parse error: not a valid duration string: "5m1h""#),
        ("a[300y]", "1:3: parse error: duration out of range"),
        ("a[5s/0]", "1:5: parse error: division by zero"),
        (
            "a offset x",
            r#"1:10: parse error: unexpected identifier "x" in offset, expected number, duration, step(), or range()"#,
        ),
        ("a offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("a offset NaN", "1:10: parse error: duration out of range"),
        ("a @ x", r#"1:5: parse error: unexpected identifier "x" in @, expected timestamp"#),
        ("a @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
        ("a @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("a @ 1 [5m]", "1:7: parse error: no @ modifiers allowed before range"),
        ("(a)[5m]", "1:4: parse error: ranges only allowed for vector selectors"),
        ("rate(a[5m])[5m:][5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix instead"),
        ("a[5m] anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("a[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("a or 1", r#"1:1: parse error: set operator "or" not allowed in binary scalar expression"#),
        ("a + on (b) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("a + on (b) group_left (b) c", r#"1:3: parse error: label "b" must not occur in ON and GROUP clause at once"#),
        ("a and on (b) group_left c", r#"1:1: parse error: no grouping allowed for "and" operation"#),
        ("a + fill(1) 2", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        (
            "-\"a\"",
            r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "string""#,
        ),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        ("foo \"a long string\"", r#"1:5: parse error: unexpected string "\"a long st"..."#),
    ] {
        let error = parse(query, &every_feature()).expect_err(query);
        assert_eq!(error.render(query), message, "{query}");
    }
}

#[test]
fn set_operators_are_many_to_many_and_matching_is_for_vectors_only() {
    let matching = |query: &str| match tree(query).kind {
        ExprKind::Binary(binary) => binary.matching.map(|matching| matching.cardinality),
        other => panic!("{other:?}"),
    };
    assert_eq!(matching("a and b"), Some(Cardinality::ManyToMany));
    assert_eq!(matching("a + b"), Some(Cardinality::OneToOne));
    assert_eq!(matching("a + on () group_left b"), Some(Cardinality::ManyToOne));
    assert_eq!(matching("a + 1"), None);
    assert_eq!(matching("1 + 1"), None);
}

/// Tokio's workers have 2 MiB.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn endless_queries_are_refused_and_never_overflow_the_stack() {
    on_a_small_stack(|| {
        let too_long = format!("query is {} bytes long, at most 65536 are accepted", 100_000);
        let too_deep = "expression is nested too deeply: more than 1000 levels";
        for piece in ["(", "-", "a+", "2^", "abs(", "sum(", "a[", "a[5m:1m:", "topk(1,", "sum by (a) ("] {
            let query = piece.repeat(100_000 / piece.len() + 1);
            assert_eq!(parse(&query[..100_000], &every_feature()).expect_err(piece).message, too_long);
        }
        for (open, inner, close) in [
            ("(", "a", ")"),
            ("-", "a", ""),
            ("- + ", "a", ""),
            ("a + ", "a", ""),
            ("a or ", "a", ""),
            ("2 ^ ", "a", ""),
            ("a + on (b) (", "a", ")"),
            ("abs(", "a", ")"),
            ("sum(", "a", ")"),
            ("sum by (b) (", "a", ")"),
            ("", "a", "[5m:1m]"),
            ("a[", "5m", "]"),
            ("min_of(1, ", "a", ")"),
        ] {
            let count = 65_000 / (open.len() + close.len());
            let query = format!("{}{inner}{}", open.repeat(count), close.repeat(count));
            let error = parse(&query, &every_feature()).expect_err(open);
            assert!(error.message == too_deep || open == "a[", "{open}: {error}");
        }
        for (open, close) in [("(", ")"), ("-step()-(", ")"), ("1+", ""), ("2^", ""), ("- ", ""), ("min_of(1,", ")")] {
            let count = 60_000 / (open.len() + close.len());
            for around in ["a[", "a[1:", "a offset ("] {
                let end = if around.ends_with('(') { ")" } else { "]" };
                let query = format!("{around}{}step(){}{end}", open.repeat(count), close.repeat(count));
                let error = parse(&query, &every_feature()).expect_err(open);
                assert_eq!(error.message, too_deep, "{around} {open}");
            }
        }
    });
}

/// The deepest trees that are accepted: all that this room does with them fits as well.
#[test]
fn the_deepest_tree_is_handled_on_a_small_stack() {
    on_a_small_stack(|| {
        let leaves = TREE_LEVELS_MAX - 1;
        for (open, inner, close) in [
            ("(", "a", ")"),
            ("-", "a", ""),
            ("a + ", "a", ""),
            ("2 ^ ", "2", ""),
            ("abs(", "a", ")"),
            ("sum(", "a", ")"),
            ("topk by (b) (1, ", "a", ")"),
            ("max_of(1, ", "1", ")"),
        ] {
            let query = format!("{}{inner}{}", open.repeat(leaves), close.repeat(leaves));
            let expr = parse(&query, &every_feature()).unwrap_or_else(|error| panic!("{open}: {error}"));
            let copy = expr.clone();
            assert!(copy == expr);
            let printed = copy.to_string();
            assert!(parse(&printed, &every_feature()).is_ok(), "{open}");
            assert!(pretty(&expr).len() >= printed.len());
            assert!(to_json(&expr).to_string().len() > printed.len());
            expr.value_type();
            let mut count = 0;
            walk(&expr, &mut |_| count += 1);
            assert!(count >= leaves);
        }
        let duration = format!("a[{}5m{}]", "min_of(1h, ".repeat(leaves - 1), ")".repeat(leaves - 1));
        let expr = parse(&duration, &every_feature()).expect("a deep duration");
        assert!(
            parse(&expr.clone().to_string(), &every_feature()).is_ok_and(|again| again.to_string() == expr.to_string())
        );
        assert!(!to_json(&expr).is_null());
    });
}
