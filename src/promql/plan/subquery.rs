//! Subqueries: an expression on a grid of its own, read as raw samples.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan, LogicalPlanBuilder, col};

use super::Planner;
use super::relation::plan_error;
use super::selector::{RangePlan, covered, fixed_window, windows_on};
use crate::error::{Error, ErrorKind};
use crate::kernels::RangeWindows;
use crate::model::{COLUMN_LABELS, COLUMN_SAMPLES, COLUMN_VALUES, DurationMs, StepGrid, TimestampMs, samples_schema};
use crate::promql::functions::call;
use crate::promql::functions::steps::SamplesFromSteps;
use crate::syntax::Subquery;

impl Planner<'_> {
    /// The inner expression once over the union of all windows; each step cuts its window out of that.
    pub fn plan_subquery(&self, subquery: &Subquery, grid: StepGrid) -> Result<RangePlan, Error> {
        self.plan_subquery_over(subquery, grid, |inner| self.plan_vector(&subquery.expr, inner))
    }

    /// A subquery that is the whole query.
    pub fn plan_top_level_subquery(&self, subquery: &Subquery, grid: StepGrid) -> Result<RangePlan, Error> {
        self.plan_subquery_over(subquery, grid, |inner| {
            self.finish_names(self.plan_vector(&subquery.expr, inner)?, inner) //
        })
    }

    fn plan_subquery_over(
        &self,
        subquery: &Subquery,
        grid: StepGrid,
        plan_steps: impl FnOnce(StepGrid) -> Result<LogicalPlan, Error>,
    ) -> Result<RangePlan, Error> {
        let range = self.bounds.positive_duration(&subquery.range)?;
        let step = match &subquery.step {
            Some(step) => self.bounds.positive_duration(step)?,
            None => self.options.default_subquery_step,
        };
        let offset = self.bounds.offset(subquery.offset.as_ref())?;
        let windows = match subquery.at {
            Some(at) => fixed_window(self.bounds.resolve(at) - offset, grid, range),
            None => windows_on(grid.shifted_back(offset), grid, offset, range),
        };
        let plan = match inner_grid(&windows, step) {
            None => empty_samples()?,
            Some(inner) if inner.step_count() > self.options.subquery_steps_max => {
                return Err(Error::new(
                    ErrorKind::TooManySamples,
                    format!(
                        "subquery has {} steps, more than the limit of {}: choose a longer step or a shorter range",
                        inner.step_count(),
                        self.options.subquery_steps_max
                    ),
                ));
            }
            Some(inner) => {
                let steps = plan_steps(inner)?;
                let samples = call(SamplesFromSteps { grid: inner }, vec![col(COLUMN_VALUES)]);
                LogicalPlanBuilder::from(steps)
                    .project(vec![col(COLUMN_LABELS).alias(COLUMN_LABELS), samples.alias(COLUMN_SAMPLES)])
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(plan_error)?
            }
        };
        Ok(RangePlan { plan, windows, extension: None })
    }
}

/// Absolute multiples of the step, strictly after the left edge of the first window up to the right edge of the last.
/// `None` where there is no such multiple.
fn inner_grid(windows: &RangeWindows, step: DurationMs) -> Option<StepGrid> {
    let (start, end) = covered(windows);
    let first = start.0.div_euclid(step.0).checked_add(1)?.checked_mul(step.0)?;
    StepGrid::try_new(TimestampMs(first), end, step)
}

fn empty_samples() -> Result<LogicalPlan, Error> {
    let schema = DFSchema::try_from(samples_schema().as_ref().clone()).map_err(plan_error)?;
    Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner_times(first_end_ms: i64, range_ms: i64, step_ms: i64) -> Vec<i64> {
        let windows = RangeWindows {
            first_end_ms,
            end_step_ms: 1,
            first_eval_ms: first_end_ms,
            eval_step_ms: 1,
            step_count: 1,
            range_ms,
        };
        inner_grid(&windows, DurationMs(step_ms)).map_or(vec![], |grid| grid.times().map(|time| time.0).collect())
    }

    #[test]
    fn sub_steps_are_absolute_multiples_and_the_left_edge_is_out() {
        assert_eq!(inner_times(100, 50, 10), [60, 70, 80, 90, 100]);
        assert_eq!(inner_times(105, 50, 10), [60, 70, 80, 90, 100]);
        assert_eq!(inner_times(-5, 20, 10), [-20, -10]);
        assert_eq!(inner_times(9, 5, 10), [0i64; 0]);
    }
}
