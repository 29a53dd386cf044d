//! Printing and reading again: on random trees, and on every expression of the conformance data where it is at hand.

use proptest::prelude::*;

use super::print::{Place, needs_parens};
use super::*;
use crate::model::{MatchOp, Matcher, TimestampMs};

fn every_feature() -> Features {
    Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        ..Features::default()
    }
}

/// Without spans, and with matchers sorted as they are printed.
fn normal(mut expr: Expr) -> Expr {
    fn blank(duration: &mut DurationExpr) {
        duration.span = 0..0;
        match &mut duration.kind {
            DurationExprKind::Literal(_) | DurationExprKind::Step | DurationExprKind::Range => {}
            DurationExprKind::Unary(_, inner) | DurationExprKind::Paren(inner) => blank(inner),
            DurationExprKind::Binary(_, lhs, rhs)
            | DurationExprKind::MinOf(lhs, rhs)
            | DurationExprKind::MaxOf(lhs, rhs) => {
                blank(lhs);
                blank(rhs);
            }
        }
    }
    fn selector(selector: &mut VectorSelector) {
        selector.matchers.sort();
        selector.offset.iter_mut().for_each(blank);
    }
    walk_mut(&mut expr, &mut |expr| {
        expr.span = 0..0;
        match &mut expr.kind {
            ExprKind::VectorSelector(vector) => selector(vector),
            ExprKind::MatrixSelector(matrix) => {
                selector(&mut matrix.selector);
                matrix.selector_span = 0..0;
                blank(&mut matrix.range);
            }
            ExprKind::Subquery(subquery) => {
                blank(&mut subquery.range);
                subquery.step.iter_mut().chain(&mut subquery.offset).for_each(blank);
            }
            _ => {}
        }
    });
    expr
}

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: 0..0 }
}

/// In parentheses where the text needs them, as a parser would have found it.
fn placed(expr: Expr, place: Place) -> Expr {
    if needs_parens(&expr, place) { node(ExprKind::Paren(Box::new(expr))) } else { expr }
}

fn number() -> impl Strategy<Value = NumberLiteral> {
    prop_oneof![
        any::<f64>()
            .prop_filter("equal to itself", |value| !value.is_nan())
            .prop_map(|value| NumberLiteral { value, duration: false }),
        (-1_000_000_000i64..1_000_000_000)
            .prop_map(|ms| NumberLiteral { value: (ms / 1000) as f64 + (ms % 1000) as f64 / 1000.0, duration: true }),
    ]
}

fn duration_node(kind: DurationExprKind) -> DurationExpr {
    DurationExpr { kind, span: 0..0 }
}

/// A literal of more than nothing.
fn positive_duration() -> impl Strategy<Value = DurationExpr> {
    (1i64..100_000_000_000).prop_map(|ms| {
        let value = (ms / 1000) as f64 + (ms % 1000) as f64 / 1000.0;
        duration_node(DurationExprKind::Literal(NumberLiteral { value, duration: true }))
    })
}

/// Arithmetic in parentheses that begins with a literal, so that a colon may follow it.
fn duration_arithmetic() -> impl Strategy<Value = DurationExpr> {
    let leaf = prop_oneof![
        positive_duration(),
        Just(duration_node(DurationExprKind::Step)),
        Just(duration_node(DurationExprKind::Range)),
    ];
    let boxed = |duration| Box::new(duration);
    let parens = move |duration| duration_node(DurationExprKind::Paren(Box::new(duration)));
    let inner = leaf.prop_recursive(3, 8, 2, move |inner| {
        let op = prop::sample::select(vec![
            BinaryOp::Add,
            BinaryOp::Sub,
            BinaryOp::Mul,
            BinaryOp::Div,
            BinaryOp::Mod,
            BinaryOp::Pow,
        ]);
        prop_oneof![
            (op, inner.clone(), inner.clone())
                .prop_map(move |(op, a, b)| parens(duration_node(DurationExprKind::Binary(op, boxed(a), boxed(b))))),
            (inner.clone(), inner.clone())
                .prop_map(move |(a, b)| duration_node(DurationExprKind::MinOf(boxed(a), boxed(b)))),
            (inner.clone(), inner.clone())
                .prop_map(move |(a, b)| duration_node(DurationExprKind::MaxOf(boxed(a), boxed(b)))),
        ]
    });
    (positive_duration(), inner).prop_map(move |(literal, rest)| {
        parens(duration_node(DurationExprKind::Binary(BinaryOp::Add, boxed(literal), boxed(rest))))
    })
}

