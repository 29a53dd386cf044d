//! The budget of a query as DataFusion sees it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use crate::model::QueryBudget;

/// What all queries of an engine share of DataFusion. Nothing is written to a disk: half-done aggregates of ours cannot be, and
/// a query that does not fit is to fail.
pub fn shared_runtime() -> RuntimeEnv {
    let disks = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new().with_disk_manager_builder(disks).build().expect("without disks there is nothing to fail")
}

/// The runtime of one query: everything that DataFusion reserves is in the query's budget. Costs four reference counts.
pub fn query_runtime(shared: &RuntimeEnv, budget: &Arc<QueryBudget>) -> Arc<RuntimeEnv> {
    Arc::new(RuntimeEnv { memory_pool: Arc::new(BudgetPool(Arc::clone(budget))), ..shared.clone() })
}

/// Reserves from a [`QueryBudget`].
#[derive(Debug)]
struct BudgetPool(Arc<QueryBudget>);

impl fmt::Display for BudgetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryPool for BudgetPool {
    fn name(&self) -> &str {
        "query budget"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.0.count_bytes(additional as u64);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.0.give_bytes(shrink as u64);
    }

    fn try_grow(&self, _reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.0.take_bytes(additional as u64).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn reserved(&self) -> usize {
        usize::try_from(self.0.bytes()).unwrap_or(usize::MAX)
    }

    fn memory_limit(&self) -> MemoryLimit {
        match self.0.limits().bytes_max {
            0 => MemoryLimit::Infinite,
            most => MemoryLimit::Finite(usize::try_from(most).unwrap_or(usize::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::model::{ProcessBudget, QueryLimits};

    #[test]
    fn what_datafusion_reserves_is_the_querys() {
        let process = Arc::new(ProcessBudget::new(0));
        let budget = Arc::new(QueryBudget::new(QueryLimits { samples_max: 1, bytes_max: 1_000 }, Arc::clone(&process)));
        let runtime = query_runtime(&shared_runtime(), &budget);
        let reservation = MemoryConsumer::new("aggregate").register(&runtime.memory_pool);
        reservation.try_grow(600).expect("fits");
        assert_eq!((budget.bytes(), process.bytes(), runtime.memory_pool.reserved()), (600, 600, 600));
        let refused = reservation.try_grow(600).expect_err("too much");
        let DataFusionError::External(error) = refused else { panic!("{refused}") };
        let error = error.downcast::<Error>().expect("our error");
        assert_eq!(error.kind(), ErrorKind::TooManySamples);
        assert!(matches!(runtime.memory_pool.memory_limit(), MemoryLimit::Finite(1_000)));
        drop(reservation);
        assert_eq!((budget.bytes(), process.bytes(), budget.bytes_peak()), (0, 0, 600));
    }
}
