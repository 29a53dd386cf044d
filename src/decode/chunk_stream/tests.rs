//! Streams as a Prometheus sends them, cut anywhere, and damaged ones.

use proptest::prelude::*;

use super::*;
use crate::encode::{encode_xor_chunks, write_frame, write_series_frames};
use crate::model::{Labels, SamplesTable, TimestampMs};

/// A row: its labels, times and values.
type Row = (String, Vec<i64>, Vec<f64>);

fn rows_of(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        let table = SamplesTable::try_new(batch).expect("a samples table");
        for row in 0..table.row_count() {
            let (times, values) = table.series(row);
            rows.push((table.labels(row).to_string(), times.to_vec(), values.to_vec()));
        }
    }
    rows
}

/// Frames of one series, `pieces` as the chunks.
fn series(labels: &[(&str, &str)], pieces: &[&[(i64, f64)]], frame_bytes: usize) -> Vec<u8> {
    let chunks: Vec<_> = pieces
        .iter()
        .flat_map(|piece| {
            let (times, values): (Vec<i64>, Vec<f64>) = piece.iter().copied().unzip();
            encode_xor_chunks(&times, &values, 120)
        })
        .collect();
    let mut frames = Vec::new();
    let labels = Labels::from_pairs(labels.iter().copied()).encode();
    write_series_frames(labels.as_ref(), &chunks, 0, frame_bytes, &mut frames);
    frames
}

fn decoder() -> ChunkStreamDecoder<EverySeries> {
    ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), ChunkStreamLimits::default())
}

fn decode_in(body: &[u8], piece_bytes: usize) -> Result<Vec<Row>, DecodeError> {
    let mut decoder = decoder();
    let mut batches = Vec::new();
    for piece in body.chunks(piece_bytes) {
        decoder.feed(piece)?;
        batches.extend(decoder.take_batches());
    }
    batches.extend(decoder.finish()?);
    Ok(rows_of(&batches))
}

fn decode(body: &[u8]) -> Result<Vec<Row>, DecodeError> {
    decode_in(body, usize::MAX)
}

fn row(labels: &str, samples: &[(i64, f64)]) -> Row {
    let (times, values) = samples.iter().copied().unzip();
    (labels.to_owned(), times, values)
}

