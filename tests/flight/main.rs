//! Arrow Flight and Flight SQL, asked over a socket by the client of arrow-flight and by ADBC's.

mod adbc;
mod answers;
mod discovery;
mod flow;
mod leaves;
mod server;
mod sql;
#[path = "../support/mod.rs"]
mod support;
mod tickets;
