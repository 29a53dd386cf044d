//! The server groups as a source of series: a part is a bucket of a group, targets that add the same labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use super::{ScanRequest, SelectorForm, SeriesSource};
use crate::error::Error;
use crate::model::{
    ExemplarSet, Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest, SeriesStream, SourcePolicy,
    TimestampMs,
};
use crate::servergroup::{EvaluateRequest, Evaluated, GroupStatus, Judgement, PartLeaf, ServerGroup, ServerGroupSet};

/// Reads from server groups over the HTTP API.
#[derive(Clone, Debug)]
pub struct GroupsSource {
    set: Arc<ServerGroupSet>,
}

impl GroupsSource {
    /// A source over all groups of a set.
    pub fn new(set: Arc<ServerGroupSet>) -> Self {
        Self { set }
    }

    /// The groups.
    pub fn set(&self) -> &Arc<ServerGroupSet> {
        &self.set
    }
}

#[async_trait]
impl SeriesSource for GroupsSource {
    /// The groups' names, or places in the config, with the labels of a bucket where a group has several. Without any group
    /// there is one part that is empty.
    fn part_names(&self) -> Vec<String> {
        let names: Vec<String> = self.set.parts().map(|(group, bucket)| group.bucket_name(bucket)).collect();
        if names.is_empty() { vec!["no server groups".to_owned()] } else { names }
    }

    fn fixed_labels(&self) -> Vec<Labels> {
        let sets: Vec<Labels> = self.set.parts().map(|(group, bucket)| group.fixed_labels(bucket)).collect();
        if sets.is_empty() { vec![Labels::default()] } else { sets }
    }

    /// The groups' time ranges together. An end that moves with the time is left open.
    fn covered_times(&self, now: TimestampMs) -> (TimestampMs, TimestampMs) {
        let spans = self.set.groups().iter().map(|group| group.covered_times(now));
        let whole = (TimestampMs(i64::MIN), TimestampMs(i64::MAX));
        spans.reduce(|all, own| (all.0.min(own.0), all.1.max(own.1))).unwrap_or(whole)
    }

    /// Raw samples come with what is known of them, the query API knows nothing of start timestamps. A server that was not
    /// asked yet counts as one of those.
    fn tells_start_times(&self) -> bool {
        self.set.groups().iter().all(|group| group.tells_start_times())
    }

    /// JSON carries no stale markers, but a server's own step evaluation knows of them.
    fn selector_form(&self) -> SelectorForm {
        SelectorForm::Steps
    }

    fn check_groups(&self, sources: &SourcePolicy) -> Result<(), Error> {
        self.set.check_groups(sources)
    }

    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        let open = |(part, (group, bucket)): (usize, (&Arc<ServerGroup>, usize))| {
            if scan.wants(part) && group.is_chosen(context) {
                group.open(bucket, &scan.select, scan.sample_times, context)
            } else {
                stream::empty().boxed()
            }
        };
        let unknown = self.set.check_groups(&context.sources).err().map(|error| stream::iter([Err(error)]).boxed());
        let streams: Vec<SeriesStream> = self.set.parts().enumerate().map(open).collect();
        match unknown {
            Some(unknown) if streams.is_empty() => vec![unknown],
            Some(unknown) => {
                std::iter::once(unknown).chain(streams.into_iter().skip(1).map(|_| stream::empty().boxed())).collect()
            }
            None if streams.is_empty() => vec![stream::empty().boxed()],
            None => streams,
        }
    }

    fn group_status(&self) -> Vec<GroupStatus> {
        self.set.groups().iter().map(|group| group.status()).collect()
    }

    fn leaves(&self, request: &SelectRequest, context: &QueryContext) -> Vec<PartLeaf> {
        self.set.parts().map(|(group, bucket)| group.leaf(bucket, request, context)).collect()
    }

    fn evaluates(&self) -> bool {
        !self.set.groups().is_empty()
    }

    fn judge(&self, request: &EvaluateRequest, context: &QueryContext) -> Vec<Judgement> {
        self.set.judge(request, context)
    }

    async fn evaluate(
        &self,
        part: usize,
        request: &EvaluateRequest,
        context: &QueryContext,
    ) -> Result<Evaluated, Error> {
        self.set.evaluate(part, request, context).await
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        self.set.label_names(request, context).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.set.label_values(name, request, context).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.set.series(request, context).await
    }

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        self.set.exemplars(request, context).await
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.set.metric_metadata(metric, context).await
    }
}
