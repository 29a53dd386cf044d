//! The accept loop: connections in, a router's answers out, and an orderly end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;

/// Limits of one listener.
#[derive(Copy, Clone, Debug)]
pub struct ListenOptions {
    /// At most so many connections are served; more wait in the kernel's queue.
    pub connections_max: usize,
    /// At most so long may the head of a request take, and a connection rest between two requests, or before the first one.
    pub read_timeout: Duration,
    /// A connection that is older is asked to end, so that its client comes back, perhaps to another instance. `None`: never.
    pub age_max: Option<Duration>,
    /// What is in flight on a connection that is too old may take so long to end; then it is cut off.
    pub age_grace: Duration,
    /// A connection that is to end and on which nothing is asked any more gets this long to close itself. A client that neither
    /// answers the last ping of HTTP/2 nor finishes the head of its request would hold up the end of the process.
    pub closing_patience: Duration,
    /// What holds for connections that speak HTTP/2, gRPC above all.
    pub http2: Http2Options,
}

impl Default for ListenOptions {
    /// As many connections as one process has files by default on most systems can hold with room for downstreams.
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            read_timeout: Duration::from_secs(300),
            age_max: None,
            age_grace: Duration::from_secs(60),
            closing_patience: Duration::from_secs(5),
            http2: Http2Options::default(),
        }
    }
}

