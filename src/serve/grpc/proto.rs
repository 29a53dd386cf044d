//! The messages of proto/quiver/v1: what is asked below is in the same words as what is answered above.

pub use crate::downstream::quiver_proto::*;

/// The compiled descriptions of all messages, for reflection.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quiver_descriptors.bin"));