#[test]
fn a_series_goes_on_in_the_next_frame() {
    let pieces: [&[(i64, f64)]; 3] = [&[(1, 1.0), (2, 2.0)], &[(3, 3.0)], &[(4, 4.0)]];
    let all = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)];
    for frame_bytes in [1, 1 << 20] {
        let body = [series(&[("a", "1")], &pieces, frame_bytes), series(&[("a", "2")], &pieces, frame_bytes)].concat();
        let expected = [row(r#"{a="1"}"#, &all), row(r#"{a="2"}"#, &all)];
        assert_eq!(decode(&body).expect("a whole stream"), expected);
        // Whatever pieces the body comes in.
        for piece_bytes in [1, 2, 3, 7, 50] {
            assert_eq!(decode_in(&body, piece_bytes).expect("a whole stream"), expected);
        }
    }
    assert_eq!(decode(b"").expect("no series"), []);
}

#[test]
fn chunks_that_overlap_are_sorted_and_of_equal_times_the_later_one_stays() {
    for (pieces, expected) in [
        (&[&[(3, 3.0), (4, 4.0)][..], &[(1, 1.0), (2, 2.0)]][..], &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)][..]),
        (&[&[(1, 1.0), (3, 3.0)], &[(2, 2.0), (3, 9.0)], &[(3, 5.0)]], &[(1, 1.0), (2, 2.0), (3, 5.0)]),
        (&[&[(1, 1.0)], &[(1, 2.0)]], &[(1, 2.0)]),
        (&[&[(1, 1.0), (9, 9.0)], &[(2, 2.0)], &[(5, 5.0)]], &[(1, 1.0), (2, 2.0), (5, 5.0), (9, 9.0)]),
    ] {
        for frame_bytes in [1, 1 << 20] {
            let body =
                [series(&[("a", "1")], pieces, frame_bytes), series(&[("b", "1")], pieces, frame_bytes)].concat();
            assert_eq!(decode(&body).expect("a stream"), [row(r#"{a="1"}"#, expected), row(r#"{b="1"}"#, expected)]);
        }
    }
}

#[test]
fn samples_outside_of_the_window_are_dropped_and_series_of_such_leave_no_row() {
    let body = [
        series(&[("a", "1")], &[&[(1, 1.0), (2, 2.0), (3, 3.0)]], 1),
        series(&[("a", "2")], &[&[(1, 1.0)], &[(5, 5.0)]], 1),
        series(&[("a", "3")], &[&[(4, 4.0), (5, 5.0)]], 1),
    ]
    .concat();
    let window = TimeWindow { start: TimestampMs(1), end: TimestampMs(4) };
    let mut decoder = ChunkStreamDecoder::new(window, EverySeries::default(), ChunkStreamLimits::default());
    assert_eq!(decoder.feed(&body), Ok(3));
    let rows = rows_of(&decoder.finish().expect("a whole stream"));
    assert_eq!(rows, [row(r#"{a="1"}"#, &[(2, 2.0), (3, 3.0)]), row(r#"{a="3"}"#, &[(4, 4.0)])]);
}

/// Takes a label off and refuses series by another.
struct TakesOff;

impl SeriesFilter for TakesOff {
    fn accept(&mut self, labels: &[(&str, &str)], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        if labels.contains(&("bad", "1")) {
            return Err(DecodeError::Incomplete("a bad series".to_owned()));
        }
        let kept = labels.iter().filter(|(name, _)| *name != "replica");
        out.extend_from_slice(Labels::from_pairs(kept.copied()).encode().as_bytes());
        Ok(!labels.contains(&("skip", "1")))
    }
}

#[test]
fn a_filter_rewrites_labels_and_skips_series_without_decoding_them() {
    let one: &[&[(i64, f64)]] = &[&[(1, 1.0)]];
    let two: &[&[(i64, f64)]] = &[&[(2, 2.0)]];
    let mut broken = Vec::new();
    let chunk = crate::encode::EncodedChunk {
        encoding: crate::model::ChunkEncoding::Xor,
        min_time_ms: 0,
        max_time_ms: 0,
        data: vec![0, 9],
    };
    let labels = Labels::from_pairs([("a", "2"), ("skip", "1")]).encode();
    write_series_frames(labels.as_ref(), &[chunk.clone(), chunk], 0, 1, &mut broken);
    let body = [
        series(&[("a", "1"), ("replica", "x")], one, 1),
        series(&[("a", "1"), ("replica", "y")], two, 1),
        broken,
        series(&[("a", "1")], one, 1),
    ]
    .concat();
    let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, TakesOff, ChunkStreamLimits::default());
    decoder.feed(&body).expect("a valid stream");
    let rows = rows_of(&decoder.finish().expect("a whole stream"));
    // Neighbours that are equal now are one row; others are not this room's to judge.
    assert_eq!(rows, [row(r#"{a="1"}"#, &[(1, 1.0), (2, 2.0)]), row(r#"{a="1"}"#, &[(1, 1.0)])]);

    let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, TakesOff, ChunkStreamLimits::default());
    let error = decoder.feed(&series(&[("bad", "1")], one, 1)).expect_err("refused");
    assert_eq!(error.to_string(), "a bad series");
    assert_eq!(decoder.feed(b""), Err(error.clone()));
    assert_eq!(decoder.finish().expect_err("refused before"), error);
}

#[test]
fn batches_are_full_before_the_end_and_a_row_is_never_split() {
    let long: Vec<(i64, f64)> = (0..100_000).map(|time| (time, time as f64)).collect();
    let mut decoder = decoder();
    decoder.feed(&series(&[("a", "1")], &[&long], 4096)).expect("valid");
    assert_eq!(decoder.take_batches().len(), 0);
    decoder.feed(&series(&[("a", "2")], &[&[(1, 1.0)]], 1)).expect("valid");
    let batches = decoder.take_batches();
    assert_eq!(rows_of(&batches), [row(r#"{a="1"}"#, &long)]);
    assert_eq!(decoder.take_batches().len(), 0);
    assert_eq!(rows_of(&decoder.finish().expect("whole")), [row(r#"{a="2"}"#, &[(1, 1.0)])]);
}

#[test]
fn a_server_that_breaks_off_with_text_is_quoted() {
    let good = series(&[("a", "1")], &[&[(1, 1.0)]], 1);
    for text in [
        "query timed out in expression evaluation\n",
        "x\n",
        "an error that is far longer than its first byte says, \
        and so is taken for a frame whose checksum cannot be right; all of it is shown nevertheless, up to a bound",
    ] {
        let body = [good.clone(), text.as_bytes().to_vec()].concat();
        let error = decode(&body).expect_err("text is no frame").to_string();
        let expected = format!("the server broke off after {} bytes: {}", good.len(), text.trim());
        assert_eq!(error, expected);
    }
}

#[test]
fn a_stream_that_was_cut_anywhere_is_an_error() {
    let body = [series(&[("a", "1")], &[&[(1, 1.0)]], 1), series(&[("a", "2")], &[&[(1, 1.0)]], 1)].concat();
    let first = body.len() / 2;
    for cut in (1..body.len()).filter(|cut| *cut != first) {
        let error = decode(&body[..cut]).expect_err("cut").to_string();
        let is_told = error == format!("body ends after {cut} bytes, expected the rest of a frame")
            || error.starts_with("the server broke off");
        assert!(is_told, "{cut}: {error}");
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let good = series(&[("a", "1")], &[&[(1, 1.0)]], 1);
    let framed = |message: &[u8]| {
        let mut frame = Vec::new();
        write_frame(message, &mut frame);
        frame
    };
    let mut wrong = good.clone();
    *wrong.last_mut().expect("not empty") ^= 1;
    let length = [0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
    for (bytes, expected) in [
        (wrong, "a frame with a wrong checksum at byte 0"),
        (length.to_vec(), "a frame of 34359738367 bytes, at most 67108864 are taken at byte 0"),
        (vec![0xff; 11], "a frame without length at byte 0"),
        (framed(&[0x10, 1]), "an answer to query 1 of a request with one query at byte 7"),
        (framed(&[0x0a, 9, 1]), "a protobuf field reaches beyond its message at byte 7"),
        (framed(&[0x08, 1]), "expected bytes in field 1 at byte 7, found a varint"),
        (
            framed(&[0x0a, 4, 0x12, 2, 0x18, 9]),
            "expected a chunk in an encoding that Prometheus 3.14 knows at byte 9, found encoding 9",
        ),
        (
            framed(&[0x0a, 8, 0x12, 6, 0x18, 1, 0x22, 2, 0, 1]),
            "XOR chunk: the chunk ends too early (sample 0) at byte 13",
        ),
        (framed(&[0x0a, 6, 0x0a, 4, 0x0a, 0, 0x12, 0]), "a label set of the answer is none: empty label name"),
        (framed(&[0x0a, 5, 0x0a, 3, 0x0a, 1, 0xff]), "text that is not UTF-8 at byte 11"),
    ] {
        assert_eq!(decode(&bytes).expect_err("damaged").to_string(), expected);
    }
    let twice = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
    let error = decode(&framed(&[&[0x0a, 16][..], &twice, &twice].concat())).expect_err("twice").to_string();
    assert_eq!(error, r#"a label set of the answer is none: label name "a" occurs twice"#);
}

#[test]
fn limits_bound_frames_label_sets_and_samples() {
    let body = series(&[("a", "1")], &[&[(1, 1.0), (2, 2.0)], &[(3, 1.0), (4, 2.0)]], 1);
    let fails = |limits: ChunkStreamLimits| {
        let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), limits);
        decoder.feed(&body).err().map(|error| error.to_string())
    };
    let limits = ChunkStreamLimits::default();
    assert_eq!(fails(ChunkStreamLimits { samples_max: 4, ..limits }), None);
    let too_many = "query processing would load too many samples into memory in query execution";
    assert_eq!(fails(ChunkStreamLimits { samples_max: 3, ..limits }).as_deref(), Some(too_many));
    let too_long = "a label set of more than 5 bytes";
    let error = fails(ChunkStreamLimits { label_set_bytes_max: 5, ..limits }).expect("too long");
    assert!(error.starts_with(too_long), "{error}");
    let error = fails(ChunkStreamLimits { frame_bytes_max: 5, ..limits }).expect("too long");
    assert!(error.contains("at most 5 are taken"), "{error}");
}

#[test]
fn a_small_frame_that_unfolds_without_end_is_stopped_at_what_is_allowed() {
    // Sixteen thousand samples in four kilobytes, and so on: thirty million in eight megabytes, all in one frame.
    let chunk_samples = 16_383;
    let mut chunks = Vec::new();
    for chunk in 0..2_000_i64 {
        let times: Vec<i64> = (0..chunk_samples).map(|sample| chunk * chunk_samples + sample).collect();
        chunks.extend(encode_xor_chunks(&times, &vec![1.0; times.len()], usize::MAX));
    }
    let mut body = Vec::new();
    write_series_frames(Labels::from_pairs([("a", "1")]).encode().as_ref(), &chunks, 0, usize::MAX, &mut body);
    assert!(body.len() < 10 << 20);
    let limits = ChunkStreamLimits { samples_max: usize::MAX, ..ChunkStreamLimits::default() };
    let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), limits);
    for piece in body.chunks(64 << 10) {
        decoder.allow_samples(100_000);
        if let Err(error) = decoder.feed(piece) {
            assert_eq!(error, DecodeError::TooManySamples);
            break;
        }
    }
    let decoded = decoder.rows.builder.sample_count();
    assert!((100_000..100_000 + 2 * 16_383).contains(&decoded), "{decoded}");
}

#[test]
fn unknown_fields_are_passed_over_and_the_order_of_fields_does_not_matter() {
    let chunk = encode_xor_chunks(&[1], &[1.0], 120).remove(0).data;
    let mut message = vec![0x12, (chunk.len() + 7) as u8, 0x22, chunk.len() as u8];
    message.extend_from_slice(&chunk);
    // The encoding behind the data, an unknown field, and the labels behind the chunks, in the wrong order.
    message.extend_from_slice(&[0x18, 1, 0x7a, 1, 0]);
    message.extend_from_slice(&[0x0a, 6, 0x12, 1, b'2', 0x0a, 1, b'b', 0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'1']);
    let mut response = vec![0x18, 5, 0x10, 0, 0x0a, message.len() as u8];
    response.extend_from_slice(&message);
    let mut frame = Vec::new();
    write_frame(&response, &mut frame);
    assert_eq!(decode(&frame).expect("valid"), [row(r#"{a="1", b="2"}"#, &[(1, 1.0)])]);
}

proptest! {
    #[test]
    fn a_flipped_bit_never_goes_unseen(index in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut body = series(&[("a", "1")], &[&[(1, 1.0), (2, 2.0)]], 1);
        let index = index.index(body.len());
        body[index] ^= 1 << bit;
        prop_assert!(decode(&body).is_err());
    }
}
