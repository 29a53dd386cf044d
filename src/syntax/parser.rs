//! Tokens → tree: recursive descent with precedence climbing.
//!
//! Nodes under construction lie on explicit stacks (`operands`, `durations`), so that the functions that call themselves have
//! small frames: a thousand levels fit into a thread with 2 MiB of stack, in debug builds too.
//!
//! As Prometheus does, errors in the meaning (a second `offset`) are collected and reading goes on; an error in the grammar
//! ends it. The first error is the one that is told.

mod binary;
mod call;
#[cfg(test)]
mod gate_tests;
mod modifier;
mod selector;
#[cfg(test)]
mod tests;

use super::Features;
use super::ast::{BinaryOp, Expr, ExprKind, NumberLiteral, UnaryOp};
use super::check::check;
use super::lexer::lex;
use super::literal::{parse_number, unquote};
use super::parse_error::ParseError;
use super::span::Span;
use super::token::{Keyword, Token, TokenKind, describe};
use crate::model::DurationMs;
pub(super) use binary::precedence;
use binary::{BinaryHead, PRECEDENCE_POW};

use super::duration_expr::DurationOperand;

/// Longest query in bytes. The longest real ones, written by machines, have a few KiB.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;

/// Most levels of a tree, from the root to the deepest leaf; also of `a + a + …`, whose tree leans to the left.
/// Everything that walks a tree may recurse: this bound is what keeps it from overflowing its stack.
pub const TREE_LEVELS_MAX: usize = 1_000;

/// Parses and checks a query; all errors, in the order in which Prometheus finds them, at least one.
pub fn parse_collecting_errors(query: &str, features: &Features) -> Result<Expr, Vec<ParseError>> {
    if query.len() > QUERY_BYTES_MAX {
        let message = format!("query is {} bytes long, at most {QUERY_BYTES_MAX} are accepted", query.len());
        return Err(vec![ParseError { span: 0..0, message }]);
    }
    let lexed = lex(query);
    let mut parser = Parser::new(query, lexed.tokens, lexed.error, features);
    let parsed = parser.whole_query();
    let mut errors = parser.errors;
    match (parsed, parser.operands.pop()) {
        (Ok(()), Some(mut operand)) if errors.is_empty() => {
            check(&mut operand.expr, query, &mut errors);
            if errors.is_empty() { Ok(operand.expr) } else { Err(errors) }
        }
        _ => Err(errors),
    }
}

/// The grammar is broken; the reason is among the errors.
pub(super) struct Abort;

pub(super) type Parse<T = ()> = Result<T, Abort>;

/// A finished sub-expression and the levels of its tree.
pub(super) struct Operand {
    expr: Expr,
    levels: usize,
}

/// What was being read when a token did not fit: the words of the error.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Context {
    Aggregation,
    Offset,
    At,
    RangeStart,
    StepStart,
}

impl Context {
    /// Where, and what would have fitted.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Aggregation => ("aggregation", ""),
            Self::Offset => ("offset", "number, duration, step(), or range()"),
            Self::At => ("@", "timestamp"),
            Self::RangeStart => ("subquery or range selector", "number, duration, step(), or range()"),
            Self::StepStart => ("subquery selector", "number, duration, step(), range(), or \"]\""),
        }
    }
}

pub(super) struct Parser<'q> {
    pub(super) query: &'q str,
    tokens: Vec<Token>,
    at: usize,
    lexer_error: Option<String>,
    pub(super) features: Features,
    pub(super) errors: Vec<ParseError>,
    operands: Vec<Operand>,
    heads: Vec<BinaryHead>,
    pub(super) durations: Vec<DurationOperand>,
    contexts: Vec<Context>,
    levels: usize,
}

impl<'q> Parser<'q> {
    fn new(query: &'q str, tokens: Vec<Token>, lexer_error: Option<String>, features: &Features) -> Self {
        Self {
            query,
            tokens,
            at: 0,
            lexer_error,
            features: *features,
            errors: Vec::new(),
            operands: Vec::new(),
            heads: Vec::new(),
            durations: Vec::new(),
            contexts: Vec::new(),
            levels: 0,
        }
    }

    fn whole_query(&mut self) -> Parse {
        if self.kind() == TokenKind::EndOfInput {
            self.error(0..0, "no expression found in input");
            return Err(Abort);
        }
        self.expression(0)?;
        self.expect(TokenKind::EndOfInput)?;
        Ok(())
    }

