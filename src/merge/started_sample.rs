//! Samples of either kind, with their start times: what series are merged as that are not floats alone.

use std::cmp::Ordering;

use super::{Samples, StepCell};
use crate::error::Error;
use crate::model::{Buckets, CounterResetHint, NativeHistogram, Sample, SamplesTable, SamplesTableBuilder, StepsTable};

/// What stands at one time of a series that is merged. Replicas are put in order by their content, so that it does not matter
/// in which order they answered.
pub trait MergeValue: Clone {
    /// A total order of contents.
    fn compare_content(&self, other: &Self) -> Ordering;
    /// Does this one count where the larger is preferred?
    fn is_larger_than(&self, other: &Self) -> bool;
}

impl MergeValue for f64 {
    fn compare_content(&self, other: &Self) -> Ordering {
        self.to_bits().cmp(&other.to_bits())
    }

    fn is_larger_than(&self, other: &Self) -> bool {
        self > other
    }
}

/// A sample of a series that is merged.
#[derive(Clone, Debug, PartialEq)]
pub struct StartedSample {
    /// Number or histogram.
    pub sample: Sample,
    /// Start timestamp in ms, 0 = unknown.
    pub start_time: i64,
    /// The row that it comes from and its place there; no part of the content.
    origin: (usize, usize),
}

/// Of two histograms the one that counted more is the larger. A number is never larger than a histogram, nor the other way.
impl MergeValue for StartedSample {
    fn compare_content(&self, other: &Self) -> Ordering {
        let samples = match (&self.sample, &other.sample) {
            (Sample::Float(a), Sample::Float(b)) => a.compare_content(b),
            (Sample::Histogram(a), Sample::Histogram(b)) => compare_histograms(a, b),
            (Sample::Float(_), Sample::Histogram(_)) => Ordering::Less,
            (Sample::Histogram(_), Sample::Float(_)) => Ordering::Greater,
        };
        samples.then(self.start_time.cmp(&other.start_time))
    }

    fn is_larger_than(&self, other: &Self) -> bool {
        match (&self.sample, &other.sample) {
            (Sample::Float(a), Sample::Float(b)) => a > b,
            (Sample::Histogram(a), Sample::Histogram(b)) => a.count > b.count,
            _ => false,
        }
    }
}

fn compare_histograms(a: &NativeHistogram, b: &NativeHistogram) -> Ordering {
    let numbers = |histogram: &NativeHistogram| {
        let bits = [histogram.count, histogram.sum, histogram.zero_count, histogram.zero_threshold].map(f64::to_bits);
        (bits, histogram.schema, histogram.counter_reset_hint as i8)
    };
    let bits = |values: &[f64], others: &[f64]| {
        values.iter().map(|value| value.to_bits()).cmp(others.iter().map(|value| value.to_bits()))
    };
    let side = |a: &Buckets, b: &Buckets| {
        let spans = |buckets: &Buckets| buckets.spans.iter().map(|span| (span.offset, span.length)).collect::<Vec<_>>();
        bits(&a.counts, &b.counts).then_with(|| spans(a).cmp(&spans(b)))
    };
    (numbers(a).cmp(&numbers(b)))
        .then_with(|| side(&a.positive, &b.positive))
        .then_with(|| side(&a.negative, &b.negative))
        .then_with(|| bits(&a.custom_bounds, &b.custom_bounds))
}

/// Has a row more than floats without start times?
pub fn is_mixed_row(table: &SamplesTable<'_>, row: usize) -> bool {
    table.histograms().row_len(row) > 0 || table.start_times(row).is_some()
}

/// One row's samples by time.
#[derive(Debug, Default)]
pub struct StartedSamples {
    /// Times in ms, ascending.
    pub times: Vec<i64>,
    /// As many samples.
    pub samples: Vec<StartedSample>,
}

