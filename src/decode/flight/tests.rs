//! Answers as a gateway sends them, and as nobody should.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::root_as_message;
use arrow::ipc::writer::StreamWriter;

use super::*;
use crate::model::{
    BucketSpan, Buckets, Labels, NativeHistogram, SamplesTable, StepsTableBuilder, TimestampMs, stale_marker,
};
use crate::testing::fuzzing::Choices;

const WINDOW: TimeWindow = TimeWindow { start: TimestampMs(0), end: TimestampMs(100) };

fn grid() -> StepGrid {
    StepGrid::with_count(TimestampMs(60), DurationMs(20), 3)
}

fn labels(name: &str) -> Vec<u8> {
    Labels::from_pairs([("__name__", name), ("job", "é")]).encode().into_bytes()
}

fn histogram(schema: i32) -> Arc<NativeHistogram> {
    let positive = Buckets { spans: vec![BucketSpan { offset: -1, length: 2 }], counts: vec![1.0, 2.0] };
    Arc::new(NativeHistogram { schema, count: 3.0, positive, ..NativeHistogram::default() })
}

/// Floats with and without start times, a stale marker, histograms.
fn samples() -> RecordBatch {
    let mut builder = SamplesTableBuilder::default();
    builder.extend_samples(&[1, 50, 100], &[1.0, f64::NAN, stale_marker()]);
    builder.finish_series(&labels("a"));
    builder.push_started_sample(10, 5, 2.0);
    builder.push_histogram(20, Some(5), histogram(3));
    builder.push_histogram(30, None, histogram(-4));
    builder.finish_series(&labels("b"));
    builder.finish_series(&labels("c"));
    builder.finish()
}

fn timed_steps() -> RecordBatch {
    let mut builder = StepsTableBuilder::timed(3);
    [Some((1.0, 55)), None, Some((stale_marker(), 100))].into_iter().for_each(|cell| builder.push_timed_cell(cell));
    builder.finish_series(&labels("a"));
    builder.push_timed_sample(None);
    builder.push_timed_sample(Some((Sample::Histogram(histogram(8)), 80)));
    builder.push_timed_sample(Some((Sample::Float(4.0), 81)));
    builder.finish_series(&labels("b"));
    builder.finish()
}

fn steps() -> RecordBatch {
    let mut builder = StepsTableBuilder::new(3);
    [Some(1.0), None, Some(3.0)].into_iter().for_each(|cell| builder.push_cell(cell));
    builder.finish_series(&labels("b"));
    [None, None, Some(-0.0)].into_iter().for_each(|cell| builder.push_cell(cell));
    builder.finish_series(&labels("a"));
    builder.finish()
}

fn described(schema: &Schema, format: &str, form: &str, grid: &str) -> SchemaRef {
    let texts = [("quiver.format", format), ("quiver.form", form), ("quiver.grid", grid)];
    let texts: HashMap<String, String> = texts
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
        .collect();
    Arc::new(schema.clone().with_metadata(texts))
}

const ON_GRID: &str = "60/20/3";

/// Headers and bodies of the messages of a stream.
fn messages(schema: &SchemaRef, tables: &[RecordBatch]) -> Vec<(Vec<u8>, Bytes)> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).expect("a schema");
    for table in tables {
        let table = RecordBatch::try_new(Arc::clone(schema), table.columns().to_vec()).expect("of the schema");
        writer.write(&table).expect("written");
    }
    writer.finish().expect("finished");
    let stream = Bytes::from(writer.into_inner().expect("finished"));
    let (mut at, mut messages) = (0, Vec::new());
    loop {
        let length = i32::from_le_bytes(stream[at + 4..at + 8].try_into().expect("four bytes")) as usize;
        if length == 0 {
            return messages;
        }
        let header = &stream[at + 8..at + 8 + length];
        let body_length = root_as_message(header).expect("a message").bodyLength() as usize;
        at += 8 + length;
        messages.push((header.to_vec(), stream.slice(at..at + body_length)));
        at += body_length;
    }
}

fn samples_messages(tables: &[RecordBatch]) -> Vec<(Vec<u8>, Bytes)> {
    messages(&described(&samples_schema(), FLIGHT_FORMAT, "samples", ""), tables)
}

fn steps_messages(tables: &[RecordBatch]) -> Vec<(Vec<u8>, Bytes)> {
    messages(&described(&steps_schema(3), FLIGHT_FORMAT, "steps", ON_GRID), tables)
}

fn timed_messages(tables: &[RecordBatch]) -> Vec<(Vec<u8>, Bytes)> {
    messages(&described(&timed_steps_schema(3), FLIGHT_FORMAT, "timed_steps", ON_GRID), tables)
}

