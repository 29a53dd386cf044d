//! Chunks of native histograms.
//!
//! Source: the layouts of Prometheus v3.14 tsdb/chunkenc/histogram.go, float_histogram.go, histogram_meta.go and the ST
//! variants. Where Prometheus writes a chunk again to make room for new buckets, a new chunk begins here.

use super::bit_writer::BitWriter;
use super::start_times::StartTimes;
use super::xor::XorValue;
use crate::model::{BucketSpan, Buckets, ChunkEncoding, CounterResetHint, NativeHistogram};

/// What is known of a counter reset before a chunk, as its header says it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum ResetFlags {
    Unknown = 0,
    NotReset = 0x40,
    Reset = 0x80,
    Gauge = 0xc0,
}

/// May a histogram be appended to a chunk, and if not, what does it know of resets?
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Appending {
    Fits,
    NewChunk(ResetFlags),
}

/// Are all counts whole numbers that a float tells apart from their neighbours? A negative zero is not.
pub(super) fn has_whole_counts(histogram: &NativeHistogram) -> bool {
    let is_whole = |count: &f64| count.fract() == 0.0 && count.is_sign_positive() && *count < (1_u64 << 53) as f64;
    let NativeHistogram { count, zero_count, positive, negative, .. } = histogram;
    [count, zero_count].into_iter().chain(&positive.counts).chain(&negative.counts).all(is_whole)
}

/// A number, and by how much it grew last.
#[derive(Copy, Clone, Debug, Default)]
struct Growing {
    value: i64,
    growth: i64,
}

impl Growing {
    fn write(&mut self, value: i64, bits: &mut BitWriter) {
        let growth = value.wrapping_sub(self.value);
        bits.write_varbit_int(growth.wrapping_sub(self.growth));
        *self = Self { value, growth };
    }
}

/// The counts of the last histogram: count, zero count, and all buckets.
#[derive(Clone, Debug)]
enum Counts {
    Integer { count: Growing, zero_count: Growing, steps: Vec<Growing> },
    Float { count: XorValue, zero_count: XorValue, buckets: Vec<XorValue> },
}

/// A chunk that grows.
#[derive(Clone, Debug)]
pub(super) struct HistogramEncoder {
    encoding: ChunkEncoding,
    bits: BitWriter,
    flags: ResetFlags,
    sample_count: u16,
    time: Growing,
    sum: XorValue,
    counts: Counts,
    starts: Option<StartTimes>,
    last: NativeHistogram,
}

impl HistogramEncoder {
    /// A chunk with its first histogram. `encoding` is one of the four for histograms; of the two for whole numbers only where
    /// [`has_whole_counts`].
    pub(super) fn new(
        encoding: ChunkEncoding,
        flags: ResetFlags,
        time: i64,
        start: i64,
        histogram: &NativeHistogram,
    ) -> Self {
        let histogram = stored(histogram);
        let is_integer = matches!(encoding, ChunkEncoding::Histogram | ChunkEncoding::HistogramSt);
        let has_starts = matches!(encoding, ChunkEncoding::HistogramSt | ChunkEncoding::FloatHistogramSt);
        let mut bits = BitWriter::new(&[0, 0, 0]);
        write_layout(&histogram, &mut bits);
        bits.write_varbit_int(time);
        let sum = XorValue::new(histogram.sum.to_bits());
        let counts = if is_integer {
            first_integers(&histogram, &mut bits)
        } else {
            let mut first = |value: f64| {
                bits.write(value.to_bits(), 64);
                XorValue::new(value.to_bits())
            };
            let (count, zero_count) = (first(histogram.count), first(histogram.zero_count));
            first(histogram.sum);
            Counts::Float { count, zero_count, buckets: all_counts(&histogram).map(&mut first).collect() }
        };
        let mut encoder = Self {
            encoding,
            bits,
            flags,
            sample_count: 0,
            time: Growing { value: time, growth: 0 },
            sum,
            counts,
            starts: has_starts.then(StartTimes::default),
            last: histogram,
        };
        encoder.end_sample(time, start);
        encoder
    }

