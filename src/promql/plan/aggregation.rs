//! Aggregation operators.

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};

use super::Planner;
use super::call::quote_bytes;
use super::relation::{apply, operator_parameters, plan_error};
use crate::error::Error;
use crate::model::{COLUMN_LABELS, COLUMN_VALUES, LabelNames, StepGrid};
use crate::promql::functions::aggregate::{FoldKind, fold};
use crate::promql::functions::call;
use crate::promql::functions::histogram_folds::FoldNotes;
use crate::promql::functions::labels::{LabelSelection, SelectLabels};
use crate::promql::operators::{CountValues, GroupQuantile, Limit, LimitKind, Parameter, Top, TopKind};
use crate::syntax::{Aggregate, AggregateOp, Expr, Span};

impl Planner<'_> {
    /// `op by (labels) (param, expr)`.
    pub fn plan_aggregate(&self, aggregate: &Aggregate, span: &Span, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let chooses = matches!(
            aggregate.op,
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio
        );
        let input = match chooses {
            true => self.plan_in_order(&aggregate.expr, grid)?,
            false => self.plan_vector(&aggregate.expr, grid)?,
        };
        let grouping = grouping_of(aggregate);
        let input = match aggregate.op {
            // These hand series on as they are, or make new ones.
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => input,
            AggregateOp::CountValues => input,
            _ => self.unite_name_marks(input, &grouping, grid)?,
        };
        match aggregate.op {
            AggregateOp::Sum => self.plan_fold(FoldKind::Sum, aggregate, input, grouping, grid),
            AggregateOp::Avg => self.plan_fold(FoldKind::Avg, aggregate, input, grouping, grid),
            AggregateOp::Min => self.plan_fold(FoldKind::Min, aggregate, input, grouping, grid),
            AggregateOp::Max => self.plan_fold(FoldKind::Max, aggregate, input, grouping, grid),
            AggregateOp::Count => self.plan_fold(FoldKind::Count, aggregate, input, grouping, grid),
            AggregateOp::Group => self.plan_fold(FoldKind::Group, aggregate, input, grouping, grid),
            AggregateOp::Stddev => self.plan_fold(FoldKind::Stddev, aggregate, input, grouping, grid),
            AggregateOp::Stdvar => self.plan_fold(FoldKind::Stdvar, aggregate, input, grouping, grid),
            AggregateOp::Topk => self.plan_top(TopKind::Topk, (aggregate, span), input, grouping, grid),
            AggregateOp::Bottomk => self.plan_top(TopKind::Bottomk, (aggregate, span), input, grouping, grid),
            AggregateOp::Quantile => self.plan_quantile(aggregate, input, grouping, grid),
            AggregateOp::CountValues => self.plan_count_values(aggregate, input, grouping, grid),
            AggregateOp::Limitk => self.plan_limit(LimitKind::Count, aggregate, input, grouping, grid),
            AggregateOp::LimitRatio => self.plan_limit(LimitKind::Ratio, aggregate, input, grouping, grid),
        }
    }

    /// `Aggregate: groupBy=[labels_keep(labels)], aggr=[prom_sum(values, labels)]`.
    fn plan_fold(
        &self,
        kind: FoldKind,
        aggregate: &Aggregate,
        input: LogicalPlan,
        grouping: LabelSelection,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let group = call(SelectLabels(grouping), vec![col(COLUMN_LABELS)]).alias(COLUMN_LABELS);
        let notes = FoldNotes { span: aggregate.expr.span.clone(), annotations: self.context.annotations.clone() };
        let values = fold(kind, grid.step_count(), col(COLUMN_VALUES), col(COLUMN_LABELS), notes).alias(COLUMN_VALUES);
        LogicalPlanBuilder::from(input)
            .aggregate(vec![group], vec![values])
            .and_then(LogicalPlanBuilder::build)
            .map_err(plan_error)
    }

    /// The parameter, and the inputs of an operator that takes it.
    fn with_parameter(
        &self,
        aggregate: &Aggregate,
        input: LogicalPlan,
        grid: StepGrid,
    ) -> Result<(Vec<LogicalPlan>, Parameter), Error> {
        let scalar = self.plan_scalar(parameter_of(aggregate)?, grid)?;
        let mut inputs = vec![input];
        let parameter = operator_parameters(vec![scalar], &mut inputs).pop();
        Ok((inputs, parameter.ok_or_else(|| Error::internal("one scalar gives one parameter"))?))
    }

    fn plan_top(
        &self,
        kind: TopKind,
        (aggregate, span): (&Aggregate, &Span),
        input: LogicalPlan,
        grouping: LabelSelection,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let (inputs, parameter) = self.with_parameter(aggregate, input, grid)?;
        let step_count = grid.step_count();
        let instant = step_count == 1;
        let annotations = self.context.annotations.clone();
        apply(Top { kind, parameter, grouping, step_count, instant, span: span.clone(), annotations }, inputs)
    }

    fn plan_limit(
        &self,
        kind: LimitKind,
        aggregate: &Aggregate,
        input: LogicalPlan,
        grouping: LabelSelection,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let parameter_span = parameter_of(aggregate)?.without_parens().span.clone();
        let (inputs, parameter) = self.with_parameter(aggregate, input, grid)?;
        let step_count = grid.step_count();
        let annotations = self.context.annotations.clone();
        apply(Limit { kind, parameter, parameter_span, grouping, step_count, annotations }, inputs)
    }

    fn plan_quantile(
        &self,
        aggregate: &Aggregate,
        input: LogicalPlan,
        grouping: LabelSelection,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let parameter_span = parameter_of(aggregate)?.without_parens().span.clone();
        let (inputs, parameter) = self.with_parameter(aggregate, input, grid)?;
        let quantile = GroupQuantile {
            parameter,
            parameter_span,
            grouping,
            step_count: grid.step_count(),
            vector_span: aggregate.expr.span.clone(),
            annotations: self.context.annotations.clone(),
        };
        apply(quantile, inputs)
    }

    fn plan_count_values(
        &self,
        aggregate: &Aggregate,
        input: LogicalPlan,
        grouping: LabelSelection,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let label =
            self.plan_label_name(parameter_of(aggregate)?, |name| format!("invalid label name {}", quote_bytes(name)))?;
        // The value's label joins the grouping: under `by` a label of that name on the input does not make groups.
        apply(CountValues { label, grouping, step_count: grid.step_count() }, vec![input])
    }
}

fn parameter_of(aggregate: &Aggregate) -> Result<&Expr, Error> {
    aggregate
        .param
        .as_ref()
        .ok_or_else(|| Error::internal(format!("{} has a parameter in every checked tree", aggregate.op.name())))
}

/// `by` keeps exactly the listed labels; `without` drops them and the metric name.
pub fn grouping_of(aggregate: &Aggregate) -> LabelSelection {
    if aggregate.without {
        let names = aggregate.grouping.iter().map(String::as_str).chain(["__name__"]);
        LabelSelection::Drop(LabelNames::new(names))
    } else {
        LabelSelection::Keep(LabelNames::new(&aggregate.grouping))
    }
}
