//! Which labels get a column of their own.
//!
//! The columns of a table must be known before its rows. What a query says of its labels (`by (job)`, `label_replace`) is taken
//! from it; of what it selects, the servers are asked for the names. A name too many gives a column of nulls; a label without a
//! column is still in the column `series`, so that nothing depends on these names being all.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;

use super::FlightSql;
use crate::error::Error;
use crate::model::{DurationMs, METRIC_NAME, Matcher, MetadataRequest, TimestampMs};
use crate::query::QueryTimes;
use crate::serve::grpc::flight::{LABEL_COLUMNS_MAX, SAMPLE_COLUMNS};
use crate::serve::grpc::request::query_options;
use crate::serve::http::within_deadline;
use crate::syntax::{AggregateOp, BinaryOp, DurationExpr, DurationExprKind, Expr, ExprKind, VectorSelector, walk};

/// The names that a query can give to labels.
#[derive(Debug, Default, PartialEq)]
struct LabelNames {
    /// Said by the query.
    said: BTreeSet<String>,
    /// All names of these series may be there.
    selected: Vec<Vec<Matcher>>,
}

impl LabelNames {
    fn of(expr: &Expr) -> Self {
        let mut names = Self::default();
        names.gather(expr);
        if !keeps_metric_name(expr) {
            names.said.remove(METRIC_NAME);
        }
        names
    }

    fn gather(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.gather(inner),
            ExprKind::Subquery(subquery) => self.gather(&subquery.expr),
            ExprKind::VectorSelector(selector) => self.selected.push(selector.matchers.clone()),
            ExprKind::MatrixSelector(matrix) => self.selected.push(matrix.selector.matchers.clone()),
            ExprKind::Binary(binary) => {
                self.gather(&binary.lhs);
                if !matches!(binary.op, BinaryOp::And | BinaryOp::Unless) {
                    self.gather(&binary.rhs);
                }
            }
            ExprKind::Aggregate(aggregate) => {
                let selects = matches!(
                    aggregate.op,
                    AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio
                );
                if selects || aggregate.without {
                    self.gather(&aggregate.expr);
                } else {
                    self.said.extend(aggregate.grouping.iter().cloned());
                }
                if aggregate.op == AggregateOp::CountValues {
                    self.said.extend(aggregate.param.as_ref().and_then(text_of));
                }
            }
            ExprKind::Call(call) => {
                call.args.iter().for_each(|arg| self.gather(arg));
                if ["label_replace", "label_join"].contains(&call.function.name) {
                    self.said.extend(call.args.get(1).and_then(text_of));
                }
            }
        }
    }
}

