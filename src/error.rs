//! The error of a query, and the one table from its kind to HTTP, Prometheus' error type and gRPC.

use std::fmt;

/// Who is at fault, in Prometheus' classes.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// The caller's request cannot be understood.
    BadData,
    /// The query failed on the data.
    Execution,
    /// A deadline passed.
    Timeout,
    /// The client went away.
    Canceled,
    /// A limit on samples or memory was reached.
    TooManySamples,
    /// A downstream could not be reached or refused.
    Unavailable,
    /// A defect of ours.
    Internal,
    /// There is no such thing.
    NotFound,
    /// A gateway was asked by itself, over others or not. Its refusals carry [`LOOP_HEADER`](crate::model::LOOP_HEADER), for
    /// the gateways above it: it is the end of a query, not the failure of a replica.
    Loop,
}

impl ErrorKind {
    /// Prometheus' `errorType` word.
    pub fn api_type(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution | Self::TooManySamples | Self::Unavailable | Self::Loop => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
        }
    }

    /// The HTTP status that Prometheus answers with.
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadData => 400,
            Self::Execution | Self::TooManySamples | Self::Unavailable | Self::Loop => 422,
            Self::Timeout => 503,
            Self::Canceled => 499,
            Self::Internal => 500,
            Self::NotFound => 404,
        }
    }

    /// The number of the gRPC status code.
    pub fn grpc_code(self) -> i32 {
        match self {
            Self::BadData => 3,                // INVALID_ARGUMENT
            Self::Execution | Self::Loop => 9, // FAILED_PRECONDITION
            Self::Timeout => 4,                // DEADLINE_EXCEEDED
            Self::Canceled => 1,               // CANCELLED
            Self::TooManySamples => 8,         // RESOURCE_EXHAUSTED
            Self::Unavailable => 14,           // UNAVAILABLE
            Self::Internal => 13,              // INTERNAL
            Self::NotFound => 5,               // NOT_FOUND
        }
    }
}

/// A failure with its class and the text that the client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error with its whole text. Never put a secret or a URL query into it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The query failed on the data (422).
    pub fn execution(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Execution, message)
    }

    /// The request is at fault (400).
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A defect of ours (500).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Its class.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Its text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with `prefix: ` before its text.
    #[must_use]
    pub fn in_context(self, prefix: impl fmt::Display) -> Self {
        Self { kind: self.kind, message: format!("{prefix}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
