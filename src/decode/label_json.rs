//! The answers of `/api/v1/labels`, `label/…/values`, `series` and `metadata`. They are small next to samples, so they are
//! read whole: the caller bounds the body.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::DecodeError;
use super::json::ResponseStatus;
use crate::model::{Labels, LabelsBuilder, MetricMetadata};

/// An answer in Prometheus' envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiResponse<T> {
    /// Success, or the downstream's error.
    pub status: ResponseStatus,
    /// What was asked for; empty beside an error.
    pub data: T,
    /// Warnings, in order.
    pub warnings: Vec<String>,
    /// Infos, in order.
    pub infos: Vec<String>,
}

/// A list of strings: label names, or the values of a label.
pub fn decode_strings(body: &[u8]) -> Result<ApiResponse<Vec<String>>, DecodeError> {
    decode(body)
}

/// A list of label sets.
pub fn decode_series(body: &[u8]) -> Result<ApiResponse<Vec<Labels>>, DecodeError> {
    let response = decode::<Vec<StrictLabels>>(body)?;
    Ok(ApiResponse {
        status: response.status,
        data: response.data.into_iter().map(|labels| labels.0).collect(),
        warnings: response.warnings,
        infos: response.infos,
    })
}

/// Type, help and unit by metric name.
pub fn decode_metric_metadata(body: &[u8]) -> Result<ApiResponse<BTreeMap<String, Vec<MetricMetadata>>>, DecodeError> {
    decode(body)
}

/// The class and text of an error envelope, if this is one. For the body of an answer whose HTTP status says failure; any
/// other body is `None`.
pub fn decode_error_body(body: &[u8]) -> Option<(String, String)> {
    let envelope: Envelope<serde::de::IgnoredAny> = serde_json::from_slice(body).ok()?;
    if envelope.status.as_deref() != Some("error") {
        return None;
    }
    Some((envelope.error_type.unwrap_or_default(), envelope.error.unwrap_or_default()))
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Envelope<T> {
    status: Option<String>,
    /// The outer option tells a missing key from `null`, which is how Go prints an empty list that was never made.
    #[serde(default = "Option::default", deserialize_with = "present")]
    data: Option<Option<T>>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
    infos: Option<Vec<String>>,
}

pub(super) fn decode<T: for<'de> Deserialize<'de> + Default>(body: &[u8]) -> Result<ApiResponse<T>, DecodeError> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|error| locate(&error, body))?;
    let (status, data) = match envelope.status.as_deref() {
        Some("success") => {
            let no_data = || DecodeError::Incomplete("answer has no \"data\"".to_owned());
            (ResponseStatus::Success, envelope.data.ok_or_else(no_data)?)
        }
        Some("error") => {
            let error_type = envelope.error_type.unwrap_or_default();
            (ResponseStatus::Error { error_type, message: envelope.error.unwrap_or_default() }, None)
        }
        Some(_) => {
            return Err(DecodeError::Incomplete(
                "answer has a \"status\" that is neither success nor error".to_owned(),
            ));
        }
        None => return Err(DecodeError::Incomplete("answer has no \"status\"".to_owned())),
    };
    Ok(ApiResponse {
        status,
        data: data.unwrap_or_default(),
        warnings: envelope.warnings.unwrap_or_default(),
        infos: envelope.infos.unwrap_or_default(),
    })
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Gives serde's error a byte offset in place of its line and column: bodies are one line.
fn locate(error: &serde_json::Error, body: &[u8]) -> DecodeError {
    let line_start = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    let offset = (line_start + error.column().saturating_sub(1)) as u64;
    if error.is_eof() {
        return DecodeError::Truncated { length: body.len() as u64, expected: "the rest of a JSON document" };
    }
    let text = error.to_string();
    let problem = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    DecodeError::Invalid { offset, problem: problem.to_owned() }
}

/// A label set in which a name occurs once; empty values are absent labels.
pub(super) struct StrictLabels(pub(super) Labels);

