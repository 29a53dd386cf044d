//! Tells text from frames.

/// A server's text is shown up to so many bytes.
pub(super) const TEXT_BYTES_MAX: usize = 512;

/// The text that bytes are, in one line and cut to a bound; `None` for bytes that are no text to read.
pub(super) fn shown_text(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The end may have come in the middle of a character.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_readable = |character: char| !character.is_control() || matches!(character, '\n' | '\r' | '\t');
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (text.chars().all(is_readable) && !line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_in_one_line_and_bytes_are_not() {
        for (bytes, expected) in [
            (&b"query timed out\n"[..], Some("query timed out")),
            (b"a\r\n\tb", Some("a b")),
            ("größer".as_bytes(), Some("größer")),
            (&"größer".as_bytes()[..4], Some("gr\u{f6}")),
            (&"größer".as_bytes()[..3], Some("gr")),
            (b"", None),
            (b" \n", None),
            (b"a\0b", None),
            (b"a\x1bb", None),
            (b"ab\xff", None),
        ] {
            assert_eq!(shown_text(bytes).as_deref(), expected, "{bytes:?}");
        }
        assert_eq!(shown_text(&[b'x'; 10_000]).map(|text| text.len()), Some(TEXT_BYTES_MAX));
    }
}
