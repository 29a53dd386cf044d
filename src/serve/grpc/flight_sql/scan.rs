//! The letters of a statement: words, quotes, comments.

use crate::error::Error;
use crate::syntax::position;

/// A place in a statement.
#[derive(Copy, Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// On the border of a character.
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// The byte.
    pub(super) fn at(self) -> usize {
        self.at
    }

    /// What is still to be read.
    pub(super) fn rest(self) -> &'a str {
        &self.text[self.at..]
    }

    /// `line:column: message`, both from 1, columns in bytes.
    pub(super) fn error(self, message: impl std::fmt::Display) -> Error {
        Error::bad_data(format!("{}: {message}", position(self.at, self.text)))
    }

    /// That something else should stand here.
    pub(super) fn expected(self, what: &str) -> Error {
        /// So much of the statement is repeated.
        const FOUND_CHARS: usize = 20;
        let rest = self.rest();
        if rest.is_empty() {
            return self.error(format!("statement ends, expected {what}"));
        }
        let end = rest.char_indices().nth(FOUND_CHARS).map_or(rest.len(), |(end, _)| end);
        let cut = if end < rest.len() { " …" } else { "" };
        self.error(format!("found {:?}{cut}, expected {what}", &rest[..end]))
    }

    /// Takes white space; was there any?
    pub(super) fn skip_space(&mut self) -> bool {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.len() < rest.len()
    }

    /// Takes a character if it is the next.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        let is_next = self.rest().starts_with(wanted);
        if is_next {
            self.at += wanted.len_utf8();
        }
        is_next
    }

    /// Takes letters, digits and underscores.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | ':'))
    }

    /// Takes a word if it is the next, in whatever case.
    pub(super) fn take_word(&mut self, wanted: &str) -> bool {
        let mut ahead = *self;
        let is_next = ahead.word().eq_ignore_ascii_case(wanted);
        if is_next {
            *self = ahead;
        }
        is_next
    }

    /// Takes a number or a duration, as far as it goes.
    pub(super) fn value(&mut self) -> &'a str {
        self.take_while(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '+'))
    }

    /// Takes what is in quotes, single or double. There are no escapes: nothing that may stand here needs any.
    pub(super) fn quoted(&mut self) -> Result<Option<&'a str>, Error> {
        let rest = self.rest();
        let Some(quote @ ('\'' | '"')) = rest.chars().next() else { return Ok(None) };
        let inner = &rest[1..];
        let length = inner.find(quote).ok_or_else(|| self.error("the quote is not closed"))?;
        self.at += length + 2;
        Ok(Some(&inner[..length]))
    }

    /// Takes the comma before the next argument.
    pub(super) fn comma_before(&mut self, next: &str) -> Result<(), Error> {
        self.skip_space();
        if !self.take(',') {
            return Err(self.expected(&format!("\",\" and {next}")));
        }
        self.skip_space();
        Ok(())
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes a comment in a block.
    fn block_comment(&mut self) -> Result<bool, Error> {
        let Some(inner) = self.rest().strip_prefix("/*") else { return Ok(false) };
        let length = inner.find("*/").ok_or_else(|| self.error("the comment is not closed, write */"))?;
        self.at += length + 4;
        Ok(true)
    }

    /// Takes a comment that goes to the end of its line.
    fn line_comment(&mut self) -> bool {
        let is_comment = self.rest().starts_with("--") || self.rest().starts_with('#');
        if is_comment {
            self.take_while(|character| character != '\n');
        }
        is_comment
    }

    /// Takes a string of PromQL, closed or not.
    fn promql_string(&mut self) -> bool {
        let mut characters = self.rest().char_indices();
        let Some((_, quote @ ('"' | '\'' | '`'))) = characters.next() else { return false };
        while let Some((at, character)) = characters.next() {
            if character == quote {
                self.at += at + 1;
                return true;
            }
            if character == '\\' && quote != '`' {
                characters.next();
            }
        }
        self.at = self.text.len();
        true
    }

    fn skip_character(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }
}

/// Where PromQL would begin, behind white space and comments in blocks; and where a word of SQL would, behind comments in lines, too.
pub(super) fn skip_leading(text: &str) -> Result<(usize, usize), Error> {
    let mut cursor = Cursor::new(text, 0);
    while cursor.skip_space() || cursor.block_comment()? {}
    let promql_at = cursor.at();
    while cursor.skip_space() || cursor.line_comment() || cursor.block_comment()? {}
    Ok((promql_at, cursor.at()))
}

/// Where the query ends: at the end of the text, or at a `;` behind which only comments stand.
pub(super) fn end_of_query(mut cursor: Cursor<'_>) -> Result<usize, Error> {
    loop {
        if cursor.rest().starts_with(';') {
            break;
        }
        let is_skipped = cursor.promql_string() || promql_comment(&mut cursor) || cursor.block_comment()?;
        if !is_skipped && cursor.skip_character().is_none() {
            return Ok(cursor.at());
        }
    }
    let end = cursor.at();
    while cursor.take(';') || cursor.skip_space() || cursor.line_comment() || cursor.block_comment()? {}
    if !cursor.rest().is_empty() {
        return Err(cursor.error("something stands behind the ; that ends the statement, send one statement at a time"));
    }
    Ok(end)
}

/// In PromQL a comment begins with `#`; `--` is twice a sign.
fn promql_comment(cursor: &mut Cursor<'_>) -> bool {
    cursor.rest().starts_with('#') && cursor.line_comment()
}

/// The text up to `end` with spaces in place of the bytes of blocks `/* … */`, so that every place stays where it is.
pub(super) fn blank_comments(mut cursor: Cursor<'_>, end: usize) -> Result<String, Error> {
    let mut blanked = String::with_capacity(end - cursor.at());
    while cursor.at() < end {
        let began = cursor.at();
        if cursor.block_comment()? {
            let comment = &cursor.text[began..cursor.at()];
            blanked.extend(comment.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            continue;
        }
        if !cursor.promql_string() && !promql_comment(&mut cursor) && cursor.skip_character().is_none() {
            break;
        }
        blanked.push_str(&cursor.text[began..cursor.at()]);
    }
    Ok(blanked)
}
