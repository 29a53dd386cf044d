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

use super::columns::{CellsBuilder, cells_argument};
use super::external;
use crate::error::Error;
use crate::kernels::{AvgFold, CountFold, GroupFold, MaxFold, MinFold, StddevFold, StdvarFold, StepFold, SumFold};
use crate::model::values_type;

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

    fn accumulator(self, step_count: usize) -> Box<dyn GroupsAccumulator> {
        match self {
            Self::Sum => Box::new(StepAccumulator::<SumFold>::new(step_count)),
            Self::Avg => Box::new(StepAccumulator::<AvgFold>::new(step_count)),
            Self::Min => Box::new(StepAccumulator::<MinFold>::new(step_count)),
            Self::Max => Box::new(StepAccumulator::<MaxFold>::new(step_count)),
            Self::Count => Box::new(StepAccumulator::<CountFold>::new(step_count)),
            Self::Group => Box::new(StepAccumulator::<GroupFold>::new(step_count)),
            Self::Stddev => Box::new(StepAccumulator::<StddevFold>::new(step_count)),
            Self::Stdvar => Box::new(StepAccumulator::<StdvarFold>::new(step_count)),
        }
    }
}

/// The expression `prom_sum(values)`.
pub fn fold(kind: FoldKind, step_count: usize, values: Expr) -> Expr {
    let aggregate = StepAggregate { kind, step_count, signature: Signature::any(1, Volatility::Immutable) };
    Expr::AggregateFunction(AggregateFunction::new_udf(
        Arc::new(AggregateUDF::new_from_impl(aggregate)),
        vec![values],
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
        Ok(self.kind.accumulator(self.step_count))
    }
}

/// One fold per group and step, in one flat vector: group g, step s at `g · step_count + s`.
#[derive(Debug)]
struct StepAccumulator<F> {
    step_count: usize,
    folds: Vec<Option<F>>,
}

impl<F: StepFold> StepAccumulator<F> {
    fn new(step_count: usize) -> Self {
        Self { step_count, folds: Vec::new() }
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
        for (row, group) in group_indices.iter().enumerate() {
            let cells = row * self.step_count;
            let folds = &mut self.folds[group * self.step_count..(group + 1) * self.step_count];
            for (step, fold) in folds.iter_mut().enumerate() {
                if input.cells.is_valid(cells + step) {
                    fold.get_or_insert_default().add(input.cells.value(cells + step));
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let folds = self.take(emit_to);
        let row_count = folds.len() / self.step_count.max(1);
        let mut builder = CellsBuilder::with_capacity(self.step_count, row_count);
        for fold in &folds {
            builder.push(fold.as_ref().map(StepFold::finish));
        }
        builder.finish(row_count).map_err(external)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
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
        let mut rows = Self::new(self.step_count);
        let group_indices: Vec<usize> = (0..values[0].len()).collect();
        rows.update_batch(values, &group_indices, None, group_indices.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.folds.capacity() * size_of::<Option<F>>()
    }
}
