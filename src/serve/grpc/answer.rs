//! Answers as streams of messages.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::arrow_stream::ArrowStream;
use super::proto::{self, query_response::Part};
use super::status::status_of;
use crate::error::{Error, ErrorKind};
use crate::model::{Held, QueryValue, StepGrid, TimestampMs};
use crate::query::QueryResult;
use crate::runtime::CpuPool;
use crate::serve::http::{Notes, Timings};

/// A stream of messages of one answer.
pub(super) type Answer<T> = BoxStream<'static, Result<T, Status>>;

/// So many messages wait for the client to take them.
const MESSAGES_WAITING_MAX: usize = 4;
/// A client that takes no message for so long holds a whole answer in memory, and is given up.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

impl From<Notes> for proto::Notes {
    fn from(notes: Notes) -> Self {
        Self { warnings: notes.warnings, infos: notes.infos }
    }
}

/// A result of a query, put into words on the cpu pool while the client reads. Dropping the stream ends that work.
pub(super) fn query_answer(
    cpu: &CpuPool,
    query: &str,
    time: TimestampMs,
    result: QueryResult,
    timings: Timings,
) -> Answer<proto::QueryResponse> {
    let notes = Notes::new(&result.annotations, query);
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let task = cpu.spawn(async move {
        let series_returned = write_value(&sender, time, result.value, result.held).await?;
        let stats = proto::QueryStats {
            samples_loaded: result.samples_loaded,
            series_returned,
            queued_seconds: timings.queued.as_secs_f64(),
            evaluated_seconds: timings.evaluated.as_secs_f64(),
        };
        send(&sender, Part::Trailer(proto::QueryTrailer { notes: Some(notes.into()), stats: Some(stats) })).await
    });
    // What the task says comes last, so that an answer that was cut short never ends with OK.
    let end = stream::once(task).filter_map(|ended| async move {
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(Err(status_of(&error))),
        }
    });
    ReceiverStream::new(receiver).map(Ok).chain(end).boxed()
}

async fn send(sender: &mpsc::Sender<proto::QueryResponse>, part: Part) -> Result<(), Error> {
    match tokio::time::timeout(CLIENT_PATIENCE, sender.send(proto::QueryResponse { part: Some(part) })).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Error::new(ErrorKind::Canceled, "the client went away")),
        Err(_) => Err(Error::new(
            ErrorKind::Canceled,
            format!("the client took no message for {} s", CLIENT_PATIENCE.as_secs()),
        )),
    }
}

/// Sends the header, and the tables if there are any; counts their rows.
async fn write_value(
    sender: &mpsc::Sender<proto::QueryResponse>,
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
    send(sender, Part::Header(header)).await?;
    let Some((schema, batches)) = batches else {
        return Ok(0);
    };
    let mut row_count = 0;
    let mut stream = ArrowStream::try_new(&schema)?;
    send_pieces(sender, &mut stream).await?;
    // There may be more tables than guards, where some share memory: the guards then go with the last ones.
    let mut held = VecDeque::from(held);
    let table_count = batches.len();
    for (index, batch) in batches.into_iter().enumerate() {
        held.drain(..held.len().saturating_sub(table_count - index));
        row_count += batch.num_rows() as u64;
        for part in ArrowStream::cut(&batch) {
            stream.write(&part)?;
            send_pieces(sender, &mut stream).await?;
        }
    }
    stream.finish()?;
    send_pieces(sender, &mut stream).await?;
    Ok(row_count)
}

async fn send_pieces(sender: &mpsc::Sender<proto::QueryResponse>, stream: &mut ArrowStream) -> Result<(), Error> {
    for piece in stream.take_pieces() {
        send(sender, Part::ArrowStream(piece)).await?;
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
