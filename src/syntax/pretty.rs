//! Tree → text over several lines, as Prometheus' `format_query` lays it out.

use super::ast::{Aggregate, Binary, Call, Expr, ExprKind};
use super::print::{
    Place, needs_parens, print_aggregate_head, print_operand, print_operator, print_subquery_suffix, sign,
};

/// Longest text in bytes that stays on one line, its indentation not counted.
const LINE_BYTES_MAX: usize = 100;

const INDENT: &str = "  ";

/// A query over several lines: whatever is longer than 100 bytes is split at its operator, function or parentheses.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    print_pretty(&mut out, expr, 0);
    out
}

/// Prints with `level` indentations in front.
fn print_pretty(out: &mut String, expr: &Expr, level: usize) {
    let line = match &expr.kind {
        // Its own text decides nothing: the operand may be split.
        ExprKind::Unary(op, inner) if !needs_parens(inner, Place::BehindSign) => {
            indent(out, level);
            out.push(sign(*op));
            let mut operand = String::new();
            print_pretty(&mut operand, inner, level);
            out.push_str(operand.trim());
            return;
        }
        _ => expr.to_string(),
    };
    if line.len() <= LINE_BYTES_MAX {
        // Prometheus does not indent a subquery that stays on its line.
        if !matches!(expr.kind, ExprKind::Subquery(_)) {
            indent(out, level);
        }
        out.push_str(&line);
        return;
    }
    match &expr.kind {
        ExprKind::Aggregate(aggregate) => split_aggregate(out, aggregate, level),
        ExprKind::Binary(binary) => split_binary(out, binary, level),
        ExprKind::Call(call) => split_call(out, call, level),
        ExprKind::Paren(inner) => {
            indent(out, level);
            out.push_str("(\n");
            print_pretty(out, inner, level + 1);
            close(out, level);
        }
        ExprKind::Subquery(subquery) if !needs_parens(&subquery.expr, Place::BeforeBracket) => {
            print_pretty(out, &subquery.expr, level);
            print_subquery_suffix(out, subquery);
        }
        _ => {
            indent(out, level);
            out.push_str(&line);
        }
    }
}

fn split_aggregate(out: &mut String, aggregate: &Aggregate, level: usize) {
    indent(out, level);
    print_aggregate_head(out, aggregate);
    out.push_str("(\n");
    if let Some(param) = &aggregate.param {
        print_pretty(out, param, level + 1);
        out.push_str(",\n");
    }
    print_pretty(out, &aggregate.expr, level + 1);
    close(out, level);
}

fn split_binary(out: &mut String, binary: &Binary, level: usize) {
    split_operand(out, &binary.lhs, Place::Left(binary.op), level + 1);
    out.push('\n');
    indent(out, level);
    print_operator(out, binary);
    out.push('\n');
    split_operand(out, &binary.rhs, Place::Right(binary.op), level + 1);
}

/// An operand on its own lines; one that needs parentheses (no parser makes it) stays on one.
fn split_operand(out: &mut String, operand: &Expr, place: Place, level: usize) {
    let plain_number = matches!(operand.kind, ExprKind::Number(_));
    if plain_number || needs_parens(operand, place) {
        indent(out, level);
        print_operand(out, operand, place);
    } else {
        print_pretty(out, operand, level);
    }
}

fn split_call(out: &mut String, call: &Call, level: usize) {
    indent(out, level);
    out.push_str(call.function.name);
    out.push_str("(\n");
    for (index, arg) in call.args.iter().enumerate() {
        if index > 0 {
            out.push_str(",\n");
        }
        print_pretty(out, arg, level + 1);
    }
    close(out, level);
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str(INDENT);
    }
}
