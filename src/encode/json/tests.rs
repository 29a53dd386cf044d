use super::*;
use crate::model::{DurationMs, Labels, SamplesTableBuilder, StepsTableBuilder};

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
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a\u003cb\b"},"value":[1435781451.780,"1e-07"]},{"metric":{},"value":[1435781451.780,"NaN"]}]}"#,
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
