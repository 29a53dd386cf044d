//! Who may keep a server waiting.
//!
//! A Prometheus serves ten remote reads at a time; the others wait in line there. A read whose reader is slow holds such a
//! place for as long. When the reader is slow because it waits for another read of the same server, which waits in that
//! line, none of them ever ends. So only a few large reads of a server are handed out as they arrive. The others are read on
//! into memory, whoever waits for what, until they have ended or one of the few has: they always get on, and those in line
//! after them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::TargetMetrics;

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
    metrics: Arc<TargetMetrics>,
}

impl ReadPlace {
    /// None yet: what is small needs none.
    pub(super) fn new(address: &str, metrics: Arc<TargetMetrics>) -> Self {
        Self { slots: ReadSlots::of_server(address), large: None, streamed: None, metrics }
    }

    /// The read has turned out to be large: waits until it may go on, and says whether it may be handed out as it arrives.
    pub(super) async fn may_stream(&mut self) -> bool {
        let is_new = self.large.is_none();
        if is_new {
            self.large = match Arc::clone(&self.slots.large).try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => {
                    let began = Instant::now();
                    let place = Arc::clone(&self.slots.large).acquire_owned().await.ok();
                    self.metrics.waited_for_slot(began.elapsed());
                    place
                }
            };
        }
        if self.streamed.is_none() {
            self.streamed = Arc::clone(&self.slots.streamed).try_acquire_owned().ok();
            match &self.streamed {
                Some(_) => self.metrics.add_streams(1),
                None if is_new => self.metrics.went_over_bound(),
                None => {}
            }
        }
        self.streamed.is_some()
    }

    /// The server is done.
    pub(super) fn leave(&mut self) {
        if self.streamed.take().is_some() {
            self.metrics.add_streams(-1);
        }
        self.large = None;
    }
}

impl Drop for ReadPlace {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::telemetry::TargetRegistry;

    #[test]
    fn few_are_streamed_a_few_more_are_read_on_and_the_rest_waits() {
        let metrics = TargetRegistry::default().target(0, "eu", "few");
        let place = |address| ReadPlace::new(address, Arc::clone(&metrics));
        let mut places: Vec<ReadPlace> = (0..LARGE_MAX + 1).map(|_| place("http://few")).collect();
        let asked: Vec<Option<bool>> = places.iter_mut().map(|place| place.may_stream().now_or_never()).collect();
        assert_eq!(asked, [Some(true), Some(true), Some(true), Some(true), Some(false), Some(false), None]);
        assert_eq!((metrics.streams(), metrics.over_bound()), (4, 2));
        assert_eq!(place("http://other").may_stream().now_or_never(), Some(true));
        places[0].leave();
        // Whoever asks first takes it over.
        assert_eq!(places[5].may_stream().now_or_never(), Some(true));
        assert_eq!(places[4].may_stream().now_or_never(), Some(false));
        assert_eq!(places[6].may_stream().now_or_never(), Some(false));
        assert_eq!((metrics.streams(), metrics.over_bound()), (4, 3));
        drop(places);
        assert_eq!(metrics.streams(), 0);
        assert_eq!(place("http://few").may_stream().now_or_never(), Some(true));
    }
}
