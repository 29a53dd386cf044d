//! RE2 patterns, as Go and so Prometheus read them, on Rust's regex engine.
//!
//! The two dialects look alike and differ in silence, so a pattern is read by a parser of our own, which follows Go's
//! `regexp/syntax`, and its tree is handed to Rust's engine, which never sees the text:
//!
//! | pattern | Go, and here | Rust's own parser |
//! |---|---|---|
//! | `\d \w \s \b` | ASCII; `\s` without the vertical tab | Unicode |
//! | `[a&&b]`, `[a~~b]`, `[[a]` | members as they stand | set algebra, an error |
//! | `[a--b]` | an error | set difference |
//! | `\Qa.b\E`, `\123`, `x{,2}`, `a{2`, `{` | literals | errors |
//! | `a**`, `x{1001}`, `(?x)`, `\u00e9` | errors | accepted |
//!
//! Known to differ: Rust's tables are of a later Unicode version than Go's; scripts with a `_` in their name are known, which Go 1.25 and 1.26 forgot;
//! and patterns whose automaton passes 40 MiB are refused as too large where Go would still take them.

mod automaton;
mod class;
mod error;
mod escape;
mod node;
mod parser;
mod template;
mod text_matcher;
mod translate;

use std::fmt;
use std::sync::Arc;

use automaton::Automaton;
use error::Fault;
pub use error::GoRegexError;
use node::Parsed;
use template::GroupReference;
use text_matcher::TextMatcher;

/// A compiled pattern with RE2's meaning. Cheap to clone.
#[derive(Clone)]
pub struct GoRegex(Arc<Compiled>);

struct Compiled {
    pattern: Box<str>,
    /// Decides without an automaton, where that can be done.
    text_matcher: Option<TextMatcher>,
    /// Present where there is no text matcher, or where groups have to be found.
    automaton: Option<Automaton>,
    /// By number; the first is the whole match.
    group_names: Vec<Option<Box<str>>>,
}

impl GoRegex {
    /// Anchored on both ends, dot matches newline: the form of matchers, relabelling and label_replace.
    pub fn anchored(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, true)
    }

    /// The same for those who never expand a template: groups are not kept, so that `(a|b)-.*` needs no automaton.
    pub fn anchored_without_groups(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, false)
    }

    fn compile(pattern: &str, keep_groups: bool) -> Result<Self, GoRegexError> {
        let parsed = parser::parse(pattern, keep_groups)?;
        let compiled = if parsed.height <= SHALLOW_HEIGHT_MAX {
            Compiled::try_new(parsed, pattern)
        } else {
            on_a_deep_stack(pattern, || Compiled::try_new(parsed, pattern))
        };
        Ok(Self(Arc::new(compiled?)))
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Does the whole text match?
    pub fn is_match(&self, text: &str) -> bool {
        match (&self.0.text_matcher, &self.0.automaton) {
            (Some(matcher), _) => matcher.is_match(text),
            (None, Some(automaton)) => automaton.regex.is_match(text),
            (None, None) => unreachable!("one of the two is always compiled"),
        }
    }

    /// The replacement template with `$1`, `${name}` expanded, as Go's `Expand` does; `None` where the text does not match.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let Some(automaton) = self.0.automaton.as_ref().filter(|_| self.0.group_names.len() > 1) else {
            return self.is_match(text).then(|| template::expand(template, |group| self.whole_text(group, text)));
        };
        let mut captures = automaton.regex.create_captures();
        automaton.regex.captures(text, &mut captures);
        if !captures.is_match() {
            return None;
        }
        let numbered = |number: usize| captures.get_group(number).map(|span| &text[span.range()]);
        Some(template::expand(template, |group| match group {
            GroupReference::Number(number) => numbered(number),
            GroupReference::Name(name) => self.groups_named(name).find_map(numbered),
        }))
    }

    /// Without an automaton every group spans the whole text.
    fn whole_text<'t>(&self, group: GroupReference<'_>, text: &'t str) -> Option<&'t str> {
        let is_group = match group {
            GroupReference::Number(number) => number < self.0.group_names.len(),
            GroupReference::Name(name) => self.groups_named(name).next().is_some(),
        };
        is_group.then_some(text)
    }

    /// Numbers of the groups of a name; there may be several.
    fn groups_named(&self, name: &str) -> impl Iterator<Item = usize> {
        let names = self.0.group_names.iter().enumerate();
        names.filter(move |(_, own)| own.as_deref() == Some(name)).map(|(number, _)| number)
    }
}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GoRegex").field(&self.0.pattern).finish()
    }
}

impl Compiled {
    fn try_new(parsed: Parsed, pattern: &str) -> Result<Self, GoRegexError> {
        let Parsed { node, group_names, .. } = parsed;
        let text_matcher = TextMatcher::try_new(&node, pattern.len());
        let groups_in_text = group_names.len() - 1 > text_matcher::groups_around(&node);
        let automaton = if text_matcher.is_none() || groups_in_text {
            Some(Automaton::try_new(&translate::anchored(node), group_names.len() > 1, pattern)?)
        } else {
            None
        };
        Ok(Self { pattern: pattern.into(), text_matcher, automaton, group_names })
    }
}

/// The engine's compiler and our own walks recurse with the tree: a few hundred bytes to a few kilobytes a level.
const SHALLOW_HEIGHT_MAX: u32 = 100;
/// Enough for [`parser::HEIGHT_MAX`] levels in a build without optimisation; only what is used is ever backed by memory.
const DEEP_STACK_BYTES: usize = 64 << 20;

/// Runs the compilation of a deeply nested pattern on a thread with a large stack.
fn on_a_deep_stack<T: Send>(
    pattern: &str,
    compile: impl FnOnce() -> Result<T, GoRegexError> + Send,
) -> Result<T, GoRegexError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("deep-pattern".into()).stack_size(DEEP_STACK_BYTES);
        let thread = builder.spawn_scoped(scope, compile).map_err(|_| Fault::NestingDepth.at(pattern))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests;
