//! Capital and small letters as Go's `strings.ToUpper` and `strings.ToLower` write them, and the way back.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Which letters are written.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LetterCase {
    /// Small ones.
    Lower,
    /// Capitals.
    Upper,
}

/// No letter with two cases lies behind this.
const CASED_LETTERS_END: char = '\u{20000}';

static BEFORE_LOWER: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| changed_letters(LetterCase::Lower));
static BEFORE_UPPER: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| changed_letters(LetterCase::Upper));

impl LetterCase {
    /// The text in this case, letter by letter.
    ///
    /// | text | lower | upper | where Rust's own would write |
    /// |---|---|---|---|
    /// | `Straße` | `straße` | `STRAßE` | `STRASSE` |
    /// | `İΣ` | `iσ` | `İΣ` | `i̇ς` |
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::Lower if text.is_ascii() => text.to_ascii_lowercase(),
            Self::Upper if text.is_ascii() => text.to_ascii_uppercase(),
            _ => text.chars().map(|letter| self.letter(letter)).collect(),
        }
    }

    /// Every letter that becomes this one; none where it is of the other case.
    pub fn letters_before(self, letter: char) -> Vec<char> {
        let changed = match self {
            Self::Lower => &BEFORE_LOWER,
            Self::Upper => &BEFORE_UPPER,
        };
        let unchanged = Some(letter).filter(|letter| self.letter(*letter) == *letter);
        unchanged.into_iter().chain(changed.get(&letter).into_iter().flatten().copied()).collect()
    }

    /// Unicode's simple mapping, one letter to one.
    fn letter(self, letter: char) -> char {
        let mut mapped = match self {
            Self::Lower => Mapped::Lower(letter.to_lowercase()),
            Self::Upper => Mapped::Upper(letter.to_uppercase()),
        };
        match (mapped.next(), mapped.next()) {
            (Some(only), None) => only,
            _ => simple_where_rust_has_several(self, letter),
        }
    }
}

enum Mapped {
    Lower(std::char::ToLowercase),
    Upper(std::char::ToUppercase),
}

impl Iterator for Mapped {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Lower(letters) => letters.next(),
            Self::Upper(letters) => letters.next(),
        }
    }
}

/// The letters for which Rust knows only Unicode's full mapping, to several letters. Most of them have no simple one.
fn simple_where_rust_has_several(case: LetterCase, letter: char) -> char {
    let shifted = |by: u32| char::from_u32(letter as u32 + by).unwrap_or(letter);
    match (case, letter) {
        (LetterCase::Lower, 'İ') => 'i',
        // Greek small letters with a iota below have a capital with one beside it.
        (LetterCase::Upper, '\u{1F80}'..='\u{1F87}' | '\u{1F90}'..='\u{1F97}' | '\u{1FA0}'..='\u{1FA7}') => shifted(8),
        (LetterCase::Upper, '\u{1FB3}' | '\u{1FC3}' | '\u{1FF3}') => shifted(9),
        _ => letter,
    }
}

/// By each letter, the other ones that become it.
fn changed_letters(case: LetterCase) -> HashMap<char, Vec<char>> {
    let mut changed: HashMap<char, Vec<char>> = HashMap::new();
    for letter in '\0'..CASED_LETTERS_END {
        let becomes = case.letter(letter);
        if becomes != letter {
            changed.entry(becomes).or_default().push(letter);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_one_by_one_as_in_go() {
        for (text, lower, upper) in [
            ("bAr-123_Foo", "bar-123_foo", "BAR-123_FOO"),
            ("Straße", "straße", "STRAßE"),
            ("İΣς", "iσς", "İΣΣ"),
            ("ﬁᾳᾀῼ", "ﬁᾳᾀῳ", "ﬁᾼᾈῼ"),
            ("ıſ\u{212A}", "ıſk", "IS\u{212A}"),
            ("", "", ""),
        ] {
            assert_eq!(LetterCase::Lower.apply(text), lower);
            assert_eq!(LetterCase::Upper.apply(text), upper);
        }
    }

    #[test]
    fn the_way_back_names_every_letter() {
        let before = |case: LetterCase, letter| case.letters_before(letter).into_iter().collect::<String>();
        for (letter, before_lower, before_upper) in [
            ('i', "iIİ", ""),
            ('I', "", "Iiı"),
            ('k', "kK\u{212A}", ""),
            ('S', "", "Ssſ"),
            ('1', "1", "1"),
            ('ß', "ßẞ", "ß"),
        ] {
            assert_eq!(
                (before(LetterCase::Lower, letter), before(LetterCase::Upper, letter)),
                (before_lower.into(), before_upper.into())
            );
        }
        for case in [LetterCase::Lower, LetterCase::Upper] {
            for letter in '\0'..=char::MAX {
                let becomes = case.letter(letter);
                // Those that stay what they are need no table: letters behind its end must.
                if becomes != letter {
                    assert!(case.letters_before(becomes).contains(&letter), "{letter:?}");
                }
                assert_eq!(case.letter(becomes), becomes, "{letter:?}");
            }
        }
    }
}
