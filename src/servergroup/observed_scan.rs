//! Scans that leave behind what they have shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use futures::stream::{self, StreamExt};

use super::scan_statistics::{FinishedScan, ScanStatistics};
use crate::error::Error;
use crate::model::{SelectForm, SelectRequest, Selector, SeriesStream, TableSize};

/// What scans of a bucket have shown, by form: raw samples are more than cells, and go another pace.
#[derive(Clone, Debug, Default)]
pub(super) struct BucketStatistics {
    pub(super) samples: Arc<ScanStatistics>,
    pub(super) steps: Arc<ScanStatistics>,
}

struct Observed {
    tables: SeriesStream,
    statistics: Arc<ScanStatistics>,
    selector: String,
    scan: FinishedScan,
    began: Instant,
}

impl BucketStatistics {
    /// The same stream; when it has ended properly, what it was is remembered.
    pub(super) fn observe(&self, tables: SeriesStream, request: &SelectRequest) -> SeriesStream {
        let (statistics, span) = match &request.form {
            SelectForm::Samples { start, end } => (&self.samples, *end - *start),
            SelectForm::Steps { grid, lookback } => (&self.steps, grid.last() - (grid.start() - *lookback)),
        };
        let span = Duration::from_millis(u64::try_from(span.0).unwrap_or(0));
        let observed = Observed {
            tables,
            statistics: Arc::clone(statistics),
            selector: Selector { matchers: request.matchers.clone() }.to_string(),
            scan: FinishedScan { series: 0, samples: 0, span, took: Duration::ZERO },
            began: Instant::now(),
        };
        stream::unfold(Some(observed), |observed| async move {
            let mut observed = observed?;
            match observed.tables.next().await {
                None => {
                    observed.scan.took = observed.began.elapsed();
                    observed.statistics.learn(&observed.selector, &observed.scan);
                    None
                }
                Some(table) => {
                    observed.count(&table);
                    Some((table, Some(observed)))
                }
            }
        })
        .boxed()
    }
}

impl Observed {
    fn count(&mut self, table: &Result<RecordBatch, Error>) {
        match table {
            Ok(table) => {
                self.scan.series += table.num_rows() as u64;
                self.scan.samples += TableSize::of(table).samples as u64;
            }
            // A scan that failed says nothing.
            Err(_) => self.scan.span = Duration::ZERO,
        }
    }
}
