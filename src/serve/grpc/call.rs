//! What is done for every call: it is counted and logged, a panic is its own error, its request has to arrive, and it ends with
//! the process.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::serve::by_content_type::is_grpc;
use crate::serve::http::ApiState;
use crate::telemetry::AccessRecord;

/// Calls that end only when their client has had enough: when the process ends they end at once, for waiting would be in vain.
const ENDLESS: [&str; 4] = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/quiver.v1.QueryService/Watch",
];

/// The labels of calls that no service knows: their paths are the client's invention.
const UNKNOWN: &str = "unknown";

/// What all calls of a listener share.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) api: ApiState,
    /// Is cancelled when no new calls are let in.
    pub(super) stop: CancellationToken,
}

/// Lets a call through to its service.
pub(super) async fn handle_call(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        let text = "this port speaks gRPC; the HTTP API has its own, see --bind-addr\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    if request.version() != Version::HTTP_2 {
        return (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2\n").into_response();
    }
    let mut call = Call::new(calls.api.clone(), &request);
    let end = ENDLESS.contains(&request.uri().path()).then(|| Box::pin(calls.stop.cancelled_owned()));
    let patience = calls.api.read_timeout();
    let request = request.map(|body| Body::new(RequestBody::new(body, patience)));
    // If the client goes before there is an answer, this future is dropped here, and what was noted is `Canceled`.
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => given_up().into_http(),
    };
    call.http_status = response.status().as_u16();
    note_status(&mut call, response.headers_mut());
    response.map(|body| Body::new(AnswerBody { body, call, end, is_over: false }))
}

/// A panic is the error of one call. Its text is in the log, where the panic hook has put it.
fn given_up() -> Status {
    Status::internal("the call was given up because of a defect in quiver; its log says where")
}

/// Remembers the status that headers or trailers tell, if they tell one.
fn note_status(call: &mut Call, headers: &mut HeaderMap) {
    const GRPC_STATUS: &str = "grpc-status";
    let Some(value) = headers.get_mut(GRPC_STATUS) else {
        return;
    };
    let mut code = Code::from_bytes(value.as_bytes());
    // tonic's word for a message that is too large. All others say RESOURCE_EXHAUSTED, and nothing of ours is out of range.
    if code == Code::OutOfRange {
        code = Code::ResourceExhausted;
        *value = HeaderValue::from(code as i32);
    }
    call.code = code;
}

/// A call, counted and logged when it is dropped.
struct Call {
    api: ApiState,
    started: Instant,
    remote: Option<IpAddr>,
    path: String,
    http_status: u16,
    code: Code,
    answer_bytes: u64,
}

impl Call {
    fn new(api: ApiState, request: &Request) -> Self {
        let remote = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            remote: remote.map(|ConnectInfo(address)| address.ip()),
            path: request.uri().path().to_owned(),
            started: Instant::now(),
            http_status: StatusCode::OK.as_u16(),
            code: Code::Cancelled,
            answer_bytes: 0,
            api,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let code = code_name(self.code);
        // A method that is known may say so, too; then nothing is lost but its name.
        let known =
            if self.code == Code::Unimplemented { None } else { self.path.trim_start_matches('/').split_once('/') };
        let (service, method) = known.unwrap_or((UNKNOWN, UNKNOWN));
        self.api.metrics().grpc_call(service, method, code, duration);
        if let Some(log) = self.api.access_log() {
            log.write(&AccessRecord {
                remote: self.remote,
                finished: SystemTime::now(),
                method: "POST".to_owned(),
                path: std::mem::take(&mut self.path),
                protocol: "HTTP/2.0".to_owned(),
                status: self.http_status,
                grpc_code: Some(code),
                response_bytes: self.answer_bytes,
                duration,
                form: String::new(),
            });
        }
    }
}

/// The name of a code as Go prints it, which is what dashboards of gRPC metrics look for.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// The messages of a client, each of which has to come within a time: a call that has begun and says nothing holds a place of its
/// connection.
struct RequestBody {
    body: Body,
    patience: Duration,
    deadline: Pin<Box<tokio::time::Sleep>>,
}

