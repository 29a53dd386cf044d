//! Keeps a stream sorted while its label sets are rewritten.
//!
//! Labels that are added to every series keep the order, but for label sets that other ones go on from: `{a}` sorts before
//! `{a,b}`, but `{a,sg}` behind `{a,b,sg}`. So a row waits for as long as the rows behind it go on from its stored labels, and
//! no more than a chain of such rows is ever held back.

use arrow::array::BinaryArray;
use arrow::record_batch::RecordBatch;

use super::Rewrites;
use super::tables::{gather, labels_of};
use crate::error::Error;

/// So many stretches of rows are handed on uncopied; where the order changes row by row, rows are gathered.
const STRETCHES_MAX: usize = 4;

/// Why a stream cannot go on.
#[derive(Debug)]
pub(in super::super) enum ReorderError {
    /// A row belongs before one that was handed on, or became the same series as another one: a stored label was overwritten.
    /// The whole answer has to be collected and sorted; what was handed on is of no use.
    OutOfOrder,
    /// Something else is wrong.
    Failed(Error),
}

impl From<Error> for ReorderError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads batches sorted by stored labels, and gives batches sorted by the labels of the answer.
#[derive(Debug)]
pub(in super::super) struct Reorder {
    rewrites: Rewrites,
    /// Each row goes on from the one before it, and belongs before it.
    held: Vec<HeldRow>,
    /// Stored and new labels of the last row that was handed on.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug)]
struct HeldRow {
    /// Of one row, with new labels.
    batch: RecordBatch,
    stored_labels: BinaryArray,
}

/// A row of a push: the table it is in, and its number there.
type Place = (usize, usize);

impl Reorder {
    /// For answers that [keep their order](Rewrites::keeps_order) and are not checked again.
    pub(in super::super) fn new(rewrites: Rewrites) -> Self {
        Self { rewrites, held: Vec::new(), last: None }
    }

    /// Rewrites the next batch, and gives what may go on.
    pub(in super::super) fn push(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>, ReorderError> {
        if batch.num_rows() == 0 || self.rewrites.origins.is_identity() {
            return Ok(vec![batch]);
        }
        let mut pass = self.take_held()?;
        let (stored_labels, table, row_count) = (labels_of(&batch)?, pass.tables.len(), batch.num_rows());
        pass.add(self.rewrites.with_new_labels(batch)?, stored_labels)?;
        for row in 0..row_count {
            self.release_before(&mut pass, (table, row))?;
            pass.wait((table, row));
        }
        for (table, row) in std::mem::take(&mut pass.waiting).into_iter().flatten() {
            let stored_labels = pass.stored[table].slice(row, 1);
            self.held.push(HeldRow { batch: pass.tables[table].slice(row, 1), stored_labels });
        }
        Ok(pass.take_released()?)
    }

    /// What was held back.
    pub(in super::super) fn finish(&mut self) -> Result<Vec<RecordBatch>, ReorderError> {
        let mut pass = self.take_held()?;
        while let Some(pieces) = pass.waiting.pop() {
            pieces.into_iter().try_for_each(|piece| self.release(&mut pass, piece))?;
        }
        Ok(pass.take_released()?)
    }

    fn take_held(&mut self) -> Result<Pass, Error> {
        let mut pass = Pass::default();
        for row in std::mem::take(&mut self.held) {
            pass.add(row.batch, row.stored_labels)?;
            pass.wait((pass.tables.len() - 1, 0));
        }
        Ok(pass)
    }

    /// Hands the waiting rows on that belong before this one.
    fn release_before(&mut self, pass: &mut Pass, next: Place) -> Result<(), ReorderError> {
        while let Some(pieces) = pass.waiting.pop() {
            if pass.stored_labels(pieces[0]) == pass.stored_labels(next) {
                pass.waiting.push(pieces);
                return Ok(());
            }
            if pass.new_labels(pieces[0]) > pass.new_labels(next) {
                let goes_on = pass.stored_labels(next).starts_with(pass.stored_labels(pieces[0]));
                pass.waiting.push(pieces);
                return if goes_on { Ok(()) } else { Err(ReorderError::OutOfOrder) };
            }
            pieces.into_iter().try_for_each(|piece| self.release(pass, piece))?;
        }
        Ok(())
    }

    fn release(&mut self, pass: &mut Pass, place: Place) -> Result<(), ReorderError> {
        let (stored, new) = (pass.stored_labels(place), pass.new_labels(place));
        if let Some((last_stored, last_new)) = &mut self.last {
            let is_piece = || last_new == new && last_stored == stored;
            if last_new.as_slice() >= new && !is_piece() {
                return Err(ReorderError::OutOfOrder);
            }
            last_stored.clear();
            last_stored.extend_from_slice(stored);
            last_new.clear();
            last_new.extend_from_slice(new);
        } else {
            self.last = Some((stored.to_vec(), new.to_vec()));
        }
        pass.released.push(place);
        Ok(())
    }
}

/// The tables of one push, and which of their rows are where.
#[derive(Default)]
struct Pass {
    tables: Vec<RecordBatch>,
    stored: Vec<BinaryArray>,
    new: Vec<BinaryArray>,
    /// Rows of one series each; the last ones belong before all others.
    waiting: Vec<Vec<Place>>,
    released: Vec<Place>,
}

impl Pass {
    fn add(&mut self, table: RecordBatch, stored_labels: BinaryArray) -> Result<(), Error> {
        self.new.push(labels_of(&table)?);
        self.stored.push(stored_labels);
        self.tables.push(table);
        Ok(())
    }

