//! RE2 patterns, as Go and so Prometheus read them, on Rust's regex engine.

use thiserror::Error;

/// A pattern that RE2 refuses.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("error parsing regexp: {0}")]
pub struct GoRegexError(pub String);

/// A compiled pattern with RE2's meaning.
#[derive(Clone, Debug)]
pub struct GoRegex(regex::Regex);

impl GoRegex {
    /// Anchored on both ends, dot matches newline: the form of matchers, relabelling and label_replace.
    pub fn anchored(pattern: &str) -> Result<Self, GoRegexError> {
        regex::Regex::new(&format!("^(?s:{pattern})$")).map(Self).map_err(|error| GoRegexError(error.to_string()))
    }

    /// Does the whole text match?
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The replacement template with `$1`, `${name}` expanded, as Go's `Expand` does; `None` where the text does not match.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.0.captures(text)?;
        let mut out = String::new();
        captures.expand(template, &mut out);
        Some(out)
    }
}
