//! The label sets of whole tables of samples or of steps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::record_batch::RecordBatch;

use super::{Rewrites, Route};
use crate::error::Error;
use crate::model::{COLUMN_LABELS, CompiledMatchers, EncodedLabelsBuilder, LabelsRef};

impl Rewrites {
    /// All tables of a bucket with the label sets of the answer, without the rows that do not match what was asked for. The
    /// others keep their order, which need not be sorted any more.
    ///
    /// One list, unless several series have become the same: then each list has every series at most once, and the lists are to
    /// be merged as those of replicas. Rows that were pieces of one series stay in one list.
    pub(in super::super) fn rewrite_answer(
        &self,
        tables: Vec<RecordBatch>,
        route: &Route,
    ) -> Result<Vec<Vec<RecordBatch>>, Error> {
        if self.origins.is_identity() {
            return Ok(vec![tables]);
        }
        let (mut stored, mut rewritten) = (Vec::with_capacity(tables.len()), Vec::with_capacity(tables.len()));
        for table in tables {
            // What the servers know of the series is kept in a column beside the new labels until both are filtered.
            let stored_labels = labels_of(&table)?;
            let table = self.with_new_labels(table)?;
            let Some(recheck) = &route.recheck else {
                stored.push(stored_labels);
                rewritten.push(table);
                continue;
            };
            let matching = matching_rows(&table, recheck)?;
            let kept = arrow::compute::filter(&stored_labels, &matching).map_err(internal)?;
            stored.push(kept.as_any().downcast_ref::<BinaryArray>().cloned().ok_or_else(|| internal("no bytes"))?);
            rewritten.push(filter_record_batch(&table, &matching).map_err(internal)?);
        }
        part_by_stored_series(rewritten, &stored)
    }

    /// The same rows with the label sets of the answer.
    pub(super) fn with_new_labels(&self, table: RecordBatch) -> Result<RecordBatch, Error> {
        if self.origins.is_identity() {
            return Ok(table);
        }
        let labels = labels_of(&table)?;
        let mut written = BinaryBuilder::with_capacity(labels.len(), 2 * labels.value_data().len());
        let mut set = EncodedLabelsBuilder::default();
        for bytes in labels.iter().flatten() {
            self.origins.write(LabelsRef::new(bytes), &mut set);
            written.append_value(set.finish().map_err(internal)?);
        }
        with_labels(&table, written.finish())
    }
}

/// The table with other labels.
pub(super) fn with_labels(table: &RecordBatch, labels: BinaryArray) -> Result<RecordBatch, Error> {
    let (at, _) = table.schema_ref().column_with_name(COLUMN_LABELS).ok_or_else(|| internal("no labels"))?;
    let mut columns: Vec<ArrayRef> = table.columns().to_vec();
    columns[at] = Arc::new(labels);
    RecordBatch::try_new(table.schema(), columns).map_err(internal)
}

/// The labels column.
pub(super) fn labels_of(table: &RecordBatch) -> Result<BinaryArray, Error> {
    let labels = table.column_by_name(COLUMN_LABELS).ok_or_else(|| internal("no labels"))?;
    labels.as_any().downcast_ref::<BinaryArray>().cloned().ok_or_else(|| internal("labels are no bytes"))
}

pub(super) fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("table from a downstream: {error}"))
}

fn matching_rows(table: &RecordBatch, recheck: &CompiledMatchers) -> Result<BooleanArray, Error> {
    let labels = labels_of(table)?;
    Ok(labels.iter().map(|bytes| bytes.map(|bytes| recheck.match_labels(LabelsRef::new(bytes)))).collect())
}

/// Where a row is: table, row.
type Place = (usize, usize);

fn part_by_stored_series(tables: Vec<RecordBatch>, stored: &[BinaryArray]) -> Result<Vec<Vec<RecordBatch>>, Error> {
    let labels = tables.iter().map(labels_of).collect::<Result<Vec<_>, _>>()?;
    let new = |(table, row): Place| labels[table].value(row);
    let old = |(table, row): Place| stored[table].value(row);
    let mut places: Vec<Place> =
        labels.iter().enumerate().flat_map(|(table, labels)| (0..labels.len()).map(move |row| (table, row))).collect();
    places.sort_by(|a, b| (new(*a), old(*a)).cmp(&(new(*b), old(*b))));
    let mut lists: Vec<Vec<Place>> = Vec::new();
    for same in places.chunk_by(|a, b| new(*a) == new(*b)) {
        for (list, pieces) in same.chunk_by(|a, b| old(*a) == old(*b)).enumerate() {
            if lists.len() == list {
                lists.push(Vec::new());
            }
            lists[list].extend_from_slice(pieces);
        }
    }
    if lists.len() <= 1 {
        return Ok(vec![tables]);
    }
    let tables: Vec<&RecordBatch> = tables.iter().collect();
    let gathered = lists.iter().map(|list| gather(&tables, list).map(|table| vec![table]));
    gathered.collect()
}

