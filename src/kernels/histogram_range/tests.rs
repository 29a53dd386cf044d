use std::sync::Arc;

use proptest::prelude::*;

use super::super::cells::collect_cells;
use super::super::windows::tests::{any_timestamps, any_windows, grid};
use super::super::{evaluate_range_function, native_histogram};
use super::*;
use crate::model::{BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, NativeHistogram};

use RangeFunction as F;

/// `count` observations of 1, in one bucket of schema 0.
fn counted(count: f64) -> NativeHistogram {
    let positive = Buckets { spans: vec![BucketSpan { offset: 0, length: 1 }], counts: vec![count] };
    NativeHistogram { count, sum: count, positive, ..NativeHistogram::default() }
}

fn gauge(count: f64) -> NativeHistogram {
    NativeHistogram { counter_reset_hint: CounterResetHint::Gauge, ..counted(count) }
}

fn custom(count: f64, bounds: &[f64]) -> NativeHistogram {
    NativeHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_bounds: bounds.into(), ..counted(count) }
}

fn timed(at_seconds: i64, histogram: NativeHistogram) -> TimedHistogram {
    TimedHistogram { at: at_seconds * 1000, start_time: None, histogram: Arc::new(histogram) }
}

fn float_cells(
    function: F,
    (timestamps, values): (&[i64], &[f64]),
    windows: &RangeWindows,
    params: &[StepScalar<'_>],
) -> Vec<Option<f64>> {
    collect_cells(|out| {
        evaluate_range_function(function, timestamps, values, windows, params, out).expect("valid parameters");
    })
}

/// The function over a window of a whole series: numbers (at seconds) and histograms.
fn evaluate(function: F, floats: &[(i64, f64)], histograms: &[TimedHistogram], window: (i64, i64)) -> MixedCells {
    let (start, end) = window;
    let windows = grid(end * 1000, 1, 1, (end - start) * 1000);
    let timestamps: Vec<i64> = floats.iter().map(|(at, _)| at * 1000).collect();
    let values: Vec<f64> = floats.iter().map(|(_, value)| *value).collect();
    let params = [StepScalar::Constant(0.5), StepScalar::Constant(0.5)];
    let cells = float_cells(function, (&timestamps, &values), &windows, &params);
    let series = MixedSeries { timestamps: &timestamps, values: &values, start_times: None, histograms };
    evaluate_mixed_range_function(function, series, &windows, (&params, StartTimes::Ignored), &cells).expect("valid")
}

fn histogram_of(result: &MixedCells) -> &NativeHistogram {
    result.cells[0].as_ref().and_then(Sample::as_histogram).expect("a histogram")
}

fn notes_of(result: &MixedCells) -> Vec<RangeNote> {
    result.notes.iter().collect()
}

#[test]
fn a_rate_of_histograms_is_a_compacted_gauge() {
    let histograms = [timed(10, counted(5.0)), timed(20, counted(15.0)), timed(30, counted(15.0))];
    let result = evaluate(F::Increase, &[], &histograms, (0, 40));
    let histogram = histogram_of(&result);
    assert_eq!(histogram.counter_reset_hint, CounterResetHint::Gauge);
    assert_eq!(histogram.count, 10.0 * ((20.0 + 10.0 + 10.0) / 20.0));
    assert_eq!(histogram.positive.counts, [histogram.count]);
    assert_eq!(notes_of(&result), []);
    let unchanged = evaluate(F::Rate, &[], &histograms[1..], (0, 40));
    assert_eq!(histogram_of(&unchanged).positive, Buckets::default());
}

#[test]
fn a_reset_adds_the_histogram_before_it_and_a_hint_is_believed() {
    let fell = [timed(10, counted(5.0)), timed(20, counted(9.0)), timed(30, counted(2.0)), timed(40, counted(4.0))];
    // The reset comes first: nothing is left of what was before it.
    assert_eq!(histogram_of(&evaluate(F::Increase, &[], &fell, (10, 40))).count, 4.0 * ((20.0 + 10.0) / 20.0));
    let whole = evaluate(F::Increase, &[], &fell, (9, 40));
    // It stood at zero 5/8 of the sampled 30 s before the first sample: farther than the edge.
    assert_eq!(histogram_of(&whole).count, (4.0 - 5.0 + 9.0) * ((30.0 + 1.0) / 30.0));
    let hinted = NativeHistogram { counter_reset_hint: CounterResetHint::Reset, ..counted(9.0) };
    let result = evaluate(F::Resets, &[], &[timed(10, counted(5.0)), timed(20, hinted)], (0, 40));
    assert_eq!(result.cells, [Some(Sample::Float(1.0))]);
}

#[test]
fn what_was_before_a_reset_at_the_left_edge_need_not_fit() {
    let late = [timed(10, custom(9.0, &[1.0])), timed(20, counted(1.0)), timed(30, counted(3.0))];
    let result = evaluate(F::Increase, &[], &late, (0, 30));
    assert_eq!(notes_of(&result), []);
    assert!(histogram_of(&result).count >= 3.0);
    let inside = [timed(10, counted(9.0)), timed(20, custom(9.0, &[1.0])), timed(30, counted(3.0))];
    let result = evaluate(F::Increase, &[], &inside, (0, 30));
    assert_eq!(result.cells, [None]);
    assert_eq!(notes_of(&result), [RangeNote::MixedSchemas]);
}

#[test]
fn windows_of_numbers_and_histograms() {
    let floats = [(10, 1.0), (20, 4.0), (30, 2.0)];
    let histograms = [timed(15, counted(5.0)), timed(40, counted(7.0))];
    for (function, cell, notes) in [
        (F::Rate, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::Increase, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::Delta, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::SumOverTime, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::AvgOverTime, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::Irate, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::Idelta, None, vec![RangeNote::MixedFloatsAndHistograms]),
        (F::CountOverTime, Some(5.0), vec![]),
        (F::PresentOverTime, Some(1.0), vec![]),
        (F::FirstOverTime, Some(1.0), vec![]),
        (F::TsOfFirstOverTime, Some(10.0), vec![]),
        (F::TsOfLastOverTime, Some(40.0), vec![]),
        (F::Resets, Some(4.0), vec![]),
        (F::Changes, Some(4.0), vec![]),
        (F::MaxOverTime, Some(4.0), vec![RangeNote::HistogramsIgnored]),
        (F::TsOfMaxOverTime, Some(20.0), vec![RangeNote::HistogramsIgnored]),
        (F::QuantileOverTime, Some(2.0), vec![RangeNote::HistogramsIgnored]),
        (F::MadOverTime, Some(1.0), vec![RangeNote::HistogramsIgnored]),
    ] {
        let result = evaluate(function, &floats, &histograms, (0, 50));
        assert_eq!(result.cells, [cell.map(Sample::Float)], "{function:?}");
        assert_eq!(notes_of(&result), notes, "{function:?}");
    }
    let last = evaluate(F::LastOverTime, &floats, &histograms, (0, 50));
    assert_eq!(last.cells, [Some(Sample::Histogram(Arc::clone(&histograms[1].histogram)))]);
}

#[test]
fn functions_of_numbers_have_nothing_to_say_of_histograms_alone_but_of_one_number_too_few() {
    let histograms = [timed(10, counted(5.0)), timed(20, counted(7.0))];
    for function in F::all().filter(|function| looks_only_at_numbers(*function)) {
        let result = evaluate(function, &[], &histograms, (0, 50));
        assert_eq!((&result.cells[..], notes_of(&result)), (&[None][..], vec![]), "{function:?}");
        let result = evaluate(function, &[(15, 1.0)], &histograms, (0, 50));
        assert_eq!(notes_of(&result), [RangeNote::HistogramsIgnored], "{function:?}");
    }
    for function in [F::Deriv, F::PredictLinear, F::DoubleExponentialSmoothing] {
        assert_eq!(evaluate(function, &[(15, 1.0)], &histograms, (0, 50)).cells, [None]);
    }
}

#[test]
fn bad_factors_are_an_error_even_over_histograms_alone() {
    let histograms = [timed(10, counted(5.0))];
    let series = MixedSeries { timestamps: &[], values: &[], start_times: None, histograms: &histograms };
    let params = [StepScalar::Constant(1.0), StepScalar::Constant(0.5)];
    let smooth = |end_ms: i64| {
        let windows = grid(end_ms, 1, 1, 60_000);
        let with = (&params[..], StartTimes::Ignored);
        evaluate_mixed_range_function(F::DoubleExponentialSmoothing, series, &windows, with, &[None])
    };
    assert_eq!(smooth(20_000).err(), Some(KernelError::SmoothingFactor(1.0)));
    assert_eq!(smooth(90_000).map(|result| result.cells), Ok(vec![None]));
}

#[test]
fn gauges_and_counters_are_told_apart() {
    let of = |function, first, last| evaluate(function, &[], &[timed(10, first), timed(20, last)], (0, 30));
    let cases = [
        (F::Rate, gauge(1.0), counted(2.0), vec![RangeNote::NotCounter]),
        (F::Irate, counted(1.0), gauge(2.0), vec![RangeNote::NotCounter]),
        (F::Delta, gauge(1.0), counted(2.0), vec![RangeNote::NotGauge]),
        (F::Idelta, counted(1.0), counted(2.0), vec![RangeNote::NotGauge]),
        (F::Idelta, gauge(1.0), gauge(2.0), vec![]),
        (F::Delta, gauge(3.0), gauge(2.0), vec![]),
    ];
    for (function, first, last, notes) in cases {
        let result = of(function, first, last);
        assert_eq!(notes_of(&result), notes, "{function:?}");
        assert_eq!(histogram_of(&result).counter_reset_hint, CounterResetHint::Gauge);
    }
    // One histogram has no rate, and nothing is said about it.
    assert_eq!(
        evaluate(F::Rate, &[], &[timed(10, gauge(1.0))], (0, 30)),
        MixedCells { cells: vec![None], ..MixedCells::default() }
    );
}

#[test]
fn different_bounds_are_reconciled_and_noted() {
    let histograms = [timed(10, custom(1.0, &[1.0, 2.0])), timed(20, custom(2.0, &[1.0]))];
    for (function, note) in [
        (F::Increase, RangeNote::ReconciledInSubtraction),
        (F::Irate, RangeNote::ReconciledInSubtraction),
        (F::SumOverTime, RangeNote::ReconciledInAggregation),
        (F::AvgOverTime, RangeNote::ReconciledInAggregation),
    ] {
        let result = evaluate(function, &[], &histograms, (0, 30));
        assert_eq!(notes_of(&result), [note], "{function:?}");
        assert_eq!(histogram_of(&result).custom_bounds[..], [1.0]);
    }
}

#[test]
fn sums_warn_of_conflicting_resets_and_refuse_mixed_schemas() {
    let hinted = |hint| NativeHistogram { counter_reset_hint: hint, ..counted(1.0) };
    let conflict = [timed(10, hinted(CounterResetHint::Reset)), timed(20, hinted(CounterResetHint::NotReset))];
    let mixed = [timed(10, counted(1.0)), timed(20, custom(1.0, &[]))];
    for function in [F::SumOverTime, F::AvgOverTime] {
        let result = evaluate(function, &[], &conflict, (0, 30));
        assert_eq!(notes_of(&result), [RangeNote::ResetCollision]);
        let result = evaluate(function, &[], &mixed, (0, 30));
        assert_eq!((&result.cells[..], notes_of(&result)), (&[None][..], vec![RangeNote::MixedSchemas]));
    }
}

#[test]
fn start_timestamps_tell_of_resets_that_cannot_be_seen_and_of_growth_before_the_first_sample() {
    let started = |at: i64, start: i64, count: f64| TimedHistogram {
        start_time: Some(start * 1000),
        ..timed(at, counted(count))
    };
    let windows = grid(40_000, 1, 1, 40_000);
    let of = |function, histograms: &[TimedHistogram], start_times| {
        let series = MixedSeries { timestamps: &[], values: &[], start_times: None, histograms };
        evaluate_mixed_range_function(function, series, &windows, (&[], start_times), &[None]).expect("valid")
    };
    let reset = [started(10, -5, 4.0), started(20, 15, 6.0)];
    assert_eq!(of(F::Resets, &reset, StartTimes::Used).cells, [Some(Sample::Float(1.0))]);
    assert_eq!(of(F::Resets, &reset, StartTimes::Ignored).cells, [Some(Sample::Float(0.0))]);
    assert_eq!(histogram_of(&of(F::Irate, &reset, StartTimes::Used)).count, 0.6);
    let one = [started(20, 10, 6.0)];
    assert_eq!(histogram_of(&of(F::Increase, &one, StartTimes::Used)).count, 6.0);
    assert_eq!(of(F::Increase, &one, StartTimes::Ignored).cells, [None]);
    let overlap = [started(10, 5, 4.0), started(20, 7, 6.0)];
    assert_eq!(notes_of(&of(F::Rate, &overlap, StartTimes::Used)), [RangeNote::StartTimesOverlap]);
}

#[test]
fn steps_that_share_a_window_share_its_result() {
    let histograms = [timed(10, counted(5.0)), timed(20, counted(15.0))];
    let windows = RangeWindows { end_step_ms: 0, eval_step_ms: 60_000, ..grid(30_000, 1, 3, 40_000) };
    let series = MixedSeries { timestamps: &[], values: &[], start_times: None, histograms: &histograms };
    let with = (&[][..], StartTimes::Ignored);
    let result = evaluate_mixed_range_function(F::Rate, series, &windows, with, &[None; 3]).expect("valid");
    let cells: Vec<_> = result.cells.iter().flatten().filter_map(Sample::as_histogram).collect();
    assert_eq!(cells.len(), 3);
    assert!(Arc::ptr_eq(cells[0], cells[2]));
}

/// Whole numbers at some of the times, histograms at the others.
fn any_mixed() -> impl Strategy<Value = (Vec<(i64, f64)>, Vec<TimedHistogram>)> {
    (any_timestamps(), proptest::collection::vec((0u8..7, 0u8..9), 60)).prop_map(|(timestamps, seeds)| {
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for (time, (kind, count)) in timestamps.iter().zip(seeds) {
            let count = f64::from(count);
            let histogram = match kind {
                0..=2 => {
                    floats.push((*time, count));
                    continue;
                }
                3 => gauge(count),
                4 => custom(count, &[count / 2.0]),
                _ => counted(count),
            };
            histograms.push(TimedHistogram { at: *time, start_time: None, histogram: Arc::new(histogram) });
        }
        (floats, histograms)
    })
}

fn evaluate_grid(
    function: F,
    floats: &[(i64, f64)],
    histograms: &[TimedHistogram],
    windows: &RangeWindows,
) -> MixedCells {
    let (timestamps, values): (Vec<i64>, Vec<f64>) = floats.iter().copied().unzip();
    let params = [StepScalar::Constant(0.5), StepScalar::Constant(0.5)];
    let cells = float_cells(function, (&timestamps, &values), windows, &params);
    let series = MixedSeries { timestamps: &timestamps, values: &values, start_times: None, histograms };
    evaluate_mixed_range_function(function, series, windows, (&params, StartTimes::Ignored), &cells).expect("valid")
}

/// NaN is the same as NaN.
fn text(cells: &[Option<Sample>]) -> String {
    format!("{cells:?}")
}

proptest! {
    #[test]
    fn every_step_is_what_its_window_alone_gives((floats, histograms) in any_mixed(), windows in any_windows()) {
        for function in F::all() {
            let all = evaluate_grid(function, &floats, &histograms, &windows);
            prop_assert_eq!(all.cells.len(), windows.step_count);
            let mut notes = RangeNotes::default();
            for step in 0..windows.step_count {
                let end = windows.end_ms(step);
                let inside = |time: i64| end - windows.range_ms < time && time <= end;
                let floats: Vec<_> = floats.iter().filter(|(time, _)| inside(*time)).copied().collect();
                let histograms: Vec<_> = histograms.iter().filter(|timed| inside(timed.at)).cloned().collect();
                let alone = RangeWindows {
                    first_end_ms: end, first_eval_ms: windows.eval_ms(step), step_count: 1, ..windows
                };
                let alone = evaluate_grid(function, &floats, &histograms, &alone);
                prop_assert_eq!(text(&all.cells[step..=step]), text(&alone.cells), "{:?} {}", function, step);
                notes.extend(alone.notes);
            }
            prop_assert_eq!(all.notes, notes, "{:?}", function);
        }
    }

    #[test]
    fn counts_of_histograms_move_as_numbers_do(
        timestamps in any_timestamps(),
        counts in proptest::collection::vec(0u8..50, 60),
        windows in any_windows(),
    ) {
        let floats: Vec<(i64, f64)> =
            timestamps.iter().zip(&counts).map(|(time, count)| (*time, f64::from(*count))).collect();
        let histograms: Vec<_> = floats.iter().map(|(time, count)| TimedHistogram {
            at: *time, start_time: None, histogram: Arc::new(counted(*count)),
        }).collect();
        for function in [F::Rate, F::Increase, F::Delta, F::Irate, F::Idelta, F::SumOverTime, F::AvgOverTime] {
            let numbers = evaluate_grid(function, &floats, &[], &windows);
            let results = evaluate_grid(function, &[], &histograms, &windows);
            for (number, result) in numbers.cells.iter().zip(&results.cells) {
                let number = number.as_ref().and_then(Sample::as_float);
                let histogram = result.as_ref().and_then(Sample::as_histogram);
                prop_assert_eq!(number, histogram.map(|histogram| histogram.count), "{:?}", function);
                prop_assert_eq!(number, histogram.map(|histogram| histogram.sum), "{:?}", function);
            }
        }
        for function in [F::Resets, F::Changes, F::CountOverTime, F::TsOfLastOverTime] {
            let numbers = evaluate_grid(function, &floats, &[], &windows);
            prop_assert_eq!(numbers.cells, evaluate_grid(function, &[], &histograms, &windows).cells);
        }
    }

    #[test]
    fn resets_and_changes_are_counted_from_sample_to_sample((floats, histograms) in any_mixed()) {
        let mut all: Vec<(i64, Sample)> =
            floats.iter().map(|(time, value)| (*time, Sample::Float(*value))).collect();
        all.extend(histograms.iter().map(|timed| (timed.at, Sample::Histogram(Arc::clone(&timed.histogram)))));
        all.sort_by_key(|(time, _)| *time);
        let windows = grid(i64::MAX / 4, 1, 1, i64::MAX / 2);
        let (mut resets, mut changes) = (0, 0);
        for pair in all.windows(2) {
            let (reset, change) = match (&pair[0].1, &pair[1].1) {
                (Sample::Float(from), Sample::Float(to)) => (to < from, to != from),
                (Sample::Histogram(from), Sample::Histogram(to)) =>
                    (native_histogram::detect_reset(to, from), !native_histogram::histograms_equal(to, from)),
                _ => (true, true),
            };
            resets += i32::from(reset);
            changes += i32::from(change);
        }
        let expected = |count: i32| vec![(!all.is_empty()).then_some(Sample::Float(f64::from(count)))];
        prop_assert_eq!(evaluate_grid(F::Resets, &floats, &histograms, &windows).cells, expected(resets));
        prop_assert_eq!(evaluate_grid(F::Changes, &floats, &histograms, &windows).cells, expected(changes));
        let ends = all.first().zip(all.last());
        let first = ends.map(|(first, _)| first.1.clone());
        let last = ends.map(|(_, last)| last.1.clone());
        prop_assert_eq!(evaluate_grid(F::FirstOverTime, &floats, &histograms, &windows).cells, vec![first]);
        prop_assert_eq!(evaluate_grid(F::LastOverTime, &floats, &histograms, &windows).cells, vec![last]);
    }
}
