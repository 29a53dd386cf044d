//! Label names and values in config files.

use super::problem::{Problems, quote};
use super::section::Item;
use crate::model::{Labels, LabelsBuilder};

/// Labels that end up on series: every name is checked, values are taken as written.
pub(super) fn read_labels(item: &Item<'_>, problems: &mut Problems) -> Labels {
    let mut labels = LabelsBuilder::default();
    for entry in item.entries(problems) {
        if entry.key().starts_with("__") {
            let name = entry.key();
            entry.error(problems, format!("{} begins with \"__\", such names are reserved", quote(name)));
        } else {
            read_label(&entry, &mut labels, problems);
        }
    }
    labels.finish()
}

/// Labels of targets: as [`read_labels`], and names that begin with `__` are for relabelling, where
/// there is any.
pub(super) fn read_target_labels(item: &Item<'_>, has_relabelling: bool, problems: &mut Problems) -> Labels {
    let mut labels = LabelsBuilder::default();
    for entry in item.entries(problems) {
        match entry.key() {
            "__address__" => entry.warn(problems, "has no effect: targets say what the address is"),
            name if name.starts_with("__param_") || name == "__metrics_path__" => {
                entry.warn(problems, "has no effect: it is for scraping, use query_params or path_prefix");
                read_label(&entry, &mut labels, problems);
            }
            name => {
                if name.starts_with("__") && !has_relabelling && !matches!(name, "__scheme__" | "__path_prefix__") {
                    entry.warn(problems, "has no effect: labels that begin with \"__\" are not labels of series");
                }
                read_label(&entry, &mut labels, problems);
            }
        }
    }
    labels.finish()
}

fn read_label(entry: &Item<'_>, labels: &mut LabelsBuilder, problems: &mut Problems) {
    let name = entry.key();
    if name.is_empty() || name.contains('\0') {
        entry.error(problems, "a label name must not be empty or hold a zero byte");
        return;
    }
    if entry.is_null() {
        entry.warn(problems, "has no value, so the label is not added");
        return;
    }
    let Some(value) = entry.text(problems) else { return };
    if value.is_empty() {
        entry.warn(problems, "is empty, so the label is not added");
    }
    if !is_plain_name(name) {
        entry.warn(problems, format!("this label must be quoted in PromQL: {{{}=\"…\"}}", quote(name)));
    }
    labels.set(name, &value);
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`: what PromQL reads without quotes.
fn is_plain_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
