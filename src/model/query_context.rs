//! What accompanies one query on its way: its annotations, its deadline, its budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::AnnotationSink;
use crate::error::{Error, ErrorKind};

/// Shared by everything that works for one query. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueryContext {
    /// Warnings and infos gathered on the way.
    pub annotations: AnnotationSink,
    /// When the query must be over.
    pub deadline: Option<Instant>,
    /// Headers of the client's request that are passed on to the downstreams (`--proxy-headers`).
    pub proxied_headers: Arc<[(String, String)]>,
    samples: Arc<AtomicU64>,
    samples_max: u64,
}

impl QueryContext {
    /// A context with a budget of `samples_max` samples.
    pub fn new(deadline: Option<Instant>, samples_max: u64) -> Self {
        Self {
            annotations: AnnotationSink::default(),
            deadline,
            proxied_headers: Arc::from([]),
            samples: Arc::default(),
            samples_max,
        }
    }

    /// Counts samples as they are decoded; an error once the query has loaded more than it may.
    pub fn count_samples(&self, count: usize) -> Result<(), Error> {
        let count = count as u64;
        let loaded = self.samples.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        if loaded > self.samples_max {
            return Err(Error::new(
                ErrorKind::TooManySamples,
                "query processing would load too many samples into memory in query execution",
            ));
        }
        Ok(())
    }

    /// How many samples were counted so far.
    pub fn samples_loaded(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }
}

impl Default for QueryContext {
    /// No deadline, Prometheus' default budget of 50 million samples.
    fn default() -> Self {
        Self::new(None, 50_000_000)
    }
}
