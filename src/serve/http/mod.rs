//! Prometheus' HTTP API over a query engine.
//!
//! [`router`] needs nothing but an engine: the gateway and the embedded Prometheus of the tests serve the same router.

mod cors;
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
pub use router::router;
pub use state::{ApiOptions, ApiState, ConfigStatus, LifecycleRequest};
