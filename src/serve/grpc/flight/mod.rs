//! Arrow Flight: PromQL in a ticket, Arrow tables out.
//!
//! | file | what it does |
//! |---|---|
//! | `ticket.rs` | what is asked, checked; `ticket_json.rs` the same as people write it |
//! | `known_fields.rs` | fields of a newer client that we do not know |
//! | `api.rs`, `list.rs` | what each call answers, without its protocol |
//! | `service.rs` | the calls of the protocol |
//! | `answer.rs` | a ticket as a stream of messages, as its tables come |
//! | `tables.rs` | the tables of an answer; `per_series.rs`, `per_sample.rs`, `edge_columns.rs` make them |
//! | `messages.rs`, `remarks.rs` | tables as messages, and what is said beside them |

mod answer;
mod api;
mod edge_columns;
mod known_fields;
mod list;
mod messages;
mod per_sample;
mod per_series;
mod remarks;
mod service;
mod tables;
mod ticket;
mod ticket_json;

pub(super) use api::{FlightApi, schema_bytes};
pub(super) use messages::Messages;
pub(super) use service::{FlightServer, read_only};
pub(super) use ticket::{Compression, LABEL_COLUMNS_MAX, SAMPLE_COLUMNS, TableForm, Ticket, Times};
