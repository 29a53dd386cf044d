//! Function calls and aggregations.

use super::{Context, Parse, Parser};
use crate::model::quote_label_value;
use crate::syntax::ast::{Aggregate, AggregateOp, Call, ExprKind, NumberLiteral};
use crate::syntax::function_table::Function;
use crate::syntax::literal::unquote;
use crate::syntax::token::{Keyword, TokenKind};

/// `by (…)` or `without (…)`.
struct Grouping {
    labels: Vec<String>,
    without: bool,
}

impl AggregateOp {
    /// Does it take a parameter in front of what it aggregates?
    pub fn has_param(self) -> bool {
        matches!(
            self,
            Self::Topk | Self::Bottomk | Self::CountValues | Self::Quantile | Self::Limitk | Self::LimitRatio
        )
    }

    /// Refused unless `promql-experimental-functions` is on.
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

impl Parser<'_> {
    /// `name(a, b)`; left on `operands`.
    pub(super) fn call(&mut self) -> Parse {
        let name = self.take();
        let base = self.operands.len();
        self.arguments()?;
        self.finish_call(name.start, name.end, base)
    }

    /// `(a, b)`; every argument is left on `operands`.
    fn arguments(&mut self) -> Parse {
        self.expect(TokenKind::LeftParen)?;
        if self.accept(TokenKind::RightParen) {
            return Ok(());
        }
        self.expression(0)?;
        while self.kind() == TokenKind::Comma {
            let comma = self.take();
            let kind = self.kind();
            if Self::begins_expression(kind) || kind == TokenKind::Error {
                self.expression(0)?;
            } else {
                self.error(comma.span(), "trailing commas not allowed in function call args");
            }
        }
        self.expect(TokenKind::RightParen)?;
        Ok(())
    }

    #[inline(never)]
    fn finish_call(&mut self, start: usize, name_end: usize, base: usize) -> Parse {
        let name = &self.query[start..name_end];
        let span = start..self.last_end();
        let arguments = self.operands.split_off(base);
        let levels = 1 + arguments.iter().map(|operand| operand.levels).max().unwrap_or(0);
        self.check_levels(levels)?;
        let Some(function) = Function::lookup(name) else {
            let message = format!("unknown function with name {}", quote_label_value(name));
            self.error(start..name_end, message);
            // Anything will do for the tree: it is thrown away with an error.
            self.push(ExprKind::Number(NumberLiteral { value: 0.0, duration: false }), span, levels);
            return Ok(());
        };
        if function.experimental && !self.features.experimental_functions {
            self.error(start..name_end, format!("function {} is not enabled", quote_label_value(name)));
        }
        let args = arguments.into_iter().map(|operand| operand.expr).collect();
        self.push(ExprKind::Call(Call { function, args }), span, levels);
        Ok(())
    }

    /// `sum by (a) (b)` or `sum (b) by (a)`; left on `operands`.
    pub(super) fn aggregation(&mut self, op: AggregateOp) -> Parse {
        let start = self.take().start;
        let base = self.operands.len();
        self.enter(Context::Aggregation);
        let mut grouping = self.grouping()?.map(Box::new);
        self.arguments()?;
        if grouping.is_none() {
            if self.kind() == TokenKind::Error {
                // Prometheus has read on to look for a grouping, and tells of that first.
                return Err(self.unexpected());
            }
            grouping = self.grouping()?.map(Box::new);
        }
        self.leave();
        self.finish_aggregation(op, start, base, grouping)
    }

    #[inline(never)]
    fn finish_aggregation(
        &mut self,
        op: AggregateOp,
        start: usize,
        base: usize,
        grouping: Option<Box<Grouping>>,
    ) -> Parse {
        let span = start..self.last_end();
        let arguments = self.operands.split_off(base);
        let levels = 1 + arguments.iter().map(|operand| operand.levels).max().unwrap_or(0);
        self.check_levels(levels)?;
        let count = arguments.len();
        let expected = if op.has_param() { 2 } else { 1 };
        let problem = if count == 0 {
            Some("no arguments for aggregate expression provided".to_owned())
        } else if op.is_experimental() && !self.features.experimental_functions {
            Some(format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.name()
            ))
        } else if count != expected {
            Some(format!(
                "wrong number of arguments for aggregate expression provided, expected {expected}, got {count}"
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.error(span.clone(), problem);
        }
        let mut arguments = arguments.into_iter().map(|operand| operand.expr);
        let param = if expected == 2 { arguments.next() } else { None };
        let Some(expr) = arguments.next() else {
            // An argument is missing, which is among the errors: the tree is thrown away.
            self.push(ExprKind::Number(NumberLiteral { value: 0.0, duration: false }), span, levels);
            return Ok(());
        };
        let Grouping { labels, without } =
            grouping.map_or(Grouping { labels: Vec::new(), without: false }, |grouping| *grouping);
        let aggregate = Aggregate { op, expr, param, grouping: labels, without };
        self.push(ExprKind::Aggregate(Box::new(aggregate)), span, levels);
        Ok(())
    }

    #[inline(never)]
    fn grouping(&mut self) -> Parse<Option<Grouping>> {
        let TokenKind::Keyword(word @ (Keyword::By | Keyword::Without)) = self.kind() else { return Ok(None) };
        self.take();
        Ok(Some(Grouping { labels: self.grouping_labels()?, without: word == Keyword::Without }))
    }

    /// `(a, "b c")` behind `by`, `on` and their like.
    #[inline(never)]
    pub(super) fn grouping_labels(&mut self) -> Parse<Vec<String>> {
        if !self.accept(TokenKind::LeftParen) {
            return Err(self.unexpected_in("grouping opts", "\"(\""));
        }
        let mut labels = Vec::new();
        if self.accept(TokenKind::RightParen) {
            return Ok(labels);
        }
        loop {
            labels.push(self.grouping_label()?);
            if self.accept(TokenKind::Comma) {
                if self.accept(TokenKind::RightParen) {
                    return Ok(labels);
                }
            } else if self.accept(TokenKind::RightParen) {
                return Ok(labels);
            } else {
                return Err(self.unexpected_in("grouping opts", "\",\" or \")\""));
            }
        }
    }

    fn grouping_label(&mut self) -> Parse<String> {
        let token = self.peek();
        let text = token.text(self.query);
        if token.kind.is_grouping_label() {
            self.take();
            return Ok(text.to_owned());
        }
        if token.kind != TokenKind::String {
            return Err(self.unexpected_in("grouping opts", "label"));
        }
        self.take();
        match String::from_utf8(unquote(text)) {
            Ok(label) if !label.is_empty() => Ok(label),
            invalid => {
                let bytes = invalid.map_or_else(|error| error.into_bytes(), String::into_bytes);
                let quoted = crate::syntax::print::quote_bytes(&bytes);
                self.error(token.span(), format!("invalid label name for grouping: {quoted}"));
                Ok(String::new())
            }
        }
    }
}
