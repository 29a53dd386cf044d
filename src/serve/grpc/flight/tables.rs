//! The tables of an answer, and how those of the engine become them.
//!
//! | form | of | columns |
//! |---|---|---|
//! | per series | one time | `labels`, `timestamp`, `value`, `histogram` |
//! | per series | a range, raw samples | `labels`, `timestamps`, `values`, `histograms` |
//! | per sample | all of them | `series`, the labels that are wanted, `timestamp`, `value`, `histogram` if wanted |
//! | native | all of them | those of the engine, see proto/quiver/v1/flight.proto |
//! | all | a text | `timestamp`, `text` |
//!
//! Ranges are lists with a time beside each value, not cells on a grid: those halve the bytes and the client's work (10 M cells in
//! pyarrow: 160 MB and 0.2 s, 80 MB and 0.1 s), but leave the arithmetic of the grid, and the holes, to everybody. The same as JSON takes
//! Python 12 s.
//!
//! Labels are a `Map<Utf8, Utf8>`, not encoded with dictionaries: those halve its bytes (100,000 series of 10 labels: 21.5 MB and
//! 11.7 MB, with LZ4 9.5 MB and 3.0 MB), but a Python client reads it five times as slowly (0.5 s and 2.8 s to lists).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, ListArray, StringArray, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::edge_columns::{histogram_type, item, timestamp_type, timestamps};
use super::per_sample::{PerSample, per_sample};
use super::per_series::{per_series_range, per_series_samples, per_series_vector};
use super::ticket::{Question, TableForm, Ticket};
use crate::decode::FLIGHT_FORMAT;
use crate::error::Error;
use crate::model::{
    COLUMN_LABELS, COLUMN_SAMPLE_TIMES, COLUMN_SAMPLES, COLUMN_VALUES, StepGrid, TableSize, TimestampMs,
};
use crate::query::StreamedValue;
use crate::serve::grpc::arrow_stream::labels_type;

/// The version of native tables that is spoken here.
const NATIVE_FORMAT: &str = FLIGHT_FORMAT;

/// Which tables are wanted.
#[derive(Clone, Debug, PartialEq, Default)]
pub(in crate::serve::grpc) struct Wanted {
    pub(in crate::serve::grpc) form: TableForm,
    /// Of a table per sample: labels with a column of their own.
    pub(in crate::serve::grpc) label_columns: Vec<String>,
    /// Of a table per sample: with a column of histograms.
    pub(in crate::serve::grpc) histograms: bool,
    /// Of a native table of timed steps: with the times.
    pub(in crate::serve::grpc) sample_times: bool,
}

impl Wanted {
    /// What a ticket wants.
    pub(in crate::serve::grpc) fn of(ticket: &Ticket) -> Self {
        let sample_times = matches!(ticket.question, Question::Leaf { sample_times: true, .. });
        let (label_columns, histograms) = (ticket.label_columns.clone(), ticket.histograms);
        Self { form: ticket.form, label_columns, histograms, sample_times }
    }
}

/// How the tables of one answer are made.
#[derive(Clone, Debug)]
pub(in crate::serve::grpc) struct Tables {
    wanted: Wanted,
    value: StreamedValue,
    schema: SchemaRef,
}

/// A message is about so large.
const MESSAGE_BYTES: usize = 1 << 20;