fn range() -> impl Strategy<Value = DurationExpr> {
    prop_oneof![3 => positive_duration(), 1 => duration_arithmetic()]
}

fn offset() -> impl Strategy<Value = Option<DurationExpr>> {
    let signed = (range(), any::<bool>()).prop_map(|(duration, negative)| match duration.kind {
        DurationExprKind::Literal(number) if negative => {
            duration_node(DurationExprKind::Literal(NumberLiteral { value: -number.value, ..number }))
        }
        kind if negative => duration_node(DurationExprKind::Unary(UnaryOp::Minus, Box::new(duration_node(kind)))),
        kind => duration_node(kind),
    });
    prop::option::weighted(0.3, signed)
}

fn at() -> impl Strategy<Value = Option<AtModifier>> {
    prop::option::weighted(
        0.3,
        prop_oneof![
            Just(AtModifier::Start),
            Just(AtModifier::End),
            (-10_000_000_000_000i64..10_000_000_000_000).prop_map(|ms| AtModifier::Timestamp(TimestampMs(ms))),
        ],
    )
}

fn metric_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-d_:][a-d0-9_:]{0,5}",
        prop::sample::select(vec!["sum", "by", "offset", "fill", "or", "start", "step", "anchored", "min_of"])
            .prop_map(str::to_owned),
    ]
}

fn label_name() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-d_][a-d0-9_]{0,4}",
        "\\PC{1,4}",
        prop::sample::select(vec!["without", "nan", "on", "bool", "a.b", "\u{fffd}", "a\"b\n"]).prop_map(str::to_owned),
    ]
    .prop_filter("a second name is refused", |name| name != "__name__")
    .boxed()
}

fn vector_selector() -> impl Strategy<Value = VectorSelector> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let value = prop_oneof![
        "[a-c.|]{0,5}",
        "[ -~é☺\\n\\t]{0,6}".prop_map(|text| text.replace(|c: char| !c.is_alphabetic(), "\\."))
    ];
    let matchers = prop::collection::vec((label_name(), op, value), 0..4);
    (prop::option::weighted(0.8, metric_name()), matchers, offset(), at(), 0..3u8).prop_map(
        |(name, matchers, offset, at, extension)| {
            let mut matchers: Vec<Matcher> = matchers
                .into_iter()
                .map(|(name, op, value)| Matcher::new(name, op, value))
                .filter(|matcher| matcher.compile().is_ok())
                .collect();
            match &name {
                Some(name) => matchers.push(Matcher::equal("__name__", name.clone())),
                None => matchers.push(Matcher::equal("__name__", "quoted name")),
            }
            let extension =
                [None, Some(RangeExtension::Anchored), Some(RangeExtension::Smoothed)][usize::from(extension)];
            VectorSelector { name, matchers, offset, at, extension }
        },
    )
}

fn scalar() -> BoxedStrategy<Expr> {
    let leaf = prop_oneof![
        4 => number().prop_map(|number| node(ExprKind::Number(number))),
        1 => Just(node(ExprKind::Call(Call { function: Function::lookup("time").expect("time"), args: vec![] }))),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let op =
            prop::sample::select(vec![BinaryOp::Add, BinaryOp::Div, BinaryOp::Pow, BinaryOp::Atan2, BinaryOp::Less]);
        prop_oneof![
            (op, inner.clone(), inner.clone()).prop_map(|(op, lhs, rhs)| {
                node(ExprKind::Binary(Box::new(Binary {
                    lhs: placed(lhs, Place::Left(op)),
                    rhs: placed(rhs, Place::Right(op)),
                    return_bool: op.is_comparison(),
                    matching: None,
                    op,
                })))
            }),
            inner.prop_map(|inner| node(ExprKind::Paren(Box::new(inner)))),
        ]
    })
    .boxed()
}

