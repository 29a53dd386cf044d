//! The messages of proto/quiver/v1, with client and server, as build.rs has generated them.

#![allow(missing_docs, clippy::all, reason = "generated")]

tonic::include_proto!("quiver.v1");
