//! What is known of a tree before it is planned: durations as numbers, `@` as times, which parts are the same at every step.

use crate::error::Error;
use crate::model::{DurationMs, TimestampMs};
use crate::syntax::{
    AtModifier, BinaryOp, DurationExpr, DurationExprKind, Expr, ExprKind, Span, UnaryOp, VectorSelector,
};

/// The top-level query's own times: what `start()`, `end()`, `step()` and `range()` mean, also inside of subqueries.
#[derive(Copy, Clone, Debug)]
pub struct QueryBounds {
    /// First evaluation time.
    pub start: TimestampMs,
    /// End of the range as asked (not the last step).
    pub end: TimestampMs,
    /// Step; 0 in an instant query.
    pub step: DurationMs,
}

impl QueryBounds {
    fn step_seconds(&self) -> f64 {
        self.step.as_float_seconds()
    }

    fn range_seconds(&self) -> f64 {
        (self.end - self.start).as_float_seconds()
    }

    /// The time that an `@` names.
    pub fn resolve(&self, at: AtModifier) -> TimestampMs {
        match at {
            AtModifier::Timestamp(time) => time,
            AtModifier::Start => self.start,
            AtModifier::End => self.end,
        }
    }

    /// A range or step: more than zero.
    pub fn positive_duration(&self, duration: &DurationExpr) -> Result<DurationMs, Error> {
        let length = self.duration(duration)?;
        if length.0 <= 0 {
            return Err(out_of_bounds(&duration.span, "duration must be greater than 0"));
        }
        Ok(length)
    }

    /// An offset: any length.
    pub fn offset(&self, duration: Option<&DurationExpr>) -> Result<DurationMs, Error> {
        duration.map_or(Ok(DurationMs(0)), |duration| self.duration(duration))
    }

    /// Cut to whole milliseconds.
    fn duration(&self, duration: &DurationExpr) -> Result<DurationMs, Error> {
        let seconds = self.seconds(duration)?;
        // Go holds a duration in 63 bits of nanoseconds.
        if seconds.is_nan() || seconds.abs() >= 9_223_372_036.854_775 {
            return Err(out_of_bounds(&duration.span, "duration is out of range"));
        }
        // Literals are whole milliseconds; a product such as 0.001·1000 may come out a hair below one.
        let ms = seconds * 1000.0;
        let nearest = ms.round();
        let whole = if (ms - nearest).abs() < 1e-6 { nearest } else { ms.trunc() };
        Ok(DurationMs(whole as i64))
    }

    fn seconds(&self, duration: &DurationExpr) -> Result<f64, Error> {
        Ok(match &duration.kind {
            DurationExprKind::Literal(number) => number.value,
            DurationExprKind::Step => self.step_seconds(),
            DurationExprKind::Range => self.range_seconds(),
            DurationExprKind::Paren(inner) => self.seconds(inner)?,
            DurationExprKind::Unary(UnaryOp::Plus, inner) => self.seconds(inner)?,
            DurationExprKind::Unary(UnaryOp::Minus, inner) => -self.seconds(inner)?,
            DurationExprKind::MinOf(a, b) => self.seconds(a)?.min(self.seconds(b)?),
            DurationExprKind::MaxOf(a, b) => self.seconds(a)?.max(self.seconds(b)?),
            DurationExprKind::Binary(op, a, b) => self.arithmetic(*op, self.seconds(a)?, self.seconds(b)?, b)?,
        })
    }

    fn arithmetic(&self, op: BinaryOp, a: f64, b: f64, right: &DurationExpr) -> Result<f64, Error> {
        Ok(match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div if b == 0.0 => return Err(out_of_bounds(&right.span, "division by zero")),
            BinaryOp::Div => a / b,
            BinaryOp::Mod if b == 0.0 => return Err(out_of_bounds(&right.span, "modulo by zero")),
            BinaryOp::Mod => a % b,
            BinaryOp::Pow => a.powf(b),
            _ => return Err(out_of_bounds(&right.span, "unexpected operator in a duration")),
        })
    }
}

fn out_of_bounds(span: &Span, text: &str) -> Error {
    Error::bad_data(format!("{}:{}: {text}", span.start, span.end))
}

/// Functions whose value depends on the evaluation time even where their arguments do not.
const TIME_DEPENDENT: [&str; 17] = [
    "time",
    "timestamp",
    "predict_linear",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "year",
    "start",
    "end",
    "step",
    "range",
    "start_timestamp",
    // What describes a series may change while the series does not.
    "info",
];

/// Is the value the same at every step? As Prometheus: of an aggregation only the operand is looked at.
pub fn is_step_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => is_step_invariant(inner),
        ExprKind::Binary(binary) => is_step_invariant(&binary.lhs) && is_step_invariant(&binary.rhs),
        ExprKind::Aggregate(aggregate) => is_step_invariant(&aggregate.expr),
        ExprKind::VectorSelector(selector) => selector.at.is_some(),
        ExprKind::MatrixSelector(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Call(call) if call.function.name == "timestamp" => {
            let argument = call.args.first().map(Expr::without_parens);
            matches!(argument, Some(Expr { kind: ExprKind::VectorSelector(VectorSelector { at: Some(_), .. }), .. }))
        }
        ExprKind::Call(call) => {
            !TIME_DEPENDENT.contains(&call.function.name) && call.args.iter().all(is_step_invariant)
        }
    }
}