fn read(question: FlightQuestion, messages: &[(Vec<u8>, Bytes)]) -> Result<Vec<RecordBatch>, String> {
    let read = || {
        let mut decoder = FlightDecoder::try_new(question, &messages[0].0)?;
        let tables = messages[1..].iter().filter_map(|(header, body)| decoder.read(header, body.clone()).transpose());
        tables.collect::<Result<Vec<_>, DecodeError>>()
    };
    read().map_err(|error| error.to_string())
}

fn steps_question() -> FlightQuestion {
    FlightQuestion::Steps { grid: grid(), lookback: DurationMs(20) }
}

/// The columns alone: the schema's metadata went with the first message.
fn columns(tables: &[RecordBatch]) -> Vec<&[ArrayRef]> {
    tables.iter().map(RecordBatch::columns).collect()
}

#[test]
fn tables_come_back_as_they_went_out_whole_and_in_slices() {
    let (samples, timed, values) = (samples(), timed_steps(), steps());
    for offset in 0..8 {
        // Wherever the body begins in memory.
        let shifted = |messages: Vec<(Vec<u8>, Bytes)>| -> Vec<(Vec<u8>, Bytes)> {
            let shift = |body: Bytes| Bytes::from([vec![0; offset], body.to_vec()].concat()).slice(offset..);
            messages.into_iter().map(|(header, body)| (header, shift(body))).collect()
        };
        for (question, messages, table) in [
            (FlightQuestion::Samples(WINDOW), samples_messages as fn(&[RecordBatch]) -> _, &samples),
            (steps_question(), timed_messages, &timed),
            (FlightQuestion::Values(grid()), steps_messages, &values),
        ] {
            let whole = std::slice::from_ref(table);
            assert_eq!(columns(&read(question, &shifted(messages(whole))).expect("good")), columns(whole));
            let rows: Vec<RecordBatch> = (0..table.num_rows()).map(|row| table.slice(row, 1)).collect();
            assert_eq!(columns(&read(question, &shifted(messages(&rows))).expect("good")), columns(&rows));
            assert_eq!(read(question, &messages(&[table.slice(0, 0)])), Ok(vec![]));
        }
    }
}

#[test]
fn a_selector_on_steps_may_be_answered_with_samples() {
    let question = FlightQuestion::Steps { grid: grid(), lookback: DurationMs(60) };
    assert!(read(question, &samples_messages(&[samples()])).is_ok());
    let question = FlightQuestion::Steps { grid: grid(), lookback: DurationMs(59) };
    let expected = "series {__name__=\"a\", job=\"é\"} has samples outside of the range that was asked for";
    assert_eq!(read(question, &samples_messages(&[samples()])), Err(expected.to_owned()));
}

