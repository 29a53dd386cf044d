//! L2: transport to one Prometheus-compatible server. Asks, decodes, and says precisely what went wrong; nothing here merges
//! replicas or rewrites labels.
//!
//! | file | what it does |
//! |---|---|
//! | `http.rs` | the calls of the HTTP API |
//! | `select.rs` | one selector as raw samples or as steps with the times of their samples |
//! | `http_client.rs` | connections, credentials, encodings, waits |
//! | `response_error.rs` | a downstream's refusal as our error |
//!
//! Remote read and Arrow Flight will stand beside `http.rs` as further [`Downstream`]s.

mod credentials;
mod dial;
mod http;
mod http_client;
pub mod prometheus_proto;
mod response_error;
mod select;
mod target_url;
mod tls;

use std::collections::BTreeMap;
use std::fmt::Debug;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

pub use self::http::HttpDownstream;
pub use http_client::HttpClient;
pub use target_url::TargetUrl;

use crate::error::Error;
use crate::model::{Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest};

/// Whether the own times of the samples behind the steps matter.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SampleTimes {
    /// They do: answers will be held against those of others, and the newer sample counts.
    Needed,
    /// They do not: a step's own time will do, and that costs no second request.
    StepTimes,
}

/// One server that can be asked.
#[async_trait]
pub trait Downstream: Debug + Send + Sync {
    /// Where it is.
    fn url(&self) -> &TargetUrl;

    /// The series of one selector, in any order, a series in any number of rows: samples tables with `start < t ≤ end` for
    /// [`SelectForm::Samples`](crate::model::SelectForm::Samples); tables of sparse steps (see
    /// [`SparseStepsBuilder`](crate::merge::SparseStepsBuilder)) for [`SelectForm::Steps`](crate::model::SelectForm::Steps).
    /// A whole answer or an error, never a part.
    async fn select(
        &self,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<Vec<RecordBatch>, Error>;

    /// Label names, in any order.
    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error>;

    /// Values of one label, in any order.
    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error>;

    /// Label sets, in any order.
    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error>;

    /// Metadata by metric name.
    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error>;
}
