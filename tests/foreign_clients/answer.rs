//! Answers in one form, whoever gave them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Labels, by name.
pub type LabelSet = BTreeMap<String, String>;

/// The samples of each series: time (ms) and the bits of the number. A vector has one each, a scalar is a series without labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer(Result<BTreeMap<LabelSet, Vec<(i64, Number)>>, String>);

/// The bits of a number; JSON knows only one NaN.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Number {
    Nan,
    Bits(u64),
}

impl Number {
    fn of(number: f64) -> Self {
        if number.is_nan() { Self::Nan } else { Self::Bits(number.to_bits()) }
    }

    fn told(self) -> String {
        match self {
            Self::Nan => "NaN".to_owned(),
            Self::Bits(bits) => format!("{:e}", f64::from_bits(bits)),
        }
    }
}

impl Answer {
    /// A failure, in its own words.
    pub fn failed(why: impl Into<String>) -> Self {
        Self(Err(why.into()))
    }

    /// The body of an answer of the HTTP API.
    pub fn of_body(body: &[u8]) -> Self {
        let body: Value = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return Self::failed(format!("{error} in {:?}", String::from_utf8_lossy(body))),
        };
        match body["status"].as_str() {
            Some("success") if body.get("warnings").is_none() => Self::of_result(&body["data"]["result"]),
            _ => Self::failed(body.to_string()),
        }
    }

    /// `result` of such a body: a vector, a matrix or a scalar.
    pub fn of_result(result: &Value) -> Self {
        let items = result.as_array().expect("a list");
        let is_scalar = items.first().is_some_and(Value::is_number);
        if is_scalar {
            return Self::of_series([(LabelSet::new(), vec![sample(result)])]);
        }
        Self::of_series(items.iter().map(|series| {
            let samples = match series.get("values") {
                Some(values) => values.as_array().expect("samples").iter().map(sample).collect(),
                None => vec![sample(&series["value"])],
            };
            (labels(&series["metric"]), samples)
        }))
    }

    /// A line of a script, see `clients/answers.py`.
    pub fn of_line(line: &str) -> Self {
        let line: Value = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(error) => return Self::failed(format!("{error} in {line:?}")),
        };
        let Some(series) = line["series"].as_array() else {
            return Self::failed(line.to_string());
        };
        Self::of_series(series.iter().map(|series| {
            let samples = series["samples"].as_array().expect("samples").iter().map(|sample| {
                let bits = sample[1].as_str().expect("bits");
                let number = u64::from_str_radix(bits, 16).map_or(Number::Nan, Number::Bits);
                (sample[0].as_i64().expect("a time"), number)
            });
            (labels(&series["labels"]), samples.collect())
        }))
    }

    fn of_series(all: impl IntoIterator<Item = (LabelSet, Vec<(i64, Number)>)>) -> Self {
        let mut by_labels = BTreeMap::new();
        for (labels, samples) in all {
            if let Some(before) = by_labels.insert(labels, samples) {
                return Self::failed(format!("a series comes twice: {before:?}"));
            }
        }
        Self(Ok(by_labels))
    }

    pub fn sample_count(&self) -> usize {
        self.0.iter().flat_map(|series| series.values()).map(Vec::len).sum()
    }
}

/// `[time in seconds, "number"]`.
fn sample(sample: &Value) -> (i64, Number) {
    let time = sample[0].as_f64().expect("a time");
    let number = sample[1].as_str().expect("a number as text");
    ((time * 1_000.0).round() as i64, Number::of(number.parse().expect("a number")))
}

/// `{"name": "value"}`.
fn labels(pairs: &Value) -> LabelSet {
    let pairs = pairs.as_object().expect("labels").iter();
    pairs.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
}

/// What is otherwise in `got`, in short; nothing, if all is the same.
pub fn difference(expected: &Answer, got: Option<&Answer>) -> Option<String> {
    let (expected, got) = match (&expected.0, got.map(|got| &got.0)) {
        (Err(why), _) => return Some(format!("the HTTP API gave {why}")),
        (_, None) => return Some("there is no answer".to_owned()),
        (_, Some(Err(why))) => return Some(why.clone()),
        (Ok(expected), Some(Ok(got))) => (expected, got),
    };
    if let Some((labels, _)) = expected.iter().find(|(labels, _)| !got.contains_key(*labels)) {
        return Some(format!("{labels:?} is missing, of {} series", expected.len()));
    }
    for (labels, samples) in got {
        let Some(wanted) = expected.get(labels) else {
            return Some(format!("{labels:?} should not be there"));
        };
        if let Some((wanted, own)) = wanted.iter().zip(samples).find(|(wanted, own)| wanted != own) {
            let told = |sample: &(i64, Number)| format!("{} at {}", sample.1.told(), sample.0);
            return Some(format!("{labels:?}: {} and not {}", told(own), told(wanted)));
        }
        if wanted.len() != samples.len() {
            return Some(format!("{labels:?}: {} samples and not {}", samples.len(), wanted.len()));
        }
    }
    None
}
