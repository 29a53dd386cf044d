//! gRPC: `quiver.v1.QueryService`, health and reflection, on a port of its own.

mod answer;
mod arrow_stream;
#[expect(dead_code, reason = "the service that reads them follows")]
mod flight;
pub mod proto;
mod request;
mod service;
pub(super) mod status;

use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use self::proto::query_service_server::QueryServiceServer;
use self::service::Service;
use super::http::ApiState;
use super::listen::{self, ListenOptions};
use super::loop_guard::refuse_loops;

/// A request is at most so large: a query has 64 KiB, the rest is for long lists of selectors.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Serves gRPC over the state of the HTTP API until `stop`, then lets calls in flight end, and returns.
pub async fn serve(listener: TcpListener, api: ApiState, options: ListenOptions, stop: CancellationToken) {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<QueryServiceServer<Service>>().await;
    let leaving = stop.clone();
    // Load balancers see that the server leaves while calls in flight still end.
    let report_leaving = async move {
        leaving.cancelled().await;
        reporter.set_not_serving::<QueryServiceServer<Service>>().await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were compiled into this binary");
    let queries = QueryServiceServer::new(Service::new(api.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let routes = Routes::new(queries).add_service(health).add_service(reflection);
    let router = routes.into_axum_router().layer(from_fn_with_state(api, refuse_loops));
    tokio::join!(report_leaving, listen::serve(listener, router, options, stop));
}
