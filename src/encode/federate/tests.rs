//! `testdata/go_values.txt` was printed by Prometheus' own encoders (prometheus/common v0.70.1 expfmt), fed with the metric
//! families that its `/federate` makes of the series below. Of OpenMetrics there is no histogram: they have none with floats.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, NativeHistogram, Sample, StepsTableBuilder,
};

const GO_VALUES: &str = include_str!("testdata/go_values.txt");

type Series = (Vec<(&'static str, String)>, i64, Sample);

fn series(name: &'static str, label: Option<(&'static str, &str)>, time: i64, sample: Sample) -> Series {
    let labels = [("__name__", name.to_owned())].into_iter();
    (labels.chain(label.map(|(name, value)| (name, value.to_owned()))).collect(), time, sample)
}

fn native(hint: CounterResetHint) -> Sample {
    let span = |offset, length| BucketSpan { offset, length };
    Sample::Histogram(Arc::new(NativeHistogram {
        counter_reset_hint: hint,
        schema: -1,
        zero_threshold: 0.001,
        zero_count: 0.0,
        count: 12.0,
        sum: -1.5,
        positive: Buckets { spans: vec![span(2, 2), span(300, 1)], counts: vec![1.0, 2.5, 4.5] },
        negative: Buckets { spans: vec![span(-3, 1)], counts: vec![4.0] },
        custom_bounds: Arc::default(),
    }))
}

/// The last bucket, that up to +Inf, is among the counts and not among the bounds.
fn custom(hint: CounterResetHint) -> Sample {
    let span = |offset, length| BucketSpan { offset, length };
    Sample::Histogram(Arc::new(NativeHistogram {
        counter_reset_hint: hint,
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 7.0,
        sum: 18.4,
        positive: Buckets { spans: vec![span(1, 2), span(0, 1)], counts: vec![2.0, 3.5, 1.5] },
        custom_bounds: Arc::from([0.5, 2.0, 1e7]),
        ..NativeHistogram::default()
    }))
}

fn numbers() -> Vec<Series> {
    let go_nan = f64::from_bits(0x7ff8_0000_0000_0001);
    let values = [0.0, -0.0, 1.0, -1.0, go_nan, f64::INFINITY, f64::NEG_INFINITY, 0.1, 123_456.0, 1e6, 1_234_567.5];
    let values = values.into_iter().chain([1e-4, 0.000_012_34, 1e21, 5e-324, 9_007_199_254_740_993.0]);
    let times = [1_700_000_000_123, 0, -1500, 1000, 1_700_000_000_000];
    let number = |(case, value): (usize, f64)| {
        series("numbers", Some(("case", &case.to_string())), times[case % 5], Sample::Float(value))
    };
    values.enumerate().map(number).collect()
}

fn all_series() -> Vec<Series> {
    let mut escapes = series("escapes", Some(("a", "x\"y\\z\n\té")), 5, Sample::Float(2.0));
    escapes.0.extend([("b.c d", "1".to_owned()), ("c:d", "2".to_owned())]);
    let mut all = vec![
        escapes,
        series("mixed", None, 6, Sample::Float(3.0)),
        series("mixed", Some(("job", "n")), 7, native(CounterResetHint::NotReset)),
        series("mixed", Some(("job", "n")), 8, native(CounterResetHint::Gauge)),
        series("mixed", Some(("job", "z")), 9, Sample::Float(4.0)),
    ];
    all.extend(numbers());
    all.push(series("ünï.code_x", None, 10, Sample::Float(5.0)));
    all
}

fn histograms() -> Vec<Series> {
    let job = Some(("job", "c"));
    vec![
        series("buckets", job, 11, custom(CounterResetHint::Unknown)),
        series("odd.buckets", job, 12, custom(CounterResetHint::Reset)),
        series("gauges", job, 13, custom(CounterResetHint::Gauge)),
    ]
}

fn chunks(format: ExpositionFormat, series: &[Series]) -> FederatedChunks {
    let tables: Vec<RecordBatch> = series
        .chunks(3)
        .map(|some| {
            let mut builder = StepsTableBuilder::timed(1);
            for (labels, time, sample) in some {
                builder.push_timed_sample(Some((sample.clone(), *time)));
                builder.finish_series(Labels::from_pairs(labels.iter().map(|(n, v)| (n, v))).encode().as_bytes());
            }
            builder.finish()
        })
        .collect();
    let rows = (0..series.len() as u32).map(|at| (at / 3, at % 3)).collect();
    FederatedChunks::new(format, &Labels::from_pairs([("re.gion", "eu"), ("job", "overridden")]), tables, rows)
}

fn exposition(format: ExpositionFormat, series: &[Series]) -> Vec<u8> {
    chunks(format, series).map(|chunk| chunk.expect("whole tables")).collect::<Vec<_>>().concat()
}

/// The series above have a job or get that of the gateway; Prometheus' encoders got them without.
fn without_added_job(text: &str) -> String {
    text.replace(",job=\"overridden\"", "")
}

#[test]
fn every_format_is_byte_for_byte_that_of_prometheus() {
    let sections: BTreeMap<&str, (&str, &str)> = GO_VALUES
        .split("### ")
        .filter_map(|section| {
            let (title, rest) = section.split_once('\n')?;
            Some((title, rest.split_once('\n')?))
        })
        .collect();
    assert_eq!(sections.len(), 16);
    let all_and_histograms: Vec<Series> = all_series().into_iter().chain(histograms()).collect();
    for escaping in NameEscaping::ALL {
        for (name, kind, series) in [
            ("text", ExpositionKind::Text, &all_and_histograms[..]),
            ("openmetrics", ExpositionKind::OpenMetrics, &all_series()[..]),
            ("openmetrics-draft", ExpositionKind::OpenMetricsDraft, &all_series()[..1]),
        ] {
            let title = format!("{name} {}", escaping.name());
            let format = ExpositionFormat { kind, escaping };
            let text = String::from_utf8(exposition(format, series)).expect("a text format");
            let (content_type, expected) = sections[title.as_str()];
            assert_eq!(format.content_type(), content_type);
            assert_eq!(without_added_job(&text), expected, "{title}");
        }
        let format = ExpositionFormat { kind: ExpositionKind::Protobuf, escaping };
        let (content_type, expected) = sections[format!("protobuf {}", escaping.name()).as_str()];
        assert_eq!(format.content_type(), content_type);
        let mut plain = chunks(format, &all_and_histograms);
        plain.external_labels.retain(|(name, _)| name != "job");
        let bytes = plain.map(|chunk| chunk.expect("whole tables")).collect::<Vec<_>>().concat();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.trim_end(), "protobuf {}", escaping.name());
    }
}

