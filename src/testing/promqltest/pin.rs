//! The same case asked in another way: pinned to its time by `@`, long before and after that time.

use crate::model::TimestampMs;
use crate::syntax::{AtModifier, Expr, ExprKind, Features, VectorSelector, parse};

/// Functions whose result moves with the evaluation time though their arguments do not.
const TIME_DEPENDENT: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
    "start",
    "end",
    "step",
    "range",
];

/// The query with `@ time` on every selector and subquery; `None` where its value moves with the evaluation time all the
/// same, or where it does not parse.
pub fn pinned_query(query: &str, time: TimestampMs, features: &Features) -> Option<String> {
    let mut expr = parse(query, features).ok()?;
    pin_to_time(&mut expr, time).then(|| expr.to_string())
}

/// Gives every selector and subquery an `@ time`, unless it has a fixed one or stands inside of a subquery that has one (so
/// only the outermost subquery gets it). `false`: the value moves with the evaluation time all the same, and pinning
/// proves nothing.
fn pin_to_time(expr: &mut Expr, time: TimestampMs) -> bool {
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => pin_to_time(inner, time),
        ExprKind::Binary(binary) => {
            let left = pin_to_time(&mut binary.lhs, time);
            pin_to_time(&mut binary.rhs, time) && left
        }
        ExprKind::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| pin_to_time(param, time));
            pin_to_time(&mut aggregate.expr, time) && param
        }
        ExprKind::Call(call) => {
            // All of them are pinned, also behind one that moves.
            let moving =
                call.args.iter_mut().filter_map(|argument| (!pin_to_time(argument, time)).then_some(())).count();
            moving == 0 && !TIME_DEPENDENT.contains(&call.function.name)
        }
        ExprKind::VectorSelector(selector) => {
            pin_selector(selector, time);
            true
        }
        ExprKind::MatrixSelector(matrix) => {
            pin_selector(&mut matrix.selector, time);
            true
        }
        ExprKind::Subquery(subquery) => {
            // What stands inside is evaluated at the sub-steps, which no longer move.
            pin(&mut subquery.at, time);
            true
        }
    }
}

fn pin_selector(selector: &mut VectorSelector, time: TimestampMs) {
    pin(&mut selector.at, time);
}

/// `start()` and `end()` of an instant query are its time.
fn pin(at: &mut Option<AtModifier>, time: TimestampMs) {
    if !matches!(at, Some(AtModifier::Timestamp(_))) {
        *at = Some(AtModifier::Timestamp(time));
    }
}

/// When a pinned query is evaluated, long before and after its own time, where it must give the same result.
pub fn other_times(time: TimestampMs) -> Vec<TimestampMs> {
    match time.0 {
        0 => [-1_000, 0, 1_000].map(TimestampMs).to_vec(),
        at => [at.saturating_mul(-10), 0, at / 5, at, at.saturating_mul(10)].map(TimestampMs).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_pinned_unless_it_is_already() {
        let features = Features { experimental_functions: true, ..Features::default() };
        for (query, pinned) in [
            ("x", Some("x @ 60.000")),
            ("rate(x[5m] offset 1m) / y @ 5", Some("rate(x[5m] @ 60.000 offset 1m) / y @ 5.000")),
            ("x @ start() + x @ end()", Some("x @ 60.000 + x @ 60.000")),
            ("sum_over_time(rate(x[5m])[1h:1m])", Some("sum_over_time(rate(x[5m])[1h:1m] @ 60.000)")),
            ("max_over_time(x[1h:1m] @ 5)", Some("max_over_time(x[1h:1m] @ 5.000)")),
            ("sum_over_time(vector(time())[1h:1m])", Some("sum_over_time(vector(time())[1h:1m] @ 60.000)")),
            ("quantile(scalar(x), y)", Some("quantile(scalar(x @ 60.000), y @ 60.000)")),
            ("-(x)", Some("-(x @ 60.000)")),
            ("1 + 2", Some("1 + 2")),
            ("x + time()", None),
            ("topk(time(), x)", None),
            ("timestamp(x)", None),
            ("x +", None),
        ] {
            assert_eq!(pinned_query(query, TimestampMs(60_000), &features).as_deref(), pinned, "{query}");
        }
    }

    #[test]
    fn other_times_lie_on_both_sides() {
        let ms = |time| other_times(TimestampMs(time)).into_iter().map(|time| time.0).collect::<Vec<_>>();
        assert_eq!(ms(60_000), [-600_000, 0, 12_000, 60_000, 600_000]);
        assert_eq!(ms(0), [-1_000, 0, 1_000]);
    }
}
