//! The answer of a remote read with all samples written out (`SAMPLES`): one snappy block with one `ReadResponse`.
//!
//! Source: Prometheus v3.14 prompb/remote.proto and types.proto, storage/remote/codec.go (`concreteSeriesIterator`).

mod histogram;
#[cfg(test)]
mod tests;

use arrow::record_batch::RecordBatch;

use super::chunk::{SampleSink, TimeWindow};
use super::chunk_stream::SeriesFilter;
use super::chunk_stream::message::read_label;
use super::protobuf::{FieldValue, MessageReader};
use super::series_builder::SeriesBuilder;
use super::{ChunkStreamLimits, DecodeError};
use crate::model::TimedHistogram;
use histogram::read_histogram;

/// A snappy block is at most so many times larger when it is unpacked: a copy of three bytes stands for 64.
const SNAPPY_RATIO_MAX: usize = 22;

/// What such an answer may cost.
#[derive(Copy, Clone, Debug)]
pub struct ReadSamplesLimits {
    /// Bytes of the unpacked message. Default 1 GiB: what 50 million samples take.
    pub message_bytes_max: usize,
    /// Labels and samples, as in a streamed answer; its frames have none here.
    pub series: ChunkStreamLimits,
}

impl Default for ReadSamplesLimits {
    fn default() -> Self {
        Self { message_bytes_max: 1 << 30, series: ChunkStreamLimits::default() }
    }
}

/// The samples tables of an answer to one query, in the order in which the series were sent: that they are sorted is not
/// checked here. Samples outside of the window are left out, and so are series without any other.
///
/// Start timestamps are not in such answers. Where a number and a histogram have the same time the number stays, as in
/// Prometheus. Times that do not ascend, a histogram that cannot be, and a body that is not what it says are errors.
pub fn decode_read_samples(
    body: &[u8],
    window: TimeWindow,
    filter: &mut impl SeriesFilter,
    limits: ReadSamplesLimits,
) -> Result<Vec<RecordBatch>, DecodeError> {
    let message = unpack(body, limits.message_bytes_max)?;
    let mut results = MessageReader::new(&message, 0);
    let mut rows = Rows {
        window,
        filter,
        limits: limits.series,
        builder: SeriesBuilder::new(limits.series.samples_max),
        labels: None,
        next_labels: Vec::new(),
        floats: Floats::default(),
    };
    let mut result_count = 0;
    while let Some(field) = results.next()? {
        if field.number != 1 {
            continue;
        }
        result_count += 1;
        let mut series = field.message()?;
        while let Some(field) = series.next()? {
            if field.number == 1 {
                rows.add_series(field.message()?)?;
            }
        }
    }
    if result_count != 1 {
        let problem = format!("an answer with {result_count} results to a request with one query");
        return Err(DecodeError::Incomplete(problem));
    }
    rows.end_series();
    Ok(rows.builder.finish())
}

/// Undoes snappy. What the block says of its size is not believed before memory is taken.
fn unpack(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    let damaged = |error: snap::Error| DecodeError::Compression(format!("damaged snappy block: {error}"));
    let length = snap::raw::decompress_len(body).map_err(damaged)?;
    if length > bytes_max {
        let problem = format!("snappy block of {length} bytes, at most {bytes_max} are taken");
        return Err(DecodeError::Compression(problem));
    }
    if length > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        let problem = format!("snappy block of {} bytes cannot hold the {length} that it says", body.len());
        return Err(DecodeError::Compression(problem));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(damaged)
}

/// The numbers of a series; the buffers are kept between series.
#[derive(Debug, Default)]
struct Floats {
    times: Vec<i64>,
    values: Vec<f64>,
}

/// Makes rows of series.
struct Rows<'a, F> {
    window: TimeWindow,
    filter: &'a mut F,
    limits: ChunkStreamLimits,
    builder: SeriesBuilder,
    /// Labels in the table of the series that is being built.
    labels: Option<Vec<u8>>,
    next_labels: Vec<u8>,
    floats: Floats,
}

