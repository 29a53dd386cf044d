//! `limitk` and `limit_ratio`: a part of the series of each group, whatever their values.

use arrow::record_batch::RecordBatch;

use super::top::Parameter;
use super::{Grouping, SeriesOperator, Table};
use crate::error::Error;
use crate::kernels::{heap_order, parse_k_per_step};
use crate::model::{Annotation, AnnotationSink, StepsTableBuilder, labels_hash};
use crate::promql::functions::labels::LabelSelection;
use crate::promql::functions::range::format_go_g;
use crate::syntax::Span;

/// Which part of a group stays.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The first k series that have a sample.
    Count,
    /// The series whose hash falls into a part of all hashes.
    Ratio,
}

/// Keeps samples of some series of each group at each step. Source: Prometheus v3.14 promql/engine.go `aggregationK`.
#[derive(Debug)]
pub struct Limit {
    /// Which part.
    pub kind: LimitKind,
    /// k, or the ratio: r ≥ 0 takes hashes below r, r < 0 takes those from 1 + r on.
    pub parameter: Parameter,
    /// Where the parameter stands in the query.
    pub parameter_span: Span,
    /// The labels that make a group.
    pub grouping: LabelSelection,
    /// Steps a row.
    pub step_count: usize,
    /// Who is told of a ratio outside of -1..1.
    pub annotations: AnnotationSink,
}

impl SeriesOperator for Limit {
    fn describe(&self) -> String {
        let name = match self.kind {
            LimitKind::Count => "limitk",
            LimitKind::Ratio => "limit_ratio",
        };
        format!("{name} {} {}", self.parameter.describe(), self.grouping.describe())
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let parameters = self.parameter.values(inputs, self.step_count)?;
        let kept = match self.kind {
            LimitKind::Count => first_of_groups(table, &Grouping::by(table, &self.grouping), &parameters)?,
            LimitKind::Ratio => self.by_ratio(table, &parameters)?,
        };
        if self.step_count == 1 {
            return in_heap_order(table, &Grouping::by(table, &self.grouping), &kept);
        }
        let mut builder = StepsTableBuilder::new(self.step_count);
        for row in 0..table.row_count() {
            for step in 0..self.step_count {
                let keep = kept[row * self.step_count + step];
                builder.push_sample(table.sample(row, step).filter(|_| keep));
            }
            builder.finish_series(table.labels(row).as_bytes());
        }
        Ok(builder.finish())
    }
}

impl Limit {
    fn by_ratio(&self, table: &Table, ratios: &[f64]) -> Result<Vec<bool>, Error> {
        let (least, most) = bounds(ratios);
        if ratios.iter().any(|ratio| ratio.is_nan()) {
            return Err(Error::execution("Ratio value is NaN"));
        }
        if most > 1.0 {
            self.note_capped(most, "1");
        }
        if least < -1.0 {
            self.note_capped(least, "-1");
        }
        let mut kept = vec![false; table.row_count() * self.step_count];
        for row in 0..table.row_count() {
            // A hash as a part of all hashes, rounded as a float rounds.
            let place = labels_hash(table.labels(row)) as f64 / u64::MAX as f64;
            for (step, ratio) in ratios.iter().enumerate() {
                kept[row * self.step_count + step] = is_in_ratio(place, ratio.clamp(-1.0, 1.0));
            }
        }
        Ok(kept)
    }

    fn note_capped(&self, ratio: f64, bound: &str) {
        let got = format_go_g(ratio);
        let text = format!("ratio value should be between -1 and 1, got {got}, capping to {bound}");
        self.annotations.add(Annotation::promql_warning(text, self.parameter_span.clone()));
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(*value), most.max(*value)))
}

/// Does a series stay whose hash lies at `place`, 0 ≤ place ≤ 1? r and r - 1 are complements.
fn is_in_ratio(place: f64, ratio: f64) -> bool {
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// The first k of each group that have a sample at a step, in the order of the table.
fn first_of_groups(table: &Table, grouping: &Grouping, parameters: &[f64]) -> Result<Vec<bool>, Error> {
    let step_count = parameters.len();
    let mut kept = vec![false; table.row_count() * step_count];
    for (step, k) in parse_k_per_step(parameters).map_err(Error::execution)?.into_iter().enumerate() {
        for rows in &grouping.rows {
            for row in rows.iter().filter(|row| table.is_present(**row, step)).take(k) {
                kept[*row * step_count + step] = true;
            }
        }
    }
    Ok(kept)
}

/// The kept rows of an instant query: group by group, inside of a group as Prometheus' heap has them.
fn in_heap_order(table: &Table, grouping: &Grouping, kept: &[bool]) -> Result<RecordBatch, Error> {
    let mut order = Vec::new();
    for rows in &grouping.rows {
        // A histogram stands where a 0 would.
        let present = |row: &usize| {
            let value = table.cell(*row, 0).unwrap_or(0.0);
            (kept[*row] && table.is_present(*row, 0)).then_some((*row, value))
        };
        let (rows, values): (Vec<usize>, Vec<f64>) = rows.iter().filter_map(present).unzip();
        order.extend(heap_order(&values).into_iter().map(|at| rows[at]));
    }
    table.take(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_complement_divide_all_series() {
        for place in [0.0, 0.2, 0.25, 0.5, 0.999, 1.0] {
            for ratio in [0.25, 0.5, 0.75] {
                assert_ne!(is_in_ratio(place, ratio), is_in_ratio(place, ratio - 1.0), "{place} {ratio}");
            }
            assert!(!is_in_ratio(place, 0.0) && is_in_ratio(place, -1.0), "{place}");
        }
        // As in Prometheus, a hash that rounds to the very end is not even in the whole.
        assert!(is_in_ratio(0.999, 1.0) && !is_in_ratio(1.0, 1.0));
    }
}
