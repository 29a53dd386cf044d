//! The info series that `info()` reads: who is who, and which is the newest at each step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::record_batch::RecordBatch;

use super::Table;
use crate::error::Error;
use crate::kernels::{RangeWindows, align_to_steps_timed};
use crate::model::{
    COLUMN_VALUES, CompiledMatchers, DurationMs, LabelNames, Labels, LabelsRef, METRIC_NAME, MatchOp, Matcher,
    SamplesTable, StepGrid, StepsTable, stale_marker,
};

/// The labels that say what a series is about. Source: Prometheus v3.14 promql/info.go identifyingLabels.
const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];

/// A list of alternatives longer than this is not sent to the servers: everything is asked for instead, and picked here.
const PATTERN_BYTES_MAX: usize = 16 << 10;

/// The values of the identifying labels that occur among the series to be described.
#[derive(Debug, Default)]
pub struct Identities([BTreeSet<String>; 2]);

impl Identities {
    /// Of all series that have a sample and are no info series themselves.
    pub fn of(table: &Table, is_info: &CompiledMatchers) -> Self {
        let mut identities = Self::default();
        for row in (0..table.row_count()).filter(|row| table.has_cell(*row)) {
            let labels = table.labels(row);
            if is_info.match_labels(labels) {
                continue;
            }
            for (values, name) in identities.0.iter_mut().zip(IDENTIFYING_LABELS) {
                if let Some(value) = labels.get(name).filter(|value| !values.contains(value.as_ref())) {
                    values.insert(value.into_owned());
                }
            }
        }
        identities
    }

    /// Is there nothing to be described?
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
    }

    /// What an info series must match to describe any of the series, as far as a server should be told.
    pub fn matchers(&self) -> Vec<Matcher> {
        let named = self.0.iter().zip(IDENTIFYING_LABELS).filter(|(values, _)| !values.is_empty());
        named.map(|(values, name)| one_of(name, values)).collect()
    }

    /// Does a series match, in whichever way it was asked for? A label that none of the others has does not matter.
    fn admit(&self, labels: LabelsRef<'_>) -> bool {
        self.0.iter().zip(IDENTIFYING_LABELS).all(|(values, name)| {
            values.is_empty() || labels.get(name).is_some_and(|value| values.contains(value.as_ref()))
        })
    }

    /// The identity of a series: its identifying labels.
    pub fn key(labels: LabelsRef<'_>, names: &LabelNames) -> Vec<u8> {
        let mut key = Vec::new();
        labels.write_keeping(names, &mut key);
        key
    }

    /// The names for [`Identities::key`].
    pub fn names() -> LabelNames {
        LabelNames::new(IDENTIFYING_LABELS)
    }
}

fn one_of(name: &str, values: &BTreeSet<String>) -> Matcher {
    if let (Some(only), 1) = (values.first(), values.len()) {
        return Matcher::equal(name, only);
    }
    let mut pattern = String::new();
    for value in values {
        if !pattern.is_empty() {
            pattern.push('|');
        }
        quote_pattern(value, &mut pattern);
        if pattern.len() > PATTERN_BYTES_MAX {
            return Matcher::new(name, MatchOp::NotEqual, "");
        }
    }
    Matcher::new(name, MatchOp::Regex, pattern)
}

/// The pattern that matches exactly this text.
fn quote_pattern(text: &str, out: &mut String) {
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
}

/// At each step a series, and the time of its sample.
type NewestByStep = Vec<Option<(usize, i64)>>;

/// The newest info series of each metric and identity, step by step.
#[derive(Debug, Default)]
pub struct InfoSeries {
    labels: Vec<Labels>,
    /// Identity → metric name → what is newest.
    newest: HashMap<Vec<u8>, BTreeMap<String, NewestByStep>>,
}

impl InfoSeries {
    /// Reads what a source answered. At steps that are not `wanted` nothing is looked at. Two series of one metric and
    /// identity with samples of the same time are an error, and so is a histogram.
    ///
    /// Source: Prometheus v3.14 promql/info.go combineWithInfoVector, promql/engine.go evalSeries.
    pub fn read(
        batch: &RecordBatch,
        identities: &Identities,
        reference: StepGrid,
        lookback: DurationMs,
        wanted: &[bool],
    ) -> Result<Self, Error> {
        let mut all = Self::default();
        let names = Identities::names();
        if batch.column_by_name(COLUMN_VALUES).is_some() {
            let table = StepsTable::try_new(batch)?;
            for row in (0..table.row_count()).filter(|row| identities.admit(table.labels(*row))) {
                if table.histograms().row_len(row) > 0 {
                    return Err(no_info_metric(table.labels(row)));
                }
                let time_at = |step| Some(table.sample_time(row, step).unwrap_or(reference.time(step).0));
                let times = (0..table.step_count()).map(|step| table.cell(row, step).and_then(|_| time_at(step)));
                all.add(table.labels(row), times, &names, wanted)?;
            }
        } else {
            let table = SamplesTable::try_new(batch)?;
            for row in (0..table.row_count()).filter(|row| identities.admit(table.labels(*row))) {
                let times = visible_times(&table, row, reference, lookback)?;
                all.add(table.labels(row), times.into_iter(), &names, wanted)?;
            }
        }
        Ok(all)
    }

