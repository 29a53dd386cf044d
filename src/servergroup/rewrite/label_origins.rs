//! Where the labels of an answer come from. Added labels and relabel rules boil down to one fact a label, so that a question
//! can be turned round without playing the rules backwards.
//!
//! | rules, in order | label of the answer | its origin |
//! |---|---|---|
//! | added `sg="eu"` | `sg` | always `eu` |
//! | replace `a` → `b` | `b` | stored `a`; `a` itself is as stored |
//! | replace `a` → `b`, labeldrop `a` | `a` | always absent |
//! | replace `a` → `b`, lowercase `b` → `c`, replace `x` → `a` | `c` | stored `a` in small letters |
//!
//! Every rule is an assignment, and an empty value is an absent label: as Prometheus v3.14 model/relabel/relabel.go has it for
//! the pattern `(.*)`.

use std::collections::{BTreeMap, BTreeSet};

use super::{MetricsRelabel, MetricsRelabelAction};
use crate::model::{EncodedLabelName, EncodedLabelsBuilder, Labels, LabelsBuilder, LabelsRef, LetterCase};

/// What a label of the answer is made of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Origin {
    /// Always this text; the empty one: the label is never there.
    Fixed(String),
    /// A label of the stored series.
    Stored(StoredLabel),
}

/// The value of a stored label, with its letters changed in turn.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct StoredLabel {
    pub(super) name: String,
    encoded_name: EncodedLabelName,
    pub(super) cases: Vec<LetterCase>,
}

impl StoredLabel {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), encoded_name: EncodedLabelName::new(name), cases: Vec::new() }
    }

    /// What the stored value becomes.
    pub(super) fn change(&self, value: &str) -> String {
        self.cases.iter().fold(value.to_owned(), |value, case| case.apply(&value))
    }
}

impl Origin {
    fn source(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Stored(stored) => Some(&stored.name),
        }
    }

    fn in_case(self, case: LetterCase) -> Self {
        match self {
            Self::Fixed(value) => Self::Fixed(case.apply(&value)),
            Self::Stored(mut stored) => {
                // Twice is as good as once, and keeps the list as short as the rules are sensible.
                if stored.cases.last() != Some(&case) {
                    stored.cases.push(case);
                }
                Self::Stored(stored)
            }
        }
    }
}

/// The origins of all labels that are not as stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct LabelOrigins(BTreeMap<String, Origin>);

impl LabelOrigins {
    /// Labels are added first, then the rules are applied in their order.
    pub(super) fn new(added: &Labels, rules: &[MetricsRelabel]) -> Self {
        let mut origins = Self::default();
        for (name, value) in added.iter() {
            origins.0.insert(name.to_owned(), Origin::Fixed(value.to_owned()));
        }
        for rule in rules {
            let source = || origins.of(&rule.source_label);
            let (written, origin) = match rule.action {
                MetricsRelabelAction::Replace => (&rule.target_label, source()),
                MetricsRelabelAction::Lowercase => (&rule.target_label, source().in_case(LetterCase::Lower)),
                MetricsRelabelAction::Uppercase => (&rule.target_label, source().in_case(LetterCase::Upper)),
                MetricsRelabelAction::Labeldrop => (&rule.source_label, Origin::Fixed(String::new())),
            };
            origins.0.insert(written.clone(), origin);
        }
        origins.0.retain(|name, origin| !matches!(origin, Origin::Stored(own) if *own == StoredLabel::new(name)));
        origins
    }

    /// Where a label of the answer comes from.
    pub(super) fn of(&self, name: &str) -> Origin {
        self.0.get(name).cloned().unwrap_or_else(|| Origin::Stored(StoredLabel::new(name)))
    }

