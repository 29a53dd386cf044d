//! The methods of Flight SQL, each of a line or two: what they do stands in the other files.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionCreatePreparedSubstraitPlanRequest, ActionEndSavepointRequest, ActionEndTransactionRequest, Any,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementSubstraitPlan, CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket};
use bytes::Bytes;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::FlightSql;
use super::catalog;
use super::handle::StatementHandle;
use super::handshake::shake_hands;
use super::server_info::{SQL_INFO, XDBC_TYPES};
use super::table_answer::one_table;
use crate::error::Error;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::flight::read_only;
use crate::serve::grpc::status::status_of;

/// A stream of one table.
type Table<T> = Result<Response<<T as FlightService>::DoGetStream>, Status>;
type Info = Result<Response<FlightInfo>, Status>;

const READ_ONLY: &str = "Quiver is read-only: nothing can be written, updated or ingested through it";
const NO_TRANSACTIONS: &str = "Quiver has no transactions: turn autocommit on";
const NO_SUBSTRAIT: &str = "Quiver reads no Substrait plans: send PromQL or TQL as text";
const NO_PARAMETERS: &str = "statements have no parameters: write the values into the text";
const NO_CANCEL: &str = "a query ends when its stream is closed: close it instead of asking to cancel it";

/// Where a command's table is fetched: the ticket is the command.
fn info_of(command: &impl ProstMessageExt, schema: &Schema, request: Request<FlightDescriptor>) -> Info {
    let info = info_with_ticket(command.as_any().encode_to_vec(), schema).map_err(|error| status_of(&error))?;
    Ok(Response::new(info.with_descriptor(request.into_inner())))
}

impl FlightSql {
    async fn info_of_statement(&self, text: &str, request: Request<FlightDescriptor>) -> Info {
        let (metadata, _, descriptor) = request.into_parts();
        let info = self.statement_info(text, &metadata.into_headers()).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(info.with_descriptor(descriptor)))
    }

    async fn table_of_statement(&self, handle: StatementHandle, request: Request<Ticket>) -> Table<Self> {
        let headers = request.into_parts().0.into_headers();
        self.statement_table(handle, &headers).await.map(Response::new).map_err(|error| status_of(&error))
    }
}

/// One endpoint, at the server that was asked.
pub(super) fn info_with_ticket(ticket: impl Into<Bytes>, schema: &Schema) -> Result<FlightInfo, Error> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    Ok(FlightInfo::new().try_with_schema(schema).map_err(internal)?.with_endpoint(endpoint))
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

fn read_handle(bytes: &[u8]) -> Result<StatementHandle, Status> {
    StatementHandle::read(bytes).map_err(|error| status_of(&error))
}

fn table_of(table: Result<RecordBatch, Error>) -> Table<FlightSql> {
    let answer = table.and_then(|table| one_table(&table));
    answer.map(Response::new).map_err(|error| status_of(&error))
}

