//! The parts' answers become one table.
//!
//! | asked of each part | of the answers |
//! |---|---|
//! | `sum`, `min`, `max`, `group` | the same again |
//! | `count`, `count_values` | the sum |
//! | `sum` and `count`, for `avg` | sum of the sums over sum of the counts |
//! | `topk(k + 1, …)` | the top k, if the next is different |
//! | an aggregation, for `topk` of it | the top k of the whole, if the next is different |
//! | what each series is by itself | all rows, if none comes twice |
//!
//! Where this cannot be the answer of all samples together for sure, it says so ([`Unsure`]), and everything is done again here.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::kernels::{GroupFold, MaxFold, MinFold, StepFold, SumFold};
use crate::model::{AnnotationSink, SamplesTable, StepGrid, StepsTable, StepsTableBuilder, TimestampMs};
use crate::promql::functions::labels::LabelSelection;
use crate::promql::operators::{Grouping, Parameter, SeriesOperator, Table, Top, TopKind};

/// How answers are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recombination {
    /// Rows of different parts are different series.
    Unite,
    /// Cells of equal labels are folded.
    Fold(PartialFold),
    /// Of two answers a part, the first holds sums and the second counts.
    Average,
    /// The best `k` of each group; parts give one more each.
    Top {
        /// Which end.
        kind: TopKind,
        /// How many.
        k: usize,
        /// The labels that make a group.
        grouping: LabelSelection,
    },
    /// The best `k` of each group of what another recombination gives.
    TopOf {
        /// Which end.
        kind: TopKind,
        /// How many.
        k: usize,
        /// The labels that make a group.
        grouping: LabelSelection,
        /// What it is chosen from.
        inner: Box<Recombination>,
    },
}

/// What is folded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PartialFold {
    /// Sums.
    Sum,
    /// Counts, which add up.
    Count,
    /// Minima.
    Min,
    /// Maxima.
    Max,
    /// Ones.
    Group,
}

/// The parts' answers do not tell the answer.
#[derive(Debug)]
pub enum Combined {
    /// A steps table, sorted by labels.
    Table(RecordBatch),
    /// Why everything has to be evaluated here.
    Unsure(String),
}

impl Recombination {
    /// As EXPLAIN shows it.
    pub fn describe(&self) -> String {
        match self {
            Self::Unite => "unite".to_owned(),
            Self::Fold(fold) => format!("{fold:?}").to_lowercase(),
            Self::Average => "sum/count".to_owned(),
            Self::Top { kind, k, grouping } => format!("{kind:?} {k} {}", grouping.describe()).to_lowercase(),
            Self::TopOf { kind, k, grouping, inner } => {
                format!("{}, {kind:?} {k} {}", inner.describe(), grouping.describe()).to_lowercase()
            }
        }
    }

    /// Can answers of some parts stand beside what was evaluated here for the others? An average would need sums and counts
    /// of them, and the top k the next one.
    pub fn takes_exact_parts(&self) -> bool {
        matches!(self, Self::Unite | Self::Fold(_))
    }

    /// Puts answers together. `answers` holds, for each part, a list of samples tables (times are steps) for each expression;
    /// `exact` what was evaluated here for other parts, as steps tables.
    pub fn combine(
        &self,
        grid: StepGrid,
        answers: &[Vec<Vec<RecordBatch>>],
        exact: &[RecordBatch],
    ) -> Result<Combined, Error> {
        if let Some(text) = self.refuse_histograms(exact)? {
            return Ok(Combined::Unsure(text));
        }
        let first = || answers.iter().filter_map(|part| part.first());
        match self {
            Self::Unite => unite(grid, first(), exact),
            Self::Fold(PartialFold::Sum | PartialFold::Count) => fold::<SumFold>(grid, first(), exact).map(table),
            Self::Fold(PartialFold::Min) => fold::<MinFold>(grid, first(), exact).map(table),
            Self::Fold(PartialFold::Max) => fold::<MaxFold>(grid, first(), exact).map(table),
            Self::Fold(PartialFold::Group) => fold::<GroupFold>(grid, first(), exact).map(table),
            Self::Average => average(grid, answers),
            Self::Top { kind, k, grouping } => match unite(grid, first(), exact)? {
                Combined::Table(rows) => top(*kind, *k, grouping, grid, rows),
                unsure @ Combined::Unsure(_) => Ok(unsure),
            },
            Self::TopOf { kind, k, grouping, inner } => match inner.combine(grid, answers, exact)? {
                Combined::Table(rows) => top(*kind, *k, grouping, grid, rows),
                unsure @ Combined::Unsure(_) => Ok(unsure),
            },
        }
    }