    pub(super) fn encoding(&self) -> ChunkEncoding {
        self.encoding
    }

    /// As Prometheus v3.14 `appendable` and `appendableGauge`, but for layouts that grow.
    pub(super) fn appending(&self, next: &NativeHistogram) -> Appending {
        let last = &self.last;
        let is_gauge = next.counter_reset_hint == CounterResetHint::Gauge;
        if is_gauge {
            return self.fits_if(self.flags == ResetFlags::Gauge && self.has_layout_of(next), ResetFlags::Gauge);
        }
        if next.counter_reset_hint == CounterResetHint::Reset {
            return Appending::NewChunk(ResetFlags::Reset);
        }
        if self.flags == ResetFlags::Gauge {
            return Appending::NewChunk(ResetFlags::Unknown);
        }
        if next.is_stale_marker() {
            return Appending::Fits;
        }
        if !last.is_stale_marker() && next.count < last.count {
            return Appending::NewChunk(ResetFlags::Reset);
        }
        if !self.has_layout_of(next) {
            return Appending::NewChunk(ResetFlags::Unknown);
        }
        let falls = |(before, now): (f64, f64)| now < before;
        let has_reset = next.zero_count < last.zero_count || all_counts(last).zip(all_counts(next)).any(falls);
        self.fits_if(!has_reset, ResetFlags::Reset)
    }

    fn fits_if(&self, fits: bool, otherwise: ResetFlags) -> Appending {
        if fits { Appending::Fits } else { Appending::NewChunk(otherwise) }
    }

    /// A stale marker fits everywhere, and behind one fits nothing else.
    fn has_layout_of(&self, next: &NativeHistogram) -> bool {
        let last = &self.last;
        next.is_stale_marker()
            || !last.is_stale_marker()
                && next.schema == last.schema
                && next.zero_threshold == last.zero_threshold
                && next.positive.spans == last.positive.spans
                && next.negative.spans == last.negative.spans
                && next.custom_bounds == last.custom_bounds
    }

    /// Appends a histogram that [fits](Self::appending); `start` is 0 where it is not known.
    pub(super) fn push(&mut self, time: i64, start: i64, histogram: &NativeHistogram) {
        let time_before = self.time.value;
        self.time.write(time, &mut self.bits);
        let histogram = stored(histogram);
        let is_stale = histogram.is_stale_marker();
        match &mut self.counts {
            Counts::Integer { count, zero_count, steps } => {
                if is_stale {
                    // No change of growth: what the counts are does not matter.
                    self.bits.write(0, 2);
                } else {
                    count.write(histogram.count as i64, &mut self.bits);
                    zero_count.write(histogram.zero_count as i64, &mut self.bits);
                }
                self.sum.write(histogram.sum.to_bits(), &mut self.bits);
                let next = steps_of(&histogram.positive).chain(steps_of(&histogram.negative));
                steps.iter_mut().zip(next).for_each(|(step, next)| step.write(next, &mut self.bits));
            }
            Counts::Float { count, zero_count, buckets } => {
                count.write(histogram.count.to_bits(), &mut self.bits);
                zero_count.write(histogram.zero_count.to_bits(), &mut self.bits);
                self.sum.write(histogram.sum.to_bits(), &mut self.bits);
                let next = all_counts(&histogram);
                buckets.iter_mut().zip(next).for_each(|(bucket, next)| bucket.write(next.to_bits(), &mut self.bits));
            }
        }
        self.last = histogram;
        self.end_sample(time_before, start);
    }

