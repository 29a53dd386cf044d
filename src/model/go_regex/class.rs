//! Sets of characters: `[a-z]`, `\d`, `[[:alpha:]]`, `\p{Greek}`.

use std::sync::LazyLock;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, HirKind};

use super::error::{Fault, GoRegexError};
use super::escape::{consumed, parse_escape, take_char};

/// Gathers ranges in any order; sorted and merged once at the end, so that a long class costs no square.
#[derive(Default)]
pub(super) struct ClassBuilder(Vec<ClassUnicodeRange>);

impl ClassBuilder {
    /// Adds code points `low ..= high`; surrogates in it are left out, as no text contains them.
    fn push_range(&mut self, low: u32, high: u32) {
        for (low, high) in [(low, high.min(0xD7FF)), (low.max(0xE000), high)] {
            if let (true, Some(low), Some(high)) = (low <= high, char::from_u32(low), char::from_u32(high)) {
                self.0.push(ClassUnicodeRange::new(low, high));
            }
        }
    }

    fn push_class(&mut self, class: &ClassUnicode) {
        self.0.extend_from_slice(class.ranges());
        if self.0.len() > RANGES_UNSORTED_MAX {
            self.0 = ClassUnicode::new(std::mem::take(&mut self.0)).ranges().to_vec();
        }
    }

    /// The set, closed over case where that is wanted.
    ///
    /// Folding the union once is folding every part: a fold orbit is in a set as a whole or not at all, also in the complement
    /// of a folded set.
    fn finish(self, fold_case: bool) -> ClassUnicode {
        let mut class = ClassUnicode::new(self.0);
        if fold_case {
            add_case_variants(&mut class);
        }
        class
    }
}

/// A class that names `\pL` ten thousand times is merged now and then, not only at its end: 512 KiB.
const RANGES_UNSORTED_MAX: usize = 1 << 16;

/// Closes a set over case. The engine's folding walks every character of a set, which is 5 ms for `[^a]`; so only those are
/// folded that can have variants.
fn add_case_variants(class: &mut ClassUnicode) {
    let mut variants = class.clone();
    variants.intersect(&FOLDABLE);
    variants.case_fold_simple();
    class.union(&variants);
}

/// Every character that has a case variant, and others: letters with case, U+0345, Roman numerals, circled letters.
pub(super) static FOLDABLE: LazyLock<ClassUnicode> = LazyLock::new(|| {
    let categories = ["lc", "mn", "nl", "so"].into_iter().filter_map(|name| unicode_table("gc", name));
    categories.fold(ClassUnicode::empty(), |mut all, category| {
        all.union(&category);
        all
    })
});

/// The characters that equal `code` up to case; only itself where case does not matter.
pub(super) fn single(code: u32, fold_case: bool) -> ClassUnicode {
    let mut builder = ClassBuilder::default();
    builder.push_range(code, code);
    builder.finish(fold_case)
}

/// Reads the class in brackets that `text` begins with.
pub(super) fn parse_bracketed(text: &str, fold_case: bool) -> Result<(ClassUnicode, &str), GoRegexError> {
    let inner = &text[1..];
    let (negated, mut rest) = match inner.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, inner),
    };
    let mut builder = ClassBuilder::default();
    let mut is_first = true;
    // A `]` that stands first is a member.
    while is_first || !rest.starts_with(']') {
        is_first = false;
        rest = parse_member(rest, text, fold_case, &mut builder)?;
    }
    let mut class = builder.finish(fold_case);
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// Reads one member of a class in brackets: a group, a character or a range.
fn parse_member<'p>(
    text: &'p str,
    whole_class: &str,
    fold_case: bool,
    builder: &mut ClassBuilder,
) -> Result<&'p str, GoRegexError> {
    if let Some((class, rest)) = parse_posix_group(text, fold_case)? {
        builder.push_class(&class);
        return Ok(rest);
    }
    if let Some((class, rest)) = parse_escaped_group(text, fold_case)? {
        builder.push_class(&class);
        return Ok(rest);
    }
    let (low, mut rest) = parse_class_char(text, whole_class)?;
    let mut high = low;
    // `[a-]` is `a` and `-`.
    if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
        (high, rest) = parse_class_char(&rest[1..], whole_class)?;
        if high < low {
            return Err(Fault::CharRange.at(consumed(text, rest)));
        }
    }
    builder.push_range(low, high);
    Ok(rest)
}

fn parse_class_char<'p>(text: &'p str, whole_class: &str) -> Result<(u32, &'p str), GoRegexError> {
    if text.starts_with('\\') {
        return parse_escape(text);
    }
    let mut rest = text;
    match take_char(&mut rest) {
        Some(character) => Ok((character as u32, rest)),
        None => Err(Fault::MissingBracket.at(whole_class)),
    }
}

