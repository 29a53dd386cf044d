//! From the text of a statement to its table.

use std::sync::{Arc, LazyLock};

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightData, FlightInfo};
use http::HeaderMap;
use prost::Message;

use super::FlightSql;
use super::handle::StatementHandle;
use super::service::info_with_ticket;
use super::statement::{Purpose, QueryStatement, Statement};
use super::table_answer::one_table;
use crate::error::Error;
use crate::model::{StepGrid, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, QueryResult, QueryTimes};
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::flight::{TableForm, Ticket as FlightTicket, Times};
use crate::serve::grpc::proto;
use crate::serve::grpc::request::query_options;
use crate::serve::http::{Evaluation, Timings, evaluate, now, within_deadline};
use crate::syntax::ValueType;

/// A row for each line of a plan.
static PLAN_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, false)])));

/// What a statement asks for.
enum Asked {
    /// What a ticket of Flight says.
    Samples(FlightTicket),
    /// The plan of a query.
    Plan(QueryStatement),
    /// SQL.
    Sql(&'static str),
}

impl FlightSql {
    /// Schema and ticket of a statement; its now is now. Nobody is asked for samples.
    pub(super) async fn statement_info(&self, text: &str, headers: &HeaderMap) -> Result<FlightInfo, Error> {
        let now = now();
        match self.ask(text, now, headers).await? {
            Asked::Samples(ticket) => {
                let schema = self.flight.schema_of(&ticket)?;
                info_with_ticket(ticket.to_proto(Some(now)).encode_to_vec(), &schema)
            }
            Asked::Plan(_) => statement_ticket(text, now, &PLAN_SCHEMA),
            Asked::Sql(verb) => {
                let schema = self.sql_schema(verb, text, now, headers).await?;
                statement_ticket(text, now, &schema)
            }
        }
    }

    /// The table of a statement.
    pub(super) async fn statement_table(
        &self,
        handle: StatementHandle,
        headers: &HeaderMap,
    ) -> Result<Answer<FlightData>, Error> {
        let now = handle.now.unwrap_or_else(now);
        match self.ask(&handle.text, now, headers).await? {
            Asked::Samples(ticket) => self.flight.answer(headers, ticket),
            Asked::Plan(statement) => {
                let plan = self.plan(statement, headers).await?;
                let lines = Arc::new(StringArray::from(plan.lines().collect::<Vec<_>>()));
                let table = RecordBatch::try_new(Arc::clone(&PLAN_SCHEMA), vec![lines]);
                one_table(&table.map_err(|error| Error::internal(error.to_string()))?)
            }
            Asked::Sql(verb) => self.sql_table(verb, &handle.text, now, headers).await,
        }
    }

    /// Reads a statement, and asks for the names of labels where it does not say them.
    async fn ask(&self, text: &str, now: TimestampMs, headers: &HeaderMap) -> Result<Asked, Error> {
        let statement = match Statement::read(text, now)? {
            Statement::Sql { verb } => return Ok(Asked::Sql(verb)),
            Statement::Query(statement) => statement,
        };
        let engine = self.api().engine();
        // A mistake is told here, where its place in the statement is known.
        let expr = statement.parse(text, &engine.options().features)?;
        let is_range = matches!(statement.times, QueryTimes::Range { .. });
        if is_range && !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
            return Err(Error::bad_data(format!(
                "a {} has no value at each step, ask for an instant vector or a scalar",
                expr.value_type().documented_name()
            )));
        }
        if statement.purpose != Purpose::Evaluate {
            return Ok(Asked::Plan(statement));
        }
        let label_columns = match expr.value_type() {
            ValueType::Vector | ValueType::Matrix => self.label_columns(headers, &expr, statement.times).await?,
            ValueType::Scalar | ValueType::String => Vec::new(),
        };
        let times = match statement.times {
            QueryTimes::Instant(time) => Times::At(time),
            QueryTimes::Range { grid, end } => Times::Range(grid, end),
        };
        let options = proto::QueryOptions {
            lookback_ms: statement.lookback.map(|lookback| lookback.0),
            ..proto::QueryOptions::default()
        };
        Ok(Asked::Samples(FlightTicket {
            form: TableForm::PerSample,
            label_columns,
            options: statement.lookback.is_some().then_some(options),
            ..FlightTicket::of_query(statement.query, times)
        }))
    }

    async fn plan(&self, statement: QueryStatement, headers: &HeaderMap) -> Result<String, Error> {
        let mut options = query_options(self.api(), headers, None)?;
        options.lookback = statement.lookback;
        let engine = self.api().engine();
        let most = engine.options().timeout;
        let timeout = options.timeout.map_or(most, |asked| asked.min(most));
        let grid = match statement.times {
            QueryTimes::Instant(time) => StepGrid::instant(time),
            QueryTimes::Range { grid, .. } => grid,
        };
        let (query, plan_options) = (statement.query.clone(), options.clone());
        let task = self.api().cpu().spawn(async move { engine.explain(&query, grid, &plan_options).await });
        let mut plan = within_deadline(timeout, task).await?.text;
        if statement.purpose == Purpose::Analyze {
            plan.push_str("\n\n");
            plan.push_str(&self.cost(statement, options).await?);
        }
        Ok(plan)
    }

    /// Evaluates a query and tells what that has cost.
    async fn cost(&self, statement: QueryStatement, options: QueryOptions) -> Result<String, Error> {
        let evaluation = Evaluation {
            kind: if matches!(statement.times, QueryTimes::Instant(_)) { "instant" } else { "range" },
            timeout: options.timeout,
            start: move |engine: Arc<QueryEngine>| async move {
                match statement.times {
                    QueryTimes::Instant(time) => engine.instant(&statement.query, time, &options).await,
                    QueryTimes::Range { grid, end } => engine.range_to(&statement.query, grid, end, &options).await,
                }
            },
        };
        evaluate(self.api(), evaluation, |result, timings| describe_cost(&result, timings)).await
    }
}

/// Where a statement's table is fetched that no ticket of Flight can ask for.
fn statement_ticket(text: &str, now: TimestampMs, schema: &Schema) -> Result<FlightInfo, Error> {
    let handle = StatementHandle { text: text.to_owned(), now: Some(now) };
    let ticket = TicketStatementQuery { statement_handle: handle.to_bytes() };
    info_with_ticket(ticket.as_any().encode_to_vec(), schema)
}

fn describe_cost(result: &QueryResult, timings: Timings) -> String {
    let mut text = format!(
        "evaluated in {:.3} ms, after {:.3} ms in the queue\n{} samples read, at most {} held at a time, {} bytes at most\n",
        timings.evaluated.as_secs_f64() * 1e3,
        timings.queued.as_secs_f64() * 1e3,
        result.samples_loaded,
        result.peak_samples,
        result.peak_bytes,
    );
    for target in &result.targets {
        text.push_str(&format!(
            "{} {}: {} {} by {}, {} requests, {:.3} ms, {} bytes, {} samples\n",
            target.group,
            target.target,
            target.call,
            target.outcome,
            target.leaf,
            target.requests,
            target.duration.as_secs_f64() * 1e3,
            target.bytes,
            target.samples,
        ));
    }
    text
}
