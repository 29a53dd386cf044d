//! Whether two answers are the same answer.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::api::{Answer, Answered, LabelSet};

/// Values may differ by this part of the larger one: the order of additions is not promised.
const RELATIVE: f64 = 1e-9;

/// At most so many differences of one answer are told.
const TOLD_MAX: usize = 6;
const LINE_CHARS_MAX: usize = 600;

/// How far the order of series counts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Instant vectors come in no order of their own.
    Free,
    /// The query sorts.
    Sorted,
}

/// What differs, line by line; empty if nothing does.
pub fn differences(expected: &Answer, got: &Answer, order: Order) -> Vec<String> {
    let mut told = match (expected, got) {
        (Answer::Failed { status, error_type, .. }, Answer::Failed { status: own, error_type: own_type, .. }) => {
            different("status and type of the error", &(status, error_type), &(own, own_type))
        }
        (Answer::Scalar(time, value), Answer::Scalar(own_time, own)) if is_near(*value, *own) => {
            different("time", time, own_time)
        }
        (Answer::Text(time, text), Answer::Text(own_time, own)) => different("text", &(time, text), &(own_time, own)),
        (Answer::Vector(expected), Answer::Vector(got)) => {
            let rows = |answer: &[(LabelSet, i64, f64)]| -> Vec<(LabelSet, Vec<(i64, f64)>)> {
                answer.iter().map(|(labels, time, value)| (labels.clone(), vec![(*time, *value)])).collect()
            };
            different_series(&rows(expected), &rows(got), order)
        }
        // A matrix is sorted by labels. Prometheus 2 forgets it where an instant query is a subquery over an aggregation, and
        // then gives it in an order that changes from run to run: so it is the gateway's that has to be sorted.
        (Answer::Matrix(expected), Answer::Matrix(got)) => {
            let mut told = different_series(expected, got, Order::Free);
            if told.is_empty() && !got.is_sorted_by(|a, b| a.0 <= b.0) {
                let labels: Vec<&LabelSet> = got.iter().map(|(labels, _)| labels).collect();
                told.push(format!("order: not sorted by labels: {labels:?}"));
            }
            told
        }
        (Answer::Names(expected), Answer::Names(got)) => different("names", expected, got),
        (Answer::LabelSets(expected), Answer::LabelSets(got)) => {
            let unordered = |sets: &[LabelSet]| sets.iter().map(|set| (set.clone(), Vec::new())).collect::<Vec<_>>();
            different_series(&unordered(expected), &unordered(got), Order::Free)
        }
        (expected, got) => vec![format!("expected {expected:?}, got {got:?}")],
    };
    for line in &mut told {
        if let Some((end, _)) = line.char_indices().nth(LINE_CHARS_MAX) {
            line.replace_range(end.., " …");
        }
    }
    if told.len() > TOLD_MAX {
        let more = told.len() - TOLD_MAX;
        told.truncate(TOLD_MAX);
        told.push(format!("and {more} more"));
    }
    told
}

/// Where error, warnings or infos are not the same, word by word. Of two series that should be one, 3.14.0 names the later
/// first; since then Prometheus sorts them, and so do we.
pub fn different_texts(expected: &Answered, got: &Answered) -> Vec<String> {
    let texts = |answered: &Answered| {
        let mut notes = [answered.warnings.clone(), answered.infos.clone()].concat();
        notes.sort();
        let error = match &answered.answer {
            Answer::Failed { error, .. } => match error.split_once(" hand-side of the operation: [") {
                Some((head, _)) => head.to_owned(),
                None => error.clone(),
            },
            _ => String::new(),
        };
        (error, notes)
    };
    different("texts", &texts(expected), &texts(got))
}

fn different<T: PartialEq + Debug>(what: &str, expected: &T, got: &T) -> Vec<String> {
    if expected == got { Vec::new() } else { vec![format!("{what}: expected {expected:?}, got {got:?}")] }
}

type Row = (LabelSet, Vec<(i64, f64)>);

