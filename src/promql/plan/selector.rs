//! Selectors: the leaves.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};

use super::call::no_rows;
use super::histogram_parts::HistogramParts;
use super::relation::{map_values, plan_error, project};
use super::{PlannedValue, Planner};
use crate::error::Error;
use crate::kernels::{ExtendedWindows, RangeWindows, WindowExtension};
use crate::model::{COLUMN_LABELS, COLUMN_SAMPLES, DurationMs, SelectForm, SelectRequest, StepGrid, TimestampMs};
use crate::promql::functions::call;
use crate::promql::functions::extended_range::{ExtendToEdges, SmoothToSteps};
use crate::promql::functions::range::AlignToSteps;
use crate::promql::functions::start_times::StartTimesToSteps;
use crate::promql::functions::steps::RepeatSteps;
use crate::scan::{SelectorForm, SeriesColumn, SeriesTable, SharedScan};
use crate::syntax::{Expr, ExprKind, MatrixSelector, RangeExtension, Span, VectorSelector};

/// Raw samples and the windows over them.
pub struct RangePlan {
    /// A samples table.
    pub plan: LogicalPlan,
    /// One window a step.
    pub windows: RangeWindows,
    /// Which samples beside its windows it reads.
    pub extension: Option<WindowExtension>,
}

impl Planner<'_> {
    /// A plain selector: the newest sample of each series at each step, or one on the line between samples.
    pub fn plan_vector_selector(
        &self,
        selector: &VectorSelector,
        span: &Span,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        match selector.extension {
            Some(RangeExtension::Smoothed) => {
                self.plan_at_its_times(selector, grid, |times| self.scan_smoothed(selector, span, times))
            }
            // Without a window there is nothing to anchor.
            Some(RangeExtension::Anchored) | None => self.plan_instant_selector(selector, grid, SeriesColumn::Values),
        }
    }

    fn plan_instant_selector(
        &self,
        selector: &VectorSelector,
        grid: StepGrid,
        column: SeriesColumn,
    ) -> Result<LogicalPlan, Error> {
        let lookback = self.options.lookback;
        self.plan_at_its_times(selector, grid, |times| self.scan_steps(selector, times, lookback, column))
    }

    /// The samples' own times of a plain selector.
    ///
    /// With `@` Prometheus reads the samples of the time before the offset, but looks back from the time of `@` whatever the
    /// offset; so only what lies in both windows is seen. A smoothed selector reads on by the lookback. With 5m of it:
    ///
    /// | selector | newest sample in |
    /// |---|---|
    /// | `x @ 900 offset 2m` | (600, 780] |
    /// | `x smoothed @ 900 offset 2m` | (600, 900] |
    /// | `x @ 900 offset -2m` | (720, 900] |
    /// | `x @ 900 offset 5m` | nothing |
    ///
    /// Source: Prometheus v3.14 promql/engine.go `rangeEvalTimestampFunctionOverVectorSelector`, `getTimeRangesForSelector`.
    pub fn plan_sample_times(&self, selector: &VectorSelector, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let Some(at) = selector.at else {
            return self.plan_instant_selector(selector, grid, SeriesColumn::SampleTimes);
        };
        let lookback = self.options.lookback;
        let looked_at = self.bounds.resolve(at);
        let read = looked_at - self.bounds.offset(selector.offset.as_ref())?;
        let read_on = match selector.extension {
            Some(RangeExtension::Smoothed) => read + lookback,
            Some(RangeExtension::Anchored) | None => read,
        };
        let newest = looked_at.min(read_on);
        let seen = newest - (looked_at.max(read) - lookback);
        if seen.0 <= 0 {
            return no_rows(self.plan_instant_selector(selector, grid, SeriesColumn::SampleTimes)?);
        }
        let once = self.scan_steps(selector, StepGrid::instant(newest), seen, SeriesColumn::SampleTimes)?;
        match grid.step_count() {
            1 => Ok(once),
            step_count => map_values(once, RepeatSteps { step_count }),
        }
    }

    /// Moves the grid to where `@` and the offset say.
    fn plan_at_its_times(
        &self,
        selector: &VectorSelector,
        grid: StepGrid,
        scan: impl Fn(StepGrid) -> Result<LogicalPlan, Error>,
    ) -> Result<LogicalPlan, Error> {
        let offset = self.bounds.offset(selector.offset.as_ref())?;
        if let Some(at) = selector.at {
            let time = self.bounds.resolve(at) - offset;
            let once = scan(StepGrid::instant(time))?;
            if grid.step_count() == 1 {
                return Ok(once);
            }
            return map_values(once, RepeatSteps { step_count: grid.step_count() });
        }
        scan(grid.shifted_back(offset))
    }

    /// The start timestamps of a plain selector's samples, in seconds; 0 where they are not known. Only raw samples have them.
    pub fn plan_start_times(&self, selector: &VectorSelector, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let offset = self.bounds.offset(selector.offset.as_ref())?;
        let read = match selector.at {
            Some(at) => StepGrid::instant(self.bounds.resolve(at) - offset),
            None => grid.shifted_back(offset),
        };
        let lookback = self.options.lookback;
        let form = SelectForm::Samples { start: read.start() - lookback, end: read.last() };
        let samples = self.scan(selector, form, SeriesColumn::Values)?;
        let windows = windows_on(read, read, DurationMs(0), lookback);
        let steps =
            project(samples, col(COLUMN_LABELS), call(StartTimesToSteps { windows }, vec![col(COLUMN_SAMPLES)]))?;
        match selector.at {
            Some(_) if grid.step_count() > 1 => map_values(steps, RepeatSteps { step_count: grid.step_count() }),
            _ => Ok(steps),
        }
    }

    fn scan_steps(
        &self,
        selector: &VectorSelector,
        grid: StepGrid,
        lookback: DurationMs,
        column: SeriesColumn,
    ) -> Result<LogicalPlan, Error> {
        // Whether a histogram is the first after a reset shows in raw samples only. Who carries start times carries all of them.
        let looks_at_resets = self.histogram_parts.get() == HistogramParts::CountAndSum;
        match self.source.selector_form() {
            SelectorForm::Steps if !(looks_at_resets && self.source.tells_start_times()) => {
                self.needed_steps(self.scan(selector, SelectForm::Steps { grid, lookback }, column)?)
            }
            SelectorForm::Steps | SelectorForm::Samples => {
                let start = grid.start() - lookback;
                let samples = self.scan(selector, SelectForm::Samples { start, end: grid.last() }, column)?;
                let windows = windows_on(grid, grid, DurationMs(0), lookback);
                let align = AlignToSteps { windows, sample_times: column == SeriesColumn::SampleTimes };
                let cells = call(align, vec![col(COLUMN_SAMPLES)]);
                // A sample as old as the lookback is not even read.
                let reads = RangeWindows { range_ms: windows.range_ms.saturating_sub(1), ..windows };
                project(self.needed_samples(samples, reads)?, col(COLUMN_LABELS), cells)
            }
        }
    }

    /// Of raw samples, whatever else the source has: a step needs the samples on both sides of it.
    fn scan_smoothed(&self, selector: &VectorSelector, span: &Span, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let steps = windows_on(grid, grid, DurationMs(0), DurationMs(0));
        let windows = self.extended(steps, WindowExtension::Smoothed);
        let (start, end) = covered(&windows.reads());
        let samples = self.scan(selector, SelectForm::Samples { start, end }, SeriesColumn::Values)?;
        let samples = self.needed_samples(samples, windows.reads())?;
        let smooth = SmoothToSteps { windows, span: span.clone(), annotations: self.context.annotations.clone() };
        let cells = call(smooth, vec![col(COLUMN_LABELS), col(COLUMN_SAMPLES)]);
        project(samples, col(COLUMN_LABELS), cells)
    }

    /// Windows with what is read beside them.
    pub fn extended(&self, windows: RangeWindows, extension: WindowExtension) -> ExtendedWindows {
        ExtendedWindows { windows, extension, lookback_ms: self.options.lookback.0 }
    }

    fn scan(&self, selector: &VectorSelector, form: SelectForm, column: SeriesColumn) -> Result<LogicalPlan, Error> {
        let request = SelectRequest { matchers: selector.matchers.clone(), form };
        let shared = || Arc::new(SharedScan::new(self.context.clone()));
        let mut scans = self.scans.borrow_mut();
        let shared = Arc::clone(scans.entry((request.clone(), column)).or_insert_with(shared));
        let table = SeriesTable::new(Arc::clone(self.source), request, column, self.context.clone()).shared(shared);
        let name = format!("scan_{}", self.scan_count.replace(self.scan_count.get() + 1));
        LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(plan_error)
    }

    /// The windows of a range selector, with the raw samples of all of them.
    pub fn plan_matrix_selector(&self, matrix: &MatrixSelector, grid: StepGrid) -> Result<RangePlan, Error> {
        let range = self.bounds.positive_duration(&matrix.range)?;
        let offset = self.bounds.offset(matrix.selector.offset.as_ref())?;
        let windows = match matrix.selector.at {
            Some(at) => fixed_window(self.bounds.resolve(at) - offset, grid, range),
            None => windows_on(grid.shifted_back(offset), grid, offset, range),
        };
        let extension = matrix.selector.extension.map(window_extension);
        let reads = extension.map_or(windows, |extension| self.extended(windows, extension).reads());
        let (start, end) = covered(&reads);
        let plan = self.scan(&matrix.selector, SelectForm::Samples { start, end }, SeriesColumn::Values)?;
        Ok(RangePlan { plan: self.needed_samples(plan, reads)?, windows, extension })
    }

    /// Whatever has a range: a selector in brackets or a subquery.
    pub fn plan_range(&self, expr: &Expr, grid: StepGrid) -> Result<RangePlan, Error> {
        match &expr.without_parens().kind {
            ExprKind::MatrixSelector(matrix) => self.plan_matrix_selector(matrix, grid),
            ExprKind::Subquery(subquery) => self.inside(expr.without_parens(), || self.plan_subquery(subquery, grid)),
            _ => Err(Error::internal(format!("expected a range vector, found {:?}", expr.value_type()))),
        }
    }

    /// An instant query of a range: its samples are the result.
    pub fn plan_top_level_range(&self, expr: &Expr, grid: StepGrid) -> Result<PlannedValue, Error> {
        let RangePlan { plan, windows, extension } = match &expr.without_parens().kind {
            ExprKind::Subquery(subquery) => {
                self.inside(expr.without_parens(), || self.plan_top_level_subquery(subquery, grid))?
            }
            _ => self.plan_range(expr, grid)?,
        };
        let (start, end) = covered(&windows);
        let Some(extension) = extension else {
            return Ok(PlannedValue::Samples { plan, start, end });
        };
        let extend = ExtendToEdges { windows: self.extended(windows, extension) };
        let samples = call(extend, vec![col(COLUMN_SAMPLES)]);
        let plan = LogicalPlanBuilder::from(plan)
            .project(vec![col(COLUMN_LABELS), samples.alias(COLUMN_SAMPLES)])
            .and_then(LogicalPlanBuilder::build)
            .map_err(plan_error)?;
        // The sample at the left edge is part of the result.
        Ok(PlannedValue::Samples { plan, start: start - DurationMs(1), end })
    }
}

