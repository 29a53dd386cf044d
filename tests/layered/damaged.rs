//! A service between two gateways that damages what passes: a failure or another way, never another number.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use quiver::error::ErrorKind;
use quiver::query::QueryOptions;
use quiver::serve::listen::{ListenOptions, serve};
use quiver::testing::LoopbackGateway;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};

use crate::flight::{above, below, grid, leaves, range};

type Answer<T> = BoxStream<'static, Result<T, Status>>;
type Damage = Arc<dyn Fn(Vec<FlightData>) -> Vec<Result<FlightData, Status>> + Send + Sync>;

/// Asks the service behind it, and hands its messages on as the test wants.
struct Between {
    behind: SocketAddr,
    damage: Arc<Mutex<Damage>>,
}

fn not_asked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the test does not ask for it"))
}

#[tonic::async_trait]
impl FlightService for Between {
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListFlightsStream = Answer<FlightInfo>;
    type DoGetStream = Answer<FlightData>;
    type DoPutStream = Answer<PutResult>;
    type DoExchangeStream = Answer<FlightData>;
    type DoActionStream = Answer<arrow_flight::Result>;
    type ListActionsStream = Answer<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.behind)).expect("an address");
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = FlightServiceClient::new(channel);
        let messages: Vec<_> = client.do_get(request.into_inner()).await?.into_inner().collect().await;
        let messages = messages.into_iter().collect::<Result<Vec<_>, Status>>()?;
        let damage = Arc::clone(&self.damage.lock());
        Ok(Response::new(stream::iter(damage(messages)).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        not_asked()
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        not_asked()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        not_asked()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        not_asked()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        not_asked()
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        not_asked()
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        not_asked()
    }
    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        not_asked()
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        not_asked()
    }
}

/// Two gateways and what stands between them.
struct Setup {
    above: LoopbackGateway,
    below: LoopbackGateway,
    damage: Arc<Mutex<Damage>>,
    _serving: AbortOnDropHandle<()>,
}

fn whole(messages: Vec<FlightData>) -> Vec<Result<FlightData, Status>> {
    messages.into_iter().map(Ok).collect()
}

async fn setup() -> Setup {
    let below = below().await;
    let damage = Arc::new(Mutex::new(Arc::new(whole) as Damage));
    let between = Between { behind: below.grpc_address(), damage: Arc::clone(&damage) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let router = Routes::new(FlightServiceServer::new(between)).into_axum_router();
    let serving = tokio::spawn(serve(listener, router, ListenOptions::default(), CancellationToken::new()));
    let above = above(&[below.target()], &format!("flight: {address}\n      remote_read: false")).await;
    Setup { above, below, damage, _serving: AbortOnDropHandle::new(serving) }
}

/// The message with the first table.
fn of_table(messages: &mut [FlightData]) -> &mut FlightData {
    messages.iter_mut().skip(1).find(|message| message.app_metadata.is_empty()).expect("a table")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_the_way_fails_or_comes_another_way() {
    let setup = setup().await;
    assert_eq!(leaves(&range(&setup.above, "up").await), ["flight"]);
    let cases: [(&str, Damage, &str); 6] = [
        (
            "the end is missing",
            Arc::new(|mut messages| {
                messages.pop();
                whole(messages)
            }),
            "ended its answer without saying that it was whole",
        ),
        (
            "a status in the middle",
            Arc::new(|mut messages| {
                messages.pop();
                whole(messages).into_iter().chain([Err(Status::internal("boom"))]).collect()
            }),
            "boom",
        ),
        (
            "something behind the end",
            Arc::new(|mut messages| {
                let last = messages.last().cloned();
                messages.extend(last);
                whole(messages)
            }),
            "bad answer: something came behind its end",
        ),
        (
            "half a table",
            Arc::new(|mut messages| {
                let table = of_table(&mut messages);
                table.data_body.truncate(table.data_body.len() / 2);
                whole(messages)
            }),
            "of its message",
        ),
        (
            "a table twice",
            Arc::new(|mut messages| {
                let table = of_table(&mut messages).clone();
                messages.insert(1, table);
                whole(messages)
            }),
            "bad answer: its series are not in order",
        ),
        (
            "an end that cannot be read",
            Arc::new(|mut messages| {
                messages.last_mut().expect("the end").app_metadata = "{".into();
                whole(messages)
            }),
            "bad answer: what it says at its end is damaged",
        ),
    ];
    for (name, damage, expected) in cases {
        *setup.damage.lock() = damage;
        let failed = setup.above.api().engine().range("up", grid(), &QueryOptions::default()).await;
        let error = failed.map(drop).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
        assert!(error.message().contains(expected), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_otherwise_from_the_start_is_asked_over_http() {
    let cases: [(&str, Damage); 3] = [
        ("no Flight", Arc::new(|_| vec![Err(Status::unimplemented("no"))])),
        (
            "no schema",
            Arc::new(|mut messages| {
                messages[0].data_header = "?".into();
                whole(messages)
            }),
        ),
        ("a table first", Arc::new(|messages| whole(messages[1..].to_vec()))),
    ];
    for (name, damage) in cases {
        let setup = setup().await;
        assert_eq!(leaves(&range(&setup.above, "up").await), ["flight"]);
        *setup.damage.lock() = damage;
        let result = range(&setup.above, "up").await;
        assert!(leaves(&result).contains(&"json"), "{name}: {:?}", result.targets);
        let direct = range(&setup.below, "up").await;
        assert_eq!(format!("{:?}", result.value), format!("{:?}", direct.value), "{name}");
    }
}
