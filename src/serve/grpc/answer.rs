//! Answers as streams of messages.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::arrow_stream::ArrowStream;
use super::progress::Watching;
use super::proto::{self, query_response::Part};
use super::status::status_of;
use super::trailer::trailer;
use crate::error::{Error, ErrorKind};
use crate::model::{Held, QueryValue, StepGrid, TimestampMs};
use crate::query::QueryResult;
use crate::runtime::{CpuPool, CpuTask};
use crate::serve::http::{Notes, Timings};

/// A stream of messages of one answer.
pub(super) type Answer<T> = BoxStream<'static, Result<T, Status>>;

/// So many messages wait for the client to take them.
pub(super) const MESSAGES_WAITING_MAX: usize = 4;
/// A client that takes no message for so long holds a whole answer in memory, and is given up.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

impl From<Notes> for proto::Notes {
    fn from(notes: Notes) -> Self {
        Self { warnings: notes.warnings, infos: notes.infos }
    }
}

/// What is known of an answer beside its value.
pub(super) struct Writing {
    /// The query's text.
    pub(super) query: String,
    /// When it is evaluated, of a range its start.
    pub(super) time: TimestampMs,
    /// Does the client want to know of each target?
    pub(super) has_target_stats: bool,
}

/// A result of a query, put into words on the cpu pool while the client reads. Dropping the stream ends that work.
pub(super) fn query_answer(
    cpu: &CpuPool,
    writing: Writing,
    result: QueryResult,
    timings: Timings,
) -> Answer<proto::QueryResponse> {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let task = cpu.spawn(async move { write_answer(&Parts::of_query(sender), writing, result, timings).await });
    messages_then_end(receiver, task)
}

/// How far a query is, again and again, and then its answer. It runs, on the cpu pool, whether the client keeps up or not;
/// dropping the stream ends it.
pub(super) fn watched_answer(
    cpu: &CpuPool,
    writing: Writing,
    watching: Watching,
    evaluated: impl Future<Output = Result<(QueryResult, Timings), Error>> + Send + 'static,
) -> Answer<proto::QueryResponse> {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let task = cpu.spawn(async move {
        let (result, timings) = watching.until(evaluated, &sender).await?;
        write_answer(&Parts::of_query(sender), writing, result, timings).await
    });
    messages_then_end(receiver, task)
}

/// The messages of a task. What it says itself comes last, so that an answer that was cut short never ends with OK.
pub(super) fn messages_then_end<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
    task: CpuTask<Result<(), Error>>,
) -> Answer<T> {
    let end = stream::once(task).filter_map(|ended| async move {
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(Err(status_of(&error))),
        }
    });
    ReceiverStream::new(receiver).map(Ok).chain(end).boxed()
}

/// Where the parts of an answer go.
pub(super) struct Parts<T> {
    sender: mpsc::Sender<T>,
    message: Box<dyn Fn(Part) -> T + Send + Sync>,
}

impl Parts<proto::QueryResponse> {
    fn of_query(sender: mpsc::Sender<proto::QueryResponse>) -> Self {
        Self::new(sender, |part| proto::QueryResponse { part: Some(part) })
    }
}

impl<T: Send> Parts<T> {
    /// Each part becomes a message.
    pub(super) fn new(sender: mpsc::Sender<T>, message: impl Fn(Part) -> T + Send + Sync + 'static) -> Self {
        Self { sender, message: Box::new(message) }
    }

    async fn send(&self, part: Part) -> Result<(), Error> {
        send(&self.sender, (self.message)(part)).await
    }
}

/// Waits for a place in the channel, as long as the client has patience with us and we with it.
pub(super) async fn send<T: Send>(sender: &mpsc::Sender<T>, message: T) -> Result<(), Error> {
    match tokio::time::timeout(CLIENT_PATIENCE, sender.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(client_is_gone()),
        Err(_) => Err(Error::new(
            ErrorKind::Canceled,
            format!("the client took no message for {} s", CLIENT_PATIENCE.as_secs()),
        )),
    }
}

/// Nobody reads any more.
pub(super) fn client_is_gone() -> Error {
    Error::new(ErrorKind::Canceled, "the client went away")
}

