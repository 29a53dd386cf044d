//! How much a query, and all queries together, may hold in memory.
//!
//! Everything that a query holds is counted in its [`QueryBudget`], and its bytes in the [`ProcessBudget`] too: tables in the
//! model's words by a [`Held`], DataFusion's own state by the adapter in `query/limits.rs`. Counters are atomic; there is no
//! lock, and a table costs two additions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind};

/// The share of the process' memory, its last eighth, that is kept free for small queries.
const RESERVED_DIVISOR: u64 = 8;
/// A query is small as long as it holds no more than this share of the process' memory.
const SMALL_DIVISOR: u64 = 64;

/// The memory of all queries of a process.
#[derive(Debug, Default)]
pub struct ProcessBudget {
    bytes: AtomicU64,
    /// 0 = no limit.
    bytes_max: u64,
}

impl ProcessBudget {
    /// A budget of so many bytes; 0 is no limit.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max }
    }

    /// Bytes that all queries hold now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The limit; 0 = none.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How many bytes a query that holds `held` may take now.
    fn left(&self, held: u64) -> u64 {
        if self.bytes_max == 0 {
            return u64::MAX;
        }
        let in_use = self.bytes();
        let of_large = (self.bytes_max - self.bytes_max / RESERVED_DIVISOR).saturating_sub(in_use);
        let of_small = (self.bytes_max / SMALL_DIVISOR).saturating_sub(held).min(self.bytes_max.saturating_sub(in_use));
        of_large.max(of_small)
    }

    /// Takes `bytes` for a query that holds `held` with them. Large queries leave a share for small ones: where some have
    /// taken what there is, a dashboard of small panels is still drawn.
    fn take(&self, bytes: u64, held: u64) -> Result<(), Error> {
        if self.bytes_max == 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        let is_small = held <= self.bytes_max / SMALL_DIVISOR;
        let most = if is_small { self.bytes_max } else { self.bytes_max - self.bytes_max / RESERVED_DIVISOR };
        add_within(&self.bytes, bytes, most).map(drop).map_err(|in_use| {
            Error::new(
                ErrorKind::TooManySamples,
                format!(
                    "query processing would use more memory than is left in query execution (all queries use {} of {}): \
                     ask for fewer series or a larger step, or raise --query.max-memory-total",
                    bytes_text(in_use),
                    bytes_text(self.bytes_max)
                ),
            )
        })
    }
}

/// What one query may hold at a time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct QueryLimits {
    /// Samples (`--query.max-samples`).
    pub samples_max: u64,
    /// Bytes (`--query.max-memory`); 0 = no limit.
    pub bytes_max: u64,
}

/// What one query holds, and has held at most.
#[derive(Debug)]
pub struct QueryBudget {
    limits: QueryLimits,
    process: Arc<ProcessBudget>,
    samples: AtomicU64,
    samples_peak: AtomicU64,
    bytes: AtomicU64,
    bytes_peak: AtomicU64,
}

impl QueryBudget {
    /// A budget out of that of the process.
    pub fn new(limits: QueryLimits, process: Arc<ProcessBudget>) -> Self {
        Self {
            limits,
            process,
            samples: AtomicU64::new(0),
            samples_peak: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bytes_peak: AtomicU64::new(0),
        }
    }

