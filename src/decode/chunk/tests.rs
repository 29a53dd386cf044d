//! Chunks against our own encoder, and damaged ones. Those of Prometheus' own encoder are in `real_chunk_tests`.

use proptest::prelude::*;

use super::*;
use crate::encode::{ChunkOptions, EncodedChunk, StartTimeChunks, encode_row_chunks_as, encode_xor_chunks};
use crate::model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Sample, SamplesTable, SamplesTableBuilder,
    stale_marker,
};

/// What a chunk gave, floats by their bits.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Collected {
    pub(super) floats: Vec<(i64, u64)>,
    pub(super) starts: Vec<i64>,
    pub(super) histograms: Vec<(i64, Option<i64>, Arc<NativeHistogram>)>,
}

impl SampleSink for Collected {
    fn floats(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        assert_eq!(timestamps_ms.len(), values.len());
        assert!(!timestamps_ms.is_empty());
        self.floats.extend(timestamps_ms.iter().zip(values).map(|(time, value)| (*time, value.to_bits())));
    }

    fn started_floats(&mut self, timestamps_ms: &[i64], start_times_ms: &[i64], values: &[f64]) {
        assert_eq!(timestamps_ms.len(), start_times_ms.len());
        self.floats(timestamps_ms, values);
        self.starts.extend_from_slice(start_times_ms);
    }

    fn histogram(&mut self, timestamp_ms: i64, start_time_ms: Option<i64>, histogram: Arc<NativeHistogram>) {
        self.histograms.push((timestamp_ms, start_time_ms, histogram));
    }
}

pub(super) fn decode(encoding: ChunkEncoding, chunk: &[u8], window: TimeWindow) -> Result<Collected, ChunkError> {
    let mut collected = Collected::default();
    ChunkDecoder::default().decode(encoding, chunk, window, &mut collected)?;
    Ok(collected)
}

fn bits(times: &[i64], values: &[f64]) -> Vec<(i64, u64)> {
    times.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect()
}

/// Times that ascend strictly, with steps of all sizes.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        10 => Just(15_000_i64),
        4 => 14_900..15_100_i64,
        2 => 1..40_000_i64,
        1 => 1..2_000_000_i64,
        1 => 1..i64::MAX / 200,
    ];
    let first = prop_oneof![4 => 1_700_000_000_000..1_700_000_100_000_i64, 1 => any::<i64>()];
    (first, prop::collection::vec(step, 0..150)).prop_map(|(first, steps)| {
        let mut times = vec![first];
        for step in steps {
            let Some(next) = times[times.len() - 1].checked_add(step) else { break };
            times.push(next);
        }
        times
    })
}

/// One way of going on from a value to the next.
fn value_after(last: f64, kind: u32, random: u64) -> f64 {
    match kind % 9 {
        0..3 => last,
        3 => last + 1.0,
        4 => last + (random % 1000) as f64,
        5 => (random % 100_000) as f64 / 100.0,
        6 => f64::from_bits(random),
        7 => stale_marker(),
        _ => -last,
    }
}

fn samples() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    (times(), prop::collection::vec((any::<u32>(), any::<u64>()), 151)).prop_map(|(times, choices)| {
        let mut last = 0.0;
        let values = choices.into_iter().take(times.len()).map(|(kind, random)| {
            last = value_after(last, kind, random);
            last
        });
        let values = values.collect();
        (times, values)
    })
}

/// One series as chunks.
pub(super) fn encode(samples: &[(i64, i64, Sample)], options: ChunkOptions) -> Vec<EncodedChunk> {
    let mut builder = SamplesTableBuilder::default();
    for (time, start, sample) in samples {
        match sample {
            Sample::Float(value) => builder.push_started_sample(*time, *start, *value),
            Sample::Histogram(histogram) => {
                builder.push_histogram(*time, (*start != 0).then_some(*start), Arc::clone(histogram));
            }
        }
    }
    builder.finish_series(b"");
    let batch = builder.finish();
    encode_row_chunks_as(&SamplesTable::try_new(&batch).expect("a samples table"), 0, options).expect("readable")
}

