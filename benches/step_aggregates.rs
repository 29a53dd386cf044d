//! Aggregation across series: 10,000 series of 361 steps folded into few or many groups.
//!
//! The throughput is in cells (3.61 million).

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quiver::kernels::{AvgFold, CountFold, MaxFold, StddevFold, StepFold, SumFold, quantile, select_top};

const SERIES_COUNT: usize = 10_000;
const STEP_COUNT: usize = 361;

/// One row of cells a series, as a steps table holds them.
fn cells() -> Vec<f64> {
    (0..SERIES_COUNT * STEP_COUNT).map(|at| ((at * 7_919) % 10_007) as f64 / 16.0).collect()
}

fn fold_all<F: StepFold>(cells: &[f64], group_count: usize) -> Vec<f64> {
    let mut states = vec![F::default(); group_count * STEP_COUNT];
    for (series, row) in cells.chunks_exact(STEP_COUNT).enumerate() {
        let group = series % group_count;
        let states = &mut states[group * STEP_COUNT..(group + 1) * STEP_COUNT];
        for (state, value) in states.iter_mut().zip(row) {
            state.add(*value);
        }
    }
    states.iter().map(F::finish).collect()
}

fn bench_fold<F: StepFold>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, cells: &[f64]) {
    for group_count in [8, 1_000] {
        group.bench_with_input(BenchmarkId::new(name, group_count), &group_count, |bencher, &group_count| {
            bencher.iter(|| black_box(fold_all::<F>(cells, group_count)));
        });
    }
}

/// All cells of a step, one step after the other.
fn columns(cells: &[f64]) -> Vec<Vec<f64>> {
    (0..STEP_COUNT).map(|step| cells.iter().skip(step).step_by(STEP_COUNT).copied().collect()).collect()
}

fn step_aggregates(criterion: &mut Criterion) {
    let cells = cells();
    let columns = columns(&cells);
    let mut group = criterion.benchmark_group("step_aggregates");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1_500));
    group.throughput(Throughput::Elements(cells.len() as u64));
    bench_fold::<SumFold>(&mut group, "sum", &cells);
    bench_fold::<AvgFold>(&mut group, "avg", &cells);
    bench_fold::<MaxFold>(&mut group, "max", &cells);
    bench_fold::<CountFold>(&mut group, "count", &cells);
    bench_fold::<StddevFold>(&mut group, "stddev", &cells);
    group.bench_function("quantile", |bencher| {
        bencher.iter(|| {
            for column in &columns {
                black_box(quantile(0.9, &mut column.clone()));
            }
        });
    });
    group.bench_function("topk", |bencher| {
        bencher.iter(|| {
            for column in &columns {
                black_box(select_top(10, true, column));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, step_aggregates);
criterion_main!(benches);
