//! What a Prometheus' own config file says it adds to the series that leave it.

use super::yaml::{Node, NodeKind, read_yaml};
use crate::error::Error;
use crate::model::{Labels, LabelsBuilder};

/// Nobody tells servers apart by more labels than this.
const LABELS_MAX: usize = 64;

/// `global.external_labels` of a Prometheus config file; empty where there are none. The text comes from a server
/// (`/api/v1/status/config`) and may be anything: fails, without quoting it, on what is no such file.
pub fn external_labels(yaml: &str) -> Result<Labels, Error> {
    let root = read_yaml(yaml).map_err(|error| bad(format!("{}: {}", error.position, error.message)))?;
    let Some(labels) =
        value_of(&root, "global")?.map(|global| value_of(global, "external_labels")).transpose()?.flatten()
    else {
        return Ok(Labels::default());
    };
    let NodeKind::Map(entries) = &labels.kind else {
        return match labels.kind {
            NodeKind::Null => Ok(Labels::default()),
            _ => Err(bad(format!("{}: external_labels is no section", labels.position))),
        };
    };
    if entries.len() > LABELS_MAX {
        return Err(bad(format!("{}: more than {LABELS_MAX} external_labels", labels.position)));
    }
    let mut builder = LabelsBuilder::default();
    for entry in entries {
        let value = match &entry.value.kind {
            NodeKind::Scalar(text) => text.as_str(),
            NodeKind::Null => "",
            NodeKind::List(_) | NodeKind::Map(_) => {
                return Err(bad(format!("{}: an external label is no text", entry.value.position)));
            }
        };
        if entry.key.is_empty() {
            return Err(bad(format!("{}: an external label has no name", entry.position)));
        }
        builder.set(&entry.key, value);
    }
    Ok(builder.finish())
}

fn value_of<'a>(section: &'a Node, key: &str) -> Result<Option<&'a Node>, Error> {
    match &section.kind {
        NodeKind::Map(entries) => Ok(entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)),
        NodeKind::Null => Ok(None),
        NodeKind::Scalar(_) | NodeKind::List(_) => Err(bad(format!("{}: no section", section.position))),
    }
}

fn bad(problem: String) -> Error {
    Error::bad_data(format!("the server's config at {problem}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(yaml: &str) -> Result<Labels, String> {
        external_labels(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn they_stand_under_global() {
        let expected = Labels::from_pairs([("replica", "a"), ("zone", "007"), ("über", "ja: \"x\"")]);
        let yaml = "global:\n  scrape_interval: 15s\n  external_labels:\n    replica: a\n    zone: \"007\"\n    über: 'ja: \"x\"'\n    empty: \"\"\nscrape_configs:\n- job_name: x\n";
        assert_eq!(labels(yaml), Ok(expected));
    }

    #[test]
    fn there_may_be_none() {
        for yaml in ["", "global:\n", "global: {}", "global: {external_labels: }", "scrape_configs: [{job_name: x}]"] {
            assert_eq!(labels(yaml), Ok(Labels::default()), "{yaml}");
        }
    }

    #[test]
    fn what_is_no_config_is_an_error_that_does_not_quote_it() {
        let many: String = (0..=LABELS_MAX).map(|at| format!("l{at}: x, ")).collect();
        for (yaml, error) in [
            ("hunter2", "the server's config at 1:1: no section"),
            ("[hunter2]", "the server's config at 1:1: no section"),
            ("global: hunter2", "the server's config at 1:9: no section"),
            ("global: {external_labels: hunter2}", "the server's config at 1:27: external_labels is no section"),
            ("global: {external_labels: {a: [hunter2]}}", "the server's config at 1:31: an external label is no text"),
            (
                "global: {external_labels: {\"\": hunter2}}",
                "the server's config at 1:28: an external label has no name",
            ),
            (
                &format!("global: {{external_labels: {{{many}}}}}"),
                "the server's config at 1:27: more than 64 external_labels",
            ),
        ] {
            assert_eq!(labels(yaml), Err(error.to_owned()), "{yaml}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(global: |external_labels: |[a-c:\\[\\]{}&*!|>~<,'\"#%@?\n \t-]|\\*a|&a|- |: ){0,60}") {
            let _: Result<Labels, Error> = external_labels(&text);
        }
    }
}
