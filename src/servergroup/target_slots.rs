//! How many streamed answers one target serves at a time, and how not to deadlock over that.
//!
//! A Prometheus serves ten remote reads at a time; the eleventh waits there in line. A streamed answer holds its place until
//! it has been drained, and who merges replicas drains them together. So places are taken by these rules:
//!
//! 1. A query takes the places of **all targets** of a request at once, before the first of its requests is sent, in the one
//!    order of target ids. Two queries so never wait for each other crosswise.
//! 2. A query that holds a place **never waits** for another: what drains its first stream may wait for the second. It goes
//!    over the bound instead, which is counted ([`TargetSlots::over_bound`]). Hence pass all requests of a query that are
//!    known at one time in one call.
//! 3. The wait ends with the query's deadline, with an error that names the target.
//!
//! Answers that are read whole before anybody else sees them (JSON) hold nothing up and need none of this.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, ErrorKind};
use crate::model::QueryContext;

/// Prometheus' default is ten; two are left for others.
pub const STREAMS_PER_TARGET: usize = 8;

/// Ids give the order in which places are taken.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The places of one target.
#[derive(Debug)]
pub struct TargetSlots {
    id: u64,
    places: Arc<Semaphore>,
    most: usize,
    over_bound: AtomicU64,
    waited_us: AtomicU64,
}

/// Places that are held, to be kept as long as the streams are; dropping them frees them.
#[derive(Debug)]
pub struct Slots {
    permits: Vec<OwnedSemaphorePermit>,
    context: QueryContext,
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.permits.clear();
        self.context.slots.left();
    }
}

