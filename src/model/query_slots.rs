//! Whether a query holds places at targets: who does never waits for another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Shared by all requests of one query. See `servergroup/target_slots.rs` for the rules.
#[derive(Clone, Debug, Default)]
pub struct QuerySlots {
    turn: Arc<Mutex<()>>,
    held: Arc<AtomicUsize>,
}

/// The turn of one request of the query to take places.
#[derive(Debug)]
pub struct SlotTurn {
    _turn: OwnedMutexGuard<()>,
    held: Arc<AtomicUsize>,
}

impl QuerySlots {
    /// Waits until no other request of the query is waiting for places.
    pub async fn enter(&self) -> SlotTurn {
        SlotTurn { _turn: Arc::clone(&self.turn).lock_owned().await, held: Arc::clone(&self.held) }
    }

    /// Places that were taken have been given back. Once for each [`SlotTurn::entered`].
    pub fn left(&self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
    }
}

impl SlotTurn {
    /// Does the query hold places?
    pub fn holds_any(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }

    /// Places were taken.
    pub fn entered(self) {
        self.held.fetch_add(1, Ordering::AcqRel);
    }
}
