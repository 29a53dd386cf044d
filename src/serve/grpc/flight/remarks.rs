//! What is said beside the tables, as JSON in the metadata of the first and of the last message.

use bytes::Bytes;
use serde::Serialize;

use super::tables::{grid_of, kind_of};
use super::ticket::{Compression, Question, TableForm, Ticket};
use crate::error::Error;
use crate::model::{PartialResponse, QueryContext, SelectForm, Selector, StepGrid, TargetReport};
use crate::query::{QueryOptions, StreamedValue};
use crate::serve::http::Notes;

/// With the schema: what has been understood, and what is to come.
#[derive(Serialize)]
struct Header<'a> {
    /// The version of Quiver.
    quiver: &'static str,
    /// `scalar`, `string`, `vector`, `matrix`, `samples`; of a leaf `samples` or `steps`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<Grid>,
    ticket: TicketEcho<'a>,
}

#[derive(Serialize)]
struct Grid {
    start_ms: i64,
    step_ms: i64,
    step_count: usize,
}

#[derive(Serialize)]
struct TicketEcho<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<Leaf>,
    form: &'static str,
    compression: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_response: Option<bool>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookback_ms: Option<i64>,
}

#[derive(Serialize)]
struct Leaf {
    selector: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookback_ms: Option<i64>,
}

impl From<StepGrid> for Grid {
    fn from(grid: StepGrid) -> Self {
        Self { start_ms: grid.start().0, step_ms: grid.step().0, step_count: grid.step_count() }
    }
}

/// The metadata of the first message.
pub(super) fn header(ticket: &Ticket, options: &QueryOptions, value: &StreamedValue) -> Result<Bytes, Error> {
    let (query, leaf) = match &ticket.question {
        Question::Query { text, .. } => (Some(text.as_str()), None),
        Question::Leaf { select, .. } => {
            let (after_ms, until_ms, lookback_ms) = match &select.form {
                SelectForm::Samples { start, end } => (Some(start.0), Some(end.0), None),
                SelectForm::Steps { lookback, .. } => (None, None, Some(lookback.0)),
            };
            let selector = Selector { matchers: select.matchers.clone() }.to_string();
            (None, Some(Leaf { selector, after_ms, until_ms, lookback_ms }))
        }
    };
    let form = match ticket.form {
        TableForm::PerSeries => "series",
        TableForm::PerSample => "samples",
        TableForm::Native => "native",
    };
    let compression = match ticket.compression {
        Compression::None => "none",
        Compression::Lz4Frame => "lz4",
        Compression::Zstd => "zstd",
    };
    let asked = ticket.options.as_ref();
    json(&Header {
        quiver: env!("CARGO_PKG_VERSION"),
        kind: kind_of(value),
        grid: grid_of(value).map(Grid::from),
        ticket: TicketEcho {
            query,
            leaf,
            form,
            compression,
            mode: options.mode.map(|mode| mode.as_str()),
            partial_response: match options.partial_response {
                PartialResponse::ByGroup => None,
                PartialResponse::Refuse => Some(false),
                PartialResponse::Allow => Some(true),
            },
            groups: options.groups.as_deref().unwrap_or_default(),
            timeout_ms: asked.and_then(|options| options.timeout_ms),
            lookback_ms: asked.and_then(|options| options.lookback_ms),
        },
    })
}

/// With the last table: how it went.
#[derive(Serialize)]
struct Trailer<'a> {
    warnings: Vec<String>,
    infos: Vec<String>,
    stats: Stats,
    targets: Vec<Target<'a>>,
}

/// What an answer cost.
#[derive(Serialize, Copy, Clone, Debug, Default)]
pub(super) struct Stats {
    /// Raw samples that were read.
    pub(super) samples_loaded: u64,
    /// Series of the answer.
    pub(super) series_returned: u64,
    /// The most samples, and bytes, that were held at a time.
    pub(super) peak_samples: u64,
    pub(super) peak_bytes: u64,
    /// Until the query got a slot and a thread.
    pub(super) queued_seconds: f64,
    /// From then to the last table.
    pub(super) evaluated_seconds: f64,
}

/// Requests to one target that were alike; times are those of the slowest.
#[derive(Serialize)]
struct Target<'a> {
    group: &'a str,
    target: &'a str,
    call: &'static str,
    leaf: &'static str,
    outcome: &'static str,
    requests: u64,
    first_byte_seconds: Option<f64>,
    seconds: f64,
    bytes: u64,
    samples: u64,
    series: u64,
}

impl<'a> From<&'a TargetReport> for Target<'a> {
    fn from(report: &'a TargetReport) -> Self {
        Self {
            group: &report.group,
            target: &report.target,
            call: report.call,
            leaf: report.leaf,
            outcome: report.outcome,
            requests: report.requests,
            first_byte_seconds: report.time_to_first_byte.map(|time| time.as_secs_f64()),
            seconds: report.duration.as_secs_f64(),
            bytes: report.bytes,
            samples: report.samples,
            series: report.series,
        }
    }
}

/// The metadata of the last message.
pub(super) fn trailer(ticket: &Ticket, context: &QueryContext, stats: Stats) -> Result<Bytes, Error> {
    let query = match &ticket.question {
        Question::Query { text, .. } => text,
        Question::Leaf { .. } => "",
    };
    let Notes { warnings, infos } = Notes::new(&context.annotations.snapshot(), query);
    let targets = context.targets.snapshot();
    json(&Trailer { warnings, infos, stats, targets: targets.iter().map(Target::from).collect() })
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let text = serde_json::to_vec(value);
    text.map(Bytes::from).map_err(|error| Error::internal(format!("cannot print metadata: {error}")))
}
