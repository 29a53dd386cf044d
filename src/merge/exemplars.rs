//! What many servers tell of the exemplars of series.

use crate::model::{Exemplar, ExemplarSet, SeriesExemplars};

/// The union of many answers, as one Prometheus tells it: series by labels, exemplars of a series by time, then value, then
/// labels. An exemplar that several servers have is there once; where they differ, in time by however little, it is several.
pub fn unite_exemplars(answers: impl IntoIterator<Item = ExemplarSet>) -> ExemplarSet {
    let mut all: Vec<SeriesExemplars> = Vec::new();
    let mut held = Vec::new();
    for answer in answers {
        all.extend(answer.series);
        held.extend(answer.held);
    }
    // Servers sort their answers: the stable sort merges such runs.
    all.sort_by(|a, b| a.series.cmp(&b.series));
    let mut series: Vec<SeriesExemplars> = Vec::with_capacity(all.len());
    for next in all {
        match series.last_mut() {
            Some(last) if last.series == next.series => last.exemplars.extend(next.exemplars),
            _ => series.push(next),
        }
    }
    for one in &mut series {
        one.exemplars.sort_by(compare);
        one.exemplars.dedup_by(|a, b| compare(a, b).is_eq());
    }
    series.retain(|one| !one.exemplars.is_empty());
    ExemplarSet { series, held }
}

/// As Prometheus v3.14 model/exemplar Compare, with a place for NaN.
fn compare(a: &Exemplar, b: &Exemplar) -> std::cmp::Ordering {
    let by_value = a.value.total_cmp(&b.value);
    a.timestamp.cmp(&b.timestamp).then(by_value).then_with(|| a.labels.cmp(&b.labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, TimestampMs};

    /// `a: 1@5 x, 2@7 y; b: …` as an answer: series, then value, time and trace of each exemplar.
    fn answer(text: &str) -> ExemplarSet {
        let series_of = |text: &str| {
            let (name, exemplars) = text.split_once(':').expect("a series");
            let exemplar = |text: &str| {
                let (value, rest) = text.trim().split_once('@').expect("a value");
                let (time, trace) = rest.split_once(' ').expect("a time");
                Exemplar {
                    labels: Labels::from_pairs([("trace", trace)]),
                    value: value.parse().expect("a number"),
                    timestamp: TimestampMs(time.parse().expect("a number")),
                }
            };
            let exemplars = exemplars.split(',').filter(|text| !text.trim().is_empty()).map(exemplar).collect();
            SeriesExemplars { series: Labels::from_pairs([("__name__", name.trim())]), exemplars }
        };
        ExemplarSet { series: text.split(';').filter(|s| !s.is_empty()).map(series_of).collect(), held: Vec::new() }
    }

    fn told(set: &ExemplarSet) -> String {
        let of_series = |one: &SeriesExemplars| {
            let exemplar =
                |e: &Exemplar| format!("{}@{} {}", e.value, e.timestamp.0, e.labels.get("trace").unwrap_or(""));
            let exemplars: Vec<String> = one.exemplars.iter().map(exemplar).collect();
            format!("{}: {}", one.series.get("__name__").unwrap_or(""), exemplars.join(", "))
        };
        set.series.iter().map(of_series).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn an_exemplar_of_several_servers_is_there_once() {
        for (answers, united) in [
            (&["a: 1@5 x, 2@7 y", "a: 1@5 x, 2@7 y"][..], "a: 1@5 x, 2@7 y"),
            (&["a: 1@5 x", "a: 2@7 y"], "a: 1@5 x, 2@7 y"),
            (&["a: 2@7 y", "a: 1@5 x, 3@9 z"], "a: 1@5 x, 2@7 y, 3@9 z"),
            (&["b: 1@5 x;a: 1@5 x", "a: 1@5 x"], "a: 1@5 x; b: 1@5 x"),
            // A millisecond apart, or of another value or trace: others.
            (&["a: 1@5 x", "a: 1@6 x"], "a: 1@5 x, 1@6 x"),
            (&["a: 2@5 x", "a: 1@5 x"], "a: 1@5 x, 2@5 x"),
            (&["a: 1@5 y", "a: 1@5 x"], "a: 1@5 x, 1@5 y"),
            (&["a: NaN@5 x", "a: NaN@5 x"], "a: NaN@5 x"),
            // One server says the same twice, or has nothing to say of a series.
            (&["a: 1@5 x, 1@5 x;b:"], "a: 1@5 x"),
            (&["", ""], ""),
        ] {
            let united_set = unite_exemplars(answers.iter().map(|text| answer(text)));
            assert_eq!(told(&united_set), united, "{answers:?}");
        }
    }
}
