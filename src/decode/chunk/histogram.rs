//! Chunks of native histograms: what they have in common comes once, then each histogram as its difference to the one before.
//!
//! Source: the layouts of Prometheus v3.14 tsdb/chunkenc/histogram.go, histogram_meta.go and the ST variants.

use std::sync::Arc;

use super::bit_reader::BitReader;
use super::start_times::StartTimes;
use super::varbit::{read_varbit_int, read_varbit_uint};
use super::{ChunkError, ChunkProblem, SampleSink, TimeWindow};
use crate::decode::histogram_layout::{HistogramLayout, HistogramLayoutError, SIDE_BUCKETS_MAX};
use crate::model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, NativeHistogram, is_stale};

/// What the first three bytes of a chunk say.
#[derive(Copy, Clone, Debug)]
pub(super) struct HistogramHeader {
    sample_count: usize,
    is_gauge: bool,
    starts: Option<StartTimes>,
}

impl HistogramHeader {
    /// A header without start timestamps: 16 bits of count, two of what is known of counter resets.
    pub(super) fn plain(header: [u8; 3]) -> Self {
        let sample_count = usize::from(u16::from_be_bytes([header[0], header[1]]));
        Self { sample_count, is_gauge: is_gauge(header[2]), starts: None }
    }

    /// A header with them: two bits of what is known of counter resets, 14 of count, and a byte of starts.
    pub(super) fn with_starts(header: [u8; 3]) -> Self {
        let sample_count = usize::from(u16::from_be_bytes([header[0] & 0x3f, header[1]]));
        Self { sample_count, is_gauge: is_gauge(header[0]), starts: Some(StartTimes::new(header[2])) }
    }

    /// What a reader of the chunk may know of a reset before a histogram. Prometheus tells "reset" and "no reset" of the first one
    /// only to itself: whether the chunk before is still there is not known.
    fn hint(&self, sample: usize) -> CounterResetHint {
        match sample {
            _ if self.is_gauge => CounterResetHint::Gauge,
            0 => CounterResetHint::Unknown,
            _ => CounterResetHint::NotReset,
        }
    }
}

fn is_gauge(flags: u8) -> bool {
    flags & 0xc0 == 0xc0
}

/// The counts of a histogram, integer or float.
pub(super) trait Counts: Sized {
    /// Those of the first histogram, with its sum.
    fn read_first(reader: &mut BitReader<'_>, layout: &HistogramLayout) -> Self;

    /// Those of the next histogram. A stale marker has no buckets.
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), ChunkProblem>;

    /// The sum of observations.
    fn sum(&self) -> f64;

    /// Count, zero count and buckets.
    fn fill(&self, layout: &HistogramLayout, histogram: &mut NativeHistogram);
}

/// Decodes what is behind the header.
pub(super) fn decode<C: Counts>(
    mut reader: BitReader<'_>,
    mut header: HistogramHeader,
    window: TimeWindow,
    sink: &mut dyn SampleSink,
) -> Result<(), ChunkError> {
    if header.sample_count == 0 {
        return Ok(());
    }
    let at = |sample: usize| move |problem: ChunkProblem| ChunkError { sample, problem };
    let layout = read_layout(&mut reader).map_err(at(0))?;
    let mut time = read_varbit_int(&mut reader);
    let mut time_before = time;
    let mut delta = 0_i64;
    let mut counts = C::read_first(&mut reader, &layout);
    for sample in 0..header.sample_count {
        if sample > 0 {
            delta = delta.wrapping_add(read_varbit_int(&mut reader));
            time_before = time;
            time = time.wrapping_add(delta);
            counts.read_next(&mut reader).map_err(at(sample))?;
        }
        let start = match &mut header.starts {
            Some(starts) => starts.read(&mut reader, sample, time, time_before).map_err(at(sample))?,
            None => 0,
        };
        if reader.is_past_end() {
            return Err(at(sample)(ChunkProblem::Truncated));
        }
        if time < time_before {
            return Err(at(sample)(ChunkProblem::NotAscending));
        }
        if time > window.end.0 {
            return Ok(());
        }
        if time > window.start.0 && (sample == 0 || time > time_before) {
            let histogram = histogram_of(&counts, &layout, header.hint(sample));
            sink.histogram(time, (start != 0).then_some(start), Arc::new(histogram));
            if sink.is_full() {
                return Err(at(sample)(ChunkProblem::TooManySamples));
            }
        }
    }
    Ok(())
}

