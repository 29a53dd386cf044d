//! A real Prometheus above the gateway: it has no data, reads everything from the gateway over remote read, evaluates by
//! itself, and must answer as the gateway does.

use std::io::Write;
use std::time::Instant;

use futures::StreamExt;

use super::api::{Answer, ApiClient, Question};
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
