//! GetTables: the metric names of all servers.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::{FlightData, Ticket};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::HeaderMap;
use tonic::{Request, Response, Status};

use super::FlightSql;
use super::catalog::{AskedNames, TABLES_MAX, asked_names, tables, tables_schema, too_many_tables};
use super::table_answer::many_tables;
use crate::error::Error;
use crate::model::{METRIC_NAME, MetadataRequest, QueryContext};
use crate::query::QueryOptions;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::flight::{TableForm, Ticket as FlightTicket, Times, schema_bytes};
use crate::serve::grpc::request::query_options;
use crate::serve::grpc::status::status_of;
use crate::serve::http::{Notes, within_deadline};

impl FlightSql {
    pub(super) async fn tables(
        &self,
        asked: &CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<Answer<FlightData>>, Status> {
        let headers = request.into_parts().0.into_headers();
        let listed = self.metric_names(asked, &headers).await.map_err(|error| status_of(&error))?;
        let schema = tables_schema(asked.include_schema);
        let table_schema = match asked.include_schema {
            true => Some(self.table_schema(&listed.names, &headers).await.map_err(|error| status_of(&error))?),
            false => None,
        };
        let Listed { names, notes, context } = listed;
        let bytes = names.iter().map(|name| name.len() + size_of::<String>()).sum();
        let held = context.hold(0, bytes).map_err(|error| status_of(&error))?;
        let tables = tables(names, table_schema).map(move |table| {
            let table = table?;
            let held = context.hold_table(&table)?;
            Ok((table, held))
        });
        Ok(Response::new(many_tables(self.api(), schema, stream::iter(tables).boxed(), move || notes, Some(held))))
    }

    /// The schema of metrics: that of their samples. The labels of one metric are asked for; of many that would be as many
    /// requests, and they have the columns that all have.
    async fn table_schema(&self, names: &[String], headers: &HeaderMap) -> Result<Bytes, Error> {
        let label_columns = match names {
            [name] => self.label_columns_of_metric(headers, name).await?,
            _ => Vec::new(),
        };
        let form = TableForm::PerSample;
        let ticket = FlightTicket { form, label_columns, ..FlightTicket::of_query("up", Times::Now) };
        // What the schema says beside its columns is of a query.
        schema_bytes(&Schema::new(self.flight.schema_of(&ticket)?.fields))
    }

    async fn metric_names(&self, asked: &CommandGetTables, headers: &HeaderMap) -> Result<Listed, Error> {
        let matchers = match asked_names(asked)? {
            AskedNames::None => {
                let context = self.api().engine().context(&QueryOptions::default());
                return Ok(Listed { names: Vec::new(), notes: Notes::default(), context });
            }
            AskedNames::All => Vec::new(),
            AskedNames::Matching(matcher) => vec![vec![matcher]],
        };
        // One more shows whether there is more.
        let request = MetadataRequest { selectors: matchers, start: None, end: None, limit: Some(TABLES_MAX + 1) };
        let engine = self.api().engine();
        let options = query_options(self.api(), headers, None)?;
        let most = engine.options().timeout;
        let timeout = options.timeout.map_or(most, |asked| asked.min(most));
        let context = engine.context(&options);
        let (source, asking) = (Arc::clone(engine.source()), context.clone());
        let task = self.api().cpu().spawn(async move { source.label_values(METRIC_NAME, &request, &asking).await });
        let names = within_deadline(timeout, task).await?;
        if names.len() > TABLES_MAX {
            return Err(too_many_tables());
        }
        let notes = Notes::new(&context.annotations.snapshot(), "");
        Ok(Listed { names, notes, context })
    }
}

/// Names, and what was noted while they were gathered.
#[derive(Debug)]
struct Listed {
    names: Vec<String>,
    notes: Notes,
    context: QueryContext,
}
