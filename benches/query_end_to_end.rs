//! Whole queries: the engine over samples in memory, and the gateway over embedded Prometheus servers on loopback.
//!
//! 1,000 counters of 1,440 samples (15 s apart, six hours), 361 steps of 60 s. The gateway asks two groups of two replicas that
//! hold 250 series each; its figure contains what the four servers spend, in the same process.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quiver::config;
use quiver::model::{DurationMs, Labels, StepGrid, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::GroupsSource;
use quiver::servergroup::ServerGroupSet;
use quiver::testing::MemoryStore;
use quiver::testing::fake_prometheus::FakePrometheus;

const SAMPLES_A_SERIES: i64 = 1_440;
const SCRAPE_INTERVAL_MS: i64 = 15_000;

/// What is looked at with samples in memory and over JSON.
const QUERIES: [(&str, &str); 5] = [
    ("selector", "x"),
    ("sum_by_rate", "sum by (job) (rate(x[5m]))"),
    ("topk_rate", "topk(10, rate(x[5m]))"),
    ("max_over_time_1h", "max_over_time(x[1h])"),
    // Two leaves that ask for the same.
    ("divide_itself", "x / x"),
];

/// What is looked at with samples in memory only: operators over whole tables.
const OPERATOR_QUERIES: [(&str, &str); 5] = [
    ("sum", "sum(x)"),
    ("quantile_by", "quantile by (job) (0.9, x)"),
    ("and", "x and x"),
    ("subquery", "max_over_time(x[1h:1m])"),
    ("repeated", "x @ 3600"),
];

fn store(series: std::ops::Range<usize>) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    for index in series {
        let labels = Labels::from_pairs([
            ("__name__", "x".to_owned()),
            ("job", format!("job-{}", index % 8)),
            ("instance", format!("10.0.{}.{}:9100", index / 256, index % 256)),
        ]);
        for sample in 0..SAMPLES_A_SERIES {
            let value = (sample * (index as i64 % 7 + 1)) as f64;
            store.append(&labels, TimestampMs(sample * SCRAPE_INTERVAL_MS), value).expect("samples are in order");
        }
    }
    Arc::new(store)
}

fn grid() -> StepGrid {
    StepGrid::try_new(TimestampMs(0), TimestampMs(SAMPLES_A_SERIES * SCRAPE_INTERVAL_MS), DurationMs(60_000))
        .expect("a grid")
}

fn run(
    criterion: &mut Criterion,
    name: &str,
    queries: &[(&str, &str)],
    series_count: usize,
    runtime: &tokio::runtime::Runtime,
    engine: &QueryEngine,
) {
    let mut group = criterion.benchmark_group(name);
    group.measurement_time(Duration::from_secs(8)).sample_size(10);
    group.throughput(Throughput::Elements(series_count as u64 * SAMPLES_A_SERIES as u64));
    for (name, query) in queries {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let result = runtime.block_on(engine.range(query, grid(), &QueryOptions::default()));
                result.expect("the query is right")
            });
        });
    }
    group.finish();
}

fn engine_in_memory(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let engine = QueryEngine::new(store(0..1_000), EngineOptions::default());
    run(criterion, "engine_in_memory", &QUERIES, 1_000, &runtime, &engine);
    run(criterion, "operators_in_memory", &OPERATOR_QUERIES, 1_000, &runtime, &engine);
}

fn gateway_over_json(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let (a, b) = (store(0..250), store(250..500));
    let servers = runtime.block_on(async {
        let mut servers = Vec::new();
        for store in [&a, &a, &b, &b] {
            servers.push(FakePrometheus::start(Arc::clone(store)).await.expect("a free port"));
        }
        servers
    });
    let text = format!(
        "promxy:\n  server_groups:\n  - static_configs: [{{targets: [\"{}\", \"{}\"]}}]\n    labels: {{dc: a}}\n  - static_configs: [{{targets: [\"{}\", \"{}\"]}}]\n    labels: {{dc: b}}\n",
        servers[0].target(),
        servers[1].target(),
        servers[2].target(),
        servers[3].target(),
    );
    let config = config::parse(&text, "bench.yml").expect("the config is right").config;
    let engine = runtime.block_on(async {
        let set = ServerGroupSet::try_new(&config.promxy).expect("the groups are right");
        QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(set))), EngineOptions::default())
    });
    run(criterion, "gateway_over_json", &QUERIES, 500, &runtime, &engine);
}

criterion_group!(benches, engine_in_memory, gateway_over_json);
criterion_main!(benches);
