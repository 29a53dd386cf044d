//! Counts and logs every request, once its answer has been sent or given up.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Version;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::form::LoggedForm;
use super::params::Form;
use super::state::ApiState;
use crate::telemetry::{AccessRecord, form_for_log};

/// The label of requests that match no route: their paths are the client's invention.
const NO_ROUTE: &str = "not_found";

/// Starts watching a request; the [`Observation`] travels with the body of the answer.
pub(super) async fn observe(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let logged_form = LoggedForm::default();
    let mut observation = Observation::new(state, &request, Arc::clone(&logged_form.0));
    request.extensions_mut().insert(logged_form);
    // If the client goes before there is an answer, this future is dropped here, and 499 is what was noted.
    let response = next.run(request).await;
    observation.status = response.status().as_u16();
    response.map(|body| Body::new(ObservedBody { body, observation }))
}

struct Observation {
    state: ApiState,
    started: Instant,
    handler: String,
    remote: Option<IpAddr>,
    method: String,
    path: String,
    url_query: String,
    version: Version,
    form: Arc<OnceLock<String>>,
    status: u16,
    response_bytes: u64,
}

impl Observation {
    fn new(state: ApiState, request: &Request, form: Arc<OnceLock<String>>) -> Self {
        let extensions = request.extensions();
        let prefix = state.options().route_prefix.trim_end_matches('/');
        let handler = extensions.get::<MatchedPath>().map_or(NO_ROUTE, |path| {
            let path = path.as_str();
            path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path)
        });
        Self {
            handler: handler.to_owned(),
            remote: extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip()),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            url_query: request.uri().query().unwrap_or("").to_owned(),
            version: request.version(),
            started: Instant::now(),
            status: 499,
            response_bytes: 0,
            form,
            state,
        }
    }

    /// What the handler read, or for a handler that reads no form the query of the URL.
    fn form_for_log(&self) -> String {
        if let Some(form) = self.form.get() {
            return form.clone();
        }
        let bytes_max = self.state.options().logged_form_bytes_max;
        match Form::parse("", &self.url_query) {
            Ok(form) => form_for_log(form.iter(), bytes_max),
            // Names and values cannot be told apart, so neither can secrets.
            Err(_) => String::new(),
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let options = self.state.options();
        let duration = self.started.elapsed();
        options.metrics.http_request(&self.handler, self.status, duration, self.response_bytes);
        if let Some(log) = &options.access_log {
            log.write(&AccessRecord {
                remote: self.remote,
                finished: SystemTime::now(),
                method: std::mem::take(&mut self.method),
                path: std::mem::take(&mut self.path),
                protocol: format!("{:?}", self.version),
                status: self.status,
                grpc_code: None,
                response_bytes: self.response_bytes,
                duration,
                form: self.form_for_log(),
            });
        }
    }
}

/// A body that counts its bytes; when it is dropped the request is over.
struct ObservedBody {
    body: Body,
    observation: Observation,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.observation.response_bytes += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
