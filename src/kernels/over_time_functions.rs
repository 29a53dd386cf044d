//! Aggregates of a window: `sum_over_time` and its kin.

use super::kahan_sum::{KahanMean, KahanSum};
use super::range_function::{Window, WindowedSeries};
use super::{CellSink, StepScalar, quantile};

/// `sum_over_time`: Kahan-Neumaier.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let mut sum = KahanSum::default();
    for value in values {
        sum.add(*value);
    }
    sum.value()
}

/// `avg_over_time`.
pub(crate) fn average(values: &[f64]) -> f64 {
    let mut mean = KahanMean::default();
    for value in values {
        mean.add(*value);
    }
    mean.value()
}

/// `min_over_time`: NaN only if all are.
pub(crate) fn smallest(values: &[f64]) -> f64 {
    values.iter().fold(f64::NAN, |least, value| if *value < least || least.is_nan() { *value } else { least })
}

/// `max_over_time`: NaN only if all are.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(f64::NAN, |most, value| if *value > most || most.is_nan() { *value } else { most })
}

/// Time of the last smallest value, in ms; of the last NaN if all are.
pub(crate) fn time_of_smallest(window: &Window<'_>) -> i64 {
    time_of_extreme(window, |value, least| value <= least)
}

/// Time of the last largest value, in ms; of the last NaN if all are.
pub(crate) fn time_of_largest(window: &Window<'_>) -> i64 {
    time_of_extreme(window, |value, most| value >= most)
}

fn time_of_extreme(window: &Window<'_>, replaces: impl Fn(f64, f64) -> bool) -> i64 {
    let mut extreme = f64::NAN;
    let mut time_ms = 0;
    for (value, at_ms) in window.values.iter().zip(window.timestamps) {
        if replaces(*value, extreme) || extreme.is_nan() {
            extreme = *value;
            time_ms = *at_ms;
        }
    }
    time_ms
}

/// `stdvar_over_time`: population variance, Welford's method with Kahan sums. As Prometheus v3.14 `varianceOverTime`.
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

/// `quantile_over_time`, with one scratch buffer for all windows.
pub(crate) fn quantiles(series: &WindowedSeries<'_>, q: StepScalar<'_>, out: &mut CellSink<'_>) {
    let mut scratch = Vec::new();
    series.slide(out, |window| {
        refill(&mut scratch, window.values.iter().copied());
        Some(quantile(q.at(window.step), &mut scratch))
    });
}

/// `mad_over_time`: the median of the distances to the median; NaN as soon as one value is.
pub(crate) fn median_deviations(series: &WindowedSeries<'_>, out: &mut CellSink<'_>) {
    let mut scratch = Vec::new();
    series.slide(out, |window| {
        if window.values.iter().any(|value| value.is_nan()) {
            return Some(f64::NAN);
        }
        refill(&mut scratch, window.values.iter().copied());
        let median = quantile(0.5, &mut scratch);
        refill(&mut scratch, window.values.iter().map(|value| (value - median).abs()));
        Some(quantile(0.5, &mut scratch))
    });
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