fn matching(op: BinaryOp) -> impl Strategy<Value = VectorMatching> {
    let labels = prop::collection::vec(label_name(), 0..3).boxed();
    let fill =
        prop::option::weighted(0.2, any::<f64>().prop_filter("equal to itself", |value| !value.is_nan())).boxed();
    (labels.clone(), any::<bool>(), labels, 0..4u8, fill.clone(), fill).prop_map(
        move |(labels, on, mut include, card, fill_left, fill_right)| {
            let set = op.is_set_operator();
            let cardinality = match card {
                _ if set => Cardinality::ManyToMany,
                0 => Cardinality::ManyToOne,
                1 => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            include.retain(|label| !(on && labels.contains(label)));
            if !matches!(cardinality, Cardinality::ManyToOne | Cardinality::OneToMany) {
                include.clear();
            }
            let (fill_left, fill_right) = if set { (None, None) } else { (fill_left, fill_right) };
            VectorMatching { cardinality, labels, on, include, fill_left, fill_right }
        },
    )
}

fn binary_op() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::*;
    prop::sample::select(vec![
        Add,
        Sub,
        Mul,
        Div,
        Mod,
        Pow,
        Atan2,
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        TrimUpper,
        TrimLower,
        And,
        Or,
        Unless,
    ])
}

fn aggregate(inner: BoxedStrategy<Expr>) -> impl Strategy<Value = Expr> {
    use AggregateOp::*;
    let op = prop::sample::select(vec![Sum, Avg, Group, Stddev, Topk, Quantile, CountValues, Limitk]);
    (op, inner, scalar(), "\\PC{0,4}", prop::collection::vec(label_name(), 0..3), any::<bool>()).prop_map(
        |(op, expr, number, text, grouping, without)| {
            let param = match op {
                CountValues => Some(node(ExprKind::String(text.into_bytes()))),
                _ if op.has_param() => Some(number),
                _ => None,
            };
            node(ExprKind::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without })))
        },
    )
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    node(ExprKind::Call(Call { function: Function::lookup(name).expect("in the table"), args }))
}

/// Expressions that the parser could have made.
fn vector() -> BoxedStrategy<Expr> {
    let leaf = vector_selector().prop_map(|selector| node(ExprKind::VectorSelector(selector)));
    leaf.prop_recursive(5, 24, 3, |inner| {
        let joined = (binary_op(), inner.clone(), inner.clone(), any::<bool>())
            .prop_flat_map(|(op, lhs, rhs, flag)| (Just((op, lhs, rhs, flag)), matching(op)))
            .prop_map(|((op, lhs, rhs, flag), matching)| {
                node(ExprKind::Binary(Box::new(Binary {
                    lhs: placed(lhs, Place::Left(op)),
                    rhs: placed(rhs, Place::Right(op)),
                    return_bool: flag && op.is_comparison(),
                    matching: Some(matching),
                    op,
                })))
            });
        let op = binary_op().prop_filter("no set operator", |op| !op.is_set_operator());
        let scaled = (op, inner.clone(), scalar()).prop_map(|(op, lhs, rhs)| {
            node(ExprKind::Binary(Box::new(Binary {
                lhs: placed(lhs, Place::Left(op)),
                rhs: placed(rhs, Place::Right(op)),
                return_bool: false,
                matching: None,
                op,
            })))
        });
        let signed = (inner.clone(), any::<bool>()).prop_map(|(inner, minus)| {
            let op = if minus { UnaryOp::Minus } else { UnaryOp::Plus };
            node(ExprKind::Unary(op, Box::new(placed(inner, Place::BehindSign))))
        });
        let subquery = (inner.clone(), range(), prop::option::of(range()), offset(), at()).prop_map(
            |(expr, range, step, offset, at)| {
                let expr = placed(expr, Place::BeforeBracket);
                call("rate", vec![node(ExprKind::Subquery(Box::new(Subquery { expr, range, step, offset, at })))])
            },
        );
        let matrix = (vector_selector(), range()).prop_map(|(selector, range)| {
            let matrix = MatrixSelector { selector, selector_span: 0..0, range };
            call("rate", vec![node(ExprKind::MatrixSelector(matrix))])
        });
        let text = prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| node(ExprKind::String(bytes)));
        prop_oneof![
            3 => joined,
            2 => scaled,
            1 => signed,
            2 => aggregate(inner.clone()),
            1 => subquery,
            1 => matrix,
            1 => (inner.clone(), text).prop_map(|(inner, text)| call("sort_by_label", vec![inner, text])),
            1 => inner.prop_map(|inner| node(ExprKind::Paren(Box::new(inner)))),
        ]
    })
    .boxed()
}

