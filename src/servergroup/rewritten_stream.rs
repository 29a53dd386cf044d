//! The merged series of a bucket with the labels that its rewrites give them, sorted again.
//!
//! | rewrites | how |
//! |---|---|
//! | none | the stream passes |
//! | added labels | sorted as it streams; where a stored label is overwritten and that cannot be done, the query begins anew |
//! | relabel rules | collected, and sorted; series that have become the same are merged as if they were replicas |

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use futures::stream::{self, StreamExt};

use super::fanout::GroupName;
use super::rewrite::{Reorder, ReorderError, Rewrites, Route};
use crate::error::{Error, ErrorKind};
use crate::merge::{MergePolicy, ReplicaTables, TableForm, merge_tables, sort_replica};
use crate::model::{Held, QueryContext, SeriesStream, held_tables};

/// What is to become of one merged stream.
pub(super) struct Rewriting {
    pub group: GroupName,
    pub rewrites: Rewrites,
    pub route: Route,
    pub form: TableForm,
    /// For series that have become the same.
    pub policy: MergePolicy,
    /// Of the bucket: has an order been broken before?
    pub breaks_order: Arc<AtomicBool>,
    pub context: QueryContext,
}

impl Rewriting {
    /// May several series become the same and have to be merged? Then it matters whose sample is newer.
    pub(super) fn may_merge(&self) -> bool {
        self.rewrites.merges_series() || (self.rewrites.changes_answers() && !self.streams())
    }

    fn streams(&self) -> bool {
        let is_trusted = self.context.stream_order.is_trusted() && !self.breaks_order.load(Ordering::Relaxed);
        self.rewrites.keeps_order() && is_trusted
    }

    /// The stream with the labels of the answer, sorted by them, each label set once.
    pub(super) fn apply(self, merged: SeriesStream) -> SeriesStream {
        if !self.rewrites.changes_answers() {
            return merged;
        }
        if self.streams() {
            return self.reordered(merged);
        }
        stream::once(self.collected(merged))
            .flat_map(|tables| match tables {
                Ok(tables) => held_tables(tables).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    fn reordered(self, merged: SeriesStream) -> SeriesStream {
        let reorder = Reorder::new(self.rewrites.clone());
        let state = Some((self, merged, reorder, VecDeque::new()));
        let tables = stream::try_unfold(state, |state| async move {
            let Some((own, mut merged, mut reorder, mut ready)) = state else { return Ok(None) };
            loop {
                if let Some(table) = ready.pop_front() {
                    return Ok(Some((table, Some((own, merged, reorder, ready)))));
                }
                let Some(table) = merged.next().await.transpose()? else {
                    ready.extend(reorder.finish().map_err(|error| own.cannot_go_on(error))?);
                    let last = ready.pop_front();
                    return Ok(last.map(|table| (table, Some((own, stream::empty().boxed(), reorder, ready)))));
                };
                ready.extend(reorder.push(table).map_err(|error| own.cannot_go_on(error))?);
            }
        });
        tables.boxed()
    }

    /// The query is to begin anew, and to trust no order. Later ones know from the start.
    fn cannot_go_on(&self, error: ReorderError) -> Error {
        match error {
            ReorderError::Failed(error) => error,
            ReorderError::OutOfOrder => {
                self.breaks_order.store(true, Ordering::Relaxed);
                self.context.stream_order.note_broken();
                let text =
                    "an added label overwrites a stored one, and the series are not in order any more; ask again";
                Error::new(ErrorKind::Unavailable, format!("{}: {text}", self.group))
            }
        }
    }

    async fn collected(self, mut merged: SeriesStream) -> Result<Vec<(RecordBatch, Held)>, Error> {
        let (mut tables, mut held) = (Vec::new(), Vec::new());
        while let Some(table) = merged.next().await.transpose()? {
            held.push(self.context.hold_table(&table)?);
            tables.push(table);
        }
        let mut lists = self.rewrites.rewrite_answer(tables, &self.route)?;
        let sorted = match lists.pop() {
            Some(only) if lists.is_empty() => sort_replica(self.form, only)?,
            last => self.merge_same(lists.into_iter().chain(last).collect())?,
        };
        drop(held);
        sorted.into_iter().map(|table| Ok((table.clone(), self.context.hold_table(&table)?))).collect()
    }

    fn merge_same(&self, lists: Vec<Vec<RecordBatch>>) -> Result<Vec<RecordBatch>, Error> {
        let replica =
            |batches| ReplicaTables { name: format!("{}: series that have become the same", self.group), batches };
        merge_tables(self.form, lists.into_iter().map(replica).collect(), self.policy)?.collect()
    }
}
