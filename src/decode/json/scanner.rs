//! An incremental JSON scanner: bytes in, in pieces cut anywhere; events out. It never builds a document, keeps at most one
//! token between pieces, and accepts exactly the grammar of RFC 8259.

use super::super::DecodeError;
use super::text::{RawText, TextEnd, TextScan};

/// The longest number or word.
const WORD_BYTES_MAX: usize = 1024;

/// What is wrong with a token that is well-formed; the scanner adds where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    /// Another kind of value belongs here.
    Expected(&'static str),
    /// The value cannot be right.
    Invalid(String),
    /// Over the limit on samples.
    TooManySamples,
}

/// Objects and arrays.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Container {
    Object,
    Array,
}

/// A value that is neither text nor container.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Literal<'a> {
    /// In JSON's grammar.
    Number(&'a [u8]),
    Bool(bool),
    Null,
}

/// Who listens to the scanner. Every event may end the scan with a [`Problem`].
pub(super) trait JsonEvents {
    /// How much of the next string (a key or a value) is worth keeping; a longer one arrives cut.
    fn text_bytes_max(&self, is_key: bool) -> usize;
    /// A key of the innermost object; its value follows.
    fn key(&mut self, text: RawText<'_>) -> Result<(), Problem>;
    fn begin(&mut self, container: Container) -> Result<(), Problem>;
    /// The innermost container is complete.
    fn end(&mut self) -> Result<(), Problem>;
    fn text(&mut self, text: RawText<'_>) -> Result<(), Problem>;
    fn literal(&mut self, literal: Literal<'_>) -> Result<(), Problem>;
    /// A chance to take whole items of the innermost container (elements, or keys with their values) off the front of
    /// `bytes` without events. Takes no part of an item and, but for the last, each with the comma behind it.
    fn take_items(&mut self, bytes: &[u8]) -> Taken;
    /// Where in the document the scan is, for an error message: ` in data.result[3]`, or nothing.
    fn place(&self) -> String;
}

/// What [`JsonEvents::take_items`] took.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    /// How many bytes.
    pub(super) length: usize,
    /// Is the last of them a comma, so that another item must come? Else a comma or the container's end comes.
    pub(super) ends_with_comma: bool,
}

/// What the grammar allows next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Expect {
    Document,
    KeyOrEnd,
    Key,
    Colon,
    Value,
    ValueOrEnd,
    CommaOrEnd,
    Nothing,
}

/// The token that the last piece ended in.
#[derive(Copy, Clone, Debug)]
enum Partial {
    None,
    Word,
    Text(PartialText),
}

/// A string whose end has not been seen.
#[derive(Copy, Clone, Debug)]
struct PartialText {
    is_key: bool,
    scan: TextScan,
    bytes_max: usize,
    is_cut: bool,
}

/// The state between two pieces.
#[derive(Debug)]
pub(super) struct JsonScanner {
    containers: Vec<Container>,
    depth_max: usize,
    expect: Expect,
    partial: Partial,
    /// The bytes of `partial` so far.
    carry: Vec<u8>,
    /// Where `partial` began.
    carry_offset: u64,
    /// Bytes before the current piece.
    offset: u64,
}

impl JsonScanner {
    pub(super) fn new(depth_max: usize) -> Self {
        Self {
            containers: Vec::new(),
            depth_max,
            expect: Expect::Document,
            partial: Partial::None,
            carry: Vec::new(),
            carry_offset: 0,
            offset: 0,
        }
    }

    /// Scans the next piece of the document.
    pub(super) fn feed<E: JsonEvents>(&mut self, piece: &[u8], events: &mut E) -> Result<(), DecodeError> {
        let mut at = self.resume(piece, events)?;
        while let Some(&byte) = piece.get(at) {
            if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                at += 1;
                continue;
            }
            if let Some(expect) = self.item_expected() {
                let taken = events.take_items(&piece[at..]);
                if taken.length > 0 {
                    self.expect = if taken.ends_with_comma { expect } else { Expect::CommaOrEnd };
                    at += taken.length;
                    continue;
                }
            }
            at = match (self.expect, byte) {
                (Expect::ValueOrEnd, b']') | (Expect::KeyOrEnd, b'}') => self.end(at, events)?,
                (Expect::Document | Expect::Value | Expect::ValueOrEnd, _) => self.value(piece, at, events)?,
                (Expect::Key | Expect::KeyOrEnd, b'"') => self.begin_text(piece, at, true, events)?,
                (Expect::Colon, b':') => {
                    self.expect = Expect::Value;
                    at + 1
                }
                (Expect::CommaOrEnd, b',') => {
                    self.expect = self.after_comma();
                    at + 1
                }
                (Expect::CommaOrEnd, b'}') if self.containers.last() == Some(&Container::Object) => {
                    self.end(at, events)?
                }
                (Expect::CommaOrEnd, b']') if self.containers.last() == Some(&Container::Array) => {
                    self.end(at, events)?
                }
                _ => return Err(self.unexpected(at, byte, events)),
            };
        }
        self.offset += piece.len() as u64;
        Ok(())
    }

