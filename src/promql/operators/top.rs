//! `topk`, `bottomk` (and, gated, `limitk`): which series of a group stay at a step.

use arrow::record_batch::RecordBatch;

use super::{Grouping, SeriesOperator, Table};
use crate::error::Error;
use crate::kernels::{parse_k_per_step, select_top};
use crate::model::{AnnotationSink, StepsTableBuilder};
use crate::promql::functions::histogram_folds::histogram_ignored;
use crate::promql::functions::labels::LabelSelection;
use crate::syntax::Span;

/// A scalar parameter of an operator.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// The same at every step.
    Constant(f64),
    /// One number a step, known when planning.
    PerStep(Vec<f64>),
    /// The only row of this input.
    Input(usize),
}

impl Parameter {
    /// Its value at every step.
    pub fn values(&self, inputs: &[Table], step_count: usize) -> Result<Vec<f64>, Error> {
        match self {
            Self::Constant(value) => Ok(vec![*value; step_count]),
            Self::PerStep(values) => Ok(values.clone()),
            Self::Input(index) => match inputs.get(*index) {
                Some(scalar) if scalar.row_count() == 1 => {
                    Ok((0..step_count).map(|step| scalar.cell(0, step).unwrap_or(f64::NAN)).collect())
                }
                _ => Err(Error::internal(format!("input {index} of an operator is no scalar"))),
            },
        }
    }

    /// As EXPLAIN shows it.
    pub fn describe(&self) -> String {
        match self {
            Self::Constant(value) => value.to_string(),
            Self::PerStep(values) => format!("{values:?}"),
            Self::Input(index) => format!("input {index}"),
        }
    }
}

/// Which end is kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TopKind {
    /// The largest values.
    Topk,
    /// The smallest values.
    Bottomk,
}

/// Keeps k samples of each group at each step. The rows of an instant query come out by value inside of each group.
#[derive(Debug)]
pub struct Top {
    /// Which end.
    pub kind: TopKind,
    /// k
    pub parameter: Parameter,
    /// The labels that make a group.
    pub grouping: LabelSelection,
    /// Steps a row.
    pub step_count: usize,
    /// Is it an instant query, whose result is ordered by value?
    pub instant: bool,
    /// Where the aggregation stands in the query.
    pub span: Span,
    /// Who is told of histograms, which have no order and are left out.
    pub annotations: AnnotationSink,
}

impl Top {
    fn note_histograms(&self, table: &Table, step: usize) {
        let is_histogram = |row: usize| table.cell(row, step).is_none() && table.is_present(row, step);
        if (0..table.row_count()).any(is_histogram) {
            let name = if self.kind == TopKind::Topk { "topk" } else { "bottomk" };
            self.annotations.add(histogram_ignored(name, self.span.clone()));
        }
    }
}

impl SeriesOperator for Top {
    fn describe(&self) -> String {
        format!("{:?} {} {}", self.kind, self.parameter.describe(), self.grouping.describe()).to_lowercase()
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let parameters = self.parameter.values(inputs, self.step_count)?;
        let grouping = Grouping::by(table, &self.grouping);
        let mut kept = vec![false; table.row_count() * self.step_count];
        let mut order = Vec::new();
        let (mut rows_here, mut values) = (Vec::new(), Vec::new());
        let counts = parse_k_per_step(&parameters).map_err(Error::execution)?;
        for (step, k) in counts.iter().copied().enumerate() {
            if k > 0 && table.has_histograms() {
                self.note_histograms(table, step);
            }
            for rows in &grouping.rows {
                rows_here.clear();
                values.clear();
                for row in rows {
                    if let Some(value) = table.cell(*row, step) {
                        rows_here.push(*row);
                        values.push(value);
                    }
                }
                for index in select_top(k, self.kind == TopKind::Topk, &values) {
                    kept[rows_here[index] * self.step_count + step] = true;
                    order.push(rows_here[index]);
                }
            }
        }
        if self.instant {
            return table.take(order);
        }
        let mut builder = StepsTableBuilder::new(self.step_count);
        for row in 0..table.row_count() {
            for step in 0..self.step_count {
                let cell = table.cell(row, step);
                builder.push_cell(cell.filter(|_| kept[row * self.step_count + step]));
            }
            builder.finish_series(table.labels(row).as_bytes());
        }
        Ok(builder.finish())
    }
}
