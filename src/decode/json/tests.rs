use proptest::prelude::*;

use super::*;
use crate::model::{Labels, SamplesTable};

/// A decoded result in plain values, comparable (NaN by its bits).
#[derive(Clone, PartialEq, Debug)]
enum Plain {
    None,
    Scalar(i64, u64),
    String(i64, String),
    Vector(Vec<PlainSeries>),
    Matrix(Vec<PlainSeries>),
}

type PlainSeries = (Labels, Vec<(i64, u64)>);

fn plain_series(batches: &[RecordBatch]) -> Vec<PlainSeries> {
    let mut all = Vec::new();
    for batch in batches {
        let table = SamplesTable::try_new(batch).expect("a samples table");
        for row in 0..table.row_count() {
            let (timestamps, values) = table.series(row);
            let samples = timestamps.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect();
            all.push((table.labels(row).to_labels(), samples));
        }
    }
    all
}

fn plain(result: &DecodedResult) -> Plain {
    match result {
        DecodedResult::None => Plain::None,
        DecodedResult::Scalar { time, value } => Plain::Scalar(time.0, value.to_bits()),
        DecodedResult::String { time, text } => Plain::String(time.0, text.clone()),
        DecodedResult::Vector(batches) => Plain::Vector(plain_series(batches)),
        DecodedResult::Matrix(batches) => Plain::Matrix(plain_series(batches)),
    }
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> PlainSeries {
    (Labels::from_pairs(labels.iter().copied()), samples.iter().map(|(time, value)| (*time, value.to_bits())).collect())
}

fn decode_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: DecodeLimits,
) -> Result<QueryResponse, DecodeError> {
    let mut decoder = QueryResponseDecoder::new(limits);
    for piece in pieces {
        decoder.feed(piece)?;
    }
    decoder.finish()
}

fn decode(body: &str) -> Result<QueryResponse, DecodeError> {
    decode_pieces([body.as_bytes()], DecodeLimits::default())
}

/// Wraps a `data` object in the envelope.
fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

#[track_caller]
fn check(body: &str, expected: Plain) {
    let response = decode(body).expect(body);
    assert_eq!(plain(&response.result), expected, "{body}");
    for size in 1..12 {
        let cut = decode_pieces(body.as_bytes().chunks(size), DecodeLimits::default()).expect(body);
        assert_eq!(plain(&cut.result), expected, "in pieces of {size}: {body}");
    }
}

#[track_caller]
fn check_error(body: &str, message: &str) {
    let error = decode(body).expect_err(body);
    assert_eq!(error.to_string(), message, "{body}");
    for size in [1, 3] {
        let cut = decode_pieces(body.as_bytes().chunks(size), DecodeLimits::default());
        assert_eq!(cut.err().map(|error| error.to_string()).as_deref(), Some(message), "in pieces of {size}: {body}");
    }
}

