use std::sync::Arc;

use super::*;
use crate::model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, DurationMs, Labels, Sample, SamplesTableBuilder, StepsTableBuilder,
};

type Row<'a> = (&'a [(&'a str, &'a str)], &'a [Option<f64>]);

fn steps(step_count: usize, rows: &[Row<'_>]) -> RecordBatch {
    let mut builder = StepsTableBuilder::new(step_count);
    for (labels, cells) in rows {
        cells.iter().for_each(|cell| builder.push_cell(*cell));
        builder.finish_series(Labels::from_pairs(labels.iter().copied()).encode().as_bytes());
    }
    builder.finish()
}

fn samples(rows: &[(Labels, Vec<(i64, f64)>)]) -> RecordBatch {
    let mut builder = SamplesTableBuilder::default();
    for (labels, samples) in rows {
        samples.iter().for_each(|(time, value)| builder.push_sample(*time, *value));
        builder.finish_series(labels.encode().as_bytes());
    }
    builder.finish()
}

fn grid(start: i64, step: i64, step_count: usize) -> StepGrid {
    StepGrid::with_count(TimestampMs(start), DurationMs(step), step_count)
}

fn encode(value: QueryValue, limit: Option<usize>) -> String {
    let chunks = encode_query_response(value, &[], &[], None, limit).expect("of the right shape");
    String::from_utf8(chunks.flatten().collect()).expect("text")
}

#[test]
fn every_type_of_value_is_printed_as_prometheus_prints_it() {
    let time = TimestampMs(1_435_781_451_780);
    let up: &[(&str, &str)] = &[("job", "a<b\u{8}"), ("__name__", "up")];
    for (value, data) in [
        (QueryValue::Scalar { time, value: 1e-7 }, r#"{"resultType":"scalar","result":[1435781451.78,"0.0000001"]}"#),
        (
            QueryValue::String { time: TimestampMs(1_500), text: "a\"\u{c}&".to_owned() },
            r#"{"resultType":"string","result":[1.5,"a\"\f\u0026"]}"#,
        ),
        (
            QueryValue::Vector {
                time,
                batches: vec![
                    steps(1, &[(up, &[Some(1e-7)]), (&[("gone", "1")], &[None])]),
                    steps(1, &[(&[], &[Some(f64::NAN)])]),
                ],
            },
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a<b\u0008"},"value":[1435781451.780,"1e-07"]},{"metric":{},"value":[1435781451.780,"NaN"]}]}"#,
        ),
        (QueryValue::Vector { time, batches: vec![] }, r#"{"resultType":"vector","result":[]}"#),
        (
            QueryValue::Matrix {
                grid: grid(999_500, 500, 3),
                batches: vec![
                    steps(3, &[(&[("a", "1")], &[None, None, None]), (&[("a", "2")], &[Some(1.0), None, Some(1e21)])]),
                    steps(3, &[]),
                    steps(3, &[(&[("a", "3")], &[None, Some(-0.0), None])]),
                ],
            },
            r#"{"resultType":"matrix","result":[{"metric":{"a":"2"},"values":[[999.500,"1"],[1000.500,"1e+21"]]},{"metric":{"a":"3"},"values":[[1000,"-0"]]}]}"#,
        ),
        (
            QueryValue::Matrix { grid: grid(0, 1, 2), batches: vec![steps(2, &[(&[], &[None, None])])] },
            r#"{"resultType":"matrix","result":[]}"#,
        ),
        (
            QueryValue::Samples {
                batches: vec![samples(&[
                    (Labels::default(), vec![]),
                    (Labels::from_pairs([("a", "1")]), vec![(-1, 0.5), (10, f64::NEG_INFINITY)]),
                ])],
            },
            r#"{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[-0.001,"0.5"],[0.010,"-Inf"]]}]}"#,
        ),
    ] {
        assert_eq!(encode(value, None), format!(r#"{{"status":"success","data":{data}}}"#));
    }
}

fn buckets(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
    let spans = spans.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect();
    Buckets { spans, counts: counts.to_vec() }
}

/// The histograms of the goldens: exponential, one whose zero bucket covers others, custom, empty.
fn histograms() -> [Arc<NativeHistogram>; 4] {
    let exponential = NativeHistogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2.5,
        count: 12.5,
        sum: -1e-7,
        positive: buckets(&[(-1, 2), (1, 2)], &[1.0, 0.0, 3.0, 1e21]),
        negative: buckets(&[(0, 2)], &[4.0, 2.0]),
        ..NativeHistogram::default()
    };
    let wide_zero = NativeHistogram {
        zero_threshold: 0.75,
        zero_count: 1.0,
        count: 3.0,
        sum: f64::NAN,
        positive: buckets(&[(0, 2)], &[1.0, 1.0]),
        negative: buckets(&[(0, 1)], &[1.0]),
        ..NativeHistogram::default()
    };
    let custom = NativeHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 6.0,
        sum: 12.0,
        positive: buckets(&[(0, 4)], &[1.0, 2.0, 0.0, 3.0]),
        custom_bounds: Arc::from([-2.0, 0.5, 7.0]),
        ..NativeHistogram::default()
    };
    [exponential, wide_zero, custom, NativeHistogram::default()].map(Arc::new)
}

fn mixed_steps(cells: &[Option<Sample>]) -> RecordBatch {
    let mut builder = StepsTableBuilder::new(cells.len());
    cells.iter().for_each(|cell| builder.push_sample(cell.clone()));
    builder.finish_series(b"");
    builder.finish()
}

/// The goldens are answers of a real Prometheus 3.14 that had scraped these histograms: to `{__name__=~"h|g"}`, to a range query
/// that is a number at the first and last of four steps, and to `h[10s]`.
#[test]
fn histograms_are_printed_as_prometheus_prints_them() {
    const SCRAPED: i64 = 1_795_369_169_500;
    let histograms = histograms();
    let histogram = |at: usize| Sample::Histogram(Arc::clone(&histograms[at]));
    let labels =
        |name: &str, a: &str| Labels::from_pairs([("__name__", name), ("a", a), ("instance", "i"), ("job", "j")]);
    let series = ["1", "3", "4", "5"].iter().enumerate().map(|(at, a)| (labels("h", a), histogram(at)));
    let series: Vec<(Labels, Sample)> = series.chain([(labels("g", "2"), Sample::Float(7.0))]).collect();

    let mut steps = StepsTableBuilder::new(1);
    for (labels, sample) in &series {
        steps.push_sample(Some(sample.clone()));
        steps.finish_series(labels.encode().as_bytes());
    }
    let vector = QueryValue::Vector { time: TimestampMs(SCRAPED), batches: vec![steps.finish()] };
    assert_eq!(encode(vector, None), include_str!("histogram_vector.json"));

    let mut steps = StepsTableBuilder::new(4);
    for sample in [Sample::Float(3.0), histogram(0), histogram(0), Sample::Float(3.0)] {
        steps.push_sample(Some(sample));
    }
    steps.finish_series(b"");
    let matrix = QueryValue::Matrix { grid: grid(SCRAPED, 1_000, 4), batches: vec![steps.finish()] };
    assert_eq!(encode(matrix, None), include_str!("histogram_matrix.json"));

    let mut samples = SamplesTableBuilder::default();
    for (labels, sample) in &series {
        if let Sample::Histogram(histogram) = sample {
            samples.push_histogram(SCRAPED, None, Arc::clone(histogram));
        }
        samples.finish_series(labels.encode().as_bytes());
    }
    let batches = vec![samples.finish()];
    assert_eq!(encode(QueryValue::Samples { batches: batches.clone() }, None), include_str!("histogram_samples.json"));
    let mut limited = QueryValue::Samples { batches };
    assert_eq!(truncate_series(&mut limited, Some(4)), Ok(false));
    assert_eq!(truncate_series(&mut limited, Some(3)), Ok(true));
}

#[test]
fn a_row_of_many_histograms_comes_in_chunks_of_bounded_size() {
    const STEPS: usize = 3_000;
    let histogram = Arc::clone(&histograms()[0]);
    let mut cells = vec![Some(Sample::Histogram(histogram)); STEPS];
    cells[1_500] = Some(Sample::Float(1.0));
    let batches = vec![mixed_steps(&cells)];
    let value = QueryValue::Matrix { grid: grid(0, 1_000, STEPS), batches };
    let chunks: Vec<Bytes> = encode_query_response(value, &[], &[], None, None).expect("valid").collect();
    assert!(chunks.len() > 3 && chunks.iter().all(|chunk| chunk.len() < 256 * 1024));
    let body: serde_json::Value = serde_json::from_slice(&chunks.concat()).expect("JSON");
    let series = &body["data"]["result"][0];
    assert_eq!(series["values"].as_array().map(Vec::len), Some(1));
    let times = series["histograms"].as_array().expect("a list").iter().map(|point| point[0].as_i64());
    assert!(times.eq((0..STEPS as i64).filter(|step| *step != 1_500).map(Some)));
}

#[test]
fn a_broken_histogram_is_refused_before_the_first_chunk() {
    let mut broken = NativeHistogram::clone(&histograms()[0]);
    broken.positive.spans[0].length = 9;
    let batches = vec![mixed_steps(&[Some(Sample::Histogram(Arc::new(broken)))])];
    let result = encode_query_response(QueryValue::Vector { time: TimestampMs(0), batches }, &[], &[], None, None);
    assert_eq!(result.map(drop).map_err(|error| error.kind()), Err(crate::error::ErrorKind::Internal));
}

#[test]
fn stats_stand_in_data_and_annotations_behind_it() {
    let value = QueryValue::Scalar { time: TimestampMs(0), value: 1.0 };
    let stats = RawValue::from_string(r#"{"timings":{"evalTotalTime":0.10}}"#.to_owned()).expect("JSON");
    let chunks =
        encode_query_response(value, &["w<".to_owned(), "v".to_owned()], &["i".to_owned()], Some(&stats), None)
            .expect("valid");
    assert_eq!(
        String::from_utf8(chunks.flatten().collect()).expect("text"),
        r#"{"status":"success","data":{"resultType":"scalar","result":[0,"1"],"stats":{"timings":{"evalTotalTime":0.10}}},"warnings":["w\u003c","v"],"infos":["i"]}"#
    );
}

#[test]
fn series_beyond_the_limit_are_cut_with_a_warning() {
    let vector = || QueryValue::Vector {
        time: TimestampMs(0),
        batches: vec![
            steps(1, &[(&[("a", "0")], &[None]), (&[("a", "1")], &[Some(1.0)])]),
            steps(1, &[(&[("a", "2")], &[Some(2.0)]), (&[("a", "3")], &[None])]),
        ],
    };
    let one = r#"{"metric":{"a":"1"},"value":[0,"1"]}"#;
    let two = r#"{"metric":{"a":"2"},"value":[0,"2"]}"#;
    let whole = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{one},{two}]}}}}"#);
    for limit in [None, Some(0), Some(2), Some(3)] {
        assert_eq!(encode(vector(), limit), whole, "{limit:?}");
    }
    assert_eq!(
        encode(vector(), Some(1)),
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{one}]}},"warnings":["results truncated due to limit"]}}"#
        )
    );
    let row = |name: &str| (Labels::from_pairs([("a", name)]), vec![(1, 1.0)]);
    let mut value = QueryValue::Samples { batches: vec![samples(&[row("1"), row("2"), row("3")])] };
    assert_eq!(truncate_series(&mut value, Some(2)), Ok(true));
    assert_eq!(truncate_series(&mut value, Some(2)), Ok(false));
    assert!(matches!(&value, QueryValue::Samples { batches } if batches[0].num_rows() == 2));
    let mut scalar = QueryValue::Scalar { time: TimestampMs(0), value: 1.0 };
    assert_eq!(truncate_series(&mut scalar, Some(1)), Ok(false));
}

