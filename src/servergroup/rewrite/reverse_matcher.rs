//! A matcher on a label of the answer as a matcher on a stored label.
//!
//! | origin of `x` | matcher | turned round |
//! |---|---|---|
//! | always `eu` | `x=~"e."` | holds for every series; another one holds for none |
//! | stored `a` | `x!=""` | `a!=""` |
//! | stored `a` in small letters | `x="a.b"` | `a=~"[aA]\.[bB]"` |
//! | stored `a` in small letters | `x="A.b"` | holds for no series |
//! | stored `a` in small letters | `x!~"foo.*\|b1"` | `a!~"[fF][oO][oO].*\|[bB]1"` |
//! | stored `a` in small letters | `x=~"[^A]"` | cannot be said: ask for all, and look at the answer |
//!
//! Everything that can be said is exact: the letters stand in classes of all that become them, and no `(?i)` is sent, which
//! knows of more pairs (`ſ` and `s`) and of fewer (`İ` and `i`).

use super::label_origins::{Origin, StoredLabel};
use crate::error::Error;
use crate::model::{LetterCase, MatchOp, Matcher};

/// What a matcher says of stored series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reversed {
    /// Every series' answer matches.
    Always,
    /// No series' answer does.
    Never,
    /// Those do whose stored labels match this.
    Matcher(Matcher),
    /// That cannot be told from a stored label by a matcher.
    Unknown,
}

/// Turns a matcher round; fails on a pattern that RE2 refuses.
pub(super) fn reverse_matcher(matcher: &Matcher, origin: &Origin) -> Result<Reversed, Error> {
    let compiled = matcher.compile().map_err(|error| Error::bad_data(error.to_string()))?;
    let stored = match origin {
        Origin::Fixed(value) if compiled.matches(value) => return Ok(Reversed::Always),
        Origin::Fixed(_) => return Ok(Reversed::Never),
        Origin::Stored(stored) => stored,
    };
    let on_stored = |op, value: &str| Reversed::Matcher(Matcher::new(&stored.name, op, value));
    Ok(match matcher.op {
        op if stored.cases.is_empty() => on_stored(op, &matcher.value),
        op @ (MatchOp::Equal | MatchOp::NotEqual) => match letters_of(&matcher.value, stored) {
            Before::Same => on_stored(op, &matcher.value),
            Before::Pattern(pattern) if op == MatchOp::Equal => on_stored(MatchOp::Regex, &pattern),
            Before::Pattern(pattern) => on_stored(MatchOp::NotRegex, &pattern),
            Before::Nothing if op == MatchOp::Equal => Reversed::Never,
            Before::Nothing => Reversed::Always,
        },
        op @ (MatchOp::Regex | MatchOp::NotRegex) => match pattern_before(&matcher.value, stored) {
            Some(pattern) => compiles_or_unknown(Matcher::new(&stored.name, op, pattern)),
            None => Reversed::Unknown,
        },
    })
}

/// A pattern may have grown too large.
fn compiles_or_unknown(matcher: Matcher) -> Reversed {
    if matcher.compile().is_ok() { Reversed::Matcher(matcher) } else { Reversed::Unknown }
}

/// The stored texts that become a text.
enum Before {
    /// That text alone.
    Same,
    /// Those that match.
    Pattern(String),
    /// There is none.
    Nothing,
}

fn letters_of(text: &str, stored: &StoredLabel) -> Before {
    let (mut pattern, mut is_same) = (String::new(), true);
    for letter in text.chars() {
        let before = letters_before(letter, &stored.cases);
        if before.is_empty() {
            return Before::Nothing;
        }
        is_same &= before == [letter];
        push_class(&before, &mut pattern);
    }
    if is_same { Before::Same } else { Before::Pattern(pattern) }
}

/// Every stored letter that the cases, one after the other, make this letter of; sorted.
fn letters_before(letter: char, cases: &[LetterCase]) -> Vec<char> {
    let mut letters = vec![letter];
    for case in cases.iter().rev() {
        letters = letters.into_iter().flat_map(|letter| case.letters_before(letter)).collect();
    }
    letters.sort_unstable();
    letters
}

