//! Series on their way.

use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;

use crate::error::Error;

/// Batches of one table, sorted by labels, each label set once.
pub type SeriesStream = BoxStream<'static, Result<RecordBatch, Error>>;
