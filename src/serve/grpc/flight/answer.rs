//! The answer to a ticket as a stream of messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::FlightData;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::messages::Messages;
use super::remarks::{Stats, header, trailer};
use super::tables::{Tables, Wanted};
use super::ticket::{Question, Ticket, Times};
use crate::error::{Error, ErrorKind};
use crate::model::{Held, QueryContext};
use crate::query::{QueryEngine, QueryOptions, QueryStream, QueryTimes, StreamedValue};
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::status::status_of;
use crate::serve::http::{ApiState, admit, now};

/// So many messages wait for the client to take them, besides those that the connection has taken.
const MESSAGES_WAITING_MAX: usize = 4;

/// A message that waits for the client, counted as long as it does; nothing once it was given up.
type Waiting = Arc<Mutex<Option<(FlightData, Held)>>>;

/// Runs a ticket on the cpu pool while the client reads. Dropping the stream ends the query.
pub(super) fn answer(api: &ApiState, ticket: Ticket, options: QueryOptions) -> Answer<FlightData> {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let own = api.clone();
    let task = api.cpu().spawn(async move { run(&own, &ticket, &options, sender).await });
    // What the task says comes last, so that an answer that was cut short never ends with OK.
    let end = stream::once(task).filter_map(|ended| async move {
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(Err(status_of(&error))),
        }
    });
    // Behind a message that was given up there is only the status that says why.
    let messages = ReceiverStream::new(receiver).filter_map(|waiting: Waiting| async move { waiting.lock().take() });
    messages.map(|(message, _held)| Ok(message)).chain(end).boxed()
}

/// Waits for a slot, and keeps it until the last table is sent.
async fn run(
    api: &ApiState,
    ticket: &Ticket,
    options: &QueryOptions,
    sender: mpsc::Sender<Waiting>,
) -> Result<(), Error> {
    let kind = match &ticket.question {
        Question::Query { times: Times::Range(..), .. } => "range",
        Question::Query { .. } => "instant",
        Question::Leaf { .. } => "leaf",
    };
    let admitted = admit(api, kind, options.timeout).await?;
    let queued = admitted.begins();
    let delivered = async {
        let stream = start(&admitted.engine, ticket, options).await?;
        let context = stream.context.clone();
        let (patience, last) = (api.client_patience(), VecDeque::new());
        let mut outbox = Outbox { sender, patience, context: context.clone(), last };
        deliver(&mut outbox, (ticket, options), stream, queued).await?;
        Ok(context.samples_loaded())
    };
    let delivered: Result<u64, Error> = delivered.await;
    admitted.ends(delivered.as_ref().copied());
    delivered.map(drop)
}

async fn start(engine: &QueryEngine, ticket: &Ticket, options: &QueryOptions) -> Result<QueryStream, Error> {
    match &ticket.question {
        Question::Leaf { select, .. } => engine.leaf(select, options).await,
        Question::Query { text, times } => {
            let times = match times {
                Times::Now => QueryTimes::Instant(now()),
                Times::At(time) => QueryTimes::Instant(*time),
                Times::Range(grid, end) => QueryTimes::Range { grid: *grid, end: *end },
            };
            engine.stream(text, times, options).await
        }
    }
}

/// Sends the schema at once, then tables as they come, then what is to be said of them.
async fn deliver(
    outbox: &mut Outbox,
    (ticket, options): (&Ticket, &QueryOptions),
    stream: QueryStream,
    queued: Duration,
) -> Result<(), Error> {
    let QueryStream { value, tables: mut arriving, context } = stream;
    let began = Instant::now();
    let mut messages = Messages::try_new(ticket.compression)?;
    let tables = Tables::new(Wanted::of(ticket), value);
    outbox.send(messages.schema(tables.schema(), header(ticket, options, tables.value())?)).await?;
    let mut series_returned = 0;
    if let StreamedValue::String { time, text } = tables.value() {
        outbox.send_all(messages.table(&tables.of_text(*time, text)?)?).await?;
    }
    while let Some(table) = arriving.next().await {
        let (table, held) = table?;
        series_returned += table.num_rows() as u64;
        for part in tables.cut(&table) {
            let converted = tables.convert(&part)?;
            outbox.send_all(messages.table(&converted)?).await?;
        }
        drop((table, held));
    }
    drop(arriving);
    let stats = Stats {
        samples_loaded: context.samples_loaded(),
        series_returned,
        peak_samples: context.peak_samples(),
        peak_bytes: context.peak_bytes(),
        queued_seconds: queued.as_secs_f64(),
        evaluated_seconds: began.elapsed().as_secs_f64(),
    };
    // On a table without rows: some clients take a message without a table for the end of the world.
    let mut last = messages.table(&tables.empty())?;
    if let Some(last) = last.last_mut() {
        last.app_metadata = trailer(ticket, &context, stats)?;
    }
    outbox.send_all(last).await
}

/// Where messages wait for the client.
struct Outbox {
    sender: mpsc::Sender<Waiting>,
    patience: Duration,
    context: QueryContext,
    /// Those that the client may not have taken yet: what fits into the channel, and the one that does not.
    last: VecDeque<Waiting>,
}

impl Outbox {
    async fn send_all(&mut self, messages: Vec<FlightData>) -> Result<(), Error> {
        for message in messages {
            self.send(message).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: FlightData) -> Result<(), Error> {
        let held = self.context.hold(0, message.data_header.len() + message.data_body.len())?;
        let waiting = Arc::new(Mutex::new(Some((message, held))));
        self.last.push_back(Arc::clone(&waiting));
        if self.last.len() > MESSAGES_WAITING_MAX + 1 {
            self.last.pop_front();
        }
        match tokio::time::timeout(self.patience, self.sender.send(waiting)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Canceled, "the client went away")),
            Err(_) => {
                // The stream is not even asked for them as long as the client takes nothing: their memory would stay with it.
                self.last.drain(..).for_each(|waiting| drop(waiting.lock().take()));
                let patience = self.patience.as_secs_f64();
                Err(Error::new(ErrorKind::Canceled, format!("the client took no message for {patience} s")))
            }
        }
    }
}
