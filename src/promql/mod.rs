//! L5: PromQL trees become DataFusion plans.
//!
//! [`plan_query`] turns a checked tree into a [`PlannedQuery`]: pure, no I/O, no clock. Functions, aggregates and operators
//! are values in the plan; only the leaf (`scan::DownstreamExec`) talks to anybody.

pub mod functions;
pub mod operators;
mod plan;
mod preprocess;
mod pushdown;

pub use operators::SeriesPlanner;
pub use plan::{PlanOptions, PlannedQuery, PlannedValue, plan_query};
pub use pushdown::{PushdownExec, PushdownPlanner};
