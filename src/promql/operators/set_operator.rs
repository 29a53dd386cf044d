//! `and`, `or`, `unless`.

use arrow::record_batch::RecordBatch;

use super::unique_series::{Duplicates, UniqueSeries};
use super::{Grouping, SeriesOperator, Table};
use crate::error::Error;
use crate::model::StepsTableBuilder;
use crate::promql::functions::labels::LabelSelection;

/// Which set operator.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SetOperatorKind {
    /// Left samples whose match group has a right sample.
    And,
    /// All left samples, and right ones whose match group has no left sample.
    Or,
    /// Left samples whose match group has no right sample.
    Unless,
}

/// A set operator; who matches whom is decided at each step.
#[derive(Debug)]
pub struct SetOperator {
    /// Which one.
    pub kind: SetOperatorKind,
    /// The labels that make a match group.
    pub matching: LabelSelection,
    /// What becomes of a label set that `or` takes from both sides.
    pub duplicates: Duplicates,
    /// Steps a row.
    pub step_count: usize,
}

impl SeriesOperator for SetOperator {
    fn describe(&self) -> String {
        format!("{:?} {}", self.kind, self.matching.describe()).to_lowercase()
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let (left, right) = (&inputs[0], &inputs[1]);
        let mut builder = StepsTableBuilder::new(self.step_count);
        match self.kind {
            SetOperatorKind::And => self.write_masked(left, right, Wanted::Present, &mut builder),
            SetOperatorKind::Unless => self.write_masked(left, right, Wanted::Absent, &mut builder),
            SetOperatorKind::Or => {
                for row in 0..left.row_count() {
                    (0..self.step_count).for_each(|step| builder.push_sample(left.sample(row, step)));
                    builder.finish_series(left.labels(row).as_bytes());
                }
                self.write_masked(right, left, Wanted::Absent, &mut builder);
                // The same label set may come from both sides, at different steps.
                let unique = UniqueSeries { step_count: self.step_count, duplicates: self.duplicates };
                return unique.evaluate(&[Table::try_new(builder.finish())?]);
            }
        }
        Ok(builder.finish())
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Wanted {
    Present,
    Absent,
}

impl SetOperator {
    /// Writes the cells of `table` at steps where its match group has (or has not) a sample in `other`.
    fn write_masked(&self, table: &Table, other: &Table, wanted: Wanted, builder: &mut StepsTableBuilder) {
        let grouping = Grouping::by(other, &self.matching);
        let groups = grouping.index();
        let presence: Vec<Vec<bool>> = grouping
            .rows
            .iter()
            .map(|rows| (0..self.step_count).map(|step| rows.iter().any(|row| other.is_present(*row, step))).collect())
            .collect();
        let mut key = Vec::new();
        for row in 0..table.row_count() {
            key.clear();
            self.matching.write(table.labels(row), &mut key);
            let present = groups.get(key.as_slice()).map(|group| &presence[*group]);
            let keep = |step: usize| present.is_some_and(|steps| steps[step]) == (wanted == Wanted::Present);
            if table.histograms(row).is_empty() {
                (0..self.step_count).for_each(|step| builder.push_cell(table.cell(row, step).filter(|_| keep(step))));
            } else {
                (0..self.step_count)
                    .for_each(|step| builder.push_sample(table.sample(row, step).filter(|_| keep(step))));
            }
            builder.finish_series(table.labels(row).as_bytes());
        }
    }
}
