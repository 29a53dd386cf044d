//! Label matchers.

use std::fmt;

use super::{EncodedLabelName, GoRegex, GoRegexError, LabelsRef, format_label_name, quote_label_value};

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
            MatchOp::Regex | MatchOp::NotRegex => Some(GoRegex::anchored_without_groups(&self.value)?),
        };
        Ok(CompiledMatcher { name: EncodedLabelName::new(&self.name), matcher: self.clone(), pattern })
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
    name: EncodedLabelName,
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

    /// Does a label set match?
    pub fn match_labels(&self, labels: LabelsRef<'_>) -> bool {
        self.matches(labels.get_encoded(&self.name).as_deref().unwrap_or(""))
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
        self.0.iter().all(|matcher| matcher.match_labels(labels))
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &CompiledMatcher> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn matches(labels: &Labels, matchers: &[Matcher]) -> bool {
        let compiled = CompiledMatchers::compile(matchers).expect("valid patterns");
        compiled.match_labels(labels.encode().as_ref())
    }

    #[test]
    fn a_missing_label_equals_the_empty_text() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "api"), ("odd\u{1}", "a\u{0}b")]);
        for (name, op, value, expected) in [
            ("job", MatchOp::Equal, "api", true),
            ("job", MatchOp::Equal, "ap", false),
            ("job", MatchOp::NotEqual, "api", false),
            ("job", MatchOp::Regex, "a.*|b", true),
            ("job", MatchOp::Regex, "a", false),
            ("job", MatchOp::NotRegex, "a", true),
            ("zone", MatchOp::Equal, "", true),
            ("zone", MatchOp::NotEqual, "", false),
            ("zone", MatchOp::NotEqual, "eu", true),
            ("zone", MatchOp::Regex, ".*", true),
            ("zone", MatchOp::Regex, ".+", false),
            ("zone", MatchOp::Regex, "eu|", true),
            ("zone", MatchOp::NotRegex, "eu", true),
            ("jo", MatchOp::Equal, "", true),
            ("odd\u{1}", MatchOp::Regex, "a\\x00b", true),
        ] {
            let matcher = Matcher::new(name, op, value);
            assert_eq!(matches(&labels, std::slice::from_ref(&matcher)), expected, "{matcher}");
        }
    }

    #[test]
    fn all_matchers_must_match_and_none_always_do() {
        let labels = Labels::from_pairs([("job", "api")]);
        assert!(matches(&labels, &[]));
        assert!(!matches(&labels, &[Matcher::equal("job", "api"), Matcher::equal("zone", "eu")]));
    }

    #[test]
    fn a_bad_pattern_is_told_with_gos_words() {
        let error = CompiledMatchers::compile(&[Matcher::new("a", MatchOp::Regex, "[a")]).expect_err("no end");
        assert_eq!(error.to_string(), "error parsing regexp: missing closing ]: `[a`");
    }
}
