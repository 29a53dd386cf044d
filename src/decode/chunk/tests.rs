//! Chunks against our own encoder, and damaged ones.

use proptest::prelude::*;

use super::*;
use crate::encode::encode_xor_chunks;
use crate::model::stale_marker;

/// What a chunk gave, floats by their bits.
#[derive(Debug, Default, PartialEq)]
struct Collected {
    floats: Vec<(i64, u64)>,
    starts: Vec<i64>,
    histograms: Vec<(i64, Option<i64>, Arc<NativeHistogram>)>,
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

fn decode(encoding: ChunkEncoding, chunk: &[u8], window: TimeWindow) -> Result<Collected, ChunkError> {
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

proptest! {
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
