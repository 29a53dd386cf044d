//! When a group has samples: which part of a question it can answer (`relative_time_range`, `absolute_time_range`).
//!
//! A question that looks at no moment of the ranges is not asked. What a question looks at counts, not when it is evaluated:
//! `rate(x[1h])` a minute behind the end of a range looks at 59 minutes of it. With `truncate`, samples outside of the range
//! do not count: raw samples are asked for inside of it only, and at each step the newest sample inside of it is the one
//! that is seen. Without, a question that is asked is asked whole.

use crate::config::{AbsoluteTimeRange, RelativeTimeRange, ServerGroupConfig};
use crate::model::{DurationMs, MetadataRequest, SelectForm, StepGrid, TimestampMs};

/// The ranges of a group as its config has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct TimeRanges {
    relative: RelativeTimeRange,
    absolute: AbsoluteTimeRange,
}

impl TimeRanges {
    /// Those of a group; `None` where it has samples for all of time.
    pub(super) fn of(config: &ServerGroupConfig) -> Option<Self> {
        let relative = config.relative_time_range.clone().unwrap_or_default();
        let absolute = config.absolute_time_range.clone().unwrap_or_default();
        let is_open = relative.start.is_none() && relative.end.is_none();
        (!is_open || absolute.start.is_some() || absolute.end.is_some()).then_some(Self { relative, absolute })
    }

    /// What they mean at every time from `now` on, all together: beginnings that move leave the past, ends that move are open.
    pub(super) fn from(&self, now: TimestampMs) -> TimeSpan {
        let relative = TimeSpan::of(self.relative.start.map(|offset| now.saturating_add(offset)), None);
        relative.intersection(TimeSpan::of(self.absolute.start, self.absolute.end))
    }

    /// What they mean at the time of a question.
    pub(super) fn at(&self, now: TimestampMs) -> Coverage {
        let at_offset = |offset: Option<DurationMs>| offset.map(|offset| now.saturating_add(offset));
        let relative = TimeSpan::of(at_offset(self.relative.start), at_offset(self.relative.end));
        let absolute = TimeSpan::of(self.absolute.start, self.absolute.end);
        let counted = |span, truncate| if truncate { span } else { TimeSpan::ALL };
        Coverage {
            asked: relative.intersection(absolute),
            counted: counted(relative, self.relative.truncate).intersection(counted(absolute, self.absolute.truncate)),
        }
    }
}

/// From `start` to `end`, both inclusive; empty where the end lies before the start.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct TimeSpan {
    pub(super) start: TimestampMs,
    pub(super) end: TimestampMs,
}

impl TimeSpan {
    pub(super) const ALL: Self = Self { start: TimestampMs(i64::MIN), end: TimestampMs(i64::MAX) };

    fn of(start: Option<TimestampMs>, end: Option<TimestampMs>) -> Self {
        Self { start: start.unwrap_or(Self::ALL.start), end: end.unwrap_or(Self::ALL.end) }
    }

    fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    pub(super) fn contains(self, time: TimestampMs) -> bool {
        self.start <= time && time <= self.end
    }

    fn is_empty(self) -> bool {
        self.end < self.start
    }

    /// Is there a moment of it with `after < t ≤ until`?
    fn touches(self, after: TimestampMs, until: TimestampMs) -> bool {
        let first = self.start.max(after.saturating_add(DurationMs(1)));
        after < until && first <= self.end.min(until)
    }
}

/// How much of what a question looks at a group has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Covered {
    /// Nothing: the answer is empty, and nobody needs to be asked.
    Nothing,
    /// All that counts: an expression may be evaluated by the group's servers.
    Whole,
    /// A part: samples that its servers would take in do not count.
    Part,
}

/// The ranges of a group at the time of a question.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Coverage {
    /// The group is asked only for what looks at this.
    asked: TimeSpan,
    /// Only samples of this count; never less than `asked`.
    counted: TimeSpan,
}

/// A selector as the group is to be asked for it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct CoveredForm {
    /// What to ask for.
    pub(super) form: SelectForm,
    /// Samples outside of this may come all the same, and do not count. `None`: none can come.
    pub(super) counted: Option<TimeSpan>,
    /// Steps behind the end of what counts. A server that evaluates steps itself would show a newer sample there, or none:
    /// there the newest sample at the end of what counts is seen, as long as the lookback reaches it.
    pub(super) tail: Option<StepGrid>,
}

impl Coverage {
    /// How much the group has of the samples with `after < t ≤ until`.
    pub(super) fn samples(&self, after: TimestampMs, until: TimestampMs) -> Covered {
        if !self.asked.touches(after, until) {
            return Covered::Nothing;
        }
        let first = after.saturating_add(DurationMs(1));
        let is_whole = self.counted.contains(first) && self.counted.contains(until);
        if is_whole { Covered::Whole } else { Covered::Part }
    }

