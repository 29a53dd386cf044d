//! Label matchers.

use std::fmt;

use super::{GoRegex, GoRegexError, LabelsRef, format_label_name, quote_label_value};

/// How a matcher compares.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored on both ends
    Regex,
    /// `!~`, anchored on both ends
    NotRegex,
}

impl MatchOp {
    /// As PromQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// `name op "value"`, not yet compiled. A missing label equals the empty string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// How to compare.
    pub op: MatchOp,
    /// Text or RE2 pattern.
    pub value: String,
}

impl Matcher {
    /// Any matcher.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Self {
        Self { name: name.into(), op, value: value.into() }
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::new(name, MatchOp::Equal, value)
    }

    /// Makes it ready to match; fails on a pattern that RE2 refuses.
    pub fn compile(&self) -> Result<CompiledMatcher, GoRegexError> {
        let pattern = match self.op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(GoRegex::anchored(&self.value)?),
        };
        Ok(CompiledMatcher { matcher: self.clone(), pattern })
    }
}

/// As PromQL writes it: `name=~"value"`; a name outside of the legacy alphabet is quoted.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", format_label_name(&self.name), self.op.symbol(), quote_label_value(&self.value))
    }
}

/// A matcher that is ready to match.
#[derive(Clone, Debug)]
pub struct CompiledMatcher {
    matcher: Matcher,
    pattern: Option<GoRegex>,
}

impl CompiledMatcher {
    /// Does a label's value match? `""` for a missing label.
    pub fn matches(&self, value: &str) -> bool {
        let pattern_matches = || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value));
        match self.matcher.op {
            MatchOp::Equal => value == self.matcher.value,
            MatchOp::NotEqual => value != self.matcher.value,
            MatchOp::Regex => pattern_matches(),
            MatchOp::NotRegex => !pattern_matches(),
        }
    }

    /// The matcher it was made from.
    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }
}

/// All matchers of a selector.
#[derive(Clone, Debug, Default)]
pub struct CompiledMatchers(Vec<CompiledMatcher>);

impl CompiledMatchers {
    /// Compiles all; the first bad pattern is the error.
    pub fn compile(matchers: &[Matcher]) -> Result<Self, GoRegexError> {
        Ok(Self(matchers.iter().map(Matcher::compile).collect::<Result<_, _>>()?))
    }

    /// Do all of them match this label set?
    pub fn match_labels(&self, labels: LabelsRef<'_>) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels.get(&matcher.matcher.name).as_deref().unwrap_or("")))
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &CompiledMatcher> {
        self.0.iter()
    }
}
