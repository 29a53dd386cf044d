//! Statuses of gRPC as our errors.

use tonic::{Code, Status};

use crate::downstream::TargetUrl;
use crate::downstream::dial::DialTimedOut;
use crate::downstream::response_error::{cause, in_words, loop_error, readable, unavailable};
use crate::error::{Error, ErrorKind};
use crate::model::LOOP_HEADER;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::downstream) enum FlightError {
    /// Nobody there speaks Flight, or can be reached there: ask otherwise.
    NotSpoken(Error),
    /// The server failed, or refused what it understood.
    Failed(Error),
}

impl FlightError {
    /// What to say.
    pub(in crate::downstream) fn error(&self) -> &Error {
        match self {
            Self::NotSpoken(error) | Self::Failed(error) => error,
        }
    }

    /// Of a status that came before anything else.
    pub(super) fn of_head(target: &TargetUrl, status: &Status) -> Self {
        let error = error_of(target, status);
        let is_unreachable = cause::<tonic::transport::Error>(status).is_some();
        if error.kind() != ErrorKind::Loop && (is_unreachable || status.code() == Code::Unimplemented) {
            Self::NotSpoken(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// The error of a status, by its code. What a server says of itself means to us that it cannot be had.
pub(super) fn error_of(target: &TargetUrl, status: &Status) -> Error {
    if status.metadata().contains_key(LOOP_HEADER) {
        return loop_error(target, status.message());
    }
    if let Some(timed_out) = cause::<DialTimedOut>(status) {
        return Error::new(ErrorKind::Timeout, format!("no connection within {}", in_words(timed_out.0)));
    }
    if let Some(io) = cause::<std::io::Error>(status) {
        return match io.kind() {
            std::io::ErrorKind::ConnectionRefused => unavailable("refused the connection"),
            std::io::ErrorKind::ConnectionReset => unavailable("reset the connection"),
            _ => unavailable(io.to_string()),
        };
    }
    let kind = match status.code() {
        Code::InvalidArgument => ErrorKind::BadData,
        // The limits of a server below are not those of this query.
        Code::FailedPrecondition | Code::ResourceExhausted => ErrorKind::Execution,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        _ => ErrorKind::Unavailable,
    };
    match readable(status.message()).as_str() {
        "" => Error::new(kind, format!("answered with the status {:?}", status.code())),
        text => Error::new(kind, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;

    #[test]
    fn statuses_keep_their_class() {
        let target = TargetUrl::try_new(Scheme::Http, "a:1", "").expect("an address");
        let mut looped = Status::failed_precondition("this gateway asks itself");
        looped.metadata_mut().insert(LOOP_HEADER, "1".parse().expect("text"));
        for (status, kind, message, asks_otherwise) in [
            (Status::invalid_argument("1:2: parse error"), ErrorKind::BadData, "1:2: parse error", false),
            (Status::failed_precondition("many-to-many"), ErrorKind::Execution, "many-to-many", false),
            (Status::resource_exhausted("too many samples"), ErrorKind::Execution, "too many samples", false),
            (Status::deadline_exceeded("late\n"), ErrorKind::Timeout, "late", false),
            (Status::unavailable(""), ErrorKind::Unavailable, "answered with the status Unavailable", false),
            (Status::cancelled("gone"), ErrorKind::Unavailable, "gone", false),
            (Status::unimplemented("no Flight"), ErrorKind::Unavailable, "no Flight", true),
            (looped, ErrorKind::Loop, "http://a:1: this gateway asks itself", false),
        ] {
            let refusal = FlightError::of_head(&target, &status);
            assert_eq!((refusal.error().kind(), refusal.error().message()), (kind, message));
            assert_eq!(matches!(refusal, FlightError::NotSpoken(_)), asks_otherwise, "{status}");
        }
    }
}
