//! SQL's `LIKE`, for the patterns by which clients look for tables.
//!
//! | pattern | means |
//! |---|---|
//! | `%` | any characters, or none |
//! | `_` | one character |
//! | `\_`, `\%`, `\\` | that character |

use crate::error::Error;
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// A pattern becomes a pattern of RE2 that is up to four times as long, which every server has to compile.
const PATTERN_BYTES_MAX: usize = 4_096;

/// A part of a pattern.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Part {
    Exactly(char),
    One,
    Any,
}

/// A pattern of `LIKE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LikePattern(Vec<Part>);

impl LikePattern {
    /// Reads a pattern. A `\` at its end stands for itself.
    pub(super) fn try_new(text: &str) -> Result<Self, Error> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(Error::bad_data(format!(
                "a filter pattern has {} bytes, at most {PATTERN_BYTES_MAX} are read",
                text.len()
            )));
        }
        let mut characters = text.chars();
        let mut parts = Vec::new();
        while let Some(character) = characters.next() {
            parts.push(match character {
                '%' => Part::Any,
                '_' => Part::One,
                '\\' => Part::Exactly(characters.next().unwrap_or('\\')),
                other => Part::Exactly(other),
            });
        }
        parts.dedup_by(|next, before| (*next, *before) == (Part::Any, Part::Any));
        Ok(Self(parts))
    }

    /// Does it match all of a text? Goes back to no more than the last `%`.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        let mut last_any = None;
        loop {
            match self.0.get(part) {
                Some(Part::Any) => {
                    last_any = Some((part, at));
                    part += 1;
                    continue;
                }
                Some(Part::One) if at < text.len() => (part, at) = (part + 1, at + 1),
                Some(Part::Exactly(character)) if text.get(at) == Some(character) => (part, at) = (part + 1, at + 1),
                None if at == text.len() => return true,
                _ => match last_any {
                    Some((any_part, any_at)) if any_at < text.len() => {
                        last_any = Some((any_part, any_at + 1));
                        (part, at) = (any_part + 1, any_at + 1);
                    }
                    _ => return false,
                },
            }
        }
    }

    /// The matcher of metric names that says the same; `None` where all names match.
    pub(super) fn name_matcher(&self) -> Option<Matcher> {
        if self.0 == [Part::Any] {
            return None;
        }
        let exact: Option<String> = self
            .0
            .iter()
            .map(|part| if let Part::Exactly(character) = part { Some(*character) } else { None })
            .collect();
        if let Some(name) = exact {
            return Some(Matcher::new(METRIC_NAME, MatchOp::Equal, name));
        }
        let mut pattern = String::new();
        for part in &self.0 {
            match part {
                Part::Any => pattern.push_str(".*"),
                Part::One => pattern.push('.'),
                Part::Exactly(character) => {
                    if r"\.+*?()|[]{}^$".contains(*character) {
                        pattern.push('\\');
                    }
                    pattern.push(*character);
                }
            }
        }
        Some(Matcher::new(METRIC_NAME, MatchOp::Regex, pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql_here_and_as_matchers_at_the_servers() {
        for (pattern, matching, others) in [
            ("%", &["", "a", "a_b", "é\n"][..], &[][..]),
            ("%%", &["", "a"], &[]),
            ("", &[""], &["a"]),
            ("up", &["up"], &["Up", "ups", ""]),
            ("http_requests", &["http_requests", "http:requests"], &["httprequests", "http_requests_total"]),
            (r"http\_requests", &["http_requests"], &["http:requests"]),
            ("http%total", &["httptotal", "http_total", "http_total_total"], &["http_total_", "xhttp_total"]),
            ("%a%b%", &["ab", "xaxbx", "aab"], &["ba", "a", ""]),
            ("_", &["a", "é", "\n"], &["", "ab"]),
            ("a.b(c)[d]{e}|^$+*?", &["a.b(c)[d]{e}|^$+*?"], &["axb(c)[d]{e}|^$+*?"]),
            (r"100\%", &["100%"], &["1000"]),
            (r"a\\", &[r"a\"], &["a"]),
            (r"a\", &[r"a\"], &["a"]),
            ("%_%", &["a", "ab"], &[""]),
        ] {
            let like = LikePattern::try_new(pattern).expect("short");
            let matcher = like.name_matcher().map(|matcher| matcher.compile().expect("a good pattern"));
            for (texts, wanted) in [(matching, true), (others, false)] {
                for text in texts {
                    assert_eq!(like.matches(text), wanted, "{pattern:?} LIKE {text:?}");
                    let by_matcher = matcher.as_ref().is_none_or(|matcher| matcher.matches(text));
                    assert_eq!(by_matcher, wanted, "matcher of {pattern:?} on {text:?}");
                }
            }
        }
    }

    #[test]
    fn long_patterns_are_refused_and_hostile_ones_end() {
        let long = "%".repeat(PATTERN_BYTES_MAX + 1);
        assert!(LikePattern::try_new(&long).expect_err("long").message().contains("at most 4096"));
        let like = LikePattern::try_new(&"%a".repeat(PATTERN_BYTES_MAX / 2)).expect("as long as may be");
        assert!(!like.matches(&"a".repeat(1_000)));
        assert!(like.name_matcher().expect("a pattern").compile().is_ok());
    }
}