    /// The limits.
    pub fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// Samples that are held now.
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// The most samples that were held at a time.
    pub fn samples_peak(&self) -> u64 {
        self.samples_peak.load(Ordering::Relaxed)
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that were held at a time.
    pub fn bytes_peak(&self) -> u64 {
        self.bytes_peak.load(Ordering::Relaxed)
    }

    /// How many samples of so many bytes each could be taken now: what whoever makes samples before they can be counted may make.
    pub fn samples_left(&self, sample_bytes: u64) -> u64 {
        let held = self.bytes();
        let own = if self.limits.bytes_max == 0 { u64::MAX } else { self.limits.bytes_max.saturating_sub(held) };
        let of_bytes = own.min(self.process.left(held)) / sample_bytes.max(1);
        of_bytes.min(self.limits.samples_max.saturating_sub(self.samples()))
    }

    /// Takes samples; nothing is taken where there is an error.
    fn take_samples(&self, count: u64) -> Result<(), Error> {
        let held = add_within(&self.samples, count, self.limits.samples_max).map_err(|_| {
            Error::new(
                ErrorKind::TooManySamples,
                "query processing would load too many samples into memory in query execution",
            )
        })?;
        self.samples_peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    /// Takes bytes, of the query and of the process; nothing is taken where there is an error.
    pub fn take_bytes(&self, count: u64) -> Result<(), Error> {
        let most = if self.limits.bytes_max == 0 { u64::MAX } else { self.limits.bytes_max };
        let held = add_within(&self.bytes, count, most).map_err(|_| {
            Error::new(
                ErrorKind::TooManySamples,
                format!(
                    "query processing would use more memory than allowed in query execution (limit {}): raise \
                     --query.max-memory, ask for fewer series or a larger step",
                    bytes_text(self.limits.bytes_max)
                ),
            )
        })?;
        if let Err(error) = self.process.take(count, held) {
            self.bytes.fetch_sub(count, Ordering::Relaxed);
            return Err(error);
        }
        self.bytes_peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    /// Counts bytes that are in use already, whatever the limits say; the next taker hears of it.
    pub fn count_bytes(&self, count: u64) {
        let held = self.bytes.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        self.process.bytes.fetch_add(count, Ordering::Relaxed);
        self.bytes_peak.fetch_max(held, Ordering::Relaxed);
    }

    /// Gives bytes back that were taken or counted.
    pub fn give_bytes(&self, count: u64) {
        self.bytes.fetch_sub(count, Ordering::Relaxed);
        self.process.bytes.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for QueryBudget {
    /// Guards and reservations give back by themselves. Whatever else there is must not stay with the process.
    fn drop(&mut self) {
        let rest = std::mem::take(self.bytes.get_mut());
        debug_assert_eq!(rest, 0, "somebody took bytes and did not give them back");
        self.process.bytes.fetch_sub(rest, Ordering::Relaxed);
    }
}

/// The sum, or what there was where the sum would be more than `most`.
fn add_within(counter: &AtomicU64, count: u64, most: u64) -> Result<u64, u64> {
    let sum = |before: u64| before.checked_add(count).filter(|sum| *sum <= most);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).map(|before| before + count)
}

/// `512 MiB`, `1.5 GiB`.
fn bytes_text(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (name, unit) in units {
        if bytes >= unit {
            let tenths = (u128::from(bytes) * 10 / u128::from(unit)) as u64;
            return match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                tenth => format!("{}.{tenth} {name}", tenths / 10),
            };
        }
    }
    format!("{bytes} B")
}

/// Samples and bytes of something that is in memory. Dropped together with it, gives them back.
#[derive(Debug)]
#[must_use = "what is held is given back when this is dropped"]
pub struct Held {
    budget: Arc<QueryBudget>,
    samples: u64,
    bytes: u64,
}

impl Held {
    /// Holds nothing yet.
    pub fn none(budget: &Arc<QueryBudget>) -> Self {
        Self { budget: Arc::clone(budget), samples: 0, bytes: 0 }
    }

    /// Where this guard counts.
    pub fn budget(&self) -> &Arc<QueryBudget> {
        &self.budget
    }

    /// Samples that this guard holds.
    pub fn samples(&self) -> usize {
        usize::try_from(self.samples).unwrap_or(usize::MAX)
    }

    /// Bytes that this guard holds.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Holds more; where there is an error, what was held before stays held, and no more.
    pub fn grow(&mut self, samples: usize, bytes: usize) -> Result<(), Error> {
        let (samples, bytes) = (samples as u64, bytes as u64);
        self.budget.take_samples(samples)?;
        self.samples += samples;
        self.budget.take_bytes(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives a part back; at most what is held.
    pub fn shrink(&mut self, samples: usize, bytes: usize) {
        let (samples, bytes) = (self.samples.min(samples as u64), self.bytes.min(bytes as u64));
        self.samples -= samples;
        self.bytes -= bytes;
        self.budget.samples.fetch_sub(samples, Ordering::Relaxed);
        self.budget.give_bytes(bytes);
    }

    /// Holds exactly so much, more or less than before.
    pub fn resize(&mut self, samples: usize, bytes: usize) -> Result<(), Error> {
        let (samples_now, bytes_now) = (self.samples(), self.bytes());
        self.shrink(samples_now.saturating_sub(samples), bytes_now.saturating_sub(bytes));
        self.grow(samples.saturating_sub(samples_now), bytes.saturating_sub(bytes_now))
    }

    /// Hands a part to a guard of its own; at most what is held.
    pub fn split(&mut self, samples: usize, bytes: usize) -> Self {
        let (samples, bytes) = (self.samples.min(samples as u64), self.bytes.min(bytes as u64));
        self.samples -= samples;
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), samples, bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(usize::MAX, usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(samples_max: u64, bytes_max: u64, process: &Arc<ProcessBudget>) -> Arc<QueryBudget> {
        Arc::new(QueryBudget::new(QueryLimits { samples_max, bytes_max }, Arc::clone(process)))
    }

    fn taken(budget: &Arc<QueryBudget>, samples: usize, bytes: usize) -> Result<Held, String> {
        let mut held = Held::none(budget);
        held.grow(samples, bytes).map(|()| held).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let process = Arc::new(ProcessBudget::new(1 << 30));
        let budget = budget(100, 1_000, &process);
        let mut one = taken(&budget, 60, 600).expect("fits");
        let two = taken(&budget, 40, 400).expect("fits to the last");
        assert_eq!((budget.samples(), budget.bytes(), process.bytes()), (100, 1_000, 1_000));
        drop(two);
        one.shrink(10, 10_000);
        assert_eq!((budget.samples(), budget.bytes(), process.bytes()), (50, 0, 0));
        one.resize(20, 300).expect("fits");
        let half = one.split(5, 200);
        assert_eq!((one.samples(), one.bytes(), half.samples(), half.bytes()), (15, 100, 5, 200));
        drop(one);
        assert_eq!((budget.samples(), budget.bytes()), (5, 200));
        drop(half);
        assert_eq!((budget.samples(), budget.bytes(), process.bytes()), (0, 0, 0));
        assert_eq!((budget.samples_peak(), budget.bytes_peak()), (100, 1_000));
    }

    #[test]
    fn past_a_limit_nothing_more_is_taken() {
        let process = Arc::new(ProcessBudget::new(0));
        let budget = budget(100, 1 << 20, &process);
        let mut held = taken(&budget, 100, 1 << 19).expect("fits");
        assert_eq!(
            taken(&budget, 1, 0).expect_err("one too many"),
            "query processing would load too many samples into memory in query execution"
        );
        assert_eq!(
            taken(&budget, 0, (1 << 19) + 1).expect_err("one too many"),
            "query processing would use more memory than allowed in query execution (limit 1 MiB): raise \
             --query.max-memory, ask for fewer series or a larger step"
        );
        assert!(taken(&budget, usize::MAX, usize::MAX).is_err(), "sums do not overflow");
        assert!(held.grow(0, 1 << 20).is_err());
        assert_eq!((held.samples(), held.bytes()), (100, 1 << 19));
        assert_eq!((budget.samples(), budget.bytes(), process.bytes()), (100, 1 << 19, 1 << 19));
    }

    #[test]
    fn what_is_left_can_be_taken_and_no_more() {
        let free = Arc::new(ProcessBudget::new(0));
        let process = Arc::new(ProcessBudget::new(64 << 20));
        let other = budget(1, 0, &process);
        for (samples_max, bytes_max, process, others, left) in [
            (100, 0, &free, 0, 100),
            (u64::MAX, 1_600, &free, 0, 100),
            (u64::MAX, 0, &free, 0, u64::MAX / 16),
            // Seven eighths of all, or a 64th for a small one.
            (u64::MAX, 0, &process, 0, (56 << 20) / 16),
            (u64::MAX, 0, &process, 56 << 20, (1 << 20) / 16),
            (u64::MAX, 0, &process, 64 << 20, 0),
        ] {
            other.count_bytes(others);
            let asking = budget(samples_max, bytes_max, process);
            assert_eq!(asking.samples_left(16), left, "{samples_max} {bytes_max} {others}");
            let count = usize::try_from(left).expect("64 bits");
            if let Some(more) = count.checked_add(1).filter(|more| more.checked_mul(16).is_some()) {
                assert!(taken(&asking, more, more * 16).is_err());
            }
            if left < u64::MAX / 16 {
                drop(taken(&asking, count, count * 16).expect("what is left"));
            }
            other.give_bytes(others);
        }
    }

    #[test]
    fn large_queries_leave_an_eighth_of_the_process_to_small_ones() {
        let process = Arc::new(ProcessBudget::new(64 << 20));
        let (large, other) = (budget(1, 0, &process), budget(1, 0, &process));
        let _most = taken(&large, 0, 56 << 20).expect("seven eighths");
        assert_eq!(
            taken(&large, 0, 1).map(drop).expect_err("more"),
            "query processing would use more memory than is left in query execution (all queries use 56 MiB of 64 MiB): \
             ask for fewer series or a larger step, or raise --query.max-memory-total"
        );
        let _small = taken(&other, 0, 1 << 20).expect("a small query");
        assert!(taken(&other, 0, 1).is_err(), "it is small no more");
        let others: Vec<_> = (0..8).map(|_| taken(&budget(1, 0, &process), 0, 1 << 20).is_ok()).collect();
        assert_eq!(others, [true; 8], "each of them gives back before the next one asks");
        assert_eq!(process.bytes(), 57 << 20);
    }

    #[test]
    fn what_is_counted_without_asking_is_heard_of_by_the_next() {
        let process = Arc::new(ProcessBudget::new(0));
        let budget = budget(1, 100, &process);
        budget.count_bytes(150);
        assert!(budget.take_bytes(1).is_err());
        budget.give_bytes(150);
        assert_eq!((budget.bytes(), process.bytes(), budget.bytes_peak()), (0, 0, 150));
    }

    #[test]
    fn sizes_are_written_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1 << 20, "1 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (2_400_000_000, "2.2 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(bytes_text(bytes), text);
        }
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let process = Arc::new(ProcessBudget::new(0));
        let budget = budget(1_000, 1_000, &process);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for count in 0..2_000usize {
                        let held = taken(&budget, count % 500, count % 500);
                        assert!(budget.samples() <= 1_000 && budget.bytes() <= 1_000);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!((budget.samples(), budget.bytes(), process.bytes()), (0, 0, 0));
    }
}
