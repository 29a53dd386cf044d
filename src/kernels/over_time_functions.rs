//! Aggregates of a window: `sum_over_time` and its kin.
//!
//! | function | cost of a step |
//! |---|---|
//! | `ts_of_min`, `ts_of_max`; `min`, `max` of overlapping windows | O(1), amortised |
//! | `sum` of overlapping windows | O(1), unless the digits of the values are too far apart ([`ExactSums`]) |
//! | `avg` of overlapping windows of whole numbers and their like | O(1) ([`ExactSums`]) |
//! | `quantile` of overlapping windows | O(1) and O(N/1,024) words of a series of N samples ([`RankedWindow`]) |
//! | `mad` of overlapping windows | O(log n) such steps |
//! | otherwise | O(n): each window is walked, several at a time ([`slide_lanes`]) |

use super::exact_sums::ExactSums;
use super::kahan_sum::{KahanMean, KahanSum};
use super::range_function::{Window, WindowedSeries, seconds};
use super::ranked_window::RankedWindow;
use super::sliding_extreme::SlidingExtreme;
use super::window_lanes::{lane_sums, lane_variances, slide_lanes, suit_lanes};
use super::{CellSink, StepScalar, quantile};

/// From so many windows over a sample on, one pass over the series for running totals, or a sort of it, costs less than a walk
/// over each window. (Measured with benches/range_functions.rs: a window of five steps gains already.)
const OVERLAP_MIN: usize = 4;

/// As [`OVERLAP_MIN`], for extremes: a walk that only compares is hard to beat.
const EXTREME_OVERLAP_MIN: usize = 8;

/// `sum_over_time`: Kahan-Neumaier.
pub(crate) fn sums(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    if series.overlap() >= OVERLAP_MIN
        && let Some(totals) = ExactSums::compensated(series.values, series.window_len())
    {
        series.slide(out, |window| Some(totals.sum(window.samples()).unwrap_or_else(|| sum(window.values))));
    } else if suit_lanes(series) {
        slide_lanes(series, out, sees_the_same, |windows| lane_sums(windows).totals().map(Some));
    } else {
        series.slide(out, |window| Some(sum(window.values)));
    }
}

/// `avg_over_time`: Kahan-Neumaier, turning to the incremental mean where the sum overflows.
pub(crate) fn averages(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    if series.overlap() >= OVERLAP_MIN
        && let Some(totals) = ExactSums::plain(series.values, series.window_len())
    {
        series.slide(out, |window| Some(totals.average(window.samples()).unwrap_or_else(|| average(window.values))));
    } else if suit_lanes(series) {
        slide_lanes(series, out, sees_the_same, |windows| {
            let sums = lane_sums(windows);
            std::array::from_fn(|lane| {
                let count = windows[lane].values.len() as f64;
                Some(sums.sum[lane] / count + sums.compensation[lane] / count)
            })
        });
    } else {
        series.slide(out, |window| Some(average(window.values)));
    }
}

/// `stdvar_over_time`, or what `finish` makes of it.
pub(crate) fn variances(series: &WindowedSeries<'_>, out: &mut CellSink<'_>, finish: impl Fn(f64) -> f64) {
    if suit_lanes(series) {
        slide_lanes(series, out, sees_the_same, |windows| {
            lane_variances(windows).map(|variance| Some(finish(variance)))
        });
    } else {
        series.slide(out, |window| Some(finish(variance(window.values))));
    }
}

fn sees_the_same(before: &Window<'_>, window: &Window<'_>) -> bool {
    before.samples() == window.samples()
}

/// `min_over_time` and `max_over_time`: the first value that no later one `replaces`; NaN only if all are.
pub(crate) fn extremes(series: &WindowedSeries<'_>, out: &mut CellSink<'_>, replaces: impl Fn(f64, f64) -> bool) {
    if series.overlap() < EXTREME_OVERLAP_MIN {
        series.slide(out, |window| {
            let replaces_kept = |kept: f64, value: f64| replaces(value, kept) || kept.is_nan();
            window.values.iter().copied().reduce(|kept, value| if replaces_kept(kept, value) { value } else { kept })
        });
        return;
    }
    let mut extreme = SlidingExtreme::new(replaces);
    series.slide(out, |window| Some(extreme.within(series.values, window.samples()).value));
}

