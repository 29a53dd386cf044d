//! What a bucket of a server group changes in questions and answers: pure pairs of a question before and label sets after.
//!
//! | file | what it does |
//! |---|---|
//! | `label_origins.rs` | added labels and relabel rules as one fact a label: where its value comes from |
//! | `reverse_matcher.rs` | a matcher on a label of the answer as one on a stored label |
//! | `route.rs` | selectors and metadata requests, on their way to the servers |
//! | `tables.rs` | label sets of whole tables; series of one server that become the same |
//! | `reorder.rs` | the same for a stream that is to stay sorted |
//! | `expression.rs` | a whole expression that a server is to evaluate |
//!
//! The order is promxy's. On the way up: labels are added, over stored ones of the same name; then the relabel rules run, one
//! after the other. On the way down the rules are turned round, then matchers on added labels are decided, and then
//! `inject_matchers` are appended: they are about stored labels.
//!
//! Where there are rules, an answer is checked again with the matchers that were asked for, so that whatever cannot be turned
//! round exactly may be asked for too widely.

mod expression;
mod label_origins;
mod reorder;
mod reverse_matcher;
mod route;
mod tables;

use std::sync::Arc;

use crate::config::{MetricsRelabel, MetricsRelabelAction, ServerGroupConfig};
use crate::model::{Labels, LabelsBuilder, Matcher};
use label_origins::{LabelOrigins, Origin};

pub(super) use expression::{Pushed, PushedExpression, PushedLabels};
pub(super) use reorder::{Reorder, ReorderError};
pub(super) use route::{AskedValues, Route, RoutedMetadata};

/// The rewrites of one bucket. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrites {
    origins: Arc<LabelOrigins>,
    has_rules: bool,
    injected: Arc<[Matcher]>,
}

impl Rewrites {
    /// The labels that a target adds to its series: its own, and the group's over them.
    pub(super) fn added_labels(target: &Labels, config: &ServerGroupConfig) -> Labels {
        let mut added = LabelsBuilder::from(target);
        for (name, value) in config.labels.iter() {
            added.set(name, value);
        }
        added.finish()
    }

    /// The rewrites of a target that adds these labels.
    pub(super) fn new(added: &Labels, config: &ServerGroupConfig) -> Self {
        let origins = LabelOrigins::new(added, &config.metrics_relabel_configs);
        Self {
            origins: Arc::new(origins),
            has_rules: !config.metrics_relabel_configs.is_empty(),
            injected: config.inject_matchers.clone().into(),
        }
    }

    /// Do both make the same of every question and every answer? Then their targets are replicas of each other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.origins == other.origins && self.injected == other.injected
    }

    /// Can no series of one be a series of the other? So it is if a label has one fixed value here and another there.
    pub(super) fn is_distinct_from(&self, other: &Self) -> bool {
        self.origins.is_distinct_from(&other.origins)
    }

    /// Does any series get other labels than it is stored with, or is any left out?
    pub(super) fn changes_answers(&self) -> bool {
        self.has_rules || !self.origins.is_identity()
    }

    /// The labels that all series of the answer have, with one value each.
    pub(super) fn fixed_labels(&self) -> Labels {
        Labels::from_pairs(self.origins.iter().filter_map(|(name, origin)| match origin {
            Origin::Fixed(value) => Some((name, value.as_str())),
            Origin::Stored(_) => None,
        }))
    }

    /// May a sorted stream go through [`Reorder`]? Added labels keep the order but for prefixes; relabel rules keep nothing.
    pub(super) fn keeps_order(&self) -> bool {
        !self.has_rules
    }

    /// Are the rules made to lose labels, so that several series of one server may become the same?
    pub(super) fn merges_series(&self) -> bool {
        self.losing_label().is_some()
    }

    /// A label that is dropped, or whose letters are changed in place, and that is nowhere else.
    fn losing_label(&self) -> Option<&str> {
        self.origins.lost().find(|name| match self.origins.of(name) {
            Origin::Fixed(value) => value.is_empty(),
            Origin::Stored(stored) => stored.name == *name,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::label_origins::tests::{labels, rules};
    use super::*;

    /// Rewrites as a config would make them: `replace a b, labeldrop c`.
    pub(in super::super) fn rewrites(added: &str, rule_texts: &str, injected: &[Matcher]) -> Rewrites {
        let config = ServerGroupConfig {
            labels: labels(added),
            metrics_relabel_configs: rules(rule_texts),
            inject_matchers: injected.to_vec(),
            ..ServerGroupConfig::default()
        };
        Rewrites::new(&config.labels, &config)
    }

    #[test]
    fn a_groups_labels_go_over_those_of_its_targets() {
        let config = ServerGroupConfig { labels: labels("b=2"), ..ServerGroupConfig::default() };
        let rewrites = Rewrites::new(&Rewrites::added_labels(&labels("a=1 b=1"), &config), &config);
        assert_eq!(rewrites.fixed_labels(), labels("a=1 b=2"));
        let stored = labels("__name__=up a=old");
        assert_eq!(rewrites.rewrite_labels(&stored), labels("__name__=up a=1 b=2"));
    }

    #[test]
    fn targets_are_replicas_where_their_rewrites_come_to_the_same() {
        let config =
            |text: &str| ServerGroupConfig { metrics_relabel_configs: rules(text), ..ServerGroupConfig::default() };
        let [one, two] = [labels("replica=1 dc=x"), labels("replica=2 dc=x")];
        for (text, is_same) in [("", false), ("labeldrop replica", true), ("labeldrop dc", false)] {
            let (one, two) = (Rewrites::new(&one, &config(text)), Rewrites::new(&two, &config(text)));
            assert_eq!(one.is_same(&two), is_same, "{text}");
            assert_eq!(one.is_distinct_from(&two), !is_same, "{text}");
        }
    }

    #[test]
    fn only_rules_that_lose_labels_merge_series() {
        for (added, text, keeps_order, merges_series) in [
            ("", "", true, false),
            ("sg=eu", "", true, false),
            ("", "replace a b", false, false),
            ("", "replace a b, labeldrop a", false, false),
            ("", "lowercase a b", false, false),
            ("", "lowercase a b, labeldrop a", false, true),
            ("", "lowercase a a", false, true),
            ("", "labeldrop replica", false, true),
            // An added label that goes again takes a stored one with it.
            ("sg=eu", "labeldrop sg", false, true),
        ] {
            let rewrites = rewrites(added, text, &[]);
            assert_eq!((rewrites.keeps_order(), rewrites.merges_series()), (keeps_order, merges_series), "{text}");
        }
    }
}
