//! Binary operators: precedence, `bool`, `on`, `group_left`, `fill`.

use super::{Parse, Parser};
use crate::syntax::ast::{Binary, BinaryOp, Cardinality, ExprKind, VectorMatching};
use crate::syntax::token::{Keyword, TokenKind};

/// How tightly `^` binds; an operand behind a sign is made of nothing looser.
pub(super) const PRECEDENCE_POW: u8 = 6;

/// How tightly an operator binds; a sign binds as `*` does, so `-1^2` is -1.
pub(in crate::syntax) fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => PRECEDENCE_POW,
    }
}

/// An operator with its modifiers, while its right operand is read.
pub(super) struct BinaryHead {
    op: BinaryOp,
    return_bool: bool,
    matching: VectorMatching,
}

impl Parser<'_> {
    /// Reads the operator and everything up to the right operand; left on `heads`.
    #[inline(never)]
    pub(super) fn binary_head(&mut self, op: BinaryOp) -> Parse {
        self.take();
        let return_bool = self.accept(TokenKind::Keyword(Keyword::Bool));
        let mut matching = VectorMatching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        if let TokenKind::Keyword(word @ (Keyword::On | Keyword::Ignoring)) = self.kind() {
            self.take();
            matching.on = word == Keyword::On;
            matching.labels = self.grouping_labels()?;
            if let TokenKind::Keyword(side @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.kind() {
                self.take();
                matching.cardinality =
                    if side == Keyword::GroupLeft { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                let fills =
                    matches!(self.kind(), TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight));
                if self.kind() == TokenKind::LeftParen || !(fills || Self::begins_expression(self.kind())) {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill_modifiers(&mut matching)?;
        self.heads.push(BinaryHead { op, return_bool, matching });
        Ok(())
    }

    /// `fill (x)`, or `fill_left (x)` and `fill_right (y)` in either order.
    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parse {
        let TokenKind::Keyword(first @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) = self.kind() else {
            return Ok(());
        };
        self.take();
        let value = Some(self.fill_value()?);
        let (own, other, other_word) = match first {
            Keyword::FillLeft => (&mut matching.fill_left, &mut matching.fill_right, Keyword::FillRight),
            Keyword::FillRight => (&mut matching.fill_right, &mut matching.fill_left, Keyword::FillLeft),
            _ => {
                matching.fill_left = value;
                matching.fill_right = value;
                return Ok(());
            }
        };
        *own = value;
        if self.accept(TokenKind::Keyword(other_word)) {
            *other = Some(self.fill_value()?);
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parse<f64> {
        self.expect(TokenKind::LeftParen)?;
        let negative = self.accept(TokenKind::Operator(BinaryOp::Sub));
        if !negative {
            self.accept(TokenKind::Operator(BinaryOp::Add));
        }
        if !matches!(self.kind(), TokenKind::Number | TokenKind::Duration) {
            return Err(self.unexpected());
        }
        let token = self.take();
        let value = self.number_literal(token).value;
        self.expect(TokenKind::RightParen)?;
        Ok(if negative { -value } else { value })
    }

    /// Joins the last two operands by the last head.
    #[inline(never)]
    pub(super) fn finish_binary(&mut self) -> Parse {
        let head = self.heads.pop().expect("binary_head left one");
        let rhs = self.pop();
        let lhs = self.pop();
        let levels = 1 + lhs.levels.max(rhs.levels);
        self.check_levels(levels)?;
        let span = lhs.expr.span.start..rhs.expr.span.end;
        let has_fill = head.matching.fill_left.is_some() || head.matching.fill_right.is_some();
        if has_fill && !self.features.binop_fill_modifiers {
            self.error(span.clone(), "binop fill modifiers are experimental and not enabled");
        }
        let binary = Binary {
            op: head.op,
            lhs: lhs.expr,
            rhs: rhs.expr,
            return_bool: head.return_bool,
            matching: Some(head.matching),
        };
        self.push(ExprKind::Binary(Box::new(binary)), span, levels);
        Ok(())
    }
}
