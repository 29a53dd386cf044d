//! A PromQL query as a table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::sample_rows::{SAMPLE_SCHEMA, sample_rows};
use super::{SqlRun, through};
use crate::error::Error;
use crate::query::engine::{QueryOptions, QueryTimes};
use crate::query::stream::QueryStream;
use crate::syntax::{ValueType, parse};

/// The samples of a query, which is evaluated each time they are read.
#[derive(Clone, Debug)]
pub(super) struct QueryRows {
    run: SqlRun,
    query: String,
    times: QueryTimes,
    options: QueryOptions,
}

impl QueryRows {
    /// Reads the query; `options` are those of the statement but for what the caller changed.
    pub(super) fn try_new(
        run: &SqlRun,
        query: String,
        times: QueryTimes,
        options: QueryOptions,
    ) -> std::result::Result<Self, Error> {
        let expr = parse(&query, &run.engine.options().features)
            .map_err(|error| Error::bad_data(format!("promql({query:?}): {}", error.render(&query))))?;
        let is_range = matches!(times, QueryTimes::Range { .. });
        let has_samples = match expr.value_type() {
            ValueType::Vector | ValueType::Scalar => true,
            ValueType::Matrix => !is_range,
            ValueType::String => false,
        };
        if !has_samples {
            let found = expr.value_type().documented_name();
            let wanted = if is_range { "an instant vector or a scalar" } else { "a vector or a scalar" };
            return Err(Error::bad_data(format!("promql({query:?}): a {found} has no samples here, ask for {wanted}")));
        }
        Ok(Self { run: run.clone(), query, times, options })
    }

    /// As DataFusion reads it.
    pub(super) fn into_table(self) -> Result<StreamingTable> {
        StreamingTable::try_new(Arc::clone(&SAMPLE_SCHEMA), vec![Arc::new(self)])
    }
}

impl PartitionStream for QueryRows {
    fn schema(&self) -> &SchemaRef {
        &SAMPLE_SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let Self { run, query, times, options } = self.clone();
        let rows = async move {
            let begun = run.engine.stream_in(&query, times, &options, run.context.clone()).await;
            let QueryStream { value, tables, .. } = begun.map_err(through)?;
            Ok::<_, DataFusionError>(tables.map_err(through).and_then(move |(table, held)| {
                // The guard counts the series until their last sample is taken.
                let rows = sample_rows(&value, &table).map(|rows| {
                    stream::iter(rows).map(move |piece| {
                        let _counted = &held;
                        piece.map_err(through)
                    })
                });
                futures::future::ready(rows.map_err(through))
            }))
        };
        let rows = stream::once(rows).try_flatten().try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SAMPLE_SCHEMA), rows))
    }
}