    fn add(
        &mut self,
        labels: LabelsRef<'_>,
        times: impl Iterator<Item = Option<i64>>,
        names: &LabelNames,
        wanted: &[bool],
    ) -> Result<(), Error> {
        let own = self.labels.len();
        self.labels.push(labels.to_labels());
        let metric = labels.get(METRIC_NAME).unwrap_or_default().into_owned();
        let metrics = self.newest.entry(Identities::key(labels, names)).or_default();
        let steps = metrics.entry(metric).or_insert_with(|| vec![None; wanted.len()]);
        for ((newest, time), _) in steps.iter_mut().zip(times).zip(wanted).filter(|(_, wanted)| **wanted) {
            let Some(time) = time else { continue };
            match *newest {
                Some((existing, at)) if at == time => {
                    let (existing, own) = (&self.labels[existing], &self.labels[own]);
                    return Err(Error::execution(format!(
                        "found duplicate series for info metric: existing {existing} @ {at}, new {own} @ {time}"
                    )));
                }
                Some((_, at)) if at > time => {}
                _ => *newest = Some((own, time)),
            }
        }
        Ok(())
    }

    /// The info series of an identity at a step, one of each metric, by the metrics' names.
    pub fn at(&self, identity: &[u8], step: usize) -> impl Iterator<Item = usize> {
        let metrics = self.newest.get(identity).into_iter().flat_map(BTreeMap::values);
        metrics.filter_map(move |steps| steps.get(step).copied().flatten()).map(|(series, _)| series)
    }

    /// The labels of a series.
    pub fn labels(&self, series: usize) -> &Labels {
        &self.labels[series]
    }
}

/// At each step the time of the newest sample that is not too old and no stale marker.
fn visible_times(
    table: &SamplesTable<'_>,
    row: usize,
    reference: StepGrid,
    lookback: DurationMs,
) -> Result<Vec<Option<i64>>, Error> {
    let windows = RangeWindows {
        first_end_ms: reference.start().0,
        end_step_ms: reference.step().0,
        first_eval_ms: reference.start().0,
        eval_step_ms: reference.step().0,
        step_count: reference.step_count(),
        range_ms: lookback.0,
    };
    let mut seen = Vec::with_capacity(reference.step_count());
    let (times, values) = table.series(row);
    if table.histograms().row_len(row) == 0 {
        align_to_steps_timed(times, values, &windows, |cell| seen.push(cell.map(|(_, time)| time)));
        return Ok(seen);
    }
    // A histogram that a step would see is 1, a number is 0.
    let number = |(time, value): (&i64, &f64)| (*time, if crate::model::is_stale(*value) { *value } else { 0.0 });
    let mut samples: Vec<(i64, f64)> = times.iter().zip(values).map(number).collect();
    for item in table.histograms().row(row)? {
        samples.push((item.at, if item.histogram.is_stale_marker() { stale_marker() } else { 1.0 }));
    }
    samples.sort_by_key(|(time, _)| *time);
    let (times, kinds): (Vec<i64>, Vec<f64>) = samples.into_iter().unzip();
    let mut sees_histogram = false;
    align_to_steps_timed(&times, &kinds, &windows, |cell| {
        sees_histogram |= cell.is_some_and(|(kind, _)| kind == 1.0);
        seen.push(cell.map(|(_, time)| time));
    });
    if sees_histogram { Err(no_info_metric(table.labels(row))) } else { Ok(seen) }
}

fn no_info_metric(labels: LabelsRef<'_>) -> Error {
    Error::execution(format!("this should be an info metric, with float samples: {labels}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_an_equality_and_several_are_alternatives_word_by_word() {
        let of = |values: &[&str]| one_of("job", &values.iter().map(|value| (*value).to_owned()).collect()).to_string();
        assert_eq!(of(&["a.b"]), r#"job="a.b""#);
        assert_eq!(of(&["b", "a.b", "x|(y)"]), r#"job=~"a\\.b|b|x\\|\\(y\\)""#);
    }

    #[test]
    fn too_many_values_are_picked_here() {
        let values = (0..4_000).map(|index| format!("host-{index:06}")).collect();
        assert_eq!(one_of("instance", &values).to_string(), r#"instance!="""#);
    }

    #[test]
    fn a_quoted_pattern_matches_its_text_and_nothing_else() {
        for text in ["a.b", "1+1", "x|y", "[a]", "(a)", "a{2}", "^a$", r"a\b", "ü*", "a b\n", "-&~#"] {
            let mut pattern = String::new();
            quote_pattern(text, &mut pattern);
            let matcher = Matcher::new("a", MatchOp::Regex, &pattern).compile().expect("a pattern");
            assert!(matcher.matches(text) && !matcher.matches("aab") && !matcher.matches("x"), "{text}");
        }
    }
}
