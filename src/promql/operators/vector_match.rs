//! Arithmetic and comparison between two vectors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::unique_series::Duplicates;
use super::{Grouping, SeriesOperator, Table, cell_bytes};
use crate::error::Error;
use crate::model::{LabelNames, LabelsBuilder, LabelsRef, NativeHistogram, Sample, StepsTableBuilder};
use crate::promql::functions::instant::{CellOperator, OperatorNotes};
use crate::promql::functions::labels::{LabelSelection, NAME_LABELS};
use crate::promql::functions::sample_operator::OperatorNote;
use crate::syntax::Cardinality;

/// `lhs op on/ignoring(..) group_x(..) rhs`, as Prometheus' VectorBinop does it, but with matching done once per series
/// instead of once per sample.
#[derive(Debug)]
pub struct VectorMatch {
    /// The operator on two cells.
    pub operator: CellOperator,
    /// One-to-one, many-to-one or one-to-many.
    pub cardinality: Cardinality,
    /// The labels of `on (…)` (keep) or `ignoring (…)` (drop), as written.
    pub labels: LabelSelection,
    /// Labels that the many side takes from the one side.
    pub include: Vec<String>,
    /// What stands in for a missing left sample (`fill`, `fill_left`).
    pub fill_left: Option<f64>,
    /// What stands in for a missing right sample (`fill`, `fill_right`).
    pub fill_right: Option<f64>,
    /// What becomes of the metric name.
    pub name: ResultName,
    /// What becomes of equal labels that come from different match groups.
    pub duplicates: Duplicates,
    /// Steps a row.
    pub step_count: usize,
    /// Who is told of samples that the operator makes no sense of.
    pub notes: OperatorNotes,
}

/// What becomes of the metric name of the side whose labels stay.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ResultName {
    /// It stays, and will stay to the end.
    Keep,
    /// It goes.
    Drop,
    /// It goes at the end of the query.
    Mark,
}

/// What stands in a cell of the result.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
enum Found {
    /// No match.
    #[default]
    Nothing,
    /// A match whose result a comparison has taken away.
    NoSample,
    Number,
    Histogram,
}

impl Found {
    fn has_sample(self) -> bool {
        matches!(self, Self::Number | Self::Histogram)
    }
}

/// A series of the result: nine bytes a cell, for there may be millions of cells; histograms beside them.
struct ResultRow {
    labels: Vec<u8>,
    found: Vec<Found>,
    numbers: Vec<f64>,
    /// By step.
    histograms: BTreeMap<usize, Arc<NativeHistogram>>,
}

impl ResultRow {
    fn new(labels: Vec<u8>, step_count: usize) -> Self {
        let (found, numbers) = (vec![Found::Nothing; step_count], vec![0.0; step_count]);
        Self { labels, found, numbers, histograms: BTreeMap::new() }
    }

    fn set(&mut self, step: usize, value: Option<Sample>) {
        self.found[step] = match value {
            None => Found::NoSample,
            Some(Sample::Float(number)) => {
                self.numbers[step] = number;
                Found::Number
            }
            Some(Sample::Histogram(histogram)) => {
                self.histograms.insert(step, histogram);
                Found::Histogram
            }
        };
    }

    fn write(mut self, builder: &mut StepsTableBuilder) {
        for (step, (found, number)) in self.found.iter().zip(&self.numbers).enumerate() {
            match found {
                Found::Number => builder.push_cell(Some(*number)),
                Found::Histogram => builder.push_sample(self.histograms.remove(&step).map(Sample::Histogram)),
                Found::Nothing | Found::NoSample => builder.push_cell(None),
            }
        }
        builder.finish_series(&self.labels);
    }
}

impl SeriesOperator for VectorMatch {
    fn describe(&self) -> String {
        let include =
            if self.include.is_empty() { String::new() } else { format!(" include {}", self.include.join(",")) };
        let fill = |side, value: Option<f64>| value.map_or(String::new(), |value| format!(" fill_{side}({value})"));
        let fills = fill("left", self.fill_left) + &fill("right", self.fill_right);
        format!("{} {:?} {}{include}{fills}", self.operator.label(), self.cardinality, self.labels.describe())
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    /// The cells that are gathered, and the table that they become.
    fn working_bytes(&self, inputs: &[Table]) -> usize {
        cell_bytes(inputs, 9 + 9)
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        // From here on the right side is the "one" side.
        let swapped = self.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&inputs[1], &inputs[0]) } else { (&inputs[0], &inputs[1]) };
        let matching = match_group(&self.labels);
        let fills = self.fill_left.is_some() || self.fill_right.is_some();
        let many_any: Vec<bool> = (0..self.step_count).map(|step| fills || many.any_at(step)).collect();
        let one_groups = Grouping::by(one, &matching);
        let (fill_many, fill_one) =
            if swapped { (self.fill_right, self.fill_left) } else { (self.fill_left, self.fill_right) };
        self.refuse_duplicates(one, &one_groups, &many_any)?;
        let one_index = one_groups.index();

