//! Whether the streams of a query may be taken to be sorted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A stream may turn out not to be sorted when much of it has been read. Then the query begins anew, and whoever can collects
/// and sorts its rows before it hands out the first. Shared by everything that works for one query.
#[derive(Clone, Debug, Default)]
pub struct StreamOrder {
    is_broken: Arc<AtomicBool>,
    is_distrusted: bool,
}

impl StreamOrder {
    /// For a query that begins anew.
    pub fn distrusted() -> Self {
        Self { is_distrusted: true, ..Self::default() }
    }

    /// May a stream be handed on while it arrives, though only its end shows that it was sorted?
    pub fn is_trusted(&self) -> bool {
        !self.is_distrusted
    }

    /// A stream was not sorted after all; its reader gets an error.
    pub fn note_broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// Should a query that failed begin anew?
    pub fn is_broken(&self) -> bool {
        !self.is_distrusted && self.is_broken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_begins_anew_once() {
        let order = StreamOrder::default();
        assert!(order.is_trusted() && !order.is_broken());
        order.clone().note_broken();
        assert!(order.is_broken());
        let again = StreamOrder::distrusted();
        again.note_broken();
        assert!(!again.is_trusted() && !again.is_broken());
    }
}