/// The rows at these places as one table.
pub(super) fn gather(tables: &[&RecordBatch], places: &[Place]) -> Result<RecordBatch, Error> {
    interleave_record_batch(tables, places).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::super::label_origins::tests::labels;
    use super::super::tests::rewrites;
    use super::*;
    use crate::model::{Labels, MatchOp, Matcher, SamplesTable, SamplesTableBuilder, StepsTableBuilder};

    /// One row a label set; its sample is its number.
    fn table(sets: &[&str]) -> RecordBatch {
        let mut builder = SamplesTableBuilder::default();
        for (number, set) in sets.iter().enumerate() {
            builder.push_sample(number as i64, number as f64);
            builder.finish_series(labels(set).encode().as_bytes());
        }
        builder.finish()
    }

    fn rows(table: &RecordBatch) -> Vec<(Labels, i64)> {
        let view = SamplesTable::try_new(table).expect("a samples table");
        (0..view.row_count()).map(|row| (view.labels(row).to_labels(), view.series(row).0[0])).collect()
    }

    fn expected(rows: &[(&str, i64)]) -> Vec<(Labels, i64)> {
        rows.iter().map(|(set, number)| (labels(set), *number)).collect()
    }

    fn route(rewrites: &Rewrites, matchers: &[Matcher]) -> Route {
        rewrites.route(matchers).expect("good patterns").expect("may match")
    }

    /// Where nothing becomes the same.
    fn rewritten(rewrites: &Rewrites, tables: Vec<RecordBatch>, matchers: &[Matcher]) -> Vec<RecordBatch> {
        let lists = rewrites.rewrite_answer(tables, &route(rewrites, matchers)).expect("tables");
        let [list] = lists.try_into().expect("one list");
        list
    }

    #[test]
    fn rows_get_the_labels_of_the_answer_and_those_that_do_not_match_go() {
        let own = rewrites("sg=eu", "lowercase a b", &[]);
        let stored = table(&["a=A", "a=Bee", "c=1", "d=1 sg=old"]);
        let all = rewritten(&own, vec![stored.clone()], &[]);
        let every = expected(&[("a=A b=a sg=eu", 0), ("a=Bee b=bee sg=eu", 1), ("c=1 sg=eu", 2), ("d=1 sg=eu", 3)]);
        assert_eq!(rows(&all[0]), every);
        let some = rewritten(&own, vec![stored], &[Matcher::new("b", MatchOp::Regex, "[^a].*")]);
        assert_eq!(rows(&some[0]), expected(&[("a=Bee b=bee sg=eu", 1)]));
    }

    #[test]
    fn every_kind_of_table_is_rewritten() {
        let own = rewrites("sg=eu", "", &[]);
        let (up, expected) = (labels("__name__=up").encode(), labels("__name__=up sg=eu").encode());
        let mut steps = StepsTableBuilder::timed(1);
        steps.push_timed_cell(Some((1.0, 1)));
        steps.finish_series(up.as_bytes());
        for table in [steps.finish(), table(&["__name__=up"])] {
            let rewritten = rewritten(&own, vec![table.clone()], &[]);
            assert_eq!(labels_of(&rewritten[0]).expect("labels").value(0), expected.as_bytes());
            assert_eq!(rewritten[0].columns()[1..], table.columns()[1..]);
        }
    }

    #[test]
    fn series_of_one_server_that_become_the_same_are_parted_and_pieces_are_not() {
        let own = rewrites("", "labeldrop r", &[]);
        let tables = vec![table(&["a=1 r=y", "a=2 r=x"]), table(&["a=1 r=x", "a=1 r=x", "a=3"])];
        let lists = own.rewrite_answer(tables, &route(&own, &[])).expect("tables");
        let lists: Vec<_> = lists.iter().map(|tables| tables.iter().flat_map(rows).collect::<Vec<_>>()).collect();
        assert_eq!(lists, [expected(&[("a=1", 0), ("a=1", 1), ("a=2", 1), ("a=3", 2)]), expected(&[("a=1", 0)])]);
    }

    #[test]
    fn answers_without_equal_series_stay_as_they_came() {
        let tables = vec![table(&["a=1 r=y", "a=2 r=x"]), table(&["a=3", "a=3"])];
        for (rules, first) in [("", "a=1 r=y"), ("labeldrop r", "a=1")] {
            let own = rewrites("", rules, &[]);
            let list = rewritten(&own, tables.clone(), &[]);
            assert_eq!(list.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2]);
            assert_eq!(rows(&list[0])[0].0, labels(first));
        }
        let own = rewrites("", "lowercase a b, labeldrop r", &[]);
        let none = own.rewrite_answer(tables, &route(&own, &[Matcher::equal("b", "4")])).expect("tables");
        assert_eq!(none.iter().flatten().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
}