    /// Does an answer pass as it is?
    pub(super) fn is_identity(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels that are not as stored, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(name, origin)| (name.as_str(), origin))
    }

    /// The stored labels that labels of another name, or of other letters, come from: sorted, each once.
    pub(super) fn sources(&self) -> BTreeSet<&str> {
        self.0.values().filter_map(Origin::source).collect()
    }

    /// The labels that are written or read: sorted, each once.
    pub(super) fn touched(&self) -> impl Iterator<Item = &str> {
        let mut all = self.sources();
        all.extend(self.0.keys().map(String::as_str));
        all.into_iter()
    }

    /// Is a label neither written nor read?
    pub(super) fn is_untouched(&self, name: &str) -> bool {
        !self.0.contains_key(name)
            && !self.0.values().any(|origin| matches!(origin, Origin::Stored(s) if s.name == name))
    }

    /// Are there two origins that give one label different values? Then no series of one is a series of the other.
    pub(super) fn is_distinct_from(&self, other: &Self) -> bool {
        self.0.iter().any(|(name, origin)| match (origin, other.0.get(name)) {
            (Origin::Fixed(own), Some(Origin::Fixed(others))) => own != others,
            _ => false,
        })
    }

    /// Stored labels whose value no label of the answer shows unchanged: series that differ in nothing else become one.
    pub(super) fn lost(&self) -> impl Iterator<Item = &str> {
        let is_shown = |name: &str| {
            let shows = |origin: &Origin| matches!(origin, Origin::Stored(s) if s.name == name && s.cases.is_empty());
            self.0.values().any(shows)
        };
        self.0.keys().map(String::as_str).filter(move |name| !is_shown(name))
    }

    /// The label set of the answer, pushed in the order of names.
    pub(super) fn write(&self, stored: LabelsRef<'_>, out: &mut EncodedLabelsBuilder) {
        out.clear();
        let mut written = self.0.iter().peekable();
        for (name, value) in stored.iter() {
            while let Some((own, origin)) = written.next_if(|(own, _)| own.as_str() < &*name) {
                write_one(own, origin, stored, out);
            }
            match written.next_if(|(own, _)| own.as_str() == &*name) {
                Some((own, origin)) => write_one(own, origin, stored, out),
                None => out.push(&name, &value),
            }
        }
        written.for_each(|(own, origin)| write_one(own, origin, stored, out));
    }

    /// The label set of the answer.
    pub(super) fn apply(&self, stored: &Labels) -> Labels {
        let mut labels = LabelsBuilder::from(stored);
        for (name, origin) in &self.0 {
            match origin {
                Origin::Fixed(value) => labels.set(name, value),
                Origin::Stored(source) => labels.set(name, &source.change(stored.get(&source.name).unwrap_or(""))),
            };
        }
        labels.finish()
    }
}