    fn end_sample(&mut self, time_before: i64, start: i64) {
        if let Some(starts) = &mut self.starts {
            starts.write(self.sample_count, self.time.value, time_before, start, &mut self.bits);
        }
        self.sample_count = self.sample_count.checked_add(1).expect("chunks are cut long before 16 383 samples");
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let header = self.bits.header_mut();
        let flags = self.flags as u8;
        header[..2].copy_from_slice(&self.sample_count.to_be_bytes());
        header[if self.starts.is_some() { 0 } else { 2 }] |= flags;
        self.bits.finish()
    }
}

/// What a chunk keeps of a histogram: of a stale marker nothing but that it is one.
fn stored(histogram: &NativeHistogram) -> NativeHistogram {
    if histogram.is_stale_marker() {
        NativeHistogram { sum: histogram.sum, ..NativeHistogram::default() }
    } else {
        histogram.clone()
    }
}

fn all_counts(histogram: &NativeHistogram) -> impl Iterator<Item = f64> + '_ {
    histogram.positive.counts.iter().chain(&histogram.negative.counts).copied()
}

/// Whole counts as steps from one bucket to the next.
fn steps_of(buckets: &Buckets) -> impl Iterator<Item = i64> + '_ {
    let mut before = 0;
    buckets.counts.iter().map(move |count| *count as i64 - std::mem::replace(&mut before, *count as i64))
}

fn first_integers(histogram: &NativeHistogram, bits: &mut BitWriter) -> Counts {
    let (count, zero_count) = (histogram.count as i64, histogram.zero_count as i64);
    bits.write_varbit_uint(count as u64);
    bits.write_varbit_uint(zero_count as u64);
    bits.write(histogram.sum.to_bits(), 64);
    let steps = steps_of(&histogram.positive).chain(steps_of(&histogram.negative)).map(|value| {
        bits.write_varbit_int(value);
        Growing { value, growth: 0 }
    });
    let steps = steps.collect();
    let first = |value| Growing { value, growth: 0 };
    Counts::Integer { count: first(count), zero_count: first(zero_count), steps }
}

fn write_layout(histogram: &NativeHistogram, bits: &mut BitWriter) {
    write_zero_threshold(histogram.zero_threshold, bits);
    bits.write_varbit_int(i64::from(histogram.schema));
    write_spans(&histogram.positive.spans, bits);
    write_spans(&histogram.negative.spans, bits);
    if histogram.uses_custom_buckets() {
        bits.write_varbit_uint(histogram.custom_bounds.len() as u64);
        histogram.custom_bounds.iter().for_each(|bound| write_custom_bound(*bound, bits));
    }
}

/// A byte: 0 for zero, the exponent of a power of two from 2^-243 to 2^10, or 255 and all bits.
fn write_zero_threshold(threshold: f64, bits: &mut BitWriter) {
    let word = threshold.to_bits();
    let exponent = (word >> 52) as i64 - 1023;
    if threshold == 0.0 {
        bits.write(0, 8);
    } else if word << 12 == 0 && (-243..=10).contains(&exponent) {
        bits.write((exponent + 244) as u64, 8);
    } else {
        bits.write(255, 8);
        bits.write(word, 64);
    }
}

fn write_spans(spans: &[BucketSpan], bits: &mut BitWriter) {
    bits.write_varbit_uint(spans.len() as u64);
    for span in spans {
        bits.write_varbit_uint(u64::from(span.length));
        bits.write_varbit_int(i64::from(span.offset));
    }
}

/// Whole thousandths, one more than they are, or a zero bit and all bits.
fn write_custom_bound(bound: f64, bits: &mut BitWriter) {
    const THOUSANDTHS_MAX: f64 = 33_554_430.0;
    let thousandths = (bound * 1000.0).round();
    let in_range = (0.0..=THOUSANDTHS_MAX).contains(&(bound * 1000.0));
    if in_range && bound.to_bits() == (thousandths / 1000.0).to_bits() {
        bits.write_varbit_uint(thousandths as u64 + 1);
    } else {
        bits.write(0, 1);
        bits.write(bound.to_bits(), 64);
    }
}
