//! `name{label="value"}`.

use super::{Parse, Parser};
use crate::model::{MatchOp, Matcher};
use crate::syntax::ast::{BinaryOp, ExprKind, VectorSelector};
use crate::syntax::literal::unquote;
use crate::syntax::token::TokenKind;

const METRIC_NAME: &str = "__name__";

impl Parser<'_> {
    /// A selector without its range and modifiers; left on `operands`.
    #[inline(never)]
    pub(super) fn selector(&mut self) -> Parse {
        let start = self.peek().start;
        let name =
            if self.kind() == TokenKind::LeftBrace { None } else { Some(self.take().text(self.query).to_owned()) };
        let mut matchers = Vec::new();
        if self.accept(TokenKind::LeftBrace) {
            self.label_matchers(&mut matchers)?;
        }
        if let Some(name) = &name {
            // Last, as in Prometheus: the check for a second name relies on it.
            matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        let span = start..self.last_end();
        let selector = VectorSelector { name, matchers, offset: None, at: None, extension: None };
        self.push(ExprKind::VectorSelector(selector), span, 1);
        Ok(())
    }

    /// Everything up to the right brace, and it.
    fn label_matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parse {
        if self.accept(TokenKind::RightBrace) {
            return Ok(());
        }
        loop {
            matchers.push(self.label_matcher()?);
            let comma = self.accept(TokenKind::Comma);
            if self.accept(TokenKind::RightBrace) {
                return Ok(());
            }
            if !comma {
                return Err(self.unexpected_in("label matching", "\",\" or \"}\""));
            }
        }
    }

    /// `label="value"`, `"label"="value"`, or `"metric name"`.
    fn label_matcher(&mut self) -> Parse<Matcher> {
        let label = self.peek();
        if !matches!(label.kind, TokenKind::Identifier | TokenKind::String) {
            return Err(self.unexpected_in("label matching", "identifier or \"}\""));
        }
        self.take();
        let quoted = label.kind == TokenKind::String;
        let name = if quoted { unquote_text(label.text(self.query)) } else { label.text(self.query).to_owned() };
        let op = match self.kind() {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::MatchRegex => MatchOp::Regex,
            TokenKind::MatchNotRegex => MatchOp::NotRegex,
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected_in("label matching", "label matching operator")),
        };
        self.take();
        if self.kind() != TokenKind::String {
            return Err(self.unexpected_in("label matching", "string"));
        }
        let value = self.take();
        let matcher = Matcher::new(name, op, unquote_text(value.text(self.query)));
        if let Err(error) = matcher.compile() {
            self.error(label.start..value.end, error.to_string());
        }
        Ok(matcher)
    }
}

/// A string as text. Bytes that are not UTF-8 become U+FFFD: no label of a target holds them, so such a matcher selects nothing
/// that Prometheus would select.
fn unquote_text(text: &str) -> String {
    String::from_utf8_lossy(&unquote(text)).into_owned()
}
