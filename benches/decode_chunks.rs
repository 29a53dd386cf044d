//! How fast chunks of remote read become tables: nanoseconds a sample on one core, for XOR chunks of counters and gauges at
//! 15 s, for native histograms, and for the whole stream with its frames and labels. Run with `cargo bench --bench decode_chunks`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quiver::decode::{ChunkDecoder, ChunkStreamDecoder, ChunkStreamLimits, EverySeries, SampleSink, TimeWindow};
use quiver::encode::{
    ChunkOptions, EncodedChunk, FRAME_BYTES, StartTimeChunks, encode_row_chunks_as, write_series_frames,
};
use quiver::model::{BucketSpan, Buckets, Labels, NativeHistogram, SamplesTable, SamplesTableBuilder};

/// As the program has it. An allocator that gives pages back after each batch costs more than decoding.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SERIES: usize = 500;
/// Six hours.
const SAMPLES: usize = 1_440;
/// What one read from a socket gives.
const PIECE_BYTES: usize = 64 * 1024;

/// A small generator (xorshift64), so that every run decodes the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[derive(Copy, Clone, PartialEq)]
enum Kind {
    /// The same number all the time.
    Idle,
    /// Whole numbers that grow.
    Counters,
    /// A walk of two decimals.
    Gauges,
    /// 24 buckets of whole numbers.
    Histograms,
}

/// The chunks of each series.
fn chunks_of(kind: Kind, start_times: StartTimeChunks, samples: usize) -> Vec<Vec<EncodedChunk>> {
    let mut random = Random(88_172_645_463_325_252);
    let series = (0..SERIES).map(|_| {
        let mut table = SamplesTableBuilder::default();
        let (mut counter, mut gauge) = (random.next() % 1_000_000, 50.0);
        let mut buckets = vec![0.0; 24];
        for sample in 0..samples {
            let time = 1_700_000_000_000 + 15_000 * sample as i64;
            counter += random.next() % 500;
            gauge += (random.next() % 1_000) as f64 / 100.0 - 5.0;
            match kind {
                Kind::Idle => table.push_sample(time, 42.0),
                Kind::Counters => table.push_sample(time, counter as f64),
                Kind::Gauges => table.push_sample(time, gauge),
                Kind::Histograms => {
                    buckets.iter_mut().for_each(|count| *count += (random.next() % 8) as f64);
                    let spans = vec![BucketSpan { offset: -4, length: 24 }];
                    let histogram = NativeHistogram {
                        schema: 3,
                        count: buckets.iter().sum(),
                        sum: gauge,
                        positive: Buckets { spans, counts: buckets.clone() },
                        ..NativeHistogram::default()
                    };
                    table.push_histogram(time, None, Arc::new(histogram));
                }
            }
        }
        table.finish_series(b"");
        let batch = table.finish();
        let table = SamplesTable::try_new(&batch).expect("a samples table");
        let options = ChunkOptions { start_times, ..ChunkOptions::default() };
        encode_row_chunks_as(&table, 0, options).expect("readable")
    });
    series.collect()
}

/// Columns that are emptied when they are as long as those of a batch.
#[derive(Default)]
struct Columns {
    times: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<Arc<NativeHistogram>>,
}

impl SampleSink for Columns {
    fn floats(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        if self.times.len() > 64 * 1024 {
            self.times.clear();
            self.values.clear();
        }
        self.times.extend_from_slice(timestamps_ms);
        self.values.extend_from_slice(values);
    }

    fn started_floats(&mut self, timestamps_ms: &[i64], _: &[i64], values: &[f64]) {
        self.floats(timestamps_ms, values);
    }

    fn histogram(&mut self, _: i64, _: Option<i64>, histogram: Arc<NativeHistogram>) {
        if self.histograms.len() > 4 * 1024 {
            self.histograms.clear();
        }
        self.histograms.push(histogram);
    }
}

/// Chunks alone.
fn decode_chunks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode_chunks");
    group.sample_size(20);
    use StartTimeChunks::{Always, Never};
    for (name, kind, start_times, samples) in [
        ("xor idle", Kind::Idle, Never, SAMPLES),
        ("xor counters", Kind::Counters, Never, SAMPLES),
        ("xor gauges", Kind::Gauges, Never, SAMPLES),
        ("xor2 counters", Kind::Counters, Always, SAMPLES),
        ("histograms of 24 buckets", Kind::Histograms, Never, 120),
    ] {
        let series = chunks_of(kind, start_times, samples);
        group.throughput(Throughput::Elements((SERIES * samples) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let (mut decoder, mut columns) = (ChunkDecoder::default(), Columns::default());
            bencher.iter(|| {
                for chunk in series.iter().flatten() {
                    let decoded = decoder.decode(chunk.encoding, &chunk.data, TimeWindow::ALL, &mut columns);
                    decoded.expect("our own chunk");
                }
                black_box(columns.times.len() + columns.histograms.len())
            });
        });
    }
    group.finish();
}

/// The body of an answer, to batches.
fn decode_stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode_chunk_stream");
    group.sample_size(20);
    for (name, kind) in [("counters", Kind::Counters), ("gauges", Kind::Gauges)] {
        let mut body = Vec::new();
        for (series, chunks) in chunks_of(kind, StartTimeChunks::Never, SAMPLES).iter().enumerate() {
            let instance = format!("10.0.{}.{}:9100", series / 250, series % 250);
            let pairs = [("__name__", "http_requests_total"), ("code", "200"), ("instance", &instance), ("job", "api")];
            write_series_frames(Labels::from_pairs(pairs).encode().as_ref(), chunks, 0, FRAME_BYTES, &mut body);
        }
        group.throughput(Throughput::Elements((SERIES * SAMPLES) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &body, |bencher, body| {
            bencher.iter(|| {
                let limits = ChunkStreamLimits::default();
                let mut decoder = ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), limits);
                let mut rows = 0;
                for piece in body.chunks(PIECE_BYTES) {
                    decoder.feed(piece).expect("our own stream");
                    rows += decoder.take_batches().iter().map(|batch| batch.num_rows()).sum::<usize>();
                }
                rows += decoder.finish().expect("whole").iter().map(|batch| batch.num_rows()).sum::<usize>();
                assert_eq!(rows, SERIES);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode_chunks, decode_stream);
criterion_main!(benches);
