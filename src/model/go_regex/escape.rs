//! Escapes of a single character: `\n`, `\.`, `\123`, `\x41`, `\x{1F600}`.

use super::error::{Fault, GoRegexError};

/// The largest code point; a code point may be a surrogate, which no text contains.
const CODE_POINT_MAX: u32 = 0x10_FFFF;

/// Reads the escape that `text` begins with: its code point and what follows it.
pub(super) fn parse_escape(text: &str) -> Result<(u32, &str), GoRegexError> {
    let mut rest = &text[1..];
    let Some(character) = take_char(&mut rest) else {
        return Err(Fault::TrailingBackslash.at(""));
    };
    let code = match character {
        '0' => Some(octal(0, &mut rest)),
        // A single digit would be a back reference.
        '1'..='7' if rest.starts_with(|next| matches!(next, '0'..='7')) => {
            Some(octal(character as u32 - '0' as u32, &mut rest))
        }
        'x' => hexadecimal(&mut rest),
        'a' => Some(0x07),
        'f' => Some(0x0C),
        'n' => Some(0x0A),
        'r' => Some(0x0D),
        't' => Some(0x09),
        'v' => Some(0x0B),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Some(other as u32),
        _ => None,
    };
    match code {
        Some(code) => Ok((code, rest)),
        None => Err(Fault::Escape.at(consumed(text, rest))),
    }
}

/// What of `text` lies before its tail `rest`.
pub(super) fn consumed<'p>(text: &'p str, rest: &str) -> &'p str {
    &text[..text.len() - rest.len()]
}

/// Takes one character off the front.
pub(super) fn take_char(rest: &mut &str) -> Option<char> {
    let mut characters = rest.chars();
    let first = characters.next();
    *rest = characters.as_str();
    first
}

/// Up to two more octal digits after a first one.
fn octal(first: u32, rest: &mut &str) -> u32 {
    let mut code = first;
    for _ in 0..2 {
        match rest.bytes().next() {
            Some(digit @ b'0'..=b'7') => code = code * 8 + u32::from(digit - b'0'),
            _ => break,
        }
        *rest = &rest[1..];
    }
    code
}

/// `41` or `{1F600}` after `\x`. On `None`, `rest` has moved past what is to be shown as the mistake.
fn hexadecimal(rest: &mut &str) -> Option<u32> {
    let first = take_char(rest)?;
    if first != '{' {
        let second = take_char(rest);
        return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
    }
    let mut code = 0;
    let mut digit_count = 0_u32;
    loop {
        let character = take_char(rest)?;
        if character == '}' {
            return (digit_count > 0).then_some(code);
        }
        code = code * 16 + character.to_digit(16)?;
        if code > CODE_POINT_MAX {
            return None;
        }
        digit_count = digit_count.saturating_add(1);
    }
}
