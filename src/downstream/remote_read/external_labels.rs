//! The labels that a server adds to whatever leaves it by remote read, and not to what its query API answers: taken off again,
//! and kept out of the way of matchers.

use std::collections::BTreeSet;

use crate::downstream::prometheus_proto::{LabelMatcher, label_matcher};
use crate::model::{Labels, MatchOp, Matcher};

/// `external_labels` of one server, as they were learned of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::downstream) struct ExternalLabels {
    labels: Vec<ExternalLabel>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct ExternalLabel {
    name: String,
    value: String,
    /// Values that series are stored with under the same name. They win over the server's own.
    stored_values: BTreeSet<String>,
}

/// What was learned is not so any more: a series came without the label that all must have, or with a value that is neither
/// the server's nor stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::downstream) struct StaleExternalLabels(pub String);

impl ExternalLabels {
    /// `stored_values` are those of each label, in the same order.
    pub(in crate::downstream) fn new(labels: &Labels, stored_values: Vec<BTreeSet<String>>) -> Self {
        let labels = labels.iter().zip(stored_values).map(|((name, value), stored_values)| ExternalLabel {
            name: name.to_owned(),
            value: value.to_owned(),
            stored_values,
        });
        Self { labels: labels.collect() }
    }

    /// The first label that is also stored with the server's own value: then nobody can tell whether it is to be taken off.
    pub(in crate::downstream) fn first_ambiguous(&self) -> Option<&str> {
        let ambiguous = self.labels.iter().find(|label| label.stored_values.contains(&label.value));
        ambiguous.map(|label| label.name.as_str())
    }

    /// The names, in order.
    pub(in crate::downstream) fn names(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| label.name.as_str())
    }

    pub(in crate::downstream) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The matchers as they are to be sent. A server takes an equality with its own external label for one with the empty
    /// text, since it believes that nothing is stored so, and misses what is: such a matcher goes as a pattern, which it leaves
    /// alone (Prometheus v3.14 storage/remote/read_handler.go filterExtLabelsFromMatchers).
    pub(super) fn matchers_to_send(&self, matchers: &[Matcher]) -> Vec<LabelMatcher> {
        let send = |matcher: &Matcher| {
            let is_own = |label: &ExternalLabel| label.name == matcher.name && label.value == matcher.value;
            let (kind, value) = match matcher.op {
                MatchOp::Equal if self.labels.iter().any(is_own) => {
                    (label_matcher::Type::Re, quote_pattern(&matcher.value))
                }
                MatchOp::Equal => (label_matcher::Type::Eq, matcher.value.clone()),
                MatchOp::NotEqual => (label_matcher::Type::Neq, matcher.value.clone()),
                MatchOp::Regex => (label_matcher::Type::Re, matcher.value.clone()),
                MatchOp::NotRegex => (label_matcher::Type::Nre, matcher.value.clone()),
            };
            LabelMatcher { r#type: kind.into(), name: matcher.name.clone(), value }
        };
        matchers.iter().map(send).collect()
    }

    /// The labels of a series as the query API would give them, from those that it came with.
    pub(super) fn without<'a>(
        &self,
        came: &[(&'a str, &'a str)],
    ) -> Result<Vec<(&'a str, &'a str)>, StaleExternalLabels> {
        let mut kept = Vec::with_capacity(came.len());
        let mut seen = 0;
        for (name, value) in came {
            let Some(label) = self.labels.iter().find(|label| label.name == *name) else {
                kept.push((*name, *value));
                continue;
            };
            seen += 1;
            if label.value == *value {
                continue;
            }
            if !label.stored_values.contains(*value) {
                return Err(StaleExternalLabels(label.name.clone()));
            }
            kept.push((*name, *value));
        }
        if seen < self.labels.len() {
            let is_there = |label: &ExternalLabel| came.iter().any(|(name, _)| label.name == *name);
            // A name that came twice is an error of the label set, and shows there.
            if let Some(absent) = self.labels.iter().find(|label| !is_there(label)) {
                return Err(StaleExternalLabels(absent.name.clone()));
            }
        }
        Ok(kept)
    }
}