/// A tree without any parentheses: what it means.
fn meaning(mut expr: Expr) -> Expr {
    walk_mut(&mut expr, &mut |expr| {
        while let ExprKind::Paren(inner) = &mut expr.kind {
            let nothing = node(ExprKind::String(Vec::new()));
            *expr = std::mem::replace(&mut **inner, nothing);
        }
    });
    normal(expr)
}

proptest! {
    #[test]
    fn a_printed_tree_is_read_back_as_the_same_tree(expr in vector()) {
        let printed = expr.to_string();
        let parsed = parse(&printed, &every_feature())
            .map_err(|error| TestCaseError::fail(format!("{}: {printed}", error.render(&printed))))?;
        prop_assert_eq!(parsed.to_string(), printed.clone());
        prop_assert_eq!(normal(parsed), normal(expr), "{}", printed);
    }

    #[test]
    fn a_tree_made_by_hand_keeps_its_meaning(expr in vector()) {
        // Without its parentheses, no text may lead to this tree; the printer has to put back what is needed.
        let bare = meaning(expr);
        let printed = bare.to_string();
        let parsed = parse(&printed, &every_feature())
            .map_err(|error| TestCaseError::fail(format!("{}: {printed}", error.render(&printed))))?;
        prop_assert_eq!(meaning(parsed), bare, "{}", printed);
    }

    #[test]
    fn a_pretty_tree_is_read_back_as_the_same_tree(expr in vector()) {
        let printed = pretty(&expr);
        let parsed = parse(&printed, &every_feature())
            .map_err(|error| TestCaseError::fail(format!("{}: {printed}", error.render(&printed))))?;
        prop_assert_eq!(normal(parsed), normal(expr), "{}", printed);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}", pieces in prop::collection::vec(prop::sample::select(vec![
        "(", ")", "[", "]", "{", "}", ",", ":", "+", "-", "^", "==", "=~", "@", "\"", "'", "`", "\\", "#", "\n", " ", "5m", "1e", "0x",
        "sum", "by", "on", "offset", "rate", "foo", "step()", "min_of(", "anchored", "fill(", "bool", "info(", "start", "é", "\u{fffd}",
    ]), 0..20)) {
        for query in [text, pieces.concat()] {
            match parse(&query, &every_feature()) {
                Ok(expr) => prop_assert!(parse(&expr.to_string(), &every_feature()).is_ok(), "{query} printed as {expr}"),
                Err(error) => prop_assert!(error.render(&query).contains(": parse error: ")),
            }
        }
    }
}

/// The expressions of Prometheus' own tests; none where they are not at hand.
fn conformance_expressions() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/promqltest");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let pattern = r"^eval(?:_\w+)?\s+(?:instant\s+(?:at\s+\S+\s+)?|range\s+from\s+\S+\s+to\s+\S+\s+step\s+\S+\s+)(.+)$";
    let eval = regex::Regex::new(pattern).expect("a good pattern");
    let mut expressions = Vec::new();
    for entry in entries {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a text file");
        expressions.extend(text.lines().filter_map(|line| Some(eval.captures(line.trim())?[1].to_owned())));
    }
    expressions
}

#[test]
fn every_expression_of_prometheus_own_tests_is_read_and_survives_printing() {
    for query in conformance_expressions() {
        let expr = parse(&query, &every_feature()).unwrap_or_else(|error| panic!("{query}: {error}"));
        for printed in [expr.to_string(), pretty(&expr)] {
            let again = parse(&printed, &every_feature()).unwrap_or_else(|error| panic!("{query}: {printed}: {error}"));
            assert_eq!(again.to_string(), expr.to_string(), "{query}");
            if !printed.contains("NaN") {
                assert_eq!(normal(again), normal(expr.clone()), "{query}");
            }
        }
    }
}
