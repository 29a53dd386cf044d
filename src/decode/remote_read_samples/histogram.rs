//! A native histogram that is written out: the message `Histogram`.

use std::sync::Arc;

use super::super::DecodeError;
use super::super::histogram_layout::{HistogramLayout, SideLayout};
use super::super::protobuf::{Field, FieldValue, MessageReader, Uvarint, read_uvarint, unzigzag};
use crate::model::{BucketSpan, Buckets, CounterResetHint, NativeHistogram, TimedHistogram, is_stale};

/// One sign: spans, and counts in one of two forms.
#[derive(Debug, Default)]
struct Side {
    spans: Vec<BucketSpan>,
    /// Steps from one whole count to the next.
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

#[derive(Debug, Default)]
struct Sent {
    /// Is the count of observations a float? Then the buckets are, too.
    is_float: bool,
    histogram: NativeHistogram,
    schema: i64,
    positive: Side,
    negative: Side,
    custom_bounds: Vec<f64>,
    time: i64,
}

/// Reads a `Histogram` with whole or float counts.
pub(super) fn read_histogram(mut fields: MessageReader<'_>) -> Result<TimedHistogram, DecodeError> {
    let mut sent = Sent::default();
    while let Some(field) = fields.next()? {
        let histogram = &mut sent.histogram;
        match field.number {
            1 => (histogram.count, sent.is_float) = (field.varint()? as f64, false),
            2 => (histogram.count, sent.is_float) = (double(&field)?, true),
            3 => histogram.sum = double(&field)?,
            4 => sent.schema = unzigzag(field.varint()?),
            5 => histogram.zero_threshold = double(&field)?,
            6 => histogram.zero_count = field.varint()? as f64,
            7 => histogram.zero_count = double(&field)?,
            8 => sent.negative.spans.push(read_span(field.message()?)?),
            9 => read_numbers(&field, &mut |number| sent.negative.deltas.push(unzigzag(number)))?,
            10 => read_doubles(&field, &mut sent.negative.counts)?,
            11 => sent.positive.spans.push(read_span(field.message()?)?),
            12 => read_numbers(&field, &mut |number| sent.positive.deltas.push(unzigzag(number)))?,
            13 => read_doubles(&field, &mut sent.positive.counts)?,
            14 => histogram.counter_reset_hint = read_hint(&field)?,
            15 => sent.time = field.varint()? as i64,
            16 => read_doubles(&field, &mut sent.custom_bounds)?,
            _ => {}
        }
    }
    let offset = fields.offset();
    let at = sent.time;
    let histogram = sent.finish().map_err(|problem| DecodeError::Invalid { offset, problem })?;
    Ok(TimedHistogram { at, start_time: None, histogram: Arc::new(histogram) })
}

impl Sent {
    fn finish(self) -> Result<NativeHistogram, String> {
        let Self { is_float, histogram, schema, positive, negative, custom_bounds, .. } = self;
        if is_stale(histogram.sum) {
            return Ok(NativeHistogram { sum: histogram.sum, ..NativeHistogram::default() });
        }
        let threshold = histogram.zero_threshold;
        let (positive_counts, negative_counts) = (positive.counts(is_float), negative.counts(is_float));
        let layout = HistogramLayout::try_new(schema, threshold, positive.spans, negative.spans, custom_bounds)
            .map_err(|error| error.to_string())?;
        Ok(NativeHistogram {
            schema: layout.schema,
            positive: buckets(&layout.positive, positive_counts)?,
            negative: buckets(&layout.negative, negative_counts)?,
            custom_bounds: layout.custom_bounds,
            ..histogram
        })
    }
}

impl Side {
    fn counts(&self, is_float: bool) -> Vec<f64> {
        if is_float {
            return self.counts.clone();
        }
        let mut count = 0_i64;
        let step = |delta: &i64| {
            count = count.wrapping_add(*delta);
            count as f64
        };
        self.deltas.iter().map(step).collect()
    }
}

fn buckets(layout: &SideLayout, counts: Vec<f64>) -> Result<Buckets, String> {
    if counts.len() != layout.sent_buckets {
        return Err(format!("a histogram with spans for {} buckets and {} of them", layout.sent_buckets, counts.len()));
    }
    Ok(layout.buckets(counts.into_iter()))
}

fn read_hint(field: &Field<'_>) -> Result<CounterResetHint, DecodeError> {
    let code = field.varint()?;
    let hint = i8::try_from(code).ok().and_then(CounterResetHint::from_code);
    hint.ok_or_else(|| field.invalid(format!("a histogram with the unknown reset hint {code}")))
}

fn read_span(mut fields: MessageReader<'_>) -> Result<BucketSpan, DecodeError> {
    let mut span = BucketSpan { offset: 0, length: 0 };
    while let Some(field) = fields.next()? {
        let too_large = || field.invalid("a bucket span of more than 32 bits".to_owned());
        match field.number {
            1 => span.offset = i32::try_from(unzigzag(field.varint()?)).map_err(|_| too_large())?,
            2 => span.length = u32::try_from(field.varint()?).map_err(|_| too_large())?,
            _ => {}
        }
    }
    Ok(span)
}

fn double(field: &Field<'_>) -> Result<f64, DecodeError> {
    match field.value {
        FieldValue::Fixed64(bits) => Ok(f64::from_bits(bits)),
        _ => Err(field.wrong("eight bytes")),
    }
}

/// Numbers, packed or one by one.
fn read_numbers(field: &Field<'_>, take: &mut dyn FnMut(u64)) -> Result<(), DecodeError> {
    if let FieldValue::Varint(number) = field.value {
        take(number);
        return Ok(());
    }
    let (mut bytes, _) = field.bytes()?;
    while !bytes.is_empty() {
        let Uvarint::Value(number, length) = read_uvarint(bytes) else {
            return Err(field.invalid("packed numbers that end in the middle of one".to_owned()));
        };
        take(number);
        bytes = &bytes[length..];
    }
    Ok(())
}

/// Floats, packed or one by one.
fn read_doubles(field: &Field<'_>, floats: &mut Vec<f64>) -> Result<(), DecodeError> {
    if let FieldValue::Fixed64(bits) = field.value {
        floats.push(f64::from_bits(bits));
        return Ok(());
    }
    let (bytes, _) = field.bytes()?;
    let (words, []) = bytes.as_chunks::<8>() else {
        return Err(field.invalid("packed floats that end in the middle of one".to_owned()));
    };
    floats.extend(words.iter().map(|word| f64::from_le_bytes(*word)));
    Ok(())
}
