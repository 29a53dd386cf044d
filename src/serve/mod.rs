//! L8: listeners and wire formats.

mod by_content_type;
mod connection;
pub mod grpc;
pub mod http;
pub mod listen;
mod loop_guard;