    /// The token to be read next; the last one (end or error) is never passed.
    pub(super) fn peek(&self) -> Token {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn kind(&self) -> TokenKind {
        self.peek().kind
    }

    pub(super) fn kind_behind(&self) -> TokenKind {
        self.tokens.get(self.at + 1).map_or(TokenKind::EndOfInput, |token| token.kind)
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub(super) fn accept(&mut self, kind: TokenKind) -> bool {
        let accepted = self.kind() == kind;
        self.at += usize::from(accepted);
        accepted
    }

    /// Takes a token of this kind, or fails in the words of the innermost context.
    pub(super) fn expect(&mut self, kind: TokenKind) -> Parse<Token> {
        if self.kind() == kind { Ok(self.take()) } else { Err(self.unexpected()) }
    }

    /// Where the last token that was taken ends.
    pub(super) fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.end)
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    /// The next token does not fit; the words are those of the innermost context.
    pub(super) fn unexpected(&mut self) -> Abort {
        let (context, expected) = self.contexts.last().map_or(("", ""), |context| context.words());
        let abort = self.unexpected_in(context, expected);
        if self.contexts.last() == Some(&Context::Aggregation) {
            let end = self.last_end();
            self.error(end..end, "no arguments for aggregate expression provided");
        }
        abort
    }

    /// The next token does not fit, in these words.
    pub(super) fn unexpected_in(&mut self, context: &str, expected: &str) -> Abort {
        let token = self.peek();
        if token.kind == TokenKind::Error {
            let message = self.lexer_error.take().unwrap_or_default();
            self.error(token.span(), message);
            return Abort;
        }
        let mut message = format!("unexpected {}", describe(&token, self.query));
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        self.error(token.span(), message);
        Abort
    }

    pub(super) fn enter(&mut self, context: Context) {
        self.contexts.push(context);
    }

    pub(super) fn leave(&mut self) {
        self.contexts.pop();
    }

    /// Counts a level of recursion in; the tree that it yields is at least as deep.
    pub(super) fn descend(&mut self) -> Parse {
        self.levels += 1;
        self.check_levels(self.levels)
    }

    pub(super) fn ascend(&mut self) {
        self.levels -= 1;
    }

    pub(super) fn check_levels(&mut self, levels: usize) -> Parse {
        if levels <= TREE_LEVELS_MAX {
            return Ok(());
        }
        let span = self.peek().span();
        self.error(span, format!("expression is nested too deeply: more than {TREE_LEVELS_MAX} levels"));
        Err(Abort)
    }

    /// An expression of operators that bind at least as tightly as `precedence_min`; left on `operands`.
    fn expression(&mut self, precedence_min: u8) -> Parse {
        self.descend()?;
        self.operand()?;
        while let TokenKind::Operator(op) = self.kind() {
            let binds = precedence(op);
            if binds < precedence_min {
                break;
            }
            self.binary_head(op)?;
            // Only `^` takes its like on the right.
            self.expression(if op == BinaryOp::Pow { binds } else { binds + 1 })?;
            self.finish_binary()?;
        }
        self.ascend();
        Ok(())
    }

    /// One operand with its sign, or with its modifiers; left on `operands`.
    fn operand(&mut self) -> Parse {
        match self.kind() {
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let sign = self.take();
                self.expression(PRECEDENCE_POW)?;
                return self.finish_unary(sign);
            }
            TokenKind::LeftParen => {
                let open = self.take();
                self.expression(0)?;
                let close = self.expect(TokenKind::RightParen)?;
                self.finish_paren(open.start..close.end)?;
            }
            TokenKind::Aggregate(op) if self.aggregation_follows() => self.aggregation(op)?,
            TokenKind::Identifier | TokenKind::Builtin(_) if self.kind_behind() == TokenKind::LeftParen => {
                self.call()?;
            }
            TokenKind::Number | TokenKind::Duration => self.number(),
            TokenKind::String => self.string(),
            TokenKind::LeftBrace => self.selector()?,
            kind if kind.is_metric_name() => self.selector()?,
            _ => return Err(self.unexpected()),
        }
        self.modifiers()
    }

    fn aggregation_follows(&self) -> bool {
        matches!(self.kind_behind(), TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without))
    }

    /// Can this token begin an expression?
    fn begins_expression(kind: TokenKind) -> bool {
        matches!(
            kind,
            TokenKind::Number
                | TokenKind::Duration
                | TokenKind::String
                | TokenKind::LeftParen
                | TokenKind::LeftBrace
                | TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
        ) || kind.is_metric_name()
    }

    #[inline(never)]
    fn push(&mut self, kind: ExprKind, span: Span, levels: usize) {
        self.operands.push(Operand { expr: Expr { kind, span }, levels });
    }

    fn pop(&mut self) -> Operand {
        self.operands.pop().expect("every production leaves its operand")
    }

    #[inline(never)]
    fn finish_paren(&mut self, span: Span) -> Parse {
        let inner = self.pop();
        self.check_levels(inner.levels + 1)?;
        self.push(ExprKind::Paren(Box::new(inner.expr)), span, inner.levels + 1);
        Ok(())
    }

    /// A sign in front of a number becomes a part of it, as in Prometheus' tree.
    #[inline(never)]
    fn finish_unary(&mut self, sign: Token) -> Parse {
        let mut inner = self.pop();
        let op = if sign.kind == TokenKind::Operator(BinaryOp::Sub) { UnaryOp::Minus } else { UnaryOp::Plus };
        let span = sign.start..inner.expr.span.end;
        if let ExprKind::Number(number) = &mut inner.expr.kind {
            if op == UnaryOp::Minus {
                number.value = -number.value;
            }
            inner.expr.span = span;
            self.operands.push(inner);
            return Ok(());
        }
        self.check_levels(inner.levels + 1)?;
        self.push(ExprKind::Unary(op, Box::new(inner.expr)), span, inner.levels + 1);
        Ok(())
    }

    #[inline(never)]
    fn number(&mut self) {
        let token = self.take();
        let number = self.number_literal(token);
        self.push(ExprKind::Number(number), token.span(), 1);
    }

    /// The value of a number or duration token; 0 where it has none, which is then among the errors.
    pub(super) fn number_literal(&mut self, token: Token) -> NumberLiteral {
        let text = token.text(self.query);
        if token.kind == TokenKind::Duration {
            let DurationMs(ms) = DurationMs::parse(text).unwrap_or_else(|error| {
                self.error(token.span(), error.to_string());
                DurationMs(0)
            });
            let value = (ms / 1000) as f64 + (ms % 1000) as f64 / 1000.0;
            return NumberLiteral { value, duration: true };
        }
        let value = parse_number(text).unwrap_or_else(|message| {
            self.error(token.span(), message);
            0.0
        });
        NumberLiteral { value, duration: false }
    }

    #[inline(never)]
    fn string(&mut self) {
        let token = self.take();
        self.push(ExprKind::String(unquote(token.text(self.query))), token.span(), 1);
    }
}
