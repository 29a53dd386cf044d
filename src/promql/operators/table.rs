//! A whole steps table in memory, as operators read it.

use std::collections::HashMap;

use arrow::array::{Array, BinaryArray, Float64Array, StructArray};
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{COLUMN_LABELS, COLUMN_VALUES, LabelsRef, Sample, TimedHistogram, ValuesColumn};
use crate::promql::functions::labels::LabelSelection;

/// All rows of an input.
#[derive(Clone, Debug)]
pub struct Table {
    labels: BinaryArray,
    cells: Float64Array,
    /// By row; empty where no row has any.
    histograms: Vec<Vec<TimedHistogram>>,
    step_count: usize,
    batch: RecordBatch,
}

impl Table {
    /// Fails on a batch that is no steps table.
    pub fn try_new(batch: RecordBatch) -> Result<Self, Error> {
        let labels = column::<BinaryArray>(&batch, COLUMN_LABELS)?;
        let values = column::<StructArray>(&batch, COLUMN_VALUES)?;
        let values = ValuesColumn::try_new(&values)?;
        let histograms = values.histograms();
        let histograms = if histograms.is_empty() { Vec::new() } else { histograms.rows()? };
        Ok(Self { labels, cells: values.floats().clone(), histograms, step_count: values.step_count(), batch })
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.labels.len()
    }

    /// Cells a row.
    pub fn step_count(&self) -> usize {
        self.step_count
    }

    /// Label set of a row.
    pub fn labels(&self, row: usize) -> LabelsRef<'_> {
        LabelsRef::new(self.labels.value(row))
    }

    /// The number at a step, if there is one; there may be a histogram.
    #[inline]
    pub fn cell(&self, row: usize, step: usize) -> Option<f64> {
        let at = row * self.step_count + step;
        self.cells.is_valid(at).then(|| self.cells.value(at))
    }

    /// Is any cell a histogram?
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histograms of a row, by step.
    pub fn histograms(&self, row: usize) -> &[TimedHistogram] {
        self.histograms.get(row).map_or(&[], Vec::as_slice)
    }

    /// Number or histogram at a step.
    pub fn sample(&self, row: usize, step: usize) -> Option<Sample> {
        if let Some(value) = self.cell(row, step) {
            return Some(Sample::Float(value));
        }
        let own = self.histograms(row);
        let at = own.binary_search_by_key(&(step as i64), |item| item.at).ok()?;
        Some(Sample::Histogram(own[at].histogram.clone()))
    }

    /// Has the row a number or a histogram at this step?
    #[inline]
    pub fn is_present(&self, row: usize, step: usize) -> bool {
        self.cells.is_valid(row * self.step_count + step)
            || self.histograms(row).binary_search_by_key(&(step as i64), |item| item.at).is_ok()
    }

    /// Has the row any number?
    pub fn has_number(&self, row: usize) -> bool {
        match self.cells.nulls() {
            None => self.step_count > 0,
            Some(nulls) => nulls.inner().slice(row * self.step_count, self.step_count).count_set_bits() > 0,
        }
    }

    /// Has the row any sample?
    pub fn has_cell(&self, row: usize) -> bool {
        self.has_number(row) || !self.histograms(row).is_empty()
    }

    /// Has any row a sample at this step?
    pub fn any_at(&self, step: usize) -> bool {
        (0..self.row_count()).any(|row| self.is_present(row, step))
    }

    /// The batch it views.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }
}

fn column<A: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<A, Error> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<A>())
        .cloned()
        .ok_or_else(|| Error::internal(format!("an operator's input has no column {name:?} of the expected type")))
}

/// Rows of a table by a part of their labels, groups in order of first appearance.
#[derive(Debug)]
pub struct Grouping {
    /// Canonical bytes of each group's key.
    pub keys: Vec<Vec<u8>>,
    /// Rows of each group, in table order.
    pub rows: Vec<Vec<usize>>,
    /// The group of each row.
    pub group_of_row: Vec<usize>,
}

impl Grouping {
    /// Groups all rows by the labels that `selection` selects.
    pub fn by(table: &Table, selection: &LabelSelection) -> Self {
        let mut groups: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut grouping = Self { keys: Vec::new(), rows: Vec::new(), group_of_row: Vec::new() };
        let mut key = Vec::new();
        for row in 0..table.row_count() {
            key.clear();
            selection.write(table.labels(row), &mut key);
            let group = match groups.get(&key) {
                Some(group) => *group,
                None => {
                    let group = grouping.keys.len();
                    groups.insert(key.clone(), group);
                    grouping.keys.push(key.clone());
                    grouping.rows.push(Vec::new());
                    group
                }
            };
            grouping.rows[group].push(row);
            grouping.group_of_row.push(group);
        }
        grouping
    }

    /// The group with a key.
    pub fn index(&self) -> HashMap<&[u8], usize> {
        self.keys.iter().enumerate().map(|(group, key)| (key.as_slice(), group)).collect()
    }
}
