//! Connections within `dial_timeout`, which know whether anything was ever answered over them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use thiserror::Error;
use tower::Service;

/// No connection came about in time.
#[derive(Debug, Error)]
#[error("no connection within {0:?}")]
pub(super) struct DialTimedOut(pub Duration);

/// Whether a connection has brought a whole head of an answer: then it is one that was kept. Found in the extensions of
/// responses and in the connection of errors.
#[derive(Clone, Debug, Default)]
pub(super) struct HasAnswered(Arc<AtomicBool>);

impl HasAnswered {
    /// It has.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Has it?
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type TcpConnection = <HttpConnector as Service<Uri>>::Response;

/// A TCP connection with its [`HasAnswered`].
#[derive(Debug)]
pub(super) struct DialedConnection {
    tcp: TcpConnection,
    has_answered: HasAnswered,
}

impl Connection for DialedConnection {
    fn connected(&self) -> Connected {
        self.tcp.connected().extra(self.has_answered.clone())
    }
}

impl Read for DialedConnection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(context, buffer)
    }
}

impl Write for DialedConnection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(context, pieces)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A TCP connector that gives up after a while, name resolution included: a dead host must not hold up its pair.
#[derive(Clone, Debug)]
pub(super) struct DialConnector {
    tcp: HttpConnector,
    timeout: Duration,
}

impl DialConnector {
    pub(super) fn new(timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        // Both schemes pass through here; TLS comes on top.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, timeout }
    }
}

impl Service<Uri> for DialConnector {
    type Response = DialedConnection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.tcp.call(target);
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => Ok(DialedConnection { tcp: connected?, has_answered: HasAnswered::default() }),
                Err(_) => Err(DialTimedOut(timeout).into()),
            }
        })
    }
}
