//! One connection: who is at its other end, what it may ask at a time, how long it may rest, and how it ends.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::listen::ListenOptions;

/// A connection before its first byte was read.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) router: Router,
    pub(super) options: ListenOptions,
}

impl Connection {
    /// Answers its requests, HTTP/1.1 and HTTP/2 alike, until the client goes, until it has rested or lived for too long, or until
    /// `stop`: then what is in flight ends, and then this. Dropping the future cuts off what is in flight.
    pub(super) async fn serve(self, stop: CancellationToken) {
        let Self { stream, remote, router, options } = self;
        let activity = Activity::new();
        let begun = activity.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (router, guard) = (router.clone(), begun.begin());
            async move {
                let response = router.oneshot(introduced(request, remote)).await?;
                Ok::<_, Infallible>(guarded(response, guard))
            }
        });
        let builder = builder(&options);
        let mut connection = std::pin::pin!(builder.serve_connection(io_of(stream), service));
        let aged = aged(&options, remote);
        let is_old = tokio::select! {
            ended = connection.as_mut() => return tell(ended.err(), remote),
            () = stop.cancelled() => false,
            () = aged => true,
            () = activity.rests_for(options.read_timeout) => false,
        };
        connection.as_mut().graceful_shutdown();
        let grace = async {
            match is_old {
                true => tokio::time::sleep(options.age_grace).await,
                // What is in flight may end; when everything is to stop, whoever waits for that has the last word.
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = connection => tell(ended.err(), remote),
            () = activity.rests_for(options.closing_patience) => tracing::debug!(%remote, "connection cut, it did not close itself"),
            () = grace => tracing::debug!(%remote, "connection cut, it was too old"),
        }
    }
}

/// The bytes of a connection, both ways. This is where TLS will be: everything behind it sees plain requests.
fn io_of(stream: TcpStream) -> TokioIo<TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    TokioIo::new(stream)
}

/// A request that knows who asks. This is where a caller will be authenticated: no handler sees a request before.
fn introduced(mut request: Request<Incoming>, remote: SocketAddr) -> Request {
    request.extensions_mut().insert(ConnectInfo(remote));
    request.map(Body::new)
}

fn builder(options: &ListenOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.read_timeout);
    let http2 = &options.http2;
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes)
        .max_concurrent_streams(http2.streams_max)
        .max_frame_size(http2.frame_bytes_max)
        .max_header_list_size(http2.header_list_bytes_max)
        .max_send_buf_size(http2.send_buffer_bytes_max)
        .max_pending_accept_reset_streams(http2.pending_resets_max)
        .max_local_error_reset_streams(http2.faulty_streams_max)
        .keep_alive_interval(Some(http2.keep_alive_interval))
        .keep_alive_timeout(http2.keep_alive_timeout);
    builder
}

/// Returns when the connection is too old. Up to a tenth is taken off, another part for each: clients that came together after a
/// restart must not all come back together.
async fn aged(options: &ListenOptions, remote: SocketAddr) {
    let Some(age_max) = options.age_max else {
        return std::future::pending().await;
    };
    let part = RandomState::new().hash_one(remote) % 1_000;
    tokio::time::sleep(age_max - age_max / 10_000 * u32::try_from(part).unwrap_or(0)).await;
}

/// A client that goes away, or that does not speak HTTP, is its own affair.
fn tell(error: Option<Box<dyn std::error::Error + Send + Sync>>, remote: SocketAddr) {
    if let Some(error) = error {
        tracing::debug!(%error, %remote, "connection ended early");
    }
}

/// How many requests of a connection have begun and not ended: an answer ends with its last byte.
#[derive(Clone)]
struct Activity(Arc<watch::Sender<usize>>);

impl Activity {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    fn begin(&self) -> InFlight {
        self.0.send_modify(|count| *count += 1);
        InFlight(self.clone())
    }

    /// Returns once nothing has been in flight for so long without a break.
    async fn rests_for(&self, patience: Duration) {
        let mut count = self.0.subscribe();
        loop {
            let is_busy = *count.borrow_and_update() > 0;
            let wait = if is_busy { Duration::MAX } else { patience };
            // Every request that begins or ends starts the wait anew, also one that did both in the meantime.
            match tokio::time::timeout(wait, count.changed()).await {
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// A request that has begun; dropping it ends it.
struct InFlight(Activity);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

fn guarded(response: Response, guard: InFlight) -> Response {
    response.map(|body| Body::new(GuardedBody { body, _guard: guard }))
}

/// A body that is in flight until it is dropped.
struct GuardedBody {
    body: Body,
    _guard: InFlight,
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
