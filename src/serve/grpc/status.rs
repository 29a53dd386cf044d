//! Errors as gRPC statuses, and the deadline that a call brings.

use std::time::Duration;

use http::HeaderMap;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::error::{Error, ErrorKind};
use crate::model::LOOP_HEADER;

/// Longer texts are cut: a status travels in a header, and a client refuses headers of more than 8 to 16 KiB.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// The status of an error, with its text.
pub(in crate::serve) fn status_of(error: &Error) -> Status {
    let message = error.message();
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < message.len() { " …" } else { "" };
    let mut status = Status::new(Code::from_i32(error.kind().grpc_code()), format!("{}{cut}", &message[..end]));
    if error.kind() == ErrorKind::Loop {
        status.metadata_mut().insert(LOOP_HEADER, MetadataValue::from_static("1"));
    }
    status
}

/// How long the client will wait: `grpc-timeout`, up to eight digits and a unit. `None` where it does not say so.
pub(super) fn call_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code_and_our_text() {
        for (kind, code) in [
            (ErrorKind::BadData, Code::InvalidArgument),
            (ErrorKind::Execution, Code::FailedPrecondition),
            (ErrorKind::Timeout, Code::DeadlineExceeded),
            (ErrorKind::Canceled, Code::Cancelled),
            (ErrorKind::TooManySamples, Code::ResourceExhausted),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::Internal, Code::Internal),
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::Loop, Code::FailedPrecondition),
        ] {
            let status = status_of(&Error::new(kind, "why"));
            assert_eq!((status.code(), status.message()), (code, "why"));
            assert_eq!(status.metadata().contains_key(LOOP_HEADER), kind == ErrorKind::Loop);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let status = status_of(&Error::bad_data("é".repeat(100_000)));
        assert_eq!(status.message(), format!("{} …", "é".repeat(MESSAGE_BYTES_MAX / 2)));
    }

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        for (text, wanted) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("30S", Some(Duration::from_secs(30))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("5n", Some(Duration::from_nanos(5))),
            ("5", None),
            ("", None),
            ("S", None),
            ("-5S", None),
            ("999999999S", None),
            ("5é", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_bytes(text.as_bytes()).expect("a header"));
            assert_eq!(call_timeout(&headers), wanted, "{text}");
        }
        assert_eq!(call_timeout(&HeaderMap::new()), None);
    }
}
