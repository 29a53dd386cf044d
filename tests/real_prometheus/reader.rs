//! Remote read, from the gateway and from a Prometheus, and a real Prometheus above the gateway: it has no data, reads everything from the gateway over remote read, evaluates by
//! itself, and must answer as the gateway does.

use std::io::Write;
use std::time::Instant;

use futures::StreamExt;
use prost::Message;
use quiver::decode::{
    ChunkStreamDecoder, ChunkStreamLimits, EverySeries, ReadSamplesLimits, TimeWindow, decode_read_samples,
};
use quiver::downstream::prometheus_proto::{LabelMatcher, Query, ReadHints, ReadRequest};
use quiver::testing::format_tables;

use super::api::{Answer, ApiClient, Question};
use super::data::START_MS;
use super::questions::{self, Asked};
use super::server::{Programs, PrometheusServer};
use super::{QUESTIONS_AT_A_TIME, Stage};

/// Both evaluate each question over all servers: some of the questions are enough.
const ONE_OF: usize = 3;

/// What the Prometheus above answers otherwise than the gateway; nothing, if all is well.
pub async fn compare(programs: &Programs, stage: &Stage, client: &ApiClient) -> String {
    let began = Instant::now();
    let (_, gateway) = &stage.gateways[0];
    let reader = PrometheusServer::start_reading(programs, gateway.address());
    assert!(has_no_data(client, &reader).await, "the Prometheus above has data of its own");
    let queries = questions::questions().into_iter().step_by(ONE_OF);
    // Of names and values of labels remote read knows nothing, of series it does.
    let series = questions::metadata_questions().into_iter().filter(|asked| asked.question.path == "series");
    let asked: Vec<Asked> = queries.chain(series).collect();
    let (reader, asked) = (&reader, &asked);
    let asking = asked.iter().map(|asked| async move {
        let expected = client.ask(gateway.address(), &asked.question).await;
        let got = client.ask(reader.address(), &asked.question).await;
        stage.difference_of(client, asked, &expected, &got).await
    });
    let told: Vec<String> =
        futures::stream::iter(asking).buffered(QUESTIONS_AT_A_TIME).filter_map(std::future::ready).collect().await;
    let (count, equal) = (asked.len(), asked.len() - told.len());
    let text = format!("a Prometheus above: {equal} of {count} answers are equal, after {:?}", began.elapsed());
    writeln!(std::io::stderr(), "{text}").expect("an error stream");
    told.into_iter().map(|difference| format!("a Prometheus above: {difference}")).collect()
}

/// Its own labels are none, whatever it reads from others.
async fn has_no_data(client: &ApiClient, reader: &PrometheusServer) -> bool {
    let question = Question { path: "labels".to_owned(), parameters: Vec::new(), posted: false };
    matches!(client.ask(reader.address(), &question).await.answer, Answer::Names(names) if names.is_empty())
}

/// Matchers (`=`, `!=`, `=~`, `!~` are 0 to 3).
type Matchers = &'static [(i32, &'static str, &'static str)];

const SELECTORS: [Matchers; 9] = [
    &[(0, "__name__", "up")],
    &[(0, "__name__", "up"), (0, "dc", "a")],
    &[(2, "__name__", "up|only_in_b"), (1, "dc", "a")],
    &[(2, "__name__", "late.*|early.*")],
    &[(1, "text", "")],
    // What matches nothing, what a query may not say, nothing at all, and what is refused.
    &[(0, "__name__", "nosuch")],
    &[(0, "text", ""), (3, "__name__", "up")],
    &[],
    &[(4, "__name__", "up")],
];

/// Start and end (ms from the start of the data).
type Times = (i64, i64);

/// The times of a query, and the same of the hints. Samples lie on both ends of the second one.
const WINDOWS: [(Times, Option<Times>); 4] = [
    ((0, 4 * 3_600_000), None),
    ((601_125, 616_125), None),
    ((-3_600_000, 7_200_000), Some((1_800_000, 2_000_000))),
    ((900_000, 300_000), None),
];

/// What the gateway answers to remote reads otherwise than the server of the union; nothing, if all is well.
pub async fn compare_answers(stage: &Stage, client: &ApiClient) -> String {
    let gateway = stage.gateways[0].1.address();
    let mut told = String::new();
    let (mut count, mut series) = (0, 0);
    for matchers in SELECTORS {
        for (window, hints) in WINDOWS {
            for accepted in [0, 1] {
                let body = request(matchers, window, hints, accepted);
                let expected = read(client, stage.union.address(), body.clone(), accepted).await;
                let got = read(client, gateway, body, accepted).await;
                count += 1;
                series += expected.as_ref().map_or(0, Vec::len);
                let is_same = match (&expected, &got) {
                    // Ours says whose fault it is; Prometheus that it was its own.
                    (Err((_, text)), Err((_, own))) => text == own,
                    (expected, got) => expected == got,
                };
                if !is_same {
                    told += &format!(
                        "remote read of {matchers:?} {window:?} {hints:?} {accepted}: {expected:?}\n    {got:?}\n"
                    );
                }
            }
        }
    }
    writeln!(std::io::stderr(), "remote reads: {count} asked, {series} series in the answers")
        .expect("an error stream");
    assert!(series > 100, "a comparison of nothing");
    told
}

fn request(matchers: Matchers, window: (i64, i64), hints: Option<(i64, i64)>, accepted: i32) -> Vec<u8> {
    let matcher = |(kind, name, value): &(i32, &str, &str)| LabelMatcher {
        r#type: *kind,
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    let hints = hints.map(|(start, end)| ReadHints {
        start_ms: START_MS + start,
        end_ms: START_MS + end,
        ..ReadHints::default()
    });
    let query = Query {
        start_timestamp_ms: START_MS + window.0,
        end_timestamp_ms: START_MS + window.1,
        matchers: matchers.iter().map(matcher).collect(),
        hints,
    };
    let message = ReadRequest { queries: vec![query], accepted_response_types: vec![accepted] }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).expect("short")
}

/// The rows of the answer, or status and text of a refusal.
async fn read(client: &ApiClient, address: &str, body: Vec<u8>, accepted: i32) -> Result<Vec<String>, (u16, String)> {
    let (status, content_type, body) = client.read(address, body).await;
    if status != 200 {
        return Err((status, String::from_utf8_lossy(&body).into_owned()));
    }
    let tables = if accepted == 0 {
        assert_eq!(content_type, "application/x-protobuf");
        decode_read_samples(&body, TimeWindow::ALL, &mut EverySeries::default(), ReadSamplesLimits::default())
    } else {
        assert_eq!(content_type, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
        let mut decoder =
            ChunkStreamDecoder::new(TimeWindow::ALL, EverySeries::default(), ChunkStreamLimits::default());
        decoder.feed(&body).and_then(|_| decoder.finish())
    };
    let mut rows = format_tables(&tables.expect("an answer")).expect("samples tables");
    if accepted == 0 {
        // Prometheus sorts streams alone; whoever asks for samples sorts them himself. And a negative zero loses its sign there.
        rows.iter_mut().for_each(|row| *row = row.replace(" -0@", " 0@"));
        rows.sort();
    }
    Ok(rows)
}
