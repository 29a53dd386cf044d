//! One HTTP client for all targets of a server group: connections, credentials, encodings, waits. It knows HTTP; what the
//! calls mean is known in `http.rs`.

use std::time::Duration;

use bytes::Bytes;
use futures::future::select;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

use super::credentials::Credentials;
use super::dial::{DialConnector, HasAnswered};
use super::instrument::CallMeter;
use super::response_error::{
    bad_answer, cause, from_body, from_client, from_envelope, from_loop, from_status, in_words,
};
use super::{TargetUrl, tls};
use crate::config::{Scheme, Secret, ServerGroupConfig};
use crate::decode::{ContentDecoder, ContentEncoding, decode_error_body};
use crate::error::{Error, ErrorKind};
use crate::model::{GatewayId, PATH_HEADER, QueryContext};

/// The wait for an answer where neither the group nor the query sets one: promxy's `--query.timeout`.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(120);
/// So much of an error page is read to find an API error in it.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// After decoding so many bytes the thread is offered to others.
const BYTES_PER_TURN: usize = 256 * 1024;
/// Headers that belong to the connection or the body: a client's own never fit ours.
const NEVER_PROXIED: [&str; 7] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "accept-encoding",
];

/// How a call may be made.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum CallMethod {
    /// Parameters as a form. Long selectors do not fit into a URL.
    Post,
    /// Parameters in the URL.
    Get,
    /// As a form, and once more in the URL where the server refuses forms (405, 501).
    PostElseGet,
}

/// One call of a server's API.
#[derive(Clone, Debug)]
pub(super) struct ApiCall {
    /// What it is called in the metrics.
    pub name: &'static str,
    pub method: CallMethod,
    /// Behind the path prefix, without a leading slash: `api/v1/query`.
    pub path: String,
    pub params: Vec<(&'static str, String)>,
}

/// Takes a body piece by piece.
pub(super) trait BodySink: Send {
    /// The next decompressed piece.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error>;
}

/// A client made from a group's config.
#[derive(Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<DialConnector>, Full<Bytes>>,
    headers: HeaderMap,
    credentials: Option<Credentials>,
    query_params: Vec<(String, Secret)>,
    timeout: Option<Duration>,
    snaps_range_queries: bool,
    gateway: GatewayId,
    dialer: DialConnector,
}

