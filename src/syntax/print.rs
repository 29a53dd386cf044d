//! Tree → text, in the form of Prometheus' `String()`.
//!
//! What is printed parses to the same tree again, up to spans and the order of matchers. Trees made by hand, that no text parses
//! to (a product below a power), get the parentheses that keep their meaning.

use std::fmt;
use std::fmt::Write;

use super::ast::{
    Aggregate, AtModifier, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationExprKind, Expr, ExprKind,
    MatrixSelector, NumberLiteral, RangeExtension, Subquery, UnaryOp, VectorMatching, VectorSelector,
};
use super::parser::precedence;
use super::token::{TokenKind, reserved_word};
use crate::model::{DurationMs, MatchOp, Matcher, TimestampMs, quote_label_value};

const METRIC_NAME: &str = "__name__";

/// As Prometheus prints it.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        print_expr(&mut text, self);
        f.write_str(&text)
    }
}

/// As Prometheus prints it: matchers sorted, then `@`, then `anchored` or `smoothed`, then `offset`.
impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        print_vector_selector(&mut text, self);
        f.write_str(&text)
    }
}

/// As Prometheus prints it, without brackets.
impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        print_duration(&mut text, self);
        f.write_str(&text)
    }
}

pub(super) fn print_expr(out: &mut String, expr: &Expr) {
    match &expr.kind {
        ExprKind::Number(number) => out.push_str(&number_text(*number)),
        ExprKind::String(bytes) => out.push_str(&quote_bytes(bytes)),
        ExprKind::Paren(inner) => {
            out.push('(');
            print_expr(out, inner);
            out.push(')');
        }
        ExprKind::Unary(op, inner) => {
            out.push(sign(*op));
            print_operand(out, inner, Place::BehindSign);
        }
        ExprKind::Binary(binary) => {
            print_operand(out, &binary.lhs, Place::Left(binary.op));
            out.push(' ');
            print_operator(out, binary);
            out.push(' ');
            print_operand(out, &binary.rhs, Place::Right(binary.op));
        }
        ExprKind::Aggregate(aggregate) => {
            print_aggregate_head(out, aggregate);
            out.push('(');
            if let Some(param) = &aggregate.param {
                print_expr(out, param);
                out.push_str(", ");
            }
            print_expr(out, &aggregate.expr);
            out.push(')');
        }
        ExprKind::Call(call) => print_call(out, call),
        ExprKind::VectorSelector(selector) => print_vector_selector(out, selector),
        ExprKind::MatrixSelector(matrix) => print_matrix_selector(out, matrix),
        ExprKind::Subquery(subquery) => {
            print_operand(out, &subquery.expr, Place::BeforeBracket);
            print_subquery_suffix(out, subquery);
        }
    }
}

fn print_call(out: &mut String, call: &Call) {
    out.push_str(call.function.name);
    out.push('(');
    for (index, arg) in call.args.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        print_expr(out, arg);
    }
    out.push(')');
}

/// Where an operand stands, which decides whether it needs parentheses.
#[derive(Copy, Clone)]
pub(super) enum Place {
    Left(BinaryOp),
    Right(BinaryOp),
    BehindSign,
    /// What a subquery is made of.
    BeforeBracket,
}

/// Would this operand be read otherwise without parentheses? Never so in a tree that the parser made.
pub(super) fn needs_parens(operand: &Expr, place: Place) -> bool {
    if matches!(place, Place::Left(op) if continues_duration(op)) && ends_in_open_offset(operand) {
        return true;
    }
    match (&operand.kind, place) {
        (ExprKind::Binary(inner), Place::Left(op)) => {
            precedence(inner.op) < precedence(op) || (inner.op == BinaryOp::Pow && op == BinaryOp::Pow)
        }
        (ExprKind::Binary(inner), Place::Right(op)) => {
            precedence(inner.op) < precedence(op) || (precedence(inner.op) == precedence(op) && op != BinaryOp::Pow)
        }
        (ExprKind::Binary(inner), Place::BehindSign) => inner.op != BinaryOp::Pow,
        (ExprKind::Unary(..), Place::Left(BinaryOp::Pow)) => true,
        (ExprKind::Number(number), Place::Left(BinaryOp::Pow)) => is_negative(number.value),
        (ExprKind::Binary(_) | ExprKind::Unary(..) | ExprKind::Number(_), Place::BeforeBracket) => true,
        _ => false,
    }
}

/// Operators that durations have too.
fn continues_duration(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow)
}

/// Does the text end in `offset (…)`? Prometheus reads an operator behind that as a part of the offset.
fn ends_in_open_offset(expr: &Expr) -> bool {
    let mut last = expr;
    let offset = loop {
        match &last.kind {
            ExprKind::Binary(binary) => last = &binary.rhs,
            ExprKind::Unary(_, inner) => last = inner,
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector(MatrixSelector { selector, .. }) => {
                break &selector.offset;
            }
            ExprKind::Subquery(subquery) => break &subquery.offset,
            _ => return false,
        }
    };
    offset
        .as_ref()
        .is_some_and(|offset| matches!(offset.kind, DurationExprKind::Paren(_) | DurationExprKind::Binary(..)))
}