/// The pattern that matches this text and no other, as Go's `regexp.QuoteMeta` writes it. Servers anchor patterns themselves.
fn quote_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(pairs: &[(&str, &str, &[&str])]) -> ExternalLabels {
        let labels = Labels::from_pairs(pairs.iter().map(|(name, value, _)| (name, value)));
        let stored = |(_, _, stored): &(&str, &str, &[&str])| stored.iter().map(|value| (*value).to_owned()).collect();
        ExternalLabels::new(&labels, pairs.iter().map(stored).collect())
    }

    #[test]
    fn an_equality_with_an_external_label_goes_as_a_pattern() {
        let external = external(&[("replica", "a.b|c", &[]), ("zone", "z", &[])]);
        for (matcher, sent) in [
            (Matcher::equal("replica", "a.b|c"), (label_matcher::Type::Re, r"a\.b\|c")),
            (Matcher::equal("replica", "b"), (label_matcher::Type::Eq, "b")),
            (Matcher::equal("replica", ""), (label_matcher::Type::Eq, "")),
            (Matcher::equal("job", "z"), (label_matcher::Type::Eq, "z")),
            (Matcher::new("zone", MatchOp::NotEqual, "z"), (label_matcher::Type::Neq, "z")),
            (Matcher::new("zone", MatchOp::Regex, "z|y"), (label_matcher::Type::Re, "z|y")),
            (Matcher::new("zone", MatchOp::NotRegex, "z"), (label_matcher::Type::Nre, "z")),
        ] {
            let message = external.matchers_to_send(std::slice::from_ref(&matcher)).remove(0);
            assert_eq!((message.r#type(), message.value.as_str()), sent, "{matcher:?}");
            assert_eq!(message.name, matcher.name);
        }
    }

    #[test]
    fn quoted_patterns_match_only_their_text() {
        for text in ["", "a", r"a\b", ".+*?()|[]{}^$", "ü\n "] {
            let pattern = Matcher::new("l", MatchOp::Regex, quote_pattern(text)).compile().expect("a pattern");
            assert!(pattern.matches(text), "{text:?}");
            assert!(!pattern.matches(&format!("{text}x")), "{text:?}");
        }
    }

    #[test]
    fn they_are_taken_off_and_stored_ones_stay() {
        let external = external(&[("replica", "a", &["s", "t"]), ("zone", "z", &[])]);
        let stale = |name: &str| Err(StaleExternalLabels(name.to_owned()));
        for (came, expected) in [
            (vec![("job", "j"), ("replica", "a"), ("zone", "z")], Ok(vec![("job", "j")])),
            (vec![("replica", "a"), ("zone", "z")], Ok(vec![])),
            // The stored one has won over the server's.
            (vec![("job", "j"), ("replica", "s"), ("zone", "z")], Ok(vec![("job", "j"), ("replica", "s")])),
            // Labels that nobody calls external.
            (vec![("replica", "a"), ("z", "a"), ("zone", "z")], Ok(vec![("z", "a")])),
            // The server's config has changed since.
            (vec![("job", "j"), ("zone", "z")], stale("replica")),
            (vec![("job", "j"), ("replica", "b"), ("zone", "z")], stale("replica")),
            (vec![("job", "j"), ("replica", "a"), ("zone", "s")], stale("zone")),
        ] {
            assert_eq!(external.without(&came), expected, "{came:?}");
        }
    }

    #[test]
    fn a_stored_label_of_the_same_name_and_value_is_ambiguous() {
        assert_eq!(external(&[("a", "1", &["2"]), ("b", "1", &["0", "1"])]).first_ambiguous(), Some("b"));
        assert_eq!(external(&[("a", "1", &["2"]), ("b", "1", &[])]).first_ambiguous(), None);
    }
}
