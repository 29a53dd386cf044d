//! Where a piece of a query stands.

/// A byte range of the query text.
pub type Span = std::ops::Range<usize>;