pub(super) fn print_operand(out: &mut String, operand: &Expr, place: Place) {
    if needs_parens(operand, place) {
        out.push('(');
        print_expr(out, operand);
        out.push(')');
        return;
    }
    match (&operand.kind, place) {
        // `+Inf ^ 2` would read as `+(Inf ^ 2)`.
        (ExprKind::Number(number), Place::Left(BinaryOp::Pow)) if number.value == f64::INFINITY => out.push_str("Inf"),
        _ => print_expr(out, operand),
    }
}

pub(super) fn sign(op: UnaryOp) -> char {
    match op {
        UnaryOp::Plus => '+',
        UnaryOp::Minus => '-',
    }
}

/// `sum`, `sum by (a) `, `sum without (a) `.
pub(super) fn print_aggregate_head(out: &mut String, aggregate: &Aggregate) {
    out.push_str(aggregate.op.name());
    if aggregate.without || !aggregate.grouping.is_empty() {
        out.push_str(if aggregate.without { " without " } else { " by " });
        print_labels(out, &aggregate.grouping);
        out.push(' ');
    }
}

/// `(a, "b c")`.
fn print_labels(out: &mut String, labels: &[String]) {
    out.push('(');
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        // Prometheus prints a legal name bare even where it does not read back as a label: `without`, `inf`, `nan`.
        let reads_back = reserved_word(label).is_none_or(TokenKind::is_grouping_label);
        out.push_str(&if reads_back { label_name(label) } else { quote_bytes(label.as_bytes()) });
    }
    out.push(')');
}

/// `+ bool on (a) group_left (b) fill (0)`.
pub(super) fn print_operator(out: &mut String, binary: &Binary) {
    out.push_str(binary.op.symbol());
    if binary.return_bool {
        out.push_str(" bool");
    }
    if let Some(matching) = &binary.matching {
        print_matching(out, matching);
    }
}

fn print_matching(out: &mut String, matching: &VectorMatching) {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some(" group_left "),
        Cardinality::OneToMany => Some(" group_right "),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        out.push_str(if matching.on { " on " } else { " ignoring " });
        print_labels(out, &matching.labels);
    }
    if let Some(group) = group {
        out.push_str(group);
        print_labels(out, &matching.include);
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => write_all(out, format_args!(" fill ({})", short_float(left))),
        (left, right) => {
            if let Some(left) = left {
                write_all(out, format_args!(" fill_left ({})", short_float(left)));
            }
            if let Some(right) = right {
                write_all(out, format_args!(" fill_right ({})", short_float(right)));
            }
        }
    }
}

fn print_vector_selector(out: &mut String, selector: &VectorSelector) {
    print_series(out, selector);
    print_at(out, selector.at);
    print_extension(out, selector.extension);
    print_offset(out, selector.offset.as_ref());
}

fn print_matrix_selector(out: &mut String, matrix: &MatrixSelector) {
    print_series(out, &matrix.selector);
    out.push('[');
    print_duration(out, &matrix.range);
    out.push(']');
    print_extension(out, matrix.selector.extension);
    print_at(out, matrix.selector.at);
    print_offset(out, matrix.selector.offset.as_ref());
}

/// `name{a="b"}`, matchers sorted as text.
fn print_series(out: &mut String, selector: &VectorSelector) {
    let name = selector.name.as_deref().filter(|name| can_stand_bare(name));
    let is_name = |matcher: &Matcher| {
        matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && Some(matcher.value.as_str()) == name
    };
    let mut matchers: Vec<String> =
        selector.matchers.iter().filter(|matcher| !is_name(matcher)).map(matcher_text).collect();
    matchers.sort();
    out.push_str(name.unwrap_or_default());
    if !matchers.is_empty() || name.is_none() {
        write_all(out, format_args!("{{{}}}", matchers.join(",")));
    }
}

/// Is this read as the name of a metric where it stands in front of the braces?
fn can_stand_bare(name: &str) -> bool {
    let legal = name.bytes().enumerate().all(|(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => true,
        b'0'..=b'9' => at > 0,
        _ => false,
    });
    legal && !name.is_empty() && reserved_word(name).unwrap_or(TokenKind::Identifier).is_metric_name()
}

fn matcher_text(matcher: &Matcher) -> String {
    format!("{}{}{}", label_name(&matcher.name), matcher.op.symbol(), quote_bytes(matcher.value.as_bytes()))
}

fn label_name(name: &str) -> String {
    let bare = name.bytes().enumerate().all(|(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
        b'0'..=b'9' => at > 0,
        _ => false,
    });
    if bare && !name.is_empty() { name.to_owned() } else { quote_bytes(name.as_bytes()) }
}

fn print_at(out: &mut String, at: Option<AtModifier>) {
    match at {
        None => {}
        Some(AtModifier::Start) => out.push_str(" @ start()"),
        Some(AtModifier::End) => out.push_str(" @ end()"),
        Some(AtModifier::Timestamp(TimestampMs(ms))) => {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            write_all(out, format_args!(" @ {sign}{}.{:03}", ms / 1000, ms % 1000));
        }
    }
}

