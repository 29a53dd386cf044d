//! Durations in brackets and behind `offset`: literals and their arithmetic.

use super::ast::{BinaryOp, DurationExpr, DurationExprKind, NumberLiteral, UnaryOp};
use super::parser::{Parse, Parser};
use super::span::Span;
use super::token::{Builtin, Token, TokenKind};

/// A finished duration and the levels of its tree.
pub(super) struct DurationOperand {
    pub expr: DurationExpr,
    pub levels: usize,
}

/// The longest duration in seconds: Go counts nanoseconds in an `i64`.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

const PRECEDENCE_POW: u8 = 3;

/// How tightly an operator binds; `None` for those that durations do not have. A sign binds as `*` does.
fn precedence(op: BinaryOp) -> Option<u8> {
    match op {
        BinaryOp::Add | BinaryOp::Sub => Some(1),
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => Some(2),
        BinaryOp::Pow => Some(PRECEDENCE_POW),
        _ => None,
    }
}

impl Parser<'_> {
    #[inline(never)]
    fn push_duration(&mut self, kind: DurationExprKind, span: Span, levels: usize) {
        self.durations.push(DurationOperand { expr: DurationExpr { kind, span }, levels });
    }

    pub(super) fn pop_duration(&mut self) -> DurationOperand {
        self.durations.pop().expect("every production leaves its duration")
    }

    /// A duration of operators that bind at least as tightly as `precedence_min`; left on `durations`.
    pub(super) fn duration_expr(&mut self, precedence_min: u8) -> Parse {
        self.descend()?;
        self.duration_operand()?;
        while let TokenKind::Operator(op) = self.kind() {
            let Some(binds) = precedence(op).filter(|binds| *binds >= precedence_min) else { break };
            let operator = self.take();
            self.duration_expr(if op == BinaryOp::Pow { binds } else { binds + 1 })?;
            self.finish_duration_binary(op, operator)?;
        }
        self.ascend();
        Ok(())
    }

    fn duration_operand(&mut self) -> Parse {
        match self.kind() {
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let sign = self.take();
                self.duration_expr(PRECEDENCE_POW)?;
                self.finish_duration_unary(sign)
            }
            TokenKind::Number | TokenKind::Duration => {
                self.duration_literal();
                Ok(())
            }
            TokenKind::Builtin(Builtin::Step | Builtin::Range | Builtin::MinOf | Builtin::MaxOf) => {
                self.duration_function()
            }
            TokenKind::LeftParen => self.duration_paren(),
            _ => Err(self.unexpected()),
        }
    }

    /// What may follow `offset`. A literal, a function or a parenthesis with a sign in front ends there, so that
    /// `a offset -2^2` is `(a offset -2)^2`; what begins with a parenthesis goes on.
    pub(super) fn offset_duration(&mut self) -> Parse {
        match self.kind() {
            TokenKind::Number | TokenKind::Duration => {
                self.duration_literal();
                Ok(())
            }
            TokenKind::Builtin(_) => self.duration_operand(),
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) if !self.sign_follows_sign() => {
                let sign = self.take();
                self.duration_operand()?;
                self.finish_duration_unary(sign)
            }
            _ => self.duration_expr(0),
        }
    }

    fn sign_follows_sign(&self) -> bool {
        matches!(self.kind_behind(), TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub))
    }

    #[inline(never)]
    fn duration_literal(&mut self) {
        let token = self.take();
        let mut number = self.number_literal(token);
        if number.value.abs() > SECONDS_MAX || number.value.is_nan() {
            self.error(token.span(), "duration out of range");
            number.value = 0.0;
        }
        self.push_duration(DurationExprKind::Literal(number), token.span(), 1);
    }

    /// `step()`, `range()`, `min_of(a, b)`, `max_of(a, b)`.
    fn duration_function(&mut self) -> Parse {
        let name = self.take();
        self.expect(TokenKind::LeftParen)?;
        if matches!(name.kind, TokenKind::Builtin(Builtin::MinOf | Builtin::MaxOf)) {
            self.duration_expr(0)?;
            self.expect(TokenKind::Comma)?;
            self.duration_expr(0)?;
        }
        self.expect(TokenKind::RightParen)?;
        self.finish_duration_function(name)
    }

    #[inline(never)]
    fn finish_duration_function(&mut self, name: Token) -> Parse {
        let span = name.start..self.last_end();
        let make = match name.kind {
            TokenKind::Builtin(Builtin::MinOf) => DurationExprKind::MinOf,
            TokenKind::Builtin(Builtin::MaxOf) => DurationExprKind::MaxOf,
            TokenKind::Builtin(Builtin::Step) => {
                self.push_duration(DurationExprKind::Step, span, 1);
                return Ok(());
            }
            _ => {
                self.push_duration(DurationExprKind::Range, span, 1);
                return Ok(());
            }
        };
        let rhs = self.pop_duration();
        let lhs = self.pop_duration();
        let levels = 1 + lhs.levels.max(rhs.levels);
        self.check_levels(levels)?;
        self.push_duration(make(Box::new(lhs.expr), Box::new(rhs.expr)), span, levels);
        Ok(())
    }

    /// Parentheses around a literal, or around other parentheses, leave no trace.
    fn duration_paren(&mut self) -> Parse {
        let open = self.take();
        self.duration_expr(0)?;
        let close = self.expect(TokenKind::RightParen)?;
        let inner = self.pop_duration();
        if matches!(inner.expr.kind, DurationExprKind::Literal(_) | DurationExprKind::Paren(_)) {
            self.durations.push(inner);
            return Ok(());
        }
        self.check_levels(inner.levels + 1)?;
        self.push_duration(DurationExprKind::Paren(Box::new(inner.expr)), open.start..close.end, inner.levels + 1);
        Ok(())
    }

    /// A sign becomes a part of a literal; plus leaves no trace.
    #[inline(never)]
    fn finish_duration_unary(&mut self, sign: Token) -> Parse {
        let mut inner = self.pop_duration();
        let negative = sign.kind == TokenKind::Operator(BinaryOp::Sub);
        match &mut inner.expr.kind {
            DurationExprKind::Literal(number) => {
                if negative {
                    number.value = -number.value;
                }
                inner.expr.span.start = sign.start;
                self.durations.push(inner);
            }
            _ if negative => {
                self.check_levels(inner.levels + 1)?;
                let span = sign.start..inner.expr.span.end;
                let kind = DurationExprKind::Unary(UnaryOp::Minus, Box::new(inner.expr));
                self.push_duration(kind, span, inner.levels + 1);
            }
            _ => self.durations.push(inner),
        }
        Ok(())
    }

    #[inline(never)]
    fn finish_duration_binary(&mut self, op: BinaryOp, operator: Token) -> Parse {
        let rhs = self.pop_duration();
        let lhs = self.pop_duration();
        let levels = 1 + lhs.levels.max(rhs.levels);
        self.check_levels(levels)?;
        let span = lhs.expr.span.start..rhs.expr.span.end;
        let by_zero = matches!(&rhs.expr.kind, DurationExprKind::Literal(number) if number.value == 0.0);
        let problem = match op {
            BinaryOp::Div if by_zero => "division by zero",
            BinaryOp::Mod if by_zero => "modulo by zero",
            _ => "",
        };
        if !problem.is_empty() {
            self.error(operator.span(), problem);
            let nothing = NumberLiteral { value: 0.0, duration: false };
            self.push_duration(DurationExprKind::Literal(nothing), span, 1);
            return Ok(());
        }
        let kind = DurationExprKind::Binary(op, Box::new(lhs.expr), Box::new(rhs.expr));
        self.push_duration(kind, span, levels);
        Ok(())
    }
}
