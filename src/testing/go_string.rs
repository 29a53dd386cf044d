//! Quoted texts as Go, and so PromQL and its test files, write them.

/// Reads the quoted text at the front of `text`: its bytes (Go's escapes may make any) and how many bytes of `text` it took.
///
/// | text | bytes |
/// |---|---|
/// | `"a\n\x41\101\u00e9"` | a, line feed, A, A, é |
/// | `'it"s'` | it"s |
/// | `` `raw\n` `` | raw\n, escapes left alone |
pub fn unquote(text: &str) -> Result<(Vec<u8>, usize), String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'));
    let quote = quote.ok_or_else(|| "expected a quoted text".to_owned())?;
    let mut bytes = Vec::new();
    let mut rest = &text[1..];
    loop {
        let next = rest.chars().next().ok_or_else(|| "text has no closing quote".to_owned())?;
        rest = &rest[next.len_utf8()..];
        if next == quote {
            return Ok((bytes, text.len() - rest.len()));
        }
        if next == '\\' && quote != '`' {
            rest = unescape(rest, quote, &mut bytes).ok_or_else(|| "bad escape in a quoted text".to_owned())?;
        } else {
            bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Appends what the escape means whose backslash was just read; what follows it.
fn unescape<'a>(text: &'a str, quote: char, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let letter = text.chars().next()?;
    let rest = &text[letter.len_utf8()..];
    let simple = match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' | '\'' if letter == quote => letter as u8,
        'x' => return number(rest, 2, 16, bytes, false),
        'u' => return number(rest, 4, 16, bytes, true),
        'U' => return number(rest, 8, 16, bytes, true),
        '0'..='7' => return number(text, 3, 8, bytes, false),
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

/// Appends the byte or character that exactly `length` digits name.
fn number<'a>(text: &'a str, length: usize, radix: u32, bytes: &mut Vec<u8>, character: bool) -> Option<&'a str> {
    let digits = text.get(..length).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
    let code = u32::from_str_radix(digits, radix).ok()?;
    if character {
        bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(code).ok()?);
    }
    Some(&text[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_what_they_mean_in_go() {
        for (text, expected) in [
            (r#""a\n\x41\101\u00e9\U0001F600" rest"#, Ok(("a\nAAé😀".as_bytes().to_vec(), 29))),
            (r"'it\'s'", Ok((b"it's".to_vec(), 7))),
            (r"`raw\n`", Ok((br"raw\n".to_vec(), 7))),
            (r#""\xff""#, Ok((vec![0xff], 6))),
            (r#""\400""#, Err("bad escape in a quoted text")),
            (r#""\'""#, Err("bad escape in a quoted text")),
            (r#""\ud800""#, Err("bad escape in a quoted text")),
            (r#""\xé""#, Err("bad escape in a quoted text")),
            (r#""abc\"#, Err("bad escape in a quoted text")),
            (r#""abc"#, Err("text has no closing quote")),
            ("abc", Err("expected a quoted text")),
            ("", Err("expected a quoted text")),
        ] {
            assert_eq!(unquote(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
