//! `relabel_configs` and `metrics_relabel_configs` of a server group.

use super::known_keys::{Key, KeyTable};
use super::problem::{Problems, quote};
use super::section::{Item, Section};
use crate::model::{GoRegex, RelabelAction, RelabelRule};

/// One rule of `metrics_relabel_configs`: promxy's small set, which can be turned round, so that queries can ask for the
/// labels as they are after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetricsRelabel {
    /// What is done with every returned series.
    pub action: MetricsRelabelAction,
    /// The label that is read, or dropped.
    pub source_label: String,
    /// The label that is written; empty for `labeldrop`.
    pub target_label: String,
}

/// What a rule of `metrics_relabel_configs` does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum MetricsRelabelAction {
    /// Copies the value of the source label to the target label; the source label stays.
    Replace,
    /// Drops the source label.
    Labeldrop,
    /// The target label is the source label's value in lower case.
    Lowercase,
    /// The target label is the source label's value in upper case.
    Uppercase,
}

impl MetricsRelabelAction {
    /// As it is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Labeldrop => "labeldrop",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

/// The keys of an item of `relabel_configs`.
pub static RELABEL_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].relabel_configs[]",
    about: "One rule over the labels of a discovered target, as in Prometheus. A target has the labels of its \
            `static_configs`, `__address__`, `__scheme__` and `__path_prefix__`. The last three say afterwards how it is \
            reached; labels that begin with `__` go; the others are added to the target's series, below the group's \
            `labels`. Targets that end up with different labels hold different data: they are not replicas of each other.",
    keys: &[
        Key {
            name: "action",
            form: "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase or \
                   uppercase",
            default: "the action replace",
            about: "What the rule does.",
            example: "action: keep\nsource_labels: [rack]\nregex: r1",
        },
        Key {
            name: "source_labels",
            form: "list of label names",
            default: "empty",
            about: "Whose values, joined by the separator, are the text that the rule looks at.",
            example: "source_labels: [__address__]\ntarget_label: address",
        },
        Key {
            name: "separator",
            form: "text",
            default: "the semicolon",
            about: "Stands between the values of the source labels.",
            example: "separator: /\nsource_labels: [dc, rack]\ntarget_label: place",
        },
        Key {
            name: "regex",
            form: "RE2 pattern",
            default: "the whole text as one group",
            about: "Must match the whole text, or the whole label name for `labelmap`, `labeldrop` and `labelkeep`.",
            example: "regex: (.+):\\d+\nsource_labels: [__address__]\ntarget_label: host",
        },
        Key {
            name: "modulus",
            form: "whole number",
            default: "none",
            about: "For `hashmod`: the target label becomes the hash of the text modulo this.",
            example: "modulus: 4\naction: hashmod\nsource_labels: [__address__]\ntarget_label: shard",
        },
        Key {
            name: "target_label",
            form: "label name",
            default: "none",
            about: "The label that is written or compared. A template (`${1}`) for `replace`.",
            example: "target_label: cluster\nreplacement: eu",
        },
        Key {
            name: "replacement",
            form: "template",
            default: "the first group",
            about: "The new value, or for `labelmap` the new name; `$1` and `${name}` are the groups of the pattern.",
            example: "replacement: $1.example.com\nsource_labels: [host]\ntarget_label: __address__",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// The keys of an item of `metrics_relabel_configs`.
pub static METRICS_RELABEL_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].metrics_relabel_configs[]",
    about: "One rule over the labels of every returned series. Queries ask for the labels as they are after all rules. There \
            are no patterns: a rule must be one that can be turned round.",
    keys: &[
        Key {
            name: "action",
            form: "replace, labeldrop, lowercase or uppercase",
            default: "none, it must be there",
            about: "`replace` copies the source label to the target label and leaves it where it is; `labeldrop` drops the \
                    source label; the other two write its value in other letters.",
            example: "action: labeldrop\nsource_label: replica",
        },
        Key {
            name: "source_label",
            form: "label name",
            default: "none, it must be there",
            about: "The label that is read.",
            example: "source_label: zone\naction: replace\ntarget_label: region",
        },
        Key {
            name: "target_label",
            form: "label name",
            default: "none",
            about: "The label that is written, over any of that name. Not for `labeldrop`.",
            example: "target_label: region\naction: uppercase\nsource_label: zone",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// One item of `relabel_configs`, with Prometheus' rules about which key goes with which action. `None` where it is wrong.
pub(super) fn read_relabel_rule(item: &Item<'_>, problems: &mut Problems) -> Option<RelabelRule> {
    let section = Section::open(item, &RELABEL_KEYS, &[&METRICS_RELABEL_KEYS], problems);
    let errors_before = problems.errors.len();
    let mut rule = RelabelRule::default();
    if let Some(action) = section.get("action").and_then(|item| read_action(item, problems)) {
        rule.action = action;
    }
    if let Some(item) = section.get("source_labels") {
        rule.source_labels = read_label_names(item, problems);
    }
    for (key, place) in [
        ("separator", &mut rule.separator),
        ("target_label", &mut rule.target_label),
        ("replacement", &mut rule.replacement),
    ] {
        if let Some(text) = section.get(key).and_then(|item| item.text(problems)) {
            *place = text;
        }
    }
    if let Some(item) = section.get("regex")
        && let Some(pattern) = item.text(problems)
    {
        match GoRegex::anchored(&pattern) {
            Ok(regex) => rule.regex = regex,
            Err(error) => item.error(problems, error.to_string()),
        }
    }
    if let Some(modulus) = section.get("modulus").and_then(|item| item.count(problems)) {
        rule.modulus = modulus as u64;
    }
    if problems.errors.len() == errors_before {
        check_relabel_rule(item, &section, &rule, problems);
    }
    (problems.errors.len() == errors_before).then_some(rule)
}

fn read_action(item: &Item<'_>, problems: &mut Problems) -> Option<RelabelAction> {
    let text = item.text(problems)?;
    let action = RelabelAction::ALL.into_iter().find(|action| text.eq_ignore_ascii_case(action.as_str()));
    if action.is_none() {
        let known = RelabelAction::ALL.map(RelabelAction::as_str).join(", ");
        item.error(problems, format!("unknown relabel action {}, known are {known}", quote(&text)));
    }
    action
}

/// Names of labels; every one that cannot be a name is an error.
pub(super) fn read_label_names(item: &Item<'_>, problems: &mut Problems) -> Vec<String> {
    let names = item.items(problems).into_iter().filter_map(|item| read_label_name(&item, problems));
    names.collect()
}

/// A name that a label can have: not empty, no zero byte.
fn read_label_name(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let name = item.text(problems)?;
    if name.is_empty() || name.contains('\0') {
        item.error(problems, format!("{} is not a valid label name", quote(&name)));
        return None;
    }
    Some(name)
}

/// As Prometheus checks a rule: a key that its action does not read was meant for something else.
fn check_relabel_rule(item: &Item<'_>, section: &Section<'_>, rule: &RelabelRule, problems: &mut Problems) {
    use RelabelAction::{
        Drop, DropEqual, Hashmod, Keep, KeepEqual, Labeldrop, Labelkeep, Labelmap, Lowercase, Replace, Uppercase,
    };
    let action = rule.action.as_str();
    let needs_target = match rule.action {
        Replace | Hashmod | Lowercase | Uppercase | KeepEqual | DropEqual => true,
        Keep | Drop | Labelmap | Labeldrop | Labelkeep => false,
    };
    if needs_target && rule.target_label.is_empty() {
        item.error(problems, format!("the action {action} needs its target_label"));
    }
    if rule.action == Hashmod && rule.modulus == 0 {
        item.error(problems, "the action hashmod needs its modulus, a number from 1 up");
    }
    let unread: &[&str] = match rule.action {
        Replace | Keep | Drop | Hashmod | Labelmap => &[],
        Lowercase | Uppercase => &["replacement"],
        KeepEqual | DropEqual => &["regex", "modulus", "separator", "replacement"],
        Labeldrop | Labelkeep => &["source_labels", "target_label", "modulus", "separator", "replacement"],
    };
    let default = RelabelRule::default();
    let is_default = |key| match key {
        "source_labels" => rule.source_labels == default.source_labels,
        "target_label" => rule.target_label == default.target_label,
        "modulus" => rule.modulus == default.modulus,
        "separator" => rule.separator == default.separator,
        "replacement" => rule.replacement == default.replacement,
        _ => rule.regex.pattern() == default.regex.pattern(),
    };
    for key in unread.iter().filter(|key| !is_default(key)) {
        if let Some(item) = section.get(key) {
            item.error(problems, format!("cannot be used with the action {action}"));
        }
    }
}

/// One item of `metrics_relabel_configs`. `None` where it is wrong.
pub(super) fn read_metrics_relabel(item: &Item<'_>, problems: &mut Problems) -> Option<MetricsRelabel> {
    let section = Section::open(item, &METRICS_RELABEL_KEYS, &[&RELABEL_KEYS], problems);
    let action = read_metrics_action(item, &section, problems);
    let name = |key, problems: &mut Problems| section.get(key).map(|item| read_label_name(item, problems));
    let (source, target) = (name("source_label", problems), name("target_label", problems));
    let action = action?;
    if source.is_none() {
        item.error(problems, format!("the action {} needs its source_label", action.as_str()));
    }
    match (action, section.get("target_label")) {
        (MetricsRelabelAction::Labeldrop, Some(item)) => {
            item.error(problems, "cannot be used with the action labeldrop");
        }
        (MetricsRelabelAction::Labeldrop, None) => {}
        (_, None) => item.error(problems, format!("the action {} needs its target_label", action.as_str())),
        (_, Some(item)) => {
            if target.as_ref().is_some_and(|name| name.as_ref().is_some_and(|name| name.contains("${"))) {
                item.error(problems, "is no template here, write the name of a label");
                return None;
            }
        }
    }
    let target_label = match action {
        MetricsRelabelAction::Labeldrop => String::new(),
        _ => target??,
    };
    Some(MetricsRelabel { action, source_label: source??, target_label })
}

fn read_metrics_action(
    item: &Item<'_>,
    section: &Section<'_>,
    problems: &mut Problems,
) -> Option<MetricsRelabelAction> {
    use MetricsRelabelAction::{Labeldrop, Lowercase, Replace, Uppercase};
    let Some(own) = section.get("action") else {
        item.error(problems, "needs its action: replace, labeldrop, lowercase or uppercase");
        return None;
    };
    let text = own.text(problems)?;
    let found = [Replace, Labeldrop, Lowercase, Uppercase]
        .into_iter()
        .find(|action| text.eq_ignore_ascii_case(action.as_str()));
    if found.is_none() {
        let text = format!("action {} not supported, write replace, labeldrop, lowercase or uppercase", quote(&text));
        own.error(problems, text);
    }
    found
}
