//! Numbers and strings as Go reads them.

use crate::model::quote_label_value;

/// The value of a number: Go's `ParseInt` with its prefixes and, where that fails, `ParseFloat`.
///
/// | text | value |
/// |---|---|
/// | `0x_ff`, `0755`, `1_000` | 255, 493, 1000 |
/// | `08`, `0_8` | 8: no octal number, so a float |
/// | `1e-400`, `Inf` | 0, +Inf |
/// | `1e400` | an error: out of range |
pub(super) fn parse_number(text: &str) -> Result<f64, String> {
    let fail = |problem: &str| {
        Err(format!("error parsing number: strconv.ParseFloat: parsing {}: {problem}", quote_label_value(text)))
    };
    if let Some(integer) = parse_integer(text) {
        return Ok(integer as f64);
    }
    if text.eq_ignore_ascii_case("inf") {
        return Ok(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if !underscores_separate_digits(text) {
        return fail("invalid syntax");
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_infinite() => fail("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => fail("invalid syntax"),
    }
}

/// Decimal, `0x` hexadecimal or `0` octal; `None` for what is none of these or does not fit.
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let digits = text.replace('_', "");
    if let Some(hexadecimal) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hexadecimal, 16).ok();
    }
    match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => i64::from_str_radix(octal, 8).ok(),
        _ => digits.parse().ok(),
    }
}

/// Does every underscore stand between digits, or between the base prefix and a digit?
fn underscores_separate_digits(text: &str) -> bool {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let digits = if hexadecimal { &text[2..] } else { text };
    // The prefix counts as a digit.
    let mut previous = if hexadecimal { b'0' } else { b'!' };
    for byte in digits.bytes() {
        let kind = match byte {
            b'0'..=b'9' => b'0',
            b'a'..=b'f' | b'A'..=b'F' if hexadecimal => b'0',
            b'_' => b'_',
            _ => b'!',
        };
        if (kind == b'_' && previous != b'0') || (previous == b'_' && kind != b'0') {
            return false;
        }
        previous = kind;
    }
    previous != b'_'
}

/// The bytes that a string token stands for, quotes included in `text`. The lexer has checked the escapes; one that it could
/// not have let through stands for itself.
pub(super) fn unquote(text: &str) -> Vec<u8> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if text.starts_with('`') || !inner.contains('\\') {
        return inner.as_bytes().to_vec();
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let consumed = unescape(rest, &mut bytes);
        rest = rest.get(consumed..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Appends what an escape stands for and says how many bytes behind the backslash it took.
fn unescape(escape: &str, bytes: &mut Vec<u8>) -> usize {
    let Some(first) = escape.bytes().next() else { return 0 };
    let code = |from: usize, digits: usize, base: u32| {
        escape.get(from..from + digits).and_then(|text| u32::from_str_radix(text, base).ok()).unwrap_or_default()
    };
    match first {
        b'a' => bytes.push(0x07),
        b'b' => bytes.push(0x08),
        b'f' => bytes.push(0x0c),
        b'n' => bytes.push(b'\n'),
        b'r' => bytes.push(b'\r'),
        b't' => bytes.push(b'\t'),
        b'v' => bytes.push(0x0b),
        b'0'..=b'7' => {
            // At most 0o377: one byte, whatever it makes of the text.
            bytes.push(code(0, 3, 8) as u8);
            return 3;
        }
        b'x' => {
            bytes.push(code(1, 2, 16) as u8);
            return 3;
        }
        b'u' | b'U' => {
            let digits = if first == b'u' { 4 } else { 8 };
            let character = char::from_u32(code(1, digits, 16)).unwrap_or(char::REPLACEMENT_CHARACTER);
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return 1 + digits;
        }
        _ => bytes.push(first),
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("0x_ff", 255.0),
            ("0XFF", 255.0),
            ("0755", 493.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("08", 8.0),
            ("0_8", 8.0),
            ("0e1", 0.0),
            ("5.", 5.0),
            (".5", 0.5),
            ("1e-400", 0.0),
            ("0777777777777777777777777777", 777_777_777_777_777_777_777_777_777.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("nan").is_ok_and(f64::is_nan));
        let error = |text: &str| parse_number(text).expect_err(text);
        assert_eq!(error("1e400"), "error parsing number: strconv.ParseFloat: parsing \"1e400\": value out of range");
        assert_eq!(error("0x1e+1"), "error parsing number: strconv.ParseFloat: parsing \"0x1e+1\": invalid syntax");
        for text in ["1__0", "1_", "0x", "1_.5"] {
            assert!(error(text).ends_with("invalid syntax"), "{text}");
        }
    }

    #[test]
    fn strings_are_unquoted_as_go_unquotes() {
        for (text, bytes) in [
            (r#""a\tb\"c\\""#, b"a\tb\"c\\".as_slice()),
            (r"'it\'s'", b"it's"),
            (r#""\xff\377\101\u00e9\U0001F600""#, b"\xff\xffA\xc3\xa9\xf0\x9f\x98\x80"),
            ("`\\d+\n`", b"\\d+\n"),
            ("``", b""),
        ] {
            assert_eq!(unquote(text), bytes, "{text}");
        }
    }
}
