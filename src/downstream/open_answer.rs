//! An answer that is read as it arrives, by whoever wants it, and not to the end if he does not.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

use super::TargetUrl;
use super::http_client::{HttpClient, WAIT_MAX};
use super::instrument::CallMeter;
use super::response_error::{from_body, from_envelope, from_loop, from_refusal, in_words, unavailable};
use crate::decode::decode_error_body;
use crate::error::{Error, ErrorKind};
use crate::model::{QueryContext, START_TIMES_HEADER};

/// So much of an error page is read to find a text in it.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// The version of the remote read protocol: there has never been another.
const REMOTE_READ_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-prometheus-remote-read-version"), HeaderValue::from_static("0.1.0"));

/// A request whose answer is read piece by piece.
#[derive(Clone, Debug)]
pub(super) enum OpenRequest {
    /// GET of a path behind the target's prefix, with parameters.
    Get { path: String, params: Vec<(&'static str, String)> },
    /// POST of a remote read request, already compressed. The path comes from the config.
    RemoteRead { path: String, body: Bytes },
}

impl HttpClient {
    /// Sends the request and waits for the head of its answer, whatever its status. All waits together, to the last byte of
    /// the body, are bounded by the group's timeout, and by the query's deadline; what the reader does between them is not
    /// counted as waiting. Dropping the answer drops the connection, which tells the server to stop.
    pub(super) async fn open(
        &self,
        target: &TargetUrl,
        request: &OpenRequest,
        context: &QueryContext,
        meter: Option<&CallMeter>,
    ) -> Result<OpenAnswer, Error> {
        let mut patience = Patience::new(self.timeout(), context);
        let mut request = self.open_request(target, request, context)?;
        if let Some(meter) = meter {
            request.extensions_mut().insert(meter.clone());
        }
        let response = patience.wait(self.send(request)).await??;
        let (head, incoming) = response.into_parts();
        Ok(OpenAnswer {
            target: target.clone(),
            status: head.status,
            headers: head.headers,
            body: AnswerBody { incoming, patience, meter: meter.cloned() },
        })
    }

    fn open_request(
        &self,
        target: &TargetUrl,
        wanted: &OpenRequest,
        context: &QueryContext,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.query_params());
        let mut request = Request::new(Full::default());
        *request.uri_mut() = match wanted {
            OpenRequest::Get { path, params } => target.join(path, &query.extend_pairs(params).finish())?,
            OpenRequest::RemoteRead { path, .. } => target.join_clean(path, &query.finish())?,
        };
        self.add_headers(request.headers_mut(), context)?;
        // Chunks are compressed already, the other answers are small.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let OpenRequest::RemoteRead { body, .. } = wanted {
            *request.method_mut() = Method::POST;
            *request.body_mut() = Full::from(body.clone());
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            let (name, version) = REMOTE_READ_VERSION;
            headers.insert(name, version);
            headers.insert(START_TIMES_HEADER, HeaderValue::from_static("1"));
        }
        Ok(request)
    }
}

/// The head of an answer, and the rest of it as it arrives.
#[derive(Debug)]
pub(super) struct OpenAnswer {
    target: TargetUrl,
    pub status: StatusCode,
    headers: HeaderMap,
    pub body: AnswerBody,
}

impl OpenAnswer {
    /// `application/x-protobuf`: the content type without its parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let text = self.header(CONTENT_TYPE);
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Empty where there is none.
    pub(super) fn content_encoding(&self) -> String {
        self.header(CONTENT_ENCODING).trim().to_ascii_lowercase()
    }

    /// Is there a header of this name?
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The error of an answer whose status says failure: the API's own where there is one, else the status and the text.
    pub(super) async fn into_error(self) -> Error {
        let (status, is_text) = (self.status, self.media_type() == "text/plain");
        // Whatever is wrong with the page as well: the status is what matters.
        let page = self.body.read_whole(ERROR_BODY_BYTES_MAX).await.unwrap_or_default();
        let said = decode_error_body(&page);
        if let Some(error) = from_loop(&self.target, &self.headers, said.as_ref().map_or("", |(_, text)| text)) {
            return error;
        }
        match said {
            Some((error_type, text)) => from_envelope(&error_type, &text),
            None if is_text => from_refusal(status, &String::from_utf8_lossy(&page)),
            None => from_refusal(status, ""),
        }
    }
}

/// The bytes behind the head.
#[derive(Debug)]
pub(super) struct AnswerBody {
    incoming: Incoming,
    patience: Patience,
    meter: Option<CallMeter>,
}

impl AnswerBody {
    /// So many samples were decoded from it.
    pub(super) fn decoded(&self, samples: usize) {
        if let Some(meter) = &self.meter {
            meter.decoded(samples);
        }
    }
}

impl AnswerBody {
    /// The next bytes; `None` behind the last, when the body has ended as HTTP says it must.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(frame) = self.patience.wait(self.incoming.frame()).await? else { return Ok(None) };
            match frame.map_err(|error| from_body(&error))?.into_data() {
                Ok(piece) if !piece.is_empty() => {
                    if let Some(meter) = &self.meter {
                        meter.read(piece.len());
                    }
                    return Ok(Some(piece));
                }
                // Trailers say nothing that we want to know.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// All of it, if it is not more than so many bytes.
    pub(super) async fn read_whole(mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next_piece().await? {
            if whole.len() + piece.len() > bytes_max {
                return Err(unavailable(format!("bad answer: larger than {bytes_max} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

/// How long a server may still keep us waiting.
#[derive(Debug)]
pub(super) struct Patience {
    /// What the group's timeout leaves.
    left: Option<Duration>,
    whole: Duration,
    deadline: Option<Instant>,
}

impl Patience {
    /// Bounded by the group's timeout, and by the query's deadline.
    pub(super) fn new(timeout: Option<Duration>, context: &QueryContext) -> Self {
        let deadline = context.deadline.map(Instant::from_std);
        let left = timeout.or(if deadline.is_none() { Some(WAIT_MAX) } else { None });
        Self { left, whole: left.unwrap_or_default(), deadline }
    }

    /// Waits for it, if the patience lasts.
    pub(super) async fn wait<T>(&mut self, for_it: impl Future<Output = T>) -> Result<T, Error> {
        let started = Instant::now();
        let by_group = self.left.and_then(|left| started.checked_add(left));
        let Some(until) = by_group.into_iter().chain(self.deadline).min() else { return Ok(for_it.await) };
        match tokio::time::timeout_at(until, for_it).await {
            Ok(got) => {
                self.left = self.left.map(|left| left.saturating_sub(started.elapsed()));
                Ok(got)
            }
            Err(_) if by_group == Some(until) => {
                Err(Error::new(ErrorKind::Timeout, format!("no complete answer within {}", in_words(self.whole))))
            }
            Err(_) => Err(Error::new(ErrorKind::Timeout, "no complete answer before the query's deadline")),
        }
    }
}
