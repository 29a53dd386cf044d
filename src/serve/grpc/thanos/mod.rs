//! Thanos' gRPC APIs, so that a stock Thanos Querier lists a Quiver as an endpoint: `thanos.info.Info`, `thanos.Store` and
//! `thanos.Query`.
//!
//! | file | what it does |
//! |---|---|
//! | `info.rs` | what a Querier learns of us: labels and times, by which it decides whether to ask |
//! | `store.rs` | the Store API: its three calls |
//! | `series.rs` | the answer to `Series`: rows of a leaf as chunks, as they come |
//! | `shard.rs`, `replica_labels.rs` | what a Querier may ask of `Series` besides |
//! | `query.rs` | the Query API |
//! | `time_series.rs` | results of queries as Thanos' messages |
//! | `request.rs` | what both APIs say alike: matchers, times, what to do about failures |
//! | `packs.rs` | messages on their way, many at a time |

mod info;
mod packs;
pub mod proto;
mod query;
mod replica_labels;
mod request;
mod series;
mod shard;
mod store;
mod time_series;

use http::HeaderMap;
use tonic::Request;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use self::proto::info::info_server::InfoServer;
use self::proto::query_server::QueryServer;
use self::proto::store_server::StoreServer;
use super::{REQUEST_BYTES_MAX, name_of};
use crate::serve::http::ApiState;

/// Answers from the same state as the HTTP API.
#[derive(Clone, Debug)]
pub(super) struct Thanos {
    api: ApiState,
}

/// The routes with Thanos' three services, whose names are added to `names`.
pub(super) fn add_services(routes: Routes, api: &ApiState, names: &mut Vec<&'static str>) -> Routes {
    let thanos = Thanos { api: api.clone() };
    let info = InfoServer::new(thanos.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let store = StoreServer::new(thanos.clone())
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let query = QueryServer::new(thanos)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    names.extend([name_of(&info), name_of(&store), name_of(&query)]);
    routes.add_service(info).add_service(store).add_service(query)
}

/// Headers and message of a request.
fn take_apart<T>(request: Request<T>) -> (HeaderMap, T) {
    let (metadata, _, message) = request.into_parts();
    (metadata.into_headers(), message)
}
