//! Arrow Flight, asked over a socket by the client of arrow-flight.

mod answers;
mod discovery;
mod flow;
mod leaves;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod tickets;