#[test]
fn open_metrics_says_that_a_histogram_is_one_of_gauges() {
    let format = ExpositionFormat { kind: ExpositionKind::OpenMetrics, escaping: NameEscaping::AllowUtf8 };
    let text = String::from_utf8(exposition(format, &histograms()[2..])).expect("text");
    let labels = r#"job="c",instance="","re.gion"="eu""#;
    let expected = format!(
        "# TYPE gauges gaugehistogram\n\
         gauges_bucket{{{labels},le=\"0.5\"}} 0 0.013\n\
         gauges_bucket{{{labels},le=\"2.0\"}} 2 0.013\n\
         gauges_bucket{{{labels},le=\"1e+07\"}} 5.5 0.013\n\
         gauges_bucket{{{labels},le=\"+Inf\"}} 7 0.013\n\
         gauges_gsum{{{labels}}} 18.4 0.013\n\
         gauges_gcount{{{labels}}} 7 0.013\n\
         # EOF\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn what_a_series_has_is_not_added() {
    let format = ExpositionFormat { kind: ExpositionKind::Text, escaping: NameEscaping::AllowUtf8 };
    let mut own = series("up", Some(("instance", "own:1")), 5, Sample::Float(1.0));
    own.0.push(("re.gion", "us".to_owned()));
    let text = exposition(format, &[own]);
    assert_eq!(
        String::from_utf8(text).expect("text"),
        "# TYPE up untyped\nup{instance=\"own:1\",\"re.gion\"=\"us\",job=\"overridden\"} 1 5\n"
    );
}

#[test]
fn nothing_is_an_empty_page_and_open_metrics_says_where_it_ends() {
    for (kind, page) in [
        (ExpositionKind::Text, ""),
        (ExpositionKind::Protobuf, ""),
        (ExpositionKind::OpenMetrics, "# EOF\n"),
        (ExpositionKind::OpenMetricsDraft, "# EOF\n"),
    ] {
        let format = ExpositionFormat { kind, escaping: NameEscaping::default() };
        assert_eq!(exposition(format, &[]), page.as_bytes());
    }
}

#[test]
fn a_long_page_comes_in_chunks_and_a_broken_table_is_an_error() {
    let many: Vec<Series> = (0..20_000)
        .map(|index: usize| series("many", Some(("index", &index.to_string())), 5, Sample::Float(1.0)))
        .collect();
    for kind in [ExpositionKind::Text, ExpositionKind::Protobuf] {
        let format = ExpositionFormat { kind, escaping: NameEscaping::default() };
        let sizes: Vec<usize> = chunks(format, &many).map(|chunk| chunk.expect("whole tables").len()).collect();
        assert!(sizes.len() > 3 && sizes.iter().all(|size| *size < CHUNK_BYTES + 1024), "{sizes:?}");
        let mut broken = chunks(format, &many);
        broken.rows.push((0, 7));
        let all: Vec<_> = broken.collect();
        assert!(all.last().is_some_and(Result::is_err) && all[..all.len() - 1].iter().all(Result::is_ok));
    }
}
