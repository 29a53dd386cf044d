//! What happens between neighbours, followed from window to window: falls and other events are found once a series, not once
//! a window.

use std::ops::Range;

/// How many pairs of neighbours inside a window are events, for windows whose edges only move forward.
///
/// Counts are whole numbers, so adding the pairs that enter and taking away those that leave is exact. A sample is looked at
/// twice, however many windows it is in: O(1) a step, amortised.
#[derive(Debug)]
pub(crate) struct SlidingCount<P> {
    is_event: P,
    /// Positions of the second samples of the pairs that are counted.
    counted: Range<usize>,
    count: usize,
}

impl<P: Fn(f64, f64) -> bool> SlidingCount<P> {
    /// Counts pairs for which `is_event(before, after)` holds.
    pub(crate) fn of(is_event: P) -> Self {
        Self { is_event, counted: 0..0, count: 0 }
    }

    /// The count in the window `samples` of `values`, which is not empty and lies nowhere before the one asked for last.
    pub(crate) fn within(&mut self, values: &[f64], samples: Range<usize>) -> usize {
        let wanted = samples.start + 1..samples.end;
        if wanted.start >= self.counted.end {
            self.counted = wanted.start..wanted.start;
            self.count = 0;
        }
        self.count += self.events(values, self.counted.end..wanted.end);
        self.count -= self.events(values, self.counted.start..wanted.start);
        self.counted = wanted;
        self.count
    }

    fn events(&self, values: &[f64], seconds: Range<usize>) -> usize {
        if seconds.is_empty() {
            return 0;
        }
        values[seconds.start - 1..seconds.end].windows(2).filter(|pair| (self.is_event)(pair[0], pair[1])).count()
    }
}

/// The values before each fall inside a window, for windows whose edges only move forward.
///
/// Falls are found once. A window with k of them costs O(1 + k), amortised; most windows of a counter have none.
#[derive(Debug, Default)]
pub(crate) struct SlidingFalls {
    /// Positions of the samples that are below the one before.
    positions: Vec<usize>,
    /// The values before them.
    values_before: Vec<f64>,
    /// Falls before this one have left the window.
    first_inside: usize,
    /// Samples before this position have been looked at.
    looked_at: usize,
}

impl SlidingFalls {
    /// The values before the falls in the window `samples` of `values`, in order. The window is not empty and lies nowhere
    /// before the one asked for last. Comparisons with NaN are false, so a NaN is not a fall.
    pub(crate) fn within(&mut self, values: &[f64], samples: Range<usize>) -> &[f64] {
        let from = self.looked_at.max(samples.start + 1);
        for at in from..samples.end {
            if values[at] < values[at - 1] {
                self.positions.push(at);
                self.values_before.push(values[at - 1]);
            }
        }
        self.looked_at = from.max(samples.end);
        while self.positions.get(self.first_inside).is_some_and(|at| *at <= samples.start) {
            self.first_inside += 1;
        }
        &self.values_before[self.first_inside..]
    }
}
