//! SQL over PromQL: cargo feature `sql`.
//!
//! | in SQL | is |
//! |---|---|
//! | `promql('up')`, `promql('up', time)` | an instant query, now or at a time |
//! | `promql('rate(x[5m])', start, end, step[, lookback])` | a range query |
//! | `"metric"` with a lower bound of `timestamp` | the raw samples of a metric |
//! | `label(labels, 'job')` | the value of a label, null where a sample has none |
//!
//! A row is a sample: `timestamp` (ms, UTC), `value`, `labels` (a map). DataFusion plans and runs the statement with its own rules;
//! PromQL inside of it is planned and run by the engine, as everywhere. A statement reads: there is no file, no object store and no
//! setting that it could reach or change.
//! Whatever its operators hold and whatever its queries hold counts in one budget, that of one query, with one deadline.

mod catalog;
mod label_function;
mod metric_table;
mod promql_function;
mod query_rows;
mod sample_rows;
mod session;
mod statement_limits;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::stream::{self, StreamExt};

use self::session::sql_session;
use self::statement_limits::{check_plan, check_statement};
use super::collect::query_error;
use super::engine::{QueryEngine, QueryOptions};
use super::stream::CountedTables;
use crate::error::{Error, ErrorKind};
use crate::model::{QueryContext, TimestampMs};

/// A statement that is read, checked and planned. Nobody has been asked yet.
#[derive(Debug)]
pub struct SqlStatement {
    plan: Arc<dyn ExecutionPlan>,
    state: SessionState,
    context: QueryContext,
}

/// What everything in one statement shares.
#[derive(Clone, Debug)]
struct SqlRun {
    engine: QueryEngine,
    options: QueryOptions,
    context: QueryContext,
    now: TimestampMs,
}

impl QueryEngine {
    /// Reads a statement of SQL and plans it. `now` is what `now()` means in it.
    ///
    /// # Errors
    /// `BadData` where it cannot be read, or would do anything but read.
    pub async fn sql(&self, statement: &str, now: TimestampMs, options: &QueryOptions) -> Result<SqlStatement, Error> {
        let context = self.context(options);
        let run = SqlRun { engine: self.clone(), options: options.clone(), context: context.clone(), now };
        let state = sql_session(run, self.runtime())?;
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(statement, &dialect).map_err(sql_error)?;
        check_statement(&statement)?;
        let logical = state.statement_to_plan(statement).await.map_err(sql_error)?;
        let reads_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reads_only.verify_plan(&logical).map_err(|error| {
            Error::bad_data(format!("SQL here reads only, ask with SELECT: {}", error.strip_backtrace()))
        })?;
        check_plan(&logical).map_err(sql_error)?;
        let plan = state.create_physical_plan(&logical).await.and_then(with_pauses).map_err(sql_error)?;
        Ok(SqlStatement { plan, state, context })
    }
}

impl SqlStatement {
    /// The columns of its table.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// Runs it. What it costs is computed by whoever polls the tables; dropping them ends its requests. What is noted on the way
    /// is in the context once they have ended.
    pub fn run(self) -> Result<(CountedTables, QueryContext), Error> {
        let batches = execute_stream(self.plan, self.state.task_ctx()).map_err(sql_error)?;
        let context = self.context.clone();
        let tables = stream::unfold(Some((batches, self.context)), |running| async move {
            let (mut batches, context) = running?;
            let next = batches.next();
            let next = match context.deadline {
                None => next.await,
                Some(deadline) => match tokio::time::timeout_at(deadline.into(), next).await {
                    Ok(next) => next,
                    Err(_) => {
                        let late = Error::new(ErrorKind::Timeout, "query timed out in expression evaluation");
                        return Some((Err(late), None));
                    }
                },
            };
            let table = next?.map_err(sql_error);
            let counted = table.and_then(|table| context.hold_table(&table).map(|held| (table, held)));
            let going_on = counted.is_ok().then_some((batches, context));
            Some((counted, going_on))
        });
        Ok((tables.boxed(), context))
    }
}

/// Makes joins give way now and then: one row in can be thousands of tables out, and in between nobody would look at the clock.
fn with_pauses(plan: Arc<dyn ExecutionPlan>) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    let with_pauses = plan.transform_up(|node| {
        Ok(match node.name().ends_with("JoinExec") {
            true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(node),
        })
    })?;
    Ok(with_pauses.data)
}

/// Who is at fault: the text of a statement, its data, or what it asked of the engine.
fn sql_error(error: DataFusionError) -> Error {
    let kind = match error.find_root() {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => ErrorKind::BadData,
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => ErrorKind::Execution,
        _ => return query_error(error),
    };
    // Lists of what there is are long.
    let text: String = error.strip_backtrace().chars().take(1_000).collect();
    Error::new(kind, format!("SQL: {text}"))
}

/// An error of ours on its way through DataFusion.
fn through(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests;
