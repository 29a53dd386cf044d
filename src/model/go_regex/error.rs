//! What Go says of a pattern that it refuses.

use thiserror::Error;

/// A pattern that RE2 refuses, in the words of Go's `regexp`.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("error parsing regexp: {0}")]
pub struct GoRegexError(pub String);

/// The classes of Go's `syntax.ErrorCode`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    CharRange,
    Escape,
    NamedCapture,
    PerlSyntax,
    NestedRepeat,
    RepeatCount,
    MissingBracket,
    MissingParen,
    MissingRepeatArgument,
    TrailingBackslash,
    UnexpectedParen,
    NestingDepth,
    TooLarge,
}

impl Fault {
    fn text(self) -> &'static str {
        match self {
            Self::CharRange => "invalid character class range",
            Self::Escape => "invalid escape sequence",
            Self::NamedCapture => "invalid named capture",
            Self::PerlSyntax => "invalid or unsupported Perl syntax",
            Self::NestedRepeat => "invalid nested repetition operator",
            Self::RepeatCount => "invalid repeat count",
            Self::MissingBracket => "missing closing ]",
            Self::MissingParen => "missing closing )",
            Self::MissingRepeatArgument => "missing argument to repetition operator",
            Self::TrailingBackslash => "trailing backslash at end of expression",
            Self::UnexpectedParen => "unexpected )",
            Self::NestingDepth => "expression nests too deeply",
            Self::TooLarge => "expression too large",
        }
    }

    /// The error about a part of the pattern.
    pub(super) fn at(self, part: &str) -> GoRegexError {
        GoRegexError(format!("{}: `{part}`", self.text()))
    }
}
