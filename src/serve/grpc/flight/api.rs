//! What Flight answers, call by call, for whoever speaks the protocol: the plain service here, and Flight SQL on top of it.

use arrow::datatypes::Schema;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeResponse, IpcMessage, SchemaAsIpc, SchemaResult,
};
use bytes::Bytes;
use http::HeaderMap;
use prost::Message;

use super::answer::answer;
use super::messages::write_options;
use super::tables::{Tables, Wanted};
use super::ticket::{Compression, Question, Ticket, Times};
use crate::error::Error;
use crate::model::{METRIC_NAME, Matcher, SelectForm, Selector, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, StreamedValue};
use crate::scan::SelectorForm;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::request::{query_options, selector};
use crate::serve::http::{ApiState, now};
use crate::syntax::{ValueType, parse};

/// The calls of Flight over the state of the HTTP API. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::serve::grpc) struct FlightApi {
    api: ApiState,
}

impl FlightApi {
    pub(in crate::serve::grpc) fn new(api: ApiState) -> Self {
        Self { api }
    }

    /// The state behind it.
    pub(in crate::serve::grpc) fn api(&self) -> &ApiState {
        &self.api
    }

    /// Nobody has to say who he is yet; whoever does is let in. This is where a later version answers with a token.
    pub(in crate::serve::grpc) fn handshake(&self) -> HandshakeResponse {
        HandshakeResponse::default()
    }

    /// The tables that a ticket asks for, in either spelling. Dropping the stream ends the query.
    ///
    /// # Errors
    /// What is wrong with the ticket; what goes wrong later is an item of the stream.
    pub(in crate::serve::grpc) fn do_get(
        &self,
        headers: &HeaderMap,
        ticket: &[u8],
    ) -> Result<Answer<FlightData>, Error> {
        self.answer(headers, Ticket::read(ticket)?)
    }

    /// [`FlightApi::do_get`] for a ticket that has been read.
    pub(in crate::serve::grpc) fn answer(
        &self,
        headers: &HeaderMap,
        ticket: Ticket,
    ) -> Result<Answer<FlightData>, Error> {
        let options = self.options(headers, &ticket)?;
        Ok(answer(&self.api, ticket, options))
    }

    /// Schema and ticket of what a descriptor names: a command is a ticket in either spelling, a path is the name of a metric or a
    /// selector. Nobody is asked for data.
    pub(in crate::serve::grpc) fn flight_info(
        &self,
        headers: &HeaderMap,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Error> {
        let ticket = ticket_of(&descriptor)?;
        // Whom it would ask has to be right, too.
        self.options(headers, &ticket)?;
        let schema = self.schema_of(&ticket)?;
        let ticket = ticket.to_proto(Some(now())).encode_to_vec();
        Ok(flight_info(schema_bytes(&schema)?, descriptor, ticket, Bytes::new()))
    }

    /// The schema of [`FlightApi::flight_info`].
    pub(in crate::serve::grpc) fn schema(&self, descriptor: &FlightDescriptor) -> Result<SchemaResult, Error> {
        let schema = self.schema_of(&ticket_of(descriptor)?)?;
        Ok(SchemaResult { schema: schema_bytes(&schema)? })
    }

    /// The schema of the tables that a ticket asks for.
    pub(in crate::serve::grpc) fn schema_of(&self, ticket: &Ticket) -> Result<Schema, Error> {
        let value = value_of(&self.api.engine(), ticket)?;
        Ok(Tables::new(Wanted::of(ticket), value).schema().as_ref().clone())
    }

    /// The engine's options for a ticket.
    pub(in crate::serve::grpc) fn options(&self, headers: &HeaderMap, ticket: &Ticket) -> Result<QueryOptions, Error> {
        query_options(&self.api, headers, ticket.options.as_ref())
    }
}

/// The ticket that a descriptor means.
fn ticket_of(descriptor: &FlightDescriptor) -> Result<Ticket, Error> {
    match descriptor.r#type() {
        DescriptorType::Cmd => Ticket::read(&descriptor.cmd),
        DescriptorType::Path => match descriptor.path.as_slice() {
            [text] => Ok(Ticket::of_query(selector_of_path(text)?, Times::Now)),
            path => Err(Error::bad_data(format!(
                "invalid descriptor: its path has {} parts, it must be one: the name of a metric or a selector",
                path.len()
            ))),
        },
        DescriptorType::Unknown => {
            Err(Error::bad_data("invalid descriptor: it must be a command, which is a ticket, or a path of one part"))
        }
    }
}

/// A selector as it is, a name as the selector of this name.
fn selector_of_path(text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::bad_data("invalid descriptor: its path is empty"));
    }
    if selector(text).is_ok() {
        return Ok(text.to_owned());
    }
    if text.contains('{') {
        return selector(text).map(|_| text.to_owned());
    }
    Ok(Selector { matchers: vec![Matcher::equal(METRIC_NAME, text)] }.to_string())
}

/// What a ticket evaluates to, as far as its text says: enough for a schema.
fn value_of(engine: &QueryEngine, ticket: &Ticket) -> Result<StreamedValue, Error> {
    let (text, times) = match &ticket.question {
        Question::Leaf { select, .. } => {
            return Ok(match select.form {
                SelectForm::Steps { grid, .. } if engine.source().selector_form() == SelectorForm::Steps => {
                    StreamedValue::TimedSteps { grid }
                }
                SelectForm::Steps { .. } | SelectForm::Samples { .. } => StreamedValue::Samples,
            });
        }
        Question::Query { text, times } => (text, times),
    };
    let expr = parse(text, &engine.options().features).map_err(|error| Error::bad_data(error.render(text)))?;
    let time = match times {
        Times::Range(grid, _) => {
            return match expr.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(StreamedValue::Matrix { grid: *grid }),
                other => Err(Error::bad_data(format!(
                    "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    other.documented_name()
                ))),
            };
        }
        Times::At(time) => *time,
        Times::Now => TimestampMs(0),
    };
    Ok(match expr.value_type() {
        ValueType::Scalar => StreamedValue::Scalar { time },
        ValueType::Vector => StreamedValue::Vector { time },
        ValueType::Matrix => StreamedValue::Samples,
        ValueType::String => StreamedValue::String { time, text: String::new() },
    })
}

/// A schema as FlightInfo and SchemaResult have it.
pub(in crate::serve::grpc) fn schema_bytes(schema: &Schema) -> Result<Bytes, Error> {
    let options = write_options(Compression::None)?;
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options));
    message.map(|IpcMessage(bytes)| bytes).map_err(|error| Error::internal(format!("cannot write a schema: {error}")))
}

/// One endpoint, to be asked over the connection that is there.
pub(super) fn flight_info(
    schema: Bytes,
    descriptor: FlightDescriptor,
    ticket: impl Into<Bytes>,
    app_metadata: Bytes,
) -> FlightInfo {
    FlightInfo {
        schema,
        flight_descriptor: Some(descriptor),
        endpoint: vec![FlightEndpoint::new().with_ticket(arrow_flight::Ticket { ticket: ticket.into() })],
        // Nobody knows before it has come.
        total_records: -1,
        total_bytes: -1,
        ordered: false,
        app_metadata,
    }
}
