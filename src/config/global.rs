//! `global`: what is said of the gateway as a whole.

use super::known_keys::{Key, KeyTable};
use super::labels::read_labels;
use super::problem::Problems;
use super::section::{Item, Section};
use crate::model::{DurationMs, Labels};

/// `global`: what is said of the gateway as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobalConfig {
    /// Step of a subquery that names none (`[1h:]`). Default 1m.
    pub evaluation_interval: DurationMs,
    /// Who this gateway is, for those who collect from several: on federated series and alerts, never on query results.
    pub external_labels: Labels,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self { evaluation_interval: DurationMs(60_000), external_labels: Labels::default() }
    }
}

const NO_SCRAPES: &str = "Quiver does not scrape";

/// The keys of `global`.
pub static GLOBAL_KEYS: KeyTable = KeyTable {
    title: "global",
    about: "Prometheus' own section. Environment variables can set its keys too: `QUIVER__GLOBAL__EVALUATION_INTERVAL=30s`, \
            `QUIVER__GLOBAL__EXTERNAL_LABELS__REPLICA=a`; they win over the file, and label names are then in lower case.",
    keys: &[
        Key {
            name: "evaluation_interval",
            form: "duration",
            default: "1m",
            about: "Step of a subquery that names none, such as `x[1h:]`. A small value makes such queries expensive.",
            example: "evaluation_interval: 30s",
        },
        Key {
            name: "external_labels",
            form: "label names and values",
            default: "empty",
            about: "Who this gateway is, for those who collect from several: added to what leaves by `/federate` and by remote \
                    read. Not added to query results.",
            example: "external_labels: {cluster: eu, replica: a}",
        },
    ],
    not_built: &[("query_log_file", "")],
    inert: &[
        ("always_scrape_classic_histograms", NO_SCRAPES),
        ("body_size_limit", NO_SCRAPES),
        ("convert_classic_histograms_to_nhcb", NO_SCRAPES),
        ("extra_scrape_metrics", NO_SCRAPES),
        ("keep_dropped_targets", NO_SCRAPES),
        ("label_limit", NO_SCRAPES),
        ("label_name_length_limit", NO_SCRAPES),
        ("label_value_length_limit", NO_SCRAPES),
        ("metric_name_escaping_scheme", NO_SCRAPES),
        ("metric_name_validation_scheme", NO_SCRAPES),
        ("rule_query_offset", "promxy ignores it too, rules are not built yet"),
        ("runtime", "it is for Prometheus itself"),
        ("sample_limit", NO_SCRAPES),
        ("scrape_failure_log_file", NO_SCRAPES),
        ("scrape_interval", NO_SCRAPES),
        ("scrape_native_histograms", NO_SCRAPES),
        ("scrape_protocols", NO_SCRAPES),
        ("scrape_timeout", NO_SCRAPES),
        ("target_limit", NO_SCRAPES),
    ],
};

/// `global`.
pub(super) fn read_global(item: &Item<'_>, problems: &mut Problems) -> GlobalConfig {
    let section = Section::open(item, &GLOBAL_KEYS, &[], problems);
    let mut global = GlobalConfig::default();
    if let Some(item) = section.get("evaluation_interval") {
        match item.duration_ms(problems) {
            Some(DurationMs(0)) => item.error(problems, "must be longer than 0, write for example \"1m\""),
            Some(interval) => global.evaluation_interval = interval,
            None => {}
        }
    }
    if let Some(item) = section.get("external_labels") {
        global.external_labels = read_labels(item, problems);
    }
    global
}