impl HttpClient {
    /// Fails on certificates that cannot be read and headers that cannot be sent; the text names the key of the config.
    pub fn try_new(group: &ServerGroupConfig) -> Result<Self, Error> {
        let http_client = &group.http_client;
        let tls_config = match group.scheme {
            Scheme::Http => tls::unused_config()?,
            Scheme::Https => tls::client_config(&http_client.tls_config)?,
        };
        let mut connector = HttpsConnectorBuilder::new().with_tls_config(tls_config).https_or_http();
        if let Some(name) = &http_client.tls_config.server_name {
            let name = ServerName::try_from(name.clone()).map_err(|_| {
                Error::bad_data(format!("http_client.tls_config.server_name: {name:?} is not a host name"))
            })?;
            connector = connector.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let connector = connector.enable_http1().wrap_connector(DialConnector::new(http_client.dial_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(group.idle_conn_timeout)
            .pool_max_idle_per_host(group.max_idle_conns_per_host)
            .build(connector);
        Ok(Self {
            client,
            headers: configured_headers(group)?,
            credentials: http_client.auth.as_ref().map(Credentials::new),
            query_params: group.query_params.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            timeout: group.timeout,
            snaps_range_queries: group.align_query_range_with_step,
            gateway: GatewayId::random(),
            dialer: DialConnector::new(http_client.dial_timeout),
        })
    }

    /// Said of us in every request.
    pub(super) const OUR_NAME: &str = concat!("quiver/", env!("CARGO_PKG_VERSION"));

    /// What opens connections, without TLS.
    pub(super) fn dialer(&self) -> DialConnector {
        self.dialer.clone()
    }

    /// Asks on behalf of this gateway.
    #[must_use]
    pub fn of_gateway(self, gateway: &GatewayId) -> Self {
        Self { gateway: gateway.clone(), ..self }
    }

    /// The group's own bound on waiting.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Do the servers move range queries to multiples of their step?
    pub(super) fn snaps_range_queries(&self) -> bool {
        self.snaps_range_queries
    }

    /// What stands in the URL of every call. The values are secrets.
    pub(super) fn query_params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query_params.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// Makes the call and feeds the body of its answer to `sink`, to the end. Fails unless the status is 2xx and the body
    /// is whole. The wait is bounded by the group's timeout and by the query's deadline, from the dial to the last byte.
    /// Dropping the future drops the connection, which tells the server to stop.
    pub(super) async fn call(
        &self,
        target: &TargetUrl,
        call: &ApiCall,
        context: &QueryContext,
        meter: &CallMeter,
        sink: &mut dyn BodySink,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let (until, text) = self.wait_until(now, context);
        match tokio::time::timeout_at(until, self.call_unbounded(target, call, context, meter, sink)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(ErrorKind::Timeout, text)),
        }
    }

    /// Whether the server answers a query that costs nothing, within `wait`. A refusal is an answer, too: the probe lacks what
    /// a client's headers may bring.
    pub(super) async fn probe(&self, target: &TargetUrl, wait: Duration, meter: &CallMeter) -> Result<(), Error> {
        let call = ApiCall {
            name: "probe",
            method: CallMethod::Get,
            path: "api/v1/query".to_owned(),
            params: vec![("query", "1".to_owned())],
        };
        let mut request = self.request(target, &call, &QueryContext::default(), false)?;
        request.extensions_mut().insert(meter.clone());
        let answered = async {
            let response = self.send(request).await?;
            let status = response.status();
            read_body(response, Some(meter), &mut ErrorPage(Vec::new())).await?;
            if status.is_server_error() { Err(from_status(status)) } else { Ok(()) }
        };
        let late = || Error::new(ErrorKind::Timeout, format!("no complete answer within {}", in_words(wait)));
        tokio::time::timeout(wait, answered).await.unwrap_or_else(|_| Err(late()))
    }

    /// Until when to wait, and what to say then.
    fn wait_until(&self, now: Instant, context: &QueryContext) -> (Instant, String) {
        let deadline = context.deadline.map(Instant::from_std);
        let by_group = |wait: Duration| {
            (now.checked_add(wait).unwrap_or(now), format!("no complete answer within {}", in_words(wait)))
        };
        let by_query = |deadline| (deadline, "no complete answer before the query's deadline".to_owned());
        match (deadline, self.timeout.map(by_group)) {
            (None, None) => by_group(WAIT_MAX),
            (None, Some(by_group)) => by_group,
            (Some(deadline), Some(by_group)) if by_group.0 < deadline => by_group,
            (Some(deadline), _) => by_query(deadline),
        }
    }

    async fn call_unbounded(
        &self,
        target: &TargetUrl,
        call: &ApiCall,
        context: &QueryContext,
        meter: &CallMeter,
        sink: &mut dyn BodySink,
    ) -> Result<(), Error> {
        let request = |is_form| {
            let mut request = self.request(target, call, context, is_form)?;
            request.extensions_mut().insert(meter.clone());
            Ok::<_, Error>(request)
        };
        let mut response = self.send(request(call.method != CallMethod::Get)?).await?;
        let refuses_forms = matches!(response.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        if refuses_forms && call.method == CallMethod::PostElseGet {
            response = self.send(request(false)?).await?;
        }
        if response.status().is_success() {
            read_body(response, Some(meter), sink).await
        } else {
            Err(error_of(target, response).await)
        }
    }

    /// Sends a request and waits for the head of its answer, whatever its status. What is repeated is counted with the
    /// [`CallMeter`] among the request's extensions. Nothing of ours changes anything on a server, so repeating is safe.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let meter = request.extensions_mut().remove::<CallMeter>();
        let answer = match meter.as_ref().and_then(|meter| Some((meter, meter.hedge_after()?))) {
            None => self.send_on_a_live_connection(request, meter.as_ref()).await,
            Some((meter, after)) => self.send_hedged(request, meter, after).await,
        };
        if let (Ok(_), Some(meter)) = (&answer, &meter) {
            meter.first_byte();
        }
        answer
    }

    /// Where the answer is late, asks a second time over another connection: the first good answer counts, and the other
    /// request is dropped.
    async fn send_hedged(
        &self,
        request: Request<Full<Bytes>>,
        meter: &CallMeter,
        after: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let mut first = Box::pin(self.send_on_a_live_connection(request.clone(), Some(meter)));
        if let Ok(answer) = tokio::time::timeout(after, &mut first).await {
            return answer;
        }
        if !meter.may_hedge() {
            return first.await;
        }
        let second = Box::pin(self.send_on_a_live_connection(request, Some(meter)));
        let is_good = |answer: &Result<Response<Incoming>, Error>| {
            answer.as_ref().is_ok_and(|response| response.status().is_success())
        };
        let (early, late) = select(first, second).await.factor_first();
        if is_good(&early) {
            return early;
        }
        let late = late.await;
        if is_good(&late) || early.is_err() { late } else { early }
    }

    /// The server may have closed a kept connection just as we took it. So if one dies before it brings anything, the request
    /// is sent again: once, and not where the connection was new, or a server that dies of a query would die twice as often.
    async fn send_on_a_live_connection(
        &self,
        request: Request<Full<Bytes>>,
        meter: Option<&CallMeter>,
    ) -> Result<Response<Incoming>, Error> {
        let answer = match self.client.request(request.clone()).await {
            Err(error) if is_dead_kept_connection(&error) => {
                if let Some(meter) = meter {
                    meter.retry();
                }
                self.client.request(request).await
            }
            answer => answer,
        };
        let response = answer.map_err(|error| from_client(&error))?;
        if let Some(has_answered) = response.extensions().get::<HasAnswered>() {
            has_answered.set();
        }
        Ok(response)
    }

    fn request(
        &self,
        target: &TargetUrl,
        call: &ApiCall,
        context: &QueryContext,
        is_form: bool,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.query_params.iter().map(|(name, value)| (name, value.expose())));
        let mut request = Request::new(Full::default());
        if is_form {
            // promxy sends the group's query_params in both places, and servers look in either.
            let mut form = Serializer::new(String::new());
            form.extend_pairs(&call.params);
            form.extend_pairs(self.query_params.iter().map(|(name, value)| (name, value.expose())));
            *request.body_mut() = Full::from(form.finish());
            *request.method_mut() = Method::POST;
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form_type);
        } else {
            query.extend_pairs(&call.params);
        }
        *request.uri_mut() = target.join(&call.path, &query.finish())?;
        self.add_headers(request.headers_mut(), context)?;
        Ok(request)
    }

