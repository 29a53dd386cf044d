//! Prometheus' relabelling: rules that rename, copy, hash or drop the labels of one set, or the set itself.

use super::md5::md5;
use super::{GoRegex, Labels, LabelsBuilder, LetterCase};

/// What a rule does. The text of the rule is the values of its source labels, joined by its separator.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum RelabelAction {
    /// Where the text matches: the target label is the expanded replacement, an empty one removes it.
    #[default]
    Replace,
    /// Drops the set where the text does not match.
    Keep,
    /// Drops the set where the text matches.
    Drop,
    /// Drops the set where the text is not the target label's value.
    KeepEqual,
    /// Drops the set where the text is the target label's value.
    DropEqual,
    /// The target label is the hash of the text modulo `modulus`.
    Hashmod,
    /// Copies every label whose name matches to the name that the replacement gives.
    Labelmap,
    /// Removes every label whose name matches.
    Labeldrop,
    /// Removes every label whose name does not match.
    Labelkeep,
    /// The target label is the text in lower case.
    Lowercase,
    /// The target label is the text in upper case.
    Uppercase,
}

impl RelabelAction {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::Hashmod,
        Self::Labelmap,
        Self::Labeldrop,
        Self::Labelkeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// As it is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::Hashmod => "hashmod",
            Self::Labelmap => "labelmap",
            Self::Labeldrop => "labeldrop",
            Self::Labelkeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

/// One rule of `relabel_configs`.
#[derive(Clone, Debug)]
pub struct RelabelRule {
    /// What is done.
    pub action: RelabelAction,
    /// Whose values make up the text; a missing label counts as empty.
    pub source_labels: Vec<String>,
    /// Stands between them. Default `;`.
    pub separator: String,
    /// Anchored on both ends. Default `(.*)`.
    pub regex: GoRegex,
    /// For `hashmod`; never zero there.
    pub modulus: u64,
    /// Which label is written or compared; a template for `replace`.
    pub target_label: String,
    /// Template of the new value, or of the new name for `labelmap`. Default `$1`.
    pub replacement: String,
}

impl Default for RelabelRule {
    /// Prometheus' defaults: copies the values of the source labels.
    fn default() -> Self {
        Self {
            action: RelabelAction::Replace,
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: GoRegex::anchored("(.*)").expect("a pattern that RE2 reads"),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
        }
    }
}

/// Rules are equal where they say the same; a pattern is its text.
impl PartialEq for RelabelRule {
    fn eq(&self, other: &Self) -> bool {
        let fields = |rule: &Self| {
            let texts = [&rule.separator, &rule.target_label, &rule.replacement].map(String::clone);
            (rule.action, rule.source_labels.clone(), rule.regex.pattern().to_owned(), rule.modulus, texts)
        };
        fields(self) == fields(other)
    }
}

impl Eq for RelabelRule {}

/// The set after all rules, in their order; `None` where one of them drops it. As Prometheus v3.14
/// model/relabel/relabel.go.
pub fn relabel(labels: &Labels, rules: &[RelabelRule]) -> Option<Labels> {
    let mut labels = labels.clone();
    for rule in rules {
        labels = rule.apply(&labels)?;
    }
    Some(labels)
}

impl RelabelRule {
    fn apply(&self, labels: &Labels) -> Option<Labels> {
        let values: Vec<&str> = self.source_labels.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        let text = values.join(&self.separator);
        let target_value = || labels.get(&self.target_label).unwrap_or("");
        let set = |value: &str| Some(with_label(labels, &self.target_label, value));
        match self.action {
            RelabelAction::Keep => self.regex.is_match(&text).then(|| labels.clone()),
            RelabelAction::Drop => (!self.regex.is_match(&text)).then(|| labels.clone()),
            RelabelAction::KeepEqual => (target_value() == text).then(|| labels.clone()),
            RelabelAction::DropEqual => (target_value() != text).then(|| labels.clone()),
            RelabelAction::Lowercase => set(&LetterCase::Lower.apply(&text)),
            RelabelAction::Uppercase => set(&LetterCase::Upper.apply(&text)),
            RelabelAction::Hashmod => set(&self.hash_modulo(&text)),
            RelabelAction::Replace => Some(self.replace(labels, &text)),
            RelabelAction::Labelmap => Some(self.map_names(labels)),
            RelabelAction::Labeldrop => Some(keep_names(labels, |name| !self.regex.is_match(name))),
            RelabelAction::Labelkeep => Some(keep_names(labels, |name| self.regex.is_match(name))),
        }
    }