    /// Lets a row wait, beside the pieces of its series or on top of all others.
    fn wait(&mut self, place: Place) {
        let last = self.waiting.last().map(|pieces| self.stored_labels(pieces[0]));
        let is_piece = last == Some(self.stored_labels(place));
        match self.waiting.last_mut().filter(|_| is_piece) {
            Some(pieces) => pieces.push(place),
            None => self.waiting.push(vec![place]),
        }
    }

    fn new_labels(&self, (table, row): Place) -> &[u8] {
        self.new[table].value(row)
    }

    fn stored_labels(&self, (table, row): Place) -> &[u8] {
        self.stored[table].value(row)
    }

    fn take_released(&self) -> Result<Vec<RecordBatch>, Error> {
        let follows = |a: &Place, b: &Place| a.0 == b.0 && a.1 + 1 == b.1;
        let stretches: Vec<&[Place]> = self.released.chunk_by(follows).collect();
        if stretches.len() > STRETCHES_MAX {
            return Ok(vec![gather(&self.tables.iter().collect::<Vec<_>>(), &self.released)?]);
        }
        Ok(stretches.iter().map(|rows| self.tables[rows[0].0].slice(rows[0].1, rows.len())).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::label_origins::tests::labels;
    use super::super::tests::rewrites;
    use super::*;
    use crate::model::{Labels, LabelsRef, SamplesTable, SamplesTableBuilder};

    /// The rows, sorted by labels, cut into batches; each has its number as its sample.
    fn batches(sets: &[Labels], rows_max: usize) -> Vec<RecordBatch> {
        let mut builder = SamplesTableBuilder::default();
        let mut batches = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            builder.push_sample(number as i64, number as f64);
            builder.finish_series(set.encode().as_bytes());
            if builder.row_count() == rows_max {
                batches.push(builder.finish());
            }
        }
        batches.push(builder.finish());
        batches
    }

    fn rows(batches: &[RecordBatch]) -> Vec<(Labels, i64)> {
        let rows = |batch| {
            let view = SamplesTable::try_new(batch).expect("a samples table");
            (0..view.row_count()).map(|row| (view.labels(row).to_labels(), view.series(row).0[0])).collect::<Vec<_>>()
        };
        batches.iter().flat_map(rows).collect()
    }

    fn reorder(rewrites: &Rewrites, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, ReorderError> {
        let mut reorder = Reorder::new(rewrites.clone());
        let mut all = Vec::new();
        for batch in batches {
            all.extend(reorder.push(batch)?);
        }
        all.extend(reorder.finish()?);
        Ok(all)
    }

    #[test]
    fn label_sets_move_behind_those_that_go_on_from_them() {
        let own = rewrites("sg=eu", "", &[]);
        let sets = ["a=1", "a=1 b=1", "a=1 b=1 c=1", "a=1 z=1", "a=2", "a=2 z=1"].map(labels);
        for rows_max in 1..=sets.len() {
            let sorted = reorder(&own, batches(&sets, rows_max)).expect("sorts");
            let numbers: Vec<i64> = rows(&sorted).iter().map(|(_, number)| *number).collect();
            assert_eq!(numbers, [2, 1, 0, 3, 4, 5], "{rows_max}");
        }
    }

    #[test]
    fn pieces_of_a_series_stay_together_and_in_their_order() {
        let own = rewrites("sg=eu", "", &[]);
        let sets = ["a=1", "a=1", "a=1 b=1", "a=1 b=1", "a=2"].map(labels);
        let sorted = reorder(&own, batches(&sets, 2)).expect("sorts");
        let numbers: Vec<i64> = rows(&sorted).iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [2, 3, 0, 1, 4]);
    }

    #[test]
    fn without_rewrites_batches_pass_at_once() {
        let sets = ["a=1", "a=1 b=1"].map(labels);
        let mut reorder = Reorder::new(Rewrites::default());
        assert_eq!(rows(&reorder.push(batches(&sets, 9).remove(0)).expect("passes")).len(), 2);
        assert!(reorder.finish().expect("nothing is left").is_empty());
    }

    #[test]
    fn an_overwritten_label_that_breaks_the_order_is_told() {
        let own = rewrites("sg=eu", "", &[]);
        for sets in [["a=1 sg=x z=2", "a=1 sg=y z=1"], ["a=1 sg=x", "a=1 sg=y"], ["sg=x t=2", "t=1"]] {
            let sorted = reorder(&own, batches(&sets.map(labels), 1));
            assert!(matches!(sorted, Err(ReorderError::OutOfOrder)), "{sets:?}");
        }
    }

    fn label_set(names: &'static str) -> impl Strategy<Value = Labels> {
        prop::collection::vec((names, "[12]"), 0..5).prop_map(Labels::from_pairs)
    }

    proptest! {
        #[test]
        fn a_stream_is_sorted_as_a_full_sort_would(
            added in label_set("[bdf]{1,2}"),
            sets in prop::collection::btree_set(label_set("[aceg]{1,2}"), 0..30),
            rows_max in 1usize..10,
        ) {
            let sets: Vec<Labels> = sets.into_iter().collect();
            let config = crate::config::ServerGroupConfig { labels: added, ..Default::default() };
            let own = Rewrites::new(&config.labels, &config);
            let mut expected: Vec<(Labels, i64)> =
                sets.iter().enumerate().map(|(number, set)| (own.rewrite_labels(set), number as i64)).collect();
            expected.sort();
            let sorted = reorder(&own, batches(&sets, rows_max)).expect("nothing is overwritten");
            prop_assert_eq!(rows(&sorted), expected);
        }

        #[test]
        fn where_labels_are_overwritten_a_stream_is_sorted_or_refused(
            added in label_set("[a-c]"),
            sets in prop::collection::btree_set(label_set("[a-d]"), 0..12),
            rows_max in 1usize..5,
        ) {
            let sets: Vec<Labels> = sets.into_iter().collect();
            let config = crate::config::ServerGroupConfig { labels: added, ..Default::default() };
            let own = Rewrites::new(&config.labels, &config);
            let Ok(sorted) = reorder(&own, batches(&sets, rows_max)) else { return Ok(()) };
            let rows = rows(&sorted);
            prop_assert_eq!(rows.len(), sets.len());
            prop_assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "{:?}", rows);
        }

        #[test]
        fn only_chains_are_held_back(sets in prop::collection::btree_set(label_set("[a-e]"), 0..30)) {
            let sets: Vec<Labels> = sets.into_iter().collect();
            let mut reorder = Reorder::new(rewrites("sg=eu", "", &[]));
            for batch in batches(&sets, 1) {
                reorder.push(batch).expect("nothing is overwritten");
                let labels: Vec<Vec<u8>> = reorder.held.iter().map(|row| row.stored_labels.value(0).to_vec()).collect();
                prop_assert!(labels.windows(2).all(|pair| pair[1].starts_with(&pair[0])));
                prop_assert!(labels.iter().all(|bytes| LabelsRef::try_new(bytes).is_ok()));
            }
        }
    }
}
