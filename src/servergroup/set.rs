//! All server groups of a config.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;

use super::ServerGroup;
use super::rewrite::Rewrites;
use crate::config::PromxyConfig;
use crate::error::Error;
use crate::merge::{unite_label_sets, unite_metadata, unite_names};
use crate::model::{Labels, MetadataRequest, MetricMetadata, QueryContext};
use crate::telemetry::TargetRegistry;

/// The groups, in the order of the config. A reload makes a new set.
#[derive(Debug, Default)]
pub struct ServerGroupSet {
    groups: Vec<Arc<ServerGroup>>,
}

impl ServerGroupSet {
    /// The groups that the config describes. Opens no connection.
    pub fn try_new(config: &PromxyConfig) -> Result<Self, Error> {
        Self::try_new_counted(config, &TargetRegistry::default())
    }

    /// The groups that the config describes, whose targets are counted in `registry`.
    pub fn try_new_counted(config: &PromxyConfig, registry: &TargetRegistry) -> Result<Self, Error> {
        let groups = config.server_groups.iter().enumerate();
        let groups = groups.map(|(ordinal, group)| ServerGroup::try_new(ordinal, group, registry));
        Ok(Self::from_groups(groups.collect::<Result<_, _>>()?))
    }

    /// A set of the given groups.
    pub fn from_groups(mut groups: Vec<ServerGroup>) -> Self {
        let all: Vec<Vec<Rewrites>> =
            groups.iter().map(|group| group.buckets().iter().map(|bucket| bucket.rewrites.clone()).collect()).collect();
        for (at, group) in groups.iter_mut().enumerate() {
            for (bucket, rewrites) in all[at].iter().enumerate() {
                let is_self = |group: usize, other: usize| (group, other) == (at, bucket);
                let is_distinct = all.iter().enumerate().all(|(group, buckets)| {
                    let mut others = buckets.iter().enumerate().filter(|(other, _)| !is_self(group, *other));
                    others.all(|(_, other)| rewrites.is_distinct_from(other))
                });
                group.set_distinct(bucket, is_distinct);
            }
        }
        Self { groups: groups.into_iter().map(Arc::new).collect() }
    }

    /// The buckets of all groups as (group, bucket); a group without targets stands there as its bucket 0.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<ServerGroup>, usize)> {
        self.groups.iter().flat_map(|group| (0..group.bucket_count().max(1)).map(move |bucket| (group, bucket)))
    }

    /// The groups.
    pub fn groups(&self) -> &[Arc<ServerGroup>] {
        &self.groups
    }

    /// Label names over all groups, sorted, unique.
    pub async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        Ok(unite_names(try_join_all(self.groups.iter().map(|group| group.label_names(request, context))).await?))
    }

    /// Values of one label over all groups, sorted, unique.
    pub async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let asked = self.groups.iter().map(|group| group.label_values(name, request, context));
        Ok(unite_names(try_join_all(asked).await?))
    }

    /// Label sets over all groups, sorted, unique.
    pub async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        Ok(unite_label_sets(try_join_all(self.groups.iter().map(|group| group.series(request, context))).await?))
    }

    /// Metadata by metric name over all groups.
    pub async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        Ok(unite_metadata(try_join_all(self.groups.iter().map(|group| group.metric_metadata(metric, context))).await?))
    }
}