    /// What comes behind a comma, if an item may begin here.
    fn item_expected(&self) -> Option<Expect> {
        match (self.expect, self.containers.last()) {
            (Expect::Key | Expect::KeyOrEnd, _) | (Expect::Value | Expect::ValueOrEnd, Some(Container::Array)) => {
                Some(self.after_comma())
            }
            _ => None,
        }
    }

    fn after_comma(&self) -> Expect {
        match self.containers.last() {
            Some(Container::Object) => Expect::Key,
            _ => Expect::Value,
        }
    }

    /// Fails unless the document is complete.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        // A number at the top may be complete without our knowing; no caller takes such a document.
        if self.expect == Expect::Nothing && matches!(self.partial, Partial::None) {
            return Ok(());
        }
        let expected = match self.partial {
            Partial::Text(_) => "the end of a string",
            Partial::Word => "the end of a number",
            Partial::None => self.expected(),
        };
        Err(DecodeError::Truncated { length: self.offset, expected })
    }

    fn expected(&self) -> &'static str {
        match (self.expect, self.containers.last()) {
            (Expect::Document, _) => "a JSON document",
            (Expect::KeyOrEnd, _) => "a key or \"}\"",
            (Expect::Key, _) => "a key",
            (Expect::Colon, _) => "\":\"",
            (Expect::Value, _) => "a value",
            (Expect::ValueOrEnd, _) => "a value or \"]\"",
            (Expect::CommaOrEnd, Some(Container::Object)) => "\",\" or \"}\"",
            (Expect::CommaOrEnd, _) => "\",\" or \"]\"",
            (Expect::Nothing, _) => "the end of the body",
        }
    }

    fn unexpected<E: JsonEvents>(&self, at: usize, byte: u8, events: &E) -> DecodeError {
        let found = match byte {
            b'!'..=b'~' => format!("{:?}", char::from(byte)),
            byte => format!("byte {byte:#04x}"),
        };
        let expected = format!("{}{}", self.expected(), events.place());
        DecodeError::Unexpected { offset: self.offset + at as u64, expected, found }
    }

    /// Gives a listener's problem its place in the body.
    fn locate<E: JsonEvents>(&self, offset: u64, problem: Problem, found: &str, events: &E) -> DecodeError {
        match problem {
            Problem::Expected(expected) => {
                let expected = format!("{expected}{}", events.place());
                DecodeError::Unexpected { offset, expected, found: found.to_owned() }
            }
            Problem::Invalid(problem) => {
                DecodeError::Invalid { offset, problem: format!("{problem}{}", events.place()) }
            }
            Problem::TooManySamples => DecodeError::TooManySamples,
        }
    }

    fn value<E: JsonEvents>(&mut self, piece: &[u8], at: usize, events: &mut E) -> Result<usize, DecodeError> {
        match piece[at] {
            b'"' => self.begin_text(piece, at, false, events),
            b'{' => self.begin(Container::Object, at, events),
            b'[' => self.begin(Container::Array, at, events),
            byte if is_word_byte(byte) => {
                let length = word_length(&piece[at..]);
                if at + length == piece.len() {
                    self.partial = Partial::Word;
                    self.carry_offset = self.offset + at as u64;
                    self.carry.clear();
                    self.extend_word(&piece[at..])?;
                } else {
                    self.word(&piece[at..at + length], self.offset + at as u64, events)?;
                }
                Ok(at + length)
            }
            byte => Err(self.unexpected(at, byte, events)),
        }
    }

    fn begin<E: JsonEvents>(&mut self, container: Container, at: usize, events: &mut E) -> Result<usize, DecodeError> {
        let offset = self.offset + at as u64;
        if self.containers.len() >= self.depth_max {
            return Err(DecodeError::Invalid { offset, problem: format!("more than {} levels", self.depth_max) });
        }
        let found = match container {
            Container::Object => "an object",
            Container::Array => "an array",
        };
        events.begin(container).map_err(|problem| self.locate(offset, problem, found, events))?;
        self.containers.push(container);
        self.expect = match container {
            Container::Object => Expect::KeyOrEnd,
            Container::Array => Expect::ValueOrEnd,
        };
        Ok(at + 1)
    }

    fn end<E: JsonEvents>(&mut self, at: usize, events: &mut E) -> Result<usize, DecodeError> {
        let offset = self.offset + at as u64;
        events.end().map_err(|problem| self.locate(offset, problem, "its end", events))?;
        self.containers.pop();
        self.after_value();
        Ok(at + 1)
    }

    fn after_value(&mut self) {
        self.expect = if self.containers.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    /// Goes on with the token that the last piece ended in. Returns where the rest of this piece begins.
    fn resume<E: JsonEvents>(&mut self, piece: &[u8], events: &mut E) -> Result<usize, DecodeError> {
        match self.partial {
            Partial::None => Ok(0),
            Partial::Word => {
                let length = word_length(piece);
                self.extend_word(&piece[..length])?;
                if length < piece.len() {
                    let word = std::mem::take(&mut self.carry);
                    self.partial = Partial::None;
                    self.word(&word, self.carry_offset, events)?;
                    self.carry = word;
                }
                Ok(length)
            }
            Partial::Text(text) => {
                self.partial = Partial::None;
                self.text(text, piece, 0, events)
            }
        }
    }

    fn extend_word(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.carry.len() + bytes.len() > WORD_BYTES_MAX {
            let problem = format!("number longer than {WORD_BYTES_MAX} bytes");
            return Err(DecodeError::Invalid { offset: self.carry_offset, problem });
        }
        self.carry.extend_from_slice(bytes);
        Ok(())
    }

    fn word<E: JsonEvents>(&mut self, word: &[u8], offset: u64, events: &mut E) -> Result<(), DecodeError> {
        let (literal, found) = match word {
            b"true" => (Literal::Bool(true), "true"),
            b"false" => (Literal::Bool(false), "false"),
            b"null" => (Literal::Null, "null"),
            number if number.len() <= WORD_BYTES_MAX && is_number(number) => (Literal::Number(number), "a number"),
            other => {
                let quoted = String::from_utf8_lossy(&other[..other.len().min(20)]);
                let expected = format!("{}{}", self.expected(), events.place());
                return Err(DecodeError::Unexpected { offset, expected, found: format!("{quoted:?}") });
            }
        };
        events.literal(literal).map_err(|problem| self.locate(offset, problem, found, events))?;
        self.after_value();
        Ok(())
    }

    /// `at` is the opening quote.
    fn begin_text<E: JsonEvents>(
        &mut self,
        piece: &[u8],
        at: usize,
        is_key: bool,
        events: &mut E,
    ) -> Result<usize, DecodeError> {
        let bytes_max = events.text_bytes_max(is_key);
        self.carry.clear();
        self.carry_offset = self.offset + at as u64;
        let text = PartialText { is_key, scan: TextScan::new(), bytes_max, is_cut: false };
        self.text(text, piece, at + 1, events)
    }

    /// Goes on with a string whose bytes go on at `at`.
    fn text<E: JsonEvents>(
        &mut self,
        mut text: PartialText,
        piece: &[u8],
        at: usize,
        events: &mut E,
    ) -> Result<usize, DecodeError> {
        let rest = &piece[at..];
        let end = match text.scan.advance(rest) {
            TextEnd::At(end) => Some(end),
            TextEnd::Later => None,
            TextEnd::Bad(bad) => {
                let offset = self.offset + (at + bad) as u64;
                return Err(DecodeError::Invalid { offset, problem: format!("bad string{}", events.place()) });
            }
        };
        let length = end.unwrap_or(rest.len());
        let kept = length.min(text.bytes_max - self.carry.len());
        text.is_cut |= kept < length;
        let Some(end) = end else {
            self.carry.extend_from_slice(&rest[..kept]);
            self.partial = Partial::Text(text);
            return Ok(piece.len());
        };
        // A string that lies within one piece is not copied.
        let bytes = if self.carry.is_empty() {
            &rest[..kept]
        } else {
            self.carry.extend_from_slice(&rest[..kept]);
            &self.carry
        };
        let raw = RawText { bytes, has_escape: text.scan.has_escape, is_cut: text.is_cut };
        let result = if text.is_key { events.key(raw) } else { events.text(raw) };
        result.map_err(|problem| self.locate(self.carry_offset, problem, "a string", events))?;
        if text.is_key {
            self.expect = Expect::Colon;
        } else {
            self.after_value();
        }
        Ok(at + end + 1)
    }
}

/// Numbers and the words true, false and null are made of these; anything else ends them.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn word_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_word_byte(*byte)).unwrap_or(bytes.len())
}

/// JSON's number: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
fn is_number(word: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unsigned = word.strip_prefix(b"-").unwrap_or(word);
    let whole = digits(unsigned);
    if whole == 0 || (whole > 1 && unsigned[0] == b'0') {
        return false;
    }
    let mut rest = &unsigned[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let unsigned = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let length = digits(unsigned);
        return length > 0 && length == unsigned.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;