impl<F: SeriesFilter> Rows<'_, F> {
    /// Takes a `TimeSeries`.
    fn add_series(&mut self, series: MessageReader<'_>) -> Result<(), DecodeError> {
        let labels = self.read_labels(series.clone())?;
        self.next_labels.clear();
        if !self.filter.accept(&labels, &mut self.next_labels)? {
            return Ok(());
        }
        if self.labels.as_ref() != Some(&self.next_labels) {
            let labels = std::mem::take(&mut self.next_labels);
            self.end_series();
            self.labels = Some(labels);
        }
        let histograms = self.read_samples(series)?;
        self.push_in_order(histograms);
        self.builder.check_limit().map_err(|_| DecodeError::TooManySamples)
    }

    fn end_series(&mut self) {
        if let Some(labels) = self.labels.take() {
            self.builder.end_series(&labels);
            // Its buffer serves again.
            self.next_labels = labels;
        }
    }

    fn read_labels<'b>(&self, mut series: MessageReader<'b>) -> Result<Vec<(&'b str, &'b str)>, DecodeError> {
        let mut labels = Vec::with_capacity(16);
        let mut bytes_left = self.limits.label_set_bytes_max;
        while let Some(field) = series.next()? {
            if field.number != 1 {
                continue;
            }
            let (bytes, offset) = field.bytes()?;
            // Four more for each, so that many empty ones are bounded too.
            bytes_left = bytes_left.checked_sub(bytes.len() + 4).ok_or_else(|| DecodeError::Invalid {
                offset,
                problem: format!("a label set of more than {} bytes", self.limits.label_set_bytes_max),
            })?;
            labels.push(read_label(MessageReader::new(bytes, offset))?);
        }
        Ok(labels)
    }

    /// Reads what is in the window: numbers into the buffers, and the histograms.
    fn read_samples(&mut self, mut series: MessageReader<'_>) -> Result<Vec<TimedHistogram>, DecodeError> {
        self.floats.times.clear();
        self.floats.values.clear();
        let (mut last_float, mut histograms) = (None, Vec::<TimedHistogram>::new());
        let mut last_histogram = None;
        while let Some(field) = series.next()? {
            match field.number {
                2 => {
                    let (time, value) = read_sample(field.message()?)?;
                    ascends(&mut last_float, time, series.offset())?;
                    if self.window.contains(time) {
                        self.floats.times.push(time);
                        self.floats.values.push(value);
                    }
                    if self.floats.times.len() > self.limits.samples_max {
                        return Err(DecodeError::TooManySamples);
                    }
                }
                4 => {
                    let histogram = read_histogram(field.message()?)?;
                    ascends(&mut last_histogram, histogram.at, series.offset())?;
                    if self.window.contains(histogram.at) {
                        histograms.push(histogram);
                    }
                }
                _ => {}
            }
        }
        Ok(histograms)
    }

    fn push_in_order(&mut self, histograms: Vec<TimedHistogram>) {
        let (mut times, mut values) = (&self.floats.times[..], &self.floats.values[..]);
        for TimedHistogram { at, start_time, histogram } in histograms {
            let before = times.partition_point(|time| *time <= at);
            let is_at_number = before > 0 && times[before - 1] == at;
            self.builder.floats(&times[..before], &values[..before]);
            (times, values) = (&times[before..], &values[before..]);
            if !is_at_number {
                self.builder.histogram(at, start_time, histogram);
            }
        }
        self.builder.floats(times, values);
    }
}

fn ascends(last: &mut Option<i64>, time: i64, offset: u64) -> Result<(), DecodeError> {
    if last.is_some_and(|last| last >= time) {
        return Err(DecodeError::Invalid { offset, problem: "samples whose times do not ascend".to_owned() });
    }
    *last = Some(time);
    Ok(())
}

/// A `Sample`.
fn read_sample(mut fields: MessageReader<'_>) -> Result<(i64, f64), DecodeError> {
    let (mut time, mut value) = (0, 0.0);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, FieldValue::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, _) => time = field.varint()? as i64,
            (1, _) => return Err(field.wrong("eight bytes")),
            _ => {}
        }
    }
    Ok((time, value))
}
