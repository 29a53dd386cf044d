//! One server group.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, try_join_all};
use futures::stream::{self, StreamExt};

use super::coverage::{Covered, TimeRanges, TimeSpan};
use super::covered_downstream::CoveredDownstream;
use super::fanout::{FailurePolicy, FanOut, GroupName};
use super::label_filter::LabelFilter;
use super::observed_scan::BucketStatistics;
use super::replica::Replica;
use super::replica_health::CallClass;
use super::replica_streams::ReplicaScan;
use super::rewrite::{AskedValues, Rewrites, RoutedMetadata};
use super::rewritten_stream::Rewriting;
use crate::config::ServerGroupConfig;
use crate::downstream::instrument::TargetInstrument;
use crate::downstream::{Downstream, HttpClient, SampleTimes, TargetDownstream, TargetUrl};
use crate::error::{Error, ErrorKind};
use crate::merge::{MergePolicy, TableForm, unite_exemplars, unite_label_sets, unite_metadata, unite_names};
use crate::model::{
    Annotation, AnnotationKind, AnnotationSink, EvaluationMode, ExemplarSet, GatewayId, Labels, METRIC_NAME,
    MetadataRequest, MetricMetadata, PartialResponse, QueryContext, SelectForm, SelectRequest, SeriesStream,
    TimestampMs,
};
use crate::telemetry::TargetRegistry;

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

/// Targets that hold the same data, and how they are asked and merged. Targets whose series get different labels hold
/// different data: they are different buckets, and each bucket must answer.
#[derive(Clone, Debug)]
pub struct ServerGroup {
    name: GroupName,
    buckets: Vec<Bucket>,
    merge_policy: MergePolicy,
    failure_policy: FailurePolicy,
    timeout: Option<Duration>,
    ranges: Option<TimeRanges>,
    /// Its own, over the program's.
    pub(super) mode: Option<EvaluationMode>,
    is_disjoint: bool,
    /// Do its servers move range queries to multiples of the step?
    pub(super) snaps_range_queries: bool,
}

/// Replicas of each other.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) rewrites: Rewrites,
    /// Of each replica, what it adds to its series before any rule.
    added: Vec<Labels>,
    pub(super) replicas: Vec<Arc<Replica>>,
    /// What scans of it have shown.
    pub(super) statistics: BucketStatistics,
    /// Whether someone else may hold the same series, so that it matters whose sample is newer.
    sample_times: SampleTimes,
    /// What the replicas together cannot have.
    filter: Option<Arc<LabelFilter>>,
    /// Has it happened that stored labels were overwritten so that the order of series broke?
    breaks_order: Arc<AtomicBool>,
}

impl Bucket {
    /// Its replicas, each with what it adds to its series before any rule.
    pub(super) fn labelled_replicas(&self) -> impl Iterator<Item = (&Labels, &Arc<Replica>)> {
        self.added.iter().zip(&self.replicas)
    }

    /// A question about series as it is put to the replicas; `None`: nobody has to be asked. `kind` is what such a question
    /// is counted as.
    fn route_metadata(&self, request: &MetadataRequest, kind: &'static str) -> Result<Option<RoutedMetadata>, Error> {
        let Some(filter) = &self.filter else { return self.rewrites.route_metadata(request) };
        match filter.metadata(request, kind)? {
            Some(request) => self.rewrites.route_metadata(&request),
            None => Ok(None),
        }
    }
}

