//! A whole gateway on the loopback interface: HTTP and gRPC on ports of their own, as the program has them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config;
use crate::error::Error;
use crate::model::GatewayId;
use crate::query::{EngineOptions, QueryEngine};
use crate::scan::GroupsSource;
use crate::serve::grpc;
use crate::serve::http::{ApiOptions, ApiState, router};
use crate::serve::listen::{ListenOptions, serve};
use crate::servergroup::ServerGroupSet;
use crate::telemetry::TargetRegistry;

/// Addresses at which nobody answers yet: gateways that ask each other must know them before any of them starts.
#[derive(Debug)]
pub struct Seat {
    http: TcpListener,
    grpc: TcpListener,
    addresses: Addresses,
}

#[derive(Copy, Clone, Debug)]
struct Addresses {
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Seat {
    /// Two free ports of 127.0.0.1.
    pub async fn take() -> io::Result<Self> {
        let http = TcpListener::bind(("127.0.0.1", 0)).await?;
        let grpc = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addresses = Addresses { http: http.local_addr()?, grpc: grpc.local_addr()? };
        Ok(Self { http, grpc, addresses })
    }

    /// `127.0.0.1:port` of the HTTP API, as a target of a config file.
    pub fn target(&self) -> String {
        self.addresses.http.to_string()
    }
}

/// A gateway that answers others. It ends when it is dropped.
#[derive(Debug)]
pub struct LoopbackGateway {
    addresses: Addresses,
    api: ApiState,
    /// HTTP and gRPC.
    serving: [AbortOnDropHandle<()>; 2],
}

impl LoopbackGateway {
    /// Answers from an engine.
    pub fn over_engine(seat: Seat, engine: QueryEngine, options: ApiOptions) -> Self {
        let Seat { http, grpc, addresses } = seat;
        let api = ApiState::new(engine, options);
        api.set_flight_port(Some(addresses.grpc.port()));
        let listen = ListenOptions::default();
        let serving_http = tokio::spawn(serve(http, router(api.clone()), listen, CancellationToken::new()));
        let serving_grpc = tokio::spawn(grpc::serve(grpc, api.clone(), listen, CancellationToken::new()));
        let serving = [serving_http, serving_grpc].map(AbortOnDropHandle::new);
        Self { addresses, api, serving }
    }

    /// Answers from the server groups of a config file's text.
    ///
    /// # Errors
    /// A config that is refused.
    pub fn over_groups(seat: Seat, config_text: &str, options: EngineOptions) -> Result<Self, Error> {
        let loaded = config::parse(config_text, "test.yml").map_err(|error| Error::internal(error.to_string()))?;
        let gateway = GatewayId::random();
        let groups = ServerGroupSet::try_new_counted(&loaded.config.promxy, &TargetRegistry::default(), &gateway)?;
        let engine = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(groups))), options);
        Ok(Self::over_engine(seat, engine, ApiOptions { gateway, ..ApiOptions::default() }))
    }

    /// `127.0.0.1:port` of the HTTP API, as a target of a config file.
    pub fn target(&self) -> String {
        self.addresses.http.to_string()
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Ends gRPC, with all its connections; HTTP goes on.
    pub fn end_grpc(&self) {
        self.serving[1].abort();
    }

    /// Who it is, and the engine that it answers from.
    pub fn api(&self) -> &ApiState {
        &self.api
    }
}
