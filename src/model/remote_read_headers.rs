//! What gateways say to each other over remote read, in headers that others pass over.

/// Header of a request: who asks can read chunks with start timestamps. Its value is `1`.
pub const START_TIMES_HEADER: &str = "quiver-start-times";

/// Header of an answer: some of its samples may come from servers that tell no stale markers. The query API of whoever says so
/// does know of them. Its value is `1`.
pub const WITHOUT_STALE_MARKERS_HEADER: &str = "quiver-without-stale-markers";
