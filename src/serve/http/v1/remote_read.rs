//! `/api/v1/read`: remote read, for a Prometheus, a promxy, a Thanos sidecar or another gateway above.
//!
//! | | as Prometheus 3.14 |
//! |---|---|
//! | form of the answer | the first that the client accepts and that is known: chunks as a stream, or all samples in one message |
//! | range | that of the hints, where there are any; both ends belong to it |
//! | `global.external_labels` | on every series; a matcher that asks for one of them asks for its absence |
//! | series | sorted by the labels that they have without external ones |
//! | a query without matchers | selects nothing |
//!
//! The parameters `partial_response` and `group` of the URL mean what they mean to queries.
//!
//! A failure before the first byte is an answer with a status and a text; after it the connection is cut.
//!
//! Source: Prometheus v3.14 storage/remote/read_handler.go, codec.go and chunked.go, tsdb/querier.go.

mod answer;
mod sending;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::evaluation::{SourceChoice, proxied_headers};
use crate::decode::{READ_REQUEST_BYTES_MAX, decode_read_request};
use crate::encode::StartTimeChunks;
use crate::error::{Error, ErrorKind};
use crate::model::{LOOP_HEADER, START_TIMES_HEADER, WITHOUT_STALE_MARKERS_HEADER};
use crate::query::QueryOptions;
use crate::serve::http::params::Form;
use crate::serve::http::respond::text_response;
use crate::serve::http::state::ApiState;
use answer::Reading;
use sending::{Piece, Sending, body_of, pieces};

/// From this version on Prometheus reads chunks with start timestamps, as it may send them to anybody.
const PROMETHEUS_WITH_START_TIMES: (u32, u32) = (3, 14);

/// The form of an answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum AnswerForm {
    /// One message with all samples.
    Samples,
    /// A stream of frames with chunks.
    Chunks,
}

impl AnswerForm {
    /// The first that is known; samples where the client says nothing.
    fn negotiate(accepted: &[i32]) -> Result<Self, Error> {
        if accepted.is_empty() {
            return Ok(Self::Samples);
        }
        let known = accepted.iter().find_map(|number| match number {
            0 => Some(Self::Samples),
            1 => Some(Self::Chunks),
            _ => None,
        });
        known.ok_or_else(|| {
            let numbers: Vec<String> = accepted.iter().map(i32::to_string).collect();
            let numbers = numbers.join(" ");
            let supported = "map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]";
            Error::bad_data(format!(
                "server does not support any of the requested response types: [{numbers}]; supported: {supported}"
            ))
        })
    }

    fn response(self, body: Body) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        match self {
            Self::Samples => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            }
            Self::Chunks => {
                let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
        }
        response
    }
}

/// Answers a remote read.
pub(super) async fn read(State(state): State<ApiState>, request: Request) -> Response {
    match begin(&state, request).await {
        Ok(response) => response,
        Err(error) => refusal(&error),
    }
}

