//! Why a query cannot be parsed.

use std::fmt;

use super::span::Span;

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The bytes of the query that are at fault.
    pub span: Span,
    /// The text, in Prometheus' words.
    pub message: String,
}

impl ParseError {
    /// `1:5: parse error: unexpected "]" …`, as Prometheus prints it: lines and columns from 1, columns in bytes.
    ///
    /// `query` is the text that was parsed. An empty one has no position, and a span outside of it neither.
    pub fn render(&self, query: &str) -> String {
        format!("{}: parse error: {}", position(self.span.start, query), self.message)
    }
}

/// `line:column` of a byte of the query, the form at the end of warnings and the start of errors.
pub fn position(byte: usize, query: &str) -> String {
    if query.is_empty() {
        return "unknown position".to_owned();
    }
    let Some(before) = query.as_bytes().get(..byte) else { return "invalid position".to_owned() };
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("{line}:{column}")
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}