impl StartedSamples {
    /// All samples of a row of a table; `origin` is a number that no other row of the same merge has.
    ///
    /// # Errors
    /// Two samples at one time, and broken columns.
    pub fn of_row(table: &SamplesTable<'_>, row: usize, origin: usize) -> Result<Self, Error> {
        let (times, values) = table.series(row);
        let starts = table.start_times(row).unwrap_or_default();
        let floats = times.iter().zip(values).enumerate().map(|(at, (time, value))| {
            (*time, Sample::Float(*value), starts.get(at).copied().unwrap_or(0)) //
        });
        let histograms = if table.histograms().row_len(row) > 0 { table.histograms().row(row)? } else { Vec::new() };
        let histograms = histograms
            .into_iter()
            .map(|item| (item.at, Sample::Histogram(item.histogram), item.start_time.unwrap_or(0)));
        let mut all: Vec<(i64, Sample, i64)> = floats.chain(histograms).collect();
        all.sort_by_key(|(time, ..)| *time);
        if all.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::execution("a series came with a number and a histogram at the same time"));
        }
        let mut row = Self::default();
        for (at, (time, sample, start_time)) in all.into_iter().enumerate() {
            row.times.push(time);
            row.samples.push(StartedSample { sample, start_time, origin: (origin, at) });
        }
        Ok(row)
    }

    /// Borrowed, as the merge takes it.
    pub fn as_samples(&self) -> Samples<'_, StartedSample> {
        (&self.times, &self.samples)
    }

    /// Adds merged samples to the series that is being built. A histogram whose neighbour before it was another one where it
    /// comes from loses what it knew of a reset in between, as in Prometheus (storage/merge.go chainSampleIterator); but where
    /// it continues its new neighbour, one Prometheus would have put both into one chunk and known that there was no reset.
    pub fn push_into(self, builder: &mut SamplesTableBuilder) {
        let mut before: Option<(usize, usize)> = None;
        let mut last: Option<SharedHistogram> = None;
        for (time, StartedSample { sample, start_time, origin }) in self.times.into_iter().zip(self.samples) {
            let same_neighbour = match before {
                Some((row, at)) => origin == (row, at + 1),
                None => origin.1 == 0,
            };
            before = Some(origin);
            match sample {
                Sample::Float(value) => {
                    last = None;
                    builder.push_started_sample(time, start_time, value);
                }
                Sample::Histogram(histogram) => {
                    let start_time = Some(start_time).filter(|start| *start != 0);
                    let histogram = match last {
                        _ if same_neighbour => histogram,
                        Some(last) if continues(&last, &histogram) => with_hint(histogram, CounterResetHint::NotReset),
                        _ => forget_reset(histogram),
                    };
                    last = Some(SharedHistogram::clone(&histogram));
                    builder.push_histogram(time, start_time, histogram);
                }
            }
        }
    }
}

type SharedHistogram = std::sync::Arc<NativeHistogram>;

/// Do two counting histograms have the same buckets, and has none of them fallen?
fn continues(last: &NativeHistogram, next: &NativeHistogram) -> bool {
    let may_follow = |histogram: &NativeHistogram| {
        let hint = histogram.counter_reset_hint;
        !histogram.is_stale_marker() && !matches!(hint, CounterResetHint::Gauge | CounterResetHint::Reset)
    };
    let same_layout = last.schema == next.schema
        && last.zero_threshold == next.zero_threshold
        && (!next.uses_custom_buckets() || last.custom_bounds == next.custom_bounds);
    may_follow(last)
        && may_follow(next)
        && same_layout
        && next.count >= last.count
        && next.zero_count >= last.zero_count
        && !next.positive.has_fallen_since(&last.positive)
        && !next.negative.has_fallen_since(&last.negative)
}

fn forget_reset(histogram: SharedHistogram) -> SharedHistogram {
    match histogram.counter_reset_hint {
        CounterResetHint::Unknown | CounterResetHint::Gauge => histogram,
        CounterResetHint::Reset | CounterResetHint::NotReset => with_hint(histogram, CounterResetHint::Unknown),
    }
}

fn with_hint(histogram: SharedHistogram, hint: CounterResetHint) -> SharedHistogram {
    if histogram.counter_reset_hint == hint {
        return histogram;
    }
    SharedHistogram::new(NativeHistogram { counter_reset_hint: hint, ..SharedHistogram::unwrap_or_clone(histogram) })
}