        let mut results = Results {
            series: Vec::new(),
            index: HashMap::new(),
            duplicates: self.duplicates,
            step_count: self.step_count,
            notes: vec![None; self.step_count],
        };
        // Which steps of a match group have found a pair: one-to-one allows one, and the others may be filled.
        let mut paired: HashMap<Vec<u8>, Vec<bool>> = HashMap::new();
        let mut key = Vec::new();
        for many_row in 0..many.row_count() {
            key.clear();
            matching.write(many.labels(many_row), &mut key);
            let group = one_index.get(key.as_slice()).copied();
            let one_rows = group.map_or(&[][..], |group| &one_groups.rows[group]);
            if one_rows.is_empty() && fill_one.is_none() {
                continue;
            }
            let steps = paired.entry(key.clone()).or_insert_with(|| vec![false; self.step_count]);
            let mut unmatched: Vec<usize> =
                (0..self.step_count).filter(|step| many.is_present(many_row, *step)).collect();
            for one_row in one_rows {
                let (common, rest) = unmatched.into_iter().partition(|step| one.is_present(*one_row, *step));
                unmatched = rest;
                let labels = (many.labels(many_row), one.labels(*one_row));
                let cell = |step: usize| many.sample(many_row, step).zip(one.sample(*one_row, step));
                self.pair(&mut results, &key, labels, steps, common, swapped, cell)?;
            }
            if let Some(fill) = fill_one {
                let labels = (many.labels(many_row), LabelsRef::new(&key));
                let cell = |step: usize| many.sample(many_row, step).zip(Some(Sample::Float(fill)));
                self.pair(&mut results, &key, labels, steps, unmatched, swapped, cell)?;
            }
        }
        if let Some(fill) = fill_many {
            for (key, rows) in one_groups.keys.iter().zip(&one_groups.rows) {
                let steps = paired.entry(key.clone()).or_insert_with(|| vec![false; self.step_count]);
                for one_row in rows {
                    let alone =
                        (0..self.step_count).filter(|step| one.is_present(*one_row, *step) && !steps[*step]).collect();
                    let labels = (LabelsRef::new(key), one.labels(*one_row));
                    let cell = |step: usize| Some(Sample::Float(fill)).zip(one.sample(*one_row, step));
                    self.pair(&mut results, key, labels, steps, alone, swapped, cell)?;
                }
            }
        }
        results.notes.iter().flatten().for_each(|note| self.notes.add(*note));
        results.finish()
    }
}

impl VectorMatch {
    /// Computes the cells of two series of one match group at the steps where both have (or are given) a value. `labels` and
    /// `cell` name the many side first.
    #[expect(clippy::too_many_arguments, reason = "the two sides of a pair and where their result goes")]
    fn pair(
        &self,
        results: &mut Results,
        key: &[u8],
        labels: (LabelsRef<'_>, LabelsRef<'_>),
        paired: &mut [bool],
        steps: Vec<usize>,
        swapped: bool,
        cell: impl Fn(usize) -> Option<(Sample, Sample)>,
    ) -> Result<(), Error> {
        if steps.is_empty() {
            return Ok(());
        }
        let row = results.row(self.result_labels(labels.0, labels.1), key);
        for step in steps {
            let Some((many_value, one_value)) = cell(step) else { continue };
            let (a, b) = if swapped { (one_value, many_value) } else { (many_value, one_value) };
            let value = match (&a, &b) {
                // Nearly all pairs: no outcome with notes is made for them.
                (Sample::Float(a), Sample::Float(b)) if !matches!(self.operator, CellOperator::Trim(_)) => {
                    self.operator.apply(*a, *b, *a).map(Sample::Float)
                }
                _ => match self.operator.apply_to_samples(&a, &b) {
                    Ok(outcome) => {
                        if outcome.note.is_some() {
                            results.notes[step] = outcome.note;
                        }
                        outcome.is_kept.then_some(outcome.sample)
                    }
                    // As if the two had not met: neither counts as matched.
                    Err(note) => {
                        results.notes[step] = Some(note);
                        continue;
                    }
                },
            };
            if std::mem::replace(&mut paired[step], true) && self.cardinality == Cardinality::OneToOne {
                return Err(Error::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            results.set(row, step, value)?;
        }
        Ok(())
    }

    /// Two samples of one match group on the "one" side are an error, matched or not, if the other side has any sample then.
    fn refuse_duplicates(&self, one: &Table, groups: &Grouping, many_any: &[bool]) -> Result<(), Error> {
        // Prometheus goes step by step, and at each step through the series: it names the first pair that it meets.
        let mut earliest = None;
        for (key, rows) in groups.keys.iter().zip(&groups.rows).filter(|(_, rows)| rows.len() > 1) {
            for step in (0..self.step_count).filter(|step| many_any[*step]) {
                let mut present = rows.iter().filter(|row| one.is_present(**row, step));
                if let (Some(first), Some(second)) = (present.next(), present.next()) {
                    let met = (step, *second, *first, key);
                    earliest = Some(earliest.map_or(met, |other| met.min(other)));
                    break;
                }
            }
        }
        match earliest {
            None => Ok(()),
            Some((_, second, first, key)) => Err(self.duplicate_error(key, one.labels(first), one.labels(second))),
        }
    }

    fn duplicate_error(&self, key: &[u8], first: LabelsRef<'_>, second: LabelsRef<'_>) -> Error {
        let side = if self.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        Error::execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            LabelsRef::new(key),
            second,
            first,
        ))
    }

