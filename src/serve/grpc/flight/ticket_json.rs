//! Tickets as people write them: JSON with the parameters of the HTTP API.
//!
//! | key | value |
//! |---|---|
//! | `query` | PromQL |
//! | `time` | evaluation time: seconds, or RFC 3339 |
//! | `start`, `end`, `step` | instead of `time`: a range; the step in seconds or as `30s` |
//! | `timeout`, `lookback_delta` | seconds, or as `30s` |
//! | `mode` | `exact`, `pushdown`, `trust`, `auto` |
//! | `partial_response` | `true`: what there is, with warnings; `false`: all or nothing |
//! | `groups` | a list of the server groups that are asked |
//! | `form` | `series`, `samples`, `native` |
//! | `label_columns` | of `samples`: a list of labels that become columns |
//! | `histograms` | of `samples`: `true` for a column of native histograms |
//! | `compression` | `none`, `lz4`, `zstd` |

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::ticket::{Compression, Question, TableForm, Ticket, Times, check_sample_columns, in_field};
use crate::error::Error;
use crate::model::{EvaluationMode, UnknownEvaluationMode};
use crate::serve::grpc::proto;
use crate::serve::http::{Form, parse_duration_ns, parse_grid, parse_time};

/// Keys that are times or durations: numbers or texts, as in a URL.
const TEXT_OR_NUMBER: [&str; 6] = ["time", "start", "end", "step", "timeout", "lookback_delta"];
const OTHERS: [&str; 4] = ["partial_response", "groups", "label_columns", "histograms"];
const TEXT: [&str; 4] = ["query", "mode", "form", "compression"];

