//! The answer to a remote read that asks for samples, as messages. The field numbers are those of Prometheus 3.14
//! (prompb/remote.proto and types.proto).

use prost::Message;

use crate::error::Error;
use crate::model::{Buckets, LabelsRef, NativeHistogram, SamplesTable, TimedHistogram};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    /// Never left out: it tells a histogram of floats from one of integers.
    #[prost(double, optional, tag = "2")]
    count_float: Option<f64>,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(double, optional, tag = "7")]
    zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<BucketSpan>,
    #[prost(double, repeated, tag = "10")]
    negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<BucketSpan>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    /// The numbers are those of [`crate::model::CounterResetHint`].
    #[prost(int32, tag = "14")]
    reset_hint: i32,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    custom_values: Vec<f64>,
}

/// A row of a samples table under the given labels.
pub(super) fn time_series(labels: LabelsRef<'_>, table: &SamplesTable<'_>, row: usize) -> Result<TimeSeries, Error> {
    let labels = labels.iter().map(|(name, value)| Label { name: name.into_owned(), value: value.into_owned() });
    let (times, values) = table.series(row);
    let samples = times.iter().zip(values).map(|(timestamp, value)| Sample { value: *value, timestamp: *timestamp });
    let histograms = if table.histograms().row_len(row) > 0 { table.histograms().row(row)? } else { Vec::new() };
    Ok(TimeSeries {
        labels: labels.collect(),
        samples: samples.collect(),
        histograms: histograms.iter().map(histogram).collect(),
    })
}

fn histogram(item: &TimedHistogram) -> Histogram {
    let NativeHistogram { schema, zero_threshold, zero_count, count, sum, .. } = *item.histogram;
    let spans = |buckets: &Buckets| {
        let span = |span: &crate::model::BucketSpan| BucketSpan { offset: span.offset, length: span.length };
        buckets.spans.iter().map(span).collect()
    };
    Histogram {
        count_float: Some(count),
        sum,
        schema,
        zero_threshold,
        zero_count_float: Some(zero_count),
        negative_spans: spans(&item.histogram.negative),
        negative_counts: item.histogram.negative.counts.clone(),
        positive_spans: spans(&item.histogram.positive),
        positive_counts: item.histogram.positive.counts.clone(),
        reset_hint: i32::from(item.histogram.counter_reset_hint as i8),
        timestamp: item.at,
        custom_values: item.histogram.custom_bounds.to_vec(),
    }
}