/// `\d`, `\W`, `\pN`, `\p{Greek}` and their like; `None` where `text` begins with something else.
pub(super) fn parse_escaped_group(text: &str, fold_case: bool) -> Result<Option<(ClassUnicode, &str)>, GoRegexError> {
    if !text.starts_with('\\') || text.len() < 2 {
        return Ok(None);
    }
    let (ranges, negated): (&[_], _) = match text.as_bytes()[1] {
        b'd' => (DIGIT, false),
        b'D' => (DIGIT, true),
        b's' => (PERL_SPACE, false),
        b'S' => (PERL_SPACE, true),
        b'w' => (WORD, false),
        b'W' => (WORD, true),
        b'p' | b'P' => return parse_unicode_group(text, fold_case).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((ascii_group(ranges, negated, fold_case), &text[2..])))
}

const DIGIT: &[(u32, u32)] = &[(0x30, 0x39)];
/// Without the vertical tab, which `[[:space:]]` has.
const PERL_SPACE: &[(u32, u32)] = &[(0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)];
const WORD: &[(u32, u32)] = &[(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)];

/// `[:alpha:]`, `[:^alpha:]`; `None` where `text` begins with something else or the name has no end.
fn parse_posix_group(text: &str, fold_case: bool) -> Result<Option<(ClassUnicode, &str)>, GoRegexError> {
    let Some(inner) = text.strip_prefix("[:") else {
        return Ok(None);
    };
    let Some(name_length) = inner.find(":]") else {
        return Ok(None);
    };
    let (name, rest) = (&inner[..name_length], &inner[name_length + 2..]);
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let ranges: &[(u32, u32)] = match name {
        "alnum" => &[(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)],
        "alpha" => &[(0x41, 0x5A), (0x61, 0x7A)],
        "ascii" => &[(0x00, 0x7F)],
        "blank" => &[(0x09, 0x09), (0x20, 0x20)],
        "cntrl" => &[(0x00, 0x1F), (0x7F, 0x7F)],
        "digit" => DIGIT,
        "graph" => &[(0x21, 0x7E)],
        "lower" => &[(0x61, 0x7A)],
        "print" => &[(0x20, 0x7E)],
        "punct" => &[(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)],
        "space" => &[(0x09, 0x0D), (0x20, 0x20)],
        "upper" => &[(0x41, 0x5A)],
        "word" => WORD,
        "xdigit" => &[(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)],
        _ => return Err(Fault::CharRange.at(consumed(text, rest))),
    };
    Ok(Some((ascii_group(ranges, negated, fold_case), rest)))
}

/// Folded before it is negated: `(?i)\W` has neither `k` nor the Kelvin sign.
fn ascii_group(ranges: &[(u32, u32)], negated: bool, fold_case: bool) -> ClassUnicode {
    let mut builder = ClassBuilder::default();
    for (low, high) in ranges {
        builder.push_range(*low, *high);
    }
    let mut class = builder.finish(fold_case);
    if negated {
        class.negate();
    }
    class
}

/// `\pN`, `\p{Greek}`, `\P{^Greek}`.
fn parse_unicode_group(text: &str, fold_case: bool) -> Result<(ClassUnicode, &str), GoRegexError> {
    let mut rest = &text[2..];
    let name = match take_char(&mut rest) {
        Some('{') => {
            let Some(end) = text.find('}') else {
                return Err(Fault::CharRange.at(text));
            };
            rest = &text[end + 1..];
            &text[3..end]
        }
        _ => &consumed(text, rest)[2..],
    };
    let (inverted, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let Some(mut class) = unicode_class(name) else {
        return Err(Fault::CharRange.at(consumed(text, rest)));
    };
    if fold_case {
        add_case_variants(&mut class);
    }
    if text.starts_with("\\P") != inverted {
        class.negate();
    }
    Ok((class, rest))
}

/// The set of a general category (short or long name) or of a script (long name only, as in Go's tables). Case, spaces, hyphens and
/// underscores do not matter.
fn unicode_class(name: &str) -> Option<ClassUnicode> {
    let canonical: String = name
        .chars()
        .filter(|character| !matches!(character, ' ' | '-' | '_'))
        .map(|character| character.to_ascii_lowercase())
        .collect();
    // Rust's tables ignore a leading "is" as well; Go's do not.
    let is_name = canonical.bytes().all(|byte| byte.is_ascii_lowercase()) && !canonical.starts_with("is");
    match canonical.as_str() {
        _ if !is_name => None,
        "cs" | "surrogate" => Some(ClassUnicode::empty()),
        name => unicode_table("gc", name).or_else(|| {
            // Every script has an alias of four letters that Go does not know; these are full names of four letters.
            const FULL_NAMES: [&str; 9] = ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];
            let is_alias = name.len() == 4 && !FULL_NAMES.contains(&name);
            if is_alias { None } else { unicode_table("sc", name) }
        }),
    }
}

fn unicode_table(property: &str, name: &str) -> Option<ClassUnicode> {
    let hir = regex_syntax::parse(&format!("\\p{{{property}={name}}}")).ok()?;
    match hir.into_kind() {
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => Some(class),
        // `Zl` and `Zp` have one character each.
        HirKind::Literal(only) => {
            let characters = std::str::from_utf8(&only.0).ok()?.chars();
            Some(ClassUnicode::new(characters.map(|character| ClassUnicodeRange::new(character, character))))
        }
        _ => None,
    }
}
