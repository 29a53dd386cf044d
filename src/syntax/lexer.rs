//! Query text → tokens.
//!
//! The rules are those of Prometheus 3.14 (promql/parser/lex.go), with their oddities: what a `:` or a letter means depends on
//! whether a bracket is open, and only `fill (` makes a keyword of `fill`.

use super::token::{Keyword, Token, TokenKind, duration_word, reserved_word};
use crate::syntax::ast::BinaryOp;

/// All tokens of a query. The last one is `EndOfInput` or `Error`, and only the last.
pub(super) struct Lexed {
    pub tokens: Vec<Token>,
    /// What is wrong, where the last token is an `Error`.
    pub error: Option<String>,
}

/// Reads the whole query.
pub(super) fn lex(query: &str) -> Lexed {
    let mut lexer = Lexer {
        query,
        at: 0,
        start: 0,
        open_parens: 0,
        bracket_open: false,
        brace_open: false,
        got_colon: false,
        got_duration: false,
        tokens: Vec::new(),
    };
    let mut mode = Mode::Statements;
    let error = loop {
        let step = match mode {
            Mode::Statements if lexer.brace_open => lexer.braces(),
            Mode::Statements => lexer.statements(),
            Mode::Duration => lexer.duration(),
        };
        match step {
            Ok(Some(next)) => mode = next,
            Ok(None) => break None,
            Err(message) => break Some(message),
        }
    };
    if error.is_some() {
        // The right parenthesis or colon that was one too many is reported behind itself, as Prometheus does.
        lexer.tokens.push(Token { kind: TokenKind::Error, start: lexer.start, end: query.len() });
    }
    Lexed { tokens: lexer.tokens, error }
}

/// Where the next token is read.
#[derive(Copy, Clone)]
enum Mode {
    Statements,
    /// Behind `[`, until the first number.
    Duration,
}

/// The mode to go on in, `None` at the end of the input, or what is wrong.
type Step = Result<Option<Mode>, String>;

struct Lexer<'q> {
    query: &'q str,
    at: usize,
    start: usize,
    open_parens: usize,
    bracket_open: bool,
    brace_open: bool,
    /// A `:` came since the bracket was opened.
    got_colon: bool,
    /// A number came directly behind any bracket so far (Prometheus never resets it).
    got_duration: bool,
    tokens: Vec<Token>,
}

