//! The words of PromQL, as the lexer hands them to the parser.

use super::ast::{AggregateOp, BinaryOp};
use super::span::Span;
use crate::model::quote_label_value;

/// A token and the bytes that it covers.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// The bytes that it covers.
    pub fn span(&self) -> Span {
        self.start..self.end
    }

    /// Its text.
    pub fn text<'q>(&self, query: &'q str) -> &'q str {
        &query[self.start..self.end]
    }
}

/// Kinds of token.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    EndOfInput,
    /// What the lexer could not read; its message is kept beside the tokens.
    Error,
    Identifier,
    /// An identifier with a colon in it: only ever the name of a metric.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`, inside of braces only
    MatchRegex,
    /// `!~`, inside of braces only
    MatchNotRegex,
    At,
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    /// Names of functions that the grammar treats by themselves.
    Builtin(Builtin),
}

/// Words with a meaning in the grammar that are neither operators nor aggregations.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
}

/// `start`, `end` (behind `@`), and the four that may stand in durations.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// All reserved words in lower case; the lexer compares without regard to case.
const WORDS: [(&str, TokenKind); 39] = [
    ("and", TokenKind::Operator(BinaryOp::And)),
    ("or", TokenKind::Operator(BinaryOp::Or)),
    ("unless", TokenKind::Operator(BinaryOp::Unless)),
    ("atan2", TokenKind::Operator(BinaryOp::Atan2)),
    ("sum", TokenKind::Aggregate(AggregateOp::Sum)),
    ("avg", TokenKind::Aggregate(AggregateOp::Avg)),
    ("count", TokenKind::Aggregate(AggregateOp::Count)),
    ("min", TokenKind::Aggregate(AggregateOp::Min)),
    ("max", TokenKind::Aggregate(AggregateOp::Max)),
    ("group", TokenKind::Aggregate(AggregateOp::Group)),
    ("stddev", TokenKind::Aggregate(AggregateOp::Stddev)),
    ("stdvar", TokenKind::Aggregate(AggregateOp::Stdvar)),
    ("topk", TokenKind::Aggregate(AggregateOp::Topk)),
    ("bottomk", TokenKind::Aggregate(AggregateOp::Bottomk)),
    ("count_values", TokenKind::Aggregate(AggregateOp::CountValues)),
    ("quantile", TokenKind::Aggregate(AggregateOp::Quantile)),
    ("limitk", TokenKind::Aggregate(AggregateOp::Limitk)),
    ("limit_ratio", TokenKind::Aggregate(AggregateOp::LimitRatio)),
    ("offset", TokenKind::Keyword(Keyword::Offset)),
    ("smoothed", TokenKind::Keyword(Keyword::Smoothed)),
    ("anchored", TokenKind::Keyword(Keyword::Anchored)),
    ("by", TokenKind::Keyword(Keyword::By)),
    ("without", TokenKind::Keyword(Keyword::Without)),
    ("on", TokenKind::Keyword(Keyword::On)),
    ("ignoring", TokenKind::Keyword(Keyword::Ignoring)),
    ("group_left", TokenKind::Keyword(Keyword::GroupLeft)),
    ("group_right", TokenKind::Keyword(Keyword::GroupRight)),
    ("fill", TokenKind::Keyword(Keyword::Fill)),
    ("fill_left", TokenKind::Keyword(Keyword::FillLeft)),
    ("fill_right", TokenKind::Keyword(Keyword::FillRight)),
    ("bool", TokenKind::Keyword(Keyword::Bool)),
    ("start", TokenKind::Builtin(Builtin::Start)),
    ("end", TokenKind::Builtin(Builtin::End)),
    ("step", TokenKind::Builtin(Builtin::Step)),
    ("range", TokenKind::Builtin(Builtin::Range)),
    ("max_of", TokenKind::Builtin(Builtin::MaxOf)),
    ("min_of", TokenKind::Builtin(Builtin::MinOf)),
    ("inf", TokenKind::Number),
    ("nan", TokenKind::Number),
];

/// The meaning of a word, `None` for an ordinary name.
pub(super) fn reserved_word(word: &str) -> Option<TokenKind> {
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind)
}

/// The words that may stand in a duration.
pub(super) fn duration_word(word: &str) -> Option<TokenKind> {
    match reserved_word(word) {
        Some(kind @ TokenKind::Builtin(Builtin::Step | Builtin::Range | Builtin::MaxOf | Builtin::MinOf)) => Some(kind),
        _ => None,
    }
}

impl TokenKind {
    /// Can this word be the name of a metric in front of the braces?
    pub fn is_metric_name(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Builtin(_) => true,
            Self::Operator(op) => op.is_set_operator(),
            Self::Keyword(word) => !matches!(
                word,
                Keyword::Bool | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Ignoring | Keyword::On
            ),
            _ => false,
        }
    }

    /// Can this word stand as a label in `by (…)`, `on (…)` and their like?
    pub fn is_grouping_label(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Builtin(_) => true,
            Self::Operator(op) => op.is_set_operator() || op == BinaryOp::Atan2,
            Self::Keyword(word) => word != Keyword::Without,
            _ => false,
        }
    }
}

/// What an error says of a token that it did not expect, in Prometheus' words.
///
/// | token | text |
/// |---|---|
/// | `foo` | `identifier "foo"` |
/// | `+` | `<op:+>` |
/// | `by` | `<by>` |
/// | `)` | `")"` |
/// | a long string | `string "\"the first"...` |
pub(super) fn describe(token: &Token, query: &str) -> String {
    let text = token.text(query);
    match token.kind {
        TokenKind::EndOfInput => "end of input".to_owned(),
        TokenKind::Error => "error".to_owned(),
        TokenKind::Identifier => format!("identifier {}", quote_label_value(text)),
        TokenKind::MetricIdentifier => format!("metric identifier {}", quote_label_value(text)),
        TokenKind::Number => format!("number {}", abbreviate(text)),
        TokenKind::Duration => format!("duration {}", abbreviate(text)),
        TokenKind::String => format!("string {}", abbreviate(text)),
        TokenKind::Keyword(_) => format!("<{text}>"),
        TokenKind::Operator(_) | TokenKind::At | TokenKind::MatchRegex | TokenKind::MatchNotRegex => {
            format!("<op:{text}>")
        }
        TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
        _ => abbreviate(text),
    }
}

/// Quoted; of more than ten bytes only the first ten characters.
fn abbreviate(text: &str) -> String {
    if text.len() <= 10 {
        return quote_label_value(text);
    }
    let head: String = text.chars().take(10).collect();
    format!("{}...", quote_label_value(&head))
}
