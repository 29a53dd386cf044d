//! What follows an expression: `[5m]`, `[1h:5m]`, `offset`, `@`, `anchored`, `smoothed`.

use super::{Context, Parse, Parser};
use crate::model::TimestampMs;
use crate::syntax::ast::{
    AtModifier, BinaryOp, DurationExpr, DurationExprKind, Expr, ExprKind, MatrixSelector, RangeExtension, Subquery,
    VectorSelector,
};
use crate::syntax::duration_expr::DurationOperand;
use crate::syntax::print::is_open_arithmetic;
use crate::syntax::token::{Builtin, Keyword, TokenKind};

const NOT_A_SELECTOR: &str =
    "modifier must be preceded by an instant vector selector or range vector selector or a subquery";

impl Parser<'_> {
    /// Applies all modifiers to the last operand.
    pub(super) fn modifiers(&mut self) -> Parse {
        loop {
            match self.kind() {
                TokenKind::LeftBracket => self.bracket()?,
                TokenKind::Keyword(Keyword::Offset) => self.offset()?,
                TokenKind::At => self.at()?,
                TokenKind::Keyword(Keyword::Anchored) => self.extension(RangeExtension::Anchored),
                TokenKind::Keyword(Keyword::Smoothed) => self.extension(RangeExtension::Smoothed),
                _ => return Ok(()),
            }
        }
    }

    fn last_operand(&mut self) -> &mut Expr {
        &mut self.operands.last_mut().expect("modifiers follow an operand").expr
    }

    /// `[range]`, `[range:]` or `[range:step]`.
    fn bracket(&mut self) -> Parse {
        let open = self.take();
        self.enter(Context::RangeStart);
        self.duration_expr(0)?;
        self.leave();
        let range = self.positive_duration()?;
        if self.kind() == TokenKind::RightBracket {
            let close = self.take();
            return self.finish_range(range, open.start..close.end);
        }
        if !self.accept(TokenKind::Colon) {
            return Err(self.unexpected_in("subquery or range", "\":\" or \"]\""));
        }
        let mut step = None;
        if self.kind() != TokenKind::RightBracket {
            self.enter(Context::StepStart);
            self.duration_expr(0)?;
            self.leave();
            step = Some(self.positive_duration()?);
            if self.kind() != TokenKind::RightBracket {
                return Err(self.unexpected_in("subquery selector", "\"]\""));
            }
        }
        self.take();
        self.finish_subquery(range, step)
    }

    /// The last duration, which must be more than nothing where its value is known.
    fn positive_duration(&mut self) -> Parse<DurationOperand> {
        if self.kind() == TokenKind::Error {
            // Prometheus has read on to find the end of the duration, and tells of that first.
            return Err(self.unexpected());
        }
        let duration = self.pop_duration();
        if let DurationExprKind::Literal(number) = &duration.expr.kind
            && number.value <= 0.0
        {
            self.error(duration.expr.span.clone(), "duration must be greater than 0");
        }
        Ok(DurationOperand { expr: canonical(duration.expr), levels: duration.levels })
    }

    fn finish_range(&mut self, range: DurationOperand, brackets: std::ops::Range<usize>) -> Parse {
        let operand = self.pop();
        let problem = match &operand.expr.kind {
            ExprKind::VectorSelector(selector) if selector.offset.is_some() => {
                "no offset modifiers allowed before range"
            }
            ExprKind::VectorSelector(selector) if selector.at.is_some() => "no @ modifiers allowed before range",
            ExprKind::VectorSelector(_) => "",
            _ => "ranges only allowed for vector selectors",
        };
        if !problem.is_empty() {
            self.error(brackets, problem);
            self.operands.push(operand);
            return Ok(());
        }
        let levels = 1 + operand.levels.max(range.levels);
        self.check_levels(levels)?;
        let span = operand.expr.span.start..self.last_end();
        if let Expr { kind: ExprKind::VectorSelector(selector), span: selector_span } = operand.expr {
            let matrix = MatrixSelector { selector, selector_span, range: range.expr };
            self.push(ExprKind::MatrixSelector(matrix), span, levels);
        }
        Ok(())
    }

    fn finish_subquery(&mut self, range: DurationOperand, step: Option<DurationOperand>) -> Parse {
        let operand = self.pop();
        let step_levels = step.as_ref().map_or(0, |step| step.levels);
        let levels = 1 + operand.levels.max(range.levels).max(step_levels);
        self.check_levels(levels)?;
        let span = operand.expr.span.start..self.last_end();
        let step = step.map(|step| step.expr);
        let subquery = Subquery { expr: operand.expr, range: range.expr, step, offset: None, at: None };
        self.push(ExprKind::Subquery(Box::new(subquery)), span, levels);
        Ok(())
    }

    fn offset(&mut self) -> Parse {
        self.take();
        self.enter(Context::Offset);
        self.offset_duration()?;
        self.leave();
        let DurationOperand { expr: duration, levels } = self.pop_duration();
        let operand = self.operands.last_mut().expect("modifiers follow an operand");
        operand.levels = operand.levels.max(levels + 1);
        let levels = operand.levels;
        self.check_levels(levels)?;
        let end = self.last_end();
        let expr = self.last_operand();
        let span = expr.span.clone();
        let Some((offset, _)) = time_modifiers(expr) else {
            self.error(span, format!("offset {NOT_A_SELECTOR}"));
            return Ok(());
        };
        if offset.is_some() {
            self.error(span, "offset may not be set multiple times");
            return Ok(());
        }
        // `offset 0` is no offset: Prometheus prints none and lets a second one follow.
        let nothing =
            matches!(&duration.kind, DurationExprKind::Literal(number) if (number.value * 1e9).round() == 0.0);
        if !nothing {
            *offset = Some(parenthesized(canonical(duration)));
        }
        expr.span.end = end;
        Ok(())
    }

    fn at(&mut self) -> Parse {
        self.take();
        self.enter(Context::At);
        let span = self.last_operand().span.clone();
        let at = match self.kind() {
            TokenKind::Builtin(word @ (Builtin::Start | Builtin::End)) => {
                self.take();
                self.expect(TokenKind::LeftParen)?;
                self.expect(TokenKind::RightParen)?;
                if word == Builtin::Start { AtModifier::Start } else { AtModifier::End }
            }
            _ => {
                let seconds = self.at_seconds()?;
                // Prometheus lets through what fits into seconds and wraps around as milliseconds.
                AtModifier::Timestamp(TimestampMs::from_float_seconds(seconds).unwrap_or_else(|| {
                    let text = format_fixed(seconds);
                    self.error(span.clone(), format!("timestamp out of bounds for @ modifier: {text}"));
                    TimestampMs(0)
                }))
            }
        };
        self.leave();
        let end = self.last_end();
        let expr = self.last_operand();
        let Some((_, modifier)) = time_modifiers(expr) else {
            self.error(span, format!("@ {NOT_A_SELECTOR}"));
            return Ok(());
        };
        if modifier.is_some() {
            self.error(span, "@ <timestamp> may not be set multiple times");
            return Ok(());
        }
        *modifier = Some(at);
        expr.span.end = end;
        Ok(())
    }

    fn at_seconds(&mut self) -> Parse<f64> {
        let negative = self.accept(TokenKind::Operator(BinaryOp::Sub));
        if !negative {
            self.accept(TokenKind::Operator(BinaryOp::Add));
        }
        if !matches!(self.kind(), TokenKind::Number | TokenKind::Duration) {
            return Err(self.unexpected());
        }
        let token = self.take();
        let value = self.number_literal(token).value;
        Ok(if negative { -value } else { value })
    }

    /// `anchored` or `smoothed`.
    fn extension(&mut self, extension: RangeExtension) {
        self.take();
        let word = if extension == RangeExtension::Anchored { "anchored" } else { "smoothed" };
        let enabled = self.features.extended_range_selectors;
        let expr = self.last_operand();
        let span = expr.span.clone();
        let selector = match &mut expr.kind {
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector(MatrixSelector { selector, .. }) => {
                Ok(selector)
            }
            ExprKind::Subquery(_) => Err("not supported for subqueries"),
            _ => Err("not implemented"),
        };
        let problem = match selector {
            _ if !enabled => format!("{word} modifier is experimental and not enabled"),
            Ok(VectorSelector { extension: Some(other), .. }) if *other != extension => {
                "anchored and smoothed modifiers cannot be used together".to_owned()
            }
            Ok(selector) => {
                selector.extension = Some(extension);
                return;
            }
            Err(problem) if problem.starts_with("not supported") => format!("{word} modifier is {problem}"),
            Err(problem) => format!("{word} modifier {problem}"),
        };
        self.error(span, problem);
    }
}

