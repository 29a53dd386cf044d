//! The accept loop: connections in, a router's answers out, and an orderly end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Limits of one listener.
#[derive(Copy, Clone, Debug)]
pub struct ListenOptions {
    /// At most so many connections are served; more wait in the kernel's queue.
    pub connections_max: usize,
    /// At most so long may the head of a request take, and a connection rest between two requests.
    pub read_timeout: Duration,
    /// What holds for connections that speak HTTP/2, gRPC above all.
    pub http2: Http2Options,
}

/// Limits of an HTTP/2 connection.
#[derive(Copy, Clone, Debug)]
pub struct Http2Options {
    /// Bytes of one request that may be on their way before they are read.
    pub stream_window_bytes: u32,
    /// The same for all requests of a connection together.
    pub connection_window_bytes: u32,
    /// At most so many requests of one connection are answered at a time.
    pub streams_max: u32,
    /// A connection that has been silent for so long is asked whether it lives.
    pub keep_alive_interval: Duration,
    /// A connection that has not answered for so long is closed.
    pub keep_alive_timeout: Duration,
}

impl Default for Http2Options {
    /// The connection's window is also the budget of small messages: h2 closes a connection whose small DATA frames have used half
    /// of it up, so it is wide although requests are short.
    fn default() -> Self {
        Self {
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 16 << 20,
            streams_max: 256,
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
        }
    }
}

impl Default for ListenOptions {
    /// As many connections as one process has files by default on most systems can hold with room for downstreams.
    fn default() -> Self {
        Self { connections_max: 4_096, read_timeout: Duration::from_secs(300), http2: Http2Options::default() }
    }
}

/// After an accept has failed for want of files, so long is waited: trying at once would burn a core.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// Binds `host:port`, or `:port` for all addresses of both families, as Go does.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else {
        return TcpListener::bind(address).await;
    };
    let port: u16 =
        port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{port:?} is not a port")))?;
    match TcpListener::bind((IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)).await {
        // Without IPv6 in the kernel.
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable) => {
            TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)).await
        }
        bound => bound,
    }
}

/// Serves until `stop`, then lets requests in flight end, and returns. Dropping the future cuts them off.
pub async fn serve(listener: TcpListener, router: Router, options: ListenOptions, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(options.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
            // Keeps the set small.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, remote, slot)) => {
                let connection = Connection { stream, remote, router: router.clone(), options };
                let watcher = graceful.watcher();
                connections.spawn(async move {
                    connection.serve(watcher).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, remote) = listener.accept().await?;
    Ok((stream, remote, slot))
}

struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
    router: Router,
    options: ListenOptions,
}

impl Connection {
    async fn serve(self, watcher: Watcher) {
        let Self { stream, remote, router, options } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let service = TowerToHyperService::new(router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(remote));
            request.map(axum::body::Body::new)
        }));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(options.read_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(options.http2.stream_window_bytes)
            .initial_connection_window_size(options.http2.connection_window_bytes)
            .max_concurrent_streams(options.http2.streams_max)
            .keep_alive_interval(Some(options.http2.keep_alive_interval))
            .keep_alive_timeout(options.http2.keep_alive_timeout);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        // A client that goes away, or that does not speak HTTP, is its own affair.
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, %remote, "connection ended early");
        }
    }
}
