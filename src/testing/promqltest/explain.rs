//! Which known gap accounts for a failure. It goes by what the engine said; a failure that is not surely a gap stays
//! unexplained, so that no defect hides behind it.

use super::report::{Explanation, Failure};

/// In every error text about something that is not built yet.
pub const NOT_SUPPORTED: &str = "not supported yet";

/// The gap that accounts for a failure, if one surely does.
pub fn explain(failure: &Failure) -> Option<Explanation> {
    failure.got.contains(NOT_SUPPORTED).then_some(Explanation::GatedFeature)
}
