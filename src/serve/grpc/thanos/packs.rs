//! Messages on their way to a client, many at a time.

use std::collections::VecDeque;

use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind};
use crate::runtime::CpuTask;
use crate::serve::grpc::answer::{Answer, CLIENT_PATIENCE};
use crate::serve::grpc::status::status_of;

/// Messages are handed on when they hold about so much: where they are small, many of them go into one DATA frame. h2 closes
/// connections that carry very many small ones.
const PACK_BYTES: usize = 1 << 18;
/// So many packs wait for the client to take them. With [`PACK_BYTES`] that bounds what is not counted as the query's.
const PACKS_WAITING_MAX: usize = 3;

/// Where the messages of an answer are put.
#[derive(Debug)]
pub(super) struct Packs<T> {
    sender: mpsc::Sender<Vec<T>>,
    messages: Vec<T>,
    bytes: usize,
}

/// The two ends of an answer.
pub(super) fn packs<T>() -> (Packs<T>, mpsc::Receiver<Vec<T>>) {
    let (sender, receiver) = mpsc::channel(PACKS_WAITING_MAX);
    (Packs { sender, messages: Vec::new(), bytes: 0 }, receiver)
}

impl<T> Packs<T> {
    /// One more message, of about so many bytes.
    pub(super) async fn push(&mut self, message: T, bytes: usize) -> Result<(), Error> {
        self.messages.push(message);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes < PACK_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Hands on what there is. A client that takes nothing for long is given up.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        let messages = std::mem::take(&mut self.messages);
        self.bytes = 0;
        if messages.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(CLIENT_PATIENCE, self.sender.send(messages)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Canceled, "the client went away")),
            Err(_) => Err(Error::new(
                ErrorKind::Canceled,
                format!("the client took no message for {} s", CLIENT_PATIENCE.as_secs()),
            )),
        }
    }
}

/// The stream of the messages that `task` puts into the packs; its error, if it has one, comes last. Dropping the stream ends
/// the task.
pub(super) fn answer<T: Send + 'static>(
    mut receiver: mpsc::Receiver<Vec<T>>,
    task: CpuTask<Result<(), Error>>,
) -> Answer<T> {
    let packs = stream::poll_fn(move |context| receiver.poll_recv(context));
    let messages = packs.flat_map(|pack| stream::iter(VecDeque::from(pack).into_iter().map(Ok)));
    let end = stream::once(task).filter_map(|ended| async move {
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(Err(status_of(&error))),
        }
    });
    messages.chain(end).boxed()
}
