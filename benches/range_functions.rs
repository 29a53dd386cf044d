//! Range functions over raw samples: 1,000 series of six hours at 15 s, evaluated at 361 steps of a minute.
//!
//! The throughput is in samples of the series (1.44 million), not in samples seen by windows: divide the time of an iteration
//! by it to get nanoseconds a sample.

use std::hint::black_box;
use std::time::Duration;

use arrow::array::BooleanBufferBuilder;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quiver::kernels::{CellSink, RangeFunction, RangeWindows, StepScalar, evaluate_range_function};

const SERIES_COUNT: usize = 1_000;
const SAMPLE_COUNT: usize = 1_440;
const SCRAPE_INTERVAL_MS: i64 = 15_000;
const STEP_MS: i64 = 60_000;
const STEP_COUNT: usize = 361;
const START_MS: i64 = 1_700_000_000_000;

struct Series {
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

/// What a series is like: it decides which ways are open to a function.
#[derive(Copy, Clone)]
enum Kind {
    /// Whole numbers that grow, with a reset now and then.
    Counter,
    /// Numbers with all their digits, up and down.
    Gauge,
}

/// Series different from each other but the same in every run.
fn all_series(kind: Kind) -> Vec<Series> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let series = |_| {
        let mut value = 0.0;
        let timestamps = (0..SAMPLE_COUNT as i64).map(|at| START_MS + at * SCRAPE_INTERVAL_MS + at % 7).collect();
        let advance = |_| {
            let drawn = next();
            value = match kind {
                Kind::Counter if drawn.is_multiple_of(500) => 0.0,
                Kind::Counter => value + (drawn % 1_000) as f64,
                Kind::Gauge => (drawn % 1_000_000) as f64 / 10_007.0,
            };
            value
        };
        Series { timestamps, values: (0..SAMPLE_COUNT).map(advance).collect() }
    };
    (0..SERIES_COUNT).map(series).collect()
}

fn evaluate(function: RangeFunction, range_ms: i64, all: &[Series], values: &mut Vec<f64>) {
    let windows = RangeWindows {
        first_end_ms: START_MS,
        end_step_ms: STEP_MS,
        first_eval_ms: START_MS,
        eval_step_ms: STEP_MS,
        step_count: STEP_COUNT,
        range_ms,
    };
    let params = [StepScalar::Constant(0.9)];
    let mut present = BooleanBufferBuilder::new(SERIES_COUNT * STEP_COUNT);
    values.clear();
    for series in all {
        let mut out = CellSink::new(values, &mut present);
        evaluate_range_function(function, &series.timestamps, &series.values, &windows, &params, &mut out)
            .expect("0.9 is a valid quantile");
    }
    black_box((values, present));
}

const OF_COUNTERS: &[RangeFunction] = &[
    RangeFunction::Rate,
    RangeFunction::Increase,
    RangeFunction::Resets,
    RangeFunction::Changes,
    RangeFunction::SumOverTime,
    RangeFunction::AvgOverTime,
    RangeFunction::MinOverTime,
    RangeFunction::MaxOverTime,
];

const OF_GAUGES: &[RangeFunction] = &[
    RangeFunction::Changes,
    RangeFunction::SumOverTime,
    RangeFunction::AvgOverTime,
    RangeFunction::MinOverTime,
    RangeFunction::MaxOverTime,
    RangeFunction::TsOfMaxOverTime,
    RangeFunction::CountOverTime,
    RangeFunction::QuantileOverTime,
    RangeFunction::MadOverTime,
    RangeFunction::StddevOverTime,
    RangeFunction::Deriv,
];

fn range_functions(criterion: &mut Criterion) {
    let mut values = Vec::with_capacity(SERIES_COUNT * STEP_COUNT);
    for (name, kind, functions) in [("counters", Kind::Counter, OF_COUNTERS), ("gauges", Kind::Gauge, OF_GAUGES)] {
        let all = all_series(kind);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(1_000));
        group.throughput(Throughput::Elements((SERIES_COUNT * SAMPLE_COUNT) as u64));
        for function in functions {
            for (range, range_ms) in [("5m", 300_000), ("1h", 3_600_000)] {
                group.bench_with_input(BenchmarkId::new(function.name(), range), &range_ms, |bencher, &range_ms| {
                    bencher.iter(|| evaluate(*function, range_ms, &all, &mut values));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, range_functions);
criterion_main!(benches);
