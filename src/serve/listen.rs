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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;

    /// Tells when it is dropped.
    struct Guard(mpsc::UnboundedSender<&'static str>);
    impl Drop for Guard {
        fn drop(&mut self) {
            // The test may have ended.
            let _ = self.0.send("dropped");
        }
    }

    /// `/hang` says that it has begun and never answers, `/wait` answers when `release` is cancelled.
    fn hanging_router(events: mpsc::UnboundedSender<&'static str>, release: CancellationToken) -> Router {
        let hang_events = events.clone();
        let hang = move || {
            let events = hang_events.clone();
            async move {
                let _guard = Guard(events.clone());
                events.send("begun").expect("the test listens");
                std::future::pending::<()>().await;
            }
        };
        let wait = move || {
            let (events, release) = (events.clone(), release.clone());
            async move {
                events.send("begun").expect("the test listens");
                release.cancelled().await;
                "done"
            }
        };
        Router::new().route("/hang", get(hang)).route("/wait", get(wait))
    }

    async fn connect(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("sent");
        stream
    }

    #[tokio::test]
    async fn a_client_that_goes_cancels_its_request() {
        let (events, mut seen) = mpsc::unbounded_channel();
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let router = hanging_router(events, CancellationToken::new());
        let server = tokio::spawn(serve(listener, router, ListenOptions::default(), stop.clone()));
        let client = connect(address, "/hang").await;
        assert_eq!(seen.recv().await, Some("begun"));
        drop(client);
        assert_eq!(seen.recv().await, Some("dropped"));
        stop.cancel();
        server.await.expect("ends in order");
    }

    #[tokio::test]
    async fn what_is_in_flight_ends_before_the_server_does() {
        let (events, mut seen) = mpsc::unbounded_channel();
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, release) = (CancellationToken::new(), CancellationToken::new());
        let router = hanging_router(events, release.clone());
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            serve(listener, router, ListenOptions::default(), stopped).await;
            ended.store(true, Ordering::SeqCst);
        });
        let mut client = connect(address, "/wait").await;
        assert_eq!(seen.recv().await, Some("begun"));
        stop.cancel();
        // Nobody is let in any more once the listener has been dropped.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!has_ended.load(Ordering::SeqCst));
        release.cancel();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("a whole answer");
        assert!(answer.ends_with("done"), "{answer}");
        server.await.expect("ends in order");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let (events, mut seen) = mpsc::unbounded_channel();
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let options = ListenOptions { connections_max: 1, ..ListenOptions::default() };
        let server =
            tokio::spawn(serve(listener, hanging_router(events, CancellationToken::new()), options, stop.clone()));
        let first = connect(address, "/hang").await;
        assert_eq!(seen.recv().await, Some("begun"));
        let second = connect(address, "/hang").await;
        drop(first);
        // Were the second one served beside the first, it would have begun before the first was dropped.
        assert_eq!(seen.recv().await, Some("dropped"));
        assert_eq!(seen.recv().await, Some("begun"));
        drop(second);
        stop.cancel();
        server.await.expect("ends in order");
    }

    #[tokio::test]
    async fn addresses_are_read_as_go_reads_them() {
        for (address, is_any) in [(":0", true), ("127.0.0.1:0", false), ("localhost:0", false)] {
            let bound = bind(address).await.expect(address).local_addr().expect("bound");
            assert_eq!(bound.ip().is_unspecified(), is_any, "{address}");
        }
        for address in ["", ":", ":x", ":70000", "nohost"] {
            assert!(bind(address).await.is_err(), "{address}");
        }
    }
}
