//! How fast a `query_range` answer becomes tables: MB/s of JSON on one core, for the four kinds of series that fill real
//! answers, beside serde_json into structs. Run with `cargo bench --bench decode_json`.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quiver::decode::{DecodeLimits, QueryResponse, QueryResponseDecoder};
use quiver::encode::encode_query_response;
use quiver::model::{DurationMs, QueryValue, SamplesTable, StepGrid, StepsTableBuilder, TimestampMs};

const SERIES: usize = 1_000;
const SAMPLES: usize = 720;
/// What one read from a socket gives.
const CHUNK_BYTES: usize = 64 * 1024;

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

#[derive(Copy, Clone)]
enum Kind {
    /// Whole numbers that grow.
    Counters,
    /// Two decimals.
    Gauges,
    /// Seventeen digits, as `rate` gives them.
    Rates,
    /// Two decimals at times with milliseconds.
    Fractions,
}

/// 16 to 24 MB, as Prometheus writes it.
fn matrix(kind: Kind) -> Vec<u8> {
    let mut random = Random(88_172_645_463_325_252);
    let mut body = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    for series in 0..SERIES {
        let comma = if series > 0 { "," } else { "" };
        let (handler, host, port) = (series % 50, series / 250, series % 250);
        write!(
            body,
            r#"{comma}{{"metric":{{"__name__":"http_requests_total","code":"200","handler":"/api/v1/h{handler}","instance":"10.0.{host}.{port}:9100","job":"api"}},"values":["#
        )
        .expect("a String takes everything");
        let mut counter = random.next() % 1_000_000;
        for sample in 0..SAMPLES {
            let comma = if sample > 0 { "," } else { "" };
            let seconds = 1_700_000_000 + sample * 30;
            counter += random.next() % 500;
            let hundredths = (random.next() % 1_000_000) as f64 / 100.0;
            let rate = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * 100.0;
            let fraction = 100 + random.next() % 900;
            match kind {
                Kind::Counters => write!(body, "{comma}[{seconds},\"{counter}\"]"),
                Kind::Gauges => write!(body, "{comma}[{seconds},\"{hundredths}\"]"),
                Kind::Rates => write!(body, "{comma}[{seconds},\"{rate}\"]"),
                Kind::Fractions => write!(body, "{comma}[{seconds}.{fraction},\"{hundredths}\"]"),
            }
            .expect("a String takes everything");
        }
        body.push_str("]}");
    }
    body.push_str("]}}");
    body.into_bytes()
}

/// Many series of one sample: label sets are most of it.
fn vector() -> Vec<u8> {
    let mut body = String::from(r#"{"status":"success","data":{"resultType":"vector","result":["#);
    for series in 0..100_000 {
        let comma = if series > 0 { "," } else { "" };
        let (handler, host, port) = (series % 50, series / 250, series % 250);
        write!(
            body,
            r#"{comma}{{"metric":{{"__name__":"http_requests_total","code":"200","handler":"/api/v1/h{handler}","instance":"10.0.{host}.{port}:9100","job":"api"}},"value":[1700000000.123,"{series}"]}}"#
        )
        .expect("a String takes everything");
    }
    body.push_str("]}}");
    body.into_bytes()
}

fn decode(body: &[u8]) -> QueryResponse {
    let mut decoder = QueryResponseDecoder::new(DecodeLimits::default());
    for chunk in body.chunks(CHUNK_BYTES) {
        decoder.feed(chunk).expect("a valid answer");
    }
    decoder.finish().expect("a whole answer")
}

/// What a client built on serde would do.
mod with_serde {
    use std::collections::HashMap;

    #[derive(serde::Deserialize)]
    pub struct Response {
        pub data: Data,
    }

    #[derive(serde::Deserialize)]
    pub struct Data {
        pub result: Vec<Series>,
    }

    #[derive(serde::Deserialize)]
    pub struct Series {
        pub metric: HashMap<String, String>,
        #[serde(default)]
        pub values: Vec<(f64, String)>,
        pub value: Option<(f64, String)>,
    }

    /// The structs, and the sum of the values: the texts must become numbers somewhere.
    pub fn decode(body: &[u8]) -> (Response, f64) {
        let response: Response = serde_json::from_slice(body).expect("a valid answer");
        let samples = response.data.result.iter().flat_map(|series| series.values.iter().chain(&series.value));
        let sum = samples.map(|(time, text)| time + text.parse::<f64>().expect("a number")).sum();
        assert!(response.data.result.iter().all(|series| !series.metric.is_empty()));
        (response, sum)
    }
}

fn decode_json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode_json");
    group.sample_size(20);
    for (name, body) in [
        ("counters", matrix(Kind::Counters)),
        ("gauges", matrix(Kind::Gauges)),
        ("rates", matrix(Kind::Rates)),
        ("fractions", matrix(Kind::Fractions)),
        ("vector", vector()),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("quiver", name), &body, |bencher, body| {
            bencher.iter(|| black_box(decode(body)));
        });
        group.bench_with_input(BenchmarkId::new("serde_json structs", name), &body, |bencher, body| {
            bencher.iter(|| black_box(with_serde::decode(body)));
        });
    }
    group.finish();
}

/// The way back: a matrix of 1,000 series and 720 steps to JSON.
fn encode_json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_json");
    group.sample_size(20);
    let grid = StepGrid::with_count(TimestampMs(1_700_000_000_000), DurationMs(30_000), SAMPLES);
    for (name, kind) in [("counters", Kind::Counters), ("gauges", Kind::Gauges), ("rates", Kind::Rates)] {
        let body = matrix(kind);
        let quiver::decode::DecodedResult::Matrix(batches) = decode(&body).result else { panic!("not a matrix") };
        let mut table = StepsTableBuilder::new(SAMPLES);
        for batch in &batches {
            let samples = SamplesTable::try_new(batch).expect("a samples table");
            for row in 0..samples.row_count() {
                samples.series(row).1.iter().for_each(|value| table.push_cell(Some(*value)));
                table.finish_series(samples.labels(row).as_bytes());
            }
        }
        let value = QueryValue::Matrix { grid, batches: vec![table.finish()] };
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("quiver", name), &value, |bencher, value| {
            bencher.iter(|| {
                let chunks = encode_query_response(value.clone(), &[], &[], None, None).expect("of the right shape");
                chunks.map(|chunk| black_box(chunk).len()).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode_json, encode_json);
criterion_main!(benches);