impl Tables {
    /// The tables of a value.
    pub(in crate::serve::grpc) fn new(wanted: Wanted, value: StreamedValue) -> Self {
        let fields = match (&value, wanted.form) {
            (StreamedValue::String { .. }, _) => {
                vec![Field::new("timestamp", timestamp_type(), false), Field::new("text", DataType::Utf8, false)]
            }
            (_, TableForm::Native) => native_fields(&wanted, &value),
            (_, TableForm::PerSeries) => per_series_fields(&value),
            (_, TableForm::PerSample) => per_sample_fields(&wanted),
        };
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata(&wanted, &value)));
        Self { wanted, value, schema }
    }

    /// Their schema, with what is known before anything has come.
    pub(in crate::serve::grpc) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What they hold.
    pub(in crate::serve::grpc) fn value(&self) -> &StreamedValue {
        &self.value
    }

    /// The one row of a text.
    pub(in crate::serve::grpc) fn of_text(&self, time: TimestampMs, text: &str) -> Result<RecordBatch, Error> {
        self.batch(vec![timestamps(vec![time.0].into(), None), Arc::new(StringArray::from(vec![text]))])
    }

    /// A table of the engine cut to rows of which a message of about a mebibyte becomes, as far as they allow it.
    pub(in crate::serve::grpc) fn cut(&self, batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
        // A cell of eight bytes gets its time beside it, and of a table per sample also its series.
        let growth = match self.wanted.form {
            TableForm::Native => 1,
            TableForm::PerSeries => 2,
            TableForm::PerSample => 4,
        };
        let bytes_per_row = (TableSize::of(batch).bytes * growth / batch.num_rows().max(1)).max(1);
        let rows = (MESSAGE_BYTES / bytes_per_row).clamp(1, batch.num_rows().max(1));
        let batch = batch.clone();
        (0..batch.num_rows()).step_by(rows).map(move |from| batch.slice(from, rows.min(batch.num_rows() - from)))
    }

    /// A table of the engine as the client wants it.
    pub(in crate::serve::grpc) fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        match self.wanted.form {
            TableForm::Native => {
                let columns = self.schema.fields().iter().map(|field| batch.column_by_name(field.name()).cloned());
                let missing = || Error::internal("a table of the engine lacks a column");
                self.batch(columns.collect::<Option<Vec<_>>>().ok_or_else(missing)?)
            }
            TableForm::PerSeries => {
                let labels = labels_of(batch)?;
                self.batch(match &self.value {
                    StreamedValue::Scalar { time } | StreamedValue::Vector { time } => {
                        per_series_vector(labels, column(batch, COLUMN_VALUES)?, *time)?
                    }
                    StreamedValue::Matrix { grid } | StreamedValue::TimedSteps { grid } => {
                        per_series_range(labels, column(batch, COLUMN_VALUES)?, *grid)?
                    }
                    StreamedValue::Samples => per_series_samples(labels, column(batch, COLUMN_SAMPLES)?)?,
                    StreamedValue::String { .. } => return Err(Error::internal("a text has no table")),
                })
            }
            TableForm::PerSample => {
                let wanted =
                    PerSample { label_columns: &self.wanted.label_columns, histograms: self.wanted.histograms };
                self.batch(match self.grid() {
                    Some(grid) => per_sample(labels_of(batch)?, column(batch, COLUMN_VALUES)?, Some(grid), wanted)?,
                    None => per_sample(labels_of(batch)?, column(batch, COLUMN_SAMPLES)?, None, wanted)?,
                })
            }
        }
    }

    /// A table without rows.
    pub(in crate::serve::grpc) fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.schema))
    }

    fn grid(&self) -> Option<StepGrid> {
        grid_of(&self.value)
    }

    fn batch(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::internal(format!("cannot write the answer as Arrow: {error}")))
    }
}

/// The times of the cells, where there are cells.
pub(super) fn grid_of(value: &StreamedValue) -> Option<StepGrid> {
    match value {
        StreamedValue::Scalar { time } | StreamedValue::Vector { time } => Some(StepGrid::instant(*time)),
        StreamedValue::Matrix { grid } | StreamedValue::TimedSteps { grid } => Some(*grid),
        StreamedValue::String { .. } | StreamedValue::Samples => None,
    }
}

/// What a value is called.
pub(super) fn kind_of(value: &StreamedValue) -> &'static str {
    match value {
        StreamedValue::Scalar { .. } => "scalar",
        StreamedValue::String { .. } => "string",
        StreamedValue::Vector { .. } => "vector",
        StreamedValue::Matrix { .. } => "matrix",
        StreamedValue::Samples => "samples",
        StreamedValue::TimedSteps { .. } => "steps",
    }
}

fn native_fields(wanted: &Wanted, value: &StreamedValue) -> Vec<Field> {
    let schema = value.schema();
    let kept = schema.fields().iter().filter(|field| wanted.sample_times || field.name() != COLUMN_SAMPLE_TIMES);
    kept.map(|field| field.as_ref().clone()).collect()
}

fn per_series_fields(value: &StreamedValue) -> Vec<Field> {
    let labels = Field::new("labels", labels_type(), false);
    match value {
        StreamedValue::Scalar { .. } | StreamedValue::String { .. } | StreamedValue::Vector { .. } => vec![
            labels,
            Field::new("timestamp", timestamp_type(), false),
            Field::new("value", DataType::Float64, true),
            Field::new("histogram", histogram_type(), true),
        ],
        StreamedValue::Matrix { .. } | StreamedValue::Samples | StreamedValue::TimedSteps { .. } => vec![
            labels,
            Field::new("timestamps", DataType::List(item(timestamp_type())), false),
            Field::new("values", DataType::List(item(DataType::Float64)), false),
            Field::new("histograms", DataType::List(item(histogram_type())), false),
        ],
    }
}

fn per_sample_fields(wanted: &Wanted) -> Vec<Field> {
    let words = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut fields = vec![Field::new("series", words(), false)];
    fields.extend(wanted.label_columns.iter().map(|name| Field::new(name, words(), true)));
    fields.push(Field::new("timestamp", timestamp_type(), false));
    fields.push(Field::new("value", DataType::Float64, wanted.histograms));
    if wanted.histograms {
        fields.push(Field::new("histogram", histogram_type(), true));
    }
    fields
}