/// The modifier as the kernels know it.
pub fn window_extension(extension: RangeExtension) -> WindowExtension {
    match extension {
        RangeExtension::Anchored => WindowExtension::Anchored,
        RangeExtension::Smoothed => WindowExtension::Smoothed,
    }
}

/// Windows whose right edges are the steps of `ends`, evaluated at the steps of `grid`.
pub fn windows_on(ends: StepGrid, grid: StepGrid, _offset: DurationMs, range: DurationMs) -> RangeWindows {
    RangeWindows {
        first_end_ms: ends.start().0,
        end_step_ms: ends.step().0,
        first_eval_ms: grid.start().0,
        eval_step_ms: grid.step().0,
        step_count: grid.step_count(),
        range_ms: range.0,
    }
}

/// The same window at every step of `grid`.
pub fn fixed_window(end: TimestampMs, grid: StepGrid, range: DurationMs) -> RangeWindows {
    RangeWindows {
        first_end_ms: end.0,
        end_step_ms: 0,
        first_eval_ms: grid.start().0,
        eval_step_ms: grid.step().0,
        step_count: grid.step_count(),
        range_ms: range.0,
    }
}

/// What all windows together cover: `start < t ≤ end`.
pub fn covered(windows: &RangeWindows) -> (TimestampMs, TimestampMs) {
    let first_end = TimestampMs(windows.first_end_ms);
    let moved = windows.end_step_ms.saturating_mul(windows.step_count.saturating_sub(1) as i64);
    (first_end - DurationMs(windows.range_ms), first_end + DurationMs(moved))
}
