//! Flight SQL: PromQL as the language of statements, metrics as tables.
//!
//! | file | what it does |
//! |---|---|
//! | `port.rs` | tells what is Flight SQL from what is Flight; one port serves both |
//! | `service.rs` | the methods, each of a line or two |
//! | `statement.rs` | what a statement says, over the letters of `scan.rs` |
//! | `statements.rs` | from a statement to its table; `label_columns.rs` chooses the columns, `sql.rs` and `no_sql.rs` are for SQL |
//! | `handle.rs` | handles that carry their statement |
//! | `catalog.rs` | metrics as tables; `tables.rs` lists them, `like.rs` reads the patterns of clients |
//! | `server_info.rs`, `handshake.rs` | what the server says of itself; who may come in |
//! | `table_answer.rs` | tables that are at hand as streams |

mod catalog;
mod handle;
mod handshake;
mod label_columns;
mod like;
mod port;
mod scan;
mod server_info;
mod service;
#[cfg_attr(not(feature = "sql"), path = "no_sql.rs")]
mod sql;
mod statement;
mod statements;
mod table_answer;
mod tables;

pub(super) use port::FlightPort;

use super::flight::FlightApi;
use crate::serve::http::ApiState;

/// Flight SQL over the state of the HTTP API. What is asked in PromQL is answered by Flight.
#[derive(Clone, Debug)]
pub(super) struct FlightSql {
    flight: FlightApi,
}

impl FlightSql {
    fn api(&self) -> &ApiState {
        self.flight.api()
    }
}