fn histogram_of<C: Counts>(counts: &C, layout: &HistogramLayout, hint: CounterResetHint) -> NativeHistogram {
    let sum = counts.sum();
    if is_stale(sum) {
        return NativeHistogram { sum, ..NativeHistogram::default() };
    }
    let mut histogram = NativeHistogram {
        counter_reset_hint: hint,
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        sum,
        custom_bounds: Arc::clone(&layout.custom_bounds),
        ..NativeHistogram::default()
    };
    counts.fill(layout, &mut histogram);
    histogram
}

fn read_layout(reader: &mut BitReader<'_>) -> Result<HistogramLayout, ChunkProblem> {
    let zero_threshold = read_zero_threshold(reader);
    let schema = read_varbit_int(reader);
    let positive = read_spans(reader)?;
    let negative = read_spans(reader)?;
    let is_custom = schema == i64::from(CUSTOM_BUCKETS_SCHEMA);
    let custom_bounds = if is_custom { read_custom_bounds(reader)? } else { Vec::new() };
    if reader.is_past_end() {
        return Err(ChunkProblem::Truncated);
    }
    let layout = HistogramLayout::try_new(schema, zero_threshold, positive, negative, custom_bounds)?;
    // Every bucket has at least a bit: so memory is bounded by what is there.
    if layout.positive.sent_buckets + layout.negative.sent_buckets > reader.remaining() {
        return Err(ChunkProblem::Truncated);
    }
    Ok(layout)
}

/// A byte: 0 for zero, 255 for any number in the next 64 bits, else the exponent of a power of two.
fn read_zero_threshold(reader: &mut BitReader<'_>) -> f64 {
    match reader.read(8) {
        0 => 0.0,
        255 => f64::from_bits(reader.read(64)),
        // 0.5 · 2^(byte - 243), as bits of a normal number.
        byte => f64::from_bits((byte + 1023 - 244) << 52),
    }
}

/// How many of something follow, each of at least `bits_each`.
fn read_count(reader: &mut BitReader<'_>, bits_each: usize) -> Result<usize, ChunkProblem> {
    let count = read_varbit_uint(reader);
    let most = reader.remaining() / bits_each;
    let count = usize::try_from(count).ok().filter(|count| *count <= most).ok_or(ChunkProblem::Truncated)?;
    if count > SIDE_BUCKETS_MAX { Err(HistogramLayoutError::TooManyBuckets.into()) } else { Ok(count) }
}

fn read_spans(reader: &mut BitReader<'_>) -> Result<Vec<BucketSpan>, ChunkProblem> {
    let count = read_count(reader, 2)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, offset) = (read_varbit_uint(reader), read_varbit_int(reader));
        let length = u32::try_from(length).map_err(|_| HistogramLayoutError::TooManyBuckets)?;
        let offset = i32::try_from(offset).map_err(|_| HistogramLayoutError::SpanOffset(offset))?;
        spans.push(BucketSpan { offset, length });
    }
    Ok(spans)
}

/// Thousandths, one more than they are, or 0 and any number in the next 64 bits.
fn read_custom_bounds(reader: &mut BitReader<'_>) -> Result<Vec<f64>, ChunkProblem> {
    let count = read_count(reader, 5)?;
    let bounds = (0..count).map(|_| match read_varbit_uint(reader) {
        0 => f64::from_bits(reader.read(64)),
        thousandths => (thousandths - 1) as f64 / 1000.0,
    });
    Ok(bounds.collect())
}
