//! Tables as messages of Flight.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use bytes::Bytes;

use super::ticket::Compression;
use crate::error::Error;

/// A table whose message is larger is cut in halves, as long as it has two rows: gRPC clients take messages of up to 4 MiB unless
/// told otherwise.
const MESSAGE_BYTES: usize = 2 << 20;

/// Encodes the tables of one answer. A dictionary is sent anew where it has changed.
pub(in crate::serve::grpc) struct Messages {
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
    options: IpcWriteOptions,
}

impl Messages {
    pub(in crate::serve::grpc) fn try_new(compression: Compression) -> Result<Self, Error> {
        Ok(Self {
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
            options: write_options(compression)?,
        })
    }

    /// The first message.
    pub(in crate::serve::grpc) fn schema(&mut self, schema: &Schema, app_metadata: Bytes) -> FlightData {
        let encoded =
            self.generator.schema_to_bytes_with_dictionary_tracker(schema, &mut self.dictionaries, &self.options);
        FlightData { app_metadata, ..message(encoded) }
    }

    /// The messages of a table: dictionaries, then the table, cut where it is large.
    pub(in crate::serve::grpc) fn table(&mut self, table: &RecordBatch) -> Result<Vec<FlightData>, Error> {
        let mut messages = Vec::new();
        let mut waiting = vec![table.clone()];
        while let Some(table) = waiting.pop() {
            let encoded = self.generator.encode(&table, &mut self.dictionaries, &self.options, &mut self.context);
            let (dictionaries, rows) = encoded.map_err(|error| ipc_error(&error))?;
            messages.extend(dictionaries.into_iter().map(message));
            if rows.arrow_data.len() > MESSAGE_BYTES && table.num_rows() > 1 {
                // The dictionaries have been sent, the halves use the same.
                let half = table.num_rows() / 2;
                waiting.push(table.slice(half, table.num_rows() - half));
                waiting.push(table.slice(0, half));
            } else {
                messages.push(message(rows));
            }
        }
        Ok(messages)
    }
}

/// How tables are written.
pub(in crate::serve::grpc) fn write_options(compression: Compression) -> Result<IpcWriteOptions, Error> {
    let codec = match compression {
        Compression::None => None,
        Compression::Lz4Frame => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    IpcWriteOptions::default().try_with_compression(codec).map_err(|error| ipc_error(&error))
}

fn message(encoded: EncodedData) -> FlightData {
    FlightData::from(encoded)
}

fn ipc_error(error: &ArrowError) -> Error {
    Error::internal(format!("cannot write the answer as Arrow: {error}"))
}
