//! Selectors as text.

use std::fmt;

use super::labels::METRIC_NAME;
use super::{MatchOp, Matcher};

/// A set of matchers that selects series.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Selector {
    /// All must match.
    pub matchers: Vec<Matcher>,
}

/// `name{a="b"}` where there is exactly one equality on a legacy metric name, else `{…}` with every matcher.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut on_name = self.matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        let name = match (on_name.next(), on_name.next()) {
            (Some(Matcher { op: MatchOp::Equal, value, .. }), None) if is_legacy_metric_name(value) => Some(value),
            _ => None,
        };
        if let Some(name) = name {
            f.write_str(name)?;
            if self.matchers.len() == 1 {
                return Ok(());
            }
        }
        f.write_str("{")?;
        let rest = self.matchers.iter().filter(|matcher| name.is_none() || matcher.name != METRIC_NAME);
        for (index, matcher) in rest.enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{matcher}")?;
        }
        f.write_str("}")
    }
}

/// Can this stand before the braces unquoted? `[a-zA-Z_:][a-zA-Z0-9_:]*`, and no keyword of PromQL.
pub fn is_legacy_metric_name(name: &str) -> bool {
    // Words that PromQL reads as numbers, or as the start of another construct, never stand bare.
    const RESERVED: [&str; 2] = ["inf", "nan"];
    name.bytes().enumerate().all(|(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => true,
        b'0'..=b'9' => at > 0,
        _ => false,
    }) && !name.is_empty()
        && !RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// Can a label have this name unquoted? `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    name.bytes().enumerate().all(|(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
        b'0'..=b'9' => at > 0,
        _ => false,
    }) && !name.is_empty()
}

/// A label name as PromQL writes it: bare where it may be, else quoted.
pub fn format_label_name(name: &str) -> String {
    if is_legacy_label_name(name) { name.to_owned() } else { quote_label_value(name) }
}

/// A text in double quotes as Go's `strconv.Quote` writes it.
///
/// | text | quoted |
/// |---|---|
/// | `a"b` | `"a\"b"` |
/// | line feed, tab | `\n`, `\t` |
/// | other control characters | `\x01`, `\u0085` |
pub fn quote_label_value(text: &str) -> String {
    use std::fmt::Write;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            character if (character as u32) < 0x20 || character == '\x7f' => {
                write!(quoted, "\\x{:02x}", character as u32).expect("a String takes everything");
            }
            character if is_printable(character) => quoted.push(character),
            character if (character as u32) < 0x1_0000 => {
                write!(quoted, "\\u{:04x}", character as u32).expect("a String takes everything");
            }
            character => write!(quoted, "\\U{:08x}", character as u32).expect("a String takes everything"),
        }
    }
    quoted.push('"');
    quoted
}

/// Go's `unicode.IsPrint`, near enough: what Rust's own debug form would not escape, and of the spaces only U+0020.
fn is_printable(character: char) -> bool {
    match character {
        ' ' => true,
        '\'' | '"' | '\\' => true,
        _ if character.is_whitespace() || character.is_control() => false,
        // A combining mark is printable on its own, but `escape_debug` escapes it: ask with a base before it.
        _ => {
            let mut buffer = [0; 4];
            let text: &str = character.encode_utf8(&mut buffer);
            let mut with_base = String::from("a");
            with_base.push_str(text);
            with_base.escape_debug().count() == 2
        }
    }
}

/// `name="value"`, the form inside the braces of a printed label set.
pub(super) fn write_label_pair(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    write!(f, "{}={}", format_label_name(name), quote_label_value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_print_as_promql() {
        let named = |rest: Vec<Matcher>| {
            let mut matchers = vec![Matcher::equal("__name__", "up")];
            matchers.extend(rest);
            Selector { matchers }.to_string()
        };
        assert_eq!(named(vec![]), "up");
        assert_eq!(named(vec![Matcher::new("job", MatchOp::Regex, "a|\"b\"")]), r#"up{job=~"a|\"b\""}"#);
        assert_eq!(named(vec![Matcher::new("__name__", MatchOp::NotEqual, "x")]), r#"{__name__="up",__name__!="x"}"#);
        let utf8 = Selector { matchers: vec![Matcher::equal("__name__", "a.b"), Matcher::equal("c.d", "e")] };
        assert_eq!(utf8.to_string(), r#"{__name__="a.b","c.d"="e"}"#);
        assert_eq!(Selector::default().to_string(), "{}");
    }

    #[test]
    fn values_are_quoted_as_go_quotes() {
        assert_eq!(quote_label_value("a\n\u{1}é\u{85}\u{301}\u{2028}"), "\"a\\n\\x01é\\u0085\u{301}\\u2028\"");
    }
}
