//! One service for two protocols: Flight SQL lives inside of Flight's messages.
//!
//! | call | is Flight SQL where |
//! |---|---|
//! | GetFlightInfo, GetSchema | the command of the descriptor is a message of Flight SQL |
//! | DoGet | the ticket is one |
//! | DoPut | always: Flight by itself takes nothing |
//! | DoAction | the action is one of Flight SQL's |
//! | Handshake | always: Flight by itself needs none |

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::Any;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{self, StreamExt};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::FlightSql;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::flight::{FlightApi, FlightServer};
use crate::serve::http::ApiState;

/// How the types of Flight SQL's messages begin.
const SQL_TYPE_PREFIX: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// Actions of Flight SQL, whether they are understood or refused.
const SQL_ACTIONS: [&str; 8] = [
    "CreatePreparedStatement",
    "ClosePreparedStatement",
    "CreatePreparedSubstraitPlan",
    "BeginTransaction",
    "EndTransaction",
    "BeginSavepoint",
    "EndSavepoint",
    "CancelQuery",
];

/// Those of them that work.
const SQL_ACTIONS_THAT_WORK: [(&str, &str); 2] = [
    (
        "CreatePreparedStatement",
        "ActionCreatePreparedStatementRequest: checks a statement, gives a handle that holds it",
    ),
    (
        "ClosePreparedStatement",
        "ActionClosePreparedStatementRequest: nothing is to be done, a handle holds its statement",
    ),
];

/// Flight and Flight SQL.
#[derive(Clone, Debug)]
pub(in crate::serve::grpc) struct FlightPort {
    flight: FlightServer,
    sql: FlightSql,
}

impl FlightPort {
    /// Both over the state of the HTTP API.
    pub(in crate::serve::grpc) fn new(api: ApiState) -> Self {
        Self { flight: FlightServer::new(api.clone()), sql: FlightSql { flight: FlightApi::new(api) } }
    }
}

/// Is this a message of Flight SQL? Tickets of ours have no fields 1 and 2.
fn is_sql(message: &[u8]) -> bool {
    Any::decode(message).is_ok_and(|any| any.type_url.starts_with(SQL_TYPE_PREFIX))
}

#[tonic::async_trait]
impl FlightService for FlightPort {
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListFlightsStream = <FlightServer as FlightService>::ListFlightsStream;
    type DoGetStream = Answer<FlightData>;
    type DoPutStream = Answer<PutResult>;
    type DoActionStream = Answer<arrow_flight::Result>;
    type ListActionsStream = Answer<ActionType>;
    type DoExchangeStream = <FlightServer as FlightService>::DoExchangeStream;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.sql.handshake(request).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.flight.list_flights(request).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        match is_sql(&request.get_ref().cmd) {
            true => self.sql.get_flight_info(request).await,
            false => self.flight.get_flight_info(request).await,
        }
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.flight.poll_flight_info(request).await
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        match is_sql(&request.get_ref().cmd) {
            true => {
                let info = self.sql.get_flight_info(request).await?.into_inner();
                Ok(Response::new(SchemaResult { schema: info.schema }))
            }
            false => self.flight.get_schema(request).await,
        }
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        match is_sql(&request.get_ref().ticket) {
            true => self.sql.do_get(request).await,
            false => self.flight.do_get(request).await,
        }
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.sql.do_put(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        match SQL_ACTIONS.contains(&request.get_ref().r#type.as_str()) {
            true => self.sql.do_action(request).await,
            false => self.flight.do_action(request).await,
        }
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let ours = SQL_ACTIONS_THAT_WORK
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        let others = self.flight.list_actions(request).await?.into_inner();
        Ok(Response::new(stream::iter(ours).chain(others).boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.flight.do_exchange(request).await
    }
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::{CommandGetCatalogs, ProstMessageExt};

    use super::*;

    #[test]
    fn flight_sql_is_told_from_tickets() {
        assert!(is_sql(&CommandGetCatalogs {}.as_any().encode_to_vec()));
        for other in [&b""[..], b"{\"query\": \"up\"}", b"\x1a\x02up", b"\xff\xff", b"\x0a\x05x.y/z"] {
            assert!(!is_sql(other), "{other:?}");
        }
    }
}
