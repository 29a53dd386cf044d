//! `/federate`: the newest sample of each series, as another collector scrapes it. Source: Prometheus v3.14 web/federate.go.
//!
//! A scrape has no place for warnings: what was noted is in `Warning` headers, so that an answer without the series of a server
//! that failed can be told from a whole one.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::accept::exposition_format;
use super::params::Form;
use super::respond::{ApiError, Chunk, Notes, streamed_body, text_response};
use super::state::ApiState;
use super::v1::evaluation::{SourceChoice, admit, now, proxied_headers, within_deadline};
use super::v1::series_request::selector_of;
use crate::encode::{ExpositionFormat, FederatedChunks};
use crate::error::Error;
use crate::model::{Held, Labels, Matcher};
use crate::query::{NewestSamples, QueryOptions};
use crate::runtime::CpuPool;

/// Chunks that wait for a slow client; each is a few hundred kilobytes at most, and counted by nobody.
const WAITING_CHUNKS_MAX: usize = 2;
/// A client that takes nothing for so long holds a whole answer in memory, and is given up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);
/// A warning is cut behind so many bytes.
const WARNING_BYTES_MAX: usize = 512;
/// All warnings together: clients and proxies bound the head of an answer, some at 4 KiB.
const WARNINGS_BYTES_MAX: usize = 2_048;

/// `match[]`, any number of times: the series that any of them selects. Without one the page is empty.
pub(super) async fn federate(
    State(state): State<ApiState>,
    headers: HeaderMap,
    form: Result<Form, ApiError>,
) -> Response {
    let asked = form.map_err(|refused| refused.error).and_then(|form| asked(&state, &headers, &form));
    let answer = match asked {
        Ok((selectors, options)) => answer(&state, &headers, selectors, options).await,
        Err(error) => Err(Refused { error, notes: Notes::default() }),
    };
    answer.unwrap_or_else(|refused| refused.response())
}

/// The selectors, and who is asked how; `group` and `partial_response` are ours.
fn asked(state: &ApiState, headers: &HeaderMap, form: &Form) -> Result<(Vec<Vec<Matcher>>, QueryOptions), Error> {
    let selectors = form.all("match[]").map(selector_of).collect::<Result<Vec<_>, Error>>()?;
    let SourceChoice { partial_response, groups } = SourceChoice::parse(state, form)?;
    let proxied_headers = proxied_headers(state, headers);
    Ok((selectors, QueryOptions { proxied_headers, partial_response, groups, ..QueryOptions::default() }))
}

/// An error in plain text, as Go's server sends it; what was noted before it in headers.
struct Refused {
    error: Error,
    notes: Notes,
}

impl Refused {
    fn response(self) -> Response {
        // 422 is a word of the API; here, what is neither the client's fault nor a matter of time is 500, as in Prometheus.
        let status = StatusCode::from_u16(self.error.kind().http_status()).ok();
        let status = status.filter(|status| *status != StatusCode::UNPROCESSABLE_ENTITY);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = text_response(status, format!("{}\n", self.error.message()));
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        add_warnings(&self.notes, response.headers_mut());
        response
    }
}

async fn answer(
    state: &ApiState,
    headers: &HeaderMap,
    selectors: Vec<Vec<Matcher>>,
    options: QueryOptions,
) -> Result<Response, Refused> {
    // One that came twice counts once, as for Go: the first.
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let writing = Writing {
        format: exposition_format(accept),
        external_labels: state.config().external_labels.clone(),
        cpu: state.cpu(),
    };
    let noted = options.noted.clone();
    let ended = evaluate(state, selectors, options, writing).await;
    ended.map_err(|error| Refused { error, notes: Notes::new(&noted.snapshot(), "") })
}

async fn evaluate(
    state: &ApiState,
    selectors: Vec<Vec<Matcher>>,
    options: QueryOptions,
    writing: Writing,
) -> Result<Response, Error> {
    let admitted = admit(state, "federate", None).await?;
    admitted.begins();
    let (engine, timeout) = (std::sync::Arc::clone(&admitted.engine), admitted.timeout);
    let task = state.cpu().spawn(async move {
        let found = engine.newest(&selectors, now(), &options).await?;
        let samples_loaded = found.samples_loaded;
        Ok((writing.response(found)?, samples_loaded))
    });
    let ended = within_deadline(timeout, task).await;
    admitted.ends(ended.as_ref().map(|(_, samples_loaded)| *samples_loaded));
    ended.map(|(response, _)| response)
}

