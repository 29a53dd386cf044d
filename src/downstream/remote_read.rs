//! Raw samples over Prometheus' remote read: chunks as they are stored, decoded while they arrive.
//!
//! | file | what it does |
//! |---|---|
//! | `request.rs` | a selector and a range as the body of a POST |
//! | `external_labels.rs` | the labels that the server adds: kept out of the matchers, taken off the series |
//! | `client_labels.rs` | which series go into the tables, and under which labels |
//! | `raw_tables.rs` | the body of an answer as samples tables in order |
//! | `read_slots.rs` | who may keep a server waiting |

mod client_labels;
mod external_labels;
mod raw_tables;
mod read_slots;
mod request;

use std::sync::Arc;

use http::StatusCode;

pub(super) use external_labels::ExternalLabels;
pub(super) use raw_tables::{RawTables, TablesError};
pub(super) use request::{AcceptedForms, RawQuery};

use super::instrument::CallMeter;
use super::open_answer::{OpenAnswer, OpenRequest};
use super::response_error::unavailable;
use super::{HttpClient, TargetUrl};
use crate::error::{Error, ErrorKind};
use crate::model::{QueryContext, WITHOUT_STALE_MARKERS_HEADER};
use read_slots::ReadPlace;
use request::encode_empty_request;

/// The remote read endpoint of one server.
#[derive(Clone, Debug)]
pub(super) struct RemoteRead {
    client: Arc<HttpClient>,
    url: TargetUrl,
    path: String,
}

/// Which form an answer has; its content type says so.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum AnswerForm {
    /// A stream of frames with chunks.
    Chunks,
    /// One block of snappy with all samples.
    Samples,
}

impl AnswerForm {
    fn from_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/x-streamed-protobuf" => Some(Self::Chunks),
            "application/x-protobuf" => Some(Self::Samples),
            _ => None,
        }
    }

    /// Snappy is part of the form of samples, whether the header says it or not.
    fn allows_encoding(self, encoding: &str) -> bool {
        matches!((self, encoding), (_, "" | "identity") | (Self::Samples, "snappy"))
    }
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ReadError {
    /// The server has no remote read, and says so: ask otherwise.
    NotSpoken(Error),
    /// The server refused this request. It may answer the same question put otherwise.
    Refused(Error),
    /// The server failed, or cannot be reached.
    Failed(Error),
}

impl ReadError {
    /// What to say.
    pub(super) fn error(&self) -> Error {
        match self {
            Self::NotSpoken(error) | Self::Refused(error) | Self::Failed(error) => error.clone(),
        }
    }
}

impl RemoteRead {
    /// `path` stands behind the target's prefix.
    pub(super) fn new(client: Arc<HttpClient>, url: TargetUrl, path: &str) -> Self {
        Self { client, url, path: path.to_owned() }
    }

    /// Asks for raw samples. When this returns, the head of the answer is there.
    pub(super) async fn ask(
        &self,
        query: &RawQuery,
        external: &ExternalLabels,
        accepted: AcceptedForms,
        context: &QueryContext,
        meter: &CallMeter,
    ) -> Result<RawTables, ReadError> {
        let body = query.encode(external, accepted).map_err(ReadError::Refused)?;
        let answer = self.post(body, context, Some(meter)).await?;
        let place = ReadPlace::new(self.url.as_str(), Arc::clone(meter.metrics()));
        RawTables::try_new(place, answer, query, external, context).map_err(ReadError::Refused)
    }

    /// Asks for nothing, to learn whether there is somebody who would answer.
    pub(super) async fn try_out(&self, context: &QueryContext) -> Result<(), ReadError> {
        let body = encode_empty_request().map_err(ReadError::Failed)?;
        self.post(body, context, None).await.map(drop)
    }

    async fn post(
        &self,
        body: bytes::Bytes,
        context: &QueryContext,
        meter: Option<&CallMeter>,
    ) -> Result<(AnswerForm, OpenAnswer), ReadError> {
        let request = OpenRequest::RemoteRead { path: self.path.clone(), body };
        let answer = self.client.open(&self.url, &request, context, meter).await.map_err(ReadError::Failed)?;
        let status = answer.status;
        if status.is_success() {
            let media_type = answer.media_type();
            let Some(form) = AnswerForm::from_media_type(&media_type) else {
                let text = format!("answered {} where a remote read was asked for", shown_media_type(&media_type));
                return Err(ReadError::NotSpoken(unavailable(text)));
            };
            if !form.allows_encoding(&answer.content_encoding()) {
                let text = "bad answer: it is compressed, which was not asked for";
                return Err(ReadError::Failed(unavailable(text)));
            }
            if answer.has_header(WITHOUT_STALE_MARKERS_HEADER) {
                let text = "servers behind it tell no stale markers by remote read, of which its query API knows";
                return Err(ReadError::Refused(unavailable(text)));
            }
            return Ok((form, answer));
        }
        let error = answer.into_error().await;
        Err(match status {
            _ if error.kind() == ErrorKind::Loop => ReadError::Failed(error),
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::NOT_IMPLEMENTED => ReadError::NotSpoken(error),
            status if status.is_server_error() => ReadError::Failed(error),
            _ => ReadError::Refused(error),
        })
    }
}

/// So much of a content type is shown.
const MEDIA_TYPE_CHARS_MAX: usize = 60;

fn shown_media_type(media_type: &str) -> String {
    if media_type.is_empty() { "nothing".to_owned() } else { media_type.chars().take(MEDIA_TYPE_CHARS_MAX).collect() }
}
