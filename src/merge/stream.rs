//! Replicas' sorted streams into one, series by series, while they arrive.

use std::collections::VecDeque;

use arrow::array::{Array, BinaryArray};
use arrow::record_batch::RecordBatch;

use super::row_index::labels_column;
use super::tables::check_form;
use super::{MergePolicy, MergedTables, ReplicaTables, TableForm, merge_tables};
use crate::error::Error;
use crate::model::LabelsRef;

/// Merges tables of several replicas as they come, each replica's sorted by labels with each label set once. What is due is
/// merged as soon as every replica that goes on has shown a later label set, and then freed. A pure state machine: who has
/// the tables calls [`push`](Self::push), [`end`](Self::end) and [`fail`](Self::fail), and takes what is
/// [`ready`](Self::take_ready).
///
/// With every table comes a `G`, dropped with the last of its rows: permits, memory reservations.
#[derive(Debug)]
pub struct StreamMerge<G> {
    form: TableForm,
    policy: MergePolicy,
    replicas: Vec<Replica<G>>,
}

#[derive(Debug)]
struct Replica<G> {
    name: String,
    tables: VecDeque<(RecordBatch, G)>,
    /// The label set of the last row that came.
    last: Option<Vec<u8>>,
    goes_on: bool,
}

/// What is due, merged as the batches are taken.
#[derive(Debug)]
pub struct ReadyTables<G> {
    merged: MergedTables,
    _guards: Vec<G>,
}

impl<G> Iterator for ReadyTables<G> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merged.next()
    }
}

impl<G> StreamMerge<G> {
    /// A merge of replicas with these names (for error texts), none of which has sent anything.
    pub fn new(form: TableForm, policy: MergePolicy, names: impl IntoIterator<Item = String>) -> Self {
        let replica = |name| Replica { name, tables: VecDeque::new(), last: None, goes_on: true };
        Self { form, policy, replicas: names.into_iter().map(replica).collect() }
    }

    /// The next table of a replica. An error where it is of another form or its rows do not ascend: the replica is to be
    /// [failed](Self::fail) then, and nothing of the table is taken.
    pub fn push(&mut self, replica: usize, table: RecordBatch, guard: G) -> Result<(), Error> {
        check_form(self.form, &table)?;
        let own = &mut self.replicas[replica];
        let labels = labels_column(&table)?;
        check_ascending(own.last.as_deref(), &labels)?;
        if !labels.is_empty() {
            own.last = Some(labels.value(labels.len() - 1).to_vec());
            own.tables.push_back((table, guard));
        }
        Ok(())
    }

    /// A replica has sent all that it has.
    pub fn end(&mut self, replica: usize) {
        self.replicas[replica].goes_on = false;
    }

    /// A replica will send no more. What it sent are whole series: they stay.
    pub fn fail(&mut self, replica: usize) {
        self.end(replica);
    }

    /// The replicas without whose next table nothing can be merged.
    pub fn wanted(&self) -> impl Iterator<Item = usize> + '_ {
        let waits_for = |replica: &Replica<G>| replica.goes_on && replica.tables.is_empty();
        self.replicas.iter().enumerate().filter(move |(_, replica)| waits_for(replica)).map(|(at, _)| at)
    }

    /// All series that no replica can add anything to any more. `None` while a table is [wanted](Self::wanted), or when there
    /// is nothing left.
    pub fn take_ready(&mut self) -> Result<Option<ReadyTables<G>>, Error> {
        if self.wanted().next().is_some() {
            return Ok(None);
        }
        let going_on = self.replicas.iter().filter(|replica| replica.goes_on);
        let bound = going_on.filter_map(|replica| replica.last.clone()).min();
        let mut guards = Vec::new();
        let mut due = Vec::with_capacity(self.replicas.len());
        for replica in &mut self.replicas {
            let batches = replica.take_up_to(bound.as_deref(), &mut guards)?;
            due.push(ReplicaTables { name: replica.name.clone(), batches });
        }
        if due.iter().all(|replica| replica.batches.is_empty()) {
            return Ok(None);
        }
        let merged = merge_tables(self.form, due, self.policy)?;
        Ok(Some(ReadyTables { merged, _guards: guards }))
    }
}

