//! Range functions against the slow obvious versions: filter the window, then the formula of the textbook or the rule.

use proptest::prelude::*;

use super::cells::collect_cells;
use super::quantile::nan_lowest;
use super::windows::tests::{any_timestamps, any_timestamps_with_gaps, any_windows};
use super::{RangeFunction, RangeWindows, StepScalar, evaluate_range_function};

/// What the slow versions see of a window.
struct SlowWindow {
    /// Seconds since the left edge of the window, and value.
    points: Vec<(f64, f64)>,
    /// Seconds since the epoch of each point.
    times: Vec<f64>,
    range_seconds: f64,
    /// Evaluation time in seconds since the left edge.
    eval_seconds: f64,
}

impl SlowWindow {
    fn values(&self) -> Vec<f64> {
        self.points.iter().map(|(_, value)| *value).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values();
        values.sort_by(nan_lowest);
        values
    }
}

fn slow(function: RangeFunction, window: &SlowWindow, params: &[f64]) -> Option<f64> {
    use RangeFunction as F;
    let values = window.values();
    let (&first, &last) = (values.first()?, values.last()?);
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    Some(match function {
        F::Rate => slow_extrapolation(window, true)? / window.range_seconds,
        F::Increase => slow_extrapolation(window, true)?,
        F::Delta => slow_extrapolation(window, false)?,
        F::Irate | F::Idelta => {
            let [.., (before_time, before), (time, value)] = window.points[..] else { return None };
            match function {
                F::Idelta => value - before,
                _ if value < before => value / (time - before_time),
                _ => (value - before) / (time - before_time),
            }
        }
        F::Resets => (1..values.len()).filter(|at| values[*at] < values[at - 1]).count() as f64,
        F::Changes => (1..values.len()).filter(|at| values[*at] != values[at - 1]).count() as f64,
        F::Deriv => slow_line(window)?.0,
        F::PredictLinear => {
            let (slope, mean_time) = slow_line(window)?;
            mean + slope * (window.eval_seconds + params[0] - mean_time)
        }
        F::SumOverTime => values.iter().sum(),
        F::AvgOverTime => mean,
        F::MinOverTime => values.iter().copied().fold(f64::INFINITY, f64::min),
        F::MaxOverTime => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        F::CountOverTime => count,
        F::LastOverTime => last,
        F::FirstOverTime => first,
        F::PresentOverTime => 1.0,
        F::StdvarOverTime => values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count,
        F::StddevOverTime => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
        F::QuantileOverTime => slow_quantile(params[0], &window.sorted()),
        F::MadOverTime => {
            let median = slow_quantile(0.5, &window.sorted());
            let mut distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
            distances.sort_by(nan_lowest);
            slow_quantile(0.5, &distances)
        }
        F::TsOfFirstOverTime => window.times[0],
        F::TsOfLastOverTime => window.times[values.len() - 1],
        F::TsOfMinOverTime => window.times[values.iter().rposition(|value| *value == window.sorted()[0])?],
        F::TsOfMaxOverTime => {
            window.times[values.iter().rposition(|value| *value == window.sorted()[values.len() - 1])?]
        }
        F::DoubleExponentialSmoothing => slow_smoothing(&values, params[0], params[1])?.0,
    })
}

/// Rules 30 and 32 to 37: growth between the samples, times the part of the window that they stand for.
fn slow_extrapolation(window: &SlowWindow, is_counter: bool) -> Option<f64> {
    if window.points.len() < 2 {
        return None;
    }
    let (first_time, first) = window.points[0];
    let (last_time, last) = window.points[window.points.len() - 1];
    let mut growth = last - first;
    if is_counter {
        let falls = window.points.windows(2).filter(|pair| pair[1].1 < pair[0].1);
        growth += falls.map(|pair| pair[0].1).sum::<f64>();
    }
    let sampled = last_time - first_time;
    let spacing = sampled / (window.points.len() - 1) as f64;
    let towards_edge = |gap: f64| if gap < spacing * 1.1 { gap } else { spacing / 2.0 };
    let mut left = towards_edge(first_time);
    if is_counter && growth > 0.0 && first >= 0.0 {
        left = left.min(sampled * first / growth);
    }
    let right = towards_edge(window.range_seconds - last_time);
    Some(growth * (left + sampled + right) / sampled)
}

/// Slope and mean time of the line through the points, by centred sums.
fn slow_line(window: &SlowWindow) -> Option<(f64, f64)> {
    if window.points.len() < 2 {
        return None;
    }
    let count = window.points.len() as f64;
    let mean_time = window.points.iter().map(|(time, _)| time).sum::<f64>() / count;
    let mean = window.points.iter().map(|(_, value)| value).sum::<f64>() / count;
    let covariance: f64 = window.points.iter().map(|(time, value)| (time - mean_time) * (value - mean)).sum();
    let variance: f64 = window.points.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
    Some((covariance / variance, mean_time))
}

fn slow_quantile(q: f64, sorted: &[f64]) -> f64 {
    let rank = q * (sorted.len() - 1) as f64;
    let lower = sorted[rank.floor() as usize];
    let upper = sorted[(rank.floor() as usize + 1).min(sorted.len() - 1)];
    lower + (upper - lower) * (rank - rank.floor())
}

