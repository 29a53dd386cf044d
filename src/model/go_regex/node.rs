//! The tree of a pattern, with case folding and negation already resolved into sets of characters.

use regex_syntax::hir::ClassUnicode;

/// One node of a pattern's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Matches the empty text.
    Empty,
    /// Matches this text.
    Literal(String),
    /// Matches one character of the set; never, where the set is empty.
    Class(ClassUnicode),
    /// `.` with dot-matches-newline: matches any character.
    AnyChar,
    /// `.` without it.
    AnyCharButNewline,
    /// Matches between characters.
    Look(LookAt),
    /// A group that is remembered; groups are numbered from 1 in the order of their opening parentheses.
    Group(u32, Box<Node>),
    /// The same thing many times.
    Repeat(Box<Repeat>),
    /// One after the other; at least two.
    Concat(Vec<Node>),
    /// The first that leads to a match; at least two.
    Alternate(Vec<Node>),
}

/// Where a node without width matches.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum LookAt {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

/// `sub{min,max}`; `max` is `None` where there is no upper bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) min: u32,
    pub(super) max: Option<u32>,
    pub(super) greedy: bool,
    pub(super) sub: Node,
}

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The whole tree.
    pub(super) node: Node,
    /// Levels of `node`, at most [`super::parser::HEIGHT_MAX`].
    pub(super) height: u32,
    /// Names of the groups by number; the first stands for the whole match.
    pub(super) group_names: Vec<Option<Box<str>>>,
}