fn write_one(name: &str, origin: &Origin, stored: LabelsRef<'_>, out: &mut EncodedLabelsBuilder) {
    match origin {
        Origin::Fixed(value) if value.is_empty() => {}
        Origin::Fixed(value) => out.push(name, value),
        Origin::Stored(source) => match stored.get_encoded(&source.encoded_name) {
            None => {}
            Some(value) if source.cases.is_empty() => out.push(name, &value),
            Some(value) => out.push(name, &source.change(&value)),
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `replace a b, labeldrop c, lowercase d e`
    pub(in super::super) fn rules(text: &str) -> Vec<MetricsRelabel> {
        let rule = |rule: &str| {
            let words: Vec<&str> = rule.split_whitespace().collect();
            let action = match words[0] {
                "replace" => MetricsRelabelAction::Replace,
                "labeldrop" => MetricsRelabelAction::Labeldrop,
                "lowercase" => MetricsRelabelAction::Lowercase,
                "uppercase" => MetricsRelabelAction::Uppercase,
                other => panic!("no action {other}"),
            };
            let target_label = words.get(2).map_or(String::new(), |target| (*target).to_owned());
            MetricsRelabel { action, source_label: words[1].to_owned(), target_label }
        };
        text.split(',').filter(|rule| !rule.trim().is_empty()).map(rule).collect()
    }

    /// `a=1 b=2`
    pub(in super::super) fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split_whitespace().filter_map(|pair| pair.split_once('=')))
    }

    fn check(added: &str, rule_texts: &str, stored: &str, expected: &str) {
        let origins = LabelOrigins::new(&labels(added), &rules(rule_texts));
        assert_eq!(origins.apply(&labels(stored)), labels(expected), "{added} / {rule_texts} / {stored}");
    }

    #[test]
    fn rules_copy_drop_and_change_letters_in_their_order() {
        for (added, rules, stored, expected) in [
            ("", "", "a=1", "a=1"),
            ("sg=eu", "", "a=1 sg=old", "a=1 sg=eu"),
            ("", "replace a b", "a=1 b=2", "a=1 b=1"),
            ("", "replace a b, labeldrop a", "a=1", "b=1"),
            // A label that is not there is copied too: the target goes.
            ("", "replace a b", "b=2", ""),
            ("", "lowercase a b", "b=2", ""),
            ("", "labeldrop a", "a=1 b=2", "b=2"),
            ("", "lowercase a a", "a=Foo", "a=foo"),
            ("", "uppercase a b", "a=Foo", "a=Foo b=FOO"),
            ("", "replace a b, lowercase b c, replace x a", "a=Foo x=1", "a=1 b=Foo c=foo x=1"),
            ("", "replace a t, replace b a, replace t b, labeldrop t", "a=1 b=2", "a=2 b=1"),
            // Rules see added labels, and may overwrite them.
            ("sg=EU", "lowercase sg cluster, labeldrop sg", "a=1", "a=1 cluster=eu"),
            ("sg=eu", "replace shard sg", "shard=7", "sg=7 shard=7"),
            ("", "replace __name__ metric, labeldrop __name__", "__name__=up", "metric=up"),
        ] {
            check(added, rules, stored, expected);
        }
    }

    #[test]
    fn what_is_as_stored_has_no_origin_of_its_own() {
        let origins = |added: &str, text: &str| LabelOrigins::new(&labels(added), &rules(text));
        assert!(
            origins("", "replace a a, replace a t, replace t a, labeldrop none").of("a") == origins("", "").of("a")
        );
        assert!(origins("", "replace a a").is_identity());
        assert!(!origins("", "labeldrop a").is_identity());
        assert!(origins("sg=eu", "replace a b").is_untouched("c"));
        for touched in ["sg", "a", "b"] {
            assert!(!origins("sg=eu", "replace a b").is_untouched(touched));
        }
    }

    #[test]
    fn a_label_is_lost_where_nothing_shows_it_unchanged() {
        for (added, text, lost) in [
            ("sg=eu", "", "sg"),
            ("", "replace a b", "b"),
            ("", "replace a b, labeldrop a", "b"),
            ("", "labeldrop a", "a"),
            ("", "lowercase a a", "a"),
            ("", "lowercase a b", "b"),
            ("", "replace a t, replace b a, replace t b, labeldrop t", "t"),
        ] {
            let origins = LabelOrigins::new(&labels(added), &rules(text));
            assert_eq!(origins.lost().collect::<Vec<_>>(), [lost], "{text}");
        }
    }

    #[test]
    fn different_fixed_values_of_one_label_tell_answers_apart() {
        let origins = |added: &str, text: &str| LabelOrigins::new(&labels(added), &rules(text));
        for (one, other, is_distinct) in [
            (origins("sg=a", ""), origins("sg=b", ""), true),
            (origins("sg=a", ""), origins("sg=a", ""), false),
            (origins("sg=a", ""), origins("dc=b", ""), false),
            (origins("sg=a", ""), origins("", ""), false),
            (origins("sg=a", "labeldrop sg"), origins("sg=b", "labeldrop sg"), false),
            (origins("sg=a", "labeldrop sg"), origins("sg=b", ""), true),
            (origins("sg=a", "replace shard sg"), origins("sg=b", ""), false),
        ] {
            assert_eq!(one.is_distinct_from(&other), is_distinct, "{one:?} {other:?}");
            assert_eq!(other.is_distinct_from(&one), is_distinct);
        }
    }

    fn small_labels() -> impl Strategy<Value = Labels> {
        prop::collection::vec(("[a-e]", "[a-cA-C]{1,2}"), 0..4).prop_map(Labels::from_pairs)
    }

    fn small_rules() -> impl Strategy<Value = Vec<MetricsRelabel>> {
        let action = prop_oneof![
            Just(MetricsRelabelAction::Replace),
            Just(MetricsRelabelAction::Labeldrop),
            Just(MetricsRelabelAction::Lowercase),
            Just(MetricsRelabelAction::Uppercase),
        ];
        let rule = (action, "[a-e]", "[a-e]").prop_map(|(action, source_label, target_label)| MetricsRelabel {
            action,
            source_label,
            target_label,
        });
        prop::collection::vec(rule, 0..6)
    }

    /// One rule after the other, as they stand in the file.
    pub(in super::super) fn apply_slowly(added: &Labels, rules: &[MetricsRelabel], stored: &Labels) -> Labels {
        let mut labels = LabelsBuilder::from(stored);
        for (name, value) in added.iter() {
            labels.set(name, value);
        }
        let mut labels = labels.finish();
        for rule in rules {
            let source = labels.get(&rule.source_label).unwrap_or("").to_owned();
            let mut next = LabelsBuilder::from(&labels);
            match rule.action {
                MetricsRelabelAction::Replace => next.set(&rule.target_label, &source),
                MetricsRelabelAction::Lowercase => next.set(&rule.target_label, &source.to_lowercase()),
                MetricsRelabelAction::Uppercase => next.set(&rule.target_label, &source.to_uppercase()),
                MetricsRelabelAction::Labeldrop => next.remove(&rule.source_label),
            };
            labels = next.finish();
        }
        labels
    }

    proptest! {
        #[test]
        fn origins_say_what_the_rules_do(added in small_labels(), rules in small_rules(), stored in small_labels()) {
            let origins = LabelOrigins::new(&added, &rules);
            let expected = apply_slowly(&added, &rules, &stored);
            prop_assert_eq!(origins.apply(&stored), expected.clone());
            let mut bytes = EncodedLabelsBuilder::default();
            origins.write(stored.encode().as_ref(), &mut bytes);
            let encoded = expected.encode();
            prop_assert_eq!(bytes.finish(), Ok(encoded.as_bytes()));
        }
    }
}
