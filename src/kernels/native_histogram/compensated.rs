//! Sums and means of many histograms.

use super::HistogramError;
use super::working::{Notes, Working};
use crate::kernels::KahanSum;
use crate::model::{CounterResetHint, NativeHistogram};

/// Below this, numbers that were added cannot have become infinite, however they were distributed.
const SAFE_TOTAL: f64 = f64::MAX / 4.0;

/// What the histograms of one sum or mean have said of themselves.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
struct Seen {
    reset: bool,
    not_reset: bool,
    bounds_reconciled: bool,
}

impl Seen {
    fn hint(&mut self, histogram: &NativeHistogram) {
        self.reset |= histogram.counter_reset_hint == CounterResetHint::Reset;
        self.not_reset |= histogram.counter_reset_hint == CounterResetHint::NotReset;
    }

    fn notes(&mut self, notes: Notes) {
        self.bounds_reconciled |= notes.bounds_reconciled;
    }
}

/// A compensated sum of histograms, as Prometheus v3.14 has it in `sum` and `sum_over_time`.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSum {
    total: Working<KahanSum>,
    is_single: bool,
    seen: Seen,
}

impl HistogramSum {
    /// The sum of one histogram.
    pub fn new(first: &NativeHistogram) -> Self {
        let mut seen = Seen::default();
        seen.hint(first);
        Self { total: Working::of(first), is_single: true, seen }
    }

    /// Adds a histogram.
    ///
    /// # Errors
    /// On a mix of exponential and custom buckets; the sum stays as it was, and Prometheus drops it.
    pub fn add(&mut self, histogram: &NativeHistogram) -> Result<(), HistogramError> {
        self.seen.hint(histogram);
        let notes = self.total.add(histogram, 1.0)?;
        self.seen.notes(notes);
        self.is_single = false;
        Ok(())
    }

    /// Came one of them right after a reset, while another certainly did not? Prometheus warns of it.
    pub fn counter_reset_collision(&self) -> bool {
        self.seen.reset && self.seen.not_reset
    }

    /// Did custom bounds differ? Prometheus informs of it.
    pub fn bounds_reconciled(&self) -> bool {
        self.seen.bounds_reconciled
    }

    /// The sum, not compacted: `sum` compacts it, `sum_over_time` does not.
    pub fn finish(mut self) -> NativeHistogram {
        if !self.is_single {
            self.total.settle();
        }
        self.total.to_histogram()
    }
}

/// A compensated mean of histograms, as Prometheus v3.14 has it in `avg` and `avg_over_time`: the sum over the count as long
/// as no number overflows, from then on the incremental mean.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramMean {
    /// The sum, or the mean once `is_incremental`.
    total: Working<KahanSum>,
    count: f64,
    is_incremental: bool,
    /// No number in `total` can be larger than this.
    magnitude: f64,
    seen: Seen,
}

impl HistogramMean {
    /// The mean of one histogram.
    pub fn new(first: &NativeHistogram) -> Self {
        let mut seen = Seen::default();
        seen.hint(first);
        let magnitude = magnitude_of(first);
        Self { total: Working::of(first), count: 1.0, is_incremental: false, magnitude, seen }
    }

    /// Adds a histogram.
    ///
    /// # Errors
    /// On a mix of exponential and custom buckets; Prometheus then drops the mean.
    pub fn add(&mut self, histogram: &NativeHistogram) -> Result<(), HistogramError> {
        self.seen.hint(histogram);
        self.count += 1.0;
        if !self.is_incremental && self.add_to_sum(histogram)? {
            return Ok(());
        }
        self.total.scale((self.count - 1.0) / self.count);
        let mut part = histogram.clone();
        super::divide(&mut part, self.count);
        let notes = self.total.add(&part, 1.0)?;
        self.seen.notes(notes);
        Ok(())
    }

    /// False, with the mean of all before in `total`, if the sum would overflow.
    fn add_to_sum(&mut self, histogram: &NativeHistogram) -> Result<bool, HistogramError> {
        self.magnitude += magnitude_of(histogram);
        if self.magnitude < SAFE_TOTAL {
            let notes = self.total.add(histogram, 1.0)?;
            self.seen.notes(notes);
            return Ok(true);
        }
        let mut total = self.total.clone();
        let notes = total.add(histogram, 1.0)?;
        self.seen.notes(notes);
        if !total.has_overflow() {
            self.total = total;
            return Ok(true);
        }
        self.is_incremental = true;
        self.total.divide(self.count - 1.0);
        Ok(false)
    }

    /// Came one of them right after a reset, while another certainly did not? Prometheus warns of it.
    pub fn counter_reset_collision(&self) -> bool {
        self.seen.reset && self.seen.not_reset
    }

    /// Did custom bounds differ? Prometheus informs of it.
    pub fn bounds_reconciled(&self) -> bool {
        self.seen.bounds_reconciled
    }

    /// The mean, not compacted: `avg` compacts it, `avg_over_time` does not.
    pub fn finish(mut self) -> NativeHistogram {
        if !self.is_incremental {
            self.total.divide(self.count);
        }
        if self.count > 1.0 {
            self.total.settle();
        }
        self.total.to_histogram()
    }
}

/// At least as large as every number of the histogram, and as every sum of some of them; NaN counts as unsafe.
fn magnitude_of(histogram: &NativeHistogram) -> f64 {
    let counts = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    let numbers = counts.chain([&histogram.zero_count, &histogram.count, &histogram.sum]);
    numbers.map(|number| number.abs()).sum()
}
