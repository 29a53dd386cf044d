//! Results of queries as Thanos' messages: one `TimeSeries` a row.

use arrow::record_batch::RecordBatch;

use super::proto::{self, histogram};
use super::series::proto_labels;
use crate::error::Error;
use crate::model::{
    Buckets, LabelsRef, NativeHistogram, QueryValue, Sample, SamplesTable, StepGrid, StepsTable, TimestampMs, is_stale,
};

/// The tables of a value, row by row.
#[derive(Debug)]
pub(super) enum Rows {
    /// Steps tables.
    Steps(StepGrid, Vec<RecordBatch>),
    /// Samples tables.
    Samples(Vec<RecordBatch>),
    /// A number without labels.
    Scalar(TimestampMs, f64),
}

impl TryFrom<QueryValue> for Rows {
    type Error = Error;

    /// A text has no place in these messages.
    fn try_from(value: QueryValue) -> Result<Self, Error> {
        match value {
            QueryValue::Scalar { time, value } => Ok(Self::Scalar(time, value)),
            QueryValue::Vector { time, batches } => Ok(Self::Steps(StepGrid::instant(time), batches)),
            QueryValue::Matrix { grid, batches } => Ok(Self::Steps(grid, batches)),
            QueryValue::Samples { batches } => Ok(Self::Samples(batches)),
            QueryValue::String { .. } => {
                Err(Error::bad_data("the query is a text, which Thanos' Query API has no form for: ask over HTTP"))
            }
        }
    }
}

impl Rows {
    /// How many tables there are.
    pub(super) fn table_count(&self) -> usize {
        match self {
            Self::Steps(_, tables) | Self::Samples(tables) => tables.len(),
            Self::Scalar(..) => 1,
        }
    }

    /// How many rows a table has.
    pub(super) fn row_count(&self, table: usize) -> usize {
        match self {
            Self::Steps(_, tables) | Self::Samples(tables) => tables[table].num_rows(),
            Self::Scalar(..) => 1,
        }
    }

    /// A row as a message, with its size.
    pub(super) fn series(&self, table: usize, row: usize) -> Result<(proto::TimeSeries, usize), Error> {
        let series = match self {
            Self::Steps(grid, tables) => steps_series(*grid, &StepsTable::try_new(&tables[table])?, row)?,
            Self::Samples(tables) => samples_series(&SamplesTable::try_new(&tables[table])?, row)?,
            Self::Scalar(time, value) => proto::TimeSeries {
                samples: vec![proto::Sample { value: *value, timestamp: time.0 }],
                ..proto::TimeSeries::default()
            },
        };
        let bytes = prost::Message::encoded_len(&series);
        Ok((series, bytes))
    }
}

fn steps_series(grid: StepGrid, table: &StepsTable<'_>, row: usize) -> Result<proto::TimeSeries, Error> {
    let mut series = labelled(table.labels(row));
    for (time, sample) in grid.times().zip(table.samples(row)?) {
        match sample {
            None => {}
            Some(Sample::Float(value)) => series.samples.push(proto::Sample { value, timestamp: time.0 }),
            Some(Sample::Histogram(histogram)) => series.histograms.push(proto_histogram(time.0, &histogram)),
        }
    }
    Ok(series)
}

fn samples_series(table: &SamplesTable<'_>, row: usize) -> Result<proto::TimeSeries, Error> {
    let mut series = labelled(table.labels(row));
    let (times, values) = table.series(row);
    let numbers = times.iter().zip(values).filter(|(_, value)| !is_stale(**value));
    series.samples.extend(numbers.map(|(time, value)| proto::Sample { value: *value, timestamp: *time }));
    let histograms = table.histograms().row(row)?;
    series.histograms.extend(histograms.iter().map(|item| proto_histogram(item.at, &item.histogram)));
    Ok(series)
}

fn labelled(labels: LabelsRef<'_>) -> proto::TimeSeries {
    proto::TimeSeries { labels: proto_labels(labels), ..proto::TimeSeries::default() }
}

/// With float counts: that is what results of queries have, and a Querier reads no others.
fn proto_histogram(timestamp: i64, histogram: &NativeHistogram) -> proto::Histogram {
    let spans = |buckets: &Buckets| {
        let spans = buckets.spans.iter();
        spans.map(|span| proto::BucketSpan { offset: span.offset, length: span.length }).collect()
    };
    proto::Histogram {
        count: Some(histogram::Count::CountFloat(histogram.count)),
        sum: histogram.sum,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(histogram::ZeroCount::ZeroCountFloat(histogram.zero_count)),
        negative_spans: spans(&histogram.negative),
        negative_deltas: Vec::new(),
        negative_counts: histogram.negative.counts.clone(),
        positive_spans: spans(&histogram.positive),
        positive_deltas: Vec::new(),
        positive_counts: histogram.positive.counts.clone(),
        // The numbers are the same.
        reset_hint: i32::from(histogram.counter_reset_hint as i8),
        timestamp,
        custom_values: histogram.custom_bounds.to_vec(),
    }
}