    /// A histogram beside a number makes both go; that takes all of them.
    fn refuse_histograms(&self, exact: &[RecordBatch]) -> Result<Option<String>, Error> {
        if *self == Self::Unite {
            return Ok(None);
        }
        for batch in exact {
            if !StepsTable::try_new(batch)?.histograms().is_empty() {
                return Ok(Some("there are native histograms among the values".to_owned()));
            }
        }
        Ok(None)
    }
}

fn table(batch: RecordBatch) -> Combined {
    Combined::Table(batch)
}

/// One fold a step, by labels.
type Folds<F> = BTreeMap<Vec<u8>, Vec<Option<F>>>;

fn step_index(grid: StepGrid, time_ms: i64) -> Result<usize, Error> {
    let index = grid.index_of(TimestampMs(time_ms));
    index.ok_or_else(|| Error::execution(format!("bad answer: a sample at {} was not asked for", TimestampMs(time_ms))))
}

/// Calls `add` with the labels, step and value of every sample.
fn for_each_sample(
    grid: StepGrid,
    tables: &[RecordBatch],
    mut add: impl FnMut(&[u8], usize, f64),
) -> Result<(), Error> {
    for batch in tables {
        let rows = SamplesTable::try_new(batch)?;
        for row in 0..rows.row_count() {
            let (times, values) = rows.series(row);
            for (time, value) in times.iter().zip(values) {
                add(rows.labels(row).as_bytes(), step_index(grid, *time)?, *value);
            }
        }
    }
    Ok(())
}

fn fold_answers<'a, F: StepFold>(
    grid: StepGrid,
    answers: impl Iterator<Item = &'a Vec<RecordBatch>>,
) -> Result<Folds<F>, Error> {
    let mut folds: Folds<F> = BTreeMap::new();
    for tables in answers {
        for_each_sample(grid, tables, |labels, step, value| {
            let cells = match folds.get_mut(labels) {
                Some(cells) => cells,
                None => folds.entry(labels.to_vec()).or_insert_with(|| vec![None; grid.step_count()]),
            };
            cells[step].get_or_insert_default().add(value);
        })?;
    }
    Ok(folds)
}

fn fold<'a, F: StepFold>(
    grid: StepGrid,
    answers: impl Iterator<Item = &'a Vec<RecordBatch>>,
    exact: &[RecordBatch],
) -> Result<RecordBatch, Error> {
    let mut folds = fold_answers::<F>(grid, answers)?;
    for batch in exact {
        let rows = StepsTable::try_new(batch)?;
        for row in 0..rows.row_count() {
            let own = folds.entry(rows.labels(row).as_bytes().to_vec());
            let own = own.or_insert_with(|| vec![None; grid.step_count()]);
            for (fold, cell) in own.iter_mut().zip(rows.row(row)) {
                cell.into_iter().for_each(|value| fold.get_or_insert_default().add(value));
            }
        }
    }
    let mut builder = StepsTableBuilder::new(grid.step_count());
    for (labels, cells) in &folds {
        cells.iter().for_each(|fold| builder.push_cell(fold.as_ref().map(StepFold::finish)));
        builder.finish_series(labels);
    }
    Ok(builder.finish())
}

/// Where a sum is not finite, the average may still be: Prometheus then takes the mean step by step.
fn average(grid: StepGrid, answers: &[Vec<Vec<RecordBatch>>]) -> Result<Combined, Error> {
    let sums = fold_answers::<SumFold>(grid, answers.iter().filter_map(|part| part.first()))?;
    let counts = fold_answers::<SumFold>(grid, answers.iter().filter_map(|part| part.get(1)))?;
    let mut builder = StepsTableBuilder::new(grid.step_count());
    for (labels, counts) in &counts {
        let sums = sums.get(labels);
        for (step, count) in counts.iter().enumerate() {
            let sum = sums.and_then(|sums| sums[step].as_ref()).map(StepFold::finish);
            match (sum, count) {
                (Some(sum), Some(count)) if sum.is_finite() => builder.push_cell(Some(sum / count.finish())),
                (None, None) => builder.push_cell(None),
                (Some(_), Some(_)) => return Ok(Combined::Unsure("a sum is not finite".to_owned())),
                _ => return Ok(Combined::Unsure("sums and counts are not of the same samples".to_owned())),
            }
        }
        builder.finish_series(labels);
    }
    if sums.keys().any(|labels| !counts.contains_key(labels)) {
        return Ok(Combined::Unsure("sums and counts are not of the same samples".to_owned()));
    }
    Ok(Combined::Table(builder.finish()))
}

