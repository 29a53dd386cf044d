//! `label_filter`: not asking a server group for what it cannot have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::known_keys::{Key, KeyTable};
use super::problem::{Problems, quote};
use super::relabel::read_label_names;
use super::section::{Item, Section};
use crate::model::DurationMs;

/// Which labels of a group are known with all their values, so that selectors which cannot match are not sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LabelFilterConfig {
    /// Labels whose values the group is asked for.
    pub dynamic_labels: BTreeSet<String>,
    /// How often it is asked again; `None`: only once.
    pub sync_interval: Option<Duration>,
    /// How far back values are asked for; `None`: since ever.
    pub sync_lookback: Option<DurationMs>,
    /// Values that count as present, by label.
    pub static_labels_include: BTreeMap<String, BTreeSet<String>>,
    /// Values that count as absent, by label.
    pub static_labels_exclude: BTreeMap<String, BTreeSet<String>>,
    /// What holds while the values could not be learned.
    pub on_sync_error: OnSyncError,
}

/// What holds while the values of a label filter could not be learned.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum OnSyncError {
    /// The group is asked for everything.
    #[default]
    Open,
    /// The group is not asked for what only the unknown values could allow.
    Closed,
}

impl OnSyncError {
    /// As it is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Names of labels with lists of values.
type ValuesByLabel = BTreeMap<String, BTreeSet<String>>;

/// The keys of `label_filter`.
pub static LABEL_FILTER_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].label_filter",
    about: "Do not ask the group for what it cannot have. Of every label named here the values are known; a selector that \
            none of them matches is answered without a request. A selector that also matches series without the label is \
            always sent. It saves requests; it does not keep anybody from data.",
    keys: &[
        Key {
            name: "dynamic_labels",
            form: "list of label names",
            default: "empty",
            about: "Labels whose values the group is asked for. Starting never waits for the answer.",
            example: "dynamic_labels: [__name__, job]",
        },
        Key {
            name: "sync_interval",
            form: "duration",
            default: "0s",
            about: "How often the values are asked for again; `0s` is only once. New values are not found before the next \
                    time: keep it short, one request a label and server.",
            example: "sync_interval: 5m\ndynamic_labels: [job]",
        },
        Key {
            name: "sync_lookback",
            form: "duration",
            default: "0s",
            about: "How far back values are asked for; `0s` is since ever. Queries about earlier times are always sent.",
            example: "sync_lookback: 1d\ndynamic_labels: [job]",
        },
        Key {
            name: "static_labels_include",
            form: "label names with lists of values",
            default: "empty",
            about: "Values that count as present. A label that is not dynamic has these values only.",
            example: "static_labels_include: {region: [eu-west, eu-north]}",
        },
        Key {
            name: "static_labels_exclude",
            form: "label names with lists of values",
            default: "empty",
            about: "Values that count as absent.",
            example: "static_labels_exclude: {job: [debug]}",
        },
        Key {
            name: "on_sync_error",
            form: "open or closed",
            default: "the word open",
            about: "What holds while the values of a dynamic label could not be learned: `open` sends every selector, \
                    `closed` only those that the static values allow. `abort` is read as `open`: starting waits for nobody.",
            example: "on_sync_error: closed\ndynamic_labels: [job]",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// `label_filter`.
pub(super) fn read_label_filter(item: &Item<'_>, problems: &mut Problems) -> LabelFilterConfig {
    let section = Section::open(item, &LABEL_FILTER_KEYS, &[], problems);
    let mut filter = LabelFilterConfig::default();
    if let Some(item) = section.get("dynamic_labels") {
        filter.dynamic_labels = read_label_names(item, problems).into_iter().collect();
    }
    filter.sync_interval =
        section.get("sync_interval").and_then(|item| item.duration(problems)).filter(|interval| !interval.is_zero());
    filter.sync_lookback =
        section.get("sync_lookback").and_then(|item| item.duration_ms(problems)).filter(|lookback| lookback.0 > 0);
    for (key, place) in [
        ("static_labels_include", &mut filter.static_labels_include),
        ("static_labels_exclude", &mut filter.static_labels_exclude),
    ] {
        if let Some(item) = section.get(key) {
            *place = read_values_by_label(item, problems);
        }
    }
    if let Some(choice) = section.get("on_sync_error").and_then(|item| read_on_sync_error(item, problems)) {
        filter.on_sync_error = choice;
    }
    if filter.dynamic_labels.is_empty() {
        for (key, is_set) in [
            ("sync_interval", filter.sync_interval.is_some()),
            ("sync_lookback", filter.sync_lookback.is_some()),
            ("on_sync_error", section.get("on_sync_error").is_some()),
        ] {
            if let Some(item) = section.get(key).filter(|_| is_set) {
                item.error(problems, "requires dynamic_labels to be set");
            }
        }
    }
    filter
}

fn read_values_by_label(item: &Item<'_>, problems: &mut Problems) -> ValuesByLabel {
    let mut all = ValuesByLabel::new();
    for entry in item.entries(problems) {
        if entry.key().is_empty() || entry.key().contains('\0') {
            entry.error(problems, format!("{} is not a valid label name", quote(entry.key())));
            continue;
        }
        let values = entry.items(problems);
        let values: BTreeSet<String> = values.iter().filter_map(|item| item.text(problems)).collect();
        all.insert(entry.key().to_owned(), values);
    }
    all
}

fn read_on_sync_error(item: &Item<'_>, problems: &mut Problems) -> Option<OnSyncError> {
    let text = item.text(problems)?;
    match text.as_str() {
        "open" => Some(OnSyncError::Open),
        "closed" => Some(OnSyncError::Closed),
        "abort" => {
            item.warn(problems, "is read as open: Quiver starts without waiting for a server group");
            Some(OnSyncError::Open)
        }
        _ => {
            item.error(problems, format!("{} is neither open nor closed", quote(&text)));
            None
        }
    }
}
