//! Chunks that the code of Prometheus 3.14 wrote, with the samples that it read back, in `testdata`.
//!
//! | line | says |
//! |---|---|
//! | `C` | the encoding's number, the bytes |
//! | `F` | time, start, the float's bits |
//! | `H` | time, start, reset hint, schema; bits of zero threshold, zero count, count and sum; spans and counts above and below zero; custom bounds |
//! | `.` | the end of the chunk |

use std::fmt::Write;

use super::tests::{Collected, decode, encode};
use super::*;
use crate::encode::{ChunkOptions, StartTimeChunks};
use crate::model::{BucketSpan, CounterResetHint, EXPONENTIAL_SCHEMA_MAX, Sample};

const CHUNKS: [&str; 6] = [
    include_str!("testdata/xor.txt"),
    include_str!("testdata/histogram.txt"),
    include_str!("testdata/float_histogram.txt"),
    include_str!("testdata/xor2.txt"),
    include_str!("testdata/histogram_st.txt"),
    include_str!("testdata/float_histogram_st.txt"),
];

/// Encoding, bytes and samples as lines, of each chunk.
fn real_chunks() -> Vec<(ChunkEncoding, Vec<u8>, String)> {
    let blocks = CHUNKS.iter().flat_map(|file| file.split(".\n")).filter(|block| !block.is_empty());
    let parsed = blocks.map(|block| {
        let (head, samples) = block.split_once('\n').expect("a line for the chunk");
        let (code, hex) = head.strip_prefix("C ").and_then(|head| head.split_once(' ')).expect("a chunk's line");
        let encoding = ChunkEncoding::from_code(code.parse().expect("a number")).expect("one of six");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (encoding, (0..hex.len()).step_by(2).map(byte).collect(), samples.to_owned())
    });
    parsed.collect()
}

fn shown(collected: &Collected) -> String {
    let mut lines = String::new();
    for (index, (time, bits)) in collected.floats.iter().enumerate() {
        let start = collected.starts.get(index).copied().unwrap_or(0);
        writeln!(lines, "F {time} {start} {bits:x}").expect("a String takes everything");
    }
    let floats =
        |floats: &[f64]| floats.iter().map(|float| format!("{:x}", float.to_bits())).collect::<Vec<_>>().join(",");
    let spans = |spans: &[BucketSpan]| {
        spans.iter().map(|span| format!("{}:{}", span.offset, span.length)).collect::<Vec<_>>().join(",")
    };
    for (time, start, histogram) in &collected.histograms {
        writeln!(
            lines,
            "H {time} {} {} {} {} {} {} {} [{}] [{}] [{}] [{}] [{}]",
            start.unwrap_or(0),
            histogram.counter_reset_hint as i8,
            histogram.schema,
            floats(&[histogram.zero_threshold]),
            floats(&[histogram.zero_count]),
            floats(&[histogram.count]),
            floats(&[histogram.sum]),
            spans(&histogram.positive.spans),
            floats(&histogram.positive.counts),
            spans(&histogram.negative.spans),
            floats(&histogram.negative.counts),
            floats(&histogram.custom_bounds),
        )
        .expect("a String takes everything");
    }
    lines
}

#[test]
fn chunks_of_prometheus_are_read_as_prometheus_reads_them() {
    let chunks = real_chunks();
    for encoding in ChunkEncoding::ALL {
        assert!(chunks.iter().any(|chunk| chunk.0 == encoding), "no {encoding}");
    }
    for (encoding, bytes, samples) in chunks {
        let decoded = decode(encoding, &bytes, TimeWindow::ALL).expect("a real chunk");
        assert_eq!(shown(&decoded), samples, "{encoding}");
    }
}

#[test]
fn our_encoder_writes_the_same_bytes() {
    for (encoding, bytes, _) in real_chunks() {
        let decoded = decode(encoding, &bytes, TimeWindow::ALL).expect("a real chunk");
        if decoded.histograms.iter().any(|item| item.2.schema == EXPONENTIAL_SCHEMA_MAX) {
            // May have been finer; it was made coarser on the way in.
            continue;
        }
        let start = |index: usize| decoded.starts.get(index).copied().unwrap_or(0);
        let floats = decoded.floats.iter().enumerate();
        let mut samples: Vec<_> =
            floats.map(|(index, (time, bits))| (*time, start(index), Sample::Float(f64::from_bits(*bits)))).collect();
        let is_gauge = decoded.histograms.iter().any(|item| item.2.counter_reset_hint == CounterResetHint::Gauge);
        for (time, start, histogram) in &decoded.histograms {
            let mut histogram = NativeHistogram::clone(histogram);
            if is_gauge {
                // A stale marker does not tell that it stood among gauges.
                histogram.counter_reset_hint = CounterResetHint::Gauge;
            }
            samples.push((*time, start.unwrap_or(0), Sample::Histogram(Arc::new(histogram))));
        }
        use ChunkEncoding::{FloatHistogram, FloatHistogramSt, Histogram, HistogramSt, Xor};
        let has_starts = !matches!(encoding, Xor | Histogram | FloatHistogram);
        let options = ChunkOptions {
            samples_max: 1_000,
            start_times: if has_starts { StartTimeChunks::Always } else { StartTimeChunks::Never },
            whole_counts_as_integers: !matches!(encoding, FloatHistogram | FloatHistogramSt),
        };
        let chunks = encode(&samples, options);
        assert_eq!(chunks.len(), 1, "{encoding}");
        let (mut ours, mut theirs) = (chunks[0].data.clone(), bytes);
        // What a chunk knows of a reset before it stands in its own header only, and is lost in between.
        let flags = [(Histogram, 2), (FloatHistogram, 2), (HistogramSt, 0), (FloatHistogramSt, 0)];
        if let Some((_, at)) = flags.into_iter().find(|(other, _)| *other == encoding)
            && !is_gauge
        {
            ours[at] &= 0x3f;
            theirs[at] &= 0x3f;
        }
        assert_eq!(ours, theirs, "{encoding}");
    }
}
