//! Series without the labels that tell replicas apart, in the order that they then have.
//!
//! Taking labels out moves series in the order, and that of a whole answer is known only when all of it is there. Where none of the
//! labels occurs nothing moves, so it is found out first whether any does: label names are asked for while the samples are on
//! their way already. Series that become the same stay apart, one behind the other: the samples of two replicas are not those of
//! one series, and the Querier puts them together by rules of its own.

use arrow::record_batch::RecordBatch;
use futures::StreamExt;

use crate::error::{Error, ErrorKind};
use crate::model::{AnnotationKind, Held, LabelNames, LabelsRef, MetadataRequest, QueryContext, SamplesTable};
use crate::query::CountedTables;
use crate::scan::SeriesSource;

/// What a row costs beside its labels and its table.
const ROW_BYTES: usize = size_of::<Row>();

/// The names of labels that are to go.
#[derive(Clone, Debug)]
pub(super) struct ReplicaLabels {
    names: Vec<String>,
    encoded: LabelNames,
}

/// A series of a collected answer.
#[derive(Debug)]
pub(super) struct Row {
    /// Canonical bytes without the labels that go.
    pub(super) labels: Vec<u8>,
    /// Which table.
    pub(super) table: usize,
    /// Which row of it.
    pub(super) row: usize,
}

/// A whole answer, in the order that it has without the labels.
#[derive(Debug)]
pub(super) struct Collected {
    /// What was read.
    pub(super) tables: Vec<RecordBatch>,
    /// Its series.
    pub(super) rows: Vec<Row>,
    _held: Vec<Held>,
}

impl ReplicaLabels {
    /// `None` where there are none.
    pub(super) fn new(names: &[String]) -> Option<Self> {
        (!names.is_empty()).then(|| Self { names: names.to_vec(), encoded: LabelNames::new(names) })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// Is this one of them?
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// May any of them be a label of these series? Yes, too, where that cannot be told.
    pub(super) async fn may_occur(
        &self,
        source: &dyn SeriesSource,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> bool {
        match source.label_names(request, context).await {
            Ok(names) => {
                let noted = context.annotations.snapshot();
                let is_whole = !noted.iter().any(|noted| noted.kind == AnnotationKind::Warning);
                !is_whole || names.iter().any(|name| self.has(name))
            }
            Err(_) => true,
        }
    }

    /// An error where one of them is a label of a series after all.
    pub(super) fn check_absent(&self, labels: LabelsRef<'_>) -> Result<(), Error> {
        match self.names.iter().find(|name| labels.get(name).is_some()) {
            None => Ok(()),
            Some(name) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("label {name:?} is to be left out of series, and came up only while they were sent: ask again"),
            )),
        }
    }

    /// The labels without these.
    pub(super) fn without(&self, labels: LabelsRef<'_>) -> Vec<u8> {
        let mut kept = Vec::with_capacity(labels.as_bytes().len());
        labels.write_dropping(&self.encoded, &mut kept);
        kept
    }

    /// Reads everything, and puts it in order. All of it is held, and counted.
    pub(super) async fn collect(&self, mut tables: CountedTables, context: &QueryContext) -> Result<Collected, Error> {
        let (mut batches, mut rows, mut guards) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(table) = tables.next().await {
            let (batch, held) = table?;
            guards.push(held);
            let table = SamplesTable::try_new(&batch)?;
            let bytes = (0..table.row_count()).map(|row| table.labels(row).as_bytes().len() + ROW_BYTES).sum();
            guards.push(context.hold(0, bytes)?);
            rows.extend((0..table.row_count()).map(|row| Row {
                labels: self.without(table.labels(row)),
                table: batches.len(),
                row,
            }));
            batches.push(batch);
        }
        // Series that have become the same stay in the order in which they were read.
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Collected { tables: batches, rows, _held: guards })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, SamplesTableBuilder};

    fn table(series: &[&[(&str, &str)]]) -> RecordBatch {
        let mut builder = SamplesTableBuilder::default();
        for (at, pairs) in series.iter().enumerate() {
            builder.push_sample(at as i64, at as f64);
            builder.finish_series(Labels::from_pairs(pairs.iter().copied()).encode().as_bytes());
        }
        builder.finish()
    }

    #[tokio::test]
    async fn taking_labels_out_moves_series_and_keeps_them_apart() {
        let names = ["replica".to_owned(), "absent".to_owned()];
        let replica_labels = ReplicaLabels::new(&names).expect("two");
        let context = QueryContext::new(None, 1_000);
        let tables = [
            table(&[&[("a", "1"), ("b", "2")], &[("a", "1"), ("replica", "x")]]),
            table(&[&[("a", "1"), ("replica", "y")], &[("replica", "x")]]),
        ];
        let counted: Vec<_> =
            tables.into_iter().map(|table| Ok((table.clone(), context.hold_table(&table).expect("fits")))).collect();
        let collected = replica_labels.collect(futures::stream::iter(counted).boxed(), &context).await.expect("rows");
        let rows = collected.rows.iter().map(|row| (LabelsRef::new(&row.labels).to_string(), row.table, row.row));
        let expected = [("{}", 1, 1), (r#"{a="1"}"#, 0, 1), (r#"{a="1"}"#, 1, 0), (r#"{a="1", b="2"}"#, 0, 0)];
        assert_eq!(rows.collect::<Vec<_>>(), expected.map(|(labels, table, row)| (labels.to_owned(), table, row)));
        assert!(context.budget().bytes() > 0 && context.budget().samples() == 4);
        drop(collected);
        assert_eq!((context.budget().bytes(), context.budget().samples()), (0, 0));
    }

    #[test]
    fn a_label_that_was_not_to_come_is_an_error() {
        let replica_labels = ReplicaLabels::new(&["replica".to_owned()]).expect("one");
        let check = |pairs: &[(&str, &str)]| {
            replica_labels.check_absent(Labels::from_pairs(pairs.iter().copied()).encode().as_ref())
        };
        assert!(check(&[("a", "b")]).is_ok());
        let error = check(&[("a", "b"), ("replica", "x")]).expect_err("there it is");
        assert!(error.message().starts_with("label \"replica\" is to be left out of series"), "{error}");
        assert!(ReplicaLabels::new(&[]).is_none());
    }
}
