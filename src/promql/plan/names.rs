//! When results lose the metric name that is no longer true of them, and where label sets must be unique for that.
//!
//! | | without flags | `promql-delayed-name-removal` |
//! |---|---|---|
//! | a function, arithmetic, `bool` | drops the name | marks the series |
//! | equal labels after a range function | an error | allowed |
//! | equal labels after anything else | one series, an error at a common step | at an instant allowed, over a range as without flags |
//! | the end of the query | | drops marked names; equal labels are one series, an error at a common step |
//!
//! Source: Prometheus v3.14 promql/engine.go, wherever `enableDelayedNameRemoval` stands.

use datafusion::logical_expr::{Expr, LogicalPlan, col};

use super::relation::{apply, project, without_name};
use super::{Planner, relation};
use crate::error::Error;
use crate::model::{COLUMN_LABELS, COLUMN_VALUES, LabelNames, METRIC_NAME, StepGrid};
use crate::promql::functions::call;
use crate::promql::functions::labels::{DropMarkedNames, LabelSelection, MarkName, NameRemoval, SelectLabels};
use crate::promql::operators::{Duplicates, UniteNameMarks};

impl Planner<'_> {
    /// When names go.
    pub fn name_removal(&self) -> NameRemoval {
        if self.options.features.delayed_name_removal { NameRemoval::AtEnd } else { NameRemoval::AtOnce }
    }

    /// The labels of a series that loses its name: without it, or marked.
    pub fn labels_without_name(&self) -> Expr {
        match self.name_removal() {
            NameRemoval::AtOnce => without_name(),
            NameRemoval::AtEnd => call(MarkName, vec![col(COLUMN_LABELS)]),
        }
    }

    /// The same for functions that read one property of a histogram: Prometheus leaves them `__type__` and `__unit__` where
    /// names go at once (`simpleHistogramFunc`).
    pub fn labels_without_bare_name(&self) -> Expr {
        match self.name_removal() {
            NameRemoval::AtOnce => {
                let name = LabelSelection::Drop(LabelNames::new([METRIC_NAME]));
                call(SelectLabels(name), vec![col(COLUMN_LABELS)])
            }
            NameRemoval::AtEnd => self.labels_without_name(),
        }
    }

    /// What happens to equal labels after a function or operator that goes step by step.
    pub fn step_duplicates(&self, grid: StepGrid) -> Duplicates {
        match self.name_removal() {
            NameRemoval::AtEnd if grid.step_count() == 1 => Duplicates::Keep,
            _ => Duplicates::GlueDisjoint,
        }
    }

    /// Checks the labels of what a function or operator made that goes step by step.
    pub fn unique_by_step(&self, plan: LogicalPlan, grid: StepGrid) -> Result<LogicalPlan, Error> {
        relation::unique(plan, grid, self.step_duplicates(grid))
    }

    /// Checks the labels of what a function made that goes series by series: a range function, a negation. `at_once` holds
    /// where names go at once; a marked series still has the labels it had.
    pub fn unique_by_series(
        &self,
        plan: LogicalPlan,
        grid: StepGrid,
        at_once: Duplicates,
    ) -> Result<LogicalPlan, Error> {
        match self.name_removal() {
            NameRemoval::AtOnce => relation::unique(plan, grid, at_once),
            NameRemoval::AtEnd => Ok(plan),
        }
    }

    /// Gives all series of a group the mark that the group's own series will have.
    pub fn unite_name_marks(
        &self,
        plan: LogicalPlan,
        grouping: &LabelSelection,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        match self.name_removal() {
            NameRemoval::AtOnce => Ok(plan),
            NameRemoval::AtEnd => {
                apply(UniteNameMarks { grouping: grouping.clone(), step_count: grid.step_count() }, vec![plan])
            }
        }
    }

    /// The end of a query: marked series lose their names.
    pub fn finish_names(&self, plan: LogicalPlan, grid: StepGrid) -> Result<LogicalPlan, Error> {
        match self.name_removal() {
            NameRemoval::AtOnce => Ok(plan),
            NameRemoval::AtEnd => {
                let named = project(plan, call(DropMarkedNames, vec![col(COLUMN_LABELS)]), col(COLUMN_VALUES))?;
                relation::unique(named, grid, Duplicates::GlueDisjoint)
            }
        }
    }
}
