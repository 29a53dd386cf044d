//! A metric as a table: its raw samples, between times that the statement must say.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::promql_function::read_time;
use super::query_rows::QueryRows;
use super::sample_rows::{COLUMN_TIMESTAMP, SAMPLE_SCHEMA};
use super::{SqlRun, through};
use crate::error::Error;
use crate::model::{TimestampMs, quote_label_value};
use crate::query::engine::QueryTimes;

/// All samples of a metric.
#[derive(Debug)]
pub(super) struct MetricTable {
    run: SqlRun,
    name: String,
}

impl MetricTable {
    pub(super) fn new(run: SqlRun, name: String) -> Self {
        Self { run, name }
    }

    /// The samples that the filters can let through, and maybe some more. There must be a first time: all that was ever stored is
    /// nothing that anybody means, and a part of it would look like all of it.
    fn rows(&self, filters: &[Expr]) -> std::result::Result<QueryRows, Error> {
        let bounds = filters.iter().fold(Bounds::default(), Bounds::narrowed);
        let Some(from) = bounds.from else {
            let name = &self.name;
            return Err(Error::bad_data(format!(
                "table {name:?} has all samples of that metric, say from when: WHERE timestamp > now() - INTERVAL '1 hour'; \
                 for its newest samples ask promql('{name}')"
            )));
        };
        let until = bounds.until.map_or(self.run.now, |until| until.min(self.run.now));
        // A range ends at its evaluation time and begins behind its start.
        let range_ms = until.0.saturating_sub(from.0).saturating_add(1).max(1);
        let query = format!("{{{}}}[{range_ms}ms]", quote_label_value(&self.name));
        QueryRows::try_new(&self.run, query, QueryTimes::Instant(until), self.run.options.clone())
    }
}

#[async_trait]
impl TableProvider for MetricTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SAMPLE_SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters on time choose what is read; DataFusion applies all of them once more.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let reads_less = |filter: &&Expr| Bounds::default().narrowed(filter) != Bounds::default();
        Ok(filters
            .iter()
            .map(|filter| match reads_less(filter) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.rows(filters).map_err(through)?;
        rows.into_table()?.scan(state, projection, &[], limit).await
    }
}

/// Between which times the samples lie that a filter lets through, both included; a time too many does no harm.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
struct Bounds {
    from: Option<TimestampMs>,
    until: Option<TimestampMs>,
}

impl Bounds {
    fn narrowed(self, filter: &Expr) -> Self {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => self.narrowed(left).narrowed(right),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (time_of(left), time_of(right)) {
                (Some(Side::Column), Some(Side::Time(time))) => self.by(*op, time),
                (Some(Side::Time(time)), Some(Side::Column)) => op.swap().map_or(self, |op| self.by(op, time)),
                _ => self,
            },
            Expr::Between(between) if !between.negated => {
                match (time_of(&between.expr), time_of(&between.low), time_of(&between.high)) {
                    (Some(Side::Column), Some(Side::Time(low)), Some(Side::Time(high))) => {
                        self.by(Operator::GtEq, low).by(Operator::LtEq, high)
                    }
                    _ => self,
                }
            }
            _ => self,
        }
    }

    fn by(self, op: Operator, time: TimestampMs) -> Self {
        let later = Some(self.from.map_or(time, |from| from.max(time)));
        // The time was rounded down to a millisecond.
        let earlier = TimestampMs(time.0.saturating_add(1));
        let earlier = Some(self.until.map_or(earlier, |until| until.min(earlier)));
        match op {
            Operator::Gt | Operator::GtEq => Self { from: later, ..self },
            Operator::Lt | Operator::LtEq => Self { until: earlier, ..self },
            Operator::Eq => Self { from: later, until: earlier },
            _ => self,
        }
    }
}

/// A side of a comparison.
enum Side {
    Column,
    Time(TimestampMs),
}

fn time_of(expr: &Expr) -> Option<Side> {
    match expr {
        Expr::Column(column) => (column.name == COLUMN_TIMESTAMP).then_some(Side::Column),
        // The same time with another zone, or none. A date or a second would be an earlier time, and a cast of a cast another zone's.
        Expr::Cast(cast) if matches!(*cast.expr, Expr::Column(_)) && keeps_milliseconds(cast.field.data_type()) => {
            time_of(&cast.expr)
        }
        Expr::Literal(value, _) if value.data_type().is_temporal() => {
            read_time(COLUMN_TIMESTAMP, value).ok().map(Side::Time)
        }
        _ => None,
    }
}

fn keeps_milliseconds(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
}
