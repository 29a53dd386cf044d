//! Prometheus' HTTP API over a query engine.
//!
//! [`router`] needs nothing but an engine: the gateway and the embedded Prometheus of the tests serve the same router.

mod accept;
mod cors;
mod federate;
mod form;
mod lifecycle;
mod observe;
mod page;
mod params;
mod respond;
mod router;
mod state;
mod v1;

pub use cors::CorsOrigin;
pub(in crate::serve) use params::{Form, RANGE_INTERVALS_MAX, parse_duration_ns, parse_grid, parse_time};
pub(in crate::serve) use respond::{ApiError, Notes};
pub use router::{check_paths, router};
pub use state::{ApiOptions, ApiState, ConfigStatus, LifecycleRequest};
#[cfg(feature = "sql")]
pub(in crate::serve) use v1::evaluation::Admitted;
pub(in crate::serve) use v1::evaluation::{
    Evaluation, Timings, admit, check_groups, evaluate, gateway_path, now, proxied_headers, within_deadline,
};
pub(in crate::serve) use v1::status::PROMETHEUS_VERSION;