#[test]
fn a_table_of_the_wrong_shape_is_refused_before_the_first_chunk() {
    let two_steps = steps(2, &[(&[], &[Some(1.0), Some(2.0)])]);
    let raw = samples(&[(Labels::default(), vec![(0, 1.0)])]);
    let time = TimestampMs(0);
    for value in [
        QueryValue::Vector { time, batches: vec![two_steps.clone()] },
        QueryValue::Matrix { grid: grid(0, 1, 3), batches: vec![two_steps.clone()] },
        QueryValue::Vector { time, batches: vec![raw] },
        QueryValue::Samples { batches: vec![two_steps] },
    ] {
        let result = encode_query_response(value, &[], &[], None, None);
        assert_eq!(result.map(drop).map_err(|error| error.kind()), Err(crate::error::ErrorKind::Internal));
    }
}

#[test]
fn a_large_answer_comes_in_chunks_of_bounded_size() {
    const STEPS: usize = 11_000;
    let cells: Vec<Option<f64>> = (0..STEPS).map(|step| Some(step as f64 + 0.123_456_789)).collect();
    let batch = steps(STEPS, &[(&[("a", "1")], &cells), (&[("a", "2")], &cells)]);
    let value = QueryValue::Matrix { grid: grid(0, 15_000, STEPS), batches: vec![batch.clone(), batch] };
    let chunks: Vec<Bytes> = encode_query_response(value, &[], &[], None, None).expect("valid").collect();
    assert!(chunks.len() >= 4);
    assert!(chunks.iter().all(|chunk| chunk.len() < 256 * 1024));
    assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.len() >= 64 * 1024));
    let body: serde_json::Value = serde_json::from_slice(&chunks.concat()).expect("JSON");
    let series = body["data"]["result"].as_array().expect("an array");
    assert_eq!(series.len(), 4);
    assert!(series.iter().all(|series| series["values"].as_array().map(Vec::len) == Some(STEPS)));
}