    /// Labels of a pair's result. `many` is the side whose labels stay.
    fn result_labels(&self, many: LabelsRef<'_>, one: LabelsRef<'_>) -> Vec<u8> {
        let mut labels = Vec::new();
        match self.name {
            ResultName::Drop => many.write_dropping(&NAME_LABELS, &mut labels),
            ResultName::Keep | ResultName::Mark => labels.extend_from_slice(many.without_mark().as_bytes()),
        }
        if self.cardinality == Cardinality::OneToOne {
            let mut selected = Vec::new();
            self.labels.write(LabelsRef::new(&labels), &mut selected);
            labels = selected;
        }
        if !self.include.is_empty() {
            let mut builder = LabelsBuilder::from(&LabelsRef::new(&labels).to_labels());
            for name in &self.include {
                builder.set(name, one.get(name).as_deref().unwrap_or(""));
            }
            labels = builder.finish().encode().into_bytes();
        }
        match self.name {
            ResultName::Mark => {
                let mut marked = Vec::new();
                LabelsRef::new(&labels).write_with_name_dropped(&mut marked);
                marked
            }
            ResultName::Keep | ResultName::Drop => labels,
        }
    }
}

/// The labels that make a match group: the metric name never counts unless `on` names it.
pub fn match_group(labels: &LabelSelection) -> LabelSelection {
    match labels {
        LabelSelection::Keep(names) => LabelSelection::Keep(names.clone()),
        LabelSelection::Drop(names) => LabelSelection::Drop(LabelNames::new(names.iter().chain(["__name__".into()]))),
    }
}

/// Result rows by label set.
struct Results {
    series: Vec<ResultRow>,
    index: HashMap<Vec<u8>, (usize, HashSet<Vec<u8>>)>,
    duplicates: Duplicates,
    step_count: usize,
    /// What is to be told of each step: Prometheus tells the last thing that it met.
    notes: Vec<Option<OperatorNote>>,
}

impl Results {
    /// The row of a label set; the match group is noted for it. Where duplicates are kept, each match group has its own.
    fn row(&mut self, labels: Vec<u8>, group: &[u8]) -> usize {
        if self.duplicates == Duplicates::Keep {
            return self.row_of_group(labels, group);
        }
        let next = self.series.len();
        let (at, groups) = self.index.entry(labels.clone()).or_insert_with(|| (next, HashSet::new()));
        if !groups.contains(group) {
            groups.insert(group.to_vec());
        }
        if *at == next {
            self.series.push(ResultRow::new(labels, self.step_count));
        }
        *at
    }

    fn row_of_group(&mut self, labels: Vec<u8>, group: &[u8]) -> usize {
        let next = self.series.len();
        // No label has an empty name: the zero byte ends the labels, and no two pairs make the same key.
        let key = [&labels[..], &[0], group].concat();
        let (at, _) = *self.index.entry(key).or_insert_with(|| (next, HashSet::new()));
        if at == next {
            self.series.push(ResultRow::new(labels, self.step_count));
        }
        at
    }

    fn set(&mut self, row: usize, step: usize, value: Option<Sample>) -> Result<(), Error> {
        let own = &mut self.series[row];
        if own.found[step] == Found::Nothing {
            own.set(step, value);
            return Ok(());
        }
        let of_one_group = self.duplicates == Duplicates::Keep
            || self.index.get(own.labels.as_slice()).is_some_and(|(_, groups)| groups.len() == 1);
        if of_one_group {
            return Err(Error::execution("multiple matches for labels: grouping labels must ensure unique matches"));
        }
        match (own.found[step].has_sample(), value) {
            (true, Some(_)) => Err(super::unique_series::same_labelset()),
            (true, None) => Ok(()),
            (false, value) => {
                own.set(step, value);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<RecordBatch, Error> {
        let mut builder = StepsTableBuilder::new(self.step_count);
        self.series.into_iter().for_each(|row| row.write(&mut builder));
        Ok(builder.finish())
    }
}
