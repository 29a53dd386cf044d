//! What merging two replicas costs a sample: one series, and a table of 1,000 series.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quiver::merge::{MergePolicy, ReplicaTables, StepCell, TableForm, merge_samples, merge_steps, merge_tables};
use quiver::model::{Labels, SamplesTableBuilder};

const SCRAPE_INTERVAL_MS: i64 = 15_000;
const SAMPLES: usize = 1_440;

/// A series scraped each 15 s with an offset, without the samples that `is_lost` names.
fn scraped(offset_ms: i64, is_lost: impl Fn(usize) -> bool) -> (Vec<i64>, Vec<f64>) {
    let kept = (0..SAMPLES).filter(|number| !is_lost(*number));
    kept.map(|number| (number as i64 * SCRAPE_INTERVAL_MS + offset_ms, number as f64)).unzip()
}

fn merge_one_series(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge_samples");
    let whole = scraped(0, |_| false);
    let equal = whole.clone();
    let with_holes = scraped(4_000, |number| (700..740).contains(&number) || number % 97 == 0);
    let complementary = scraped(0, |number| (200..240).contains(&number) || number % 89 == 0);
    let fixed = MergePolicy::default();
    let cases = [
        ("equal", &whole, &equal, fixed),
        ("skewed", &whole, &with_holes, fixed),
        ("both_have_holes", &complementary, &with_holes, fixed),
        ("dynamic", &complementary, &with_holes, MergePolicy { dynamic: true, ..fixed }),
        ("prefer_max", &complementary, &with_holes, MergePolicy { prefer_max: true, ..fixed }),
    ];
    for (name, a, b, policy) in cases {
        group.throughput(Throughput::Elements((a.0.len() + b.0.len()) as u64));
        group.bench_function(name, |bencher| {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            bencher.iter(|| {
                times.clear();
                values.clear();
                merge_samples(&[(&a.0, &a.1), (&b.0, &b.1)], black_box(&policy), &mut times, &mut values);
                black_box(times.len())
            });
        });
    }
    group.finish();
}

fn merge_step_cells(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge_steps");
    let cells = |age_ms: i64, hole: std::ops::Range<i64>| -> Vec<StepCell> {
        (0..SAMPLES as i64)
            .map(|step| (!hole.contains(&step)).then_some((step as f64, step * 60_000 - age_ms)))
            .collect()
    };
    let (a, b) = (cells(3_000, 200..240), cells(7_000, 700..740));
    group.throughput(Throughput::Elements(2 * SAMPLES as u64));
    group.bench_function("both_have_holes", |bencher| {
        let mut merged = Vec::new();
        bencher.iter(|| {
            merged.clear();
            merge_steps(&[&a, &b], black_box(&MergePolicy::default()), &mut merged);
            black_box(merged.len())
        });
    });
    group.finish();
}

fn merge_whole_tables(criterion: &mut Criterion) {
    const SERIES: usize = 1_000;
    let table = |offset_ms: i64, hole: std::ops::Range<usize>| {
        let mut builder = SamplesTableBuilder::default();
        for number in 0..SERIES {
            let (times, values) = scraped(offset_ms, |sample| hole.contains(&sample));
            builder.extend_samples(&times, &values);
            let pairs = [("__name__", "up".to_owned()), ("instance", format!("host-{number:05}:9100"))];
            builder.finish_series(Labels::from_pairs(pairs).encode().as_bytes());
        }
        vec![builder.finish()]
    };
    let (a, b) = (table(0, 200..240), table(4_000, 700..740));
    let mut group = criterion.benchmark_group("merge_tables");
    group.throughput(Throughput::Elements((2 * SERIES * (SAMPLES - 40)) as u64));
    group.bench_function("1000_series", |bencher| {
        bencher.iter(|| {
            let replica =
                |name: &str, batches: &Vec<_>| ReplicaTables { name: name.to_owned(), batches: batches.clone() };
            let replicas = vec![replica("a", &a), replica("b", &b)];
            let merged =
                merge_tables(TableForm::Samples, replicas, MergePolicy::default()).expect("tables are of one form");
            black_box(merged.map(|batch| batch.expect("no contradictions").num_rows()).sum::<usize>())
        });
    });
    group.finish();
}

criterion_group!(benches, merge_one_series, merge_step_cells, merge_whole_tables);
criterion_main!(benches);
