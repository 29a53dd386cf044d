//! What the engine needs of whoever holds the series: the server groups, or a store in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Error;
use crate::model::{Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest};

/// Batches of one table, sorted by labels, each label set once.
pub type SeriesStream = BoxStream<'static, Result<RecordBatch, Error>>;

/// In which form a source answers a plain selector exactly.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum SelectorForm {
    /// As raw samples with stale markers: the engine aligns them to the steps itself.
    Samples,
    /// As timed steps: whoever holds the samples has looked back already.
    Steps,
}

/// Holders of series. A part is a unit that is fetched on its own (a server group) and becomes a partition of the scan;
/// the same label set in two parts is the same series.
#[async_trait]
pub trait SeriesSource: Debug + Send + Sync {
    /// Names of the parts, for EXPLAIN; at least one.
    fn part_names(&self) -> Vec<String>;

    /// How plain selectors are to be asked for.
    fn selector_form(&self) -> SelectorForm;

    /// Do its samples come with their start timestamps, as far as these are known at all?
    fn tells_start_times(&self) -> bool {
        true
    }

    /// Starts fetching one selector from one part.
    async fn select(&self, part: usize, request: &SelectRequest, context: &QueryContext)
    -> Result<SeriesStream, Error>;

    /// As [`SeriesSource::select`], for a reader who will not look at the times of samples but to unite parts. Where nobody
    /// else can hold the same series, a source may save itself a request and leave the times at the steps' own.
    async fn select_for_values(
        &self,
        part: usize,
        request: &SelectRequest,
        context: &QueryContext,
    ) -> Result<SeriesStream, Error> {
        self.select(part, request, context).await
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

    /// Metadata by metric name over all parts, each list sorted, without duplicates. `metric` restricts it to one name.
    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error>;
}