/// `ts_of_min_over_time` and `ts_of_max_over_time`: when that value was, in seconds; of the last NaN if all are.
pub(crate) fn times_of_extremes(
    series: &WindowedSeries<'_>,
    out: &mut CellSink<'_>,
    replaces: impl Fn(f64, f64) -> bool,
) {
    let mut extreme = SlidingExtreme::new(replaces);
    series.slide(out, |window| {
        let extreme = extreme.within(series.values, window.samples());
        series.timestamps.get(extreme.at).copied().map(seconds)
    });
}

/// `sum_over_time` of one window.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let mut sum = KahanSum::default();
    for value in values {
        sum.add(*value);
    }
    sum.value()
}

/// `avg_over_time` of one window.
pub(crate) fn average(values: &[f64]) -> f64 {
    let mut mean = KahanMean::default();
    for value in values {
        mean.add(*value);
    }
    mean.value()
}

/// `stdvar_over_time` of one window: population variance, Welford's method with Kahan sums. As Prometheus v3.14 `varianceOverTime`.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = KahanSum::default();
    let mut squares = KahanSum::default();
    for value in values {
        count += 1.0;
        let from_old_mean = value - (mean.sum + mean.compensation);
        mean.add(from_old_mean / count);
        squares.add(from_old_mean * (value - (mean.sum + mean.compensation)));
    }
    (squares.sum + squares.compensation) / count
}

/// `quantile_over_time`.
pub(crate) fn quantiles(series: &WindowedSeries<'_>, q: StepScalar<'_>, out: &mut CellSink<'_>) {
    if series.overlap() >= OVERLAP_MIN
        && let Some(mut ranked) = RankedWindow::of(series.values)
    {
        series.slide(out, |window| {
            ranked.move_to(window.samples());
            Some(ranked.quantile(q.at(window.step)))
        });
        return;
    }
    let mut scratch = Vec::new();
    series.slide(out, |window| {
        refill(&mut scratch, window.values.iter().copied());
        Some(quantile(q.at(window.step), &mut scratch))
    });
}

/// `mad_over_time`: the median of the distances to the median; NaN as soon as one value is.
pub(crate) fn median_deviations(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let mut scratch = Vec::new();
    if series.overlap() >= OVERLAP_MIN
        && let Some(mut ranked) = RankedWindow::of(series.values)
    {
        series.slide(out, |window| {
            ranked.move_to(window.samples());
            let deviation = ranked.median_deviation();
            Some(deviation.unwrap_or_else(|| median_deviation(window.values, &mut scratch)))
        });
        return;
    }
    series.slide(out, |window| Some(median_deviation(window.values, &mut scratch)));
}

fn median_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    refill(scratch, values.iter().copied());
    let median = quantile(0.5, scratch);
    refill(scratch, values.iter().map(|value| (value - median).abs()));
    quantile(0.5, scratch)
}

fn refill(scratch: &mut Vec<f64>, values: impl Iterator<Item = f64>) {
    scratch.clear();
    scratch.extend(values);
}

#[cfg(test)]
mod tests {
    use super::super::RangeFunction::{
        AvgOverTime, CountOverTime, FirstOverTime, LastOverTime, MadOverTime, MaxOverTime, MinOverTime,
        PresentOverTime, QuantileOverTime, StddevOverTime, StdvarOverTime, SumOverTime, TsOfFirstOverTime,
        TsOfLastOverTime, TsOfMaxOverTime, TsOfMinOverTime,
    };
    use super::super::range_function::tests::check;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    const WHOLE: (i64, i64) = (60, 100);

