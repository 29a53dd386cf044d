//! L2: transport to one Prometheus-compatible server. Asks, decodes, and says precisely what went wrong; nothing here merges
//! replicas or rewrites labels.
//!
//! | file | what it does |
//! |---|---|
//! | `target.rs` | a server with both its APIs: which one is asked |
//! | `ability.rs` | what a server can do, found out and remembered |
//! | `flight.rs` | a gateway below over Arrow Flight: tables as they are computed with |
//! | `remote_read.rs` | raw samples as they are stored |
//! | `http.rs` | the calls of the HTTP API |
//! | `snapped_grid.rs` | grids for servers that move range queries to multiples of the step |
//! | `select.rs` | one selector as raw samples or as steps with the times of their samples |
//! | `http_client.rs` | connections, credentials, encodings, waits |
//! | `open_answer.rs` | an answer that is read as it arrives |
//! | `instrument.rs` | what calls cost, into metrics and statistics |
//! | `response_error.rs` | a downstream's refusal as our error |

mod ability;
mod credentials;
mod dial;
mod flight;
mod http;
mod http_client;
pub mod instrument;
mod open_answer;
pub mod prometheus_proto;
pub mod quiver_proto;
mod remote_read;
mod response_error;
mod select;
mod snapped_grid;
mod target;
mod target_url;
mod tls;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

pub use self::http::HttpDownstream;
pub use ability::Ability;
pub use http_client::HttpClient;
pub use target::TargetDownstream;
pub use target_url::TargetUrl;

use crate::error::Error;
use crate::model::{
    DurationMs, ExemplarSet, Held, Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest, SeriesStream,
    StepGrid,
};
use crate::telemetry::TargetMetrics;

/// Whether the own times of the samples behind the steps matter.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SampleTimes {
    /// They do: answers will be held against those of others, and the newer sample counts.
    Needed,
    /// They do not: a step's own time will do, and that costs no second request.
    StepTimes,
}

/// Which table a server answers a selector with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SelectedForm {
    /// Samples tables. Asked for [`SelectForm::Steps`](crate::model::SelectForm::Steps), raw samples with stale markers of
    /// `first step - lookback < t ≤ last step`: whoever asked looks back himself.
    Samples,
    /// Timed steps tables; a stale marker in a cell hides older samples that others may have. Not asked for samples.
    TimedSteps,
    /// Tables of sparse steps (see [`SparseStepsBuilder`](crate::merge::SparseStepsBuilder)).
    SparseSteps,
}

/// What one server answers to a selector.
pub struct Selected {
    /// What the tables are.
    pub form: SelectedForm,
    /// The series as they arrive, sorted by labels, each label set once. An error means that the server failed, however
    /// much came before it: a stream that ends without one is the whole answer.
    pub tables: SeriesStream,
}

impl Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selected").field("form", &self.form).finish_non_exhaustive()
    }
}

/// How a server's series are read, as far as it is known without asking it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KnownLeaf {
    /// Nobody has asked it yet: the first query finds out.
    NotYet,
    /// So.
    Reads {
        /// As in the metrics: `json`, `remote_read`, `flight`.
        leaf: &'static str,
        /// Why not in a better way; `None` where there is none.
        why: Option<String>,
    },
}

/// One server that can be asked.
#[async_trait]
pub trait Downstream: Debug + Send + Sync {
    /// Where it is.
    fn url(&self) -> &TargetUrl;

    /// What is known of it by now, without asking it; `None`: nothing yet.
    fn ability(&self) -> Option<Arc<Ability>> {
        None
    }

    /// How its series would be read now.
    fn leaf(&self) -> KnownLeaf {
        match self.ability() {
            None => KnownLeaf::NotYet,
            Some(ability) => ability.leaf(),
        }
    }

    /// Where it is counted, if anywhere.
    fn metrics(&self) -> Option<&TargetMetrics> {
        None
    }

    /// Says that no other target holds its data: a call that is late may be made twice.
    fn set_alone(&self) {}

    /// Whether it answers something that costs nothing, soon. A refusal is an answer.
    async fn probe(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The series of one selector: samples with `start < t ≤ end` for
    /// [`SelectForm::Samples`](crate::model::SelectForm::Samples), or what is at each step.
    async fn select(
        &self,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<Selected, Error>;

    /// The version of Prometheus whose PromQL it evaluates, after asking it where that is not known; `None` where it does not
    /// say.
    async fn promql_version(&self, _context: &QueryContext) -> Option<(u32, u32)> {
        None
    }

    /// The values of an instant vector on a grid: samples tables whose times are steps, in any order, a series in any number of
    /// rows. A whole answer or an error.
    async fn evaluate(
        &self,
        _expression: &str,
        _grid: StepGrid,
        _lookback: DurationMs,
        _context: &QueryContext,
    ) -> Result<Vec<(RecordBatch, Held)>, Error> {
        Err(Error::execution("this server evaluates nothing"))
    }

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

    /// Exemplars of series that any of the selectors selects, in any order. A request without selectors is about all series;
    /// it has no limit.
    async fn exemplars(&self, _request: &MetadataRequest, _context: &QueryContext) -> Result<ExemplarSet, Error> {
        Err(Error::execution("this server tells no exemplars"))
    }

    /// Metadata by metric name.
    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error>;
}
