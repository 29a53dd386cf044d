//! Names for readers that know only the old alphabet of metric names.
//!
//! | scheme | `http.status_ok` | `http_status` | `é` |
//! |---|---|---|---|
//! | `allow-utf-8` | `http.status_ok` | `http_status` | `é` |
//! | `underscores` | `http_status_ok` | `http_status` | `_` |
//! | `dots` | `http_dot_status__ok` | `http_status` | `__` |
//! | `values` | `U__http_2e_status__ok` | `http_status` | `U___e9_` |
//!
//! A name of the old alphabet stays as it is in every scheme. Source: prometheus/common v0.70 model/metric.go.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What becomes of names that are not of the old alphabet.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum NameEscaping {
    /// They stay, in quotes where the syntax needs them.
    AllowUtf8,
    /// Each strange character is an underscore. What a client gets that says nothing.
    #[default]
    Underscores,
    /// Dots are `_dot_`, underscores and strange characters two underscores.
    Dots,
    /// `U__`, and strange characters as their number.
    Values,
}

impl NameEscaping {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values];

    /// As it is called in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// The scheme of a name in a header.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// A name as this scheme writes it.
    pub fn escape(self, name: &str) -> Cow<'_, str> {
        if self == Self::AllowUtf8 || name.is_empty() || is_of_old_alphabet(name) {
            return Cow::Borrowed(name);
        }
        let mut escaped = String::with_capacity(name.len() + 8);
        if self == Self::Values {
            escaped.push_str("U__");
        }
        for (at, character) in name.char_indices() {
            match (self, character) {
                (Self::Dots | Self::Values, '_') => escaped.push_str("__"),
                (Self::Dots, '.') => escaped.push_str("_dot_"),
                _ if is_old(character, at) => escaped.push(character),
                (Self::AllowUtf8 | Self::Underscores, _) => escaped.push('_'),
                (Self::Dots, _) => escaped.push_str("__"),
                (Self::Values, _) => {
                    write!(escaped, "_{:x}_", u32::from(character)).expect("a String takes all that is written");
                }
            }
        }
        Cow::Owned(escaped)
    }
}

/// Was a name allowed before there were UTF-8 names? Of labels as of metrics: colons, too.
pub(super) fn is_of_old_alphabet(name: &str) -> bool {
    !name.is_empty() && name.char_indices().all(|(at, character)| is_old(character, at))
}

fn is_old(character: char, at: usize) -> bool {
    matches!(character, 'a'..='z' | 'A'..='Z' | '_' | ':') || (character.is_ascii_digit() && at > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_prometheus_does() {
        for (name, underscores, dots, values) in [
            ("up", "up", "up", "up"),
            ("a:b_c9", "a:b_c9", "a:b_c9", "a:b_c9"),
            ("http.status_ok", "http_status_ok", "http_dot_status__ok", "U__http_2e_status__ok"),
            ("9lives", "_lives", "__lives", "U___39_lives"),
            ("é\u{1F600}", "__", "____", "U___e9__1f600_"),
            ("a b", "a_b", "a__b", "U__a_20_b"),
            ("", "", "", ""),
        ] {
            assert_eq!(NameEscaping::AllowUtf8.escape(name), name);
            assert_eq!(NameEscaping::Underscores.escape(name), underscores);
            assert_eq!(NameEscaping::Dots.escape(name), dots);
            assert_eq!(NameEscaping::Values.escape(name), values);
        }
        assert_eq!(NameEscaping::of_name("dots"), Some(NameEscaping::Dots));
        assert_eq!(NameEscaping::of_name("no"), None);
    }
}
