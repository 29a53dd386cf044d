//! Tables of a row for each series as tables of a row for each sample.

use std::sync::{Arc, LazyLock};

use arrow::array::{Float64Builder, MapArray, MapBuilder, MapFieldNames, StringBuilder, TimestampMillisecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{LabelsRef, SamplesTable, StepGrid, StepsTable};
use crate::query::stream::StreamedValue;

/// When a sample was taken, or evaluated.
pub(super) const COLUMN_TIMESTAMP: &str = "timestamp";

/// A piece has so many rows: each has its labels, and a thousand labels of a thousand bytes are a lot.
const PIECE_ROWS: usize = 1_024;

/// `timestamp`, `value`, `labels`.
pub(super) static SAMPLE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let key = Field::new("key", DataType::Utf8, false);
    let value = Field::new("value", DataType::Utf8, true);
    let entries = Field::new("entries", DataType::Struct(vec![key, value].into()), false);
    Arc::new(Schema::new(vec![
        Field::new(COLUMN_TIMESTAMP, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        Field::new("value", DataType::Float64, false),
        Field::new("labels", DataType::Map(Arc::new(entries), false), false),
    ]))
});

/// The samples of a table, in pieces that are made as they are taken.
///
/// # Errors
/// `Execution` where there is a native histogram, which is no number.
pub(super) fn sample_rows(
    value: &StreamedValue,
    table: &RecordBatch,
) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + Send + use<>, Error> {
    let grid = match value {
        StreamedValue::Scalar { time } | StreamedValue::Vector { time } => Some(StepGrid::instant(*time)),
        StreamedValue::Matrix { grid } | StreamedValue::TimedSteps { grid } => Some(*grid),
        StreamedValue::Samples => None,
        StreamedValue::String { .. } => return Err(Error::internal("a text has no samples")),
    };
    let has_histograms = match grid {
        Some(_) => !StepsTable::try_new(table)?.histograms().is_empty(),
        None => !SamplesTable::try_new(table)?.histograms().is_empty(),
    };
    if has_histograms {
        return Err(Error::execution(
            "there are native histograms in the answer, which are no numbers: take their histogram_count, histogram_sum, \
             histogram_avg or histogram_quantile in PromQL",
        ));
    }
    let table = table.clone();
    let (mut row, mut sample) = (0, 0);
    Ok(std::iter::from_fn(move || {
        let mut piece = Piece::default();
        let filled = match grid {
            Some(grid) => piece.fill_from_steps(&table, grid, &mut row, &mut sample),
            None => piece.fill_from_samples(&table, &mut row, &mut sample),
        };
        match filled {
            Err(error) => {
                row = table.num_rows();
                Some(Err(error))
            }
            Ok(()) if piece.row_count == 0 => None,
            Ok(()) => Some(piece.finish()),
        }
    }))
}

/// Rows that are being made.
struct Piece {
    times: TimestampMillisecondBuilder,
    values: Float64Builder,
    labels: MapBuilder<StringBuilder, StringBuilder>,
    row_count: usize,
}

impl Default for Piece {
    fn default() -> Self {
        let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
        Self {
            times: TimestampMillisecondBuilder::new(),
            values: Float64Builder::new(),
            labels: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()),
            row_count: 0,
        }
    }
}

impl Piece {
    /// Goes on at a sample of a row, and leaves both at where it has ended.
    fn fill_from_steps(
        &mut self,
        table: &RecordBatch,
        grid: StepGrid,
        row: &mut usize,
        step: &mut usize,
    ) -> Result<(), Error> {
        let steps = StepsTable::try_new(table)?;
        while *row < steps.row_count() {
            let labels = steps.labels(*row);
            let times = grid.times().zip(0..).skip(*step);
            for (time, index) in times {
                if self.row_count == PIECE_ROWS {
                    *step = index;
                    return Ok(());
                }
                if let Some(value) = steps.cell(*row, index) {
                    self.push(time.0, value, labels)?;
                }
            }
            (*row, *step) = (*row + 1, 0);
        }
        Ok(())
    }

    fn fill_from_samples(&mut self, table: &RecordBatch, row: &mut usize, sample: &mut usize) -> Result<(), Error> {
        let samples = SamplesTable::try_new(table)?;
        while *row < samples.row_count() {
            let labels = samples.labels(*row);
            let (times, values) = samples.series(*row);
            for (index, (time, value)) in times.iter().zip(values).enumerate().skip(*sample) {
                if self.row_count == PIECE_ROWS {
                    *sample = index;
                    return Ok(());
                }
                self.push(*time, *value, labels)?;
            }
            (*row, *sample) = (*row + 1, 0);
        }
        Ok(())
    }

    fn push(&mut self, time_ms: i64, value: f64, labels: LabelsRef<'_>) -> Result<(), Error> {
        self.times.append_value(time_ms);
        self.values.append_value(value);
        for (name, value) in labels.iter() {
            self.labels.keys().append_value(name);
            self.labels.values().append_value(value);
        }
        self.labels.append(true).map_err(|error| Error::internal(error.to_string()))?;
        self.row_count += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch, Error> {
        let times = self.times.finish().with_timezone("UTC");
        let labels: MapArray = self.labels.finish();
        let columns = vec![Arc::new(times) as _, Arc::new(self.values.finish()) as _, Arc::new(labels) as _];
        RecordBatch::try_new(Arc::clone(&SAMPLE_SCHEMA), columns).map_err(|error| Error::internal(error.to_string()))
    }
}
