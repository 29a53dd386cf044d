//! `io.prometheus.client.MetricFamily`, each message behind its length. Fields as in prometheus/client_model v0.6
//! metrics.proto; written in the order of their numbers, repeated numbers not packed.

use super::NameEscaping;
use super::metric::{FamilyType, Metric, classic_buckets};
use crate::model::{BucketSpan, NativeHistogram, Sample};

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;

/// Begins the message of a family: its length, name and type. `metrics_length` bytes of metrics must follow.
pub(super) fn write_family_head(name: &str, family_type: FamilyType, metrics_length: usize, out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(name.len() + 16);
    write_bytes(1, name.as_bytes(), &mut head);
    write_varint(3, family_type_number(family_type), &mut head);
    write_uvarint((head.len() + metrics_length) as u64, out);
    out.extend_from_slice(&head);
}

fn family_type_number(family_type: FamilyType) -> u64 {
    match family_type {
        FamilyType::Untyped => 3,
        FamilyType::Histogram => 4,
        FamilyType::GaugeHistogram => 5,
    }
}

/// A metric as a field of its family.
pub(super) fn write_metric(metric: &Metric<'_>, escaping: NameEscaping, out: &mut Vec<u8>) {
    let (mut message, mut field) = (Vec::new(), Vec::new());
    for (name, value) in metric.labels() {
        field.clear();
        write_bytes(1, escaping.escape(&name).as_bytes(), &mut field);
        write_bytes(2, value.as_bytes(), &mut field);
        write_bytes(1, &field, &mut message);
    }
    field.clear();
    match &metric.sample {
        Sample::Float(value) => {
            write_double(1, *value, &mut field);
            write_bytes(5, &field, &mut message);
            write_timestamp(metric, &mut message);
        }
        Sample::Histogram(histogram) => {
            write_histogram(histogram, &mut field);
            write_timestamp(metric, &mut message);
            write_bytes(7, &field, &mut message);
        }
    }
    write_bytes(4, &message, out);
}

fn write_timestamp(metric: &Metric<'_>, out: &mut Vec<u8>) {
    write_varint(6, metric.timestamp_ms as u64, out);
}

fn write_histogram(histogram: &std::sync::Arc<NativeHistogram>, out: &mut Vec<u8>) {
    write_double(2, histogram.sum, out);
    if histogram.uses_custom_buckets() {
        // The bucket up to +Inf need not be written.
        for (bound, cumulative) in classic_buckets(histogram) {
            let mut bucket = Vec::with_capacity(20);
            write_double(2, bound, &mut bucket);
            write_double(4, cumulative, &mut bucket);
            write_bytes(3, &bucket, out);
        }
        write_double(4, histogram.count, out);
        return;
    }
    write_double(4, histogram.count, out);
    write_varint(5, zigzag(histogram.schema), out);
    write_double(6, histogram.zero_threshold, out);
    write_double(8, histogram.zero_count, out);
    for ((span_field, count_field), buckets) in [((9, 11), &histogram.negative), ((12, 14), &histogram.positive)] {
        buckets.spans.iter().for_each(|span| write_span(span_field, *span, out));
        buckets.counts.iter().for_each(|count| write_double(count_field, *count, out));
    }
}

fn write_span(field: u64, span: BucketSpan, out: &mut Vec<u8>) {
    let mut message = Vec::with_capacity(12);
    write_varint(1, zigzag(span.offset), &mut message);
    write_varint(2, u64::from(span.length), &mut message);
    write_bytes(field, &message, out);
}

fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)) as u32)
}

/// A number; zero is written, too: these fields tell what is there from what is not.
fn write_varint(field: u64, value: u64, out: &mut Vec<u8>) {
    write_uvarint(field << 3 | VARINT, out);
    write_uvarint(value, out);
}

fn write_double(field: u64, value: f64, out: &mut Vec<u8>) {
    write_uvarint(field << 3 | FIXED_64, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_uvarint(field << 3 | BYTES, out);
    write_uvarint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
