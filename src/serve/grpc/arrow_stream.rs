//! Tables as the bytes of an Arrow IPC stream, in pieces that every gRPC client takes.
//!
//! Inside, a label set is one canonical `Binary`; at this edge it becomes the `Map<Utf8, Utf8>` that other programs read.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, MapArray, MapBuilder, MapFieldNames, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::error::Error;
use crate::model::{COLUMN_LABELS, LabelsRef};

/// gRPC clients take messages of up to 4 MiB unless told otherwise.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// A record batch is cut to rows of about so many bytes.
const BATCH_BYTES: usize = 1 << 19;

/// Writes an IPC stream and hands out what has been written, piece by piece.
pub(super) struct ArrowStream {
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
}

impl ArrowStream {
    /// A stream of tables of this schema, one of the two of the model. Its first piece is the schema message.
    pub(super) fn try_new(schema: &Schema) -> Result<Self, Error> {
        let schema = Arc::new(edge_schema(schema));
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(|error| ipc_error(&error))?;
        Ok(Self { writer, schema })
    }

    /// A table cut into tables of a bounded size, as far as its rows allow.
    pub(super) fn cut<'b>(batch: &'b RecordBatch) -> impl Iterator<Item = RecordBatch> + use<'b> {
        let bytes_per_row = batch.get_array_memory_size() / batch.num_rows().max(1);
        let rows = (BATCH_BYTES / bytes_per_row.max(1)).clamp(1, batch.num_rows().max(1));
        (0..batch.num_rows()).step_by(rows).map(move |from| batch.slice(from, rows.min(batch.num_rows() - from)))
    }

    /// Writes one table as it is.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let batch = edge_batch(batch, &self.schema)?;
        self.writer.write(&batch).map_err(|error| ipc_error(&error))
    }

    /// Writes the end marker.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.writer.finish().map_err(|error| ipc_error(&error))
    }

    /// What has been written since the last call, in pieces.
    pub(super) fn take_pieces(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        let mut rest = Bytes::from(std::mem::take(self.writer.get_mut()));
        std::iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE_BYTES_MAX))))
    }
}

fn ipc_error(error: &ArrowError) -> Error {
    Error::internal(format!("cannot write the answer as Arrow: {error}"))
}

/// The schema with the labels as a map, and the fields of samples and values as columns of their own.
fn edge_schema(schema: &Schema) -> Schema {
    let mut fields = Vec::new();
    for field in schema.fields() {
        match (field.name().as_str(), field.data_type()) {
            (COLUMN_LABELS, _) => fields.push(Arc::new(Field::new(COLUMN_LABELS, labels_type(), false))),
            (name, DataType::Struct(inner)) => fields.extend(inner.iter().map(|inner| {
                // The numbers bear the name of the whole.
                let edge_name = if inner.name() == "floats" { name } else { inner.name() };
                Arc::new(inner.as_ref().clone().with_name(edge_name))
            })),
            _ => fields.push(Arc::clone(field)),
        }
    }
    Schema::new(fields)
}

/// `Map<Utf8, Utf8>`, names ascending.
pub(super) fn labels_type() -> DataType {
    let key = Field::new("key", DataType::Utf8, false);
    let value = Field::new("value", DataType::Utf8, true);
    let entries = Field::new("entries", DataType::Struct(vec![key, value].into()), false);
    DataType::Map(Arc::new(entries), true)
}

fn edge_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let mut columns = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if field.name() == COLUMN_LABELS {
            let labels = column.as_any().downcast_ref::<BinaryArray>();
            columns.push(labels_map(labels.ok_or_else(|| Error::internal("labels are not Binary"))?)?);
        } else if let Some(fields) = column.as_any().downcast_ref::<StructArray>() {
            columns.extend(fields.columns().iter().map(Arc::clone));
        } else {
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| ipc_error(&error))
}

/// Canonical bytes as the map of [`labels_type`].
pub(super) fn labels_map(labels: &BinaryArray) -> Result<ArrayRef, Error> {
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for bytes in labels.iter() {
        for (name, value) in LabelsRef::new(bytes.unwrap_or_default()).iter() {
            map.keys().append_value(name);
            map.values().append_value(value);
        }
        map.append(true).map_err(|error| ipc_error(&error))?;
    }
    let (field, offsets, entries, nulls, _) = map.finish().into_parts();
    // The builder does not know that the names ascend.
    let map = MapArray::try_new(field, offsets, entries, nulls, true).map_err(|error| ipc_error(&error))?;
    Ok(Arc::new(map))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Float64Type;
    use arrow::ipc::reader::StreamReader;

    use super::*;
    use crate::model::{COLUMN_VALUES, Labels, StepsTableBuilder};

    fn steps_table(rows: usize, steps: usize) -> RecordBatch {
        let mut builder = StepsTableBuilder::new(steps);
        for row in 0..rows {
            for step in 0..steps {
                builder.push_cell((step % 3 != 0).then_some((row * steps + step) as f64));
            }
            builder.finish_series(
                Labels::from_pairs([("row", row.to_string()), ("zone", "é".into())]).encode().as_bytes(),
            );
        }
        builder.finish()
    }

    #[test]
    fn pieces_put_together_are_the_table() {
        let (rows, steps) = (200, 1_000);
        let table = steps_table(rows, steps);
        let mut stream = ArrowStream::try_new(table.schema_ref()).expect("a schema");
        let mut pieces: Vec<Bytes> = stream.take_pieces().collect();
        for part in ArrowStream::cut(&table) {
            stream.write(&part).expect("written");
            pieces.extend(stream.take_pieces());
        }
        stream.finish().expect("finished");
        pieces.extend(stream.take_pieces());
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));

        let bytes = pieces.concat();
        let read: Vec<RecordBatch> =
            StreamReader::try_new(&bytes[..], None).expect("a stream").collect::<Result<_, _>>().expect("batches");
        assert!(read.len() > 1, "1.6 MB are more than one batch");
        let mut row = 0;
        for batch in read {
            let labels = batch.column_by_name(COLUMN_LABELS).expect("labels").as_map();
            let values = batch.column_by_name(COLUMN_VALUES).expect("values").as_fixed_size_list();
            for at in 0..batch.num_rows() {
                let pairs = labels.value(at);
                let texts = |column: usize| -> Vec<String> {
                    pairs.column(column).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
                };
                assert_eq!(
                    (texts(0), texts(1)),
                    (vec!["row".into(), "zone".into()], vec![row.to_string(), "é".into()])
                );
                let cells = values.value(at);
                let cells = cells.as_primitive::<Float64Type>();
                for step in 0..steps {
                    let expected = (step % 3 != 0).then_some((row * steps + step) as f64);
                    assert_eq!(cells.is_valid(step).then(|| cells.value(step)), expected);
                }
                row += 1;
            }
        }
        assert_eq!(row, rows);
    }

    #[test]
    fn a_row_that_is_larger_than_a_piece_is_cut() {
        let table = steps_table(1, 300_000);
        let mut stream = ArrowStream::try_new(table.schema_ref()).expect("a schema");
        stream.write(&table).expect("written");
        assert!(stream.take_pieces().count() > 2);
    }
}
