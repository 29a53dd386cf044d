//! What the endpoints that ask about series have in common.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::evaluation::{SourceChoice, proxied_headers, within_deadline};
use crate::error::Error;
use crate::model::{Matcher, MetadataRequest, QueryContext};
use crate::query::QueryOptions;
use crate::scan::SeriesSource;
use crate::serve::http::params::Form;
use crate::serve::http::respond::{ApiError, Notes, json_response};
use crate::serve::http::state::ApiState;
use crate::syntax::{self, ExprKind, Features, VectorSelector};

/// What the parser says of a selector that matches everything.
const EVERYTHING_SELECTED: &str = "vector selector must contain at least one non-empty matcher";

/// What the parser says of no text at all …
const NO_EXPRESSION: &str = "no expression found in input";
/// … and what Prometheus says of it where a selector is wanted.
const NO_SELECTOR: &str = "unexpected end of input";

/// Reads one `match[]`: a selector of series without a range, an offset or a time.
pub(in crate::serve::http) fn selector_of(text: &str) -> Result<Vec<Matcher>, Error> {
    // No gate concerns a plain selector.
    let expr = match syntax::parse(text, &Features::default()) {
        Ok(expr) => expr,
        // It is weighed with the others, and refused in the words for a `match[]`.
        Err(error) if error.message == EVERYTHING_SELECTED => return Ok(Vec::new()),
        Err(mut error) => {
            if error.message == NO_EXPRESSION {
                error.message = NO_SELECTOR.into();
            }
            return Err(Error::bad_data(error.render(text)));
        }
    };
    match expr.kind {
        ExprKind::VectorSelector(selector) if is_plain(&selector) => Ok(selector.matchers),
        _ => Err(Error::bad_data(format!("{text:?} is not a selector of series, such as up{{job=\"a\"}}"))),
    }
}

fn is_plain(selector: &VectorSelector) -> bool {
    selector.offset.is_none() && selector.at.is_none() && selector.extension.is_none()
}

/// Writes an answer with warnings and infos.
type Write<T> = fn(&T, &[String], &[String]) -> Bytes;

/// Asks the source of the running engine and answers with what it says, or with its error; warnings go with both.
pub(super) async fn answer<T, F, Fut>(
    state: &ApiState,
    headers: &HeaderMap,
    form: &Form,
    write: Write<T>,
    ask: F,
) -> Result<Response, ApiError>
where
    T: Send + 'static,
    F: FnOnce(Arc<dyn SeriesSource>, QueryContext) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Limited<T>, Error>> + Send + 'static,
{
    let engine = state.engine();
    let SourceChoice { partial_response, groups } = SourceChoice::parse(state, form)?;
    let proxied_headers = proxied_headers(state, headers);
    let options = QueryOptions { proxied_headers, partial_response, groups, ..QueryOptions::default() };
    let context = engine.context(&options);
    let annotations = context.annotations.clone();
    let source = Arc::clone(engine.source());
    // Writing a hundred thousand label sets as text is work, too.
    let noted = annotations.clone();
    let task = state.cpu().spawn(async move {
        let answer = ask(source, context).await?;
        let mut notes = Notes::new(&noted.snapshot(), "");
        if answer.was_cut {
            notes.add_truncated();
        }
        Ok(write(&answer.value, &notes.warnings, &notes.infos))
    });
    match within_deadline(engine.options().timeout, task).await {
        Ok(json) => Ok(json_response(StatusCode::OK, Body::from(json))),
        Err(error) => Err(ApiError { error, notes: Notes::new(&annotations.snapshot(), "") }),
    }
}

/// An answer, and whether `limit` has cut it.
pub(super) struct Limited<T> {
    pub(super) value: T,
    pub(super) was_cut: bool,
}

/// The request that shows whether there is more than was asked for: with one more than the limit.
pub(super) fn with_one_more(mut request: MetadataRequest) -> MetadataRequest {
    request.limit = request.limit.map(|limit| limit.saturating_add(1));
    request
}

/// Cuts a list to the limit of the client.
pub(super) fn cut_to<T>(mut value: Vec<T>, limit: Option<usize>) -> Limited<Vec<T>> {
    let was_cut = limit.is_some_and(|limit| value.len() > limit);
    value.truncate(limit.unwrap_or(usize::MAX));
    Limited { value, was_cut }
}