impl<G> Replica<G> {
    /// Takes the rows whose label sets are not behind `bound`; all rows where there is none.
    fn take_up_to(&mut self, bound: Option<&[u8]>, guards: &mut Vec<G>) -> Result<Vec<RecordBatch>, Error> {
        let mut taken = Vec::new();
        while let Some((table, guard)) = self.tables.pop_front() {
            let labels = labels_column(&table)?;
            let due = bound.map_or(labels.len(), |bound| rows_up_to(&labels, bound));
            if due == labels.len() {
                taken.push(table);
                guards.push(guard);
                continue;
            }
            if due > 0 {
                taken.push(table.slice(0, due));
            }
            self.tables.push_front((table.slice(due, labels.len() - due), guard));
            break;
        }
        Ok(taken)
    }
}

/// How many rows at the front have label sets that are not behind `bound`.
fn rows_up_to(labels: &BinaryArray, bound: &[u8]) -> usize {
    let (mut from, mut to) = (0, labels.len());
    while from < to {
        let middle = from + (to - from) / 2;
        if labels.value(middle) <= bound { from = middle + 1 } else { to = middle }
    }
    from
}

fn check_ascending<'a>(mut last: Option<&'a [u8]>, labels: &'a BinaryArray) -> Result<(), Error> {
    for row in 0..labels.len() {
        let own = labels.value(row);
        if let Some(last) = last
            && last >= own
        {
            let (own, last) = (LabelsRef::new(own), LabelsRef::new(last));
            return Err(Error::execution(format!("its series are not in order: {own} came behind {last}")));
        }
        last = Some(own);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Labels, SamplesTable, SamplesTableBuilder};

    const FORM: TableForm = TableForm::Samples;

    fn policy() -> MergePolicy {
        MergePolicy { anti_affinity_ms: 10, ..MergePolicy::default() }
    }

    /// One row a series: `j=<number>` with samples at these times.
    fn table(rows: &[(u32, Vec<i64>)]) -> RecordBatch {
        let mut builder = SamplesTableBuilder::default();
        for (series, times) in rows {
            times.iter().for_each(|time| builder.push_sample(*time, *time as f64 + f64::from(*series)));
            builder.finish_series(Labels::from_pairs([("j", format!("{series:05}"))]).encode().as_bytes());
        }
        builder.finish()
    }

    fn rows(batches: &[RecordBatch]) -> Vec<(String, Vec<i64>)> {
        let rows = |batch| {
            let table = SamplesTable::try_new(batch).expect("a samples table");
            let row = move |row| (table.labels(row).to_string(), table.series(row).0.to_vec());
            (0..table.row_count()).map(row).collect::<Vec<_>>()
        };
        batches.iter().flat_map(rows).collect()
    }

    fn drain<G>(merge: &mut StreamMerge<G>, into: &mut Vec<RecordBatch>) {
        while let Some(ready) = merge.take_ready().expect("merges") {
            into.extend(ready.map(|batch| batch.expect("merges")));
        }
    }

    fn two() -> StreamMerge<Arc<()>> {
        StreamMerge::new(FORM, policy(), ["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn what_no_replica_can_add_to_comes_out_and_is_freed() {
        let (mut merge, mut out) = (two(), Vec::new());
        let guard = Arc::new(());
        assert_eq!(merge.wanted().collect::<Vec<_>>(), [0, 1]);
        merge.push(0, table(&[(1, vec![1]), (3, vec![1])]), Arc::clone(&guard)).expect("in order");
        drain(&mut merge, &mut out);
        assert_eq!((merge.wanted().collect::<Vec<_>>(), out.len()), (vec![1], 0));
        merge.push(1, table(&[(1, vec![50]), (2, vec![1])]), Arc::clone(&guard)).expect("in order");
        drain(&mut merge, &mut out);
        let expected = [(r#"{j="00001"}"#, vec![1, 50]), (r#"{j="00002"}"#, vec![1])];
        assert_eq!(rows(&out), expected.map(|(labels, times)| (labels.to_owned(), times)));
        assert_eq!(Arc::strong_count(&guard), 2, "series 3 is still held");
        merge.end(1);
        merge.end(0);
        drain(&mut merge, &mut out);
        assert_eq!(rows(&out).len(), 3);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn a_failed_replica_holds_nothing_up_and_its_whole_series_stay() {
        let (mut merge, mut out) = (two(), Vec::new());
        merge.push(0, table(&[(1, vec![1]), (2, vec![1])]), Arc::default()).expect("in order");
        merge.fail(0);
        merge.push(1, table(&[(2, vec![50])]), Arc::default()).expect("in order");
        merge.end(1);
        drain(&mut merge, &mut out);
        assert_eq!(rows(&out).iter().map(|(_, times)| times.len()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn rows_that_do_not_ascend_are_refused_and_not_taken() {
        for second in [vec![(2, vec![1])], vec![(1, vec![1])], vec![(3, vec![1]), (3, vec![2])]] {
            let mut merge = two();
            merge.push(0, table(&[(2, vec![1])]), Arc::default()).expect("in order");
            let error = merge.push(0, table(&second), Arc::default()).expect_err("not in order");
            assert!(error.message().starts_with("its series are not in order: {j="), "{error}");
            merge.fail(0);
            merge.end(1);
            let mut out = Vec::new();
            drain(&mut merge, &mut out);
            assert_eq!(rows(&out).len(), 1);
        }
    }

    prop_compose! {
        /// What a replica sends: tables of ascending series.
        fn sent()(series in prop::collection::btree_map(0u32..30, prop::collection::btree_set(0i64..200, 1..6), 0..20),
                  cuts in prop::collection::vec(1usize..5, 20)) -> Vec<RecordBatch> {
            let mut rows: Vec<(u32, Vec<i64>)> =
                series.into_iter().map(|(series, times)| (series, times.into_iter().collect())).collect();
            let mut tables = Vec::new();
            for cut in cuts {
                let rest = rows.split_off(cut.min(rows.len()));
                tables.push(table(&rows));
                rows = rest;
            }
            tables.push(table(&rows));
            tables
        }
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(replicas in prop::collection::vec(sent(), 1..4),
                                               turns in prop::collection::vec(0usize..4, 0..80)) {
            let names: Vec<String> = (0..replicas.len()).map(|at| at.to_string()).collect();
            let whole: Vec<ReplicaTables> = replicas.iter().zip(&names)
                .map(|(batches, name)| ReplicaTables { name: name.clone(), batches: batches.clone() }).collect();
            let expected: Vec<RecordBatch> =
                merge_tables(FORM, whole, policy()).expect("merges").map(|batch| batch.expect("merges")).collect();
            let mut merge = StreamMerge::new(FORM, policy(), names);
            let mut left: Vec<VecDeque<RecordBatch>> = replicas.into_iter().map(VecDeque::from).collect();
            let mut out = Vec::new();
            let rest = (0..left.len()).flat_map(|replica| std::iter::repeat_n(replica, 30));
            for turn in turns.into_iter().chain(rest) {
                let Some(tables) = left.get_mut(turn) else { continue };
                match tables.pop_front() {
                    Some(table) => merge.push(turn, table, ()).expect("in order"),
                    None => merge.end(turn),
                }
                drain(&mut merge, &mut out);
            }
            prop_assert_eq!(rows(&out), rows(&expected));
        }
    }
}
