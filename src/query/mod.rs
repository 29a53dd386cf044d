//! L6: the engine as the rest of the program sees it.

mod engine;

pub use engine::{EngineOptions, QueryEngine, QueryOptions, QueryResult};
