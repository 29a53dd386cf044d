//! L8: listeners and wire formats.

pub mod grpc;
pub mod http;
pub mod listen;
mod loop_guard;
