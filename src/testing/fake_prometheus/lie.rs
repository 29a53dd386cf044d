//! Answers in good form that are not true.

use serde_json::Value;

/// What is not true of an answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Every finite sample is greater by one; every name and label value of a list ends in `_lie`.
    ChangedValues,
    /// The first series, or the first entry of a list, is left out.
    LeftOutSeries,
    /// Series, or entries, stand in reverse order.
    ReversedSeries,
    /// The first series, or entry, stands twice.
    DuplicateSeries,
    /// The samples of each series stand in reverse order.
    ReversedSamples,
}

impl Lie {
    /// The body of an API answer, changed; as it was where it is no successful answer.
    pub fn apply(self, body: &[u8]) -> Vec<u8> {
        let changed = serde_json::from_slice::<Value>(body).ok().and_then(|mut answer| {
            let data = answer.get_mut("data")?;
            let list = if data.is_array() { data } else { data.get_mut("result")? };
            self.apply_to_list(list.as_array_mut()?);
            serde_json::to_vec(&answer).ok()
        });
        changed.unwrap_or_else(|| body.to_vec())
    }

    fn apply_to_list(self, list: &mut Vec<Value>) {
        match self {
            Self::LeftOutSeries => {
                if !list.is_empty() {
                    list.remove(0);
                }
            }
            Self::ReversedSeries => list.reverse(),
            Self::DuplicateSeries => {
                if let Some(first) = list.first().cloned() {
                    list.insert(1, first);
                }
            }
            Self::ChangedValues => list.iter_mut().for_each(change_values),
            Self::ReversedSamples => {
                for samples in list.iter_mut().filter_map(|series| series.get_mut("values")?.as_array_mut()) {
                    samples.reverse();
                }
            }
        }
    }
}

fn change_values(entry: &mut Value) {
    match entry {
        Value::String(text) => text.push_str("_lie"),
        Value::Object(series) if series.contains_key("value") || series.contains_key("values") => {
            if let Some(sample) = series.get_mut("value") {
                change_sample(sample);
            }
            if let Some(samples) = series.get_mut("values").and_then(Value::as_array_mut) {
                samples.iter_mut().for_each(change_sample);
            }
        }
        Value::Object(labels) => labels.values_mut().for_each(change_values),
        _ => {}
    }
}

/// `[time, "value"]`
fn change_sample(sample: &mut Value) {
    let Some(Value::String(text)) = sample.get_mut(1) else { return };
    if let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) {
        *text = (value + 1.0).to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_changes_what_it_says() {
        let series = r#"{"data":{"result":[{"metric":{"a":"1"},"values":[[1,"1"],[2,"NaN"]]},{"metric":{"a":"2"},"values":[[1,"3"]]}],"resultType":"matrix"},"status":"success"}"#;
        for (lie, result) in [
            (
                Lie::ChangedValues,
                r#"[{"metric":{"a":"1"},"values":[[1,"2"],[2,"NaN"]]},{"metric":{"a":"2"},"values":[[1,"4"]]}]"#,
            ),
            (Lie::LeftOutSeries, r#"[{"metric":{"a":"2"},"values":[[1,"3"]]}]"#),
            (
                Lie::ReversedSeries,
                r#"[{"metric":{"a":"2"},"values":[[1,"3"]]},{"metric":{"a":"1"},"values":[[1,"1"],[2,"NaN"]]}]"#,
            ),
            (
                Lie::ReversedSamples,
                r#"[{"metric":{"a":"1"},"values":[[2,"NaN"],[1,"1"]]},{"metric":{"a":"2"},"values":[[1,"3"]]}]"#,
            ),
        ] {
            let wanted = format!(r#"{{"data":{{"result":{result},"resultType":"matrix"}},"status":"success"}}"#);
            assert_eq!(String::from_utf8_lossy(&lie.apply(series.as_bytes())), wanted, "{lie:?}");
        }
        let list = br#"{"data":["a","b"],"status":"success"}"#;
        let doubled = Lie::DuplicateSeries.apply(list);
        assert_eq!(String::from_utf8_lossy(&doubled), r#"{"data":["a","a","b"],"status":"success"}"#);
        let changed = Lie::ChangedValues.apply(list);
        assert_eq!(String::from_utf8_lossy(&changed), r#"{"data":["a_lie","b_lie"],"status":"success"}"#);
    }

    #[test]
    fn what_is_no_answer_stays_as_it_is() {
        for body in ["", "<html>", r#"{"status":"error"}"#, r#"{"data":{"result":[1,null]}}"#, "[1]"] {
            assert_eq!(Lie::ChangedValues.apply(body.as_bytes()), body.as_bytes());
            Lie::LeftOutSeries.apply(body.as_bytes());
        }
    }
}
