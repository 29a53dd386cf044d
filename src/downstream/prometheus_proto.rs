//! The messages of proto/prometheus, as build.rs has generated them.

#![allow(missing_docs, clippy::all, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/prometheus.rs"));