    /// The client's proxied headers, over them the group's; credentials only where neither brought some, as promxy.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap, context: &QueryContext) -> Result<(), Error> {
        headers.insert(USER_AGENT, HeaderValue::from_static(Self::OUR_NAME));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (name, value) in context.proxied_headers.iter() {
            let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            else {
                continue;
            };
            if !NEVER_PROXIED.contains(&name.as_str()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers.extend(self.headers.clone());
        // Over all others: neither a client nor the config may hide a loop.
        headers.insert(HeaderName::from_static(PATH_HEADER), self.gateway_path(context)?);
        if let Some(credentials) = &self.credentials
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, credentials.header()?);
        }
        Ok(())
    }
}

impl HttpClient {
    /// The gateways that the question has passed; where it is nobody's, this one alone.
    pub(super) fn gateway_path(&self, context: &QueryContext) -> Result<HeaderValue, Error> {
        let of_query = context.proxied_headers.iter().find(|(name, _)| name == PATH_HEADER);
        let path = of_query.map_or(self.gateway.as_str(), |(_, path)| path);
        HeaderValue::from_str(path).map_err(|_| Error::internal("the path of gateways is not text"))
    }
}

/// Did a connection that had brought answers before die without bringing this one?
fn is_dead_kept_connection(error: &hyper_util::client::legacy::Error) -> bool {
    let mut extensions = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extensions);
    }
    let is_kept = extensions.get::<HasAnswered>().is_some_and(HasAnswered::get);
    let is_closed = || cause::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message);
    let is_broken = || {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        cause::<std::io::Error>(error)
            .is_some_and(|io| matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset))
    };
    is_kept && !error.is_connect() && (is_closed() || is_broken())
}

fn configured_headers(group: &ServerGroupConfig) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &group.http_headers {
        let bad = |problem| Error::bad_data(format!("http_headers: {name:?} {problem}"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("is not a header name"))?;
        let value = HeaderValue::from_str(value.expose());
        let mut value = value.map_err(|_| bad("has a value with a character that no header can carry"))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

fn content_decoder(response: &Response<Incoming>) -> Result<ContentDecoder, Error> {
    let header = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    let encoding = ContentEncoding::from_header(header).map_err(bad_answer)?;
    // The sinks bound what they take.
    Ok(ContentDecoder::new(encoding, u64::MAX))
}

async fn read_body(
    response: Response<Incoming>,
    meter: Option<&CallMeter>,
    sink: &mut dyn BodySink,
) -> Result<(), Error> {
    let mut decoder = content_decoder(&response)?;
    let mut body = response.into_body();
    let mut bytes_of_turn = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| from_body(&error))?;
        let Some(chunk) = frame.data_ref() else { continue };
        if let Some(meter) = meter {
            meter.read(chunk.len());
        }
        decoder.feed(chunk, |piece| sink.feed(piece).map_err(SinkError::Sink)).map_err(SinkError::into_error)?;
        bytes_of_turn += chunk.len();
        if bytes_of_turn >= BYTES_PER_TURN {
            bytes_of_turn = 0;
            tokio::task::yield_now().await;
        }
    }
    decoder.finish().map_err(bad_answer)
}

/// Tells the content decoder's own errors from those of what it feeds.
enum SinkError {
    Content(crate::decode::DecodeError),
    Sink(Error),
}

impl From<crate::decode::DecodeError> for SinkError {
    fn from(error: crate::decode::DecodeError) -> Self {
        Self::Content(error)
    }
}

impl SinkError {
    fn into_error(self) -> Error {
        match self {
            Self::Content(error) => bad_answer(error),
            Self::Sink(error) => error,
        }
    }
}

/// The error in an answer whose status says failure: the API's own where there is one, else the status.
async fn error_of(target: &TargetUrl, response: Response<Incoming>) -> Error {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut page = ErrorPage(Vec::new());
    // Whatever is wrong with the page as well: the status is what matters.
    let _ = read_body(response, None, &mut page).await;
    let said = decode_error_body(&page.0);
    if let Some(error) = from_loop(target, &headers, said.as_ref().map_or("", |(_, text)| text)) {
        return error;
    }
    match said {
        Some((error_type, text)) => from_envelope(&error_type, &text),
        None => from_status(status),
    }
}

struct ErrorPage(Vec<u8>);

impl BodySink for ErrorPage {
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.0.len() + piece.len() > ERROR_BODY_BYTES_MAX {
            return Err(Error::internal("error page too long"));
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }
}