/// How a result is put into words.
struct Writing {
    format: ExpositionFormat,
    external_labels: Labels,
    cpu: CpuPool,
}

impl Writing {
    /// A short page is complete at once and has a length; a long one is written as the client reads it.
    fn response(self, found: NewestSamples) -> Result<Response, Error> {
        let NewestSamples { tables, rows, annotations, held, .. } = found;
        let mut chunks = FederatedChunks::new(self.format, &self.external_labels, tables, rows);
        let first = chunks.next().transpose()?.unwrap_or_default();
        let body = match chunks.next().transpose()? {
            None => Body::from(first),
            Some(second) => {
                let (sender, receiver) = mpsc::channel(WAITING_CHUNKS_MAX);
                // Ends by itself when the client goes: then nobody receives.
                self.cpu.detach(send_chunks(sender, [first, second], chunks, held));
                streamed_body(receiver)
            }
        };
        let mut response = Response::new(body);
        let content_type = HeaderValue::from_str(&self.format.content_type());
        let content_type = content_type.map_err(|_| Error::internal("a content type that is no header"))?;
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        add_warnings(&Notes::new(&annotations, ""), response.headers_mut());
        Ok(response)
    }
}

/// A body that ends without [`Chunk::End`] is seen to be broken: the scrape fails, and nobody takes half of it for all.
async fn send_chunks(sender: mpsc::Sender<Chunk>, begun: [Bytes; 2], rest: FederatedChunks, held: Vec<Held>) {
    for chunk in begun.into_iter().map(Ok).chain(rest) {
        let chunk = match chunk {
            Ok(chunk) => Chunk::Data(chunk),
            Err(error) => return tracing::error!(%error, "a federated page could not be written to its end"),
        };
        match tokio::time::timeout(CLIENT_PATIENCE, sender.send(chunk)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return tracing::debug!("the client went before the end of its page"),
            Err(_) => return tracing::warn!(patience = ?CLIENT_PATIENCE, "a client read too slowly and was given up"),
        }
    }
    drop(held);
    // If nobody receives any more, nobody misses it.
    drop(tokio::time::timeout(CLIENT_PATIENCE, sender.send(Chunk::End)).await);
}

/// `Warning: 199 quiver "…"` (RFC 7234): what could not be asked, and what was noted beside it.
fn add_warnings(notes: &Notes, headers: &mut HeaderMap) {
    let texts: Vec<&String> = notes.warnings.iter().chain(&notes.infos).collect();
    let mut room = WARNINGS_BYTES_MAX;
    for (at, text) in texts.iter().enumerate() {
        tracing::debug!("a federated page was made with a warning: {text}");
        let value = warning_value(text);
        let is_last = value.len() > room;
        room = room.saturating_sub(value.len());
        let value = if is_last { warning_value(&format!("{} more warnings", texts.len() - at)) } else { value };
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(header::WARNING, value);
        }
        if is_last {
            break;
        }
    }
}

/// In visible ASCII, whatever the text is.
fn warning_value(text: &str) -> String {
    let mut value = String::from("199 quiver \"");
    for character in text.chars().take(WARNING_BYTES_MAX) {
        match character {
            '"' | '\\' => value.extend(['\\', character]),
            ' '..='~' => value.push(character),
            _ => value.push('?'),
        }
    }
    value.push('"');
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_visible_text_and_few_enough_for_any_client() {
        let told = |texts: &[String]| {
            let mut headers = HeaderMap::new();
            add_warnings(&Notes { warnings: texts.to_vec(), infos: Vec::new() }, &mut headers);
            let values = headers.get_all(header::WARNING).iter();
            values.map(|value| value.to_str().expect("visible").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(told(&["a \"b\"\n\\é".to_owned()]), [r#"199 quiver "a \"b\"?\\?""#]);
        let long = "x".repeat(10_000);
        let values = told(&[long.clone(), long.clone(), long.clone(), long.clone(), long]);
        assert_eq!(values.len(), 4);
        assert_eq!(values[3], r#"199 quiver "2 more warnings""#);
        assert!(values.iter().map(String::len).sum::<usize>() < WARNINGS_BYTES_MAX + 100);
    }
}
