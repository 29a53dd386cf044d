//! Replacement templates: `$1`, `${name}`, `$$`, as Go's `Regexp.Expand` reads them.
//!
//! | template | stands for |
//! |---|---|
//! | `$1`, `${1}` | group 1 |
//! | `$1x` | the group with the name `1x` (so mostly nothing), never group 1 and an `x` |
//! | `${1}x` | group 1 and an `x` |
//! | `$$` | `$` |
//! | `$-`, `${`, `${a`, `${a-b}` | themselves |
//! | `$01` | the group with the name `01` |

use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// How a template refers to a group.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum GroupReference<'t> {
    Number(usize),
    Name(&'t str),
}

/// The template with every reference replaced by what `group` gives; nothing for `None`.
pub(super) fn expand<'s>(template: &str, group: impl Fn(GroupReference<'_>) -> Option<&'s str>) -> String {
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(dollar) = memchr::memchr(b'$', rest.as_bytes()) {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((reference, after)) = parse_reference(rest) {
            expanded.push_str(group(reference).unwrap_or(""));
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

/// The reference after a `$`, and what follows it; `None` where the `$` stands for itself.
fn parse_reference(text: &str) -> Option<(GroupReference<'_>, &str)> {
    let (in_braces, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let name_length = text.find(|character| !is_name_char(character)).unwrap_or(text.len());
    let (name, after) = text.split_at(name_length);
    if name.is_empty() {
        return None;
    }
    let after = if in_braces { after.strip_prefix('}')? } else { after };
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let reference = if is_number {
        // A number too large to be one is the number of no group.
        GroupReference::Number(name.parse().unwrap_or(usize::MAX))
    } else {
        GroupReference::Name(name)
    };
    Some((reference, after))
}

/// A letter, a decimal digit or `_`, of any script.
fn is_name_char(character: char) -> bool {
    static LETTERS_AND_DIGITS: LazyLock<ClassUnicode> =
        LazyLock::new(|| match regex_syntax::parse("[\\pL\\p{Nd}]").map(|hir| hir.into_kind()) {
            Ok(HirKind::Class(Class::Unicode(class))) => class,
            _ => unreachable!("a fixed pattern"),
        });
    if character.is_ascii() {
        return character == '_' || character.is_ascii_alphanumeric();
    }
    let ranges = LETTERS_AND_DIGITS.ranges();
    let after = ranges.partition_point(|range| range.end() < character);
    ranges.get(after).is_some_and(|range| range.start() <= character)
}
