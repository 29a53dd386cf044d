//! The messages of proto/thanos, with clients and servers, as build.rs has generated them.

#![allow(missing_docs, clippy::all, reason = "generated")]

tonic::include_proto!("thanos");

/// Package `thanos.info`.
pub mod info {
    tonic::include_proto!("thanos.info");
}

/// The compiled descriptions of all messages, for reflection.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/thanos_descriptors.bin"));