/// The places for `offset` and `@` of what can have them.
fn time_modifiers(expr: &mut Expr) -> Option<(&mut Option<DurationExpr>, &mut Option<AtModifier>)> {
    match &mut expr.kind {
        ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector(MatrixSelector { selector, .. }) => {
            Some((&mut selector.offset, &mut selector.at))
        }
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

/// A literal alone is a duration however it was written: `[300]` prints as `[5m]`. What is no whole number of milliseconds
/// keeps the form of a number.
fn canonical(mut duration: DurationExpr) -> DurationExpr {
    if let DurationExprKind::Literal(number) = &mut duration.kind {
        let ms = number.value * 1e3;
        number.duration = ms.round() / 1e3 == number.value;
    }
    duration
}

/// `offset (5) + 3` is an offset of 8 in Prometheus' grammar, while `offset 5 + 3` is not, and `offset + -2 ^ 2` is one of -4,
/// while `offset -2 ^ 2` is not: the parentheses that say so when it is printed.
fn parenthesized(duration: DurationExpr) -> DurationExpr {
    if !is_open_arithmetic(&duration) {
        return duration;
    }
    let span = duration.span.clone();
    DurationExpr { kind: DurationExprKind::Paren(Box::new(duration)), span }
}

/// As Go's `%f`.
fn format_fixed(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value:.6}")
    }
}