impl RequestBody {
    fn new(body: Body, patience: Duration) -> Self {
        Self { body, patience, deadline: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            let next = tokio::time::Instant::now() + self.patience;
            self.deadline.as_mut().reset(next);
            return polled;
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let text = format!("the request has not arrived within {:?} (--web.read-timeout)", self.patience);
                Poll::Ready(Some(Err(axum::Error::new(Status::deadline_exceeded(text)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The messages of an answer; when it is dropped the call is over.
struct AnswerBody {
    body: Body,
    call: Call,
    /// When an endless call has to end.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    is_over: bool,
}

impl AnswerBody {
    /// The end of the answer, with a status instead of what was to come.
    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_over = true;
        self.call.code = status.code();
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(axum::Error::new(status)))),
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            return self.end_with(&Status::unavailable("the server is ending; ask again, another one may answer"));
        }
        // Computing happens elsewhere; but what puts results into messages runs here, long after the handler has returned.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context)));
        let Ok(mut polled) = polled else {
            return self.end_with(&given_up());
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            if let Some(data) = frame.data_ref() {
                self.call.answer_bytes += data.len() as u64;
            }
            if let Some(trailers) = frame.trailers_mut() {
                note_status(&mut self.call, trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use futures::stream::{self, StreamExt};
    use http_body_util::BodyExt;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::query::{EngineOptions, QueryEngine};
    use crate::serve::http::ApiOptions;
    use crate::telemetry::Metrics;
    use crate::testing::MemoryStore;

    /// Services that do what their method says, behind what is done for every call.
    fn router(metrics: &Arc<Metrics>, stop: &CancellationToken) -> Router {
        let service = service_fn(async |request: Request| {
            let panicking = stream::iter([Bytes::from_static(b"piece")]).map(Ok::<_, Infallible>);
            let panicking = panicking.chain(stream::once(async { panic!("in the answer") }));
            let body = match request.uri().path().rsplit('/').next() {
                Some("Panic") => panic!("in the handler"),
                Some("PanicLater") => Body::from_stream(panicking),
                Some("Watch") => Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()),
                Some("TooLarge") => return Ok(Status::out_of_range("message too large").into_http()),
                Some("Read") => match request.into_body().collect().await {
                    Ok(_) => return Ok(Status::ok("").into_http()),
                    Err(error) => return Ok(Status::from_error(Box::new(error)).into_http()),
                },
                _ => return Ok(Status::unimplemented("").into_http()),
            };
            Ok::<Response, Infallible>(Response::new(body))
        });
        let engine = QueryEngine::new(Arc::new(MemoryStore::new()), EngineOptions::default());
        let read_timeout = Duration::from_millis(20);
        let options = ApiOptions { metrics: Arc::clone(metrics), read_timeout, ..ApiOptions::default() };
        let calls = Calls { api: ApiState::new(engine, options), stop: stop.clone() };
        Router::new().fallback_service(service).layer(from_fn_with_state(calls, handle_call))
    }

    /// The bytes of an answer, and its status: code and text.
    async fn ask(router: &Router, path: &str, body: Body) -> (Vec<u8>, Code, String) {
        let mut request = Request::post(path).version(Version::HTTP_2).body(body).expect("a request");
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let response = router.clone().oneshot(request).await.expect("infallible");
        let headers = response.headers().clone();
        let collected = response.into_body().collect().await.expect("an orderly end");
        let trailers = collected.trailers().cloned().unwrap_or(headers);
        let status = Status::from_header_map(&trailers).expect("a status");
        (collected.to_bytes().to_vec(), status.code(), status.message().to_owned())
    }

    const DEFECT: &str = "the call was given up because of a defect in quiver; its log says where";

    #[tokio::test]
    async fn every_call_ends_with_a_status_and_is_counted() {
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        let router = router(&metrics, &stop);
        let never = || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let late = "the request has not arrived within 20ms (--web.read-timeout)";
        for (path, body, bytes, code, text) in [
            ("/a.B/Panic", Body::empty(), "", Code::Internal, DEFECT),
            ("/a.B/PanicLater", Body::empty(), "piece", Code::Internal, DEFECT),
            ("/a.B/TooLarge", Body::empty(), "", Code::ResourceExhausted, "message too large"),
            ("/a.B/Read", Body::from("all"), "", Code::Ok, ""),
            ("/a.B/Read", never(), "", Code::DeadlineExceeded, late),
            ("/a.B/NoSuch", Body::empty(), "", Code::Unimplemented, ""),
        ] {
            let answer = ask(&router, path, body).await;
            assert_eq!(answer, (bytes.as_bytes().to_vec(), code, text.to_owned()), "{path}");
        }
        let page = metrics.render();
        for line in [
            r#"grpc_server_handled_total{grpc_service="a.B",grpc_method="Panic",grpc_code="Internal"} 1"#,
            r#"grpc_server_handled_total{grpc_service="a.B",grpc_method="Read",grpc_code="OK"} 1"#,
            r#"grpc_server_handled_total{grpc_service="unknown",grpc_method="unknown",grpc_code="Unimplemented"} 1"#,
            r#"grpc_server_handling_seconds_count{grpc_service="a.B",grpc_method="Read"} 2"#,
        ] {
            assert!(page.lines().any(|own| own == line), "{line} is not in\n{page}");
        }
    }

    #[tokio::test]
    async fn an_endless_call_ends_with_the_process() {
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        let router = router(&metrics, &stop);
        stop.cancel();
        let (_, code, text) = ask(&router, "/grpc.health.v1.Health/Watch", Body::empty()).await;
        assert_eq!(
            (code, text.as_str()),
            (Code::Unavailable, "the server is ending; ask again, another one may answer")
        );
    }

    #[tokio::test]
    async fn what_is_no_call_is_told_so() {
        let router = router(&Arc::default(), &CancellationToken::new());
        for (version, content_type, status) in [
            (Version::HTTP_11, "application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (Version::HTTP_2, "text/html", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (Version::HTTP_11, "application/grpc", StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        ] {
            let request = Request::post("/a.B/Read").version(version).header("content-type", content_type);
            let response = router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
            assert_eq!(response.expect("infallible").status(), status, "{version:?} {content_type}");
        }
    }
}
