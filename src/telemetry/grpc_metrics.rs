//! What is counted of gRPC calls, under the names that Go's servers have for it.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. As for HTTP requests, and then longer: a stream of results may run for as long as its client likes.
const SECONDS_BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0, 120.0, 600.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Method {
    grpc_service: String,
    grpc_method: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MethodCode {
    grpc_service: String,
    grpc_method: String,
    grpc_code: &'static str,
}

/// Calls of the gRPC services of one server.
#[derive(Debug)]
pub(super) struct GrpcMetrics {
    handled: Family<MethodCode, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
}

impl Default for GrpcMetrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS_BUCKETS);
        Self { handled: Family::default(), seconds: Family::new_with_constructor(histogram) }
    }
}

impl GrpcMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "grpc_server_handled",
            "Total number of RPCs completed on the server, regardless of success or failure",
            self.handled.clone(),
        );
        registry.register(
            "grpc_server_handling_seconds",
            "Histogram of response latency of gRPC that had been application-level handled by the server",
            self.seconds.clone(),
        );
    }

    pub(super) fn handled(&self, service: &str, method: &str, code: &'static str, duration: Duration) {
        let (grpc_service, grpc_method) = (service.to_owned(), method.to_owned());
        let label = Method { grpc_service: grpc_service.clone(), grpc_method: grpc_method.clone() };
        self.handled.get_or_create(&MethodCode { grpc_service, grpc_method, grpc_code: code }).inc();
        self.seconds.get_or_create(&label).observe(duration.as_secs_f64());
    }
}
