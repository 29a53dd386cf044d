//! Aggregations across series as DataFusion aggregates: one state per group and step.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
};

use super::columns::{CellsBuilder, cells_argument, labels_argument};
use super::external;
use super::histogram_folds::{FoldNotes, HistogramFolds, HistogramRole};
use crate::error::Error;
use crate::kernels::{AvgFold, CountFold, GroupFold, MaxFold, MinFold, StddevFold, StdvarFold, StepFold, SumFold};
use crate::model::{LabelsRef, Sample, TimedHistogram, values_type};

/// The item of a list of states.
fn float_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float64, true))
}

/// Aggregations that fold one value after the other.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum FoldKind {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `count`
    Count,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
}

impl FoldKind {
    fn plan_name(self) -> &'static str {
        match self {
            Self::Sum => "prom_sum",
            Self::Avg => "prom_avg",
            Self::Min => "prom_min",
            Self::Max => "prom_max",
            Self::Count => "prom_count",
            Self::Group => "prom_group",
            Self::Stddev => "prom_stddev",
            Self::Stdvar => "prom_stdvar",
        }
    }

    /// As it is written in a query.
    fn name(self) -> &'static str {
        self.plan_name().trim_start_matches("prom_")
    }

    fn accumulator(self, step_count: usize, notes: FoldNotes) -> Box<dyn GroupsAccumulator> {
        match self {
            Self::Sum => Box::new(StepAccumulator::<SumFold>::new(self, step_count, notes)),
            Self::Avg => Box::new(StepAccumulator::<AvgFold>::new(self, step_count, notes)),
            Self::Min => Box::new(StepAccumulator::<MinFold>::new(self, step_count, notes)),
            Self::Max => Box::new(StepAccumulator::<MaxFold>::new(self, step_count, notes)),
            Self::Count => Box::new(StepAccumulator::<CountFold>::new(self, step_count, notes)),
            Self::Group => Box::new(StepAccumulator::<GroupFold>::new(self, step_count, notes)),
            Self::Stddev => Box::new(StepAccumulator::<StddevFold>::new(self, step_count, notes)),
            Self::Stdvar => Box::new(StepAccumulator::<StdvarFold>::new(self, step_count, notes)),
        }
    }
}

/// The expression `prom_sum(values, labels)`. Labels are for notes, which name the metric.
pub fn fold(kind: FoldKind, step_count: usize, values: Expr, labels: Expr, notes: FoldNotes) -> Expr {
    let aggregate = StepAggregate { kind, step_count, notes, signature: Signature::any(2, Volatility::Immutable) };
    Expr::AggregateFunction(AggregateFunction::new_udf(
        Arc::new(AggregateUDF::new_from_impl(aggregate)),
        vec![values, labels],
        false,
        None,
        vec![],
        None,
    ))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct StepAggregate {
    kind: FoldKind,
    step_count: usize,
    notes: FoldNotes,
    signature: Signature,
}

impl AggregateUDFImpl for StepAggregate {
    fn name(&self) -> &str {
        self.kind.plan_name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType> {
        Ok(values_type(self.step_count))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // The planner always groups by a labels expression: sum(x) of nothing is nothing.
        Err(DataFusionError::Internal(format!("{} is always grouped", self.name())))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = DataType::List(float_item());
        Ok(vec![Arc::new(Field::new(format!("{}[states]", arguments.name), list, false))])
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(self.kind.accumulator(self.step_count, self.notes.clone()))
    }
}

/// One fold per group and step, in one flat vector: group g, step s at `g · step_count + s`.
#[derive(Debug)]
struct StepAccumulator<F> {
    kind: FoldKind,
    step_count: usize,
    notes: FoldNotes,
    folds: Vec<Option<F>>,
    histograms: HistogramFolds,
}

impl<F: StepFold> StepAccumulator<F> {
    fn new(kind: FoldKind, step_count: usize, notes: FoldNotes) -> Self {
        Self { kind, step_count, notes, folds: Vec::new(), histograms: HistogramFolds::default() }
    }

    /// Takes the histograms of a row, behind its numbers.
    fn add_histograms(&mut self, group: usize, labels: LabelsRef<'_>, items: &[TimedHistogram]) {
        for item in items {
            let step = usize::try_from(item.at).unwrap_or(usize::MAX);
            if step >= self.step_count {
                continue;
            }
            let cell = group * self.step_count + step;
            match self.kind.histogram_role() {
                HistogramRole::Ignored => self.notes.histogram_ignored(self.kind.name()),
                HistogramRole::Counted => self.folds[cell].get_or_insert_default().add(0.0),
                HistogramRole::Combined => {
                    let has_number = self.folds[cell].is_some();
                    self.histograms.add(self.kind, cell, has_number, (labels, &item.histogram), &self.notes);
                }
            }
        }
    }

    fn reserve_groups(&mut self, group_count: usize) {
        self.folds.resize(group_count * self.step_count, None);
    }

    /// Takes the folds of the groups that are emitted; the others move to the front.
    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<F>> {
        match emit_to {
            EmitTo::All => std::mem::take(&mut self.folds),
            EmitTo::First(group_count) => {
                let rest = self.folds.split_off(group_count * self.step_count);
                std::mem::replace(&mut self.folds, rest)
            }
        }
    }

    /// The states of a row of cells: per step a presence flag and the fold's own numbers.
    fn write_states(&self, folds: &[Option<F>]) -> Result<ArrayRef> {
        let width = 1 + F::STATE_WIDTH;
        let row_count = folds.len() / self.step_count.max(1);
        let mut numbers = Vec::with_capacity(folds.len() * width);
        for fold in folds {
            match fold {
                None => numbers.extend(std::iter::repeat_n(0.0, width)),
                Some(fold) => {
                    numbers.push(1.0);
                    fold.write_state(&mut numbers);
                }
            }
        }
        let row_width = self.step_count * width;
        let offsets = (0..=row_count)
            .map(|row| i32::try_from(row * row_width))
            .collect::<std::result::Result<Vec<i32>, _>>()
            .map_err(|_| external(Error::execution("an aggregation has too many groups")))?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::new(float_item(), offsets, Arc::new(Float64Array::from(numbers)), None)))
    }
}