/// Level and trend after the last value, from those before it.
fn slow_smoothing(values: &[f64], smoothing: f64, trend_factor: f64) -> Option<(f64, f64)> {
    let (last, before) = values.split_last()?;
    match before {
        [] => None,
        [first] => {
            let trend = last - first;
            Some((smoothing * last + (1.0 - smoothing) * (first + trend), trend))
        }
        _ => {
            let (level, trend) = slow_smoothing(before, smoothing, trend_factor)?;
            let level_before = match before {
                [first, _] => *first,
                _ => slow_smoothing(&before[..before.len() - 1], smoothing, trend_factor)?.0,
            };
            let trend = trend_factor * (level - level_before) + (1.0 - trend_factor) * trend;
            Some((smoothing * last + (1.0 - smoothing) * (level + trend), trend))
        }
    }
}

fn slow_windows(timestamps: &[i64], values: &[f64], windows: &RangeWindows) -> Vec<SlowWindow> {
    (0..windows.step_count as i64)
        .map(|step| {
            let end = windows.first_end_ms + step * windows.end_step_ms;
            let start = end - windows.range_ms;
            let inside = || timestamps.iter().zip(values).filter(|(time, _)| start < **time && **time <= end);
            let eval = windows.first_eval_ms + step * windows.eval_step_ms;
            SlowWindow {
                points: inside().map(|(time, value)| ((time - start) as f64 / 1e3, *value)).collect(),
                times: inside().map(|(time, _)| *time as f64 / 1e3).collect(),
                range_seconds: windows.range_ms as f64 / 1e3,
                eval_seconds: (eval - start) as f64 / 1e3,
            }
        })
        .collect()
}

/// Close, measured against the size of what was added up.
fn is_close(left: Option<f64>, right: Option<f64>, size: f64) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => left == right || (left - right).abs() <= 1e-9 * (size + left.abs()),
        (left, right) => left == right,
    }
}

/// A counter with resets, or a gauge.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let gauge = proptest::collection::vec((-4000i32..4000).prop_map(|value| f64::from(value) / 8.0), 60);
    let counter = proptest::collection::vec((0u8..10, 0i32..50), 60).prop_map(|growths| {
        let next = |count: &mut f64, (kind, growth): (u8, i32)| {
            *count = if kind == 0 { f64::from(growth) } else { *count + f64::from(growth) };
            Some(*count)
        };
        growths.into_iter().scan(0.0, next).collect()
    });
    prop_oneof![gauge, counter]
}

proptest! {
    #[test]
    fn every_function_is_its_slow_version(
        // A line through two samples a few milliseconds apart has no digits left a minute later.
        timestamps in any_timestamps_with_gaps(1_000..90_000),
        values in any_values(),
        windows in any_windows(),
        params in [0.01f64..0.99, 0.01f64..0.99],
    ) {
        let values = &values[..timestamps.len()];
        let scalars = params.map(StepScalar::Constant);
        for function in RangeFunction::all() {
            let cells = collect_cells(|out| {
                evaluate_range_function(function, &timestamps, values, &windows, &scalars, out).expect("valid parameters");
            });
            let slow: Vec<Option<f64>> = slow_windows(&timestamps, values, &windows)
                .iter().map(|window| slow(function, window, &params)).collect();
            prop_assert_eq!(cells.len(), windows.step_count);
            let size = if function == RangeFunction::StdvarOverTime { 250_000.0 } else { 1_000.0 };
            for (got, want) in cells.iter().zip(&slow) {
                prop_assert!(is_close(*got, *want, size), "{:?}: {:?}, slowly {:?}", function, cells, slow);
            }
        }
    }

    #[test]
    fn a_parameter_of_each_step_is_used_at_its_step(
        timestamps in any_timestamps(),
        values in any_values(),
        windows in any_windows(),
        params in proptest::collection::vec((0.01f64..0.99, 0.01f64..0.99), 25),
    ) {
        let values = &values[..timestamps.len()];
        let (left, right): (Vec<f64>, Vec<f64>) = params.into_iter().unzip();
        for function in RangeFunction::all().filter(|function| function.param_count() > 0) {
            let scalars = [StepScalar::PerStep(&left), StepScalar::PerStep(&right)];
            let cells = collect_cells(|out| {
                evaluate_range_function(function, &timestamps, values, &windows, &scalars, out).expect("valid parameters");
            });
            for (step, cell) in cells.iter().enumerate() {
                let one_step = RangeWindows {
                    first_end_ms: windows.end_ms(step),
                    first_eval_ms: windows.eval_ms(step),
                    step_count: 1,
                    ..windows
                };
                let scalars = [StepScalar::Constant(left[step]), StepScalar::Constant(right[step])];
                let alone = collect_cells(|out| {
                    evaluate_range_function(function, &timestamps, values, &one_step, &scalars, out).expect("valid");
                });
                prop_assert_eq!(&alone[..], &[*cell][..]);
            }
        }
    }

    #[test]
    fn no_samples_make_a_function_panic(
        timestamps in proptest::collection::vec(any::<i64>(), 0..20),
        bits in proptest::collection::vec(any::<u64>(), 20),
        windows in any_windows(),
        params in [any::<f64>(), any::<f64>()],
    ) {
        let mut timestamps = timestamps;
        timestamps.sort_unstable();
        let values: Vec<f64> = bits[..timestamps.len()].iter().map(|bits| f64::from_bits(*bits)).collect();
        let widest = RangeWindows { first_end_ms: i64::MAX, range_ms: i64::MAX, ..windows };
        let scalars = params.map(StepScalar::Constant);
        for function in RangeFunction::all() {
            for windows in [windows, widest] {
                let mut result = Ok(());
                let cells = collect_cells(|out| {
                    result = evaluate_range_function(function, &timestamps, &values, &windows, &scalars, out);
                });
                prop_assert!(result.is_err() || cells.len() == windows.step_count);
            }
        }
    }
}
