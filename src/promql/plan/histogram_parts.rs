//! Which parts of native histograms are looked at further out.

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};

use super::Planner;
use super::relation::{map_values, plan_error};
use crate::error::Error;
use crate::kernels::RangeWindows;
use crate::model::{COLUMN_LABELS, COLUMN_SAMPLES};
use crate::promql::functions::call;
use crate::promql::functions::histogram_stats::{HistogramStats, WithoutBuckets};
use crate::syntax::{BinaryOp, Expr, ExprKind};

/// What the functions around an expression look at.
///
/// | around a selector | parts |
/// |---|---|
/// | `histogram_count`, `histogram_sum` or `histogram_avg` | count and sum |
/// | and also a subquery, a quantile, a fraction or a trim anywhere | all |
/// | none of them | all |
///
/// Source: Prometheus v3.14 promql/engine.go `detectHistogramStatsDecoding`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum HistogramParts {
    /// All, so far: something further in may want less.
    #[default]
    Whole,
    /// Count and sum.
    CountAndSum,
    /// All, whatever comes further in.
    AlwaysWhole,
}

impl HistogramParts {
    /// The parts that are looked at inside of an expression.
    pub fn inside(self, expr: &Expr) -> Self {
        match &expr.kind {
            _ if self == Self::AlwaysWhole => self,
            ExprKind::Subquery(_) => Self::AlwaysWhole,
            ExprKind::Binary(binary) if matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => {
                Self::AlwaysWhole
            }
            ExprKind::Call(call) => match call.function.name {
                "histogram_count" | "histogram_sum" | "histogram_avg" => Self::CountAndSum,
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => Self::AlwaysWhole,
                _ => self,
            },
            _ => self,
        }
    }
}

impl Planner<'_> {
    /// Plans what is inside of an expression.
    pub fn inside<T>(&self, expr: &Expr, plan: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let outside = self.histogram_parts.get();
        self.histogram_parts.set(outside.inside(expr));
        let planned = plan();
        self.histogram_parts.set(outside);
        planned
    }

    /// Raw samples, with no more of their histograms than is looked at. `reads` are the windows with their left edges.
    pub fn needed_samples(&self, samples: LogicalPlan, reads: RangeWindows) -> Result<LogicalPlan, Error> {
        if self.histogram_parts.get() != HistogramParts::CountAndSum {
            return Ok(samples);
        }
        let stats = call(HistogramStats { reads }, vec![col(COLUMN_SAMPLES)]);
        LogicalPlanBuilder::from(samples)
            .project(vec![col(COLUMN_LABELS).alias(COLUMN_LABELS), stats.alias(COLUMN_SAMPLES)])
            .and_then(LogicalPlanBuilder::build)
            .map_err(plan_error)
    }

    /// Step cells, with no more of their histograms than is looked at.
    pub fn needed_steps(&self, steps: LogicalPlan) -> Result<LogicalPlan, Error> {
        match self.histogram_parts.get() {
            HistogramParts::CountAndSum => map_values(steps, WithoutBuckets),
            HistogramParts::Whole | HistogramParts::AlwaysWhole => Ok(steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{Features, parse};

    /// The parts that the innermost selector is asked for.
    fn parts_of(query: &str) -> HistogramParts {
        let expr = parse(query, &Features::default()).expect("a query");
        descend(&expr, HistogramParts::default()).expect("a selector")
    }

    fn descend(expr: &Expr, parts: HistogramParts) -> Option<HistogramParts> {
        let inside = parts.inside(expr);
        match &expr.kind {
            ExprKind::VectorSelector(_) | ExprKind::MatrixSelector(_) => Some(inside),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => descend(inner, inside),
            ExprKind::Subquery(subquery) => descend(&subquery.expr, inside),
            ExprKind::Binary(binary) => descend(&binary.lhs, inside),
            ExprKind::Aggregate(aggregate) => descend(&aggregate.expr, inside),
            ExprKind::Call(call) => call.args.iter().find_map(|arg| descend(arg, inside)),
            ExprKind::Number(_) | ExprKind::String(_) => None,
        }
    }

    #[test]
    fn only_count_and_sum_are_needed_where_nothing_around_reads_buckets() {
        for (query, needs_all) in [
            ("x", true),
            ("rate(x[5m])", true),
            ("histogram_stddev(x)", true),
            ("histogram_count(x)", false),
            ("histogram_sum(sum by (a) (rate(x[5m])))", false),
            ("histogram_avg(-x + 1)", false),
            ("histogram_quantile(0.5, x)", true),
            ("histogram_count(x </ 5)", true),
            ("histogram_count(max_over_time(x[5m:1m]))", true),
            ("max_over_time(histogram_count(x)[5m:1m])", true),
            ("histogram_quantile(0.5, histogram_count(x))", true),
        ] {
            assert_eq!(parts_of(query) != HistogramParts::CountAndSum, needs_all, "{query}");
        }
    }
}
