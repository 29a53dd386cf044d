//! What can go wrong with a server, told as values.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Response, StatusCode};
use futures::{StreamExt, stream};

use super::lie::Lie;

/// How a server misbehaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It answers properly, so much later.
    Delay(Duration),
    /// It sends its answer in pieces of so many bytes, one every so often.
    Trickle {
        /// Bytes of a piece.
        piece_bytes: usize,
        /// Time between two pieces.
        every: Duration,
    },
    /// It closes the connection after so many bytes of the body.
    CutBody {
        /// Bytes that still arrive.
        after_bytes: usize,
    },
    /// It answers with another status and body.
    Status {
        /// The status code.
        code: u16,
        /// The body.
        body: FaultBody,
    },
    /// Its `Content-Length` is off by so many bytes. Too long: the connection closes before the body is whole. Too short: the
    /// body ends in the middle, and nothing but its text says so.
    ContentLength {
        /// Added to the true length; the header is never below zero.
        off_by: i64,
    },
    /// It takes the request and never answers.
    Hang,
    /// It answers in good form and says what is not so.
    Lie(Lie),
}

/// The body of an answer with another status.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FaultBody {
    /// A proxy's error page.
    Html,
    /// Prometheus' error envelope, with the type and text `fault` and `injected fault`.
    Json,
    /// Nothing.
    Empty,
    /// A whole answer of an empty vector: only the status says that it is none.
    Success,
}

/// The answer of [`Fault::Status`].
pub fn status_response(code: u16, body: FaultBody) -> Response<Body> {
    let (content_type, text) = match body {
        FaultBody::Html => ("text/html", "<html><body><h1>Bad Gateway</h1></body></html>\n"),
        FaultBody::Json => ("application/json", r#"{"status":"error","errorType":"fault","error":"injected fault"}"#),
        FaultBody::Empty => ("text/plain", ""),
        FaultBody::Success => {
            ("application/json", r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#)
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The whole answer again, after a lie has changed it. A body of known length.
pub fn whole_body(mut head: axum::http::response::Parts, body: Bytes) -> Response<Body> {
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}

/// The answer as a stream of pieces.
pub fn trickled(
    mut head: axum::http::response::Parts,
    body: Bytes,
    piece_bytes: usize,
    every: Duration,
) -> Response<Body> {
    head.headers.remove(CONTENT_LENGTH);
    let piece_bytes = piece_bytes.max(1);
    let pieces = stream::unfold((body, false), move |(mut rest, waiting)| async move {
        if rest.is_empty() {
            return None;
        }
        if waiting {
            tokio::time::sleep(every).await;
        }
        let piece = rest.split_to(piece_bytes.min(rest.len()));
        Some((Ok::<_, Infallible>(piece), (rest, true)))
    });
    Response::from_parts(head, Body::from_stream(pieces.fuse()))
}

/// The answer up to a byte, then a broken connection.
pub fn cut(mut head: axum::http::response::Parts, mut body: Bytes, after_bytes: usize) -> Response<Body> {
    head.headers.remove(CONTENT_LENGTH);
    body.truncate(after_bytes);
    // An empty piece would end nothing: hyper leaves it out.
    let pieces = [Ok(body), Err(std::io::Error::other("injected fault"))];
    Response::from_parts(head, Body::from_stream(stream::iter(pieces)))
}

/// The answer under a length that is not its own.
pub fn with_wrong_length(mut head: axum::http::response::Parts, body: Bytes, off_by: i64) -> Response<Body> {
    let length = i64::try_from(body.len()).unwrap_or(i64::MAX).saturating_add(off_by).max(0);
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    // A stream, because a body that knows its own length may not contradict the header.
    Response::from_parts(head, Body::from_stream(stream::iter([Ok::<_, Infallible>(body)])))
}

/// Is the body text that a lie can change?
pub fn is_plain_json(head: &axum::http::response::Parts) -> bool {
    let json = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    json && !head.headers.contains_key(CONTENT_ENCODING)
}
