//! The form of a request: URL query and, for POST, body.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::params::{FORM_BYTES_MAX, Form};
use super::respond::ApiError;
use super::state::ApiState;
use crate::error::{Error, ErrorKind};
use crate::telemetry::form_for_log;

/// Where the handler leaves the form for the access log, which cannot read a body that the handler has read.
#[derive(Clone, Debug, Default)]
pub(super) struct LoggedForm(pub(super) Arc<OnceLock<String>>);

impl FromRequest<ApiState> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let body = match parts.method {
            Method::GET | Method::HEAD => String::new(),
            _ => read_form_body(body, content_type, state).await?,
        };
        let form = Self::parse(&body, parts.uri.query().unwrap_or(""))?;
        if let Some(logged) = parts.extensions.get::<LoggedForm>() {
            // Each request has one handler, and so one form: nobody has set it before.
            drop(logged.0.set(form_for_log(form.iter(), state.options().logged_form_bytes_max)));
        }
        Ok(form)
    }
}

async fn read_form_body(body: Body, content_type: &str, state: &ApiState) -> Result<String, Error> {
    let refused = |why: &str| Error::bad_data(format!("error parsing form values: {why}"));
    let collected = tokio::time::timeout(state.options().read_timeout, Limited::new(body, FORM_BYTES_MAX).collect());
    let bytes = match collected.await {
        Err(_) => return Err(Error::new(ErrorKind::Timeout, "the body of the request did not arrive in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(refused(&format!("the body is larger than {FORM_BYTES_MAX} bytes")));
        }
        Ok(Err(_)) => return Err(refused("the body broke off")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !bytes.is_empty() && !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(refused(&format!("content type {content_type:?} is not application/x-www-form-urlencoded")));
    }
    String::from_utf8(bytes.into()).map_err(|_| refused("the body is not valid UTF-8"))
}