/// The answer as soon as there is something of it.
async fn begin(state: &ApiState, request: Request) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let form = Form::parse("", head.uri.query().unwrap_or_default())?;
    let SourceChoice { partial_response, groups } = SourceChoice::parse(state, &form)?;
    let body = read_body(body, state.options().read_timeout).await?;
    let request = decode_read_request(&body)?;
    let form = AnswerForm::negotiate(&request.accepted_response_types)?;
    let engine = state.engine();
    let source = Arc::clone(engine.source());
    let asked_at = Instant::now();
    let deadline = asked_at.checked_add(engine.options().timeout);
    let options = QueryOptions {
        asked_at: Some(asked_at),
        proxied_headers: proxied_headers(state, &head.headers),
        partial_response,
        groups,
        ..QueryOptions::default()
    };
    let reading = Reading {
        engine,
        options,
        external_labels: state.config().external_labels.clone(),
        queries: request.queries,
        samples_max: state.options().read_samples_max,
        start_times: start_times_for(&head.headers),
    };
    let (sender, mut receiver) = pieces();
    let mut sending = Sending::new(sender, state.read_turns(), deadline);
    let metrics = Arc::clone(&state.options().metrics);
    let task = state.cpu().spawn(async move {
        let counted = metrics.remote_read_started();
        let answered = match form {
            AnswerForm::Samples => reading.send_samples(&mut sending).await,
            AnswerForm::Chunks => reading.send_frames(&mut sending).await,
        };
        counted.finish(answered.as_ref().map_or_else(|error| error.kind().api_type(), |()| "success"));
        sending.end(answered).await;
    });
    let body = match receiver.recv().await {
        Some(Piece::Data(first)) => body_of(first, receiver, task),
        Some(Piece::End) => Body::empty(),
        Some(Piece::Failed(error)) => return Err(error),
        // It has panicked, or the process ends.
        None => return Err(task.await.err().unwrap_or_else(|| Error::internal("the remote read has no end"))),
    };
    let mut response = form.response(body);
    // By now every server that was asked has shown what it can.
    if !source.tells_start_times() {
        response.headers_mut().insert(WITHOUT_STALE_MARKERS_HEADER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

async fn read_body(body: Body, timeout: Duration) -> Result<Bytes, Error> {
    match tokio::time::timeout(timeout, Limited::new(body, READ_REQUEST_BYTES_MAX).collect()).await {
        Err(_) => Err(Error::new(ErrorKind::Timeout, "the body of the request did not arrive in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Error::bad_data(format!("the body is larger than {READ_REQUEST_BYTES_MAX} bytes")))
        }
        Ok(Err(_)) => Err(Error::bad_data("the body broke off")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Prometheus asks nobody whether he can read start timestamps. Its versions of before they were there cannot, and neither can
/// those who have copied its reader; so who gets them has to be one who says so, or a Prometheus that is new enough.
fn start_times_for(headers: &HeaderMap) -> StartTimeChunks {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_new = prometheus_version(agent).is_some_and(|version| version >= PROMETHEUS_WITH_START_TIMES);
    if is_new || headers.contains_key(START_TIMES_HEADER) {
        StartTimeChunks::WhereKnown
    } else {
        StartTimeChunks::Never
    }
}

/// `(3, 14)` of `Prometheus/3.14.0`.
fn prometheus_version(agent: &str) -> Option<(u32, u32)> {
    let mut numbers = agent.strip_prefix("Prometheus/")?.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Prometheus' own words for a client of remote read are a status and a text. To a gateway above, a 4xx says that the request
/// was wrong and may be put otherwise: only what is the client's fault is one.
fn refusal(error: &Error) -> Response {
    let status = match error.kind() {
        ErrorKind::BadData => StatusCode::BAD_REQUEST,
        ErrorKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = text_response(status, format!("{error}\n"));
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if error.kind() == ErrorKind::Loop {
        headers.insert(LOOP_HEADER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_known_is_taken() {
        use AnswerForm::{Chunks, Samples};
        for (accepted, form) in [
            (&[][..], Samples),
            (&[0], Samples),
            (&[1], Chunks),
            (&[1, 0], Chunks),
            (&[0, 1], Samples),
            (&[7, 1, 0], Chunks),
        ] {
            assert_eq!(AnswerForm::negotiate(accepted), Ok(form), "{accepted:?}");
        }
        let refused = AnswerForm::negotiate(&[2, -1]).expect_err("nobody knows these");
        assert_eq!(
            (refused.kind(), refused.message()),
            (
                ErrorKind::BadData,
                "server does not support any of the requested response types: [2 -1]; supported: map[SAMPLES:{} \
                 STREAMED_XOR_CHUNKS:{}]"
            )
        );
    }

    #[test]
    fn start_timestamps_go_to_who_can_read_them() {
        for (agent, says_so, expected) in [
            ("", false, StartTimeChunks::Never),
            ("", true, StartTimeChunks::WhereKnown),
            ("Prometheus/2.42.0+ds", false, StartTimeChunks::Never),
            ("Prometheus/3.5.0", false, StartTimeChunks::Never),
            ("Prometheus/3.14.0", false, StartTimeChunks::WhereKnown),
            ("Prometheus/v4.0.1", false, StartTimeChunks::WhereKnown),
            ("Prometheus/", false, StartTimeChunks::Never),
            ("Prometheus/3", false, StartTimeChunks::Never),
            ("thanos/3.14.0", false, StartTimeChunks::Never),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            if says_so {
                headers.insert(START_TIMES_HEADER, HeaderValue::from_static("1"));
            }
            assert_eq!(start_times_for(&headers), expected, "{agent:?} {says_so}");
        }
    }
}
