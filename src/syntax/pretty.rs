//! Tree → text over several lines, as Prometheus' `format_query` lays it out.

use super::ast::{Aggregate, Binary, Call, Expr, ExprKind};
use super::print::{
    Place, needs_parens, print_aggregate_head, print_expr, print_operand, print_operator, print_subquery_suffix, sign,
};
use super::visit::children;

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
    match &expr.kind {
        // Its own text decides nothing: the operand may be split.
        ExprKind::Unary(op, inner) if !needs_parens(inner, Place::BehindSign) => {
            indent(out, level);
            out.push(sign(*op));
            let mut operand = String::new();
            print_pretty(&mut operand, inner, level);
            out.push_str(operand.trim());
            return;
        }
        _ => {
            if let Some(line) = short_line(expr) {
                // Prometheus does not indent a subquery that stays on its line.
                if !matches!(expr.kind, ExprKind::Subquery(_)) {
                    indent(out, level);
                }
                out.push_str(&line);
                return;
            }
        }
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
            print_expr(out, expr);
        }
    }
}

/// The text of an expression that fits on a line.
fn short_line(expr: &Expr) -> Option<String> {
    // Every node is a byte at least: a large tree need not be printed at each of its levels to know that it is too long.
    let mut waiting = vec![expr];
    for _ in 0..LINE_BYTES_MAX {
        let Some(expr) = waiting.pop() else { break };
        waiting.extend(children(expr));
    }
    if !waiting.is_empty() {
        return None;
    }
    Some(expr.to_string()).filter(|line| line.len() <= LINE_BYTES_MAX)
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

#[cfg(test)]
mod tests {
    use super::super::{Features, parse};
    use super::*;

    fn lines(query: &str) -> Vec<String> {
        let expr = parse(query, &Features::default()).expect(query);
        pretty(&expr).lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_fits_stays_on_its_line() {
        assert_eq!(lines("sum(\n  foo\n)   by (a) # c"), ["sum by (a) (foo)"]);
    }

    #[test]
    fn long_queries_are_split_as_prometheus_splits_them() {
        let name = "a_metric_with_a_name_that_is_long_enough_to_fill_more_than_half_of_one_line";
        let query = format!(
            "-topk by (x) (5, rate({name}[5m])) / on (x) group_left () (max_over_time(({name} + {name})[5m:1m]) > bool 1)"
        );
        assert_eq!(
            lines(&query),
            [
                "  -topk by (x) (".to_owned(),
                "    5,".to_owned(),
                format!("    rate({name}[5m])"),
                "  )".to_owned(),
                "/ on (x) group_left ()".to_owned(),
                "  (".to_owned(),
                "      max_over_time(".to_owned(),
                "        (".to_owned(),
                format!("            {name}"),
                "          +".to_owned(),
                format!("            {name}"),
                "        )[5m:1m]".to_owned(),
                "      )".to_owned(),
                "    > bool".to_owned(),
                "      1".to_owned(),
                "  )".to_owned(),
            ]
        );
    }

    #[test]
    fn a_large_tree_is_not_printed_at_each_of_its_levels() {
        // Each number is printed with 301 digits: 900 times over it would take seconds.
        let query = format!("{}{}1{}", "(".repeat(900), "1e300*(1e300+1e300)+".repeat(80), ")".repeat(900));
        assert!(lines(&query).len() > 1800);
    }
}
