//! Matchers as a text without braces: `cluster="A",env=~"a|b"`.

use crate::model::{MatchOp, Matcher};

/// Reads matchers as a selector of PromQL holds them. An error says at which character, counted from one, what is wrong.
///
/// | text | matchers |
/// |---|---|
/// | `cluster="A"` | one |
/// | `a!="x", "b.c"=~'y'` | two; a quoted name may hold any letter |
/// | `"up"` | `__name__="up"` |
pub(super) fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let mut reader = Reader { text, at: 0 };
    let mut matchers = Vec::new();
    loop {
        reader.skip_space();
        if reader.rest().is_empty() {
            break;
        }
        let (matcher, value_at) = reader.matcher()?;
        matcher.compile().map_err(|error| reader.wrong_at(value_at, &error.to_string()))?;
        matchers.push(matcher);
        reader.skip_space();
        if !reader.take(",") && !reader.rest().is_empty() {
            return Err(reader.wrong("expected a comma or the end"));
        }
    }
    if matchers.is_empty() {
        Err("holds no matcher, write for example 'cluster=\"A\"'".to_owned())
    } else {
        Ok(matchers)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: &str) -> String {
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> String {
        format!("at character {}: {what}", self.text[..at].chars().count() + 1)
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// One matcher, and where its value begins.
    fn matcher(&mut self) -> Result<(Matcher, usize), String> {
        let start = self.at;
        let is_quoted = self.rest().starts_with(['"', '\'', '`']);
        let name = if is_quoted { self.quoted()? } else { self.bare_name()? };
        if name.is_empty() {
            return Err(self.wrong("a label needs a name"));
        }
        self.skip_space();
        if is_quoted && (self.rest().is_empty() || self.rest().starts_with(',')) {
            return Ok((Matcher::equal("__name__", name), start));
        }
        let ops = [MatchOp::Regex, MatchOp::NotRegex, MatchOp::NotEqual, MatchOp::Equal];
        let Some(op) = ops.into_iter().find(|op| self.take(op.symbol())) else {
            return Err(self.wrong("expected =, !=, =~ or !~"));
        };
        self.skip_space();
        if !self.rest().starts_with(['"', '\'', '`']) {
            return Err(self.wrong("expected a value in quotes"));
        }
        let value_at = self.at;
        Ok((Matcher::new(name, op, self.quoted()?), value_at))
    }

    fn bare_name(&mut self) -> Result<String, String> {
        let rest = self.rest();
        let is_in_name =
            |at: usize, byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (at > 0 && byte.is_ascii_digit());
        let length = rest.bytes().enumerate().take_while(|(at, byte)| is_in_name(*at, *byte)).count();
        if length == 0 {
            return Err(self.wrong("expected a label name, write for example 'cluster=\"A\"' without braces"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    /// A text in quotes, with Go's escapes unless the quotes are backticks.
    fn quoted(&mut self) -> Result<String, String> {
        let start = self.at;
        let Some(quote) = self.rest().chars().next() else { return Err(self.wrong("expected a quote")) };
        let mut bytes = Vec::new();
        self.at += quote.len_utf8();
        while let Some(letter) = self.rest().chars().next() {
            if letter == '\n' && quote != '`' {
                return Err(self.wrong("a line ends inside of quotes"));
            }
            if letter == '\\' && quote != '`' {
                let unescaped = unescape(&self.rest()[1..], quote);
                let (unescaped, length) = unescaped.ok_or_else(|| self.wrong("unknown escape"))?;
                bytes.extend_from_slice(&unescaped);
                self.at += 1 + length;
                continue;
            }
            self.at += letter.len_utf8();
            if letter == quote {
                return String::from_utf8(bytes).map_err(|_| self.wrong_at(start, "the text is not UTF-8"));
            }
            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Err(self.wrong_at(start, "the quote is not closed"))
    }
}

/// What stands behind a backslash: its bytes, and how many bytes of text it takes.
fn unescape(text: &str, quote: char) -> Option<(Vec<u8>, usize)> {
    let first = text.chars().next()?;
    let number = |from: usize, digits: usize, radix: u32| -> Option<u32> {
        let digits =
            text.get(from..from + digits).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let letter = |code: u32| char::from_u32(code).map(|letter| letter.to_string().into_bytes());
    Some(match first {
        'a' => (vec![7], 1),
        'b' => (vec![8], 1),
        'f' => (vec![12], 1),
        'n' => (vec![b'\n'], 1),
        'r' => (vec![b'\r'], 1),
        't' => (vec![b'\t'], 1),
        'v' => (vec![11], 1),
        '\\' => (vec![b'\\'], 1),
        'x' => (vec![u8::try_from(number(1, 2, 16)?).ok()?], 3),
        'u' => (letter(number(1, 4, 16)?)?, 5),
        'U' => (letter(number(1, 8, 16)?)?, 9),
        '0'..='7' => (vec![u8::try_from(number(0, 3, 8)?).ok()?], 3),
        _ if first == quote => (vec![first as u8], 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matchers_are_read_as_promql_reads_them() {
        for (text, matchers) in [
            ("cluster=\"A\"", vec![Matcher::equal("cluster", "A")]),
            (
                " a != 'x' ,b=~\"y|z\", c!~`\\d`,",
                vec![
                    Matcher::new("a", MatchOp::NotEqual, "x"),
                    Matcher::new("b", MatchOp::Regex, "y|z"),
                    Matcher::new("c", MatchOp::NotRegex, "\\d"),
                ],
            ),
            ("\"b.c\"=\"\"", vec![Matcher::equal("b.c", "")]),
            ("\"up\"", vec![Matcher::equal("__name__", "up")]),
            (r#"a="\"\\\n\x41\101\u00e9\U0001F600""#, vec![Matcher::equal("a", "\"\\\nAAé😀")]),
            (r#"a="\xc3\xa9""#, vec![Matcher::equal("a", "é")]),
        ] {
            assert_eq!(parse_matchers(text), Ok(matchers), "{text}");
        }
    }

    #[test]
    fn what_is_no_matcher_says_where_and_why() {
        for (text, message) in [
            ("", "holds no matcher, write for example 'cluster=\"A\"'"),
            ("{a=\"b\"}", "at character 1: expected a label name, write for example 'cluster=\"A\"' without braces"),
            ("a", "at character 2: expected =, !=, =~ or !~"),
            ("a=b", "at character 3: expected a value in quotes"),
            ("a=\"b\" c=\"d\"", "at character 7: expected a comma or the end"),
            ("é=\"b\"", "at character 1: expected a label name, write for example 'cluster=\"A\"' without braces"),
            ("a=\"b", "at character 3: the quote is not closed"),
            ("a=\"b\\q\"", "at character 5: unknown escape"),
            ("a=\"b\\'\"", "at character 5: unknown escape"),
            ("a=\"\\xff\"", "at character 3: the text is not UTF-8"),
            ("a=\"\n\"", "at character 4: a line ends inside of quotes"),
            ("\"\"=\"b\"", "at character 3: a label needs a name"),
            ("a=~\"[\"", "at character 4: error parsing regexp: missing closing ]: `[`"),
        ] {
            assert_eq!(parse_matchers(text), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_matchers_read_as_themselves(name in "[a-z.]{1,4}", value in any::<String>()) {
            let matcher = Matcher::new(name, MatchOp::NotEqual, value);
            prop_assert_eq!(parse_matchers(&matcher.to_string()), Ok(vec![matcher]));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a=!~\"'`\\\\xu0é, ]{0,20}") {
            let _: Result<Vec<Matcher>, String> = parse_matchers(&text);
        }
    }
}
