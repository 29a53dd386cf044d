//! One server group.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use futures::stream::{self, StreamExt};

use super::added_labels::AddedLabels;
use super::coverage::{Covered, TimeRanges};
use super::covered_downstream::CoveredDownstream;
use super::fanout::{FailurePolicy, FanOut, GroupName};
use super::replica_streams::ReplicaScan;
use crate::config::ServerGroupConfig;
use crate::downstream::{Downstream, HttpClient, SampleTimes, TargetDownstream, TargetUrl};
use crate::error::Error;
use crate::merge::{MergePolicy, TableForm, sort_replica, unite_label_sets, unite_metadata, unite_names};
use crate::model::{
    Annotation, AnnotationSink, Held, Labels, MetadataRequest, MetricMetadata, QueryContext, SelectForm, SelectRequest,
    SeriesStream, TimestampMs, held_tables,
};

/// What Prometheus warns of when there was more than the limit of a request.
const TRUNCATED: &str = "results truncated due to limit";

/// A server and the labels that it adds to its series.
#[derive(Clone, Debug)]
pub struct GroupTarget {
    /// The target's own labels; the group's go over them.
    pub labels: Labels,
    /// How to ask it.
    pub downstream: Arc<dyn Downstream>,
}

/// Targets that hold the same data, and how they are asked and merged. Targets that add different labels hold different
/// data: they are different buckets, and each bucket must answer.
#[derive(Debug)]
pub struct ServerGroup {
    name: GroupName,
    buckets: Vec<Bucket>,
    merge_policy: MergePolicy,
    failure_policy: FailurePolicy,
    timeout: Option<Duration>,
    ranges: Option<TimeRanges>,
}

/// Replicas of each other.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) added: AddedLabels,
    replicas: Vec<Arc<dyn Downstream>>,
    /// Whether someone else may hold the same series, so that it matters whose sample is newer.
    sample_times: SampleTimes,
}

impl ServerGroup {
    /// A group as the config describes it; `ordinal` is its place there. Fails on a target, certificate or header that can
    /// never work, with a text that begins with the group's name.
    pub fn try_new(ordinal: usize, config: &ServerGroupConfig) -> Result<Self, Error> {
        let in_group = |error: Error| error.in_context(GroupName { ordinal, name: config.name.clone() });
        let client = Arc::new(HttpClient::try_new(config).map_err(in_group)?);
        let mut targets = Vec::new();
        for discovered in config.static_targets() {
            let target = config.target(&discovered).map_err(|text| in_group(Error::bad_data(text)))?;
            let Some(target) = target else { continue };
            let url = TargetUrl::try_new(target.scheme, &target.address, &target.path_prefix).map_err(in_group)?;
            let (remote_read, path) = (config.remote_read, &config.remote_read_path);
            let downstream = Arc::new(TargetDownstream::new(Arc::clone(&client), url, remote_read, path));
            targets.push(GroupTarget { labels: target.labels, downstream });
        }
        Ok(Self::with_targets(ordinal, config, targets))
    }

    /// A group of the given targets; of `config`, what concerns addresses and connections is not looked at.
    pub fn with_targets(ordinal: usize, config: &ServerGroupConfig, targets: Vec<GroupTarget>) -> Self {
        let mut buckets: Vec<Bucket> = Vec::new();
        let ranges = TimeRanges::of(config);
        for mut target in targets {
            if let Some(ranges) = &ranges {
                target.downstream = Arc::new(CoveredDownstream::new(target.downstream, ranges.clone()));
            }
            let added = AddedLabels::new(&target.labels, &config.labels);
            match buckets.iter_mut().find(|bucket| bucket.added == added) {
                Some(bucket) => bucket.replicas.push(target.downstream),
                None => {
                    let replicas = vec![target.downstream];
                    buckets.push(Bucket { added, replicas, sample_times: SampleTimes::Needed });
                }
            }
        }
        // promxy lets ignore_error win where both are set.
        let failure_policy = match (config.ignore_error, config.downgrade_error) {
            (true, _) => FailurePolicy::Ignore,
            (false, true) => FailurePolicy::Warn,
            (false, false) => FailurePolicy::Fail,
        };
        Self {
            name: GroupName { ordinal, name: config.name.clone() },
            buckets,
            merge_policy: MergePolicy {
                anti_affinity_ms: config.anti_affinity.0,
                dynamic: config.anti_affinity_dynamic,
                prefer_max: config.prefer_max,
            },
            failure_policy,
            timeout: config.timeout,
            ranges,
        }
    }