fn decode_all(chunks: &[EncodedChunk], window: TimeWindow) -> Collected {
    let (mut collected, mut decoder) = (Collected::default(), ChunkDecoder::default());
    for chunk in chunks {
        decoder.decode(chunk.encoding, &chunk.data, window, &mut collected).expect("our own chunk");
    }
    collected
}

/// Starts as real ones are: none, one for all, a new one now and then, or one for each sample.
fn starts(times: &[i64], mode: usize, seed: u64) -> Vec<i64> {
    let mut start = 0;
    let start_at = |(index, time): (usize, &i64)| {
        let random = seed.wrapping_mul(index as u64 * 2 + 1).rotate_left(29);
        let changes = match mode {
            0 => false,
            1 => index == 0,
            2 => random.is_multiple_of(10),
            3 => index > 127,
            _ => true,
        };
        if changes {
            start = time.wrapping_sub((random >> (random % 60)) as i64);
        }
        start
    };
    times.iter().enumerate().map(start_at).collect()
}

/// A histogram whose buckets lie as `layout` says; a larger `level` counts more in each of them.
fn histogram(layout: u64, level: u64, is_float: bool, hint: CounterResetHint) -> NativeHistogram {
    let is_custom = layout.is_multiple_of(4);
    let scale = if is_float { 0.5 } else { 1.0 };
    let side = |spans: &[(i32, u32)]| {
        let spans: Vec<_> = spans.iter().map(|&(offset, length)| BucketSpan { offset, length }).collect();
        let total: u32 = spans.iter().map(|span| span.length).sum();
        let counts = (0..u64::from(total)).map(|index| (level * (index % 3) + index * layout % 7) as f64 * scale);
        Buckets { counts: counts.collect(), spans }
    };
    let first = layout as i32 % 100 - 50;
    NativeHistogram {
        counter_reset_hint: hint,
        schema: if is_custom { CUSTOM_BUCKETS_SCHEMA } else { (layout % 13) as i32 - 4 },
        zero_threshold: [0.0, 2f64.powi(-128), 0.001][if is_custom { 0 } else { layout as usize % 3 }],
        zero_count: if is_custom { 0.0 } else { level as f64 * scale },
        count: (level * 30) as f64 * scale,
        sum: level as f64 * 1.1,
        positive: if is_custom {
            side(&[(1, 2), (0, 1)])
        } else {
            side(&[(first, 3), (2, 0), (1, (layout % 5) as u32)])
        },
        negative: if layout.is_multiple_of(3) && !is_custom { side(&[(0, 2)]) } else { Buckets::default() },
        custom_bounds: if is_custom { [-1.5, 0.1, 0.25, layout as f64].into() } else { Arc::from([]) },
    }
}

fn stale_histogram() -> NativeHistogram {
    NativeHistogram { sum: stale_marker(), ..NativeHistogram::default() }
}

/// Without what a chunk does not keep, and with NaN made comparable.
fn comparable(histogram: &NativeHistogram) -> (NativeHistogram, u64) {
    let without_hint = NativeHistogram { counter_reset_hint: CounterResetHint::Unknown, sum: 0.0, ..histogram.clone() };
    (without_hint, histogram.sum.to_bits())
}

/// Levels and layouts of a series of histograms; a level that falls is a reset, the layout 0 a stale marker.
fn histogram_choices() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let layout = prop_oneof![20 => Just(1_u64), 2 => 1..30_u64, 1 => Just(0_u64)];
    let level = prop_oneof![10 => Just(0_u64), 5 => 1..5_u64, 1 => 1..1_000_000_000_u64];
    prop::collection::vec((layout, level), 151)
}

