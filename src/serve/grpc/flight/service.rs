//! `arrow.flight.protocol.FlightService`.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::{StreamExt, stream};
use http::HeaderMap;
use tonic::{Request, Response, Status, Streaming};

use super::api::FlightApi;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::status::status_of;
use crate::serve::http::ApiState;

/// Every call of the protocol; what is not for reading is refused.
#[derive(Clone, Debug)]
pub(in crate::serve::grpc) struct FlightServer {
    flight: FlightApi,
}

impl FlightServer {
    pub(in crate::serve::grpc) fn new(api: ApiState) -> Self {
        Self { flight: FlightApi::new(api) }
    }
}

/// What writers and talkers are told.
pub(in crate::serve::grpc) fn read_only(call: &str) -> Status {
    Status::unimplemented(format!("{call} is not there: Quiver reads from its servers and writes to none"))
}

fn take_apart<T>(request: Request<T>) -> (HeaderMap, T) {
    let (metadata, _, message) = request.into_parts();
    (metadata.into_headers(), message)
}

#[tonic::async_trait]
impl FlightService for FlightServer {
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListFlightsStream = Answer<FlightInfo>;
    type DoGetStream = Answer<FlightData>;
    type DoPutStream = Answer<PutResult>;
    type DoExchangeStream = Answer<FlightData>;
    type DoActionStream = Answer<arrow_flight::Result>;
    type ListActionsStream = Answer<ActionType>;

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let answer = self.flight.handshake();
        Ok(Response::new(stream::iter([Ok(answer)]).boxed()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let (headers, criteria) = take_apart(request);
        let listed = self.flight.list_flights(&headers, &criteria.expression).await;
        listed.map(Response::new).map_err(|error| status_of(&error))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let (headers, descriptor) = take_apart(request);
        self.flight.flight_info(&headers, descriptor).map(Response::new).map_err(|error| status_of(&error))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let (headers, descriptor) = take_apart(request);
        // Everything that can be known is known at once.
        let info = self.flight.flight_info(&headers, descriptor).map_err(|error| status_of(&error))?;
        Ok(Response::new(PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.flight.schema(request.get_ref()).map(Response::new).map_err(|error| status_of(&error))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (headers, ticket) = take_apart(request);
        self.flight.do_get(&headers, &ticket.ticket).map(Response::new).map_err(|error| status_of(&error))
    }

    async fn do_put(&self, _request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(read_only("DoPut"))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(read_only("DoExchange"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let name: String = request.get_ref().r#type.chars().take(40).collect();
        Err(Status::unimplemented(format!("there is no action {name:?}; ListActions names those that there are")))
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }
}
