//! The evaluation times of a query.

use super::{DurationMs, TimestampMs};

/// `start, start+step, … ≤ end`. `end` need not lie on the grid; `step` is at least 1 ms. An instant query is a grid of one.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct StepGrid {
    start: TimestampMs,
    step: DurationMs,
    step_count: usize,
}

impl StepGrid {
    /// The one time of an instant query.
    pub fn instant(time: TimestampMs) -> Self {
        Self { start: time, step: DurationMs(1), step_count: 1 }
    }

    /// `None` when `end < start` or `step ≤ 0`.
    pub fn try_new(start: TimestampMs, end: TimestampMs, step: DurationMs) -> Option<Self> {
        if end < start || step.0 <= 0 {
            return None;
        }
        let intervals = (i128::from(end.0) - i128::from(start.0)) / i128::from(step.0);
        let step_count = usize::try_from(intervals + 1).ok()?;
        Some(Self { start, step, step_count })
    }

    /// A grid of `step_count` ≥ 1 points from `start`.
    pub fn with_count(start: TimestampMs, step: DurationMs, step_count: usize) -> Self {
        debug_assert!(step_count > 0 && step.0 > 0);
        Self { start, step, step_count }
    }

    /// The first step.
    pub fn start(&self) -> TimestampMs {
        self.start
    }

    /// The last step (on the grid).
    pub fn last(&self) -> TimestampMs {
        self.time(self.step_count - 1)
    }

    /// The distance of two steps.
    pub fn step(&self) -> DurationMs {
        self.step
    }

    /// How many steps there are; at least one.
    pub fn step_count(&self) -> usize {
        self.step_count
    }

    /// The time of step `index`.
    pub fn time(&self, index: usize) -> TimestampMs {
        TimestampMs(self.start.0.saturating_add(self.step.0.saturating_mul(index as i64)))
    }

    /// All times, in order.
    pub fn times(&self) -> impl ExactSizeIterator<Item = TimestampMs> + use<> {
        let grid = *self;
        (0..self.step_count).map(move |index| grid.time(index))
    }

    /// The same grid, moved to earlier times by `offset` (as `offset 5m` does).
    pub fn shifted_back(&self, offset: DurationMs) -> Self {
        Self { start: self.start - offset, ..*self }
    }

    /// The step index of a time that lies exactly on the grid.
    pub fn index_of(&self, time: TimestampMs) -> Option<usize> {
        let distance = time.0.checked_sub(self.start.0)?;
        if distance < 0 || distance % self.step.0 != 0 {
            return None;
        }
        let index = usize::try_from(distance / self.step.0).ok()?;
        (index < self.step_count).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_need_not_lie_on_the_grid() {
        let grid = StepGrid::try_new(TimestampMs(0), TimestampMs(95), DurationMs(10)).expect("valid");
        assert_eq!(grid.step_count(), 10);
        assert_eq!(grid.last(), TimestampMs(90));
        assert_eq!(grid.index_of(TimestampMs(30)), Some(3));
        assert_eq!(grid.index_of(TimestampMs(31)), None);
        assert_eq!(grid.index_of(TimestampMs(100)), None);
    }

    #[test]
    fn hostile_bounds_are_refused_not_overflowed() {
        assert!(StepGrid::try_new(TimestampMs(1), TimestampMs(0), DurationMs(1)).is_none());
        assert!(StepGrid::try_new(TimestampMs(0), TimestampMs(1), DurationMs(0)).is_none());
        let widest =
            StepGrid::try_new(TimestampMs(i64::MIN), TimestampMs(i64::MAX), DurationMs(i64::MAX)).expect("fits");
        assert_eq!(widest.step_count(), 3);
    }
}
