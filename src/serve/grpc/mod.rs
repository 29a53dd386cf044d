//! gRPC: `quiver.v1.QueryService` and `StatusService`, Arrow Flight, health and reflection, on a port of its own or on that of the
//! HTTP API.

mod answer;
mod arrow_stream;
mod call;
mod explanation;
mod flight;
mod flight_sql;
mod progress;
pub mod proto;
mod request;
mod service;
pub(super) mod status;
mod status_service;
pub mod thanos;
mod trailer;
mod watch;

use std::convert::Infallible;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use self::call::{Calls, handle_call};
use self::flight_sql::FlightPort;
use self::proto::query_service_server::QueryServiceServer;
use self::proto::status_service_server::StatusServiceServer;
use self::service::Service;
use self::status_service::ProcessStatus;
use super::by_content_type::by_content_type;
use super::http::{self, ApiState};
use super::listen::{self, ListenOptions};
use super::loop_guard::refuse_loops;

/// A request is at most so large: a query has 64 KiB, the rest is for long lists of selectors.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// A message of Flight is about a mebibyte, unless one series alone is larger: then it is as large as that.
const TABLE_BYTES_MAX: usize = 1 << 30;

/// All services that answer queries, over the state of the HTTP API, and their names.
fn services(api: &ApiState) -> (Routes, Vec<&'static str>) {
    let queries = QueryServiceServer::new(Service::new(api.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let status = StatusServiceServer::new(ProcessStatus::new(api.clone())).max_decoding_message_size(REQUEST_BYTES_MAX);
    let flight = FlightServiceServer::new(FlightPort::new(api.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(TABLE_BYTES_MAX);
    let mut names = vec![name_of(&queries), name_of(&status), name_of(&flight)];
    let routes = Routes::new(queries).add_service(status).add_service(flight);
    let routes = thanos::add_services(routes, api, &mut names);
    (routes, names)
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

/// Serves gRPC over the state of the HTTP API until `stop`, then lets calls in flight end, and returns.
pub async fn serve(listener: TcpListener, api: ApiState, options: ListenOptions, stop: CancellationToken) {
    let (router, health) = router(&api, &stop);
    run(health, listen::serve(listener, router, options, stop)).await;
}

/// Serves gRPC and the HTTP API on one port: a request is a call if its content type says so.
pub async fn serve_shared(listener: TcpListener, api: ApiState, options: ListenOptions, stop: CancellationToken) {
    let (calls, health) = router(&api, &stop);
    let router = by_content_type(http::router(api), calls);
    run(health, listen::serve(listener, router, options, stop)).await;
}

/// The services with what is done for every call, and what has to run beside them.
fn router(api: &ApiState, stop: &CancellationToken) -> (Router, impl Future<Output = Infallible> + use<>) {
    let (reporter, health) = health_reporter();
    let (routes, names) = services(api);
    // Most clients, Python's and grpcurl among them, still ask by the older name.
    let reflection = reflection_builder().build_v1().expect("the descriptors were compiled into this binary");
    let reflection_alpha =
        reflection_builder().build_v1alpha().expect("the descriptors were compiled into this binary");
    let routes = routes.add_service(health).add_service(reflection).add_service(reflection_alpha);
    let calls = Calls { api: api.clone(), stop: stop.clone() };
    let router = routes
        .into_axum_router()
        .layer(from_fn_with_state(api.clone(), refuse_loops))
        .layer(from_fn_with_state(calls, handle_call));
    (router, report_health(reporter, names, api.clone(), stop.clone()))
}

/// What every service and message is.
fn reflection_builder() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTORS)
        .register_encoded_file_descriptor_set(thanos::proto::FILE_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn run(health: impl Future<Output = Infallible>, serving: impl Future<Output = ()>) {
    tokio::select! {
        () = serving => {}
        never = health => match never {},
    }
}

/// Tells the health of the process and of each service, as `/-/ready` does: load balancers see that the server leaves while it still
/// takes calls. Never returns.
async fn report_health(
    reporter: HealthReporter,
    names: Vec<&'static str>,
    api: ApiState,
    stop: CancellationToken,
) -> Infallible {
    let mut readiness = api.readiness();
    loop {
        let is_serving = *readiness.borrow_and_update() && !stop.is_cancelled();
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in names.iter().copied().chain([""]) {
            reporter.set_service_status(name, status).await;
        }
        tokio::select! {
            changed = readiness.changed() => changed.expect("the state that is held here can change"),
            () = stop.cancelled(), if is_serving => {}
        }
    }
}
