//! Why a downstream's answer could not be read.

use thiserror::Error;

use crate::error::{Error, ErrorKind};

/// An answer that is not what a Prometheus sends. The texts say what was expected and where; they quote at most a few
/// bytes of the answer. Whoever knows the target adds its name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Something else stands where the format wants a certain thing.
    #[error("expected {expected} at byte {offset}, found {found}")]
    Unexpected {
        /// Bytes of the (decompressed) body before it.
        offset: u64,
        /// What the format wants, with the place in the document.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The body ended too early.
    #[error("body ends after {length} bytes, expected {expected}")]
    Truncated {
        /// Bytes that did arrive.
        length: u64,
        /// What was to come next.
        expected: &'static str,
    },
    /// The form is right, the content cannot be.
    #[error("{problem} at byte {offset}")]
    Invalid {
        /// Bytes of the (decompressed) body before it.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// The whole document was read, but something is missing or contradicts itself.
    #[error("{0}")]
    Incomplete(String),
    /// More samples than the limits allow.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The compressed form is damaged, cut off, or of an unknown kind.
    #[error("{0}")]
    Compression(String),
}

/// What a chunk's encoding should be.
pub(super) const KNOWN_ENCODING: &str = "a chunk in an encoding that Prometheus 3.14 knows";

impl DecodeError {
    /// Is it a chunk in an encoding that is not known here? The samples in it may be had in another form.
    pub fn is_unknown_encoding(&self) -> bool {
        matches!(self, Self::Unexpected { expected, .. } if expected == KNOWN_ENCODING)
    }

    /// A wrong answer is the downstream's fault; too many samples are the query's.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooManySamples => ErrorKind::TooManySamples,
            Self::Unexpected { .. }
            | Self::Truncated { .. }
            | Self::Invalid { .. }
            | Self::Incomplete(_)
            | Self::Compression(_) => ErrorKind::Unavailable,
        }
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}
