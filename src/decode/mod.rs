//! L1: bytes → batches. Streaming, no sockets: whoever holds the socket feeds the bytes in as they arrive.

mod error;
mod gzip;

pub use error::DecodeError;
pub use gzip::{ContentDecoder, ContentEncoding};
