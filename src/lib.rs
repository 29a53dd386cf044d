//! Quiver: one Prometheus API in front of many Prometheus servers.
//!
//! ```text
//!  query text ─ serve ─ query ─ syntax: parse ─ promql: plan → optimise     (planning: pure, no I/O)
//!                                         │ physical plan
//!                                         ▼
//!         downstream ─ decode ─ servergroup ─ scan ─ merge ─ promql functions ─ encode ─ serve     (data path)
//! ```
//!
//! Bytes come in at one end, a table with one row per series passes through every room once, and bytes go out at the other
//! end; no room knows the rooms behind it. ARCHITECTURE.md has the layers and the words.

pub mod error;
pub mod model;
pub mod runtime;
pub mod telemetry;

pub mod config;
pub mod decode;
pub mod encode;
pub mod kernels;
pub mod merge;
pub mod syntax;

pub mod discovery;
pub mod downstream;

pub mod servergroup;

pub mod scan;

pub mod promql;

pub mod query;

pub mod serve;

pub mod testing;

pub mod app;
pub mod cli;
mod commands;