proptest! {
    #[test]
    fn xor2_chunks_give_back_values_and_starts(
        (times, values) in samples(),
        mode in 0..5_usize,
        seed in any::<u64>(),
        samples_max in 1_usize..200,
    ) {
        let starts = starts(&times, mode, seed);
        let samples: Vec<_> =
            times.iter().zip(&starts).zip(&values).map(|((time, start), value)| (*time, *start, Sample::Float(*value))).collect();
        let options = ChunkOptions { samples_max, start_times: StartTimeChunks::Always, ..ChunkOptions::default() };
        let chunks = encode(&samples, options);
        prop_assert!(chunks.iter().all(|chunk| chunk.encoding == ChunkEncoding::Xor2));
        let decoded = decode_all(&chunks, TimeWindow::ALL);
        let expected: Vec<_> = bits(&times, &values).into_iter().filter(|(time, _)| *time > i64::MIN).collect();
        prop_assert_eq!(&decoded.floats, &expected);
        let has_starts = starts.iter().any(|start| *start != 0);
        if has_starts && chunks.len() == 1 && times[0] > i64::MIN {
            prop_assert_eq!(decoded.starts, starts);
        }
        let cut = &chunks[0].data;
        prop_assert!(decode(ChunkEncoding::Xor2, &cut[..cut.len() - 1], TimeWindow::ALL).is_err());
    }

    #[test]
    fn histogram_chunks_give_back_histograms_and_starts(
        times in times(),
        choices in histogram_choices(),
        is_float in any::<bool>(),
        is_gauge in any::<bool>(),
        mode in 0..5_usize,
        seed in any::<u64>(),
        samples_max in 1_usize..200,
    ) {
        let hint = if is_gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
        let starts = starts(&times, mode, seed);
        let mut level = 0;
        let samples: Vec<_> = times.iter().zip(&starts).zip(choices).map(|((time, start), (layout, change))| {
            level = (level + change) % 1_000_000_000;
            let sample = if layout == 0 { stale_histogram() } else { histogram(layout, level, is_float, hint) };
            (*time, *start, Sample::Histogram(Arc::new(sample)))
        }).collect();
        let start_times = if mode == 0 { StartTimeChunks::WhereKnown } else { StartTimeChunks::Always };
        let chunks = encode(&samples, ChunkOptions { samples_max, start_times, ..ChunkOptions::default() });
        let decoded = decode_all(&chunks, TimeWindow::ALL).histograms;
        let shown = |time: i64, start: i64, histogram: &NativeHistogram| (time, start, comparable(histogram));
        let got: Vec<_> =
            decoded.iter().map(|(time, start, histogram)| shown(*time, start.unwrap_or(0), histogram)).collect();
        let expected: Vec<_> = samples.iter().filter(|(time, ..)| *time > i64::MIN).map(|(time, start, sample)| {
            shown(*time, *start, sample.as_histogram().expect("only such"))
        }).collect();
        prop_assert_eq!(got, expected);
        // What is said of resets is true.
        for pair in decoded.windows(2) {
            let (before, now) = (&pair[0].2, &pair[1].2);
            match now.counter_reset_hint {
                CounterResetHint::NotReset => prop_assert!(now.count >= before.count && !is_gauge),
                CounterResetHint::Gauge => prop_assert!(is_gauge),
                CounterResetHint::Unknown => {}
                CounterResetHint::Reset => prop_assert!(false, "no chunk says so"),
            }
        }
        for chunk in &chunks {
            let cut = chunk.data.len() - 1;
            prop_assert!(decode(chunk.encoding, &chunk.data[..cut], TimeWindow::ALL).is_err());
        }
    }

    #[test]
    fn xor_chunks_give_back_what_was_encoded((times, values) in samples(), samples_max in 1_usize..200) {
        let mut decoded = Collected::default();
        let mut decoder = ChunkDecoder::default();
        for chunk in encode_xor_chunks(&times, &values, samples_max) {
            decoder.decode(chunk.encoding, &chunk.data, TimeWindow::ALL, &mut decoded).expect("our own chunk");
        }
        let expected: Vec<_> = bits(&times, &values).into_iter().filter(|(time, _)| *time > i64::MIN).collect();
        prop_assert_eq!(decoded.floats, expected);
    }

    #[test]
    fn only_samples_in_the_window_are_given(
        (times, values) in samples(),
        start in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
        shift in -1..=1_i64,
    ) {
        let window = TimeWindow {
            start: TimestampMs(times[start.index(times.len())].saturating_add(shift)),
            end: TimestampMs(times[end.index(times.len())].saturating_add(shift)),
        };
        let chunk = &encode_xor_chunks(&times, &values, 200)[0];
        let decoded = decode(chunk.encoding, &chunk.data, window).expect("our own chunk");
        let inside = |(time, _): &(i64, u64)| window.start.0 < *time && *time <= window.end.0;
        let expected: Vec<_> = bits(&times, &values).into_iter().filter(inside).collect();
        prop_assert_eq!(decoded.floats, expected);
    }

    #[test]
    fn a_chunk_that_was_cut_is_an_error((times, values) in samples(), cut in any::<prop::sample::Index>()) {
        let chunk = &encode_xor_chunks(&times, &values, 200)[0];
        let cut = cut.index(chunk.data.len());
        prop_assert!(decode(chunk.encoding, &chunk.data[..cut], TimeWindow::ALL).is_err());
    }

    #[test]
    fn any_bytes_give_ascending_samples_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        count in any::<u16>(),
        code in 1..=6_u64,
    ) {
        let bytes = [&count.to_be_bytes()[..], &bytes].concat();
        let encoding = ChunkEncoding::from_code(code).expect("one of six");
        if let Ok(decoded) = decode(encoding, &bytes, TimeWindow::ALL) {
            prop_assert!(decoded.floats.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert!(decoded.histograms.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}

#[test]
fn extremes_of_times_and_all_kinds_of_nan_survive() {
    let times = [i64::MIN + 1, -1, 0, 1, 1 << 40, i64::MAX - 1, i64::MAX];
    let values =
        [f64::NAN, stale_marker(), f64::from_bits(0xfff8_dead_beef_0001), -0.0, 0.0, f64::INFINITY, f64::MIN_POSITIVE];
    let chunks = encode_xor_chunks(&times, &values, 200);
    assert_eq!((chunks[0].min_time_ms, chunks[0].max_time_ms), (i64::MIN + 1, i64::MAX));
    let decoded = decode(ChunkEncoding::Xor, &chunks[0].data, TimeWindow::ALL).expect("our own chunk");
    assert_eq!(decoded.floats, bits(&times, &values));
}

#[test]
fn a_time_that_comes_twice_counts_once_and_one_that_falls_is_an_error() {
    let twice = &encode_xor_chunks(&[1, 2, 2, 3, 3], &[1.0, 2.0, 9.0, 3.0, 9.0], 200)[0].data;
    let decoded = decode(ChunkEncoding::Xor, twice, TimeWindow::ALL).expect("no error");
    assert_eq!(decoded.floats, bits(&[1, 2, 3], &[1.0, 2.0, 3.0]));
    let falling = &encode_xor_chunks(&[1, 5, 4], &[1.0, 2.0, 3.0], 200)[0].data;
    let error = decode(ChunkEncoding::Xor, falling, TimeWindow::ALL).expect_err("falls");
    assert_eq!(error.to_string(), "the time is before that of the sample before (sample 2)");
    // Also from one block to the next, and with the place of the sample.
    let mut times: Vec<i64> = (0..200).collect();
    times[128] = 127;
    times[150] = 100;
    let error = decode(ChunkEncoding::Xor, &encode_xor_chunks(&times, &[0.0; 200], 200)[0].data, TimeWindow::ALL);
    assert_eq!(error, Err(ChunkError { sample: 150, problem: ChunkProblem::NotAscending }));
    times[150] = 150;
    let decoded = decode(ChunkEncoding::Xor, &encode_xor_chunks(&times, &[0.0; 200], 200)[0].data, TimeWindow::ALL);
    assert_eq!(decoded.expect("no error").floats.len(), 199);
}

#[test]
fn damage_is_told_with_the_sample() {
    let chunk = encode_xor_chunks(&[1, 2, 3], &[1.0, 2.0, 3.0], 200).remove(0).data;
    let mut more = chunk.clone();
    more[1] = 200;
    let xor = |bytes: &[u8]| decode(ChunkEncoding::Xor, bytes, TimeWindow::ALL);
    let error = xor(&more).expect_err("not so many samples").to_string();
    assert!(error.starts_with("the chunk ends too early (sample "), "{error}");
    assert_eq!(xor(&[]).expect_err("no header").to_string(), "the chunk ends too early (sample 0)");
    assert_eq!(xor(&[0, 1]).expect_err("no sample").to_string(), "the chunk ends too early (sample 0)");
    assert_eq!(xor(&[0, 0]), Ok(Collected::default()));
    assert_eq!(xor(&[0, 0, 1, 2, 3]), Ok(Collected::default()));
    let endless_varint = [&[0, 1][..], &[0xff; 30]].concat();
    assert_eq!(xor(&endless_varint).expect_err("endless").to_string(), "a varint has more than 64 bits (sample 0)");
}

#[test]
fn a_chunk_may_hold_as_many_samples_as_its_header_can_count() {
    let mut bytes = vec![0xff, 0xff, 2];
    // A sample of two bits each: the same interval, the same value.
    bytes.extend([0; 8]);
    bytes.extend([1, 0]);
    bytes.resize(65_535 / 4 + 20, 0);
    let decoded = decode(ChunkEncoding::Xor, &bytes, TimeWindow::ALL).expect("a long chunk");
    assert_eq!(decoded.floats.len(), 65_535);
    assert_eq!(decoded.floats[65_534], (65_535, 0));
}

#[test]
fn hints_say_what_is_known_within_a_chunk() {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    let stale = || Sample::Histogram(Arc::new(stale_histogram()));
    let of = |layout, level, hint| Sample::Histogram(Arc::new(histogram(layout, level, false, hint)));
    let samples = [
        (of(1, 5, Unknown), Unknown),
        (of(1, 6, Unknown), NotReset),
        (of(1, 6, NotReset), NotReset),
        // The counter was reset, or says so.
        (of(1, 2, Unknown), Unknown),
        (of(1, 9, Reset), Unknown),
        (of(1, 9, Unknown), NotReset),
        // The buckets lie otherwise.
        (of(2, 9, Unknown), Unknown),
        (of(2, 10, Unknown), NotReset),
        // A stale marker says nothing, and neither does what follows it.
        (stale(), Unknown),
        (of(2, 11, Unknown), Unknown),
        (of(2, 3, Gauge), Gauge),
        (of(2, 1, Gauge), Gauge),
        (of(2, 1, Unknown), Unknown),
    ];
    let series: Vec<_> = (1..).zip(&samples).map(|(time, (sample, _))| (time, 0, sample.clone())).collect();
    let chunks = encode(&series, ChunkOptions::default());
    assert_eq!(chunks.len(), 7);
    let hints: Vec<_> = decode_all(&chunks, TimeWindow::ALL)
        .histograms
        .iter()
        .map(|(_, _, histogram)| histogram.counter_reset_hint)
        .collect();
    let expected: Vec<_> = samples.iter().map(|(_, hint)| *hint).collect();
    assert_eq!(hints, expected);
    // A sample before the window is still the one before.
    let window = TimeWindow { start: TimestampMs(1), end: TimestampMs(2) };
    assert_eq!(decode_all(&chunks, window).histograms[0].2.counter_reset_hint, NotReset);
}

#[test]
fn numbers_and_histograms_of_one_series_go_into_chunks_of_their_own() {
    let whole = Arc::new(histogram(1, 5, false, CounterResetHint::Unknown));
    let float = Arc::new(histogram(1, 6, true, CounterResetHint::Unknown));
    let samples = [
        (1, 0, Sample::Float(1.0)),
        (2, 0, Sample::Histogram(Arc::clone(&whole))),
        (3, 0, Sample::Float(2.0)),
        (4, 0, Sample::Histogram(whole)),
        (5, 0, Sample::Histogram(float)),
    ];
    let chunks = encode(&samples, ChunkOptions::default());
    use ChunkEncoding::{FloatHistogram, Histogram, Xor};
    let encodings: Vec<_> = chunks.iter().map(|chunk| (chunk.encoding, chunk.min_time_ms)).collect();
    assert_eq!(encodings, [(Xor, 1), (Histogram, 2), (Xor, 3), (Histogram, 4), (FloatHistogram, 5)]);
}

#[test]
fn buckets_that_cannot_be_are_an_error_before_memory_is_taken() {
    let good = encode(
        &[(1, 0, Sample::Histogram(Arc::new(histogram(1, 5, false, CounterResetHint::Unknown))))],
        ChunkOptions::default(),
    );
    assert!(decode(ChunkEncoding::Histogram, &good[0].data, TimeWindow::ALL).is_ok());
    // Behind the header: threshold 0, schema 0, and spans.
    let chunk = |bits: &str| {
        let mut bytes = vec![0, 1, 0, 0];
        let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        bytes.extend(bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit) << (8 - bits.len())));
        decode(ChunkEncoding::Histogram, &bytes, TimeWindow::ALL).expect_err("impossible").problem
    };
    use ChunkProblem::{Layout, Truncated};
    let zeros = "0".repeat(200);
    let ones = "1".repeat(64);
    for (bits, expected) in [
        // 2^64-1 spans; one span of 2^64-1, of 2^31 buckets, of 500 000 in a chunk of 30 bytes; at 2^63-1.
        (format!("0 11111111 {ones}"), Truncated),
        (format!("0 10001 11111111 {ones} 0 {zeros}"), Layout(HistogramLayoutError::TooManyBuckets)),
        (format!("0 10001 11111110 {:056b} 0 0 {zeros}", 1_u64 << 31), Layout(HistogramLayoutError::TooManyBuckets)),
        (format!("0 10001 1111110 {:025b} 0 0 {zeros}", 500_000), Truncated),
        (format!("0 10001 0 11111111 0{} 0 {zeros}", &ones[1..]), Layout(HistogramLayoutError::SpanOffset(i64::MAX))),
        // Schema 60, and -53 with 2^64-1 bounds.
        (format!("1110 {:09b} 0 0 {zeros}", 60), Layout(HistogramLayoutError::Schema(60))),
        (format!("1110 {:09b} 0 0 11111111 {ones}", 512 - 53), Truncated),
        (String::new(), Truncated),
    ] {
        assert_eq!(chunk(&bits), expected, "{bits}");
    }
}

/// Takes so many histograms and then no more.
struct Bounded(usize);

impl SampleSink for Bounded {
    fn floats(&mut self, _: &[i64], _: &[f64]) {}
    fn started_floats(&mut self, _: &[i64], _: &[i64], _: &[f64]) {}
    fn histogram(&mut self, _: i64, _: Option<i64>, _: Arc<NativeHistogram>) {
        self.0 -= 1;
    }
    fn is_full(&self) -> bool {
        self.0 == 0
    }
}

#[test]
fn decoding_stops_where_the_sink_is_full() {
    let histogram = Sample::Histogram(Arc::new(histogram(1, 5, false, CounterResetHint::Unknown)));
    let samples: Vec<_> = (0..50).map(|time| (time, 0, histogram.clone())).collect();
    let chunk = encode(&samples, ChunkOptions::default()).remove(0);
    let error = ChunkDecoder::default().decode(chunk.encoding, &chunk.data, TimeWindow::ALL, &mut Bounded(10));
    assert_eq!(error, Err(ChunkError { sample: 9, problem: ChunkProblem::TooManySamples }));
}
