//! The newest sample of each series as another collector scrapes it: the answer of `/federate`.
//!
//! | file | what it does |
//! |---|---|
//! | `format.rs` | the formats and their content types |
//! | `name_escaping.rs` | names for readers that know only the old alphabet |
//! | `metric.rs` | what is told of one series |
//! | `text.rs` | Prometheus' text format and OpenMetrics |
//! | `protobuf.rs` | delimited messages `io.prometheus.client.MetricFamily` |
//!
//! Source: Prometheus v3.14 web/federate.go; prometheus/common v0.70 expfmt. OpenMetrics is ours: Prometheus' `/federate` has
//! never spoken it.

mod format;
mod metric;
mod name_escaping;
mod protobuf;
mod text;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

pub use format::{ExpositionFormat, ExpositionKind};
pub use name_escaping::NameEscaping;

use crate::error::Error;
use crate::model::Labels;
use metric::{FamilyType, Metric};

/// A chunk is cut behind the metric that makes it as large as this.
const CHUNK_BYTES: usize = 256 * 1024;

/// Added with an empty value where neither series nor gateway have it, so that the collector does not put its own there.
const INSTANCE: &str = "instance";

/// An exposition that is written chunk by chunk. Ends behind the first error.
#[derive(Debug)]
pub struct FederatedChunks {
    format: ExpositionFormat,
    /// What is added to series that do not have it, by name.
    external_labels: Vec<(String, String)>,
    tables: Vec<RecordBatch>,
    rows: Vec<(u32, u32)>,
    next: usize,
    /// The metric family that is being written.
    family: Option<(String, FamilyType)>,
    is_over: bool,
}

impl FederatedChunks {
    /// Writes `rows`, each a table and a row of it, in their order. Tables are timed steps tables of one step. Rows of one
    /// metric name must stand together, and every row has a name.
    ///
    /// `external_labels` are added to series that do not have them.
    pub fn new(
        format: ExpositionFormat,
        external_labels: &Labels,
        tables: Vec<RecordBatch>,
        rows: Vec<(u32, u32)>,
    ) -> Self {
        let instance = external_labels.get(INSTANCE).is_none().then_some((INSTANCE, ""));
        let added = external_labels.iter().chain(instance);
        let mut external_labels: Vec<_> = added.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        external_labels.sort_unstable();
        Self { format, external_labels, tables, rows, next: 0, family: None, is_over: false }
    }

    fn chunk(&mut self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        while out.len() < CHUNK_BYTES && self.next < self.rows.len() {
            if let Some(metric) = self.metric(self.next)? {
                let is_begun = self.family.as_ref().is_some_and(|family| metric.is_of(family));
                let begun = if is_begun { None } else { Some(self.begin_family(&metric, &mut out)?) };
                match self.format.kind {
                    ExpositionKind::Protobuf => protobuf::write_metric(&metric, self.format.escaping, &mut out),
                    ExpositionKind::Text => text::write_metric(&metric, self.format.escaping, &text::CLASSIC, &mut out),
                    ExpositionKind::OpenMetrics | ExpositionKind::OpenMetricsDraft => {
                        text::write_metric(&metric, self.format.escaping, &text::OPEN_METRICS, &mut out);
                    }
                }
                if begun.is_some() {
                    self.family = begun;
                }
            }
            self.next += 1;
        }
        if self.next == self.rows.len() {
            self.is_over = true;
            if self.format.kind.is_open_metrics() {
                out.extend_from_slice(text::OPEN_METRICS_END);
            }
        }
        Ok(out)
    }

    /// What is told of a row; `None` where the format has no words for it.
    fn metric(&self, row: usize) -> Result<Option<Metric<'_>>, Error> {
        let (table, row) = self.rows[row];
        let lost = || Error::internal("a federated series is in no table");
        let table = self.tables.get(table as usize).ok_or_else(lost)?;
        let metric = Metric::of_row(table, row as usize, &self.external_labels)?;
        let is_told = self.format.kind == ExpositionKind::Protobuf || !metric.has_exponential_buckets();
        Ok(is_told.then_some(metric))
    }

    fn begin_family(&self, first: &Metric<'_>, out: &mut Vec<u8>) -> Result<(String, FamilyType), Error> {
        let family = first.family();
        let name = self.format.escaping.escape(&family.0);
        match self.format.kind {
            ExpositionKind::Protobuf => {
                protobuf::write_family_head(&name, family.1, self.protobuf_metrics_length(&family)?, out);
            }
            ExpositionKind::Text => text::write_family_head(&name, family.1, &text::CLASSIC, out),
            ExpositionKind::OpenMetrics | ExpositionKind::OpenMetricsDraft => {
                text::write_family_head(&name, family.1, &text::OPEN_METRICS, out);
            }
        }
        Ok(family)
    }

    /// How long all metrics of a family are that begins at the next row: a message says its length first, and a family may be
    /// too large to be kept until it is known. So they are written twice.
    fn protobuf_metrics_length(&self, family: &(String, FamilyType)) -> Result<usize, Error> {
        let (mut length, mut scratch) = (0, Vec::new());
        for row in self.next..self.rows.len() {
            match self.metric(row)? {
                Some(metric) if metric.is_of(family) => {
                    scratch.clear();
                    protobuf::write_metric(&metric, self.format.escaping, &mut scratch);
                    length += scratch.len();
                }
                _ => break,
            }
        }
        Ok(length)
    }
}

impl Iterator for FederatedChunks {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.is_over {
            return None;
        }
        match self.chunk() {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => Some(Ok(chunk.into())),
            Err(error) => {
                self.is_over = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
