//! L6: the engine as the rest of the program sees it.

mod collect;
mod engine;
mod explain;
mod limits;
mod newest;
mod query_watch;
mod session;
#[cfg(feature = "sql")]
mod sql;
mod stream;

pub use engine::{EngineOptions, QueryEngine, QueryOptions, QueryResult, QueryTimes, QueryTimings};
pub use explain::Explanation;
pub use newest::NewestSamples;
pub use query_watch::QueryWatch;
pub use session::Rules;
#[cfg(feature = "sql")]
pub use sql::SqlStatement;
pub use stream::{CountedTables, QueryStream, StreamedValue};
