//! L8: listeners and wire formats.

pub mod http;
pub mod listen;