    /// What to ask for of a selector; `None`: nothing of it.
    pub(super) fn select(&self, form: &SelectForm) -> Option<CoveredForm> {
        match *form {
            SelectForm::Samples { start, end } => self.select_samples(start, end),
            SelectForm::Steps { grid, lookback } => self.select_steps(grid, lookback),
        }
    }

    fn select_samples(&self, start: TimestampMs, end: TimestampMs) -> Option<CoveredForm> {
        if !self.asked.touches(start, end) {
            return None;
        }
        // The start is exclusive, that of the range is not.
        let start = start.max(self.counted.start.saturating_sub(DurationMs(1)));
        let form = SelectForm::Samples { start, end: end.min(self.counted.end) };
        Some(CoveredForm { form, counted: None, tail: None })
    }

    fn select_steps(&self, grid: StepGrid, lookback: DurationMs) -> Option<CoveredForm> {
        looking_at(grid, lookback, self.asked)?;
        let (first, last) = looking_at(grid, lookback, self.counted)?;
        let grid = steps_of(grid, first, last);
        let looks_back_to = grid.start().saturating_sub(lookback).saturating_add(DurationMs(1));
        let is_whole = self.counted.contains(looks_back_to) && self.counted.contains(grid.last());
        let behind = (0..grid.step_count()).find(|step| grid.time(*step) > self.counted.end);
        Some(CoveredForm {
            form: SelectForm::Steps { grid, lookback },
            counted: (!is_whole).then_some(self.counted),
            tail: behind.map(|first| steps_of(grid, first, grid.step_count() - 1)),
        })
    }

    /// A question about series; `None` where the group has no samples of the asked time. An open end is an open end: a
    /// question without times asks everybody.
    pub(super) fn metadata(&self, request: &MetadataRequest) -> Option<MetadataRequest> {
        let wanted = TimeSpan::of(request.start, request.end);
        if wanted.is_empty() {
            // Prometheus refuses it, so let it do so in its own words.
            return Some(request.clone());
        }
        if wanted.intersection(self.asked).is_empty() {
            return None;
        }
        let clamped = wanted.intersection(self.counted);
        let bound = |own: Option<TimestampMs>, clamped, open| if clamped == open { own } else { Some(clamped) };
        Some(MetadataRequest {
            start: bound(request.start, clamped.start, TimeSpan::ALL.start),
            end: bound(request.end, clamped.end, TimeSpan::ALL.end),
            ..request.clone()
        })
    }
}

/// The first and the last step that look at a moment of the span.
fn looking_at(grid: StepGrid, lookback: DurationMs, span: TimeSpan) -> Option<(usize, usize)> {
    if span.is_empty() || lookback.0 <= 0 {
        return None;
    }
    let (start, step) = (i128::from(grid.start().0), i128::from(grid.step().0));
    let last_step = grid.step_count() as i128 - 1;
    // The first step at or behind the span's start, the last one whose window begins before the span's end.
    let first = (i128::from(span.start.0) - start + step - 1).div_euclid(step).max(0);
    let last = (i128::from(span.end.0) + i128::from(lookback.0) - 1 - start).div_euclid(step).min(last_step);
    if first > last {
        return None;
    }
    Some((usize::try_from(first).ok()?, usize::try_from(last).ok()?))
}

