//! How DataFusion is set up for SQL: its own rules, its functions but for those that make much of little, and nothing to reach but
//! metrics.

use std::sync::Arc;

use chrono::DateTime;
use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList, TableFunction};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::execution_props::ExecutionProps;

use super::SqlRun;
use super::catalog::{CATALOG, MetricCatalog, MetricSchema, SCHEMA};
use super::label_function::label_function;
use super::promql_function::PromqlFunction;
use super::statement_limits::{GREEDY_AGGREGATES, SCALAR_FUNCTIONS};
use crate::error::Error;
use crate::query::limits::query_runtime;

/// Rows in a batch: few, as each may have long texts that nothing has counted.
const BATCH_ROWS: usize = 1_024;

/// The session of one statement. No file formats, no table factories, no object stores beyond those that nothing here can name.
pub(super) fn sql_session(run: SqlRun, shared_runtime: &RuntimeEnv) -> Result<SessionState, Error> {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_extension(Arc::clone(run.context.budget()));
    let options = config.options_mut();
    // It would go on until the deadline.
    options.execution.enable_recursive_ctes = false;
    // Not all clients know the newer forms of text.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.expand_views_at_output = true;
    let mut props = ExecutionProps::new();
    let now = DateTime::from_timestamp_millis(run.now.0).ok_or_else(|| Error::bad_data("now is out of range"))?;
    props.query_execution_start_time = Some(now);
    let scalar_functions = SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .filter(|function| SCALAR_FUNCTIONS.contains(&function.name()))
        .chain([Arc::new(label_function())])
        .collect();
    let aggregate_functions = SessionStateDefaults::default_aggregate_functions()
        .into_iter()
        .filter(|function| !GREEDY_AGGREGATES.contains(&function.name()))
        .collect();
    let catalogs = MemoryCatalogProviderList::new();
    let metrics = Arc::new(MetricSchema(run.clone()));
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(MetricCatalog(metrics)));
    let promql = Arc::new(TableFunction::new("promql".to_owned(), Arc::new(PromqlFunction(run.clone()))));
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(query_runtime(shared_runtime, run.context.budget()))
        .with_execution_props(props)
        .with_catalog_list(Arc::new(catalogs))
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalar_functions)
        .with_aggregate_functions(aggregate_functions)
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_function_list(vec![promql])
        .build())
}