fn empty_table(schema: &SchemaRef) -> Table<FlightSql> {
    table_of(Ok(RecordBatch::new_empty(Arc::clone(schema))))
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Answer<HandshakeResponse>>, Status> {
        shake_hands(request.metadata())
    }

    // Statements.

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        if query.transaction_id.is_some() {
            return Err(Status::unimplemented(NO_TRANSACTIONS));
        }
        self.info_of_statement(&query.query, request).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let handle = read_handle(&query.prepared_statement_handle)?;
        self.info_of_statement(&handle.text, request).await
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Table<Self> {
        self.table_of_statement(read_handle(&ticket.statement_handle)?, request).await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Table<Self> {
        self.table_of_statement(read_handle(&query.prepared_statement_handle)?, request).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        if query.transaction_id.is_some() {
            return Err(Status::unimplemented(NO_TRANSACTIONS));
        }
        let headers = request.into_parts().0.into_headers();
        let info = self.statement_info(&query.query, &headers).await.map_err(|error| status_of(&error))?;
        let handle = StatementHandle { text: query.query, now: None };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.to_bytes(),
            dataset_schema: info.schema,
            // None: drivers then know that nothing is to be bound.
            parameter_schema: Bytes::new(),
        })
    }

    /// There is nothing to close: a handle is its statement.
    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    // Metadata.

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Info {
        info_of(&query, &catalog::CATALOGS_SCHEMA, request)
    }

    async fn do_get_catalogs(&self, _query: CommandGetCatalogs, _request: Request<Ticket>) -> Table<Self> {
        table_of(catalog::catalogs())
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Info {
        info_of(&query, &catalog::DB_SCHEMAS_SCHEMA, request)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, _request: Request<Ticket>) -> Table<Self> {
        table_of(catalog::db_schemas(&query))
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Info {
        let schema = catalog::tables_schema(query.include_schema);
        info_of(&query, &schema, request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Table<Self> {
        self.tables(&query, request).await
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info_of(&query, &catalog::TABLE_TYPES_SCHEMA, request)
    }

    async fn do_get_table_types(&self, _query: CommandGetTableTypes, _request: Request<Ticket>) -> Table<Self> {
        table_of(catalog::table_types())
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Info {
        info_of(&query, &SQL_INFO.schema(), request)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _request: Request<Ticket>) -> Table<Self> {
        table_of(SQL_INFO.record_batch(query.info).map_err(internal))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info_of(&query, &XDBC_TYPES.schema(), request)
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, _request: Request<Ticket>) -> Table<Self> {
        table_of(XDBC_TYPES.record_batch(query.data_type).map_err(internal))
    }

    // Metrics have no keys.

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info_of(&query, &catalog::PRIMARY_KEYS_SCHEMA, request)
    }

    async fn do_get_primary_keys(&self, _query: CommandGetPrimaryKeys, _request: Request<Ticket>) -> Table<Self> {
        empty_table(&catalog::PRIMARY_KEYS_SCHEMA)
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info_of(&query, &catalog::FOREIGN_KEYS_SCHEMA, request)
    }

    async fn do_get_exported_keys(&self, _query: CommandGetExportedKeys, _request: Request<Ticket>) -> Table<Self> {
        empty_table(&catalog::FOREIGN_KEYS_SCHEMA)
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info_of(&query, &catalog::FOREIGN_KEYS_SCHEMA, request)
    }

    async fn do_get_imported_keys(&self, _query: CommandGetImportedKeys, _request: Request<Ticket>) -> Table<Self> {
        empty_table(&catalog::FOREIGN_KEYS_SCHEMA)
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info_of(&query, &catalog::FOREIGN_KEYS_SCHEMA, request)
    }

    async fn do_get_cross_reference(&self, _query: CommandGetCrossReference, _request: Request<Ticket>) -> Table<Self> {
        empty_table(&catalog::FOREIGN_KEYS_SCHEMA)
    }

    // What Quiver does not do, said so that one knows what to do instead.

    async fn get_flight_info_substrait_plan(
        &self,
        _query: CommandStatementSubstraitPlan,
        _request: Request<FlightDescriptor>,
    ) -> Info {
        Err(Status::unimplemented(NO_SUBSTRAIT))
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        _error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(read_only("DoPut"))
    }

    async fn do_put_fallback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        _message: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(read_only("DoPut"))
    }

    async fn do_put_statement_update(
        &self,
        _ticket: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_statement_ingest(
        &self,
        _ticket: CommandStatementIngest,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_prepared_statement_query(
        &self,
        _query: CommandPreparedStatementQuery,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        Err(Status::unimplemented(NO_PARAMETERS))
    }

    async fn do_put_prepared_statement_update(
        &self,
        _query: CommandPreparedStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_substrait_plan(
        &self,
        _query: CommandStatementSubstraitPlan,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(NO_SUBSTRAIT))
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _query: ActionCreatePreparedSubstraitPlanRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Err(Status::unimplemented(NO_SUBSTRAIT))
    }

    async fn do_action_begin_transaction(
        &self,
        _query: ActionBeginTransactionRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(Status::unimplemented(NO_TRANSACTIONS))
    }

    async fn do_action_end_transaction(
        &self,
        _query: ActionEndTransactionRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Err(Status::unimplemented(NO_TRANSACTIONS))
    }

    async fn do_action_begin_savepoint(
        &self,
        _query: ActionBeginSavepointRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(Status::unimplemented(NO_TRANSACTIONS))
    }

    async fn do_action_end_savepoint(
        &self,
        _query: ActionEndSavepointRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Err(Status::unimplemented(NO_TRANSACTIONS))
    }

    async fn do_action_cancel_query(
        &self,
        _query: ActionCancelQueryRequest,
        _request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        Err(Status::unimplemented(NO_CANCEL))
    }

    /// Part of the trait; what is said of the server is fixed.
    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
