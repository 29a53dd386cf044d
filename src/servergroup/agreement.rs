//! Do replicas say the same?

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::SamplesTable;

/// Two values are the same up to this, relative to the larger: servers may add in another order.
const RELATIVE_DIFFERENCE_MAX: f64 = 1e-12;

/// Steps of a series with their values, by labels.
type Answer = BTreeMap<Vec<u8>, Vec<(i64, f64)>>;

/// Have both answers the same series, at the same steps, with the same values? Each is samples tables whose times are steps,
/// in any order. What differs is told of the first series that does.
pub(super) fn find_difference(a: &[RecordBatch], b: &[RecordBatch]) -> Result<Option<String>, Error> {
    let (a, b) = (read(a)?, read(b)?);
    let labels = |bytes: &[u8]| crate::model::LabelsRef::new(bytes).to_string();
    for (key, one) in &a {
        let Some(other) = b.get(key) else { return Ok(Some(format!("only one has {}", labels(key)))) };
        if one.len() != other.len() || one.iter().zip(other).any(|(one, other)| !is_same(*one, *other)) {
            return Ok(Some(format!("they differ in {}", labels(key))));
        }
    }
    let only_there = b.keys().find(|key| !a.contains_key(*key));
    Ok(only_there.map(|key| format!("only one has {}", labels(key))))
}

fn read(tables: &[RecordBatch]) -> Result<Answer, Error> {
    let mut answer = Answer::new();
    for batch in tables {
        let rows = SamplesTable::try_new(batch)?;
        for row in 0..rows.row_count() {
            let (times, values) = rows.series(row);
            if !times.is_empty() {
                let cells = answer.entry(rows.labels(row).as_bytes().to_vec()).or_default();
                cells.extend(times.iter().copied().zip(values.iter().copied()));
            }
        }
    }
    answer.values_mut().for_each(|cells| cells.sort_by_key(|(time, _)| *time));
    Ok(answer)
}

fn is_same((a_time, a): (i64, f64), (b_time, b): (i64, f64)) -> bool {
    let difference = (a - b).abs();
    let close = difference.is_finite() && difference <= RELATIVE_DIFFERENCE_MAX * a.abs().max(b.abs());
    a_time == b_time && (a == b || close || (a.is_nan() && b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, SamplesTableBuilder};

    fn answer(series: &[(&str, &[(i64, f64)])]) -> RecordBatch {
        let mut builder = SamplesTableBuilder::default();
        for (value, cells) in series {
            cells.iter().for_each(|(time, value)| builder.push_sample(*time, *value));
            builder.finish_series(Labels::from_pairs([("a", *value)]).encode().as_bytes());
        }
        builder.finish()
    }

    fn check(a: &[(&str, &[(i64, f64)])], b: &[(&str, &[(i64, f64)])], expected: Option<&str>) {
        for (a, b) in [(a, b), (b, a)] {
            let found = find_difference(&[answer(a)], &[answer(b)]).expect("samples tables");
            assert_eq!(found.as_deref(), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn replicas_agree_on_series_steps_and_values() {
        let one: &[(&str, &[(i64, f64)])] = &[("1", &[(10, 1.0), (20, f64::NAN)]), ("2", &[(10, 0.0)])];
        check(one, one, None);
        check(one, &[("2", &[(10, -0.0)]), ("1", &[(10, 1.0 + 1e-14), (20, f64::NAN)])], None);
        check(one, &one[..1], Some("only one has {a=\"2\"}"));
        check(&one[..1], &[("1", &[(10, 1.0)])], Some("they differ in {a=\"1\"}"));
        check(&one[..1], &[("1", &[(10, 1.0), (30, f64::NAN)])], Some("they differ in {a=\"1\"}"));
        check(&one[..1], &[("1", &[(10, 1.0 + 1e-9), (20, f64::NAN)])], Some("they differ in {a=\"1\"}"));
        check(&[("1", &[(10, f64::INFINITY)])], &[("1", &[(10, f64::NEG_INFINITY)])], Some("they differ in {a=\"1\"}"));
        check(&[("1", &[])], &[], None);
    }

    #[test]
    fn a_series_in_two_pieces_is_one_series() {
        let pieces = [answer(&[("1", &[(20, 2.0)])]), answer(&[("1", &[(10, 1.0)])])];
        let whole = [answer(&[("1", &[(10, 1.0), (20, 2.0)])])];
        assert_eq!(find_difference(&pieces, &whole), Ok(None));
    }
}