    fn replace(&self, labels: &Labels, text: &str) -> Labels {
        let Some(target) = self.regex.expand(text, &self.target_label) else { return labels.clone() };
        // A label needs a name; where the template gives none, nothing is replaced.
        match self.regex.expand(text, &self.replacement) {
            Some(value) if !target.is_empty() => with_label(labels, &target, &value),
            _ => labels.clone(),
        }
    }

    fn map_names(&self, labels: &Labels) -> Labels {
        let mut mapped = LabelsBuilder::from(labels);
        for (name, value) in labels.iter() {
            if let Some(new_name) = self.regex.expand(name, &self.replacement).filter(|name| !name.is_empty()) {
                mapped.set(&new_name, value);
            }
        }
        mapped.finish()
    }

    /// The last eight bytes of the MD5 sum as one big-endian number, modulo: what Prometheus has always given.
    fn hash_modulo(&self, text: &str) -> String {
        let digest = md5(text.as_bytes());
        let hash = digest[8..].iter().fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        hash.checked_rem(self.modulus).unwrap_or(hash).to_string()
    }
}

fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let mut builder = LabelsBuilder::from(labels);
    builder.set(name, value);
    builder.finish()
}

fn keep_names(labels: &Labels, keep: impl Fn(&str) -> bool) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| keep(name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RelabelAction as Action;
    use super::*;

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split_whitespace().filter_map(|pair| pair.split_once('=')))
    }

    fn regex(pattern: &str) -> GoRegex {
        GoRegex::anchored(pattern).expect("a pattern")
    }

    /// A rule as a file would give it; `source` has commas.
    fn rule(action: Action, source: &str, pattern: &str, target: &str, replacement: &str) -> RelabelRule {
        let source_labels = source.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let (target_label, replacement) = (target.to_owned(), replacement.to_owned());
        RelabelRule {
            action,
            source_labels,
            regex: regex(pattern),
            target_label,
            replacement,
            ..RelabelRule::default()
        }
    }

    fn replace(source: &str, pattern: &str, target: &str, replacement: &str) -> RelabelRule {
        rule(Action::Replace, source, pattern, target, replacement)
    }

    fn check(input: &str, rules: &[RelabelRule], output: Option<&str>) {
        assert_eq!(relabel(&labels(input), rules), output.map(labels), "{input} {rules:?}");
    }

    #[test]
    fn replace_writes_the_expanded_template_where_the_text_matches() {
        for (input, rules, output) in [
            ("a=foo b=bar", vec![replace("a", "f(.*)", "d", "ch${1}-ch${1}")], "a=foo b=bar d=choo-choo"),
            ("a=foo b=bar", vec![replace("a,b", "f(.*);(.*)r", "a", "b${1}${2}m")], "a=boobam b=bar"),
            // Rules see what those before them wrote.
            ("a=x", vec![replace("a", "(.*)", "b", "$1"), replace("b", "x", "c", "y")], "a=x b=x c=y"),
            ("a=boo", vec![replace("a", "f", "b", "bar")], "a=boo"),
            // The pattern is anchored on both ends, and a dot matches a line feed.
            ("a=foo", vec![replace("a", "o", "b", "bar")], "a=foo"),
            // An empty replacement removes the label.
            ("a=foo f=baz", vec![replace("a", "(f).*", "$1", "$2")], "a=foo"),
            ("a=foo b=1", vec![replace("", "(.*)", "b", "")], "a=foo"),
            // A missing label is an empty text, and an empty text matches.
            ("a=foo", vec![replace("none", "(.*)", "b", "set")], "a=foo b=set"),
            // The target is a template too; where it gives no name, nothing is written.
            (
                "a=some-name-value",
                vec![replace("a", "some-([^-]+)-([^,]+)", "${1}", "${2}")],
                "a=some-name-value name=value",
            ),
            ("a=some-name-0", vec![replace("a", "some-([^-]+)-([^,]+)", "${3}", "${1}")], "a=some-name-0"),
            // Names of the whole alphabet.
            ("a.b=1", vec![replace("a.b", "(.*)", "utf-8.label$1", "$1")], "a.b=1 utf-8.label1=1"),
        ] {
            check(input, &rules, Some(output));
        }
        let lines = Labels::from_pairs([("a", "line1\nline2")]);
        let matched = relabel(&lines, &[replace("a", "line1.*line2", "d", "match${1}")]).expect("kept");
        assert_eq!(matched.get("d"), Some("match"));
    }

    #[test]
    fn keep_and_drop_decide_over_the_whole_set() {
        let by = |action, source: &str, pattern: &str| vec![rule(action, source, pattern, "", "$1")];
        let equal = |action, source: &str, target: &str| vec![rule(action, source, "(.*)", target, "$1")];
        for (rules, is_kept) in [
            (by(Action::Drop, "a", ".*o.*"), false),
            (by(Action::Drop, "a", "f|o"), true),
            (by(Action::Drop, "none", ""), false),
            (by(Action::Keep, "a", "f.*"), true),
            (by(Action::Keep, "a", "no-match"), false),
            (by(Action::Keep, "a,same", "foo;foo"), true),
            (equal(Action::KeepEqual, "a", "same"), true),
            (equal(Action::KeepEqual, "a", "b"), false),
            (equal(Action::KeepEqual, "none", "neither"), true),
            (equal(Action::DropEqual, "a", "same"), false),
            (equal(Action::DropEqual, "a", "b"), true),
        ] {
            let input = "a=foo b=bar same=foo";
            check(input, &rules, is_kept.then_some(input));
        }
        // What comes after a drop is not looked at.
        check("a=x", &[rule(Action::Drop, "a", "x", "", ""), replace("a", "x", "b", "y")], None);
    }

    #[test]
    fn names_are_mapped_dropped_and_kept_by_pattern() {
        for (action, pattern, replacement, output) in [
            (Action::Labelmap, "(b.*)", "bar_${1}", "a=foo b1=bar b2=baz bar_b1=bar bar_b2=baz"),
            (Action::Labelmap, "b(1)", "a", "a=bar b1=bar b2=baz"),
            (Action::Labelmap, "(b).*", "$2", "a=foo b1=bar b2=baz"),
            (Action::Labeldrop, "(b.*)", "$1", "a=foo"),
            (Action::Labeldrop, "b", "$1", "a=foo b1=bar b2=baz"),
            (Action::Labelkeep, "(b.*)", "$1", "b1=bar b2=baz"),
            (Action::Labelkeep, "none", "$1", ""),
        ] {
            check("a=foo b1=bar b2=baz", &[rule(action, "", pattern, "", replacement)], Some(output));
        }
    }

    #[test]
    fn letters_change_case_as_in_go() {
        for (text, lower, upper) in
            [("bAr123Foo", "bar123foo", "BAR123FOO"), ("Straße", "straße", "STRAßE"), ("İΣ", "iσ", "İΣ")]
        {
            let input = Labels::from_pairs([("a", text)]);
            let rules =
                [rule(Action::Lowercase, "a", "(.*)", "l", "$1"), rule(Action::Uppercase, "a", "(.*)", "u", "$1")];
            let output = relabel(&input, &rules).expect("kept");
            assert_eq!((output.get("l"), output.get("u")), (Some(lower), Some(upper)));
        }
    }

    /// The remainders are Prometheus' own (model/relabel/relabel_test.go).
    #[test]
    fn hashes_are_those_of_prometheus() {
        for (text, modulus, expected) in
            [("baz", 1000, "976"), ("foo\nbar", 1000, "734"), ("", 1, "0"), ("", u64::MAX, "16825458760271544958")]
        {
            let hash = rule(Action::Hashmod, "c", "(.*)", "d", "$1");
            let output = relabel(&Labels::from_pairs([("c", text)]), &[RelabelRule { modulus, ..hash }]).expect("kept");
            assert_eq!(output.get("d"), Some(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn keep_is_the_opposite_of_drop(value in "[a-c]{0,3}", pattern in "[a-c.*|]{0,4}") {
            if GoRegex::anchored(&pattern).is_ok() {
                let set = Labels::from_pairs([("a", value)]);
                let is_kept = |action| relabel(&set, &[rule(action, "a", &pattern, "", "")]).is_some();
                prop_assert_ne!(is_kept(Action::Keep), is_kept(Action::Drop));
            }
        }
    }
}
