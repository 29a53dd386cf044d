//! Lets somebody else see how far a query is.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::QueryContext;

/// Put into the options of one query; shows its context as soon as it begins. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct QueryWatch(Arc<Mutex<Option<QueryContext>>>);

impl QueryWatch {
    /// The context of the query; `None` while it waits for its turn.
    pub fn context(&self) -> Option<QueryContext> {
        self.0.lock().clone()
    }

    /// The query begins, or begins anew.
    pub(super) fn begins(&self, context: &QueryContext) {
        *self.0.lock() = Some(context.clone());
    }
}
