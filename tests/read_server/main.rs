//! The gateway below others: as a remote read server, and asked as promxy asks its downstreams. Real sockets, no sleeps.

mod above;
mod client;
mod forms;
mod gateway;
mod limits;
mod promxy;
