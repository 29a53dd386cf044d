//! At most one series per label set.

use std::collections::HashMap;
use std::fmt::Write;

use arrow::record_batch::RecordBatch;

use super::{SeriesOperator, Table};
use crate::error::Error;
use crate::model::StepsTableBuilder;

/// What happens to rows with equal labels.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// Two rows with any samples are an error, as after a range function.
    Refuse,
    /// Rows without a common step become one series; a common step is an error.
    GlueDisjoint,
    /// Nothing: the end of the query looks at them.
    Keep,
}

/// The check that Prometheus makes wherever label sets may have become equal. Marked and unmarked rows of the same labels are
/// equal; the one that has the first sample decides whether their series is marked.
#[derive(Debug)]
pub struct UniqueSeries {
    /// Steps a row.
    pub step_count: usize,
    /// The rule.
    pub duplicates: Duplicates,
}

/// Prometheus' text for two samples of one label set at one step.
pub fn same_labelset() -> Error {
    Error::execution("vector cannot contain metrics with the same labelset")
}

impl SeriesOperator for UniqueSeries {
    fn describe(&self) -> String {
        let mut text = String::from("unique_series");
        match self.duplicates {
            Duplicates::Refuse => write!(text, " (refuse duplicates)").expect("a String takes everything"),
            Duplicates::Keep => write!(text, " (keep duplicates)").expect("a String takes everything"),
            Duplicates::GlueDisjoint => {}
        }
        text
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        if self.duplicates == Duplicates::Keep {
            return Ok(table.batch().clone());
        }
        let mut first_row: HashMap<&[u8], usize> = HashMap::with_capacity(table.row_count());
        let mut series: Vec<Vec<usize>> = Vec::with_capacity(table.row_count());
        let mut repeated = false;
        for row in (0..table.row_count()).filter(|row| table.has_cell(*row)) {
            let index = *first_row.entry(table.labels(row).without_mark().as_bytes()).or_insert(series.len());
            if index == series.len() {
                series.push(vec![row]);
            } else if self.duplicates == Duplicates::Refuse {
                return Err(same_labelset());
            } else {
                series[index].push(row);
                repeated = true;
            }
        }
        if !repeated {
            return Ok(table.batch().clone());
        }
        let mut builder = StepsTableBuilder::new(self.step_count);
        for rows in &series {
            let mut first = None;
            for step in 0..self.step_count {
                first = first.or_else(|| rows.iter().find(|row| table.is_present(**row, step)));
                let mut cells = rows.iter().filter_map(|row| table.sample(*row, step));
                builder.push_sample(cells.next());
                if cells.next().is_some() {
                    return Err(same_labelset());
                }
            }
            builder.finish_series(table.labels(*first.unwrap_or(&rows[0])).as_bytes());
        }
        Ok(builder.finish())
    }
}