fn steps_of(grid: StepGrid, first: usize, last: usize) -> StepGrid {
    StepGrid::with_count(grid.time(first), grid.step(), last - first + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: TimestampMs = TimestampMs(10_000);

    fn relative(start: Option<i64>, end: Option<i64>, truncate: bool) -> TimeRanges {
        let relative = RelativeTimeRange { start: start.map(DurationMs), end: end.map(DurationMs), truncate };
        TimeRanges { relative, ..TimeRanges::default() }
    }

    fn absolute(start: Option<i64>, end: Option<i64>, truncate: bool) -> TimeRanges {
        let absolute = AbsoluteTimeRange { start: start.map(TimestampMs), end: end.map(TimestampMs), truncate };
        TimeRanges { absolute, ..TimeRanges::default() }
    }

    fn samples(start: i64, end: i64) -> SelectForm {
        SelectForm::Samples { start: TimestampMs(start), end: TimestampMs(end) }
    }

    fn grid(start: i64, step: i64, count: usize) -> StepGrid {
        StepGrid::with_count(TimestampMs(start), DurationMs(step), count)
    }

    #[test]
    fn a_group_without_ranges_has_none() {
        assert_eq!(TimeRanges::of(&ServerGroupConfig::default()), None);
        let truncate_only = RelativeTimeRange { truncate: true, ..RelativeTimeRange::default() };
        let config = ServerGroupConfig { relative_time_range: Some(truncate_only), ..ServerGroupConfig::default() };
        assert_eq!(TimeRanges::of(&config), None);
    }

    #[test]
    fn bounds_are_inclusive_and_both_ranges_must_hold() {
        let both = TimeRanges {
            relative: RelativeTimeRange { start: Some(DurationMs(-1000)), end: None, truncate: true },
            absolute: AbsoluteTimeRange { start: None, end: Some(TimestampMs(9_500)), truncate: false },
        };
        let coverage = both.at(NOW);
        for ((start, end), asked) in [
            // `(start, end]` of the question, and what is asked.
            ((0, 8_999), None),
            ((0, 9_000), Some((8_999, 9_000))),
            ((9_499, 12_000), Some((9_499, 12_000))),
            ((9_500, 12_000), None),
            ((0, 20_000), Some((8_999, 20_000))),
            ((9_100, 9_100), None),
            ((9_200, 9_100), None),
        ] {
            let asked = asked.map(|(start, end)| samples(start, end));
            assert_eq!(coverage.select(&samples(start, end)).map(|covered| covered.form), asked, "{start} {end}");
        }
        // Ranges that have nothing in common leave nothing.
        let nothing = TimeRanges { absolute: AbsoluteTimeRange { end: Some(TimestampMs(1)), ..both.absolute }, ..both };
        assert_eq!(nothing.at(NOW).select(&samples(i64::MIN, i64::MAX)), None);
        assert_eq!(nothing.at(NOW).metadata(&metadata(None, None)), None);
    }

    #[test]
    fn what_an_instant_query_looks_at_counts_not_when_it_is_evaluated() {
        let lookback = DurationMs(300);
        let at = |time| SelectForm::Steps { grid: StepGrid::instant(TimestampMs(time)), lookback };
        for truncate in [false, true] {
            let coverage = absolute(Some(1_000), Some(2_000), truncate).at(NOW);
            for (time, is_asked) in
                [(999, false), (1_000, true), (2_000, true), (2_001, true), (2_299, true), (2_300, false)]
            {
                assert_eq!(coverage.select(&at(time)).is_some(), is_asked, "{time}");
            }
            // rate(x[1h]) behind the range looks back into it.
            assert!(coverage.select(&samples(1_999, 5_000)).is_some());
            assert!(coverage.select(&samples(2_000, 5_000)).is_none());
        }
    }

    #[test]
    fn without_truncate_a_question_is_asked_whole() {
        let coverage = absolute(Some(1_000), Some(2_000), false).at(NOW);
        let steps = SelectForm::Steps { grid: grid(0, 100, 50), lookback: DurationMs(300) };
        for form in [steps, samples(0, 5_000)] {
            assert_eq!(coverage.select(&form), Some(CoveredForm { form, counted: None, tail: None }));
        }
    }

    #[test]
    fn with_truncate_only_steps_that_look_at_the_range_are_asked() {
        let coverage = absolute(Some(1_000), Some(2_000), true).at(NOW);
        let select = |grid, lookback| coverage.select(&SelectForm::Steps { grid, lookback: DurationMs(lookback) });
        let counted = Some(TimeSpan { start: TimestampMs(1_000), end: TimestampMs(2_000) });
        // Steps at 0, 100, …: the range begins at 1000; a step at 2200 sees the sample of 2000, one at 2300 does not.
        let covered = select(grid(0, 100, 50), 300).expect("asked");
        let form = SelectForm::Steps { grid: grid(1_000, 100, 13), lookback: DurationMs(300) };
        assert_eq!(covered, CoveredForm { form, counted, tail: Some(grid(2_100, 100, 2)) });
        // All that the steps look at lies inside.
        let inside = SelectForm::Steps { grid: grid(1_299, 100, 5), lookback: DurationMs(300) };
        assert_eq!(coverage.select(&inside), Some(CoveredForm { form: inside, counted: None, tail: None }));
        // Windows on both sides of the range, none that touches it.
        assert_eq!(select(grid(900, 2_000, 3), 300), None);
        assert_eq!(select(grid(0, 100, 10), 300), None);
    }

    #[test]
    fn an_expression_is_evaluated_there_only_if_all_it_reads_counts() {
        let at = |ranges: TimeRanges, after, until| ranges.at(NOW).samples(TimestampMs(after), TimestampMs(until));
        for (truncate, after, until, covered) in [
            (true, 999, 2_000, Covered::Whole),
            (true, 998, 2_000, Covered::Part),
            (true, 999, 2_001, Covered::Part),
            (true, 2_000, 3_000, Covered::Nothing),
            (false, 0, 5_000, Covered::Whole),
            (false, 0, 999, Covered::Nothing),
        ] {
            assert_eq!(at(absolute(Some(1_000), Some(2_000), truncate), after, until), covered, "{after} {until}");
        }
        assert_eq!(at(relative(Some(-100), None, true), 9_899, 20_000), Covered::Whole);
        assert_eq!(at(relative(Some(-100), None, true), 9_000, 20_000), Covered::Part);
    }

    fn metadata(start: Option<i64>, end: Option<i64>) -> MetadataRequest {
        let (start, end) = (start.map(TimestampMs), end.map(TimestampMs));
        MetadataRequest { selectors: Vec::new(), start, end, limit: Some(7) }
    }

    /// promxy clamps open bounds to the year 1 (labels, absolute) and moves a request's end to the end of the range where it
    /// should be cut (series, relative).
    #[test]
    fn questions_about_series_are_cut_to_the_range_and_open_bounds_stay_open() {
        let both =
            |truncate| [absolute(Some(1_000), Some(2_000), truncate), relative(Some(-9_000), Some(-8_000), truncate)];
        for ranges in both(true) {
            for (asked, expected) in [
                ((None, None), Some((Some(1_000), Some(2_000)))),
                ((Some(0), Some(999)), None),
                ((Some(2_001), None), None),
                ((None, Some(999)), None),
                ((Some(500), Some(1_500)), Some((Some(1_000), Some(1_500)))),
                ((Some(1_500), Some(9_000)), Some((Some(1_500), Some(2_000)))),
                ((Some(2_000), Some(2_000)), Some((Some(2_000), Some(2_000)))),
            ] {
                let cut = ranges.at(NOW).metadata(&metadata(asked.0, asked.1));
                assert_eq!(cut, expected.map(|(start, end)| metadata(start, end)), "{asked:?}");
            }
        }
        for ranges in both(false) {
            for (asked, is_asked) in
                [((None, None), true), ((Some(500), Some(1_500)), true), ((Some(0), Some(999)), false)]
            {
                let request = metadata(asked.0, asked.1);
                assert_eq!(ranges.at(NOW).metadata(&request), is_asked.then_some(request), "{asked:?}");
            }
        }
        for (ranges, expected) in [
            (absolute(Some(1_000), None, true), metadata(Some(1_000), None)),
            (relative(None, Some(0), true), metadata(None, Some(10_000))),
        ] {
            assert_eq!(ranges.at(NOW).metadata(&metadata(None, None)), Some(expected));
        }
        // Backwards: it is the server's to refuse.
        let backwards = metadata(Some(9), Some(1));
        assert_eq!(absolute(Some(1_000), None, true).at(NOW).metadata(&backwards), Some(backwards));
    }

    proptest! {
        /// Against looking at every millisecond.
        #[test]
        fn what_is_asked_is_what_looks_at_the_range(
            (from, length) in (-20_i64..40, 0_i64..20),
            (start, step, count) in (-20_i64..40, 1_i64..8, 1_usize..12),
            lookback in 1_i64..12,
        ) {
            let coverage = absolute(Some(from), Some(from + length), true).at(NOW);
            let grid = grid(start, step, count);
            let sees = |time: i64| (time - lookback + 1..=time).any(|moment| from <= moment && moment <= from + length);
            let expected: Vec<i64> = grid.times().map(|time| time.0).filter(|time| sees(*time)).collect();
            let covered = coverage.select(&SelectForm::Steps { grid, lookback: DurationMs(lookback) });
            let asked: Vec<i64> = match covered.as_ref().map(|covered| &covered.form) {
                Some(SelectForm::Steps { grid, .. }) => grid.times().map(|time| time.0).collect(),
                _ => Vec::new(),
            };
            prop_assert_eq!(&asked, &expected);
            let tail: Vec<i64> = covered
                .and_then(|covered| covered.tail)
                .map(|tail| tail.times().map(|time| time.0).collect())
                .unwrap_or_default();
            prop_assert_eq!(tail, expected.into_iter().filter(|time| *time > from + length).collect::<Vec<_>>());
        }

        #[test]
        fn hostile_times_overflow_nothing(
            now in any::<i64>(), bounds in any::<(i64, i64)>(), asked in any::<(i64, i64)>(), step in 1_i64..=i64::MAX,
            count in 1_usize..100, lookback in any::<i64>(),
        ) {
            for truncate in [false, true] {
                let ranges = TimeRanges {
                    relative: RelativeTimeRange { start: Some(DurationMs(bounds.0)), end: None, truncate },
                    ..absolute(None, Some(bounds.1), truncate)
                };
                let coverage = ranges.at(TimestampMs(now));
                coverage.select(&samples(asked.0, asked.1));
                coverage.samples(TimestampMs(asked.0), TimestampMs(asked.1));
                let steps = SelectForm::Steps { grid: grid(asked.0, step, count), lookback: DurationMs(lookback) };
                coverage.select(&steps);
                coverage.metadata(&metadata(Some(asked.0), Some(asked.1)));
            }
        }
    }
}
