//! All server groups of a config.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::try_join_all;
use tokio::task::JoinSet;

use super::ServerGroup;
use super::label_filter_sync::keep_in_sync;
use super::rewrite::Rewrites;
use crate::config::PromxyConfig;
use crate::error::Error;
use crate::merge::{unite_exemplars, unite_label_sets, unite_metadata, unite_names};
use crate::model::{ExemplarSet, GatewayId, Labels, MetadataRequest, MetricMetadata, QueryContext, SourcePolicy};
use crate::telemetry::LabelFilterMetrics;
use crate::telemetry::TargetRegistry;

/// The groups, in the order of the config. A reload makes a new set.
#[derive(Debug, Default)]
pub struct ServerGroupSet {
    groups: Vec<Arc<ServerGroup>>,
    /// Names of groups of which it cannot be told that no other group holds their series.
    indistinct: Vec<String>,
    /// What goes on in the background; ends with the set.
    tasks: JoinSet<()>,
}

impl ServerGroupSet {
    /// The groups that the config describes. Opens no connection.
    pub fn try_new(config: &PromxyConfig) -> Result<Self, Error> {
        Self::try_new_counted(config, &TargetRegistry::default(), &GatewayId::random())
    }

    /// The groups that the config describes, asked on behalf of `gateway`, whose targets are counted in `registry`.
    pub fn try_new_counted(
        config: &PromxyConfig,
        registry: &TargetRegistry,
        gateway: &GatewayId,
    ) -> Result<Self, Error> {
        let groups = config.server_groups.iter().enumerate();
        let groups = groups.map(|(ordinal, group)| ServerGroup::try_new(ordinal, group, registry, gateway));
        Ok(Self::from_groups(groups.collect::<Result<_, _>>()?))
    }

    /// A set of the given groups.
    pub fn from_groups(mut groups: Vec<ServerGroup>) -> Self {
        let all: Vec<Vec<Rewrites>> =
            groups.iter().map(|group| group.buckets().iter().map(|bucket| bucket.rewrites.clone()).collect()).collect();
        let disjoint: Vec<bool> = groups.iter().map(ServerGroup::is_disjoint).collect();
        let mut indistinct = Vec::new();
        for (at, group) in groups.iter_mut().enumerate() {
            let mut is_group_distinct = true;
            for (bucket, rewrites) in all[at].iter().enumerate() {
                let is_distinct_from = |group: usize| {
                    let mut others = all[group].iter().enumerate().filter(|(other, _)| (group, *other) != (at, bucket));
                    let is_declared = group != at && (disjoint[group] || disjoint[at]);
                    is_declared || others.all(|(_, other)| rewrites.is_distinct_from(other))
                };
                let is_distinct_from_groups = (0..all.len()).filter(|group| *group != at).all(is_distinct_from);
                is_group_distinct &= is_distinct_from_groups;
                group.set_distinct(bucket, is_distinct_from_groups && is_distinct_from(at));
            }
            if !is_group_distinct {
                indistinct.push(group.name());
            }
        }
        Self { groups: groups.into_iter().map(Arc::new).collect(), indistinct, tasks: JoinSet::new() }
    }

    /// What to tell the operator about groups that cannot be told apart; `None` where there are none.
    pub fn hint(&self) -> Option<String> {
        let names: Vec<String> = self.indistinct.iter().map(|name| format!("{name:?}")).collect();
        (!names.is_empty()).then(|| {
            format!(
                "server groups {} cannot be told apart: no label under labels has a value of its own in each. Answers are \
                 right all the same, but aggregations over them are never left to the servers. Where they hold different \
                 series, give each its own value of one label (labels: {{region: eu}}) or write disjoint: true",
                names.join(", ")
            )
        })
    }

    /// Begins what goes on in the background: label filters learn their values. Must be called within a tokio runtime. It all
    /// ends when the set is dropped.
    pub fn start(&mut self, metrics: &LabelFilterMetrics) {
        metrics.forget_groups();
        for group in &self.groups {
            for bucket in 0..group.bucket_count() {
                let Some(filter) = group.label_filter(bucket) else { continue };
                filter.count_in(metrics);
                if !filter.config().dynamic_labels.is_empty() {
                    self.tasks.spawn(keep_in_sync(Arc::downgrade(group), bucket, metrics.clone()));
                }
            }
        }
    }

    /// The buckets of all groups as (group, bucket); a group without targets stands there as its bucket 0.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<ServerGroup>, usize)> {
        self.groups.iter().flat_map(|group| (0..group.bucket_count().max(1)).map(move |bucket| (group, bucket)))
    }

    /// The groups.
    pub fn groups(&self) -> &[Arc<ServerGroup>] {
        &self.groups
    }

    /// Has it the groups that a query chooses?
    pub fn check_groups(&self, sources: &SourcePolicy) -> Result<(), Error> {
        if sources.chooses_all() {
            return Ok(());
        }
        sources.check_groups(&self.groups.iter().map(|group| group.name()).collect::<Vec<_>>())
    }

    /// Label names over the groups, sorted, unique.
    pub async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        self.ask(context, |group| group.label_names(request, context)).await.map(unite_names)
    }

    /// Values of one label over the groups, sorted, unique.
    pub async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.ask(context, |group| group.label_values(name, request, context)).await.map(unite_names)
    }

    /// Label sets over the groups, sorted, unique.
    pub async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.ask(context, |group| group.series(request, context)).await.map(unite_label_sets)
    }

    /// Exemplars of series over the groups: series by labels, each once, exemplars of a series by time, each once.
    pub async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        self.ask(context, |group| group.exemplars(request, context)).await.map(unite_exemplars)
    }

    /// Metadata by metric name over the groups.
    pub async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.ask(context, |group| group.metric_metadata(metric, context)).await.map(unite_metadata)
    }

    /// All groups that the query is about at once; the first error ends the others.
    async fn ask<'a, T, F>(
        &'a self,
        context: &QueryContext,
        ask: impl Fn(&'a ServerGroup) -> F,
    ) -> Result<Vec<T>, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.check_groups(&context.sources)?;
        let asked = self.groups.iter().filter(|group| group.is_chosen(context)).map(|group| ask(group));
        let answers = try_join_all(asked).await?;
        context.sources.judge()?;
        Ok(answers)
    }
}
