//! How DataFusion is set up for PromQL: few rules, batches counted in cells.

use std::sync::Arc;

use datafusion::execution::context::SessionConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::combine_partial_final_agg::CombinePartialFinalAggregate;
use datafusion::physical_planner::DefaultPhysicalPlanner;

use super::limits::query_runtime;
use crate::model::QueryBudget;
use crate::promql::{PushdownPlanner, SeriesPlanner};

/// A batch holds about so many bytes of cells.
const BATCH_BYTES: usize = 4 << 20;

/// Which rules may rewrite a plan.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Rules {
    /// All of ours.
    #[default]
    All,
    /// None: the plan runs as it was drawn. Every answer must be the same; slower, and only for tests of that.
    None,
}

/// The session of one query whose rows have `step_count` cells.
///
/// One partition: the order of additions is the order of the series, as in Prometheus. Queries run beside each other, and the
/// leaves of one query decode beside each other; that is where the other cores go.
///
/// No rule of DataFusion's own list is on except the one that folds the two phases of an aggregate into one: an upgrade cannot
/// change our plans unseen.
///
/// Operators find the budget among the extensions; what DataFusion reserves by itself comes from the same budget through the
/// runtime's pool.
pub fn session_state(
    step_count: usize,
    shared_runtime: &RuntimeEnv,
    budget: &Arc<QueryBudget>,
    rules: Rules,
) -> SessionState {
    let physical_rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = match rules {
        Rules::All => vec![Arc::new(CombinePartialFinalAggregate::new())],
        Rules::None => vec![],
    };
    let batch_size = (BATCH_BYTES / (8 * step_count.max(1))).clamp(1, 8192);
    let config =
        SessionConfig::new().with_target_partitions(1).with_batch_size(batch_size).with_extension(Arc::clone(budget));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(query_runtime(shared_runtime, budget))
        .with_analyzer_rules(vec![])
        .with_optimizer_rules(vec![])
        .with_physical_optimizer_rules(physical_rules)
        .build()
}

/// Plans our operators beside DataFusion's.
pub fn physical_planner() -> DefaultPhysicalPlanner {
    DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SeriesPlanner), Arc::new(PushdownPlanner)])
}
