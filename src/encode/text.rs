//! JSON strings as Go prints them, in the dialects that one Prometheus answer mixes.

/// Who prints the string in Prometheus. The first two differ in two characters; both escape `<`, `>`, `&`, U+2028 and U+2029.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// Go's encoding/json, for string results: backspace is `\b`, form feed `\f`.
    Standard,
    /// json-iterator, for everything else: backspace is `\u0008`, form feed `\u000c`.
    Iterator,
    /// json-iterator's stream, for label sets, which Prometheus 3 writes by hand: as above, but only quotes, backslashes and
    /// control characters are escaped.
    Stream,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// ASCII characters that cannot stand for themselves, and 0xe2, with which U+2028 and U+2029 begin.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    suspect[b'"' as usize] = true;
    suspect[b'\\' as usize] = true;
    suspect[b'<' as usize] = true;
    suspect[b'>' as usize] = true;
    suspect[b'&' as usize] = true;
    suspect[0xe2] = true;
    suspect
};

/// Appends the text in quotes.
pub(super) fn write_text(text: &str, dialect: Dialect, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    let mut at = 0;
    while let Some(stretch) = bytes[at..].iter().position(|byte| SUSPECT[usize::from(*byte)]) {
        at += stretch;
        let byte = bytes[at];
        let stands_for_itself = match byte {
            0xe2 => dialect == Dialect::Stream || !matches!(bytes[at..], [_, 0x80, 0xa8 | 0xa9, ..]),
            b'<' | b'>' | b'&' => dialect == Dialect::Stream,
            _ => false,
        };
        if stands_for_itself {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        at += write_escape(&bytes[at..], dialect, out);
        written = at;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// Appends the escape of the character at the front; returns the character's length.
fn write_escape(bytes: &[u8], dialect: Dialect, out: &mut Vec<u8>) -> usize {
    let hex = |byte: u8| HEX[usize::from(byte)];
    match (bytes[0], dialect) {
        (byte @ (b'"' | b'\\'), _) => out.extend_from_slice(&[b'\\', byte]),
        (b'\n', _) => out.extend_from_slice(b"\\n"),
        (b'\r', _) => out.extend_from_slice(b"\\r"),
        (b'\t', _) => out.extend_from_slice(b"\\t"),
        (0x08, Dialect::Standard) => out.extend_from_slice(b"\\b"),
        (0x0c, Dialect::Standard) => out.extend_from_slice(b"\\f"),
        (0xe2, _) => {
            out.extend_from_slice(b"\\u202");
            out.push(hex(bytes[2] & 0xf));
            return 3;
        }
        (byte, _) => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 0xf)]),
    }
    1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, dialect: Dialect) -> String {
        let mut out = Vec::new();
        write_text(text, dialect, &mut out);
        String::from_utf8(out).expect("text stays text")
    }

    #[test]
    fn texts_are_printed_as_go_prints_them() {
        // Printed by Go 1.26's encoding/json and by json-iterator 1.1.
        for (text, standard, iterator) in [
            ("a<b>&c'\"\\/", r#""a\u003cb\u003e\u0026c'\"\\/""#, r#""a\u003cb\u003e\u0026c'\"\\/""#),
            (
                "\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}",
                "\"\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\"",
                "\"\\u0008\\u000c\\n\\r\\t\\u0000\\u001f\u{7f}\"",
            ),
            ("é\u{2028}\u{2029}\u{fffd}😀", "\"é\\u2028\\u2029\u{fffd}😀\"", "\"é\\u2028\\u2029\u{fffd}😀\""),
            ("€\u{2027}\u{202a}", "\"€\u{2027}\u{202a}\"", "\"€\u{2027}\u{202a}\""),
            ("", "\"\"", "\"\""),
        ] {
            assert_eq!(written(text, Dialect::Standard), standard);
            assert_eq!(written(text, Dialect::Iterator), iterator);
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in prop_oneof![any::<String>(), "[\u{0}-\u{30}<>&\u{2026}-\u{202b}]{0,20}"]) {
            for dialect in [Dialect::Standard, Dialect::Iterator, Dialect::Stream] {
                let json = written(&text, dialect);
                prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(text.clone()));
            }
        }
    }
}
