//! SQL: cargo feature `sql`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::stream::{self, StreamExt};
use http::HeaderMap;

use super::FlightSql;
use super::table_answer::many_tables;
use crate::error::Error;
use crate::model::{QueryContext, TimestampMs};
use crate::query::{CountedTables, QueryEngine, QueryOptions, SqlStatement};
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::request::query_options;
use crate::serve::http::{Admitted, Notes, admit, within_deadline};

impl FlightSql {
    /// The columns of a statement's table. It is planned; nobody is asked.
    pub(super) async fn sql_schema(
        &self,
        _verb: &str,
        statement: &str,
        now: TimestampMs,
        headers: &HeaderMap,
    ) -> Result<SchemaRef, Error> {
        let options = query_options(self.api(), headers, None)?;
        Ok(self.plan_sql(self.api().engine(), statement, now, options).await?.schema())
    }

    /// A statement's table, as it comes. It waits for a slot as every query, and keeps it to its end.
    pub(super) async fn sql_table(
        &self,
        _verb: &str,
        statement: &str,
        now: TimestampMs,
        headers: &HeaderMap,
    ) -> Result<Answer<FlightData>, Error> {
        let options = query_options(self.api(), headers, None)?;
        let admitted = admit(self.api(), "sql", options.timeout).await?;
        admitted.begins();
        let started = match self.plan_sql(Arc::clone(&admitted.engine), statement, now, options).await {
            Ok(planned) => {
                let schema = planned.schema();
                planned.run().map(|(tables, context)| (schema, tables, context))
            }
            Err(error) => Err(error),
        };
        let (schema, tables, context) = match started {
            Ok(started) => started,
            Err(error) => {
                admitted.ends(Err(&error));
                return Err(error);
            }
        };
        let annotations = context.annotations.clone();
        let tables = counted_to_the_end(tables, admitted, context);
        // Queries of the statement have texts of their own, to which the places in their notes belong.
        Ok(many_tables(self.api(), schema, tables, move || Notes::new(&annotations.snapshot(), ""), None))
    }

    async fn plan_sql(
        &self,
        engine: Arc<QueryEngine>,
        statement: &str,
        now: TimestampMs,
        options: QueryOptions,
    ) -> Result<SqlStatement, Error> {
        let most = engine.options().timeout;
        let timeout = options.timeout.map_or(most, |asked| asked.min(most));
        let statement = statement.to_owned();
        let task = self.api().cpu().spawn(async move { engine.sql(&statement, now, &options).await });
        within_deadline(timeout, task).await
    }
}

/// Tables that end a query's time in its slot when they end, or fail.
fn counted_to_the_end(tables: CountedTables, admitted: Admitted, context: QueryContext) -> CountedTables {
    let running = stream::unfold(Some((tables, admitted, context)), |running| async move {
        let (mut tables, admitted, context) = running?;
        match tables.next().await {
            Some(Ok(table)) => Some((Ok(table), Some((tables, admitted, context)))),
            Some(Err(error)) => {
                admitted.ends(Err(&error));
                Some((Err(error), None))
            }
            None => {
                admitted.ends(Ok(context.samples_loaded()));
                None
            }
        }
    });
    running.boxed()
}
