//! Tables that are at hand, as a stream of Flight.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{Error, ErrorKind};
use crate::model::Held;
use crate::query::CountedTables;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::flight::{Compression, Messages};
use crate::serve::grpc::status::status_of;
use crate::serve::http::{ApiState, Notes};

/// So many messages wait for the client to take them.
const MESSAGES_WAITING_MAX: usize = 4;

/// A table of a few rows, with its schema even where there are none.
pub(super) fn one_table(table: &RecordBatch) -> Result<Answer<FlightData>, Error> {
    let mut messages = Messages::try_new(Compression::None)?;
    let mut all = vec![messages.schema(table.schema_ref(), Bytes::new())];
    all.extend(messages.table(table)?);
    Ok(stream::iter(all.into_iter().map(Ok)).boxed())
}

/// What is said beside the last table.
#[derive(Serialize)]
struct Remarks {
    warnings: Vec<String>,
    infos: Vec<String>,
}

/// Tables that are made, on the cpu pool, as the client takes them; then an empty one with what `notes` gives, as JSON in its
/// metadata. Dropping the stream ends that work, and so does a client that takes nothing for long. `held` counts what the tables
/// are made of.
pub(super) fn many_tables(
    api: &ApiState,
    schema: SchemaRef,
    tables: CountedTables,
    notes: impl FnOnce() -> Notes + Send + 'static,
    held: Option<Held>,
) -> Answer<FlightData> {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let patience = api.client_patience();
    let task = api.cpu().spawn(async move {
        let delivered = deliver(&sender, patience, schema, tables, notes).await;
        drop(held);
        delivered
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

async fn deliver(
    sender: &mpsc::Sender<FlightData>,
    patience: Duration,
    schema: SchemaRef,
    mut tables: CountedTables,
    notes: impl FnOnce() -> Notes,
) -> Result<(), Error> {
    let mut messages = Messages::try_new(Compression::None)?;
    send(sender, patience, vec![messages.schema(&schema, Bytes::new())]).await?;
    while let Some(table) = tables.next().await {
        let (table, _held) = table?;
        send(sender, patience, messages.table(&table)?).await?;
    }
    let Notes { warnings, infos } = notes();
    let remarks = serde_json::to_vec(&Remarks { warnings, infos });
    let mut last = messages.table(&RecordBatch::new_empty(schema))?;
    if let Some(last) = last.last_mut() {
        last.app_metadata = remarks.map_err(|error| Error::internal(error.to_string()))?.into();
    }
    send(sender, patience, last).await
}

async fn send(sender: &mpsc::Sender<FlightData>, patience: Duration, messages: Vec<FlightData>) -> Result<(), Error> {
    for message in messages {
        match tokio::time::timeout(patience, sender.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::new(ErrorKind::Canceled, "the client went away")),
            Err(_) => {
                let patience = patience.as_secs_f64();
                return Err(Error::new(ErrorKind::Canceled, format!("the client took no message for {patience} s")));
            }
        }
    }
    Ok(())
}