/// The ticket of a JSON object.
pub(super) fn read_json(bytes: &[u8]) -> Result<Ticket, Error> {
    let Pairs(pairs) = serde_json::from_slice(bytes)
        .map_err(|error| Error::bad_data(format!("invalid ticket: it begins like JSON, but {error}")))?;
    let mut form = Form::default();
    let (mut label_columns, mut histograms) = (Vec::new(), false);
    let (mut partial_response, mut groups) = (proto::PartialResponse::Unspecified, Vec::new());
    for (key, value) in pairs {
        match (key.as_str(), &value) {
            (key, Value::Null) if OTHERS.contains(&key) => continue,
            ("groups", value) => {
                groups = texts(value).ok_or_else(|| another_type(&key, "a list of texts", value))?;
                continue;
            }
            ("partial_response", value) => {
                partial_response = match value.as_bool() {
                    Some(true) => proto::PartialResponse::Allow,
                    Some(false) => proto::PartialResponse::Refuse,
                    None => return Err(another_type(&key, "true or false", value)),
                };
                continue;
            }
            ("label_columns", value) => {
                label_columns = texts(value).ok_or_else(|| another_type(&key, "a list of texts", value))?;
                continue;
            }
            ("histograms", value) => {
                histograms = value.as_bool().ok_or_else(|| another_type(&key, "true or false", value))?;
                continue;
            }
            _ => {}
        }
        let text = match (&value, key.as_str()) {
            (Value::String(text), key) if TEXT.contains(&key) || TEXT_OR_NUMBER.contains(&key) => text.clone(),
            (Value::Number(number), key) if TEXT_OR_NUMBER.contains(&key) => number.to_string(),
            // As if it were not there.
            (Value::Null, key) if TEXT.contains(&key) || TEXT_OR_NUMBER.contains(&key) => continue,
            (_, key) if TEXT.contains(&key) => return Err(another_type(key, "a text", &value)),
            (_, key) if TEXT_OR_NUMBER.contains(&key) => return Err(another_type(key, "a text or a number", &value)),
            (_, key) => return Err(unknown_key(key)),
        };
        form.push(key, text);
    }
    let ticket = ticket_of(&form)?;
    check_sample_columns(ticket.form, &label_columns, histograms)?;
    let options = ticket.options.unwrap_or_default();
    let options = proto::QueryOptions { partial_response: partial_response.into(), groups, ..options };
    let options = (options != proto::QueryOptions::default()).then_some(options);
    Ok(Ticket { options, label_columns, histograms, ..ticket })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn ticket_of(form: &Form) -> Result<Ticket, Error> {
    let text = form.get("query");
    if text.is_empty() {
        return Err(in_field("query")(Error::bad_data("it is missing")));
    }
    let question = Question::Query { text: text.to_owned(), times: times(form)? };
    let timeout_ms = match form.get("timeout") {
        "" => None,
        // Rounded up: what is not zero must not become it.
        text => Some(parse_duration_ns(text).map_err(in_field("timeout"))?.saturating_add(999_999) / 1_000_000),
    };
    let lookback_ms = match form.get("lookback_delta") {
        "" => None,
        text => {
            let nanoseconds = parse_duration_ns(text).map_err(in_field("lookback_delta"))?;
            (nanoseconds > 0).then(|| (nanoseconds / 1_000_000).max(1))
        }
    };
    let mode = match form.get("mode") {
        "" => proto::EvaluationMode::Unspecified,
        text => match text.parse().map_err(|error: UnknownEvaluationMode| Error::bad_data(error.to_string())) {
            Ok(EvaluationMode::Exact) => proto::EvaluationMode::Exact,
            Ok(EvaluationMode::Pushdown) => proto::EvaluationMode::Pushdown,
            Ok(EvaluationMode::Trust) => proto::EvaluationMode::Trust,
            Ok(EvaluationMode::Auto) => proto::EvaluationMode::Auto,
            Err(error) => return Err(in_field("mode")(error)),
        },
    };
    let table_form = match form.get("form") {
        "" | "series" => TableForm::PerSeries,
        "samples" => TableForm::PerSample,
        "native" => TableForm::Native,
        other => return Err(unknown_word("form", other, "series, samples or native")),
    };
    let compression = match form.get("compression") {
        "" | "none" => Compression::None,
        "lz4" => Compression::Lz4Frame,
        "zstd" => Compression::Zstd,
        other => return Err(unknown_word("compression", other, "none, lz4 or zstd")),
    };
    let options = Some(proto::QueryOptions { timeout_ms, lookback_ms, mode: mode.into(), ..Default::default() });
    let (label_columns, histograms) = (Vec::new(), false);
    Ok(Ticket { question, options, form: table_form, compression, label_columns, histograms })
}

fn times(form: &Form) -> Result<Times, Error> {
    let of_range = ["start", "end", "step"];
    if of_range.iter().all(|key| form.get(key).is_empty()) {
        return match form.get("time") {
            "" => Ok(Times::Now),
            text => parse_time(text).map(Times::At).map_err(in_field("time")),
        };
    }
    if !form.get("time").is_empty() {
        return Err(in_field("time")(Error::bad_data("a ticket has either time or start, end and step")));
    }
    if let Some(missing) = of_range.iter().find(|key| form.get(key).is_empty()) {
        return Err(in_field(missing)(Error::bad_data("it is missing; a range has start, end and step")));
    }
    let (grid, end) =
        parse_grid(form).map_err(|error| Error::bad_data(format!("invalid ticket: {}", error.message())))?;
    Ok(Times::Range(grid, end))
}

fn another_type(key: &str, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    in_field(key)(Error::bad_data(format!("it must be {wanted}, not {found}")))
}

fn unknown_key(key: &str) -> Error {
    let key: String = key.chars().take(40).collect();
    let known: Vec<&str> = TEXT.into_iter().chain(TEXT_OR_NUMBER).chain(OTHERS).collect();
    in_field(&format!("{key:?}"))(Error::bad_data(format!("no such key, there are {}", known.join(", "))))
}

fn unknown_word(key: &str, found: &str, known: &str) -> Error {
    let found: String = found.chars().take(40).collect();
    in_field(key)(Error::bad_data(format!("{found:?} is not known, write {known}")))
}

/// The keys of an object in order. A key that comes twice is an error: nobody knows which one is meant.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!(
                    "key {:?} is there twice",
                    key.chars().take(40).collect::<String>()
                )));
            }
            // Bounds the search for what is there twice, too.
            if pairs.len() >= KEYS_MAX {
                return Err(A::Error::custom("it has too many keys"));
            }
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}

