//! Arrow Flight: PromQL in a ticket, Arrow tables out.
//!
//! | file | what it does |
//! |---|---|
//! | `ticket.rs` | what is asked, checked; `ticket_json.rs` the same as people write it |
//! | `known_fields.rs` | fields of a newer client that we do not know |

mod known_fields;
mod ticket;
mod ticket_json;
