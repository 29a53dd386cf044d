//! What `encode` writes, `decode` reads back bit for bit: both halves of a gateway behind a gateway.

use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use quiver::decode::{DecodeLimits, DecodedResult, QueryResponse, QueryResponseDecoder};
use quiver::encode::encode_query_response;
use quiver::model::{
    DurationMs, Labels, QueryValue, SamplesTable, SamplesTableBuilder, StepGrid, StepsTableBuilder, TimestampMs,
};

/// A series with its samples: times ascending, values by their bits.
type Series = (Labels, Vec<(i64, u64)>);

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("NaN has one form in JSON", |value| !value.is_nan()),
        Just(f64::INFINITY),
        Just(f64::from_bits(0x7ff8_0000_0000_0001)),
        (-1_000i64..1_000).prop_map(|whole| whole as f64),
    ]
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec((any::<String>(), any::<String>()), 0..4)
        .prop_map(|pairs| Labels::from_pairs(pairs.into_iter().filter(|(name, _)| !name.is_empty())))
}

fn raw_series() -> impl Strategy<Value = Vec<Series>> {
    let samples = (-1_000_000i64..1_000_000, prop::collection::vec((1i64..100_000, value()), 1..30));
    let samples = samples.prop_map(|(start, steps)| {
        let ascending = steps.into_iter().scan(start, |time, (delta, value)| {
            *time += delta;
            Some((*time, value.to_bits()))
        });
        ascending.collect()
    });
    prop::collection::vec((labels(), samples), 0..10)
}

fn decode(value: QueryValue, piece_bytes: usize) -> QueryResponse {
    let chunks = encode_query_response(value, &["w".to_owned()], &[], None, None).expect("of the right shape");
    let body: Vec<u8> = chunks.flatten().collect();
    let mut decoder = QueryResponseDecoder::new(DecodeLimits::default());
    for piece in body.chunks(piece_bytes) {
        decoder.feed(piece).expect("valid");
    }
    decoder.finish().expect("complete")
}

fn series_of(batches: &[RecordBatch]) -> Vec<Series> {
    let mut all = Vec::new();
    for batch in batches {
        let table = SamplesTable::try_new(batch).expect("a samples table");
        for row in 0..table.row_count() {
            let (times, values) = table.series(row);
            let samples = times.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect();
            all.push((table.labels(row).to_labels(), samples));
        }
    }
    all
}

proptest! {
    #[test]
    fn raw_samples(series in raw_series(), piece_bytes in 1usize..200) {
        let mut builder = SamplesTableBuilder::default();
        for (labels, samples) in &series {
            samples.iter().for_each(|(time, bits)| builder.push_sample(*time, f64::from_bits(*bits)));
            builder.finish_series(labels.encode().as_bytes());
        }
        let response = decode(QueryValue::Samples { batches: vec![builder.finish()] }, piece_bytes);
        prop_assert_eq!(response.warnings, ["w"]);
        let DecodedResult::Matrix(batches) = response.result else { panic!("not a matrix") };
        prop_assert_eq!(series_of(&batches), series);
    }

    #[test]
    fn steps(
        rows in prop::collection::vec((labels(), prop::collection::vec(prop::option::of(value()), 7)), 0..10),
        start in -1_000_000i64..1_000_000,
        step in 1i64..100_000,
        piece_bytes in 1usize..200,
    ) {
        let grid = StepGrid::with_count(TimestampMs(start), DurationMs(step), 7);
        let mut builder = StepsTableBuilder::new(7);
        let mut expected: Vec<Series> = Vec::new();
        for (labels, cells) in &rows {
            cells.iter().for_each(|cell| builder.push_cell(*cell));
            builder.finish_series(labels.encode().as_bytes());
            let samples: Vec<(i64, u64)> = (0..7)
                .filter_map(|index| Some((grid.time(index).0, cells[index]?.to_bits())))
                .collect();
            if !samples.is_empty() {
                expected.push((labels.clone(), samples));
            }
        }
        let response = decode(QueryValue::Matrix { grid, batches: vec![builder.finish()] }, piece_bytes);
        let DecodedResult::Matrix(batches) = response.result else { panic!("not a matrix") };
        prop_assert_eq!(series_of(&batches), expected);
    }

    #[test]
    fn vectors(rows in prop::collection::vec((labels(), value()), 0..10), time in any::<i64>(), piece_bytes in 1usize..200) {
        let mut builder = StepsTableBuilder::new(1);
        for (labels, value) in &rows {
            builder.push_cell(Some(*value));
            builder.finish_series(labels.encode().as_bytes());
        }
        let vector = QueryValue::Vector { time: TimestampMs(time), batches: vec![builder.finish()] };
        let DecodedResult::Vector(batches) = decode(vector, piece_bytes).result else { panic!("not a vector") };
        let expected: Vec<Series> =
            rows.into_iter().map(|(labels, value)| (labels, vec![(time, value.to_bits())])).collect();
        prop_assert_eq!(series_of(&batches), expected);
    }

    #[test]
    fn scalars_and_strings(value in value(), text in any::<String>(), ms in -1_000_000_000_000i64..2_000_000_000_000) {
        let time = TimestampMs(ms);
        let DecodedResult::Scalar { time: scalar_time, value: number } =
            decode(QueryValue::Scalar { time, value }, 1_000).result
        else {
            panic!("not a scalar")
        };
        prop_assert_eq!((scalar_time, number.to_bits()), (time, value.to_bits()));
        let DecodedResult::String { time: string_time, text: found } =
            decode(QueryValue::String { time, text: text.clone() }, 1_000).result
        else {
            panic!("not a string")
        };
        prop_assert_eq!((string_time, found), (time, text));
    }
}