/// Far more than there are.
const KEYS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DurationMs, StepGrid, TimestampMs};

    fn read(text: &str) -> Result<Ticket, Error> {
        read_json(text.as_bytes())
    }

    #[test]
    fn a_ticket_bears_the_names_of_the_http_api() {
        let at = |time| Ticket::of_query("up", Times::At(TimestampMs(time)));
        let range =
            Times::Range(StepGrid::with_count(TimestampMs(1_000_000), DurationMs(30_000), 3), TimestampMs(1_070_000));
        for (text, ticket) in [
            (r#"{"query": "up"}"#, Ticket::of_query("up", Times::Now)),
            (r#"{"query": "up", "time": 1435781430.781}"#, at(1_435_781_430_781)),
            (r#"{"query": "up", "time": "1435781430.781"}"#, at(1_435_781_430_781)),
            (r#"{"query": "up", "time": "2015-07-01T20:10:30.781Z", "mode": null}"#, at(1_435_781_430_781)),
            (r#"{"query": "up", "start": 1000, "end": "1070", "step": "30s"}"#, Ticket::of_query("up", range)),
            (r#"{"query": "up", "start": 1000, "end": 1070, "step": 30}"#, Ticket::of_query("up", range)),
            (
                r#"{"query": "up", "form": "samples", "label_columns": ["job"], "histograms": true, "compression": "zstd",
                    "partial_response": false, "groups": ["eu", "us"], "mode": "exact", "timeout": 0.0001, "lookback_delta": "1m"}"#,
                Ticket {
                    form: TableForm::PerSample,
                    compression: Compression::Zstd,
                    label_columns: vec!["job".to_owned()],
                    histograms: true,
                    options: Some(proto::QueryOptions {
                        timeout_ms: Some(1),
                        lookback_ms: Some(60_000),
                        mode: proto::EvaluationMode::Exact.into(),
                        partial_response: proto::PartialResponse::Refuse.into(),
                        groups: vec!["eu".to_owned(), "us".to_owned()],
                        ..Default::default()
                    }),
                    ..Ticket::of_query("up", Times::Now)
                },
            ),
        ] {
            assert_eq!(read(text), Ok(ticket), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (text, why) in [
            ("{", "it begins like JSON, but EOF while parsing an object at line 1 column 1"),
            ("{}", "query: it is missing"),
            (r#"{"query": ""}"#, "query: it is missing"),
            (r#"{"query": 1}"#, "query: it must be a text, not a number"),
            (r#"{"query": "up", "time": true}"#, "time: it must be a text or a number, not a boolean"),
            (r#"{"query": "up", "time": "soon"}"#, "time: cannot parse \"soon\" to a valid timestamp"),
            (r#"{"query": "up", "time": 1e99}"#, "time: cannot parse \"1e+99\" to a valid timestamp"),
            (r#"{"query": "up", "time": 1, "end": 2}"#, "time: a ticket has either time or start, end and step"),
            (r#"{"query": "up", "start": 1, "end": 2}"#, "step: it is missing; a range has start, end and step"),
            (
                r#"{"query": "up", "start": 2, "end": 1, "step": 1}"#,
                "invalid parameter \"end\": end timestamp must not be before start time",
            ),
            (r#"{"query": "up", "timeout": "often"}"#, "timeout: cannot parse \"often\" to a valid duration"),
            (
                r#"{"query": "up", "mode": "fast"}"#,
                "mode: \"fast\" is not a mode, write exact, pushdown, trust or auto",
            ),
            (r#"{"query": "up", "form": "rows"}"#, "form: \"rows\" is not known, write series, samples or native"),
            (
                r#"{"query": "up", "compression": "gzip"}"#,
                "compression: \"gzip\" is not known, write none, lz4 or zstd",
            ),
            (
                r#"{"query": "up", "end_time": 5}"#,
                "\"end_time\": no such key, there are query, mode, form, compression, time, start, end, step, timeout, lookback_delta, partial_response, groups, label_columns, histograms",
            ),
            (
                r#"{"query": "up", "form": "samples", "label_columns": "job"}"#,
                "label_columns: it must be a list of texts, not a text",
            ),
            (
                r#"{"query": "up", "form": "samples", "label_columns": [1]}"#,
                "label_columns: it must be a list of texts, not a list",
            ),
            (r#"{"query": "up", "partial_response": "yes"}"#, "partial_response: it must be true or false, not a text"),
            (r#"{"query": "up", "groups": "eu"}"#, "groups: it must be a list of texts, not a text"),
            (r#"{"query": "up", "histograms": true}"#, "histograms: only a table of one row a sample has it"),
        ] {
            assert_eq!(read(text).expect_err(text).message(), format!("invalid ticket: {why}"));
        }
        let twice = read(r#"{"query": "up", "query": "down"}"#).expect_err("twice");
        assert!(twice.message().contains("key \"query\" is there twice"), "{twice}");
        let deep = read(&format!("{{\"query\": {}", "[".repeat(100_000))).expect_err("deep");
        assert!(deep.message().contains("recursion limit"), "{deep}");
    }
}
