//! L6: the engine as the rest of the program sees it.

mod collect;
mod engine;
mod limits;
mod session;

pub use engine::{EngineOptions, QueryEngine, QueryOptions, QueryResult, QueryTimings};
pub use session::Rules;