#[test]
fn every_type_of_result_is_read() {
    let up = [("__name__", "up"), ("job", "a\"b\né")];
    check(
        &success(
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a\"b\n\u00e9"},
              "values":[[1435781451.781,"1.5"],[1435781452,"NaN"],[1435781453.5,"+Inf"],[1435781454.25,"-Inf"],[1e10,"1e-07"]]},
              {"metric":{},"values":[[0,"0"],[0.001,"-0"]]}]}"#,
        ),
        Plain::Matrix(vec![
            series(
                &up,
                &[
                    (1_435_781_451_781, 1.5),
                    (1_435_781_452_000, f64::from_bits(0x7ff8_0000_0000_0001)),
                    (1_435_781_453_500, f64::INFINITY),
                    (1_435_781_454_250, f64::NEG_INFINITY),
                    (10_000_000_000_000, 1e-7),
                ],
            ),
            series(&[], &[(0, 0.0), (1, -0.0)]),
        ]),
    );
    check(
        &success(
            r#"{"resultType":"vector","result":[{"metric":{"b":"2","a":"1","c":""},"value":[1.5,"2"]},{"metric":{"a":"1"},"value":[1.5,"3"]}]}"#,
        ),
        Plain::Vector(vec![series(&[("a", "1"), ("b", "2")], &[(1_500, 2.0)]), series(&[("a", "1")], &[(1_500, 3.0)])]),
    );
    check(&success(r#"{"resultType":"scalar","result":[1.5,"Inf"]}"#), Plain::Scalar(1_500, f64::INFINITY.to_bits()));
    check(&success(r#"{"resultType":"string","result":[-1,"a\tb"]}"#), Plain::String(-1_000, "a\tb".to_owned()));
    for (result_type, empty) in [("matrix", Plain::Matrix(vec![])), ("vector", Plain::Vector(vec![]))] {
        for result in ["[]", "null", " [ ] "] {
            check(&success(&format!(r#"{{"resultType":"{result_type}","result":{result}}}"#)), empty.clone());
        }
    }
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_skipped() {
    check(
        r#" {"isPartial":false,"stats":{"seriesFetched":["1",{"a":[1,2.5e3,null,true]}],"x":"]}\""},
            "data":{"analysis":{},"result":[{"values":[[1,"1"],[2,"2"]],"exemplars":[[[]]],"metric":{"b":"2","a":"1"},"group":1}],
            "stats":null,"resultType":"matrix"},"status":"success","trace":[] } "#,
        Plain::Matrix(vec![series(&[("a", "1"), ("b", "2")], &[(1_000, 1.0), (2_000, 2.0)])]),
    );
    check(
        r#"{"data":{"result":[3,"4"],"resultType":"scalar"},"st\u0061tus":"success"}"#,
        Plain::Scalar(3_000, 4f64.to_bits()),
    );
    let long_key = "k".repeat(500);
    check(
        &format!(
            r#"{{"{long_key}":"{long_key}","status":"success","data":{{"resultType":"string","result":[0,"s"]}}}}"#
        ),
        Plain::String(0, "s".to_owned()),
    );
}

#[test]
fn warnings_infos_and_errors_are_kept() {
    let response = decode(
        r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["w1","w\"2"],"infos":["i"]}"#,
    )
    .expect("valid");
    assert_eq!(response.status, ResponseStatus::Success);
    assert_eq!((response.warnings, response.infos), (vec!["w1".to_owned(), "w\"2".to_owned()], vec!["i".to_owned()]));

    let body = r#"{"status":"error","errorType":"execution","error":"boom","warnings":null,"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}"#;
    let response = decode(body).expect("a complete error");
    let (error_type, message) = ("execution".to_owned(), "boom".to_owned());
    assert_eq!(response.status, ResponseStatus::Error { error_type, message });
    assert_eq!(plain(&response.result), Plain::None);
}

#[test]
fn native_histograms_are_counted_not_decoded() {
    let body = success(
        r#"{"resultType":"matrix","result":[
            {"metric":{"a":"1"},"histograms":[[1,{"count":"10","sum":"20","buckets":[[1,"-1.6","-1.4","1"]]}]]},
            {"metric":{"a":"2"},"values":[[1,"1"]],"histograms":[[2,{"count":"1"}]]},
            {"metric":{"a":"3"},"values":[[1,"1"]],"histograms":[]}]}"#,
    );
    let response = decode(&body).expect("valid");
    assert_eq!(response.histogram_series, 2);
    assert_eq!(
        plain(&response.result),
        Plain::Matrix(vec![series(&[("a", "2")], &[(1_000, 1.0)]), series(&[("a", "3")], &[(1_000, 1.0)])])
    );
    let body = success(r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"10"}]}]}"#);
    assert_eq!(decode(&body).map(|response| response.histogram_series), Ok(1));
}

