//! Walking over trees. Neither walk recurses, so a deep tree costs no stack.

use super::ast::{Expr, ExprKind};

/// Calls `visit` for every expression of a tree, parents before children, from left to right; the parameters of aggregations
/// and the arguments of calls too. A range selector has no children: its selector is a part of it.
pub fn walk(expr: &Expr, visit: &mut impl FnMut(&Expr)) {
    let mut waiting = vec![expr];
    while let Some(expr) = waiting.pop() {
        visit(expr);
        waiting.extend(children(expr).into_iter().rev());
    }
}

/// The expressions directly below one, from left to right.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => vec![inner],
        ExprKind::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        ExprKind::Call(call) => call.args.iter().collect(),
        ExprKind::Subquery(subquery) => vec![&subquery.expr],
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::VectorSelector(_) | ExprKind::MatrixSelector(_) => {
            Vec::new()
        }
    }
}

/// As [`walk`], for changing a tree: `visit` sees a parent first, and what it puts in its place is walked.
pub fn walk_mut(expr: &mut Expr, visit: &mut impl FnMut(&mut Expr)) {
    let mut waiting = vec![expr];
    while let Some(expr) = waiting.pop() {
        visit(expr);
        match &mut expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => waiting.push(inner),
            ExprKind::Binary(binary) => {
                let binary = &mut **binary;
                waiting.extend([&mut binary.rhs, &mut binary.lhs]);
            }
            ExprKind::Aggregate(aggregate) => {
                let aggregate = &mut **aggregate;
                waiting.push(&mut aggregate.expr);
                waiting.extend(&mut aggregate.param);
            }
            ExprKind::Call(call) => waiting.extend(call.args.iter_mut().rev()),
            ExprKind::Subquery(subquery) => waiting.push(&mut subquery.expr),
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::VectorSelector(_) | ExprKind::MatrixSelector(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Features, parse};
    use super::*;
    use crate::model::Matcher;

    #[test]
    fn every_expression_is_visited_once_and_parents_first() {
        let query =
            "topk(scalar(a), -(b)) + rate(c[5m]) * max_over_time(label_replace(d, \"e\", \"f\", \"g\", \"h\")[5m:])";
        let mut expr = parse(query, &Features::default()).expect(query);
        let mut seen = Vec::new();
        walk(&expr, &mut |expr| seen.push(query[expr.span.clone()].to_owned()));
        let short: Vec<&str> = seen.iter().map(String::as_str).filter(|text| text.len() < 8).collect();
        assert_eq!(short.join(" "), "a -(b) (b) b c[5m] d \"e\" \"f\" \"g\" \"h\"");
        assert_eq!(seen.len(), 18);

        walk_mut(&mut expr, &mut |expr| {
            if let ExprKind::VectorSelector(selector) = &mut expr.kind {
                selector.matchers.push(Matcher::equal("x", "y"));
            }
        });
        let mut changed = 0;
        walk(&expr, &mut |expr| {
            changed += usize::from(matches!(&expr.kind, ExprKind::VectorSelector(s) if s.matchers.len() == 2));
        });
        assert_eq!(changed, 3);
    }
}
