//! The answer of `/api/v1/query_exemplars`. It is small next to samples, so it is read whole: the caller bounds the body.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

use super::DecodeError;
use super::json::{parse_timestamp, parse_value};
use super::label_json::{ApiResponse, StrictLabels, decode};
use crate::model::{Exemplar, SeriesExemplars, TimestampMs};

/// Exemplars by series, in the order of the answer.
pub fn decode_exemplars(body: &[u8]) -> Result<ApiResponse<Vec<SeriesExemplars>>, DecodeError> {
    let response = decode::<Vec<Entry>>(body)?;
    Ok(ApiResponse {
        status: response.status,
        data: response.data.into_iter().map(Entry::into_series).collect(),
        warnings: response.warnings,
        infos: response.infos,
    })
}

/// All fields must be there, so that a body cannot stand for much more memory than it has bytes.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "seriesLabels")]
    series_labels: StrictLabels,
    exemplars: Vec<Item>,
}

impl Entry {
    fn into_series(self) -> SeriesExemplars {
        let exemplar = |item: Item| Exemplar {
            labels: item.labels.map(|labels| labels.0).unwrap_or_default(),
            value: item.value.0,
            timestamp: item.timestamp.0,
        };
        SeriesExemplars { series: self.series_labels.0, exemplars: self.exemplars.into_iter().map(exemplar).collect() }
    }
}

#[derive(Deserialize)]
struct Item {
    /// May be `null` where an exemplar has none.
    labels: Option<StrictLabels>,
    value: Value,
    timestamp: Time,
}

/// Text as Prometheus writes it, `"+Inf"`; or a number.
struct Value(f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of an exemplar")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        parse_value(text).map(Value).ok_or_else(|| E::custom(format_args!("{text:?} is no value")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }
}

/// Seconds as a number, read from its digits so that milliseconds are exact.
struct Time(TimestampMs);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = <&serde_json::value::RawValue>::deserialize(deserializer)?.get();
        let time = parse_timestamp(number.as_bytes()).map(TimestampMs);
        time.map(Self).ok_or_else(|| D::Error::custom("the timestamp of an exemplar is no time in seconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn data_of(data: &str) -> Result<Vec<SeriesExemplars>, DecodeError> {
        decode_exemplars(format!(r#"{{"status":"success","data":{data}}}"#).as_bytes()).map(|response| response.data)
    }

    #[test]
    fn exemplars_are_read_by_series() {
        // As the documentation of Prometheus shows it, and what other servers do otherwise.
        let data = r#"[{"seriesLabels":{"__name__":"m","job":"a"},"exemplars":[
            {"labels":{"trace_id":"EpTxMJ40fUus7aGY"},"value":"6","timestamp":1600096945.479},
            {"labels":{},"value":"+Inf","timestamp":-1.5},
            {"labels":null,"value":2.5,"timestamp":1e3,"more":[]},
            {"labels":{"a":""},"value":-3,"timestamp":7}]},
            {"seriesLabels":{},"exemplars":[]}]"#;
        let read = data_of(data).expect("valid");
        assert_eq!(read[0].series, Labels::from_pairs([("__name__", "m"), ("job", "a")]));
        let told: Vec<(usize, f64, i64)> =
            read[0].exemplars.iter().map(|one| (one.labels.len(), one.value, one.timestamp.0)).collect();
        assert_eq!(
            told,
            [(1, 6.0, 1_600_096_945_479), (0, f64::INFINITY, -1_500), (0, 2.5, 1_000_000), (0, -3.0, 7_000)]
        );
        assert_eq!(read[1], SeriesExemplars { series: Labels::default(), exemplars: Vec::new() });
        assert_eq!(data_of("[]"), Ok(Vec::new()));
        assert_eq!(data_of("null"), Ok(Vec::new()));
        // A query without selectors; Prometheus leaves the data out.
        assert!(decode_exemplars(br#"{"status":"success"}"#).is_err());
    }

    #[test]
    fn what_is_no_exemplar_is_an_error() {
        let item = |item: &str| format!(r#"[{{"seriesLabels":{{}},"exemplars":[{item}]}}]"#);
        for data in [
            "{}".to_owned(),
            "[{}]".to_owned(),
            r#"[{"seriesLabels":{}}]"#.to_owned(),
            r#"[{"seriesLabels":null,"exemplars":[]}]"#.to_owned(),
            r#"[{"seriesLabels":{"a":"1","a":"2"},"exemplars":[]}]"#.to_owned(),
            item("{}"),
            item(r#"{"labels":{},"value":"1"}"#),
            item(r#"{"labels":{},"timestamp":1}"#),
            item(r#"{"labels":{},"value":"much","timestamp":1}"#),
            item(r#"{"labels":{},"value":true,"timestamp":1}"#),
            item(r#"{"labels":{},"value":"1","timestamp":"1"}"#),
            item(r#"{"labels":{},"value":"1","timestamp":1e300}"#),
            item(r#"{"labels":{},"value":"1","timestamp":null}"#),
            "[".repeat(100_000),
        ] {
            assert!(data_of(&data).is_err(), "{data}");
        }
    }
}
