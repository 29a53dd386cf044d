//! The way of an answer to its client, and whose turn it is to work.
//!
//! So many reads work at a time (`--remote-read.max-concurrency`), the others wait in line, within the timeout of queries. A
//! read works only as long as its client takes what is ready: one that waits for its client gives its turn to the next in
//! line. Otherwise ten reads whose client waits for the eleventh would wait for ever, as they do where one Prometheus reads
//! a query of eleven selectors from another one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{Error, ErrorKind};
use crate::runtime::CpuTask;

/// An answer goes out in pieces of about so many bytes.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// So many pieces wait for the client to take them.
const PIECES_WAITING_MAX: usize = 2;
/// A client that takes nothing for so long is given up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

/// A piece of an answer.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// The answer is complete. Where neither this nor a failure comes, it was given up.
    End,
    Failed(Error),
}

/// Both ends of the way.
pub(super) fn pieces() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(PIECES_WAITING_MAX)
}

/// The body of an answer whose first piece is there. Dropping it ends the work. An answer that does not come to its end breaks
/// the connection: the client must not take it for a short one.
pub(super) fn body_of(first: Bytes, pieces: mpsc::Receiver<Piece>, task: CpuTask<()>) -> Body {
    let rest = stream::unfold(Some((pieces, task)), |reading| async {
        let (mut pieces, task) = reading?;
        match pieces.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(bytes), Some((pieces, task)))),
            Some(Piece::End) => None,
            Some(Piece::Failed(error)) => Some((Err(io::Error::other(error)), None)),
            None => Some((Err(io::Error::other("the answer could not be completed")), None)),
        }
    });
    // The layers above ask a body again after its end.
    Body::from_stream(stream::iter([Ok(first)]).chain(rest).fuse())
}

/// The sender of an answer, with its turn.
pub(super) struct Sending {
    pieces: mpsc::Sender<Piece>,
    turn: Turn,
    has_begun: bool,
}

impl Sending {
    pub(super) fn new(pieces: mpsc::Sender<Piece>, turns: Option<Arc<Semaphore>>, deadline: Option<Instant>) -> Self {
        Self { pieces, turn: Turn { turns, permit: None, deadline }, has_begun: false }
    }

    /// Waits for the turn to work.
    pub(super) async fn take_turn(&mut self) -> Result<(), Error> {
        self.turn.take().await
    }

    /// Sends bytes, in pieces; returns when it is this read's turn to work again.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let mut rest = Bytes::from(bytes);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            self.has_begun = true;
            self.send_piece(Piece::Data(piece)).await?;
        }
        self.turn.take().await
    }

    async fn send_piece(&mut self, piece: Piece) -> Result<(), Error> {
        let piece = match self.pieces.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(gone()),
            Err(TrySendError::Full(piece)) => piece,
        };
        self.turn.give_back();
        match tokio::time::timeout(CLIENT_PATIENCE, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(gone()),
            Err(_) => {
                let seconds = CLIENT_PATIENCE.as_secs();
                Err(Error::new(ErrorKind::Canceled, format!("the client took nothing for {seconds} s")))
            }
        }
    }

    /// Says how it ended. Who got an error behind the first byte cannot read it: it is in the log.
    pub(super) async fn end(mut self, answered: Result<(), Error>) {
        let last = match answered {
            Ok(()) => Piece::End,
            Err(error) if error.kind() == ErrorKind::Canceled => {
                tracing::debug!(%error, "a remote read was given up");
                Piece::Failed(error)
            }
            Err(error) => {
                if self.has_begun {
                    tracing::warn!(%error, "a remote read broke off, its client sees a broken connection");
                }
                Piece::Failed(error)
            }
        };
        // There is nobody to tell that nobody listens any more.
        drop(self.send_piece(last).await);
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Canceled, "the client went away")
}

/// The turn of one read.
struct Turn {
    /// `None`: all work at once.
    turns: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
    deadline: Option<Instant>,
}

impl Turn {
    async fn take(&mut self) -> Result<(), Error> {
        let (Some(turns), None) = (&self.turns, &self.permit) else { return Ok(()) };
        let waiting = Arc::clone(turns).acquire_owned();
        let permit = match self.deadline {
            None => waiting.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), waiting)
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "remote read timed out in the queue of remote reads"))?,
        };
        self.permit = Some(permit.map_err(|_| Error::internal("the queue of remote reads is closed"))?);
        Ok(())
    }

    fn give_back(&mut self) {
        self.permit = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn reading(turns: &Arc<Semaphore>) -> (Sending, mpsc::Receiver<Piece>) {
        let (sender, receiver) = pieces();
        (Sending::new(sender, Some(Arc::clone(turns)), None), receiver)
    }

    #[tokio::test]
    async fn who_waits_for_his_client_lets_others_work() {
        let turns = Arc::new(Semaphore::new(1));
        let (mut slow, mut client) = reading(&turns);
        let (mut other, _other_client) = reading(&turns);
        slow.take_turn().await.expect("it is free");
        assert_eq!(other.take_turn().now_or_never(), None);
        // More than may wait.
        let mut sending = Box::pin(slow.send(vec![0; PIECE_BYTES * (PIECES_WAITING_MAX + 1)]));
        assert_eq!(sending.as_mut().now_or_never(), None);
        other.take_turn().await.expect("the slow one has given it back");
        assert!(matches!(client.recv().await, Some(Piece::Data(bytes)) if bytes.len() == PIECE_BYTES));
        // All pieces are on their way, and it is not his turn to make more.
        assert_eq!(sending.as_mut().now_or_never(), None);
        drop(other);
        sending.await.expect("its turn");
    }

    #[tokio::test]
    async fn the_wait_in_line_ends_with_the_time_of_the_query() {
        let turns = Arc::new(Semaphore::new(1));
        let (mut first, _client) = reading(&turns);
        first.take_turn().await.expect("it is free");
        let mut late = Sending::new(pieces().0, Some(Arc::clone(&turns)), Some(Instant::now()));
        assert_eq!(late.take_turn().await.expect_err("no turn").kind(), ErrorKind::Timeout);
        let mut free = Sending::new(pieces().0, None, Some(Instant::now()));
        free.take_turn().await.expect("no limit");
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_the_read() {
        let (sender, receiver) = pieces();
        drop(receiver);
        let mut sending = Sending::new(sender, None, None);
        assert_eq!(sending.send(vec![1]).await.expect_err("nobody listens").kind(), ErrorKind::Canceled);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_well_is_a_broken_body() {
        let read = |end: Option<Piece>| async {
            let (sender, receiver) = pieces();
            sender.try_send(Piece::Data(Bytes::from_static(b"b"))).expect("room");
            end.into_iter().for_each(|end| sender.try_send(end).expect("room"));
            drop(sender);
            let task = crate::runtime::CpuPool::current().spawn(async {});
            axum::body::to_bytes(body_of(Bytes::from_static(b"a"), receiver, task), 100).await.ok()
        };
        assert_eq!(read(Some(Piece::End)).await, Some(Bytes::from_static(b"ab")));
        assert_eq!(read(Some(Piece::Failed(gone()))).await, None);
        assert_eq!(read(None).await, None);
    }
}