/// Header, tables, trailer.
pub(super) async fn write_answer<T: Send>(
    parts: &Parts<T>,
    writing: Writing,
    result: QueryResult,
    timings: Timings,
) -> Result<(), Error> {
    let Writing { query, time, has_target_stats } = writing;
    let mut trailer = trailer(&query, &result, timings, has_target_stats);
    let series_returned = write_value(parts, time, result.value, result.held).await?;
    if let Some(stats) = &mut trailer.stats {
        stats.series_returned = series_returned;
    }
    parts.send(Part::Trailer(trailer)).await
}

/// Sends the header, and the tables if there are any; counts their rows.
async fn write_value<T: Send>(
    parts: &Parts<T>,
    time: TimestampMs,
    value: QueryValue,
    held: Vec<Held>,
) -> Result<u64, Error> {
    use proto::ValueKind;
    let header = |kind: ValueKind, grid: StepGrid| proto::QueryHeader {
        kind: kind.into(),
        grid: Some(proto::StepGrid {
            start_ms: grid.start().0,
            step_ms: grid.step().0,
            step_count: grid.step_count() as u64,
        }),
        ..proto::QueryHeader::default()
    };
    let (header, batches) = match value {
        QueryValue::Scalar { time, value } => {
            (proto::QueryHeader { scalar: value, ..header(ValueKind::Scalar, StepGrid::instant(time)) }, None)
        }
        QueryValue::String { time, text } => {
            (proto::QueryHeader { text, ..header(ValueKind::String, StepGrid::instant(time)) }, None)
        }
        QueryValue::Vector { time, batches } => {
            let schema = crate::model::steps_schema(1);
            (header(ValueKind::Vector, StepGrid::instant(time)), Some((schema, batches)))
        }
        QueryValue::Matrix { grid, batches } => {
            let schema = crate::model::steps_schema(grid.step_count());
            (header(ValueKind::Matrix, grid), Some((schema, batches)))
        }
        QueryValue::Samples { batches } => {
            let schema = crate::model::samples_schema();
            (header(ValueKind::Samples, StepGrid::instant(time)), Some((schema, batches)))
        }
    };
    parts.send(Part::Header(header)).await?;
    let Some((schema, batches)) = batches else {
        return Ok(0);
    };
    let mut row_count = 0;
    let mut stream = ArrowStream::try_new(&schema)?;
    send_pieces(parts, &mut stream).await?;
    // There may be more tables than guards, where some share memory: the guards then go with the last ones.
    let mut held = VecDeque::from(held);
    let table_count = batches.len();
    for (index, batch) in batches.into_iter().enumerate() {
        held.drain(..held.len().saturating_sub(table_count - index));
        row_count += batch.num_rows() as u64;
        for part in ArrowStream::cut(&batch) {
            stream.write(&part)?;
            send_pieces(parts, &mut stream).await?;
        }
    }
    stream.finish()?;
    send_pieces(parts, &mut stream).await?;
    Ok(row_count)
}

async fn send_pieces<T: Send>(parts: &Parts<T>, stream: &mut ArrowStream) -> Result<(), Error> {
    for piece in stream.take_pieces() {
        parts.send(Part::ArrowStream(piece)).await?;
    }
    Ok(())
}

/// A list in messages of so many bytes of text, or a little more.
const LIST_BYTES: usize = 1 << 18;

/// A list cut into messages; the notes are in the last one, which comes even where the list is empty.
pub(super) fn list_answer<I, T>(
    items: Vec<I>,
    notes: Notes,
    bytes_of: impl Fn(&I) -> usize + Send + 'static,
    message: impl Fn(Vec<I>, Option<proto::Notes>) -> T + Send + 'static,
) -> Answer<T>
where
    I: Send + 'static,
    T: Send + 'static,
{
    let mut items = items.into_iter().peekable();
    let mut notes = Some(proto::Notes::from(notes));
    let messages = std::iter::from_fn(move || {
        // The notes are gone when the last message is.
        notes.as_ref()?;
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < LIST_BYTES {
            let Some(item) = items.next() else {
                break;
            };
            bytes += bytes_of(&item);
            taken.push(item);
        }
        let notes = if items.peek().is_none() { notes.take() } else { None };
        Some(Ok(message(taken, notes)))
    });
    stream::iter(messages).boxed()
}
