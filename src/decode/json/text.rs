//! Strings of a JSON document: scanning that can stop anywhere, and unescaping.

use super::scanner::Problem;

/// A string as it stands in the document, without its quotes. Its escapes are well-formed; whether it is UTF-8 is found
/// out when it is read.
#[derive(Copy, Clone, Debug)]
pub(super) struct RawText<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) has_escape: bool,
    /// It was longer than the reader wanted to keep: `bytes` is its beginning.
    pub(super) is_cut: bool,
}

impl RawText<'_> {
    /// The whole text. Without escapes there is no copy.
    pub(super) fn read<'s>(&'s self, scratch: &'s mut String) -> Result<&'s str, Problem> {
        if self.is_cut {
            return Err(Problem::Invalid(format!("text longer than {} bytes", self.bytes.len())));
        }
        let text =
            std::str::from_utf8(self.bytes).map_err(|_| Problem::Invalid("text that is not UTF-8".to_owned()))?;
        if !self.has_escape {
            return Ok(text);
        }
        scratch.clear();
        unescape(text, scratch).map_err(|problem| Problem::Invalid(problem.to_owned()))?;
        Ok(scratch)
    }

    /// The text for a person to read: cut off where it was cut, bad bytes replaced.
    pub(super) fn read_lossy(&self) -> String {
        // A cut may have split an escape or a character: what is left of it goes.
        let valid = String::from_utf8_lossy(self.bytes);
        let mut text = String::new();
        if self.has_escape {
            // An error leaves what was read up to it.
            if unescape(&valid, &mut text).is_err() && !self.is_cut {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        } else {
            text.push_str(valid.trim_end_matches(|c| self.is_cut && c == char::REPLACEMENT_CHARACTER));
        }
        if self.is_cut {
            text.push('…');
        }
        text
    }
}

/// Where in a string the scan is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Within {
    Plain,
    /// Behind a backslash.
    Escape,
    /// So many hexadecimal digits of `\uXXXX` are to come.
    Hex(u8),
}

/// Finds the end of a string, over as many pieces as it takes.
#[derive(Copy, Clone, Debug)]
pub(super) struct TextScan {
    within: Within,
    pub(super) has_escape: bool,
}

/// What a piece held.
pub(super) enum TextEnd {
    /// The closing quote stands here.
    At(usize),
    /// The string goes on in the next piece.
    Later,
    /// No string can have this byte here.
    Bad(usize),
}

/// Bytes that end a plain stretch: the quote, the backslash, and control characters, which JSON wants escaped.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        stops[byte] = true;
        byte += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// How many bytes stand before the first quote, backslash or control character, or before the end.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| STOPS[usize::from(*byte)]).unwrap_or(bytes.len())
}

impl TextScan {
    pub(super) fn new() -> Self {
        Self { within: Within::Plain, has_escape: false }
    }

    pub(super) fn advance(&mut self, bytes: &[u8]) -> TextEnd {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            match self.within {
                Within::Plain => {
                    at += plain_length(&bytes[at..]);
                    match bytes.get(at) {
                        None => return TextEnd::Later,
                        Some(b'"') => return TextEnd::At(at),
                        Some(b'\\') => {
                            self.within = Within::Escape;
                            self.has_escape = true;
                        }
                        Some(_) => return TextEnd::Bad(at),
                    }
                }
                Within::Escape => {
                    self.within = match byte {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Within::Plain,
                        b'u' => Within::Hex(4),
                        _ => return TextEnd::Bad(at),
                    }
                }
                Within::Hex(left) => {
                    if !byte.is_ascii_hexdigit() {
                        return TextEnd::Bad(at);
                    }
                    self.within = if left == 1 { Within::Plain } else { Within::Hex(left - 1) };
                }
            }
            at += 1;
        }
        TextEnd::Later
    }
}

/// Appends the text with its escapes resolved. On an error, what stands before the bad escape has been appended.
fn unescape(text: &str, out: &mut String) -> Result<(), &'static str> {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let code = *rest.as_bytes().get(at + 1).ok_or("an escape without an end")?;
        let mut length = 2;
        out.push(match code {
            b'"' | b'\\' | b'/' => char::from(code),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (character, units) = unicode_escape(&rest[at..])?;
                length = 6 * units;
                character
            }
            _ => return Err("an unknown escape"),
        });
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Ok(())
}

/// The character of the `\uXXXX` at the front, and how many of these it takes: two for a surrogate pair.
fn unicode_escape(text: &str) -> Result<(char, usize), &'static str> {
    let first = hex_unit(text, 0).ok_or("an escape without an end")?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 1));
    }
    let second = hex_unit(text, 6).filter(|unit| (0xdc00..0xe000).contains(unit));
    match (first, second) {
        (0xd800..0xdc00, Some(second)) => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).map(|character| (character, 2)).ok_or("half of a surrogate pair")
        }
        _ => Err("half of a surrogate pair"),
    }
}

fn hex_unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<String, Problem> {
        let mut scan = TextScan::new();
        let TextEnd::At(end) = scan.advance(bytes) else { return Err(Problem::Invalid("no end".to_owned())) };
        let raw = RawText { bytes: &bytes[..end], has_escape: scan.has_escape, is_cut: false };
        raw.read(&mut String::new()).map(str::to_owned)
    }

    #[test]
    fn escapes_are_resolved() {
        for (json, text) in [
            (r#"""#, ""),
            (r#"a\"b\\c\/d""#, "a\"b\\c/d"),
            (r#"\b\f\n\r\t""#, "\u{8}\u{c}\n\r\t"),
            (r#"\u0041\u00e9é\u0000""#, "Aéé\0"),
            (r#"\ud83d\uDE00""#, "😀"),
            (r#"\u2028""#, "\u{2028}"),
        ] {
            assert_eq!(read(json.as_bytes()).ok().as_deref(), Some(text), "{json}");
        }
        for json in [
            &br#"\x""#[..],
            br#"\u12g4""#,
            br#"\ud800""#,
            br#"\ud800\u0041""#,
            br#"\udc00\ud800""#,
            b"a\nb\"",
            b"\xff\"",
        ] {
            assert!(read(json).is_err(), "{json:?}");
        }
    }

    #[test]
    fn a_cut_text_keeps_what_is_whole() {
        for (bytes, has_escape, text) in [
            (&b"ab"[..], false, "ab…"),
            ("a€".as_bytes().split_last().expect("not empty").1, false, "a…"),
            (br"a\", true, "a…"),
            (br"a\u12", true, "a…"),
            (br"a\ud83d\u", true, "a…"),
        ] {
            assert_eq!(RawText { bytes, has_escape, is_cut: true }.read_lossy(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("text");
            prop_assert_eq!(read(&json.as_bytes()[1..]).ok(), Some(text));
        }
    }
}
