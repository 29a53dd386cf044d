//! Tree → text.

use crate::model::quote_label_value;

/// Bytes in double quotes as Go's `strconv.Quote` writes them. What is not UTF-8 becomes `\xNN`; U+FFFD is escaped too, as
/// PromQL does not take it bare.
pub(super) fn quote_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = quote_label_value(chunk.valid());
        quoted.push_str(&valid[1..valid.len() - 1].replace(char::REPLACEMENT_CHARACTER, "\\ufffd"));
        for byte in chunk.invalid() {
            write!(quoted, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    quoted.push('"');
    quoted
}