impl<F: StepFold> GroupsAccumulator for StepAccumulator<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        _filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.reserve_groups(total_num_groups);
        let argument = [ColumnarValue::Array(Arc::clone(&values[0]))];
        let input = cells_argument(&argument, 0, group_indices.len()).map_err(external)?;
        if input.step_count != self.step_count {
            return Err(external(Error::internal("an aggregation got cells of another grid")));
        }
        let labels = [ColumnarValue::Array(Arc::clone(&values[1]))];
        let labels = labels_argument(&labels, 0, group_indices.len()).map_err(external)?;
        let has_every_number = input.cells.null_count() == 0;
        for (row, group) in group_indices.iter().enumerate() {
            let cells = row * self.step_count;
            let first = group * self.step_count;
            let folds = &mut self.folds[first..first + self.step_count];
            let values = &input.cells.values()[cells..cells + self.step_count];
            if has_every_number && self.histograms.is_empty() {
                folds.iter_mut().zip(values).for_each(|(fold, value)| fold.get_or_insert_default().add(*value));
                continue;
            }
            for (step, (fold, value)) in folds.iter_mut().zip(values).enumerate() {
                if input.cells.is_valid(cells + step)
                    && (self.histograms.is_empty() || !self.histograms.is_closed(first + step))
                {
                    fold.get_or_insert_default().add(*value);
                }
            }
            if input.has_histograms() {
                self.add_histograms(*group, LabelsRef::new(labels.value(row)), input.histograms(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let folds = self.take(emit_to);
        let mut histograms = self.histograms.take(folds.len());
        let row_count = folds.len() / self.step_count.max(1);
        let mut builder = CellsBuilder::with_capacity(self.step_count, row_count);
        for (cell, fold) in folds.iter().enumerate() {
            if !histograms.is_empty()
                && let Some(combined) = histograms.finish(cell, fold.is_some(), &self.notes)
            {
                builder.push_sample(combined.map(|histogram| Sample::Histogram(Arc::new(histogram))));
                continue;
            }
            builder.push(fold.as_ref().map(StepFold::finish));
        }
        builder.finish(row_count).map_err(external)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        if !self.histograms.is_empty() {
            // Plans aggregate in one go (a test holds them to it), so that nothing has to be written out half-done.
            return Err(external(Error::internal("partial aggregates of native histograms are never written")));
        }
        let folds = self.take(emit_to);
        Ok(vec![self.write_states(&folds)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.reserve_groups(total_num_groups);
        let wrong = || external(Error::internal("an aggregation got states of another shape"));
        let states = values[0].as_any().downcast_ref::<ListArray>().ok_or_else(wrong)?;
        let numbers = states.values().as_any().downcast_ref::<Float64Array>().ok_or_else(wrong)?;
        let width = 1 + F::STATE_WIDTH;
        for (row, group) in group_indices.iter().enumerate() {
            let start = states.value_offsets()[row] as usize;
            for step in 0..self.step_count {
                let at = start + step * width;
                let state = numbers.values().get(at..at + width).ok_or_else(wrong)?;
                if state[0] == 0.0 {
                    continue;
                }
                let other = F::read_state(&state[1..]);
                match &mut self.folds[group * self.step_count + step] {
                    Some(fold) => fold.merge(&other),
                    none => *none = Some(other),
                }
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], _filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::new(self.kind, self.step_count, self.notes.clone());
        let group_indices: Vec<usize> = (0..values[0].len()).collect();
        rows.update_batch(values, &group_indices, None, group_indices.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.folds.capacity() * size_of::<Option<F>>() + self.histograms.size()
    }
}
