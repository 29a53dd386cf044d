//! Connections within `dial_timeout`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use thiserror::Error;
use tower::Service;

/// No connection came about in time.
#[derive(Debug, Error)]
#[error("no connection within {0:?}")]
pub(super) struct DialTimedOut(pub Duration);

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
    type Response = <HttpConnector as Service<Uri>>::Response;
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
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(DialTimedOut(timeout).into()),
            }
        })
    }
}