fn print_extension(out: &mut String, extension: Option<RangeExtension>) {
    match extension {
        None => {}
        Some(RangeExtension::Anchored) => out.push_str(" anchored"),
        Some(RangeExtension::Smoothed) => out.push_str(" smoothed"),
    }
}

fn print_offset(out: &mut String, offset: Option<&DurationExpr>) {
    let Some(offset) = offset else { return };
    out.push_str(" offset ");
    // Arithmetic behind `offset` belongs to it only inside of parentheses.
    print_duration_operand(out, offset, is_open_arithmetic(offset));
}

/// An operator that stands in no parentheses, with signs in front or without.
pub(super) fn is_open_arithmetic(duration: &DurationExpr) -> bool {
    let mut duration = duration;
    while let DurationExprKind::Unary(_, inner) = &duration.kind {
        duration = inner;
    }
    matches!(duration.kind, DurationExprKind::Binary(..))
}

/// `[range:step] @ t offset d`.
pub(super) fn print_subquery_suffix(out: &mut String, subquery: &Subquery) {
    out.push('[');
    print_duration(out, &subquery.range);
    out.push(':');
    if let Some(step) = &subquery.step {
        print_duration(out, step);
    }
    out.push(']');
    print_at(out, subquery.at);
    print_offset(out, subquery.offset.as_ref());
}

fn print_duration(out: &mut String, duration: &DurationExpr) {
    match &duration.kind {
        DurationExprKind::Literal(number) => out.push_str(&number_text(*number)),
        DurationExprKind::Unary(op, inner) => {
            out.push(sign(*op));
            let looser = matches!(&inner.kind, DurationExprKind::Binary(op, ..) if *op != BinaryOp::Pow);
            print_duration_operand(out, inner, looser);
        }
        DurationExprKind::Binary(op, lhs, rhs) => {
            let looser_left = match &lhs.kind {
                DurationExprKind::Binary(inner, ..) => {
                    precedence(*inner) < precedence(*op) || (*op == BinaryOp::Pow && *inner == BinaryOp::Pow)
                }
                DurationExprKind::Unary(..) => *op == BinaryOp::Pow,
                DurationExprKind::Literal(number) => *op == BinaryOp::Pow && is_negative(number.value),
                _ => false,
            };
            let looser_right = match &rhs.kind {
                DurationExprKind::Binary(inner, ..) => {
                    precedence(*inner) < precedence(*op)
                        || (precedence(*inner) == precedence(*op) && *op != BinaryOp::Pow)
                }
                _ => false,
            };
            print_duration_operand(out, lhs, looser_left);
            write_all(out, format_args!(" {} ", op.symbol()));
            print_duration_operand(out, rhs, looser_right);
        }
        DurationExprKind::Paren(inner) => print_duration_operand(out, inner, true),
        DurationExprKind::Step => out.push_str("step()"),
        DurationExprKind::Range => out.push_str("range()"),
        DurationExprKind::MinOf(lhs, rhs) => print_duration_pair(out, "min_of", lhs, rhs),
        DurationExprKind::MaxOf(lhs, rhs) => print_duration_pair(out, "max_of", lhs, rhs),
    }
}

fn print_duration_operand(out: &mut String, operand: &DurationExpr, parens: bool) {
    if parens {
        out.push('(');
    }
    print_duration(out, operand);
    if parens {
        out.push(')');
    }
}

fn print_duration_pair(out: &mut String, name: &str, lhs: &DurationExpr, rhs: &DurationExpr) {
    out.push_str(name);
    out.push('(');
    print_duration(out, lhs);
    out.push_str(", ");
    print_duration(out, rhs);
    out.push(')');
}

fn is_negative(value: f64) -> bool {
    value.is_sign_negative() && !value.is_nan()
}

/// A duration as a duration, to the millisecond; else all digits, as Go's `%f` with the shortest precision.
pub(super) fn number_text(number: NumberLiteral) -> String {
    if !number.duration {
        return plain_float(number.value);
    }
    let sign = if is_negative(number.value) { "-" } else { "" };
    // The cast saturates; the parser lets nothing through that does not fit.
    format!("{sign}{}", DurationMs((number.value.abs() * 1e3).round() as i64))
}

/// `1.5`, `+Inf`, `NaN`; never an exponent.
pub(super) fn plain_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

/// As Go's `%v`: an exponent below 1e-4 and from 1e21.
fn short_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return plain_float(value) };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) && value != 0.0 => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => plain_float(value),
    }
}

/// Bytes in double quotes as Go's `strconv.Quote` writes them. What is not UTF-8 becomes `\xNN`; U+FFFD is escaped too, as
/// PromQL does not take it bare.
pub(super) fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = quote_label_value(chunk.valid());
        quoted.push_str(&valid[1..valid.len() - 1].replace(char::REPLACEMENT_CHARACTER, "\\ufffd"));
        for byte in chunk.invalid() {
            write_all(&mut quoted, format_args!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}

fn write_all(out: &mut String, arguments: fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a String takes everything");
}