/// Where a row is: in whose answer, in which table, at which place.
#[derive(Copy, Clone)]
struct RowPlace {
    part: usize,
    table: usize,
    row: usize,
}

/// All rows, sorted by labels; no sample of a series may come twice.
fn unite<'a>(
    grid: StepGrid,
    answers: impl Iterator<Item = &'a Vec<RecordBatch>>,
    exact: &[RecordBatch],
) -> Result<Combined, Error> {
    let answers: Vec<Vec<SamplesTable<'_>>> =
        answers.map(|tables| tables.iter().map(SamplesTable::try_new).collect()).collect::<Result<_, _>>()?;
    let exact: Vec<StepsTable<'_>> = exact.iter().map(StepsTable::try_new).collect::<Result<_, _>>()?;
    let mut places: Vec<(&[u8], RowPlace)> = Vec::new();
    for (part, tables) in answers.iter().enumerate() {
        for (table, rows) in tables.iter().enumerate() {
            let place = |row| (rows.labels(row).as_bytes(), RowPlace { part, table, row });
            places.extend((0..rows.row_count()).map(place));
        }
    }
    for (table, rows) in exact.iter().enumerate() {
        let place = |row| (rows.labels(row).as_bytes(), RowPlace { part: answers.len() + table, table, row });
        places.extend((0..rows.row_count()).map(place));
    }
    places.sort_by_key(|(labels, place)| (*labels, place.part, place.table));
    let mut builder = StepsTableBuilder::new(grid.step_count());
    let mut cells: Vec<Option<f64>> = vec![None; grid.step_count()];
    for run in places.chunk_by(|a, b| a.0 == b.0) {
        let (labels, first) = run[0];
        if run.iter().any(|(_, place)| place.part != first.part) {
            return Ok(Combined::Unsure("two parts answered for the same series".to_owned()));
        }
        match answers.get(first.part) {
            None => exact[first.table].samples(first.row)?.into_iter().for_each(|cell| builder.push_sample(cell)),
            Some(tables) => {
                cells.fill(None);
                for (_, place) in run {
                    let (times, values) = tables[place.table].series(place.row);
                    for (time, value) in times.iter().zip(values) {
                        if cells[step_index(grid, *time)?].replace(*value).is_some() {
                            return Ok(Combined::Unsure("a part answered twice for the same series".to_owned()));
                        }
                    }
                }
                cells.iter().for_each(|cell| builder.push_cell(*cell));
            }
        }
        builder.finish_series(labels);
    }
    Ok(Combined::Table(builder.finish()))
}

/// Which of two equal values Prometheus keeps depends on every series of the group; so equal values in the wrong place are
/// left to the exact plan. An instant query shows the order, too.
fn top(
    kind: TopKind,
    k: usize,
    grouping: &LabelSelection,
    grid: StepGrid,
    rows: RecordBatch,
) -> Result<Combined, Error> {
    let instant = grid.step_count() == 1;
    let rows = Table::try_new(rows)?;
    let mut values: Vec<f64> = Vec::new();
    for of_group in Grouping::by(&rows, grouping).rows {
        for step in 0..grid.step_count() {
            values.clear();
            values.extend(of_group.iter().filter_map(|row| rows.cell(*row, step)));
            values.sort_by(|a, b| best_first(kind, *a, *b));
            let is_tie = |at: usize| matches!((values.get(at), values.get(at + 1)), (Some(a), Some(b)) if a == b || (a.is_nan() && b.is_nan()));
            let tie = if instant { (0..k).any(is_tie) } else { is_tie(k - 1) };
            if tie {
                return Ok(Combined::Unsure("equal values: which of them stays depends on all of them".to_owned()));
            }
        }
    }
    let operator = Top {
        kind,
        parameter: Parameter::Constant(k as f64),
        grouping: grouping.clone(),
        step_count: grid.step_count(),
        instant,
        span: 0..0,
        annotations: AnnotationSink::default(),
    };
    Ok(Combined::Table(operator.evaluate(&[rows])?))
}

/// NaN is the worst value of both ends.
fn best_first(kind: TopKind, a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if kind == TopKind::Topk => b.total_cmp(&a),
        (false, false) => a.total_cmp(&b),
        (a_is_nan, b_is_nan) => a_is_nan.cmp(&b_is_nan),
    }
}
