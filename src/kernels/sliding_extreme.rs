//! The extreme of a window, followed from window to window.

use std::ops::Range;

/// A value and where it stands.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Extreme {
    /// The value; NaN if all are.
    pub(crate) value: f64,
    /// Its position in the series.
    pub(crate) at: usize,
}

/// The extreme of windows whose edges only move forward, as a fold over the whole window would find it.
///
/// `replaces(value, kept)` says whether a later value takes the place of one that is kept: `<` for the first smallest, `<=`
/// for the last smallest. Any value takes the place of a NaN, also another NaN: so NaN comes out only if all are NaN, and then
/// it is the last. With such a rule the extreme of a stretch is the extreme of the extremes of its parts, from left to right,
/// however it is cut. (It picks one of the values, and rounds nothing.)
///
/// The window is kept as two parts. Of the older part the extreme of every tail is known, of the newer part only that of the
/// whole. When the older part has left the window, what is inside becomes the older part. Each sample enters either part once:
/// O(1) a step, amortised, without a branch that depends on the data.
#[derive(Debug)]
pub(crate) struct SlidingExtreme<R> {
    replaces: R,
    /// Positions of the older part.
    older: Range<usize>,
    /// The extreme of each tail of the older part, by where the tail starts, from the end back.
    tails: Vec<Extreme>,
    /// The extreme of what lies between the older part and `looked_at`; NaN if nothing does.
    newer: Extreme,
    looked_at: usize,
}

impl<R: Fn(f64, f64) -> bool> SlidingExtreme<R> {
    /// Nothing yet.
    pub(crate) fn new(replaces: R) -> Self {
        Self { replaces, older: 0..0, tails: Vec::new(), newer: Extreme { value: f64::NAN, at: 0 }, looked_at: 0 }
    }

    /// The extreme of the window `samples` of `values`, which is not empty and lies nowhere before the one asked for last.
    pub(crate) fn within(&mut self, values: &[f64], samples: Range<usize>) -> Extreme {
        if samples.start >= self.older.end {
            self.make_older(values, samples);
            return self.tails[self.tails.len() - 1];
        }
        for (value, at) in values[self.looked_at..samples.end].iter().zip(self.looked_at..) {
            self.newer = self.later_of(self.newer, Extreme { value: *value, at });
        }
        self.looked_at = samples.end;
        let older = self.tails[self.older.end - 1 - samples.start];
        // Without newer samples this would put the NaN of nothing in the place of a NaN that is there.
        if self.looked_at == self.older.end { older } else { self.later_of(older, self.newer) }
    }

    fn make_older(&mut self, values: &[f64], samples: Range<usize>) {
        self.tails.clear();
        let last = samples.end - 1;
        let mut tail = Extreme { value: values[last], at: last };
        self.tails.push(tail);
        for at in (samples.start..last).rev() {
            tail = self.later_of(Extreme { value: values[at], at }, tail);
            self.tails.push(tail);
        }
        self.newer = Extreme { value: f64::NAN, at: last };
        self.looked_at = samples.end;
        self.older = samples;
    }

    #[inline]
    fn later_of(&self, kept: Extreme, later: Extreme) -> Extreme {
        if (self.replaces)(later.value, kept.value) || kept.value.is_nan() { later } else { kept }
    }
}
