//! At most one series per label set.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use arrow::record_batch::RecordBatch;

use super::{BatchOperator, SeriesOperator, Table};
use crate::error::Error;
use crate::model::{StepsTable, StepsTableBuilder};

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
        match self.united(&inputs[0])? {
            Some(united) => Ok(united),
            None => inputs[0].whole(),
        }
    }

    fn evaluate_batches(&self, inputs: &[Table], _late: Option<&RecordBatch>) -> Result<Vec<RecordBatch>, Error> {
        match self.united(&inputs[0])? {
            Some(united) => Ok(vec![united]),
            None => Ok(inputs[0].batches().to_vec()),
        }
    }

    /// Where nothing is glued nothing is made.
    fn working_bytes(&self, _inputs: &[Table]) -> usize {
        0
    }

    /// Only gluing has to wait for the last row.
    fn batch_by_batch(&self) -> Option<Box<dyn BatchOperator>> {
        match self.duplicates {
            Duplicates::GlueDisjoint => None,
            Duplicates::Keep => Some(Box::new(PassOn)),
            Duplicates::Refuse => Some(Box::new(RefuseRepeated::default())),
        }
    }
}

impl UniqueSeries {
    /// The table with what is glued; `None` where it stays as it is.
    fn united(&self, table: &Table) -> Result<Option<RecordBatch>, Error> {
        if self.duplicates == Duplicates::Keep {
            return Ok(None);
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
            return Ok(None);
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
        Ok(Some(builder.finish()))
    }
}

/// Everything stays.
struct PassOn;

impl BatchOperator for PassOn {
    fn next(&mut self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        Ok(batch)
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// Fails at the second row of a label set that has samples. Of the rows before it keeps the labels alone.
///
/// As long as labels ascend nothing has to be looked up; they mostly do, for rows come sorted and lose only their name.
#[derive(Default)]
struct RefuseRepeated {
    /// The labels of all rows, one behind the other, and where each ends.
    labels: Vec<u8>,
    ends: Vec<usize>,
    /// The same as a set, once they no longer ascend.
    seen: Option<HashSet<Box<[u8]>>>,
}

impl RefuseRepeated {
    fn row(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.labels[start..self.ends[index]]
    }

    fn add(&mut self, labels: &[u8]) -> Result<(), Error> {
        if self.seen.is_none() {
            let ascends = self.ends.len().checked_sub(1).is_none_or(|last| self.row(last) < labels);
            if ascends {
                self.labels.extend_from_slice(labels);
                self.ends.push(self.labels.len());
                return Ok(());
            }
            self.seen = Some((0..self.ends.len()).map(|index| Box::from(self.row(index))).collect());
            self.labels = Vec::new();
        }
        match self.seen.get_or_insert_default().insert(Box::from(labels)) {
            true => Ok(()),
            false => Err(same_labelset()),
        }
    }
}

impl BatchOperator for RefuseRepeated {
    fn next(&mut self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        let table = StepsTable::try_new(&batch)?;
        for row in (0..table.row_count()).filter(|row| table.has_step(*row)) {
            self.add(table.labels(row).without_mark().as_bytes())?;
        }
        Ok(batch)
    }

    fn bytes(&self) -> usize {
        // A label set of a hundred bytes, its place in the set, and what the allocator adds.
        let set = self.seen.as_ref().map_or(0, |seen| seen.capacity() * (16 + 1 + 112));
        self.labels.capacity() + self.ends.capacity() * size_of::<usize>() + set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    /// Rows are a label value and their cells, `_` for no sample.
    fn batch(rows: &[(&str, &str)]) -> RecordBatch {
        let mut builder = StepsTableBuilder::new(2);
        for (value, cells) in rows {
            cells.split_whitespace().for_each(|cell| builder.push_cell(cell.parse().ok()));
            builder.finish_series(Labels::from_pairs([("a", *value)]).encode().as_bytes());
        }
        builder.finish()
    }

    /// Gives how many rows came out before the end or the error.
    fn streamed(batches: &[RecordBatch]) -> Result<usize, usize> {
        let operator = UniqueSeries { step_count: 2, duplicates: Duplicates::Refuse };
        let mut stream = operator.batch_by_batch().expect("it streams");
        let mut rows = 0;
        for batch in batches {
            rows += stream.next(batch.clone()).map_err(|_| rows)?.num_rows();
        }
        Ok(rows)
    }

    #[test]
    fn a_repeated_label_set_is_refused_wherever_it_stands() {
        let abc = batch(&[("a", "1 _"), ("b", "1 1"), ("c", "_ 1")]);
        let none = batch(&[("c", "_ _"), ("a", "_ _"), ("d", "_ _")]);
        let more = batch(&[("d", "1 1"), ("f", "1 1"), ("e", "1 1"), ("aa", "1 1")]);
        for (batches, expected) in [
            (vec![abc.clone(), more.clone()], Ok(7)),
            (vec![more.clone(), abc.clone()], Ok(7)),
            (vec![abc.clone(), none.clone(), more.clone()], Ok(10)),
            (vec![abc.clone(), abc.clone()], Err(3)),
            (vec![abc.clone(), more.clone(), batch(&[("c", "_ 2")])], Err(7)),
            (vec![abc.clone(), more.clone(), batch(&[("e", "_ 2")])], Err(7)),
            (vec![batch(&[("c", "1 _"), ("a", "1 _"), ("b", "1 _"), ("a", "_ 1")])], Err(0)),
            (vec![none.clone(), none, abc], Ok(9)),
        ] {
            assert_eq!(streamed(&batches), expected, "{batches:?}");
        }
    }

    #[test]
    fn gluing_waits_and_makes_nothing_where_nothing_repeats() {
        let operator = UniqueSeries { step_count: 2, duplicates: Duplicates::GlueDisjoint };
        assert!(operator.batch_by_batch().is_none());
        let batches = |parts: &[RecordBatch]| {
            let table = Table::of_batches(&parts[0].schema(), parts.to_vec()).expect("steps tables");
            operator.evaluate_batches(&[table], None).map_err(|error| error.message().to_owned())
        };
        let (first, second) = (batch(&[("a", "1 _")]), batch(&[("b", "1 1")]));
        assert_eq!(batches(&[first.clone(), second.clone()]), Ok(vec![first.clone(), second.clone()]));
        let glued = batches(&[first.clone(), second.clone(), batch(&[("a", "_ 2")])]);
        assert_eq!(glued, Ok(vec![batch(&[("a", "1 2"), ("b", "1 1")])]));
        assert_eq!(batches(&[first.clone(), second, first]), Err(same_labelset().message().to_owned()));
    }
}
