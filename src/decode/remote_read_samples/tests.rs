//! Answers that the code of Prometheus 3.14 wrote, and damaged ones.

use super::*;
use crate::decode::EverySeries;
use crate::model::{CounterResetHint, SamplesTable, TimestampMs};

/// Written with the messages of Prometheus 3.14 (prompb), with the series and samples that [`shown`] prints.
const REAL: (&str, &str) = (include_str!("testdata/answer.hex"), include_str!("testdata/answer.txt"));

fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn decode(body: &[u8], window: TimeWindow) -> Result<Vec<RecordBatch>, DecodeError> {
    decode_read_samples(body, window, &mut EverySeries::default(), ReadSamplesLimits::default())
}

fn packed(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("small")
}

/// A series a line: labels, numbers as `time:value`, then histograms.
fn shown(batches: &[RecordBatch]) -> String {
    let mut lines = String::new();
    for batch in batches {
        let table = SamplesTable::try_new(batch).expect("a samples table");
        for row in 0..table.row_count() {
            let (times, values) = table.series(row);
            lines.push_str(&table.labels(row).to_string());
            for (time, value) in times.iter().zip(values) {
                lines.push_str(&format!(" {time}:{:x}", value.to_bits()));
            }
            for TimedHistogram { at, histogram, .. } in table.histograms().row(row).expect("readable") {
                let spans = |spans: &[crate::model::BucketSpan]| {
                    spans.iter().map(|span| format!("{}:{}", span.offset, span.length)).collect::<Vec<_>>().join(",")
                };
                let hint = match histogram.counter_reset_hint {
                    CounterResetHint::Unknown => 0,
                    CounterResetHint::Reset => 1,
                    CounterResetHint::NotReset => 2,
                    CounterResetHint::Gauge => 3,
                };
                lines.push_str(&format!(
                    " {at}:{hint}/{}/{}/{}/{}/{:x}/[{}]{:?}/[{}]{:?}/{:?}",
                    histogram.schema,
                    histogram.zero_threshold,
                    histogram.zero_count,
                    histogram.count,
                    histogram.sum.to_bits(),
                    spans(&histogram.positive.spans),
                    histogram.positive.counts,
                    spans(&histogram.negative.spans),
                    histogram.negative.counts,
                    histogram.custom_bounds,
                ));
            }
            lines.push('\n');
        }
    }
    lines
}

#[test]
fn an_answer_of_prometheus_is_read_whole() {
    let batches = decode(&unhex(REAL.0), TimeWindow::ALL).expect("a real answer");
    assert_eq!(shown(&batches), REAL.1);
}

#[test]
fn samples_outside_of_the_window_are_left_out() {
    let window = TimeWindow { start: TimestampMs(1_000), end: TimestampMs(2_000) };
    let batches = decode(&unhex(REAL.0), window).expect("a real answer");
    let table = SamplesTable::try_new(&batches[0]).expect("a samples table");
    for row in 0..table.row_count() {
        assert!(table.series(row).0.iter().all(|time| *time == 2_000));
        assert!(table.histograms().row(row).expect("readable").iter().all(|histogram| histogram.at == 2_000));
    }
    assert_eq!(table.row_count(), REAL.1.lines().filter(|line| line.contains(" 2000:")).count());
}

#[test]
fn every_cut_of_an_answer_is_an_error() {
    let body = unhex(REAL.0);
    for cut in 0..body.len() {
        assert!(decode(&body[..cut], TimeWindow::ALL).is_err(), "{cut}");
    }
}

#[test]
fn damage_is_told() {
    let series = |fields: &[u8]| {
        let label = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
        let length = (label.len() + fields.len()) as u8;
        packed(&[&[0x0a, length + 2, 0x0a, length][..], &label, fields].concat())
    };
    let sample = |time: u8| [0x12, 2, 0x10, time];
    let fails = |body: &[u8]| decode(body, TimeWindow::ALL).expect_err("damaged").to_string();
    for (body, expected) in [
        (packed(&[]), "an answer with 0 results to a request with one query"),
        (packed(&[0x0a, 0, 0x0a, 0]), "an answer with 2 results to a request with one query"),
        (series(&[sample(2), sample(1)].concat()), "samples whose times do not ascend at byte 20"),
        (series(&[sample(2), sample(2)].concat()), "samples whose times do not ascend at byte 20"),
        (series(&[0x12, 2, 0x08, 1]), "expected eight bytes in field 1 at byte 16, found a varint"),
        (
            series(&[0x22, 2, 0x20, 0x78]),
            "histogram schema 60 is neither one of -4 to 52 nor -53 for custom buckets at byte 16",
        ),
        (series(&[0x22, 4, 0x5a, 2, 0x10, 3]), "a histogram with spans for 3 buckets and 0 of them at byte 18"),
        (series(&[0x22, 2, 0x70, 9]), "a histogram with the unknown reset hint 9 at byte 16"),
        (series(&[0x22, 3, 0x62, 1, 0x80]), "packed numbers that end in the middle of one at byte 17"),
        (series(&[0x22, 3, 0x6a, 1, 0]), "packed floats that end in the middle of one at byte 17"),
        (vec![0xff, 0xff, 0xff, 0xff, 0x0f], "snappy block of 4294967295 bytes, at most 1073741824 are taken"),
        (vec![0x80, 0x80, 0x80, 0x80, 0x02], "snappy block of 5 bytes cannot hold the 536870912 that it says"),
    ] {
        assert_eq!(fails(&body), expected);
    }
    assert!(fails(b"").starts_with("damaged snappy block: "));
}
