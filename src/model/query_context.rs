//! What accompanies one query on its way: its annotations, its deadline, its budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::record_batch::RecordBatch;

use super::{
    AnnotationSink, Held, PartEvaluations, ProcessBudget, QueryBudget, QueryLimits, SourcePolicy, StreamOrder,
    TableSize, TargetReports, TimestampMs,
};
use crate::error::Error;

/// Shared by everything that works for one query. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueryContext {
    /// Warnings and infos gathered on the way.
    pub annotations: AnnotationSink,
    /// When the question was put: what ranges of time that are relative to now are relative to, everywhere in the query.
    pub now: TimestampMs,
    /// When the query must be over.
    pub deadline: Option<Instant>,
    /// Headers of the client's request that are passed on to the downstreams (`--proxy-headers`).
    pub proxied_headers: Arc<[(String, String)]>,
    /// Which server groups are asked, and what becomes of those that do not answer.
    pub sources: SourcePolicy,
    /// What its requests cost.
    pub targets: TargetReports,
    /// Whether streams may be taken to be sorted.
    pub stream_order: StreamOrder,
    samples_loaded: Arc<AtomicU64>,
    budget: Arc<QueryBudget>,
    /// Who evaluated what.
    pub part_evaluations: PartEvaluations,
}

impl QueryContext {
    /// A context of its own, which may hold `samples_max` samples at a time, and any number of bytes.
    pub fn new(deadline: Option<Instant>, samples_max: u64) -> Self {
        Self::with_limits(deadline, QueryLimits { samples_max, bytes_max: 0 }, &Arc::default())
    }

    /// A context with limits of its own and the memory of a process.
    pub fn with_limits(deadline: Option<Instant>, limits: QueryLimits, process: &Arc<ProcessBudget>) -> Self {
        Self {
            annotations: AnnotationSink::default(),
            now: TimestampMs::now(),
            deadline,
            proxied_headers: Arc::from([]),
            sources: SourcePolicy::default(),
            targets: TargetReports::default(),
            stream_order: StreamOrder::default(),
            samples_loaded: Arc::default(),
            budget: Arc::new(QueryBudget::new(limits, Arc::clone(process))),
            part_evaluations: PartEvaluations::default(),
        }
    }

    /// Counts what is about to be in memory, until the guard is dropped: keep the guard beside it. An error where the query
    /// would hold more samples or bytes at a time than it may, or all queries together more bytes.
    pub fn hold(&self, samples: usize, bytes: usize) -> Result<Held, Error> {
        let mut held = Held::none(&self.budget);
        held.grow(samples, bytes)?;
        Ok(held)
    }

    /// [`QueryContext::hold`] for a table as it is.
    pub fn hold_table(&self, table: &RecordBatch) -> Result<Held, Error> {
        let TableSize { samples, bytes } = TableSize::of(table);
        self.hold(samples, bytes)
    }

    /// What the query may hold, and holds.
    pub fn budget(&self) -> &Arc<QueryBudget> {
        &self.budget
    }

    /// Counts samples that came from the source. A statistic: what a query may hold is [`QueryContext::hold`]'s concern.
    pub fn count_samples(&self, count: usize) {
        self.samples_loaded.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many samples were read from the source so far.
    pub fn samples_loaded(&self) -> u64 {
        self.samples_loaded.load(Ordering::Relaxed)
    }

    /// The most samples that were held at a time so far.
    pub fn peak_samples(&self) -> u64 {
        self.budget.samples_peak()
    }

    /// The most bytes that were held at a time so far.
    pub fn peak_bytes(&self) -> u64 {
        self.budget.bytes_peak()
    }
}

impl Default for QueryContext {
    /// No deadline, Prometheus' default of 50 million samples at a time, any number of bytes.
    fn default() -> Self {
        Self::new(None, 50_000_000)
    }
}