fn different_series<'a>(expected: &'a [Row], got: &'a [Row], order: Order) -> Vec<String> {
    let by_labels = |rows: &'a [Row]| -> BTreeMap<&'a LabelSet, &'a [(i64, f64)]> {
        rows.iter().map(|(labels, samples)| (labels, samples.as_slice())).collect()
    };
    let (expected_rows, got_rows) = (by_labels(expected), by_labels(got));
    let mut told = Vec::new();
    if got_rows.len() != got.len() {
        told.push("a label set occurs twice".to_owned());
    }
    for labels in expected_rows.keys().filter(|labels| !got_rows.contains_key(*labels)) {
        told.push(format!("{labels:?} is not there"));
    }
    for labels in got_rows.keys().filter(|labels| !expected_rows.contains_key(*labels)) {
        told.push(format!("{labels:?} should not be there"));
    }
    for (labels, samples) in &expected_rows {
        if let Some(own) = got_rows.get(labels) {
            told.extend(different_samples(samples, own).into_iter().map(|text| format!("{labels:?}: {text}")));
        }
    }
    let labels = |rows: &[Row]| -> Vec<LabelSet> { rows.iter().map(|(labels, _)| labels.clone()).collect() };
    if told.is_empty() && order == Order::Sorted {
        told = different("order", &labels(expected), &labels(got));
    }
    told
}

fn different_samples(expected: &[(i64, f64)], got: &[(i64, f64)]) -> Vec<String> {
    let pairs_are_near = || expected.iter().zip(got).all(|(a, b)| a.0 == b.0 && is_near(a.1, b.1));
    if expected.len() == got.len() && pairs_are_near() {
        return Vec::new();
    }
    let (expected, got): (BTreeMap<i64, f64>, BTreeMap<i64, f64>) =
        (expected.iter().copied().collect(), got.iter().copied().collect());
    let times: std::collections::BTreeSet<i64> = expected.keys().chain(got.keys()).copied().collect();
    let differs = |time: &i64| match (expected.get(time), got.get(time)) {
        (Some(value), Some(own)) => !is_near(*value, *own),
        _ => true,
    };
    let wrong: Vec<i64> = times.iter().copied().filter(differs).collect();
    wrong.first().map_or_else(Vec::new, |first| {
        let (value, own) = (expected.get(first), got.get(first));
        vec![format!("{} of {} steps, first at {first}: expected {value:?}, got {own:?}", wrong.len(), times.len())]
    })
}

/// Equal, both NaN, or so near that only the order of additions can be the reason.
fn is_near(expected: f64, got: f64) -> bool {
    if expected.is_nan() || got.is_nan() {
        return expected.is_nan() && got.is_nan();
    }
    let is_finite = expected.is_finite() && got.is_finite();
    expected == got || is_finite && (expected - got).abs() <= RELATIVE * expected.abs().max(got.abs())
}

#[test]
fn every_difference_is_told() {
    let labels = |name: &str| LabelSet::from([("__name__".to_owned(), name.to_owned())]);
    let matrix = |rows: &[(&str, &[(i64, f64)])]| {
        Answer::Matrix(rows.iter().map(|(name, samples)| (labels(name), samples.to_vec())).collect())
    };
    let nan = f64::NAN;
    let expected = matrix(&[("a", &[(1, 1.0), (2, nan)]), ("b", &[(1, f64::INFINITY)])]);
    for (got, difference_count) in [
        (matrix(&[("a", &[(1, 1.0 + 1e-10), (2, nan)]), ("b", &[(1, f64::INFINITY)])]), 0),
        (matrix(&[("a", &[(1, 1.0 + 1e-8), (2, nan)]), ("b", &[(1, f64::INFINITY)])]), 1),
        (matrix(&[("a", &[(1, 1.0), (2, 0.0)]), ("b", &[(1, f64::MAX)])]), 2),
        (matrix(&[("a", &[(1, 1.0)]), ("b", &[(1, f64::INFINITY), (2, 1.0)])]), 2),
        (matrix(&[("b", &[(1, f64::INFINITY)]), ("a", &[(1, 1.0), (2, nan)])]), 1),
        (matrix(&[("a", &[(1, 1.0), (2, nan)]), ("c", &[(1, f64::INFINITY)])]), 2),
        (matrix(&[]), 2),
        (Answer::Scalar(1, 1.0), 1),
    ] {
        assert_eq!(differences(&expected, &got, Order::Free).len(), difference_count, "{got:?}");
    }
    let failed = |status, error_type: &str| Answer::Failed {
        status,
        error_type: error_type.to_owned(),
        error: "in other words".to_owned(),
    };
    for (got, is_same) in
        [(failed(422, "execution"), true), (failed(503, "execution"), false), (failed(422, "timeout"), false)]
    {
        assert_eq!(differences(&failed(422, "execution"), &got, Order::Free).is_empty(), is_same);
    }
    for (got, is_same) in
        [(Answer::Scalar(1, nan), true), (Answer::Scalar(2, nan), false), (Answer::Scalar(1, 1.0), false)]
    {
        assert_eq!(differences(&Answer::Scalar(1, nan), &got, Order::Free).is_empty(), is_same);
    }
}