fn push_class(letters: &[char], pattern: &mut String) {
    if let [only] = letters {
        push_escaped(*only, pattern);
        return;
    }
    pattern.push('[');
    letters.iter().for_each(|letter| push_escaped(*letter, pattern));
    pattern.push(']');
}

/// As Go's `regexp.QuoteMeta` escapes.
fn push_escaped(letter: char, pattern: &mut String) {
    if r"\.+*?()|[]{}^$".contains(letter) {
        pattern.push('\\');
    }
    pattern.push(letter);
}

/// A pattern that a stored text matches exactly where the changed text matches this one; `None` where the pattern has more
/// than letters, dots, alternatives, groups and repetitions, or a letter that no stored one becomes. Those that it may have
/// look at a text letter by letter, so that each letter can be widened on its own.
fn pattern_before(pattern: &str, stored: &StoredLabel) -> Option<String> {
    let mut widened = String::with_capacity(2 * pattern.len());
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '.' | '|' | '*' | '+' | '?' | ')' => widened.push(letter),
            '(' => {
                widened.push('(');
                if letters.next_if_eq(&'?').is_some() {
                    letters.next_if_eq(&':')?;
                    widened.push_str("?:");
                }
            }
            '\\' => match letters.next()? {
                'd' => widened.push_str("\\d"),
                escaped if escaped.is_ascii_punctuation() => push_escaped(escaped, &mut widened),
                _ => return None,
            },
            '[' | ']' | '{' | '}' | '^' | '$' => return None,
            _ => {
                let before = letters_before(letter, &stored.cases);
                if before.is_empty() {
                    return None;
                }
                push_class(&before, &mut widened);
            }
        }
    }
    Some(widened)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::label_origins::LabelOrigins;
    use super::super::label_origins::tests::{labels, rules};
    use super::*;

    /// `x=~"y"`
    fn matcher(text: &str) -> Matcher {
        let (op, symbol) =
            [(MatchOp::Regex, "=~"), (MatchOp::NotRegex, "!~"), (MatchOp::NotEqual, "!="), (MatchOp::Equal, "=")]
                .into_iter()
                .find(|(_, symbol)| text.contains(symbol))
                .expect("an operator");
        let (name, value) = text.split_once(symbol).expect("an operator");
        Matcher::new(name, op, value.trim_matches('"'))
    }

    fn reversed(added: &str, rule_texts: &str, text: &str) -> Reversed {
        let (origins, matcher) = (LabelOrigins::new(&labels(added), &rules(rule_texts)), matcher(text));
        reverse_matcher(&matcher, &origins.of(&matcher.name)).expect("a good pattern")
    }

    #[test]
    fn matchers_are_turned_round_label_by_label() {
        for (added, rules, text, expected) in [
            ("sg=eu", "", "a=1", Some("a=1")),
            ("", "replace a b", "b=x", Some("a=x")),
            ("", "replace a b", "a!=x", Some("a!=x")),
            // The empty value too: without the source there is no target.
            ("", "replace a b", "b=", Some("a=")),
            ("", "replace a b", "b!=", Some("a!=")),
            ("", "replace a b", "b!~y.*", Some("a!~y.*")),
            ("", "replace a t, replace t b", "b=~x|y", Some("a=~x|y")),
            ("", "lowercase a b", "b=foo-1", Some("a=~[Ff][Oo][Oo]-1")),
            ("", "lowercase a b", "b!=a.b", Some("a!~[Aa]\\.[Bb]")),
            ("", "lowercase a b", "b=10.0", Some("a=10.0")),
            ("", "lowercase a b", "b=", Some("a=")),
            ("", "uppercase a b", "b=I", Some("a=~[Iiı]")),
            ("", "lowercase a t, uppercase t b", "b=K", Some("a=~[Kk\u{212A}]")),
            ("", "lowercase a b", "b=~foo.*|b\\.1", Some("a=~[Ff][Oo][Oo].*|[Bb]\\.1")),
            ("", "lowercase a b", "b!~(?:x|(y))+", Some("a!~(?:[Xx]|([Yy]))+")),
            ("", "lowercase a b", "b=~.+", Some("a=~.+")),
            ("", "lowercase a b", "b=~[^A]", None),
            ("", "lowercase a b", "b=~(?i)x", None),
            ("", "lowercase a b", "b=~\\pL", None),
            ("", "lowercase a b", "b=~a{2}", None),
            ("", "lowercase a b", "b=~A|b", None),
        ] {
            let expected = expected.map_or(Reversed::Unknown, |text| Reversed::Matcher(matcher(text)));
            assert_eq!(reversed(added, rules, text), expected, "{rules} / {text}");
        }
    }

    #[test]
    fn what_is_fixed_is_decided() {
        use Reversed::{Always, Never};
        for (added, rules, text, expected) in [
            ("sg=eu", "", "sg=eu", Always),
            ("sg=eu", "", "sg=us", Never),
            ("sg=eu", "", "sg=~e.|us", Always),
            ("sg=eu", "", "sg=", Never),
            ("sg=eu", "replace sg cluster, labeldrop sg", "cluster=eu", Always),
            ("sg=eu", "replace sg cluster, labeldrop sg", "sg=", Always),
            ("sg=eu", "uppercase sg cluster", "cluster=~E.", Always),
            ("", "labeldrop a", "a=x", Never),
            ("", "labeldrop a", "a!=x", Always),
            ("", "labeldrop a", "a!~.+", Always),
            ("", "labeldrop a", "a=~x|", Always),
            // No text in small letters has a capital.
            ("", "lowercase a b", "b=Foo", Never),
            ("", "lowercase a b", "b!=Foo", Always),
            ("", "lowercase a t, uppercase t b", "b=foo", Never),
        ] {
            assert_eq!(reversed(added, rules, text), expected, "{rules} / {text}");
        }
    }

    #[test]
    fn a_pattern_that_re2_refuses_is_the_callers_mistake() {
        let origin = LabelOrigins::new(&labels("sg=eu"), &[]).of("sg");
        let error = reverse_matcher(&matcher("sg=~[a"), &origin).expect_err("no end");
        assert_eq!(error.kind(), crate::error::ErrorKind::BadData);
    }

    proptest! {
        /// The stored text matches exactly where its changed form matches what was asked.
        #[test]
        fn what_can_be_said_is_exact(
            cases in prop::collection::vec(prop_oneof![Just("lowercase a a"), Just("uppercase a a")], 1..3),
            op in prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)],
            value in prop_oneof!["[aAkKiIsSßıſ1.]{0,3}", "([aAkis1.]|\\(|\\)|\\||\\*|\\\\\\.|\\?:|\\[){0,6}"],
            texts in prop::collection::vec("[aAbkK\u{212A}iIİısSſßẞ1.]{0,3}", 1..20),
        ) {
            let origin = LabelOrigins::new(&labels(""), &rules(&cases.join(","))).of("a");
            let asked = Matcher::new("a", op, value);
            let Ok(compiled) = asked.compile() else { return Ok(()) };
            let Origin::Stored(stored) = &origin else { panic!("a stored label") };
            let reversed = reverse_matcher(&asked, &origin).expect("a good pattern");
            for text in texts {
                let expected = compiled.matches(&stored.change(&text));
                match &reversed {
                    Reversed::Always => prop_assert!(expected, "{asked} {text}"),
                    Reversed::Never => prop_assert!(!expected, "{asked} {text}"),
                    Reversed::Matcher(matcher) => {
                        let matcher = matcher.compile().expect("a good pattern");
                        prop_assert_eq!(matcher.matches(&text), expected, "{} {:?} {}", asked, matcher, text);
                    }
                    Reversed::Unknown => {}
                }
            }
        }
    }
}
