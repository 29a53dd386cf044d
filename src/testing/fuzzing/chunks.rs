//! Any bytes as chunks of remote read, and as the stream in which they come.

use std::sync::Arc;

use crate::decode::{ChunkDecoder, ChunkStreamDecoder, ChunkStreamLimits, EverySeries, SampleSink, TimeWindow};
use crate::encode::{ChunkOptions, StartTimeChunks, encode_row_chunks_as, write_frame};
use crate::model::{ChunkEncoding, NativeHistogram, SamplesTable, SamplesTableBuilder, TimestampMs};

/// A stream may hold so many samples before it is refused: memory stays small, whatever the bytes say.
const SAMPLES_MAX: usize = 1 << 20;

/// Samples in one line each: enough to compare them, also those with NaN.
#[derive(Default)]
struct Lines {
    lines: Vec<(i64, String)>,
    table: SamplesTableBuilder,
}

impl Lines {
    fn push(&mut self, time: i64, line: String) {
        assert!(self.lines.last().is_none_or(|last| last.0 < time), "times do not ascend at {time}");
        self.lines.push((time, line));
    }
}

impl SampleSink for Lines {
    fn floats(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        self.started_floats(timestamps_ms, &vec![0; timestamps_ms.len()], values);
    }

    fn started_floats(&mut self, timestamps_ms: &[i64], start_times_ms: &[i64], values: &[f64]) {
        assert!(timestamps_ms.len() == values.len() && timestamps_ms.len() == start_times_ms.len());
        for ((time, start), value) in timestamps_ms.iter().zip(start_times_ms).zip(values) {
            self.push(*time, format!("{start} {:x}", value.to_bits()));
            self.table.push_started_sample(*time, *start, *value);
        }
    }

    fn histogram(&mut self, timestamp_ms: i64, start_time_ms: Option<i64>, histogram: Arc<NativeHistogram>) {
        let covered = |spans: &[crate::model::BucketSpan]| spans.iter().map(|span| span.length as usize).sum::<usize>();
        assert_eq!(covered(&histogram.positive.spans), histogram.positive.counts.len());
        assert_eq!(covered(&histogram.negative.spans), histogram.negative.counts.len());
        let mut told = NativeHistogram::clone(&histogram);
        told.counter_reset_hint = Default::default();
        told.sum = 0.0;
        self.push(timestamp_ms, format!("{start_time_ms:?} {:x} {told:?}", histogram.sum.to_bits()));
        self.table.push_histogram(timestamp_ms, start_time_ms, histogram);
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= 1_000
    }
}

fn decode(encoding: ChunkEncoding, chunk: &[u8], window: TimeWindow) -> Option<Lines> {
    let mut lines = Lines::default();
    ChunkDecoder::default().decode(encoding, chunk, window, &mut lines).is_ok().then_some(lines)
}

/// Decodes the input as a chunk; its first byte chooses the encoding.
///
/// | the decoder | so |
/// |---|---|
/// | refuses it | nothing |
/// | reads it | times ascend, spans cover the buckets, a window cuts what is outside of it, and the samples encoded again are read as the same |
pub fn chunk(input: &[u8]) {
    let Some((first, chunk)) = input.split_first() else { return };
    let encoding = ChunkEncoding::ALL[usize::from(*first) % ChunkEncoding::ALL.len()];
    let Some(mut all) = decode(encoding, chunk, TimeWindow::ALL) else { return };
    let Some((middle, _)) = all.lines.get(all.lines.len() / 2) else { return };
    let window = TimeWindow { start: TimestampMs(middle.saturating_sub(40_000)), end: TimestampMs(*middle) };
    let part = decode(encoding, chunk, window).expect("a part of what was read whole");
    let expected: Vec<_> = all.lines.iter().filter(|line| window.contains(line.0)).cloned().collect();
    assert_eq!(part.lines, expected);

    all.table.finish_series(b"");
    let batch = all.table.finish();
    let table = SamplesTable::try_new(&batch).expect("a samples table");
    for start_times in [StartTimeChunks::WhereKnown, StartTimeChunks::Always] {
        let options = ChunkOptions { samples_max: 50, start_times, ..ChunkOptions::default() };
        let mut again = Lines::default();
        for chunk in encode_row_chunks_as(&table, 0, options).expect("readable") {
            let decoded = ChunkDecoder::default().decode(chunk.encoding, &chunk.data, TimeWindow::ALL, &mut again);
            decoded.expect("our own chunk");
        }
        assert_eq!(again.lines, all.lines);
    }
}

/// Decodes the input as the body of a streamed remote read. Where its first byte is odd, the rest are messages, each with its
/// length in a byte before it, and frames are made of them: no fuzzer finds checksums.
///
/// A body gives the same rows, or an error, whatever pieces it comes in; and rows have samples in order.
pub fn chunk_stream(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let body = if first % 2 == 1 { framed(rest) } else { rest.to_vec() };
    let whole = decode_stream(&body, body.len().max(1));
    for piece_bytes in [1, 7, 100] {
        assert_eq!(decode_stream(&body, piece_bytes), whole, "in pieces of {piece_bytes} bytes");
    }
}

fn framed(mut messages: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some((length, rest)) = messages.split_first() {
        let (message, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        write_frame(message, &mut body);
        messages = rest;
    }
    body
}

/// The rows; `None` for an error, whose text depends on how much of a server's own text has come.
fn decode_stream(body: &[u8], piece_bytes: usize) -> Option<Vec<String>> {
    let limits = ChunkStreamLimits { samples_max: SAMPLES_MAX, ..ChunkStreamLimits::default() };
    let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), limits);
    let mut batches = Vec::new();
    for piece in body.chunks(piece_bytes) {
        decoder.feed(piece).ok()?;
        batches.extend(decoder.take_batches());
    }
    batches.extend(decoder.finish().ok()?);
    let mut rows = Vec::new();
    for batch in &batches {
        let table = SamplesTable::try_new(batch).expect("a samples table");
        for row in 0..table.row_count() {
            let (times, values) = table.series(row);
            let histograms = table.histograms().row(row).expect("readable");
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "times do not ascend");
            assert!(histograms.windows(2).all(|pair| pair[0].at < pair[1].at), "times do not ascend");
            assert!(!histograms.iter().any(|histogram| times.binary_search(&histogram.at).is_ok()), "two at one time");
            let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            rows.push(format!("{:?} {times:?} {bits:?} {histograms:?}", table.labels(row).as_bytes()));
        }
    }
    Some(rows)
}
