//! Who may keep a server waiting.
//!
//! A Prometheus serves ten remote reads at a time; the others wait in line there. A read whose reader is slow holds such a
//! place for as long. When the reader is slow because it waits for another read of the same server, which waits in that
//! line, none of them ever ends. So only a few large reads of a server are handed out as they arrive. The others are read on
//! into memory, whoever waits for what, until they have ended or one of the few has: they always get on, and those in line
//! after them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many large reads of a server are handed out as they arrive: with two gateways in front of it there are still places
/// free of Prometheus' ten.
const STREAMED_MAX: usize = 4;
/// So many large reads of a server go on at a time; those that are not streamed are held in memory.
const LARGE_MAX: usize = STREAMED_MAX + 2;

/// The places of the servers that are read now, by address: several groups, and configs before and after a reload, may ask
/// the same server.
static SERVERS: LazyLock<Mutex<HashMap<String, Weak<ReadSlots>>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
struct ReadSlots {
    large: Arc<Semaphore>,
    streamed: Arc<Semaphore>,
}

impl ReadSlots {
    fn of_server(address: &str) -> Arc<Self> {
        let mut servers = SERVERS.lock();
        if let Some(slots) = servers.get(address).and_then(Weak::upgrade) {
            return slots;
        }
        servers.retain(|_, slots| slots.strong_count() > 0);
        let of = |places| Arc::new(Semaphore::new(places));
        let slots = Arc::new(Self { large: of(LARGE_MAX), streamed: of(STREAMED_MAX) });
        servers.insert(address.to_owned(), Arc::downgrade(&slots));
        slots
    }
}

/// The places that one read takes up.
#[derive(Debug)]
pub(super) struct ReadPlace {
    slots: Arc<ReadSlots>,
    large: Option<OwnedSemaphorePermit>,
    streamed: Option<OwnedSemaphorePermit>,
}

impl ReadPlace {
    /// None yet: what is small needs none.
    pub(super) fn new(address: &str) -> Self {
        Self { slots: ReadSlots::of_server(address), large: None, streamed: None }
    }

    /// The read has turned out to be large: waits until it may go on, and says whether it may be handed out as it arrives.
    pub(super) async fn may_stream(&mut self) -> bool {
        if self.large.is_none() {
            self.large = Arc::clone(&self.slots.large).acquire_owned().await.ok();
        }
        if self.streamed.is_none() {
            self.streamed = Arc::clone(&self.slots.streamed).try_acquire_owned().ok();
        }
        self.streamed.is_some()
    }

    /// The server is done.
    pub(super) fn leave(&mut self) {
        (self.large, self.streamed) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn few_are_streamed_a_few_more_are_read_on_and_the_rest_waits() {
        let mut places: Vec<ReadPlace> = (0..LARGE_MAX + 1).map(|_| ReadPlace::new("http://few")).collect();
        let asked: Vec<Option<bool>> = places.iter_mut().map(|place| place.may_stream().now_or_never()).collect();
        assert_eq!(asked, [Some(true), Some(true), Some(true), Some(true), Some(false), Some(false), None]);
        assert_eq!(ReadPlace::new("http://other").may_stream().now_or_never(), Some(true));
        places[0].leave();
        // Whoever asks first takes it over.
        assert_eq!(places[5].may_stream().now_or_never(), Some(true));
        assert_eq!(places[4].may_stream().now_or_never(), Some(false));
        assert_eq!(places[6].may_stream().now_or_never(), Some(false));
        drop(places);
        assert_eq!(ReadPlace::new("http://few").may_stream().now_or_never(), Some(true));
    }
}