/// Limits of an HTTP/2 connection. None of them is left to a library's default: h2, hyper and tonic each have their own, and a
/// connection that carries queries needs others than one that carries pages.
#[derive(Copy, Clone, Debug)]
pub struct Http2Options {
    /// Bytes of one request that may be on their way before they are read. 1 MiB: a request is at most twice that, and short.
    pub stream_window_bytes: u32,
    /// The same for all requests of a connection together. 16 MiB, although requests are short: half of it is also the budget for
    /// DATA frames of under 256 bytes, and h2 closes a connection that has used it up.
    pub connection_window_bytes: u32,
    /// At most so many requests of one connection are answered at a time; a client waits with more, and one that does not is
    /// refused the request, not the connection. 256: one querier or gateway above has one connection for all of its users.
    pub streams_max: u32,
    /// Bytes of a frame that clients may send. 16 KiB, the least that the protocol allows: requests are short, and a larger
    /// frame is held in memory whole. Frames of answers are as large as the client allows.
    pub frame_bytes_max: u32,
    /// Bytes of the head of a request, names and values. 256 KiB: a query of 64 KiB in the URL is up to three times as long
    /// when it is percent-encoded, and over HTTP/1.1 a head may be 400 KiB.
    pub header_list_bytes_max: u32,
    /// Bytes of one answer that wait for a slow client in h2; what computes the answer waits from then on. 1 MiB, about one
    /// message of Arrow, so that the next one is made while the last one is sent.
    pub send_buffer_bytes_max: usize,
    /// So many requests may be taken back before they were looked at; then the connection is closed, as an attack. 128: a
    /// querier that closes a dashboard takes back dozens at once, and h2's own 20 would cut its other users off.
    pub pending_resets_max: usize,
    /// So many requests of a connection may be against the protocol; then it is closed.
    pub faulty_streams_max: usize,
    /// A connection that has been silent for so long is asked whether it lives. 30 s: below the minute after which some
    /// load balancers forget it.
    pub keep_alive_interval: Duration,
    /// A connection that has not answered for so long is closed, and its queries end.
    pub keep_alive_timeout: Duration,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 16 << 20,
            streams_max: 256,
            frame_bytes_max: 16 << 10,
            header_list_bytes_max: 256 << 10,
            send_buffer_bytes_max: 1 << 20,
            pending_resets_max: 128,
            faulty_streams_max: 1_024,
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
        }
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
                let stop = stop.clone();
                connections.spawn(async move {
                    connection.serve(stop).await;
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
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, remote) = listener.accept().await?;
    Ok((stream, remote, slot))
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

    /// A server with these options, and what happens in it.
    async fn start(
        options: ListenOptions,
    ) -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>, CancellationToken, CancellationToken) {
        let (events, seen) = mpsc::unbounded_channel();
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, release) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(serve(listener, hanging_router(events, release.clone()), options, stop.clone()));
        (address, seen, release, stop)
    }

    /// Everything that comes until the server closes the connection, which it has to do.
    async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await;
        // A connection that is cut off may end with an error.
        let _ = read.expect("the server closes the connection");
        bytes
    }

    const SOON: Duration = Duration::from_millis(50);
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// A frame of HTTP/2.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GO_AWAY: u8 = 7;

    /// `GET path` as a whole request, its names from HPACK's static table.
    fn get_frame(stream: u32, path: &str) -> Vec<u8> {
        let path_bytes = [&[0x04, u8::try_from(path.len()).expect("short")], path.as_bytes()].concat();
        // END_HEADERS and END_STREAM; GET, http, the path, and `x` as the authority.
        frame(HEADERS, 5, stream, &[&[0x82, 0x86], &path_bytes[..], &[0x01, 1, b'x']].concat())
    }

    /// The next frame of one of these kinds: kind, stream, payload.
    async fn next_frame(stream: &mut TcpStream, kinds: &[u8]) -> (u8, u32, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("a frame");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.expect("a whole frame");
            if kinds.contains(&head[3]) {
                return (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload);
            }
        }
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_is_asked_is_closed() {
        let options = ListenOptions { read_timeout: SOON, closing_patience: SOON, ..ListenOptions::default() };
        let (address, ..) = start(options).await;
        let whole_preface = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let says: [&[u8]; 5] =
            [b"", b"GET /wai", b"GET /wait HTTP/1.1\r\nHost: x\r\nA: ", &PREFACE[..9], &whole_preface];
        for said in says {
            let mut stream = TcpStream::connect(address).await.expect("listening");
            stream.write_all(said).await.expect("sent");
            let answer = read_all(&mut stream).await;
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_takes_long_is_no_rest() {
        let options = ListenOptions { read_timeout: SOON, closing_patience: SOON, ..ListenOptions::default() };
        let (address, mut seen, release, _) = start(options).await;
        let mut client = connect(address, "/wait").await;
        assert_eq!(seen.recv().await, Some("begun"));
        // Another connection comes and is closed for resting, and the first one still waits.
        let mut resting = TcpStream::connect(address).await.expect("listening");
        assert_eq!(read_all(&mut resting).await, b"");
        release.cancel();
        let answer = String::from_utf8(read_all(&mut client).await).expect("text");
        assert!(answer.ends_with("done"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_that_is_too_old_ends_with_what_is_in_flight() {
        let options = ListenOptions { age_max: Some(SOON), ..ListenOptions::default() };
        let (address, mut seen, release, _) = start(options).await;
        let mut waiting = TcpStream::connect(address).await.expect("listening");
        let asked = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get_frame(1, "/wait")].concat();
        waiting.write_all(&asked).await.expect("sent");
        assert_eq!(seen.recv().await, Some("begun"));
        assert_eq!(next_frame(&mut waiting, &[GO_AWAY]).await.0, GO_AWAY);
        release.cancel();
        assert_eq!(next_frame(&mut waiting, &[HEADERS]).await.1, 1, "the request is answered all the same");

        let options = ListenOptions { age_max: Some(SOON), age_grace: SOON, ..ListenOptions::default() };
        let (address, mut seen, ..) = start(options).await;
        let mut hanging = connect(address, "/hang").await;
        assert_eq!(seen.recv().await, Some("begun"));
        assert_eq!(read_all(&mut hanging).await, b"", "cut off after the grace");
        assert_eq!(seen.recv().await, Some("dropped"));
    }

    #[tokio::test]
    async fn requests_beyond_the_limit_of_a_connection_are_refused_and_no_others() {
        let http2 = Http2Options { streams_max: 1, ..Http2Options::default() };
        let (address, mut seen, ..) = start(ListenOptions { http2, ..ListenOptions::default() }).await;
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let asked = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get_frame(1, "/hang")].concat();
        stream.write_all(&asked).await.expect("sent");
        assert_eq!(seen.recv().await, Some("begun"));
        stream.write_all(&get_frame(3, "/hang")).await.expect("sent");
        const REFUSED: [u8; 4] = [0, 0, 0, 7];
        assert_eq!(next_frame(&mut stream, &[RESET, GO_AWAY]).await, (RESET, 3, REFUSED.to_vec()));
        const CANCEL: [u8; 4] = [0, 0, 0, 8];
        stream.write_all(&frame(RESET, 0, 1, &CANCEL)).await.expect("sent");
        assert_eq!(seen.recv().await, Some("dropped"));
        stream.write_all(&get_frame(5, "/nosuch")).await.expect("sent");
        assert_eq!(next_frame(&mut stream, &[HEADERS, RESET, GO_AWAY]).await.1, 5, "the connection lives");
    }

    #[tokio::test]
    async fn a_client_that_does_not_close_its_connection_does_not_hold_up_the_end() {
        let options = ListenOptions { closing_patience: SOON, ..ListenOptions::default() };
        let (address, .., stop) = start(options).await;
        let mut stream = TcpStream::connect(address).await.expect("listening");
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("sent");
        next_frame(&mut stream, &[SETTINGS]).await;
        stop.cancel();
        // The ping of an orderly end is never answered.
        assert!(!read_all(&mut stream).await.is_empty());
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
