//! What the engine needs of whoever holds the series: the server groups, or a store in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::downstream::SampleTimes;
use crate::error::Error;
use crate::model::{
    ExemplarSet, Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest, SeriesStream, SourcePolicy,
    TimestampMs,
};
use crate::servergroup::{EvaluateRequest, Evaluated, GroupStatus, Judgement, PartLeaf};

/// In which form a source answers a plain selector exactly.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum SelectorForm {
    /// As raw samples with stale markers: the engine aligns them to the steps itself.
    Samples,
    /// As timed steps: whoever holds the samples has looked back already.
    Steps,
}

/// One leaf of a plan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// What is asked for.
    pub select: SelectRequest,
    /// What the reader needs of the samples' own times beyond telling parts apart. Where he needs none, and nobody else can
    /// hold the same series, a source may save itself a request and leave the times at the steps' own.
    pub sample_times: SampleTimes,
    /// Which parts are asked, one flag a part; `None`: all.
    pub parts: Option<Arc<[bool]>>,
}

impl ScanRequest {
    /// Asks all parts.
    pub fn of_all(select: SelectRequest, sample_times: SampleTimes) -> Self {
        Self { select, sample_times, parts: None }
    }

    /// Is a part asked?
    pub fn wants(&self, part: usize) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.get(part).copied().unwrap_or(false))
    }
}

/// Holders of series. A part is a unit that is fetched on its own (a server group) and becomes a partition of the scan;
/// the same label set in two parts is the same series.
#[async_trait]
pub trait SeriesSource: Debug + Send + Sync {
    /// Names of the parts, for EXPLAIN; at least one.
    fn part_names(&self) -> Vec<String>;

    /// Labels that all series of a part have, with one value each: a set for each part, empty where none is known.
    fn fixed_labels(&self) -> Vec<Labels> {
        self.part_names().iter().map(|_| Labels::default()).collect()
    }

    /// Before the one time and after the other there is no sample, now and as time goes on.
    fn covered_times(&self, _now: TimestampMs) -> (TimestampMs, TimestampMs) {
        (TimestampMs(i64::MIN), TimestampMs(i64::MAX))
    }

    /// How plain selectors are to be asked for.
    fn selector_form(&self) -> SelectorForm;

    /// Do its samples come with their start timestamps, as far as these are known at all?
    fn tells_start_times(&self) -> bool {
        true
    }

    /// Does it have the server groups that a query chooses? A query asks this before it is planned.
    fn check_groups(&self, sources: &SourcePolicy) -> Result<(), Error> {
        sources.check_groups(&[])
    }

    /// Begins to fetch one selector from all wanted parts at once, and returns at once: a stream for each part, in their order;
    /// failures come as items. Parts that are not wanted give nothing. Dropping a stream ends its requests.
    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream>;

    /// What is known of the server groups and their targets, without asking anybody; none where it has no groups.
    fn group_status(&self) -> Vec<GroupStatus> {
        Vec::new()
    }

    /// How each part would be read for a selector, without asking anybody; none where parts are no servers.
    fn leaves(&self, _request: &SelectRequest, _context: &QueryContext) -> Vec<PartLeaf> {
        Vec::new()
    }

    /// Can any part evaluate expressions? If not, plans do not think of it.
    fn evaluates(&self) -> bool {
        false
    }

    /// Which parts should be asked to evaluate, as far as is known without asking anybody? A judgement for each part.
    fn judge(&self, _request: &EvaluateRequest, _context: &QueryContext) -> Vec<Judgement> {
        self.part_names().iter().map(|_| Judgement::exact("it cannot evaluate")).collect()
    }

    /// Asks a part to evaluate an expression for its own series. An error ends the query; what the part cannot or must not
    /// answer is [`Evaluated::NeedsExact`].
    async fn evaluate(
        &self,
        _part: usize,
        _request: &EvaluateRequest,
        _context: &QueryContext,
    ) -> Result<Evaluated, Error> {
        Ok(Evaluated::needs_exact("it cannot evaluate"))
    }

    /// Label names over all parts, sorted, unique.
    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error>;

    /// Values of one label over all parts, sorted, unique.
    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error>;

    /// Label sets over all parts, sorted, unique.
    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error>;

    /// Exemplars of series that any of the selectors selects, over all parts: series by labels, each once, exemplars of a
    /// series by time, each once. A request without selectors is about all series; it has no limit.
    async fn exemplars(&self, _request: &MetadataRequest, _context: &QueryContext) -> Result<ExemplarSet, Error> {
        Err(Error::execution("this source tells no exemplars"))
    }

    /// Metadata by metric name over all parts, each list sorted, without duplicates. `metric` restricts it to one name.
    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error>;
}