fn metadata(wanted: &Wanted, value: &StreamedValue) -> HashMap<String, String> {
    let mut metadata = HashMap::from([("quiver.kind".to_owned(), kind_of(value).to_owned())]);
    if let Some(grid) = grid_of(value) {
        let text = format!("{}/{}/{}", grid.start().0, grid.step().0, grid.step_count());
        metadata.insert("quiver.grid".to_owned(), text);
    }
    if wanted.form == TableForm::Native {
        let form = match value {
            StreamedValue::Samples => "samples",
            StreamedValue::TimedSteps { .. } if wanted.sample_times => "timed_steps",
            _ => "steps",
        };
        metadata.insert("quiver.format".to_owned(), NATIVE_FORMAT.to_owned());
        metadata.insert("quiver.form".to_owned(), form.to_owned());
    }
    metadata
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StructArray, Error> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| Error::internal(format!("a table of the engine has no column {name:?}")))
}

fn labels_of(batch: &RecordBatch) -> Result<&BinaryArray, Error> {
    let column = batch.column_by_name(COLUMN_LABELS).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| Error::internal("labels are not Binary"))
}

/// A field of samples or steps.
pub(super) fn field<'a, A: 'static>(column: &'a StructArray, name: &str) -> Result<&'a A, Error> {
    let field = column.column_by_name(name).and_then(|field| field.as_any().downcast_ref());
    field.ok_or_else(|| Error::internal(format!("a column of samples has no field {name:?} of the expected type")))
}

/// The items of a list.
pub(super) fn items<A: 'static>(list: &dyn Array) -> Result<&A, Error> {
    list.as_any().downcast_ref().ok_or_else(|| Error::internal("a list has items of an unexpected type"))
}

/// The lists of the native histograms of samples or steps.
pub(super) fn histograms_field(column: &StructArray) -> Result<&ListArray, Error> {
    field(column, "histograms")
}

/// So many times the same.
pub(super) fn repeated(time: i64, count: usize) -> ScalarBuffer<i64> {
    vec![time; count].into()
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;
    use futures::TryStreamExt;

    use super::*;
    use crate::model::DurationMs;
    use crate::query::{EngineOptions, QueryEngine, QueryOptions, QueryTimes};
    use crate::testing::MemoryStore;

    fn rows(table: &RecordBatch) -> Vec<Vec<String>> {
        let cell = |column: &ArrayRef, row: usize| array_value_to_string(column, row).expect("it can be printed");
        (0..table.num_rows()).map(|row| table.columns().iter().map(|column| cell(column, row)).collect()).collect()
    }

    #[tokio::test]
    async fn pieces_of_a_table_become_pieces_of_what_it_becomes() {
        let store = MemoryStore::new();
        let histogram = "{{schema:0 sum:4 count:3 buckets:[1 2]}}";
        let lines = [
            "x{a=\"1\"} 1 2 _x5 3".to_owned(),
            format!("x{{a=\"2\"}} 1 {histogram}x3 _x40 {histogram}x1"),
            "x{a=\"3\"} 1+1x9".to_owned(),
            format!("x{{a=\"4\"}} {histogram}x9"),
            "x{a=\"5\"} 7x9".to_owned(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        store.load(&lines, TimestampMs(0), DurationMs(10_000)).expect("series");
        let engine = QueryEngine::new(Arc::new(store), EngineOptions::default());
        let grid = StepGrid::with_count(TimestampMs(0), DurationMs(10_000), 60);
        let range = QueryTimes::Range { grid, end: grid.last() };
        let instant = QueryTimes::Instant(TimestampMs(90_000));
        for (query, times) in [("x", range), ("x", instant), ("x[2m]", instant)] {
            let stream = engine.stream(query, times, &QueryOptions::default()).await.expect("begun");
            let value = stream.value.clone();
            let tables: Vec<_> = stream.tables.try_collect().await.expect("tables");
            let [(whole, _)] = tables.as_slice() else { panic!("one table") };
            for form in [TableForm::PerSeries, TableForm::PerSample, TableForm::Native] {
                let label_columns = vec!["a".to_owned(), "b".to_owned()];
                let wanted = Wanted { form, label_columns, histograms: true, sample_times: true };
                let tables = Tables::new(wanted, value.clone());
                let expected = rows(&tables.convert(whole).expect("converted"));
                assert!(expected.len() >= whole.num_rows());
                for length in 1..=whole.num_rows() {
                    let pieces = (0..whole.num_rows()).step_by(length);
                    let pieces = pieces.map(|from| whole.slice(from, length.min(whole.num_rows() - from)));
                    let converted: Vec<_> =
                        pieces.flat_map(|piece| rows(&tables.convert(&piece).expect("converted"))).collect();
                    assert_eq!(converted, expected, "{query} {form:?} in pieces of {length}");
                }
            }
        }
    }
}
