//! How long a query takes before the first request to a server: parse, check, plan.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use quiver::model::{DurationMs, StepGrid, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::testing::MemoryStore;

fn plan_latency(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let engine = QueryEngine::new(Arc::new(MemoryStore::new()), EngineOptions::default());
    let grid = StepGrid::try_new(TimestampMs(0), TimestampMs(21_600_000), DurationMs(60_000)).expect("a grid");
    let options = QueryOptions::default();
    let mut group = criterion.benchmark_group("plan_latency");
    group.measurement_time(Duration::from_secs(3)).sample_size(30);
    for (name, query) in [
        ("selector", "up"),
        ("sum_by_rate", "sum by (job) (rate(x[5m]))"),
        ("histogram_quantile", "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))"),
        ("ratio", "sum by (job) (rate(errors[5m])) / on (job) sum by (job) (rate(requests[5m])) > 0.01"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(engine.prepare(black_box(query), grid, &options)).expect("the query is right")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, plan_latency);
criterion_main!(benches);
