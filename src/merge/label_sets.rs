//! Answers about series rather than samples: names, values, label sets, metadata.

use std::collections::BTreeMap;

use crate::model::{Labels, MetricMetadata};

/// The union of many lists of names or values: sorted, each once.
pub fn unite_names(lists: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    sorted_union(lists)
}

/// The union of many lists of label sets: sorted, each once.
pub fn unite_label_sets(lists: impl IntoIterator<Item = Vec<Labels>>) -> Vec<Labels> {
    sorted_union(lists)
}

/// The union of what many servers know of metrics: by metric name, each list sorted, each entry once.
pub fn unite_metadata(
    answers: impl IntoIterator<Item = BTreeMap<String, Vec<MetricMetadata>>>,
) -> BTreeMap<String, Vec<MetricMetadata>> {
    let mut united: BTreeMap<String, Vec<MetricMetadata>> = BTreeMap::new();
    for (name, entries) in answers.into_iter().flatten() {
        united.entry(name).or_default().extend(entries);
    }
    for entries in united.values_mut() {
        entries.sort_unstable();
        entries.dedup();
    }
    united
}

fn sorted_union<T: Ord>(lists: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    let mut united: Vec<T> = lists.into_iter().flatten().collect();
    // Servers sort their answers: the stable sort merges such runs instead of comparing everything with everything.
    united.sort();
    united.dedup();
    united
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_are_sorted_and_unique() {
        let united = unite_names([texts(&["up", "job", "job"]), texts(&[]), texts(&["a", "up"])]);
        assert_eq!(united, texts(&["a", "job", "up"]));
    }

    #[test]
    fn label_sets_are_sorted_and_unique() {
        let set = |job: &str| Labels::from_pairs([("__name__", "up"), ("job", job)]);
        assert_eq!(unite_label_sets([vec![set("b"), set("a")], vec![set("a")]]), [set("a"), set("b")]);
    }

    #[test]
    fn metadata_of_all_servers_is_kept() {
        let entry = |help: &str| MetricMetadata { metric_type: "gauge".into(), help: help.into(), unit: String::new() };
        let answer =
            |name: &str, helps: &[&str]| BTreeMap::from([(name.to_owned(), helps.iter().map(|h| entry(h)).collect())]);
        let united = unite_metadata([answer("up", &["new", "old"]), answer("up", &["old"]), answer("a", &["x"])]);
        assert_eq!(united.keys().collect::<Vec<_>>(), ["a", "up"]);
        assert_eq!(united["up"], [entry("new"), entry("old")]);
    }
}