#[test]
fn steps_get_the_times_of_their_steps() {
    let mut times = StepTimes::new(grid());
    for table in [steps().slice(0, 1), steps(), timed_steps().project(&[0, 1]).expect("two columns")] {
        let timed = times.attach(&table).expect("a steps table");
        let (before, timed) =
            (StepsTable::try_new(&table).expect("steps"), StepsTable::try_new(&timed).expect("steps"));
        for row in 0..before.row_count() {
            let samples = before.samples(row).expect("readable");
            let expected: Vec<_> =
                samples.iter().zip(grid().times()).map(|(sample, time)| sample.as_ref().map(|_| time.0)).collect();
            assert_eq!((0..3).map(|step| timed.sample_time(row, step)).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn values_become_samples_at_the_steps() {
    let table = samples_at_steps(&steps(), grid()).expect("a steps table");
    let view = SamplesTable::try_new(&table).expect("a samples table");
    assert_eq!((view.series(0), view.series(1)), ((&[60, 100][..], &[1.0, 3.0][..]), (&[100][..], &[-0.0][..])));
    let mixed = timed_steps().project(&[0, 1]).expect("two columns");
    let table = samples_at_steps(&mixed, grid()).expect("a steps table");
    let view = SamplesTable::try_new(&table).expect("a samples table");
    let histograms = view.histograms().row(1).expect("readable");
    assert_eq!((view.series(1), histograms.len(), histograms[0].at), ((&[100][..], &[4.0][..]), 1, 80));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let samples_schema = &samples_schema();
    let with = |schema: &Schema, format, form, grid| messages(&described(schema, format, form, grid), &[]);
    for (question, messages, problem) in [
        (
            FlightQuestion::Samples(WINDOW),
            with(samples_schema, "", "samples", ""),
            "its tables do not say which format they have: it is no Quiver",
        ),
        (
            FlightQuestion::Samples(WINDOW),
            with(samples_schema, "2", "samples", ""),
            "its tables are of format \"2\", not 1",
        ),
        (
            FlightQuestion::Samples(WINDOW),
            with(samples_schema, "1", "rows", ""),
            "its tables are of an unknown form \"rows\"",
        ),
        (
            FlightQuestion::Samples(WINDOW),
            steps_messages(&[]),
            "tables of the form Steps are no answer to the question",
        ),
        (
            FlightQuestion::Values(grid()),
            timed_messages(&[]),
            "tables of the form TimedSteps are no answer to the question",
        ),
        (steps_question(), with(samples_schema, "1", "steps", ON_GRID), "its column values is not Struct"),
        (
            steps_question(),
            with(&steps_schema(4), "1", "steps", ON_GRID),
            "its column values.floats is not FixedSizeList",
        ),
        (steps_question(), with(&steps_schema(3), "1", "timed_steps", ON_GRID), "it has 2 fields, not 3"),
        (steps_question(), with(&steps_schema(3), "1", "steps", "0/20/3"), "its steps are \"0/20/3\", not 60/20/3"),
        (steps_question(), with(&steps_schema(3), "1", "steps", ""), "its steps are \"\", not 60/20/3"),
    ] {
        let refused = read(question, &messages).expect_err(problem);
        assert!(refused.starts_with(problem), "{refused}");
    }
    let table = samples_messages(&[samples()]);
    assert!(FlightDecoder::try_new(FlightQuestion::Samples(WINDOW), &table[1].0).is_err(), "a table is no schema");
    let mut decoder = FlightDecoder::try_new(FlightQuestion::Samples(WINDOW), &table[0].0).expect("a schema");
    assert!(decoder.read(&table[0].0, Bytes::new()).is_err(), "a schema is no table");
    assert!(decoder.read(&[], Bytes::new()).is_err());
    assert!(decoder.read(&table[1].0, Bytes::new()).is_err());
}

#[test]
fn tables_that_contradict_the_model_are_refused() {
    let samples_of = |rows: &[(&[u8], &[i64])]| {
        let mut builder = SamplesTableBuilder::default();
        for (labels, times) in rows {
            times.iter().for_each(|time| builder.push_sample(*time, 1.0));
            builder.finish_series(labels);
        }
        samples_messages(&[builder.finish()])
    };
    let histograms_of = |schema: i32, times: &[i64], float_at: i64| {
        let mut builder = SamplesTableBuilder::default();
        times.iter().for_each(|time| builder.push_histogram(*time, None, histogram(schema)));
        builder.push_sample(float_at, 1.0);
        builder.finish_series(&labels("h"));
        samples_messages(&[builder.finish()])
    };
    let (a, b) = (&labels("a")[..], &labels("b")[..]);
    for (messages, problem) in [
        (
            samples_of(&[(b, &[1]), (a, &[1])]),
            "its series are not in order: {__name__=\"a\", job=\"é\"} came behind others",
        ),
        (samples_of(&[(a, &[1]), (a, &[2])]), "its series are not in order"),
        (samples_of(&[(b"a\0", &[1])]), "a series has bad labels: label set ends in the middle of a label"),
        (samples_of(&[(b"a\0\xff\0", &[1])]), "a series has bad labels: label set is not valid UTF-8"),
        (samples_of(&[(b"b\0x\0a\0x\0", &[1])]), "a series has bad labels: label names are not in ascending order"),
        (samples_of(&[(b"\x001\0", &[1])]), "a series has bad labels: label set has an empty name or value"),
        (samples_of(&[(a, &[2, 2])]), "series {__name__=\"a\", job=\"é\"} has samples whose times do not ascend"),
        (
            samples_of(&[(a, &[0, 2])]),
            "series {__name__=\"a\", job=\"é\"} has samples outside of the range that was asked for",
        ),
        (
            samples_of(&[(a, &[2, 101])]),
            "series {__name__=\"a\", job=\"é\"} has samples outside of the range that was asked for",
        ),
        (histograms_of(3, &[2, 1], 9), "series {__name__=\"h\", job=\"é\"} has histograms whose times do not ascend"),
        (histograms_of(3, &[1, 101], 9), "series {__name__=\"h\", job=\"é\"} has samples outside of the range"),
        (
            histograms_of(3, &[1, 9], 9),
            "series {__name__=\"h\", job=\"é\"} has a number and a histogram at the same time",
        ),
        (
            histograms_of(9, &[1], 9),
            "series {__name__=\"h\", job=\"é\"} has a histogram of a schema that nobody computes with",
        ),
        (histograms_of(-9, &[1], 9), "series {__name__=\"h\", job=\"é\"} histogram schema -9 is neither"),
        (
            histograms_of(-53, &[1], 9),
            "series {__name__=\"h\", job=\"é\"} a histogram has buckets outside of its custom bounds",
        ),
    ] {
        let refused = read(FlightQuestion::Samples(WINDOW), &messages).expect_err(problem);
        assert!(refused.starts_with(problem), "{refused}");
    }
    let two = samples_messages(&[samples(), samples()]);
    assert!(read(FlightQuestion::Samples(WINDOW), &two).expect_err("twice").starts_with("its series are not in order"));
}

#[test]
fn steps_that_contradict_their_grid_are_refused() {
    let timed = |cells: [Option<(f64, i64)>; 3]| {
        let mut builder = StepsTableBuilder::timed(3);
        cells.into_iter().for_each(|cell| builder.push_timed_cell(cell));
        builder.finish_series(&labels("a"));
        timed_messages(&[builder.finish()])
    };
    let unseen = "series {__name__=\"a\", job=\"é\"} has samples that its steps cannot see";
    for (cells, problem) in [
        ([Some((1.0, 60)), Some((1.0, 61)), None], None),
        ([Some((1.0, 61)), None, None], Some(unseen)),
        ([None, Some((1.0, 60)), None], Some(unseen)),
        ([None, None, Some((1.0, i64::MIN))], Some(unseen)),
    ] {
        assert_eq!(read(steps_question(), &timed(cells)).err().as_deref(), problem);
    }
    // Times of one table beside the numbers of another.
    let other_times = steps();
    let other_times = StepTimes::new(grid()).attach(&other_times).expect("a steps table");
    let columns = vec![
        Arc::clone(timed_steps().column(0)),
        Arc::clone(timed_steps().column(1)),
        Arc::clone(other_times.column(2)),
    ];
    let swapped = RecordBatch::try_new(timed_steps_schema(3), columns).expect("of the schema");
    let refused = read(steps_question(), &timed_messages(&[swapped])).expect_err("swapped");
    assert!(refused.contains("has times where it has no samples"), "{refused}");
}

#[test]
fn damaged_messages_are_refused_or_read_but_never_end_the_process() {
    let answers = [
        (FlightQuestion::Samples(WINDOW), samples_messages(&[samples()])),
        (steps_question(), timed_messages(&[timed_steps()])),
        (FlightQuestion::Values(grid()), steps_messages(&[steps()])),
    ];
    let (mut choices, mut refused) = (Choices::from_seed(5), 0);
    for round in 0..30_000 {
        let (question, messages) = &answers[round % 3];
        let mut damaged = messages.clone();
        for _ in 0..=choices.below(3) {
            let message = choices.below(2);
            let (header, body) = &mut damaged[message];
            if message == 0 || choices.chance(60) {
                damage(header, &mut choices);
            } else {
                let mut bytes = body.to_vec();
                damage(&mut bytes, &mut choices);
                *body = Bytes::from(bytes);
            }
        }
        match read(*question, &damaged) {
            Err(_) => refused += 1,
            // What is let in can be looked at in full.
            Ok(tables) => tables.iter().for_each(look_at),
        }
    }
    assert!((10_000..30_000).contains(&refused), "{refused}");
}

fn damage(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = choices.below(bytes.len());
    match choices.below(4) {
        0 => bytes.truncate(at),
        1 if !bytes.is_empty() => bytes[at] ^= 1 << choices.below(8),
        2 if !bytes.is_empty() => bytes[at] = choices.bits() as u8,
        _ if bytes.len() >= 8 => {
            let at = choices.below(bytes.len() - 7) & !7;
            let odd: [u64; 4] = [u64::MAX, i64::MAX as u64, 1 << 31, choices.bits()];
            bytes[at..at + 8].copy_from_slice(&odd[choices.below(4)].to_le_bytes());
        }
        _ => {}
    }
}

fn look_at(table: &RecordBatch) {
    if let Ok(view) = SamplesTable::try_new(table) {
        for row in 0..view.row_count() {
            let (times, values) = view.series(row);
            assert_eq!(times.len(), values.len());
            assert!(view.start_times(row).is_none_or(|starts| starts.len() == times.len()));
            view.labels(row).to_labels();
            view.histograms().row(row).expect("checked");
        }
    } else {
        let view = StepsTable::try_new(table).expect("one of the two");
        for row in 0..view.row_count() {
            view.labels(row).to_labels();
            assert_eq!(view.samples(row).expect("checked").len(), 3);
        }
    }
}