const DIGITS: &[u8] = b"0123456789";

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.query.as_bytes().get(self.at).copied()
    }

    fn peek_char(&self) -> Option<char> {
        self.query[self.at..].chars().next()
    }

    fn next_char(&mut self) -> Option<char> {
        let next = self.peek_char()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn peek_is(&self, set: &[u8]) -> bool {
        self.peek().is_some_and(|byte| set.contains(&byte))
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let accepted = self.peek_is(set);
        self.at += usize::from(accepted);
        accepted
    }

    fn skip_spaces(&mut self) {
        while self.accept(b" \t\n\r") {}
        self.start = self.at;
    }

    fn skip_comment(&mut self) {
        let rest = &self.query.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        self.start = self.at;
    }

    fn emit(&mut self, kind: TokenKind) {
        self.tokens.push(Token { kind, start: self.start, end: self.at });
        self.start = self.at;
    }

    /// One token outside of braces.
    fn statements(&mut self) -> Step {
        self.skip_spaces();
        let Some(first) = self.peek_char() else { return self.end_of_input() };
        if first == '#' {
            if self.bracket_open {
                // Prometheus 3.14 itself would skip a comment here; the conformance table that we follow has it refused.
                return Err("unexpected character: '#', expected ':'".to_owned());
            }
            self.skip_comment();
            return Ok(Some(Mode::Statements));
        }
        match first {
            '(' | ')' => return self.parenthesis(Mode::Statements),
            '"' | '\'' => return self.quoted_string(first),
            '`' => return self.raw_string(),
            '0'..='9' => return self.number_or_duration(),
            '.' if self.query.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                return self.number_or_duration();
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' if self.bracket_open => return self.word_in_bracket(first),
            'a'..='z' | 'A'..='Z' | '_' | ':' => self.word(),
            '[' => return self.open_bracket(),
            _ => {
                let kind = self.symbol()?;
                self.emit(kind);
            }
        }
        Ok(Some(Mode::Statements))
    }

    fn end_of_input(&mut self) -> Step {
        if self.open_parens > 0 {
            return Err("unclosed left parenthesis".to_owned());
        }
        if self.bracket_open {
            return Err("unclosed left bracket".to_owned());
        }
        self.emit(TokenKind::EndOfInput);
        Ok(None)
    }

    /// Operators and punctuation of one or two characters.
    fn symbol(&mut self) -> Result<TokenKind, String> {
        let Some(first) = self.next_char() else { return Ok(TokenKind::EndOfInput) };
        let kind = match first {
            ',' => TokenKind::Comma,
            '*' => TokenKind::Operator(BinaryOp::Mul),
            '/' => TokenKind::Operator(BinaryOp::Div),
            '%' => TokenKind::Operator(BinaryOp::Mod),
            '+' => TokenKind::Operator(BinaryOp::Add),
            '-' => TokenKind::Operator(BinaryOp::Sub),
            '^' => TokenKind::Operator(BinaryOp::Pow),
            '@' => TokenKind::At,
            '=' if self.accept(b"=") => TokenKind::Operator(BinaryOp::Equal),
            '=' if self.peek() == Some(b'~') => return Err("unexpected character after '=': '~'".to_owned()),
            '=' => TokenKind::Assign,
            '!' if self.accept(b"=") => TokenKind::Operator(BinaryOp::NotEqual),
            '!' => return Err(format!("unexpected character after '!': {}", quote_char(self.peek_char()))),
            '<' if self.accept(b"=") => TokenKind::Operator(BinaryOp::LessOrEqual),
            '<' if self.accept(b"/") => TokenKind::Operator(BinaryOp::TrimUpper),
            '<' => TokenKind::Operator(BinaryOp::Less),
            '>' if self.accept(b"=") => TokenKind::Operator(BinaryOp::GreaterOrEqual),
            '>' if self.accept(b"/") => TokenKind::Operator(BinaryOp::TrimLower),
            '>' => TokenKind::Operator(BinaryOp::Greater),
            '{' => {
                self.brace_open = true;
                TokenKind::LeftBrace
            }
            ']' if self.bracket_open => {
                self.bracket_open = false;
                TokenKind::RightBracket
            }
            ']' => return Err("unexpected right bracket ']'".to_owned()),
            _ => return Err(format!("unexpected character: {}", quote_char(Some(first)))),
        };
        Ok(kind)
    }

    /// `(` or `)`; both modes know them.
    fn parenthesis(&mut self, mode: Mode) -> Step {
        if self.accept(b"(") {
            self.open_parens += 1;
            self.emit(TokenKind::LeftParen);
            return Ok(Some(mode));
        }
        self.at += 1;
        let Some(open_parens) = self.open_parens.checked_sub(1) else {
            self.start = self.at;
            return Err("unexpected right parenthesis ')'".to_owned());
        };
        self.open_parens = open_parens;
        self.emit(TokenKind::RightParen);
        Ok(Some(mode))
    }

    fn open_bracket(&mut self) -> Step {
        self.at += 1;
        if self.bracket_open {
            return Err("unexpected left bracket '['".to_owned());
        }
        self.got_colon = false;
        self.bracket_open = true;
        self.emit(TokenKind::LeftBracket);
        Ok(Some(Mode::Duration))
    }

    /// A letter or colon where a bracket is open: `:`, or one of the words of durations.
    fn word_in_bracket(&mut self, first: char) -> Step {
        if first == ':' {
            self.at += 1;
            if self.got_colon {
                return Err("unexpected colon ':'".to_owned());
            }
            self.got_colon = true;
            self.emit(TokenKind::Colon);
            return Ok(Some(Mode::Statements));
        }
        match self.duration_keyword() {
            Some(kind) => {
                self.emit(kind);
                Ok(Some(Mode::Statements))
            }
            None => Err(format!("unexpected character: {}, expected ':'", quote_char(Some(first)))),
        }
    }

    /// Reads letters and underscores that make up `step`, `range`, `min_of` or `max_of`.
    fn duration_keyword(&mut self) -> Option<TokenKind> {
        let rest = &self.query[self.at..];
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'_').count();
        let kind = duration_word(&rest[..length])?;
        self.at += length;
        Some(kind)
    }

    /// One token behind `[`.
    fn duration(&mut self) -> Step {
        self.skip_spaces();
        let Some(first) = self.peek_char() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        let operator = match first {
            '(' | ')' => return self.parenthesis(Mode::Duration),
            ']' => {
                self.at += 1;
                self.bracket_open = false;
                self.got_colon = false;
                self.emit(TokenKind::RightBracket);
                return Ok(Some(Mode::Statements));
            }
            ':' => return self.colon_in_duration(),
            '0'..='9' => {
                self.got_duration = true;
                return self.number_or_duration();
            }
            '.' if self.query.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                self.got_duration = true;
                return self.number_or_duration();
            }
            '+' => TokenKind::Operator(BinaryOp::Add),
            '-' => TokenKind::Operator(BinaryOp::Sub),
            '*' => TokenKind::Operator(BinaryOp::Mul),
            '/' => TokenKind::Operator(BinaryOp::Div),
            '%' => TokenKind::Operator(BinaryOp::Mod),
            '^' => TokenKind::Operator(BinaryOp::Pow),
            ',' => TokenKind::Comma,
            _ => match self.duration_keyword() {
                Some(kind) => {
                    self.emit(kind);
                    return Ok(Some(Mode::Duration));
                }
                None => {
                    return Err(format!("unexpected character in duration expression: {}", quote_char(Some(first))));
                }
            },
        };
        self.at += 1;
        self.emit(operator);
        Ok(Some(Mode::Duration))
    }

    fn colon_in_duration(&mut self) -> Step {
        self.at += 1;
        if !self.got_duration || self.got_colon {
            self.start = self.at;
            let problem =
                if self.got_duration { "unexpected repeated colon" } else { "unexpected colon before duration" };
            return Err(format!("{problem} in duration expression"));
        }
        self.got_colon = true;
        self.emit(TokenKind::Colon);
        Ok(Some(Mode::Duration))
    }

    /// One token inside of braces, where every word is a label name.
    fn braces(&mut self) -> Step {
        self.skip_spaces();
        let Some(first) = self.peek_char() else { return Err("unexpected end of input inside braces".to_owned()) };
        let kind = match first {
            '#' => {
                self.skip_comment();
                return Ok(Some(Mode::Statements));
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                while self.peek().is_some_and(is_word_byte) {
                    self.at += 1;
                }
                self.emit(TokenKind::Identifier);
                return Ok(Some(Mode::Statements));
            }
            '"' | '\'' => return self.quoted_string(first),
            '`' => return self.raw_string(),
            ',' => TokenKind::Comma,
            '}' => {
                self.brace_open = false;
                TokenKind::RightBrace
            }
            '=' if self.query[self.at..].starts_with("=~") => {
                self.at += 1;
                TokenKind::MatchRegex
            }
            '=' => TokenKind::Assign,
            '!' => {
                self.at += 1;
                match self.peek_char() {
                    Some('~') => TokenKind::MatchNotRegex,
                    Some('=') => TokenKind::Operator(BinaryOp::NotEqual),
                    other => {
                        return Err(format!("unexpected character after '!' inside braces: {}", quote_char(other)));
                    }
                }
            }
            '{' => return Err("unexpected left brace '{'".to_owned()),
            _ => return Err(format!("unexpected character inside braces: {}", quote_char(Some(first)))),
        };
        self.at += 1;
        self.emit(kind);
        Ok(Some(Mode::Statements))
    }

    /// A name or reserved word.
    fn word(&mut self) {
        while self.peek().is_some_and(|byte| is_word_byte(byte) || byte == b':') {
            self.at += 1;
        }
        let word = &self.query[self.start..self.at];
        let kind = match reserved_word(word) {
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.left_paren_follows() =>
            {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.emit(kind);
    }

    fn left_paren_follows(&self) -> bool {
        self.query[self.at..].trim_start_matches([' ', '\t', '\n', '\r']).starts_with('(')
    }

    /// A string in double or single quotes, the opening one not yet read. Escapes are checked here and read by the parser.
    fn quoted_string(&mut self, quote: char) -> Step {
        self.at += 1;
        loop {
            match self.next_char() {
                Some('\\') => self.escape(quote)?,
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                None | Some('\n') => return Err("unterminated quoted string".to_owned()),
                Some(next) if next == quote => break,
                Some(_) => {}
            }
        }
        self.emit(TokenKind::String);
        Ok(Some(Mode::Statements))
    }

    /// An escape, the backslash already read; the rules are Go's.
    fn escape(&mut self, quote: char) -> Result<(), String> {
        let not_terminated = || "escape sequence not terminated".to_owned();
        let escape = self.next_char().ok_or_else(not_terminated)?;
        let (mut digits, base, max) = match escape {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            _ if escape == quote => return Ok(()),
            '0'..='7' => {
                self.at -= 1;
                (3, 8, 0xff)
            }
            'x' => (2, 16, 0xff),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            _ => return Err(format!("unknown escape sequence {}", describe_rune(escape))),
        };
        let mut code: u32 = 0;
        while digits > 0 {
            let digit = self.next_char().ok_or_else(not_terminated)?;
            let Some(value) = digit.to_digit(base) else {
                return Err(format!("illegal character {} in escape sequence", describe_rune(digit)));
            };
            code = code.wrapping_mul(base).wrapping_add(value);
            digits -= 1;
        }
        if code > max || (0xd800..0xe000).contains(&code) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    /// A string in backticks: no escapes, line breaks allowed.
    fn raw_string(&mut self) -> Step {
        self.at += 1;
        loop {
            match self.next_char() {
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                None => return Err("unterminated raw string".to_owned()),
                Some('`') => break,
                Some(_) => {}
            }
        }
        self.emit(TokenKind::String);
        Ok(Some(Mode::Statements))
    }

    fn number_or_duration(&mut self) -> Step {
        if self.scan_number() {
            self.emit(TokenKind::Number);
        } else if self.scan_duration_units() {
            self.emit(TokenKind::Duration);
        } else {
            let text = &self.query[self.start..self.at];
            return Err(format!("bad number or duration syntax: {}", crate::model::quote_label_value(text)));
        }
        Ok(Some(Mode::Statements))
    }

    /// Reads what looks like a number; whether it is one, the parser finds out. On `false` the position stays where the number broke.
    fn scan_number(&mut self) -> bool {
        let mut digits = DIGITS;
        if self.accept(b"0") && self.accept(b"xX") {
            self.accept(b"_");
            digits = b"0123456789abcdefABCDEF";
        }
        self.accept(b".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        while self.peek_is(digits) || self.peek_is(b"._eE") {
            if (dot && self.accept(b".")) || (exponent && self.accept(b"eE")) {
                return false;
            }
            if self.accept(b".") {
                dot = true;
                // Hexadecimal fractions do not exist here.
                if self.accept(b"_.") || digits.len() > DIGITS.len() {
                    return false;
                }
            } else if self.accept(b"eE") {
                exponent = true;
                self.accept(b"+-");
                if self.accept(b"._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept(b"_") {
                if self.accept(b"._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                while self.accept(digits) {}
            }
        }
        !self.peek().is_some_and(is_word_byte)
    }

    /// Reads `m30s`, behind the first count of a duration.
    fn scan_duration_units(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        self.accept(b"s");
        while self.accept(DIGITS) {
            while self.accept(DIGITS) {}
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        if self.peek().is_some_and(is_word_byte) {
            // The letter that is one too many belongs into the message.
            self.at += 1;
            return false;
        }
        true
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A character in single quotes, as Go's `%q` writes it; the end of the input is U+FFFD.
fn quote_char(character: Option<char>) -> String {
    match character.unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        character => {
            let quoted = crate::model::quote_label_value(character.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// `U+0063 'c'`, as Go's `%#U` writes it.
fn describe_rune(character: char) -> String {
    let printed = quote_char(Some(character));
    // Go leaves the quoted form out where the character cannot be printed.
    if printed.starts_with("'\\") && !matches!(character, '\'' | '\\') {
        return format!("U+{:04X}", character as u32);
    }
    format!("U+{:04X} '{character}'", character as u32)
}