impl<'de> Deserialize<'de> for StrictLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LabelsVisitor)
    }
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = StrictLabels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StrictLabels, A::Error> {
        let mut pairs: BTreeMap<String, String> = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if name.is_empty() {
                return Err(A::Error::custom("empty label name"));
            }
            if pairs.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!("label name {name:?} occurs twice")));
            }
        }
        let mut builder = LabelsBuilder::default();
        for (name, value) in &pairs {
            builder.set(name, value);
        }
        Ok(StrictLabels(builder.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let names = decode_strings(br#"{"status":"success","data":["a","b"],"warnings":["w"],"infos":["i"],"x":{}}"#);
        assert_eq!(
            names,
            Ok(ApiResponse {
                status: ResponseStatus::Success,
                data: vec!["a".to_owned(), "b".to_owned()],
                warnings: vec!["w".to_owned()],
                infos: vec!["i".to_owned()],
            })
        );
        let empty = decode_strings(br#"{"status":"success","data":null}"#).expect("null is an empty list");
        assert!(empty.data.is_empty());
    }

    #[test]
    fn series_are_read() {
        let body = br#"{"status":"success","data":[{"b":"2","__name__":"up","c":""},{}]}"#;
        let series = decode_series(body).expect("valid").data;
        assert_eq!(series, [Labels::from_pairs([("__name__", "up"), ("b", "2")]), Labels::default()]);
        // § stands where the fault is noticed.
        for (data, problem) in [
            (r#"[{"a":"1","a":"1"§}]"#, "label name \"a\" occurs twice"),
            (r#"[{"a":"","a":"1"§}]"#, "label name \"a\" occurs twice"),
            (r#"[{"":"1"§}]"#, "empty label name"),
            (r#"[{"a":§1}]"#, "invalid type: integer `1`, expected a string"),
            (r#"§{"a":"1"}"#, "invalid type: map, expected a sequence"),
        ] {
            let body = format!(r#"{{"status":"success","data":{data}}}"#);
            let marked = body.find('§').expect("is marked") as u64;
            let Err(DecodeError::Invalid { offset, problem: found }) = decode_series(body.replace('§', "").as_bytes())
            else {
                panic!("{data} is no list of label sets")
            };
            assert_eq!(found, problem);
            // serde counts the byte that it looked at, or not.
            assert!(offset.abs_diff(marked) <= 1, "{data}: {offset}");
        }
    }

    #[test]
    fn metadata_is_read() {
        let body =
            br#"{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"Is it up?"},{"help":"only"}]}}"#;
        let metadata = decode_metric_metadata(body).expect("valid").data;
        let entry = |metric_type: &str, help: &str| MetricMetadata {
            metric_type: metric_type.to_owned(),
            help: help.to_owned(),
            unit: String::new(),
        };
        assert_eq!(metadata["up"], [entry("gauge", "Is it up?"), entry("", "only")]);
    }

    #[test]
    fn errors_keep_class_and_text() {
        let body = br#"{"status":"error","errorType":"bad_data","error":"boom","data":null}"#;
        let status = ResponseStatus::Error { error_type: "bad_data".to_owned(), message: "boom".to_owned() };
        assert_eq!(decode_strings(body).map(|response| response.status), Ok(status));
        assert_eq!(decode_error_body(body), Some(("bad_data".to_owned(), "boom".to_owned())));
        for other in
            [&b""[..], b"<html>", b"{}", br#"{"status":"success"}"#, br#"{"message":"no route"}"#, b"[]", b"\xff"]
        {
            assert_eq!(decode_error_body(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for (body, problem) in [
            ("", "body ends after 0 bytes, expected the rest of a JSON document"),
            ("<html>", "expected value at byte 0"),
            ("{}", "answer has no \"status\""),
            (r#"{"status":"Failure"}"#, "answer has a \"status\" that is neither success nor error"),
            (r#"{"status":"success"}"#, "answer has no \"data\""),
            (r#"{"status":"success","data":["a""#, "body ends after 31 bytes, expected the rest of a JSON document"),
            (r#"{"status":"success","data":[]}x"#, "trailing characters at byte 30"),
        ] {
            assert_eq!(decode_strings(body.as_bytes()).map_err(|error| error.to_string()), Err(problem.to_owned()));
        }
    }
}