#[test]
fn hostile_answers_say_what_is_wrong_with_them() {
    for (body, message) in [
        ("", "body ends after 0 bytes, expected a JSON document"),
        ("<html><body>502</body></html>", "expected a JSON document at byte 0, found '<'"),
        ("no route", "expected a JSON document at byte 0, found \"no\""),
        ("[]", "expected an object at byte 0, found an array"),
        ("{}", "answer has no \"status\""),
        (r#"{"status":"Failure"}"#, "expected status \"success\" or \"error\" at byte 10, found a string"),
        (r#"{"status":true}"#, "expected a string at byte 10, found true"),
        (r#"{"status":null}"#, "expected a string at byte 10, found null"),
        (r#"{"status":"success"}"#, "answer has no \"resultType\""),
        (r#"{"status":"success","data":["up"]}"#, "expected an object at byte 27, found an array"),
        (r#"{"status":"success","data":{"resultType":"vector"}}"#, "answer has no \"result\""),
        (r#"{"status":"success","data":{"result":[]}}"#, "answer has no \"resultType\""),
        (r#"{"status":"success","warnings":["a",1]}"#, "expected a string in annotations at byte 36, found a number"),
        (r#"{"status":"success","status":"error"}"#, "the same key twice at byte 20"),
        (
            r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#,
            "expected result type \"matrix\", \"vector\", \"scalar\" or \"string\" in data at byte 41, found a string",
        ),
    ] {
        check_error(body, message);
    }
    // § stands before the fault, @ for its place.
    for (result_type, result, message) in [
        ("vector", "§{}", "expected an array in data @, found an object"),
        ("vector", "[§[1,\"1\"]]", "expected a series or a time in data.result @, found an array"),
        ("vector", "[1,\"1\"]", "answer says \"resultType\" is \"vector\", but \"result\" is something else"),
        ("scalar", "[]", "answer says \"resultType\" is \"scalar\", but \"result\" is something else"),
        ("scalar", "[1,\"x\"]", "scalar is not a number"),
        ("scalar", "[1§]", "expected a string in data.result @, found its end"),
        ("scalar", "[1,§1]", "expected a string in data.result @, found a number"),
        ("scalar", "[1,\"1\",§2]", "expected the end of a time and a value in data.result @, found a number"),
        (
            "vector",
            r#"[{"metric":{},"values":[[1,"1"]]}]"#,
            "answer says \"resultType\" is \"vector\", but \"result\" is something else",
        ),
        ("vector", r#"[{"value":[1,"1"]§}]"#, "series without \"metric\" in data.result[0] @"),
        (
            "vector",
            r#"[{"metric":{},"value":[1,"1"],"values":§[]}]"#,
            "series with both \"value\" and \"values\" in data.result[0] @",
        ),
        (
            "matrix",
            r#"[{"metric":{},"values":[[1,"1"]]},{"metric":{},"value":[1,"1"]§}]"#,
            "series with \"value\" beside series with \"values\" in data.result[1] @",
        ),
        ("vector", r#"[{"metric":§[]}]"#, "expected an object in data.result[0] @, found an array"),
        ("vector", r#"[{"metric":{"a":§1}}]"#, "expected a string in data.result[0].metric @, found a number"),
        (
            "vector",
            r#"[{"metric":{"a":"1","a":"1"},"value":[1,"1"]§}]"#,
            "label name \"a\" occurs twice in data.result[0] @",
        ),
        ("vector", r#"[{"metric":{"":"1"}§}]"#, "empty label name in data.result[0] @"),
        ("vector", r#"[{"metric":{},§"metric":{}}]"#, "the same key twice in data.result[0] @"),
        (
            "vector",
            r#"[{"metric":{},"value":[1,§1]}]"#,
            "expected a value in quotes in data.result[0] @, found a number",
        ),
        ("vector", r#"[{"metric":{},"value":[§"1","1"]}]"#, "expected a time in data.result[0] @, found a string"),
        ("vector", r#"[{"metric":{},"value":[1,§"one"]}]"#, "\"one\" is not a sample value in data.result[0] @"),
        ("vector", r#"[{"metric":{},"value":[1,§"1e999"]}]"#, "\"1e999\" is not a sample value in data.result[0] @"),
        ("vector", r#"[{"metric":{},"value":[§1e300,"1"]}]"#, "time out of range in data.result[0] @"),
        ("vector", r#"[{"metric":{},"value":[1§]}]"#, "expected a value in quotes in data.result[0] @, found its end"),
        (
            "matrix",
            r#"[{"metric":{},"values":[[2,"1"],[2,§"1"],[3,"1"]]}]"#,
            "sample not later than the sample before it in data.result[0].values @",
        ),
        (
            "matrix",
            r#"[{"metric":{},"values":[[2,"1"],[1,§"1"]]}]"#,
            "sample not later than the sample before it in data.result[0].values @",
        ),
        (
            "matrix",
            r#"[{"metric":{},"values":[§1]}]"#,
            "expected an array of a time and a value in data.result[0].values @, found a number",
        ),
        ("matrix", r#"[{"metric":{},"values":§null}]"#, "expected an array in data.result[0] @, found null"),
    ] {
        let body = success(&format!(r#"{{"resultType":"{result_type}","result":{result}}}"#));
        let message = match body.find('§') {
            Some(offset) => message.replace('@', &format!("at byte {offset}")),
            None => message.to_owned(),
        };
        check_error(&body.replace('§', ""), &message);
    }
}

#[test]
fn limits_hold() {
    let limits = DecodeLimits {
        samples_max: 3,
        body_bytes_max: 1_000,
        label_set_bytes_max: 20,
        text_bytes_max: 5,
        annotations_max: 2,
        depth_max: 8,
    };
    let decode = |body: &str| decode_pieces([body.as_bytes()], limits);
    let matrix = |samples: &str| {
        success(&format!(r#"{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{samples}]}}]}}"#))
    };
    assert!(decode(&matrix(r#"[1,"1"],[2,"2"],[3,"3"]"#)).is_ok());
    assert_eq!(decode(&matrix(r#"[1,"1"],[2,"2"],[3,"3"],[4,"4"]"#)).err(), Some(DecodeError::TooManySamples));
    assert_eq!(decode(&matrix(r#"[1,"1"],[2,"2"],[3,"3"],[4,"4"],[5,"5"]"#)).err(), Some(DecodeError::TooManySamples));

    let labelled = |value: &str| {
        success(&format!(r#"{{"resultType":"vector","result":[{{"metric":{{"a":"{value}"}},"value":[1,"1"]}}]}}"#))
    };
    assert!(decode(&labelled(&"x".repeat(17))).is_ok());
    assert!(decode(&labelled(&"x".repeat(18))).is_err());
    assert!(decode(&labelled(&"x".repeat(900))).is_err());
    assert!(decode(&" ".repeat(1_001)).is_err());
    assert!(decode(r#"{"x":[[[[[[[[]]]]]]]]}"#).is_err());

    let body = r#"{"status":"error","error":"123456","warnings":["1","2","3","4"],"infos":["€€"]}"#;
    let response = decode(body).expect("cut, not refused");
    let (error_type, message) = (String::new(), "12345…".to_owned());
    assert_eq!(response.status, ResponseStatus::Error { error_type, message });
    assert_eq!(response.warnings, ["1", "2", "2 more warning annotations omitted"]);
    assert_eq!(response.infos, ["€…"]);
    assert!(decode(&success(r#"{"resultType":"string","result":[1,"123456"]}"#)).is_err());
}

#[test]
fn a_failed_decoder_stays_failed() {
    let mut decoder = QueryResponseDecoder::new(DecodeLimits::default());
    let error = decoder.feed(b"x ").expect_err("not JSON");
    assert_eq!(decoder.feed(b"{}"), Err(error.clone()));
    assert_eq!(decoder.finish().err(), Some(error));
}

#[test]
fn feed_counts_the_samples_of_each_piece() {
    let body = success(r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"2"],[3,"3"]]}]}"#);
    let (front, back) = body.split_at(body.find("\"3\"").expect("is there"));
    let mut decoder = QueryResponseDecoder::new(DecodeLimits::default());
    assert_eq!(decoder.feed(front.as_bytes()), Ok(2));
    assert_eq!(decoder.feed(back.as_bytes()), Ok(1));
    assert!(decoder.finish().is_ok());
}

/// A matrix as text, with the series that it holds. Written as Prometheus writes it, or with white space and other
/// spellings of the same numbers.
fn matrix() -> impl Strategy<Value = (String, Vec<PlainSeries>)> {
    let label = ("[a-z_]{1,6}", any::<String>());
    let sample = (1i64..100_000, any::<f64>().prop_filter("finite", |value| value.is_finite()));
    let one = (prop::collection::btree_map(label.0, label.1, 0..4), prop::collection::vec(sample, 1..20));
    (prop::collection::vec(one, 0..6), any::<bool>()).prop_map(|(all, is_spaced)| {
        let mut series = Vec::new();
        let mut texts = Vec::new();
        for (labels, deltas) in all {
            let mut time = -50_000;
            let samples: Vec<(i64, f64)> = deltas
                .into_iter()
                .map(|(delta, value)| {
                    time += delta;
                    (time, value)
                })
                .collect();
            let pair = |(time, value): &(i64, f64)| {
                let time = TimestampMs(*time);
                if is_spaced { format!(" [ {time} ,\n\"{value:e}\" ] ") } else { format!("[{time},\"{value}\"]") }
            };
            let values: Vec<String> = samples.iter().map(pair).collect();
            let metric = serde_json::to_string(&labels).expect("labels");
            texts.push(format!(r#"{{"metric":{metric},"values":[{}]}}"#, values.join(",")));
            let samples = samples.into_iter().map(|(time, value)| (time, value.to_bits())).collect();
            series.push((Labels::from_pairs(labels), samples));
        }
        (success(&format!(r#"{{"resultType":"matrix","result":[{}]}}"#, texts.join(","))), series)
    })
}

proptest! {
    #[test]
    fn a_matrix_is_read_however_it_is_cut(
        (body, expected) in matrix(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &body.as_bytes()[cut[0]..cut[1]]);
        let response = decode_pieces(pieces, DecodeLimits::default()).expect("valid");
        prop_assert_eq!(plain(&response.result), Plain::Matrix(expected.clone()));
        let single = decode_pieces(body.as_bytes().chunks(1), DecodeLimits::default()).expect("valid");
        prop_assert_eq!(plain(&single.result), Plain::Matrix(expected));
    }

    #[test]
    fn every_prefix_of_an_answer_is_an_error((body, _) in matrix(), cut in any::<prop::sample::Index>()) {
        let prefix = &body.as_bytes()[..cut.index(body.len())];
        prop_assert!(decode_pieces([prefix], DecodeLimits::default()).is_err());
    }

    #[test]
    fn a_damaged_answer_never_panics((body, _) in matrix(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // What still is an answer must still be JSON.
        if decode_pieces(bytes.chunks(13), DecodeLimits::default()).is_ok() {
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
        }
    }
}
