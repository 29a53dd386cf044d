//! A whole steps table in memory, as operators read it.

use std::collections::HashMap;

use arrow::array::{Array, BinaryArray, Float64Array, StructArray};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{COLUMN_LABELS, COLUMN_VALUES, LabelsRef, Sample, TimedHistogram, ValuesColumn};
use crate::promql::functions::labels::LabelSelection;

/// All rows of an input, as the batches in which they came: nothing is copied to put them side by side.
#[derive(Clone, Debug)]
pub struct Table {
    pieces: Vec<Piece>,
    /// Where a row is: its piece, and its place in it.
    places: Vec<(u32, u32)>,
    /// By row; empty where no row has any.
    histograms: Vec<Vec<TimedHistogram>>,
    step_count: usize,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

/// The columns of one batch.
#[derive(Clone, Debug)]
struct Piece {
    labels: BinaryArray,
    cells: Float64Array,
}

impl Table {
    /// Fails on a batch that is no steps table.
    pub fn try_new(batch: RecordBatch) -> Result<Self, Error> {
        Self::of_batches(&batch.schema(), vec![batch])
    }

    /// All batches of a stream of this schema, one behind the other.
    pub fn of_batches(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, Error> {
        let mut batches = batches;
        batches.retain(|batch| batch.num_rows() > 0);
        let empty = RecordBatch::new_empty(SchemaRef::clone(schema));
        let step_count = ValuesColumn::try_new(&column::<StructArray>(&empty, COLUMN_VALUES)?)?.step_count();
        let row_count = batches.iter().map(RecordBatch::num_rows).sum();
        let mut table = Self {
            pieces: Vec::with_capacity(batches.len()),
            places: Vec::with_capacity(row_count),
            histograms: Vec::new(),
            step_count,
            schema: SchemaRef::clone(schema),
            batches: Vec::new(),
        };
        for batch in &batches {
            table.add_piece(batch)?;
        }
        table.batches = batches;
        Ok(table)
    }

    fn add_piece(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let labels = column::<BinaryArray>(batch, COLUMN_LABELS)?;
        let values = column::<StructArray>(batch, COLUMN_VALUES)?;
        let values = ValuesColumn::try_new(&values)?;
        if values.step_count() != self.step_count {
            return Err(Error::internal("the batches of an operator's input have different grids"));
        }
        if !values.histograms().is_empty() {
            self.histograms.resize(self.places.len(), Vec::new());
            self.histograms.extend(values.histograms().rows()?);
        } else if !self.histograms.is_empty() {
            self.histograms.resize(self.places.len() + batch.num_rows(), Vec::new());
        }
        let too_many = |_| Error::execution("an operator's input has too many series");
        let piece = u32::try_from(self.pieces.len()).map_err(too_many)?;
        let rows = u32::try_from(batch.num_rows()).map_err(too_many)?;
        self.places.extend((0..rows).map(|row| (piece, row)));
        self.pieces.push(Piece { labels, cells: values.floats().clone() });
        Ok(())
    }

    /// The piece of a row, and the place of its first cell.
    #[inline]
    fn locate(&self, row: usize) -> (&Piece, usize) {
        let (piece, place) = self.places[row];
        (&self.pieces[piece as usize], place as usize * self.step_count)
    }

    /// How many series.
    pub fn row_count(&self) -> usize {
        self.places.len()
    }

    /// Cells a row.
    pub fn step_count(&self) -> usize {
        self.step_count
    }

    /// Label set of a row.
    pub fn labels(&self, row: usize) -> LabelsRef<'_> {
        let (piece, place) = self.places[row];
        LabelsRef::new(self.pieces[piece as usize].labels.value(place as usize))
    }

    /// The number at a step, if there is one; there may be a histogram.
    #[inline]
    pub fn cell(&self, row: usize, step: usize) -> Option<f64> {
        let (piece, first) = self.locate(row);
        piece.cells.is_valid(first + step).then(|| piece.cells.value(first + step))
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
        let (piece, first) = self.locate(row);
        piece.cells.is_valid(first + step)
            || self.histograms(row).binary_search_by_key(&(step as i64), |item| item.at).is_ok()
    }

    /// Has the row any number?
    pub fn has_number(&self, row: usize) -> bool {
        let (piece, first) = self.locate(row);
        match piece.cells.nulls() {
            None => self.step_count > 0,
            Some(nulls) => nulls.inner().slice(first, self.step_count).count_set_bits() > 0,
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

    /// The batches that it views.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// All rows in one batch: a copy where they came in several.
    pub fn whole(&self) -> Result<RecordBatch, Error> {
        match self.batches.as_slice() {
            [batch] => Ok(batch.clone()),
            batches => concat_batches(&self.schema, batches).map_err(|error| Error::internal(error.to_string())),
        }
    }

    /// These rows, in this order.
    pub fn take(&self, rows: impl IntoIterator<Item = usize>) -> Result<RecordBatch, Error> {
        let places: Vec<(usize, usize)> =
            rows.into_iter().map(|row| self.places[row]).map(|(piece, row)| (piece as usize, row as usize)).collect();
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(SchemaRef::clone(&self.schema)));
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, &places).map_err(|error| Error::internal(error.to_string()))
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
