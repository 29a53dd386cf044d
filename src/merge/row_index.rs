//! The rows of many tables in the order of their label sets.

use arrow::array::{Array, BinaryArray};
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::COLUMN_LABELS;

/// Where a row is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct RowPlace {
    pub table: u32,
    pub row: u32,
}

/// Every row of every table, sorted by label set and, for equal sets, by table. 8 bytes a row.
#[derive(Debug)]
pub(super) struct RowIndex {
    labels: Vec<BinaryArray>,
    rows: Vec<RowPlace>,
}

impl RowIndex {
    pub(super) fn try_new(tables: &[RecordBatch]) -> Result<Self, Error> {
        let labels = tables.iter().map(labels_column).collect::<Result<Vec<_>, Error>>()?;
        let mut rows = Vec::with_capacity(labels.iter().map(Array::len).sum());
        for (table, column) in labels.iter().enumerate() {
            let place = |number: usize| u32::try_from(number).map_err(|_| Error::internal("too many rows to merge"));
            let table = place(table)?;
            rows.extend((0..place(column.len())?).map(|row| RowPlace { table, row }));
        }
        let mut index = Self { labels, rows: Vec::new() };
        // Tables mostly come sorted: the stable sort finds such runs and only merges them.
        rows.sort_by(|a, b| index.labels(*a).cmp(index.labels(*b)));
        index.rows = rows;
        Ok(index)
    }

    /// The canonical bytes of a row's label set.
    pub(super) fn labels(&self, place: RowPlace) -> &[u8] {
        self.labels[place.table as usize].value(place.row as usize)
    }

    /// The rows that share the label set of row number `at`, which must be the first of them; empty behind the last row.
    pub(super) fn same_series(&self, at: usize) -> &[RowPlace] {
        let rest = &self.rows[at.min(self.rows.len())..];
        let Some(first) = rest.first() else { return rest };
        let labels = self.labels(*first);
        let count = rest.iter().take_while(|place| self.labels(**place) == labels).count();
        &rest[..count]
    }

    /// Is no label set in two rows?
    pub(super) fn has_each_series_once(&self) -> bool {
        self.rows.windows(2).all(|pair| self.labels(pair[0]) != self.labels(pair[1]))
    }

    /// Is every table in order, one behind the other, and no label set in two rows?
    pub(super) fn is_in_place(&self) -> bool {
        let in_order = self.rows.is_sorted_by(|a, b| (a.table, a.row) < (b.table, b.row));
        in_order && self.has_each_series_once()
    }
}

pub(super) fn labels_column(table: &RecordBatch) -> Result<BinaryArray, Error> {
    table
        .column_by_name(COLUMN_LABELS)
        .and_then(|column| column.as_any().downcast_ref::<BinaryArray>())
        .cloned()
        .ok_or_else(|| Error::internal("a table to be merged has no labels"))
}