fn text_of(expr: &Expr) -> Option<String> {
    match &expr.without_parens().kind {
        ExprKind::String(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

/// May the result have a metric name, as far as its outermost operators tell?
fn keeps_metric_name(expr: &Expr) -> bool {
    match &expr.without_parens().kind {
        ExprKind::VectorSelector(_) | ExprKind::MatrixSelector(_) => true,
        ExprKind::Binary(binary) => {
            let is_filter = binary.op.is_comparison() && !binary.return_bool;
            (is_filter || binary.op.is_set_operator())
                && (keeps_metric_name(&binary.lhs) || keeps_metric_name(&binary.rhs))
        }
        ExprKind::Aggregate(aggregate) => match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                keeps_metric_name(&aggregate.expr)
            }
            _ => aggregate.grouping.iter().any(|name| name == METRIC_NAME) && !aggregate.without,
        },
        ExprKind::Call(call) => {
            let keeps =
                ["sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "last_over_time", "first_over_time"];
            let writes = ["label_replace", "label_join"];
            (keeps.contains(&call.function.name) && call.args.first().is_some_and(keeps_metric_name))
                || (writes.contains(&call.function.name)
                    && (call.args.first().is_some_and(keeps_metric_name)
                        || call.args.get(1).and_then(text_of).is_some_and(|name| name == METRIC_NAME)))
        }
        _ => false,
    }
}

/// How far before and behind its evaluation times a query may look, in seconds; `None` where its text does not say so plainly.
fn reach_seconds(expr: &Expr) -> Option<f64> {
    let mut reach = Some(0.0);
    let mut add = |length: Option<f64>| reach = reach.zip(length).map(|(reach, length)| reach + length);
    walk(expr, &mut |expr| match &expr.kind {
        ExprKind::VectorSelector(selector) => add(selector_reach(selector)),
        ExprKind::MatrixSelector(matrix) => {
            add(selector_reach(&matrix.selector));
            add(literal_seconds(&matrix.range));
        }
        ExprKind::Subquery(subquery) => {
            add(literal_seconds(&subquery.range));
            add(subquery.offset.as_ref().map_or(Some(0.0), literal_seconds));
            add(subquery.at.is_none().then_some(0.0));
        }
        _ => {}
    });
    reach
}

fn selector_reach(selector: &VectorSelector) -> Option<f64> {
    if selector.at.is_some() {
        return None;
    }
    selector.offset.as_ref().map_or(Some(0.0), literal_seconds)
}

fn literal_seconds(duration: &DurationExpr) -> Option<f64> {
    match &duration.kind {
        DurationExprKind::Literal(number) => Some(number.value.abs()),
        DurationExprKind::Unary(_, inner) | DurationExprKind::Paren(inner) => literal_seconds(inner),
        _ => None,
    }
}

impl FlightSql {
    /// The labels that get a column in the table of a query, sorted: none where there are more than a table takes.
    pub(super) async fn label_columns(
        &self,
        headers: &HeaderMap,
        expr: &Expr,
        times: QueryTimes,
    ) -> Result<Vec<String>, Error> {
        let LabelNames { said, selected } = LabelNames::of(expr);
        let mut names = said;
        if !selected.is_empty() {
            let window = window_of(expr, times, self.api().engine().options().lookback);
            let found = self.names_of_series(headers, selected, window).await?;
            let keeps_name = keeps_metric_name(expr);
            names.extend(found.into_iter().filter(|name| keeps_name || name != METRIC_NAME));
        }
        Ok(columns_of(names))
    }

    /// The labels that get a column in a table of all samples of a metric.
    pub(super) async fn label_columns_of_metric(&self, headers: &HeaderMap, name: &str) -> Result<Vec<String>, Error> {
        let found = self.names_of_series(headers, vec![vec![Matcher::equal(METRIC_NAME, name)]], None).await?;
        Ok(columns_of(found.into_iter().collect()))
    }

    async fn names_of_series(
        &self,
        headers: &HeaderMap,
        selectors: Vec<Vec<Matcher>>,
        window: Option<(TimestampMs, TimestampMs)>,
    ) -> Result<Vec<String>, Error> {
        let (start, end) = window.unzip();
        let request = MetadataRequest { selectors, start, end, limit: None };
        let engine = self.api().engine();
        let options = query_options(self.api(), headers, None)?;
        let most = engine.options().timeout;
        let timeout = options.timeout.map_or(most, |asked| asked.min(most));
        let context = engine.context(&options);
        let source = Arc::clone(engine.source());
        let task = self.api().cpu().spawn(async move { source.label_names(&request, &context).await });
        within_deadline(timeout, task).await
    }
}

/// Names that can be columns. A label of the name of another column is in `series` only.
fn columns_of(mut names: BTreeSet<String>) -> Vec<String> {
    names.retain(|name| !name.is_empty() && !SAMPLE_COLUMNS.contains(&name.as_str()));
    if names.len() > LABEL_COLUMNS_MAX { Vec::new() } else { names.into_iter().collect() }
}

/// Between which times a query reads; `None` where that is not plain.
fn window_of(expr: &Expr, times: QueryTimes, lookback: DurationMs) -> Option<(TimestampMs, TimestampMs)> {
    let (first, last) = match times {
        QueryTimes::Instant(time) => (time, time),
        QueryTimes::Range { grid, end } => (grid.start(), end),
    };
    // What does not fit into milliseconds becomes the longest reach.
    let reach_ms = (reach_seconds(expr)? * 1e3) as i64;
    let start = first.0.saturating_sub(reach_ms).saturating_sub(lookback.0);
    Some((TimestampMs(start), TimestampMs(last.0.saturating_add(reach_ms))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{Features, parse};

    fn read(query: &str) -> Expr {
        parse(query, &Features::default()).expect(query)
    }

    #[test]
    fn what_a_query_says_of_its_labels_is_known_without_asking() {
        for (query, said, selected) in [
            ("1 + 2", &[][..], 0),
            ("sum(x)", &[], 0),
            ("sum by (job, zone) (rate(x[5m]))", &["job", "zone"], 0),
            ("count_values by (job) (\"version\", x)", &["job", "version"], 0),
            ("label_replace(sum by (a) (x), \"b\", \"$1\", \"a\", \"(.*)\")", &["a", "b"], 0),
            ("sum by (a) (x) / on (a) group_left (b) y", &["a"], 1),
            ("sum by (a) (x) and y", &["a"], 0),
            ("topk by (job) (5, x)", &[], 1),
            ("sum without (instance) (x or y)", &[], 2),
            ("max_over_time(sum by (a) (x)[1h:])", &["a"], 0),
        ] {
            let names = LabelNames::of(&read(query));
            let found: Vec<&str> = names.said.iter().map(String::as_str).collect();
            assert_eq!((found.as_slice(), names.selected.len()), (said, selected), "{query}");
        }
    }

    #[test]
    fn metric_names_have_a_column_where_there_can_be_any() {
        for (query, keeps) in [
            ("x", true),
            ("(x > 1) or y", true),
            ("topk(1, x)", true),
            ("sort(x)", true),
            ("sum by (__name__) (x)", true),
            ("x > bool 1", false),
            ("rate(x[5m])", false),
            ("x + 1", false),
            ("sum(x)", false),
            ("label_replace(rate(x[5m]), \"__name__\", \"y\", \"\", \"\")", true),
        ] {
            assert_eq!(keeps_metric_name(&read(query)), keeps, "{query}");
        }
    }

    #[test]
    fn names_are_asked_for_where_the_query_looks() {
        for (query, reach) in [
            ("x", Some(0.0)),
            ("rate(x[5m])", Some(300.0)),
            ("rate(x[5m] offset 1h)", Some(3_900.0)),
            ("max_over_time(x[1h:1m] offset -5m)", Some(3_900.0)),
            ("x @ 5", None),
        ] {
            assert_eq!(reach_seconds(&read(query)), reach, "{query}");
        }
    }
}