impl TargetSlots {
    /// So many places, at least one.
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            places: Arc::new(Semaphore::new(most)),
            most,
            over_bound: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
        }
    }

    /// How many requests went out without a place, because their query held one already.
    pub fn over_bound(&self) -> u64 {
        self.over_bound.load(Ordering::Relaxed)
    }

    /// How long queries have waited for a place, in all.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.most - self.places.available_permits().min(self.most)
    }

    /// Takes a place at each of `targets`, in any order and a target as often as it gets requests; waits until the query's
    /// deadline. `name` says of the index of a target how to call it in an error.
    pub async fn acquire_all<N: fmt::Display>(
        targets: &[&Self],
        context: &QueryContext,
        name: impl Fn(usize) -> N,
    ) -> Result<Slots, Error> {
        // While one request of the query waits, the others stand behind it, so that none of them holds what it waits for.
        let turn = context.slots.enter().await;
        let mut order: Vec<usize> = (0..targets.len()).collect();
        order.sort_by_key(|index| targets[*index].id);
        let mut permits = Vec::with_capacity(targets.len());
        let may_wait = !turn.holds_any();
        let mut at = 0;
        while at < order.len() {
            let (index, target) = (order[at], targets[order[at]]);
            let wanted = order[at..].iter().take_while(|other| targets[**other].id == target.id).count();
            at += wanted;
            // More than there are would never come.
            let waits_for = if may_wait { wanted.min(target.most) } else { 0 };
            if waits_for > 0 {
                permits.push(target.wait(waits_for, context, &name(index)).await?);
            }
            for _ in waits_for..wanted {
                match Arc::clone(&target.places).try_acquire_owned() {
                    Ok(permit) => permits.push(permit),
                    Err(_) => drop(target.over_bound.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }
        turn.entered();
        Ok(Slots { permits, context: context.clone() })
    }

    async fn wait(
        &self,
        count: usize,
        context: &QueryContext,
        name: &impl fmt::Display,
    ) -> Result<OwnedSemaphorePermit, Error> {
        let places = Arc::clone(&self.places);
        let count_u32 = u32::try_from(count).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&places).try_acquire_many_owned(count_u32) {
            return Ok(permit);
        }
        let began = Instant::now();
        let taking = places.acquire_many_owned(count_u32);
        let taken = match context.deadline {
            None => Some(taking.await),
            Some(deadline) => tokio::time::timeout_at(deadline.into(), taking).await.ok(),
        };
        let waited_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        match taken {
            Some(Ok(permit)) => Ok(permit),
            Some(Err(_)) => Err(Error::internal("the places of a target are closed")),
            None => {
                let text = format!(
                    "{name} has {} streams in flight, the most there may be; no place before the query's deadline",
                    self.most
                );
                Err(Error::new(ErrorKind::Timeout, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{FutureExt, join_all};

    use super::*;

    fn targets<const N: usize>(most: usize) -> [Arc<TargetSlots>; N] {
        std::array::from_fn(|_| Arc::new(TargetSlots::new(most)))
    }

    async fn acquire(targets: &[&Arc<TargetSlots>], context: &QueryContext) -> Result<Slots, Error> {
        let targets: Vec<&TargetSlots> = targets.iter().map(|target| target.as_ref()).collect();
        TargetSlots::acquire_all(&targets, context, |index| format!("target {index}")).await
    }

    #[tokio::test]
    async fn the_next_query_waits_until_a_place_is_free() {
        let [a, b] = targets(1);
        let (first, second) = (QueryContext::default(), QueryContext::default());
        let held = acquire(&[&b, &a], &first).await.expect("free");
        assert_eq!((a.taken(), b.taken()), (1, 1));
        let (targets, mut waiting) = ([&a], None);
        waiting.insert(Box::pin(acquire(&targets, &second))).as_mut().now_or_never().ok_or(()).expect_err("full");
        drop(held);
        let held = waiting.expect("just made").await.expect("free again");
        assert_eq!((a.taken(), b.taken(), a.over_bound()), (1, 0, 0));
        drop(held);
        assert_eq!(a.taken(), 0);
    }

    #[tokio::test]
    async fn a_query_that_holds_a_place_goes_over_the_bound_instead_of_waiting() {
        let [a, b] = targets(1);
        let (query, other) = (QueryContext::default(), QueryContext::default());
        let others = acquire(&[&b], &other).await.expect("free");
        let first = acquire(&[&a], &query).await.expect("free");
        let second = acquire(&[&a, &b], &query).now_or_never().expect("does not wait").expect("over the bound");
        assert_eq!((a.over_bound(), b.over_bound()), (1, 1));
        drop((first, second, others));
        assert_eq!((a.taken(), b.taken()), (0, 0));
        // It holds nothing any more, so it waits like everybody.
        let _held = acquire(&[&a], &other).await.expect("free");
        assert!(acquire(&[&a], &query).now_or_never().is_none());
    }

    #[tokio::test]
    async fn more_requests_than_places_go_out_at_once() {
        let [a] = targets(2);
        let held = acquire(&[&a, &a, &a, &a, &a], &QueryContext::default()).await.expect("free");
        assert_eq!((a.taken(), a.over_bound()), (2, 3));
        drop(held);
        assert_eq!(a.taken(), 0);
    }

    #[tokio::test]
    async fn the_wait_ends_with_the_deadline_and_gives_back_what_it_had() {
        let [a, b] = targets(1);
        let _held = acquire(&[&b], &QueryContext::default()).await.expect("free");
        let hurried = QueryContext::new(Instant::now().checked_add(Duration::from_millis(5)), 1);
        let error = acquire(&[&b, &a], &hurried).await.expect_err("late");
        let text = "target 0 has 1 streams in flight, the most there may be; no place before the query's deadline";
        assert_eq!((error.kind(), error.message()), (ErrorKind::Timeout, text));
        assert_eq!((a.taken(), b.taken()), (0, 1));
        assert!(b.waited() >= Duration::from_millis(4));
    }

    /// Each query keeps all its places until each of its requests has some: the reader that waits the most.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn queries_that_need_several_targets_crosswise_all_come_to_an_end() {
        let targets: [Arc<TargetSlots>; 3] = targets(2);
        let queries = (0..200_usize).map(|query| {
            let targets = targets.clone();
            tokio::spawn(async move {
                let context = QueryContext::default();
                let requests = (0..1 + query % 3).map(|request| {
                    let (one, other) = ((query + request) % 3, (query / 3 + 2 * request) % 3);
                    let asked = if one == other { vec![&targets[one]] } else { vec![&targets[one], &targets[other]] };
                    let context = context.clone();
                    async move {
                        let slots = acquire(&asked, &context).await;
                        tokio::task::yield_now().await;
                        slots
                    }
                });
                join_all(requests).await.into_iter().collect::<Result<Vec<_>, _>>().expect("no deadline");
            })
        });
        let all = tokio::time::timeout(Duration::from_secs(60), join_all(queries)).await.expect("a deadlock");
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(targets.each_ref().map(|target| target.taken()), [0; 3]);
    }
}
