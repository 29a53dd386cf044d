//! `sort(v)` and `sort_desc(v)` of an instant query.

use std::cmp::Ordering;

use arrow::record_batch::RecordBatch;

use super::{SeriesOperator, Table};
use crate::error::Error;

/// Orders rows by their one number; NaN goes last in both directions. Rows without a number fall out.
#[derive(Debug)]
pub struct SortVector {
    /// Largest first.
    pub descending: bool,
}

impl SeriesOperator for SortVector {
    fn describe(&self) -> String {
        if self.descending { "sort_desc" } else { "sort" }.to_owned()
    }

    fn step_count(&self) -> usize {
        1
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        // Histograms have no order: as in Prometheus they fall out.
        let mut rows: Vec<usize> = (0..table.row_count()).filter(|row| table.cell(*row, 0).is_some()).collect();
        rows.sort_by(|a, b| {
            let (a, b) = (table.cell(*a, 0).unwrap_or(f64::NAN), table.cell(*b, 0).unwrap_or(f64::NAN));
            a.is_nan().cmp(&b.is_nan()).then_with(|| {
                let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
                if self.descending { order.reverse() } else { order }
            })
        });
        table.take(rows)
    }
}

/// `sort_by_label(v, labels…)`: rows by the values of the named labels in natural order, then by all labels.
#[derive(Debug)]
pub struct SortByLabel {
    /// The labels, the most important first.
    pub labels: Vec<String>,
    /// Largest first.
    pub descending: bool,
}

impl SeriesOperator for SortByLabel {
    fn describe(&self) -> String {
        let name = if self.descending { "sort_by_label_desc" } else { "sort_by_label" };
        format!("{name} {}", self.labels.join(","))
    }

    fn step_count(&self) -> usize {
        1
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let mut rows: Vec<usize> = (0..table.row_count()).collect();
        rows.sort_by(|a, b| {
            let (a, b) = (table.labels(*a), table.labels(*b));
            let by_label = self
                .labels
                .iter()
                .map(|name| natural_order(&a.get(name).unwrap_or_default(), &b.get(name).unwrap_or_default()));
            let order =
                by_label.fold(Ordering::Equal, Ordering::then).then_with(|| a.without_mark().cmp(&b.without_mark()));
            if self.descending { order.reverse() } else { order }
        });
        table.take(rows)
    }
}

/// Runs of digits compare as numbers, everything else byte by byte: `a2 < a10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (number_a, rest_a) = split_number(a);
                let (number_b, rest_b) = split_number(b);
                let by_value = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
                // Numbers of equal value but different zeros in front: fewer digits first.
                let by_digits = (a.len() - rest_a.len()).cmp(&(b.len() - rest_b.len()));
                match by_value.then(by_digits) {
                    Ordering::Equal => (a, b) = (rest_a, rest_b),
                    order => return order,
                }
            }
            (Some(x), Some(y)) if x != y => return x.cmp(y),
            _ => (a, b) = (&a[1..], &b[1..]),
        }
    }
}

/// The digits at the front without leading zeros, and what follows them.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = text[..digits].iter().take_while(|byte| **byte == b'0').count();
    (&text[zeros..digits], &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_digits_compare_as_numbers() {
        for (smaller, larger) in [("a2", "a10"), ("", "a"), ("1", "01"), ("a1b2", "a1b10"), ("abc", "abd"), ("9", "a")]
        {
            assert_eq!(natural_order(smaller, larger), Ordering::Less, "{smaller} {larger}");
            assert_eq!(natural_order(larger, smaller), Ordering::Greater, "{larger} {smaller}");
        }
    }
}