    /// How much the group has of the samples with `after < t ≤ until`, by its time ranges.
    pub fn covered(&self, after: TimestampMs, until: TimestampMs, context: &QueryContext) -> Covered {
        self.ranges.as_ref().map_or(Covered::Whole, |ranges| ranges.at(context.now).samples(after, until))
    }

    /// Its name, or its place in the config where it has none.
    pub fn name(&self) -> String {
        self.name.name.clone().unwrap_or_else(|| self.name.ordinal.to_string())
    }

    /// Its targets with the labels that they add to series.
    pub fn targets(&self) -> impl Iterator<Item = (&Labels, &TargetUrl)> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.replicas.iter().map(|replica| (bucket.added.labels(), replica.url())))
    }

    /// Is every target known to hand out raw samples?
    pub fn reads_raw(&self) -> bool {
        let mut replicas = self.buckets.iter().flat_map(|bucket| &bucket.replicas);
        replicas.all(|replica| replica.ability().is_some_and(|ability| ability.reads_raw()))
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Says of one bucket whether `is_distinct`: no other bucket anywhere may hold its series.
    pub(super) fn set_distinct(&mut self, bucket: usize, is_distinct: bool) {
        let bucket = &mut self.buckets[bucket];
        let alone = is_distinct && bucket.replicas.len() == 1;
        bucket.sample_times = if alone { SampleTimes::StepTimes } else { SampleTimes::Needed };
    }

    /// Begins to ask one bucket for the series of one selector, and returns at once; a bucket whose labels cannot match is not
    /// asked. `sample_times` says what the reader needs; where replicas or other groups may hold the same series, they are
    /// asked for in any case. The stream has samples tables or timed steps tables, sorted by labels, each label set once.
    pub fn open(
        &self,
        bucket: usize,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> SeriesStream {
        let Some(bucket) = self.buckets.get(bucket) else {
            context.annotations.add(Annotation::warning(format!("{} has no targets", self.name)));
            return stream::empty().boxed();
        };
        let matchers = match bucket.added.route(&request.matchers) {
            Ok(Some(matchers)) => matchers,
            Ok(None) => return stream::empty().boxed(),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let scan = ReplicaScan {
            group: self.name.clone(),
            replicas: bucket.replicas.clone(),
            timeout: self.timeout,
            failure_policy: self.failure_policy,
            merge_policy: self.merge_policy,
            request: Arc::new(SelectRequest { matchers, form: request.form.clone() }),
            sample_times: match bucket.sample_times {
                SampleTimes::Needed => SampleTimes::Needed,
                SampleTimes::StepTimes => sample_times,
            },
            context: context.clone(),
        };
        let merged = scan.start();
        if bucket.added.labels().is_empty() {
            return merged;
        }
        let form = match request.form {
            SelectForm::Samples { .. } => TableForm::Samples,
            SelectForm::Steps { grid, .. } => TableForm::TimedSteps { step_count: grid.step_count() },
        };
        let labelled = with_added_labels(merged, bucket.added.clone(), form, context.clone());
        stream::once(labelled)
            .flat_map(|tables| match tables {
                Ok(tables) => held_tables(tables).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    /// How many buckets there are; each holds other data.
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// What a bucket is called in plans: the group's name, and where it has several buckets, the labels that it adds.
    pub fn bucket_name(&self, bucket: usize) -> String {
        match self.buckets.get(bucket) {
            Some(bucket) if self.buckets.len() > 1 => format!("{}{}", self.name(), bucket.added.labels()),
            _ => self.name(),
        }
    }

    /// Label names, sorted, unique; with the added ones where there is any series.
    pub async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            let Some(request) = bucket.added.route_metadata(request)?.map(Arc::new) else { return Ok(Vec::new()) };
            let answers = self.ask_bucket(bucket, context, move |replica, context| {
                let request = Arc::clone(&request);
                async move { replica.label_names(&request, &context).await }
            });
            let mut names = unite_names(answers.await?);
            if !names.is_empty() {
                names.extend(bucket.added.labels().iter().map(|(name, _)| name.to_owned()));
            }
            Ok(names)
        });
        Ok(unite_names(self.all(context, asked).await?))
    }

    /// Values of one label, sorted, unique. Of an added label it is the added value where there is any series: stored values
    /// of that name never show.
    pub async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            let Some(mut request) = bucket.added.route_metadata(request)? else { return Ok(Vec::new()) };
            let added_value = bucket.added.labels().get(name);
            let mut own_context = context.clone();
            if added_value.is_some() {
                request.limit = Some(1);
                own_context.annotations = AnnotationSink::default();
            }
            // Whether there is any series shows in the values of a label that all have.
            let asked_name: Arc<str> = Arc::from(if added_value.is_some() { "__name__" } else { name });
            let request = Arc::new(request);
            let answers = self.ask_bucket(bucket, &own_context, move |replica, context| {
                let (request, asked_name) = (Arc::clone(&request), Arc::clone(&asked_name));
                async move { replica.label_values(&asked_name, &request, &context).await }
            });
            let answers = answers.await;
            if added_value.is_some() {
                // That there was more than the one value that we asked for concerns nobody.
                let others = own_context.annotations.snapshot().into_iter().filter(|noted| noted.text != TRUNCATED);
                others.for_each(|noted| context.annotations.add(noted));
            }
            let values = unite_names(answers?);
            Ok(match added_value {
                Some(added) if !values.is_empty() => vec![added.to_owned()],
                _ => values,
            })
        });
        Ok(unite_names(self.all(context, asked).await?))
    }

    /// Label sets, sorted, unique, with the added labels.
    pub async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            let Some(request) = bucket.added.route_metadata(request)?.map(Arc::new) else { return Ok(Vec::new()) };
            let answers = self.ask_bucket(bucket, context, move |replica, context| {
                let request = Arc::clone(&request);
                async move { replica.series(&request, &context).await }
            });
            let sets = unite_label_sets(answers.await?);
            Ok(sets.iter().map(|labels| bucket.added.add_to_labels(labels)).collect())
        });
        Ok(unite_label_sets(self.all(context, asked).await?))
    }

    /// Metadata by metric name. Labels play no part in it.
    pub async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        let metric: Option<Arc<str>> = metric.map(Arc::from);
        let asked = self.buckets.iter().map(|bucket| {
            let metric = metric.clone();
            async move {
                let answers = self.ask_bucket(bucket, context, move |replica, context| {
                    let metric = metric.clone();
                    async move { replica.metric_metadata(metric.as_deref(), &context).await }
                });
                Ok(unite_metadata(answers.await?))
            }
        });
        Ok(unite_metadata(self.all(context, asked).await?))
    }

    async fn ask_bucket<T, F>(
        &self,
        bucket: &Bucket,
        context: &QueryContext,
        ask: impl Fn(Arc<dyn Downstream>, QueryContext) -> F + Send + Sync,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let fan_out = FanOut {
            group: &self.name,
            replicas: &bucket.replicas,
            timeout: self.timeout,
            policy: self.failure_policy,
            context,
        };
        let ask = |replica| -> BoxFuture<'static, Result<T, Error>> { ask(replica, context.clone()).boxed() };
        fan_out.ask(&ask).await
    }

    /// All buckets at once; the first error ends the others.
    async fn all<T>(
        &self,
        context: &QueryContext,
        asked: impl Iterator<Item = impl Future<Output = Result<T, Error>>>,
    ) -> Result<Vec<T>, Error> {
        if self.buckets.is_empty() {
            context.annotations.add(Annotation::warning(format!("{} has no targets", self.name)));
        }
        try_join_all(asked).await
    }
}

/// All tables with the labels on them, sorted again.
async fn with_added_labels(
    mut merged: SeriesStream,
    added: AddedLabels,
    form: TableForm,
    context: QueryContext,
) -> Result<Vec<(RecordBatch, Held)>, Error> {
    let mut batches = Vec::new();
    let mut held = Vec::new();
    while let Some(table) = merged.next().await {
        let table = added.add_to_table(table?)?;
        held.push(context.hold_table(&table)?);
        batches.push(table);
    }
    let sorted = sort_replica(form, batches)?;
    drop(held);
    sorted.into_iter().map(|table| Ok((table.clone(), context.hold_table(&table)?))).collect()
}
