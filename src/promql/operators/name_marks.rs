//! Marks of names that go at the end, across the series of a group.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::record_batch::RecordBatch;

use super::{Grouping, SeriesOperator, Table};
use crate::error::Error;
use crate::model::COLUMN_LABELS;
use crate::promql::functions::labels::LabelSelection;

/// Rows as they are, but all rows of a group are marked or none is. A group is marked if at the last step at which it has a
/// sample any series with a sample there is marked.
///
/// Source: Prometheus v3.14 promql/engine.go aggregation, `dropName`, which each step sets anew.
#[derive(Debug)]
pub struct UniteNameMarks {
    /// The labels that make a group.
    pub grouping: LabelSelection,
    /// Steps a row.
    pub step_count: usize,
}

impl SeriesOperator for UniteNameMarks {
    fn describe(&self) -> String {
        format!("unite_name_marks {}", self.grouping.describe())
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        if (0..table.row_count()).all(|row| !table.labels(row).is_name_dropped()) {
            return table.whole();
        }
        let grouping = Grouping::by(table, &self.grouping);
        let marked: Vec<bool> = grouping.rows.iter().map(|rows| self.is_marked(table, rows)).collect();
        let mut labels = BinaryBuilder::with_capacity(table.row_count(), 0);
        let mut bytes = Vec::new();
        for (row, group) in grouping.group_of_row.iter().enumerate() {
            bytes.clear();
            match marked[*group] {
                true => table.labels(row).write_with_name_dropped(&mut bytes),
                false => bytes.extend_from_slice(table.labels(row).without_mark().as_bytes()),
            }
            labels.append_value(&bytes);
        }
        with_labels(&table.whole()?, Arc::new(labels.finish()))
    }
}

impl UniteNameMarks {
    fn is_marked(&self, table: &Table, rows: &[usize]) -> bool {
        let has_sample = |row: &usize, step: usize| table.is_present(*row, step);
        let last = (0..self.step_count).rev().find(|step| rows.iter().any(|row| has_sample(row, *step)));
        last.is_some_and(|step| {
            rows.iter().any(|row| table.labels(*row).is_name_dropped() && has_sample(row, step)) //
        })
    }
}

/// The same rows under other labels.
fn with_labels(batch: &RecordBatch, labels: ArrayRef) -> Result<RecordBatch, Error> {
    let schema = batch.schema();
    let (at, _) =
        schema.column_with_name(COLUMN_LABELS).ok_or_else(|| Error::internal("a table has no column of labels"))?;
    let mut columns = batch.columns().to_vec();
    columns[at] = labels;
    RecordBatch::try_new(schema, columns).map_err(|error| Error::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LabelNames, Labels, StepsTableBuilder};

    /// Rows are `(job, name is dropped, cells)`, with `_` for no sample. Gives the marks after the operator, grouped by job.
    fn marks(rows: &[(&str, bool, &str)]) -> Vec<bool> {
        let step_count = rows[0].2.split_whitespace().count();
        let mut builder = StepsTableBuilder::new(step_count);
        for (job, dropped, cells) in rows {
            cells.split_whitespace().for_each(|cell| builder.push_cell(cell.parse().ok()));
            let labels = Labels::from_pairs([("__name__", "x"), ("job", job)]).encode();
            let labels = if *dropped { labels.with_name_dropped() } else { labels };
            builder.finish_series(labels.as_bytes());
        }
        let operator = UniteNameMarks { grouping: LabelSelection::Keep(LabelNames::new(["job"])), step_count };
        let input = Table::try_new(builder.finish()).expect("a steps table");
        let output = operator.evaluate(&[input]).and_then(Table::try_new).expect("a steps table");
        (0..rows.len()).map(|row| output.labels(row).is_name_dropped()).collect()
    }

    #[test]
    fn one_marked_series_marks_its_group() {
        assert_eq!(marks(&[("a", false, "1"), ("a", true, "2"), ("b", false, "3")]), [true, true, false]);
        assert_eq!(marks(&[("a", false, "1"), ("b", false, "3")]), [false, false]);
    }

    #[test]
    fn only_the_last_step_with_a_sample_decides() {
        assert_eq!(marks(&[("a", true, "1 1 _ _"), ("a", false, "1 1 1 _")]), [false, false]);
        assert_eq!(marks(&[("a", true, "_ _ 1 _"), ("a", false, "1 1 1 _")]), [true, true]);
        assert_eq!(marks(&[("a", true, "_ _"), ("a", true, "_ _")]), [false, false]);
    }
}