    #[test]
    fn sums_and_means_keep_small_values_and_infinities() {
        check(SumOverTime, "1 1e100 1 -1e100", WHOLE, &[], Some(2.0));
        check(AvgOverTime, "1 1e100 1 -1e100", WHOLE, &[], Some(0.5));
        check(AvgOverTime, "1.7e308 1.7e308 1.7e308", WHOLE, &[], Some(1.7e308));
        check(SumOverTime, "1.7e308 1.7e308", WHOLE, &[], Some(INF));
        check(SumOverTime, "Inf -Inf", WHOLE, &[], Some(NAN));
        check(AvgOverTime, "1 Inf 2", WHOLE, &[], Some(INF));
        check(AvgOverTime, "Inf 1 -Inf", WHOLE, &[], Some(NAN));
    }

    #[test]
    fn extremes_pass_over_nan_unless_there_is_nothing_else() {
        check(MinOverTime, "NaN 3 NaN 1 2", WHOLE, &[], Some(1.0));
        check(MaxOverTime, "NaN 3 NaN 1 2", WHOLE, &[], Some(3.0));
        check(MinOverTime, "NaN NaN", WHOLE, &[], Some(NAN));
        check(MaxOverTime, "NaN NaN", WHOLE, &[], Some(NAN));
    }

    #[test]
    fn the_time_of_an_extreme_is_that_of_its_last_occurrence() {
        check(TsOfMaxOverTime, "1 3 3 2", WHOLE, &[], Some(20.0));
        check(TsOfMinOverTime, "2 1 1 3", WHOLE, &[], Some(20.0));
        check(TsOfMaxOverTime, "NaN 3 NaN", WHOLE, &[], Some(10.0));
        check(TsOfMinOverTime, "NaN NaN", WHOLE, &[], Some(10.0));
        check(TsOfFirstOverTime, "_ 3 1 2", WHOLE, &[], Some(10.0));
        check(TsOfLastOverTime, "_ 3 1 2", WHOLE, &[], Some(30.0));
    }

    #[test]
    fn plain_picks_and_counts() {
        check(FirstOverTime, "_ NaN 1 2", WHOLE, &[], Some(NAN));
        check(LastOverTime, "_ 3 1 2", WHOLE, &[], Some(2.0));
        check(CountOverTime, "_ NaN 1 2", WHOLE, &[], Some(3.0));
        check(PresentOverTime, "NaN", WHOLE, &[], Some(1.0));
    }

    #[test]
    fn the_variance_of_equal_values_is_exactly_zero() {
        // Prometheus issue 4927.
        let equal = "1.5990505637277868 1.5990505637277868 1.5990505637277868";
        check(StdvarOverTime, equal, WHOLE, &[], Some(0.0));
        check(StddevOverTime, equal, WHOLE, &[], Some(0.0));
        check(StdvarOverTime, "1 5", WHOLE, &[], Some(4.0));
        check(StddevOverTime, "1 5", WHOLE, &[], Some(2.0));
        check(StdvarOverTime, "1 Inf", WHOLE, &[], Some(NAN));
    }

    #[test]
    fn quantiles_take_any_q() {
        check(QuantileOverTime, "0 1 2 4", WHOLE, &[0.75], Some(2.5));
        check(QuantileOverTime, "0 1 2 4", WHOLE, &[-1.0], Some(-INF));
        check(QuantileOverTime, "0 1 2 4", WHOLE, &[2.0], Some(INF));
        check(QuantileOverTime, "0 1 2 4", WHOLE, &[NAN], Some(NAN));
    }

    #[test]
    fn the_median_deviation_is_nan_as_soon_as_one_value_is() {
        check(MadOverTime, "4 6 2 1 999 1 2", WHOLE, &[], Some(1.0));
        check(MadOverTime, "7 7 7", WHOLE, &[], Some(0.0));
        check(MadOverTime, "5", WHOLE, &[], Some(0.0));
        check(MadOverTime, "1 2 NaN 4", WHOLE, &[], Some(NAN));
    }
}
