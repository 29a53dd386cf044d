//! An execution with another configuration.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionConfig;

/// The context with its configuration changed, for a part of a plan that needs another size of batches or an extension of its
/// own.
pub fn with_config(context: &TaskContext, change: impl FnOnce(SessionConfig) -> SessionConfig) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        change(context.session_config().clone()),
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}