/// The cells of a row of a timed steps table, histograms among them. What a histogram knew of a reset before it is forgotten:
/// another row may have a sample in between that no step shows.
///
/// # Errors
/// Broken columns.
pub fn mixed_cells(table: &StepsTable<'_>, row: usize) -> Result<Vec<StepCell<StartedSample>>, Error> {
    let cell = |(step, sample): (usize, Option<Sample>)| {
        let sample = match sample? {
            Sample::Histogram(histogram) => Sample::Histogram(forget_reset(histogram)),
            float => float,
        };
        let time = table.sample_time(row, step).unwrap_or(i64::MIN);
        Some((StartedSample { sample, start_time: 0, origin: (0, 0) }, time))
    };
    Ok(table.samples(row)?.into_iter().enumerate().map(cell).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::merge::{MergePolicy, merge_samples, merge_steps};
    use crate::model::{StepsTableBuilder, stale_marker};

    fn histogram(count: f64, hint: CounterResetHint) -> Sample {
        let histogram = NativeHistogram { count, counter_reset_hint: hint, ..NativeHistogram::default() };
        Sample::Histogram(Arc::new(histogram))
    }

    type Points = Vec<(i64, i64, Sample)>;

    fn table(rows: &[Points]) -> arrow::record_batch::RecordBatch {
        let mut builder = SamplesTableBuilder::default();
        for row in rows {
            push(&mut builder, row);
            builder.finish_series(b"");
        }
        builder.finish()
    }

    fn push(builder: &mut SamplesTableBuilder, row: &Points) {
        for (time, start, sample) in row {
            match sample {
                Sample::Float(value) => builder.push_started_sample(*time, *start, *value),
                Sample::Histogram(histogram) => {
                    builder.push_histogram(*time, Some(*start).filter(|start| *start != 0), Arc::clone(histogram));
                }
            }
        }
    }

    fn points(row: &StartedSamples) -> Points {
        let samples = row.samples.iter().map(|sample| (sample.start_time, sample.sample.clone()));
        row.times.iter().zip(samples).map(|(time, (start, sample))| (*time, start, sample)).collect()
    }

    fn merge(rows: &[Points], policy: MergePolicy) -> Points {
        let batch = table(rows);
        let view = SamplesTable::try_new(&batch).expect("a samples table");
        let pieces: Vec<_> =
            (0..rows.len()).map(|row| StartedSamples::of_row(&view, row, row).expect("readable")).collect();
        let pieces: Vec<_> = pieces.iter().map(StartedSamples::as_samples).collect();
        let mut merged = StartedSamples::default();
        merge_samples(&pieces, &policy, &mut merged.times, &mut merged.samples);
        let mut builder = SamplesTableBuilder::default();
        merged.push_into(&mut builder);
        builder.finish_series(b"");
        let batch = builder.finish();
        let view = SamplesTable::try_new(&batch).expect("a samples table");
        points(&StartedSamples::of_row(&view, 0, 0).expect("readable"))
    }

    const NOT_RESET: CounterResetHint = CounterResetHint::NotReset;
    const UNKNOWN: CounterResetHint = CounterResetHint::Unknown;

    #[test]
    fn numbers_and_histograms_of_replicas_fill_each_others_gaps() {
        let policy = MergePolicy { anti_affinity_ms: 10, dynamic: false, prefer_max: false };
        let a = vec![
            (0, 0, histogram(1.0, UNKNOWN)),
            (30, 0, histogram(2.0, NOT_RESET)),
            (90, 0, histogram(4.0, NOT_RESET)),
            (120, 0, Sample::Float(stale_marker())),
        ];
        let b = vec![(5, 0, histogram(1.0, UNKNOWN)), (65, -7, Sample::Float(3.0)), (95, 0, Sample::Float(4.0))];
        for rows in [[a.clone(), b.clone()], [b, a]] {
            let merged = merge(&rows, policy);
            let times: Vec<_> = merged.iter().map(|(time, start, _)| (*time, *start)).collect();
            assert_eq!(times, [(0, 0), (30, 0), (65, -7), (90, 0), (120, 0)]);
            assert_eq!(merged[1].2, histogram(2.0, NOT_RESET), "its neighbour is still before it");
            assert_eq!(merged[3].2, histogram(4.0, UNKNOWN), "a sample of another replica is before it now");
        }
    }

    #[test]
    fn a_histogram_of_another_replica_that_continues_the_one_before_it_is_no_reset() {
        for (count, hint, expected) in [
            (3.0, UNKNOWN, NOT_RESET),
            (2.0, NOT_RESET, NOT_RESET),
            (1.0, UNKNOWN, UNKNOWN),
            // It was none after what its own replica has before it; after what is before it now it is one.
            (1.0, NOT_RESET, UNKNOWN),
            (3.0, CounterResetHint::Reset, UNKNOWN),
            (3.0, CounterResetHint::Gauge, CounterResetHint::Gauge),
        ] {
            let rows = [
                vec![(0, 0, histogram(1.0, UNKNOWN)), (10, 0, histogram(2.0, NOT_RESET))],
                vec![(20, 0, histogram(count, hint)), (30, 0, histogram(count, NOT_RESET))],
            ];
            let merged = merge(&rows, MergePolicy::BETWEEN_GROUPS);
            let hints: Vec<_> = merged.iter().map(|(.., sample)| hint_of(sample)).collect();
            assert_eq!(hints, [UNKNOWN, NOT_RESET, expected, NOT_RESET], "{count} {hint:?}");
        }
    }

    #[test]
    fn prefer_max_takes_the_histogram_that_counted_more() {
        let policy = MergePolicy { anti_affinity_ms: 10, dynamic: false, prefer_max: true };
        let rows =
            [vec![(0, 0, histogram(1.0, UNKNOWN)), (30, 0, Sample::Float(9.0))], vec![(2, 0, histogram(8.0, UNKNOWN))]];
        assert_eq!(merge(&rows, policy), [(0, 0, histogram(8.0, UNKNOWN)), (30, 0, Sample::Float(9.0))]);
        let mixed =
            [vec![(0, 0, histogram(1.0, UNKNOWN)), (30, 0, Sample::Float(9.0))], vec![(2, 0, Sample::Float(99.0))]];
        assert_eq!(merge(&mixed, policy)[0], (0, 0, histogram(1.0, UNKNOWN)), "a number is no larger histogram");
    }

    #[test]
    fn two_samples_at_one_time_are_an_error() {
        let batch = table(&[vec![(7, 0, Sample::Float(1.0)), (7, 0, histogram(1.0, UNKNOWN))]]);
        let view = SamplesTable::try_new(&batch).expect("a samples table");
        assert!(StartedSamples::of_row(&view, 0, 0).is_err());
    }

    #[test]
    fn cells_of_both_kinds_are_merged_by_the_time_of_their_samples() {
        let mut builder = StepsTableBuilder::timed(3);
        let rows = [
            [Some((histogram(1.0, NOT_RESET), 0)), None, Some((Sample::Float(3.0), 55))],
            [Some((Sample::Float(7.0), -20)), Some((histogram(2.0, CounterResetHint::Gauge), 30)), None],
        ];
        for row in rows {
            row.into_iter().for_each(|cell| builder.push_timed_sample(cell));
            builder.finish_series(b"");
        }
        let batch = builder.finish();
        let table = StepsTable::try_new(&batch).expect("a steps table");
        let cells = [0, 1].map(|row| mixed_cells(&table, row).expect("readable"));
        let expected = [
            Some((histogram(1.0, UNKNOWN), 0)),
            Some((histogram(2.0, CounterResetHint::Gauge), 30)),
            Some((Sample::Float(3.0), 55)),
        ];
        for views in [[&cells[0][..], &cells[1]], [&cells[1], &cells[0]]] {
            let mut merged = Vec::new();
            merge_steps(&views, &MergePolicy::BETWEEN_GROUPS, &mut merged);
            let merged: Vec<_> =
                merged.into_iter().map(|cell| cell.map(|(value, time)| (value.sample, time))).collect();
            assert_eq!(merged, expected);
        }
    }

    fn any_series() -> impl Strategy<Value = Points> {
        let sample = prop_oneof![
            (0u8..3).prop_map(|value| Sample::Float(f64::from(value))),
            (0u8..3, 0i8..4).prop_map(|(count, hint)| {
                histogram(f64::from(count), CounterResetHint::from_code(hint).expect("a hint"))
            }),
        ];
        prop::collection::btree_map(0i64..60, (0i64..3, sample), 0..20)
            .prop_map(|samples| samples.into_iter().map(|(time, (start, sample))| (time, start, sample)).collect())
    }

    fn hint_of(sample: &Sample) -> CounterResetHint {
        sample.as_histogram().map_or(UNKNOWN, |histogram| histogram.counter_reset_hint)
    }

    fn without_hint(sample: &Sample) -> Sample {
        match sample {
            Sample::Float(value) => Sample::Float(*value),
            Sample::Histogram(histogram) => {
                Sample::Histogram(Arc::new(NativeHistogram { counter_reset_hint: UNKNOWN, ..(**histogram).clone() }))
            }
        }
    }

    proptest! {
        #[test]
        fn a_series_split_over_parts_is_whole_again(
            (whole, owners) in any_series().prop_flat_map(|series| {
                let owners = prop::collection::vec(1u8..8, series.len());
                (Just(series), owners)
            }),
        ) {
            // Each sample is in one, two or all three of the parts.
            let part = |part: u8| -> Points {
                let own = whole.iter().zip(&owners).filter(|(_, owners)| *owners & (1 << part) != 0);
                own.map(|(point, _)| point.clone()).collect()
            };
            let parts = [part(0), part(1), part(2)];
            let merged = merge(&parts, MergePolicy::BETWEEN_GROUPS);
            let plain = |points: &Points| -> Points {
                points.iter().map(|(time, start, sample)| (*time, *start, without_hint(sample))).collect()
            };
            prop_assert_eq!(plain(&merged), plain(&whole));
            for (got, original) in merged.iter().zip(&whole) {
                let (got, original) = (hint_of(&got.2), hint_of(&original.2));
                prop_assert!(matches!(got, UNKNOWN | NOT_RESET) || got == original, "{:?} of {:?}", got, original);
                prop_assert!(original != CounterResetHint::Gauge || got == original, "a gauge stays one");
            }
            if parts.iter().any(|part| part.len() == whole.len()) {
                prop_assert_eq!(&merged, &whole, "the part that has everything is the answer");
            }
            for turn in 1..3 {
                let mut turned = parts.clone();
                turned.rotate_left(turn);
                prop_assert_eq!(plain(&merge(&turned, MergePolicy::BETWEEN_GROUPS)), plain(&whole));
            }
        }
    }
}