impl ServerGroup {
    /// A group as the config describes it; `ordinal` is its place there. Fails on a target, certificate or header that can
    /// never work, with a text that begins with the group's name.
    pub fn try_new(
        ordinal: usize,
        config: &ServerGroupConfig,
        registry: &TargetRegistry,
        gateway: &GatewayId,
    ) -> Result<Self, Error> {
        let in_group = |error: Error| error.in_context(GroupName { ordinal, name: config.name.clone() });
        let client = Arc::new(HttpClient::try_new(config).map_err(in_group)?.of_gateway(gateway));
        let name = config.name.clone().unwrap_or_else(|| ordinal.to_string());
        let mut targets = Vec::new();
        for discovered in config.static_targets() {
            let target = config.target(&discovered).map_err(|text| in_group(Error::bad_data(text)))?;
            let Some(target) = target else { continue };
            let url = TargetUrl::try_new(target.scheme, &target.address, &target.path_prefix).map_err(in_group)?;
            let (remote_read, path) = (config.remote_read, &config.remote_read_path);
            let instrument = TargetInstrument::new(registry, ordinal, &name, &url);
            let downstream = TargetDownstream::new(Arc::clone(&client), url, remote_read, path);
            let downstream = Arc::new(downstream.with_flight(config.flight.clone()).measured(instrument));
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
            let added = Rewrites::added_labels(&target.labels, config);
            let rewrites = Rewrites::new(&added, config);
            match buckets.iter_mut().find(|bucket| bucket.rewrites.is_same(&rewrites)) {
                Some(bucket) => {
                    bucket.added.push(added);
                    bucket.replicas.push(Replica::new(target.downstream));
                }
                None => buckets.push(Bucket {
                    rewrites,
                    added: vec![added],
                    replicas: vec![Replica::new(target.downstream)],
                    statistics: BucketStatistics::default(),
                    sample_times: SampleTimes::Needed,
                    filter: config.label_filter.clone().map(|config| Arc::new(LabelFilter::new(config))),
                    breaks_order: Arc::default(),
                }),
            }
        }
        for bucket in buckets.iter().filter(|bucket| bucket.replicas.len() == 1) {
            bucket.replicas[0].downstream().set_alone();
        }
        // promxy lets ignore_error win where both are set.
        let failure_policy = match (config.ignore_error, config.downgrade_error) {
            (true, _) => FailurePolicy::Ignore,
            (false, true) => FailurePolicy::Warn,
            (false, false) => FailurePolicy::Fail,
        };
        Self {
            name: GroupName { ordinal, name: config.name.clone() },
            snaps_range_queries: config.align_query_range_with_step,
            buckets,
            merge_policy: MergePolicy {
                anti_affinity_ms: config.anti_affinity.0,
                dynamic: config.anti_affinity_dynamic,
                prefer_max: config.prefer_max,
            },
            failure_policy,
            timeout: config.timeout,
            ranges,
            mode: config.mode,
            is_disjoint: config.disjoint,
        }
    }

    /// How much the group has of the samples with `after < t ≤ until`, by its time ranges.
    pub fn covered(&self, after: TimestampMs, until: TimestampMs, context: &QueryContext) -> Covered {
        self.ranges.as_ref().map_or(Covered::Whole, |ranges| ranges.at(context.now).samples(after, until))
    }

    /// Before the one time and after the other the group has no sample, now and as time goes on, by its time ranges.
    pub fn covered_times(&self, now: TimestampMs) -> (TimestampMs, TimestampMs) {
        let span = self.ranges.as_ref().map_or(TimeSpan::ALL, |ranges| ranges.from(now));
        (span.start, span.end)
    }

    /// Does the config say that no other group holds any series of this one?
    pub fn is_disjoint(&self) -> bool {
        self.is_disjoint
    }

    /// Can a bucket have anything to say to this selector, as far as its time ranges and its label filter tell? If not, its
    /// answer is empty, and nobody is asked.
    pub fn may_have(&self, bucket: usize, request: &SelectRequest, context: &QueryContext) -> Result<bool, Error> {
        let covered = self.ranges.as_ref().map(|ranges| ranges.at(context.now).select(&request.form));
        let Some(filter) = self.label_filter(bucket) else {
            return Ok(covered.is_none_or(|covered| covered.is_some()));
        };
        if matches!(covered, Some(None)) {
            return Ok(false);
        }
        let (after, kind) = match request.form {
            SelectForm::Samples { start, .. } => (start, "GetValue"),
            SelectForm::Steps { grid, lookback } => {
                (grid.start() - lookback, if grid.step_count() == 1 { "Query" } else { "QueryRange" })
            }
        };
        filter.allows(&request.matchers, Some(after), kind)
    }

    /// The filter of a bucket, if it has one.
    pub(super) fn label_filter(&self, bucket: usize) -> Option<&Arc<LabelFilter>> {
        self.buckets.get(bucket)?.filter.as_ref()
    }

    /// The values of a label of a bucket's series, past its filter and whatever the group's failure policy is: those of all of
    /// its replicas, or an error. The context must be of this question alone.
    pub(super) async fn whole_label_values(
        &self,
        bucket: usize,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let buckets = self.buckets.get(bucket).map(|bucket| Bucket { filter: None, ..bucket.clone() });
        let bucket_alone =
            Self { buckets: buckets.into_iter().collect(), failure_policy: FailurePolicy::Fail, ..self.clone() };
        let values = bucket_alone.label_values(name, request, context).await?;
        match context.annotations.snapshot().into_iter().find(|noted| noted.kind == AnnotationKind::Warning) {
            Some(warning) => Err(Error::execution(warning.text)),
            None => Ok(values),
        }
    }

    /// Its name, or its place in the config where it has none.
    pub fn name(&self) -> String {
        self.name.name.clone().unwrap_or_else(|| self.name.ordinal.to_string())
    }

    /// Its place in the config.
    pub(super) fn ordinal(&self) -> usize {
        self.name.ordinal
    }

