//! Envelopes: what every endpoint of `/api/v1` answers with.

use std::io;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::encode;
use crate::error::{Error, ErrorKind};
use crate::model::{Annotation, AnnotationKind, LOOP_HEADER};

/// More warnings, and more infos, than these are counted but not shown.
const SHOWN_MAX: usize = 10;

/// What is said beside an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::serve) struct Notes {
    pub(in crate::serve) warnings: Vec<String>,
    pub(in crate::serve) infos: Vec<String>,
}

impl Notes {
    /// Renders annotations against their query, sorted so that the same query always says the same, ten of each kind.
    pub(in crate::serve) fn new(annotations: &[Annotation], query: &str) -> Self {
        let render = |kind: AnnotationKind| {
            let of_kind = annotations.iter().filter(|annotation| annotation.kind == kind);
            let mut texts: Vec<String> = of_kind.map(|annotation| annotation.render(query)).collect();
            texts.sort_unstable();
            texts.dedup();
            texts
        };
        let mut notes = Self { warnings: render(AnnotationKind::Warning), infos: render(AnnotationKind::Info) };
        shorten(&mut notes.warnings, "warning");
        shorten(&mut notes.infos, "info");
        notes
    }

    /// Says that `limit` cut the answer, behind everything else; once, though the downstreams have said so, too.
    pub(in crate::serve) fn add_truncated(&mut self) {
        self.warnings.retain(|text| text != encode::TRUNCATED_WARNING);
        self.warnings.push(encode::TRUNCATED_WARNING.to_owned());
    }
}

fn shorten(texts: &mut Vec<String>, kind: &str) {
    let omitted = texts.len().saturating_sub(SHOWN_MAX);
    if omitted > 0 {
        texts.truncate(SHOWN_MAX);
        texts.push(format!("{omitted} more {kind} annotations omitted"));
    }
}

/// An error and what was noted before it happened.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(super) error: Error,
    pub(super) notes: Notes,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self { error, notes: Notes::default() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.error.kind();
        let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = error_response(status, kind.api_type(), self.error.message(), &self.notes);
        if kind == ErrorKind::Loop {
            response.headers_mut().insert(LOOP_HEADER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// `{"status":"success","data":…}` of something small. Query results are streamed instead.
pub(super) fn success_response<T: Serialize>(data: &T) -> Response {
    match encode::encode_data(data, &[], &[]) {
        Ok(json) => json_response(StatusCode::OK, Body::from(json)),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// `{"status":"error",…}` with any status.
pub(super) fn error_response(status: StatusCode, error_type: &str, message: &str, notes: &Notes) -> Response {
    let json = encode::error_response(error_type, message, &notes.warnings, &notes.infos);
    json_response(status, Body::from(json))
}

/// A body that is JSON already.
pub(super) fn json_response(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Plain text, as Go's server answers outside of the API.
pub(super) fn text_response(status: StatusCode, text: impl Into<String>) -> Response {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// One piece of a streamed body.
#[derive(Debug)]
pub(super) enum Chunk {
    /// Bytes.
    Data(Bytes),
    /// The body is complete. A channel that closes without it makes the client see a broken transfer, not a short answer.
    End,
}

/// A body of chunks that are made elsewhere.
pub(super) fn streamed_body(chunks: mpsc::Receiver<Chunk>) -> Body {
    let pieces = stream::unfold(Some(chunks), |chunks| async {
        let mut chunks = chunks?;
        match chunks.recv().await {
            Some(Chunk::Data(bytes)) => Some((Ok(bytes), Some(chunks))),
            Some(Chunk::End) => None,
            None => Some((Err(io::Error::other("the answer could not be completed")), None)),
        }
    });
    // The compression layer asks a body again after its end.
    Body::from_stream(pieces.fuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_streamed_body_may_be_asked_again_after_its_end() {
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Chunk::Data(Bytes::from_static(b"[]"))).await.expect("room for two");
        sender.send(Chunk::End).await.expect("room for two");
        let mut body = streamed_body(receiver).into_data_stream();
        assert_eq!(body.next().await.expect("a piece").expect("no error"), "[]");
        assert!(body.next().await.is_none() && body.next().await.is_none());
    }

    #[test]
    fn ten_of_each_kind_are_shown() {
        let mut annotations: Vec<Annotation> =
            (0..12).rev().map(|index| Annotation::warning(format!("replica {index:02} failed"))).collect();
        annotations.push(Annotation::promql_info("look", 2..3));
        let notes = Notes::new(&annotations, "a\nb");
        assert_eq!(notes.warnings.len(), 11);
        assert_eq!(notes.warnings[0], "replica 00 failed");
        assert_eq!(notes.warnings[10], "2 more warning annotations omitted");
        assert_eq!(notes.infos, ["PromQL info: look (2:1)"]);
    }

    #[test]
    fn a_cut_answer_says_so_once() {
        let of_downstream = [Annotation::warning(encode::TRUNCATED_WARNING), Annotation::warning("up is late")];
        let mut notes = Notes::new(&of_downstream, "");
        notes.add_truncated();
        assert_eq!(notes.warnings, ["up is late", encode::TRUNCATED_WARNING]);
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error() {
        let read = |chunks: Vec<Chunk>| async {
            let (sender, receiver) = mpsc::channel(8);
            for chunk in chunks {
                sender.send(chunk).await.expect("there is room");
            }
            drop(sender);
            axum::body::to_bytes(streamed_body(receiver), 100).await.ok()
        };
        let data = || Chunk::Data(Bytes::from_static(b"ab"));
        assert_eq!(read(vec![data(), data(), Chunk::End]).await, Some(Bytes::from_static(b"abab")));
        assert_eq!(read(vec![data()]).await, None);
    }
}
