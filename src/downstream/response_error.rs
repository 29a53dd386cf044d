//! A downstream's refusal as our error: its class kept, its text kept short, ours where it has none.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::TargetUrl;
use super::dial::DialTimedOut;
use crate::decode::DecodeError;
use crate::error::{Error, ErrorKind};
use crate::model::LOOP_HEADER;

/// A downstream's error text is cut behind so many bytes: it may be anything.
const TEXT_BYTES_MAX: usize = 1024;

pub(super) fn unavailable(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

/// The error of an API envelope `{"status":"error","errorType":…,"error":…}`.
///
/// `bad_data`, `execution` and `timeout` mean for us what they mean there. What else a server says of itself
/// (`internal`, `unavailable`, `canceled`, words of other vendors) means to us that it cannot be had.
pub(super) fn from_envelope(error_type: &str, text: &str) -> Error {
    let kind = match error_type {
        "bad_data" => ErrorKind::BadData,
        "execution" => ErrorKind::Execution,
        "timeout" => ErrorKind::Timeout,
        _ => ErrorKind::Unavailable,
    };
    let text = readable(text);
    match (error_type, text.is_empty()) {
        ("", true) => Error::new(kind, "answered with an error that has no text"),
        ("", false) => Error::new(kind, text),
        (_, true) => Error::new(kind, readable(error_type)),
        (_, false) => Error::new(kind, format!("{}: {text}", readable(error_type))),
    }
}

/// The error of a refusal with `headers`, where `target` says that a gateway has been asked by itself: named are all who passed
/// that on, so that whoever reads it finds the loop. `None`: it is another refusal.
pub(super) fn from_loop(target: &TargetUrl, headers: &HeaderMap, text: &str) -> Option<Error> {
    headers.contains_key(LOOP_HEADER).then(|| loop_error(target, text))
}

/// The same where it is known otherwise.
pub(super) fn loop_error(target: &TargetUrl, text: &str) -> Error {
    Error::new(ErrorKind::Loop, readable(text)).in_context(target)
}

/// The error of an answer that has another status than 2xx and no envelope: `answered 502 Bad Gateway`.
pub(super) fn from_status(status: StatusCode) -> Error {
    from_refusal(status, "")
}

/// The same with the text that came with it, if any: `answered 400 Bad Request: exceeded sample limit (10)`.
pub(super) fn from_refusal(status: StatusCode, text: &str) -> Error {
    let reason = status.canonical_reason().map_or_else(String::new, |reason| format!(" {reason}"));
    let hint = match status.as_u16() {
        300..=399 => "; redirects are not followed, write the final address into the config",
        401 | 403 => "; check the credentials in http_client",
        404 => "; check path_prefix",
        _ => "",
    };
    let text = readable(text);
    let text = if text.is_empty() { text } else { format!(": {text}") };
    unavailable(format!("answered {}{reason}{text}{hint}", status.as_u16()))
}

/// The error of a request that got no response head.
pub(super) fn from_client(error: &hyper_util::client::legacy::Error) -> Error {
    if let Some(timed_out) = cause::<DialTimedOut>(error) {
        return Error::new(ErrorKind::Timeout, format!("no connection within {}", in_words(timed_out.0)));
    }
    if let Some(io) = cause::<std::io::Error>(error) {
        return match io.kind() {
            std::io::ErrorKind::ConnectionRefused => unavailable("refused the connection"),
            std::io::ErrorKind::ConnectionReset => unavailable("reset the connection"),
            _ => unavailable(if error.is_connect() { format!("cannot connect: {io}") } else { io.to_string() }),
        };
    }
    match cause::<hyper::Error>(error) {
        Some(http) if http.is_incomplete_message() => unavailable("closed the connection without an answer"),
        Some(http) if http.is_parse() => unavailable(format!("answered something that is not HTTP: {http}")),
        _ => unavailable(innermost(error)),
    }
}

/// The error of a body that broke off.
pub(super) fn from_body(error: &hyper::Error) -> Error {
    if error.is_incomplete_message() || error.is_body_write_aborted() {
        return unavailable("closed the connection in the middle of its answer");
    }
    match cause::<std::io::Error>(error).map(std::io::Error::kind) {
        Some(std::io::ErrorKind::UnexpectedEof) => unavailable("closed the connection in the middle of its answer"),
        Some(std::io::ErrorKind::ConnectionReset) => unavailable("reset the connection in the middle of its answer"),
        _ => unavailable(format!("answer broke off: {}", innermost(error))),
    }
}

/// The error of an answer that cannot be read.
pub(super) fn bad_answer(error: DecodeError) -> Error {
    match error.kind() {
        ErrorKind::TooManySamples => error.into(),
        _ => Error::from(error).in_context("bad answer"),
    }
}

/// `200ms`, `30s`, `1m30s`.
pub(super) fn in_words(wait: Duration) -> String {
    let ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    crate::model::DurationMs(ms).to_string()
}

/// The first error of type `E` in the chain of causes, the error itself included.
pub(super) fn cause<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// One line, no control characters, of bounded length.
pub(super) fn readable(text: &str) -> String {
    let mut line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > TEXT_BYTES_MAX {
        let cut = (0..=TEXT_BYTES_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_keep_their_class() {
        for (error_type, text, kind, message) in [
            ("bad_data", "1:2: parse error", ErrorKind::BadData, "bad_data: 1:2: parse error"),
            ("execution", "boom\n", ErrorKind::Execution, "execution: boom"),
            ("timeout", "", ErrorKind::Timeout, "timeout"),
            ("internal", "x", ErrorKind::Unavailable, "internal: x"),
            ("422", "odd vendor", ErrorKind::Unavailable, "422: odd vendor"),
            ("", "", ErrorKind::Unavailable, "answered with an error that has no text"),
        ] {
            let error = from_envelope(error_type, text);
            assert_eq!((error.kind(), error.message()), (kind, message));
        }
        let long = from_envelope("execution", &"é".repeat(TEXT_BYTES_MAX));
        assert!(long.message().len() < TEXT_BYTES_MAX + 32 && long.message().ends_with('…'));
    }

    #[test]
    fn statuses_are_named() {
        assert_eq!(from_status(StatusCode::INTERNAL_SERVER_ERROR).message(), "answered 500 Internal Server Error");
        let unnamed = StatusCode::from_u16(599).expect("valid");
        assert_eq!(from_status(unnamed).message(), "answered 599");
        let redirect = from_status(StatusCode::FOUND).to_string();
        assert_eq!(redirect, "answered 302 Found; redirects are not followed, write the final address into the config");
        let told = from_refusal(StatusCode::BAD_REQUEST, "exceeded sample limit (10)\n").to_string();
        assert_eq!(told, "answered 400 Bad Request: exceeded sample limit (10)");
    }
}