    /// Is it one of those that the query is about?
    pub fn is_chosen(&self, context: &QueryContext) -> bool {
        context.sources.chooses_all() || context.sources.chooses(&self.name())
    }

    /// Its targets with the labels that they add to series.
    pub fn targets(&self) -> impl Iterator<Item = (&Labels, &TargetUrl)> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.added.iter().zip(bucket.replicas.iter().map(|replica| replica.url())))
    }

    /// Is every target known to hand out start timestamps with raw samples?
    pub fn tells_start_times(&self) -> bool {
        let mut replicas = self.buckets.iter().flat_map(|bucket| &bucket.replicas);
        replicas.all(|replica| replica.downstream().ability().is_some_and(|ability| ability.tells_start_times()))
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
        bucket_index: usize,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> SeriesStream {
        let Some(bucket) = self.buckets.get(bucket_index) else {
            return match self.say_that_it_has_no_targets(context) {
                Ok(()) => stream::empty().boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            };
        };
        match self.may_have(bucket_index, request, context) {
            Ok(true) => {}
            Ok(false) => return stream::empty().boxed(),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        }
        let route = match bucket.rewrites.route(&request.matchers) {
            Ok(Some(route)) => route,
            Ok(None) => return stream::empty().boxed(),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let matchers = route.matchers.clone();
        let form = match request.form {
            SelectForm::Samples { .. } => TableForm::Samples,
            SelectForm::Steps { grid, .. } => TableForm::TimedSteps { step_count: grid.step_count() },
        };
        let rewriting = Rewriting {
            group: self.name.clone(),
            rewrites: bucket.rewrites.clone(),
            route,
            form,
            policy: self.merge_policy,
            breaks_order: Arc::clone(&bucket.breaks_order),
            context: context.clone(),
        };
        let scan = ReplicaScan {
            group: self.name.clone(),
            replicas: bucket.replicas.clone(),
            timeout: self.timeout,
            failure_policy: self.failure_policy_in(context),
            merge_policy: self.merge_policy,
            request: Arc::new(SelectRequest { matchers, form: request.form.clone() }),
            sample_times: match bucket.sample_times {
                SampleTimes::StepTimes if !rewriting.may_merge() => sample_times,
                _ => SampleTimes::Needed,
            },
            context: context.clone(),
        };
        bucket.statistics.observe(rewriting.apply(scan.start()), request)
    }

    /// How many buckets there are; each holds other data.
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// What a bucket is called in plans: the group's name, and where it has several buckets, the labels that all its series
    /// have.
    pub fn bucket_name(&self, bucket: usize) -> String {
        match self.buckets.get(bucket) {
            Some(bucket) if self.buckets.len() > 1 => format!("{}{}", self.name(), bucket.rewrites.fixed_labels()),
            _ => self.name(),
        }
    }

    /// The labels that all series of a bucket have, with one value each.
    pub fn fixed_labels(&self, bucket: usize) -> Labels {
        self.buckets.get(bucket).map_or_else(Labels::default, |bucket| bucket.rewrites.fixed_labels())
    }

    /// Label names of the answer's series, sorted, unique.
    pub async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            let Some(routed) = bucket.route_metadata(request, "LabelNames")? else { return Ok(Vec::new()) };
            if routed.is_wider {
                let sets = self.series_of(bucket, routed, context).await?;
                return Ok(unite_names(sets.iter().map(|set| set.iter().map(|(name, _)| name.to_owned()).collect())));
            }
            let request = Arc::new(routed.request);
            let answers = self.ask_bucket(bucket, context, move |replica, context| {
                let request = Arc::clone(&request);
                async move { replica.label_names(&request, &context).await }
            });
            Ok(bucket.rewrites.rewrite_names(unite_names(answers.await?)))
        });
        Ok(unite_names(self.all(context, asked).await?))
    }

    /// Values of one label of the answer's series, sorted, unique. Of an added label it is the added value where there is any
    /// series: stored values of that name never show.
    pub async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            let Some(routed) = bucket.route_metadata(request, "LabelValues")? else { return Ok(Vec::new()) };
            let asked_values = bucket.rewrites.route_values(name);
            if routed.is_wider && asked_values != AskedValues::None {
                let sets = self.series_of(bucket, routed, context).await?;
                return Ok(sets.iter().filter_map(|set| set.get(name).map(str::to_owned)).collect());
            }
            match asked_values {
                AskedValues::None => Ok(Vec::new()),
                AskedValues::Fixed(value) => {
                    let is_there = self.has_series(bucket, routed.request, context).await?;
                    Ok(is_there.then_some(value).into_iter().collect())
                }
                AskedValues::Of(stored) => {
                    let values = self.stored_values(bucket, &stored, routed.request, context).await?;
                    Ok(values.into_iter().map(|value| bucket.rewrites.rewrite_value(name, value)).collect())
                }
            }
        });
        Ok(unite_names(self.all(context, asked).await?))
    }

    async fn stored_values(
        &self,
        bucket: &Bucket,
        name: &str,
        request: MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let (request, name) = (Arc::new(request), Arc::<str>::from(name));
        let answers = self.ask_bucket(bucket, context, move |replica, context| {
            let (request, name) = (Arc::clone(&request), Arc::clone(&name));
            async move { replica.label_values(&name, &request, &context).await }
        });
        Ok(unite_names(answers.await?))
    }

    /// Is there any series? That shows in the values of a label that all have.
    async fn has_series(
        &self,
        bucket: &Bucket,
        request: MetadataRequest,
        context: &QueryContext,
    ) -> Result<bool, Error> {
        let mut own_context = context.clone();
        own_context.annotations = AnnotationSink::default();
        let request = MetadataRequest { limit: Some(1), ..request };
        let values = self.stored_values(bucket, METRIC_NAME, request, &own_context).await;
        // That there was more than the one value that we asked for concerns nobody.
        let others = own_context.annotations.snapshot().into_iter().filter(|noted| noted.text != TRUNCATED);
        others.for_each(|noted| context.annotations.add(noted));
        Ok(!values?.is_empty())
    }

    /// Label sets of the answer's series, sorted, unique.
    pub async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            match bucket.route_metadata(request, "Series")? {
                Some(routed) => self.series_of(bucket, routed, context).await,
                None => Ok(Vec::new()),
            }
        });
        Ok(unite_label_sets(self.all(context, asked).await?))
    }

    /// Label sets of the answer, in any order.
    async fn series_of(
        &self,
        bucket: &Bucket,
        routed: RoutedMetadata,
        context: &QueryContext,
    ) -> Result<Vec<Labels>, Error> {
        let request = Arc::new(routed.request);
        let answers = self.ask_bucket(bucket, context, move |replica, context| {
            let request = Arc::clone(&request);
            async move { replica.series(&request, &context).await }
        });
        let stored = unite_label_sets(answers.await?);
        let mut sets: Vec<Labels> = stored.iter().map(|labels| bucket.rewrites.rewrite_labels(labels)).collect();
        if let Some(selectors) = routed.recheck {
            sets.retain(|set| {
                let encoded = set.encode();
                selectors.iter().any(|matchers| matchers.match_labels(encoded.as_ref()))
            });
        }
        Ok(sets)
    }

    /// Exemplars of the answer's series: series by labels, each once, exemplars of a series by time, each once.
    pub async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        let asked = self.buckets.iter().map(|bucket| async move {
            match bucket.route_metadata(request, "QueryExemplars")? {
                Some(routed) => self.exemplars_of(bucket, routed, context).await,
                None => Ok(ExemplarSet::default()),
            }
        });
        Ok(unite_exemplars(self.all(context, asked).await?))
    }

    /// Those of one bucket, in any order.
    async fn exemplars_of(
        &self,
        bucket: &Bucket,
        routed: RoutedMetadata,
        context: &QueryContext,
    ) -> Result<ExemplarSet, Error> {
        let request = Arc::new(routed.request);
        let answers = self.ask_bucket(bucket, context, move |replica, context| {
            let request = Arc::clone(&request);
            async move { replica.exemplars(&request, &context).await }
        });
        let mut united = unite_exemplars(answers.await?);
        for one in &mut united.series {
            one.series = bucket.rewrites.rewrite_labels(&one.series);
        }
        if let Some(selectors) = routed.recheck {
            united.series.retain(|one| {
                let encoded = one.series.encode();
                selectors.iter().any(|matchers| matchers.match_labels(encoded.as_ref()))
            });
        }
        Ok(united)
    }

    /// Metadata by metric name. Labels play no part in it: neither do `inject_matchers`.
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

    pub(super) async fn ask_bucket<T, F>(
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
            class: CallClass::Metadata,
            timeout: self.timeout,
            policy: self.failure_policy_in(context),
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
            self.say_that_it_has_no_targets(context)?;
        }
        try_join_all(asked).await
    }

    /// Its own policy, or what the query wants.
    fn failure_policy_in(&self, context: &QueryContext) -> FailurePolicy {
        self.failure_policy.in_query(context.sources.partial_response)
    }

    /// A warning; an error where the answer must be whole.
    fn say_that_it_has_no_targets(&self, context: &QueryContext) -> Result<(), Error> {
        let text = format!("{} has no targets", self.name);
        if context.sources.partial_response == PartialResponse::Refuse {
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        context.annotations.add(Annotation::warning(text));
        Ok(())
    }
}
