//! A query that is evaluated again at every step.

use std::sync::Arc;
use std::time::Duration;

use quiver::model::TimestampMs;
use quiver::query::{EngineOptions, QueryEngine};
use quiver::serve::grpc::proto::{self, query_response, watch_response::Part};
use quiver::serve::http::ApiOptions;
use tonic::{Code, Status, Streaming};

use crate::{Answer, Server, Slow, SlowMode, instant, store, two_jobs};

async fn watch(
    server: &Server,
    query: &str,
    step_ms: i64,
    count: u64,
) -> Result<Streaming<proto::WatchResponse>, Status> {
    let request = proto::WatchRequest { query: query.to_owned(), step_ms, count, options: None };
    Ok(server.client().watch(request).await?.into_inner())
}

/// One evaluation: its time, how many were skipped, and its answer.
type Evaluated = (i64, u64, Result<Answer, proto::WatchError>);

async fn next(stream: &mut Streaming<proto::WatchResponse>) -> Result<Option<Evaluated>, Status> {
    let mut parts = Vec::new();
    while let Some(proto::WatchResponse { time_ms, skipped_steps, part }) = stream.message().await? {
        match part.expect("no message is empty") {
            Part::Error(error) => return Ok(Some((time_ms, skipped_steps, Err(error)))),
            Part::Answer(answer) => {
                let is_last = matches!(answer.part, Some(query_response::Part::Trailer(_)));
                parts.push(answer);
                if is_last {
                    return Ok(Some((time_ms, skipped_steps, Ok(Answer::of(parts)))));
                }
            }
        }
    }
    assert!(parts.is_empty(), "the stream ends behind a whole answer");
    Ok(None)
}

#[tokio::test]
async fn a_watched_query_is_evaluated_at_multiples_of_its_step_with_what_is_there_then() {
    let server = Server::start(store(&["x 1"])).await;
    let mut stream = watch(&server, "vector(time()) or x", 1_000, 3).await.expect("it begins");
    let mut last = None;
    while let Some((time, skipped, answer)) = next(&mut stream).await.expect("no error") {
        let answer = answer.expect("an answer");
        assert_eq!((time % 1_000, answer.grid()), (0, (time, 1, 1)));
        assert_eq!(answer.rows(), [format!("{{}} {}", time / 1_000)]);
        if let Some((last_time, count)) = last {
            assert_eq!(time, last_time + 1_000 * (1 + i64::try_from(skipped).expect("few")));
            last = Some((time, count + 1));
        } else {
            assert_eq!(skipped, 0);
            last = Some((time, 1));
        }
    }
    assert_eq!(last.map(|(_, count)| count), Some(3), "as many as were asked for");
}

#[tokio::test]
async fn an_evaluation_that_fails_is_a_message_and_the_watch_goes_on() {
    let server = Server::start(two_jobs()).await;
    // Two series of `hits` on both sides, then the one of `x`.
    let failing = "{__name__=~'hits|x'} @ 100 + on() group_left() {__name__=~'hits|x'} @ 100";
    let mut stream = watch(&server, failing, 1_000, 2).await.expect("it begins");
    let (first, _, failed) = next(&mut stream).await.expect("goes on").expect("an evaluation");
    let failed = failed.expect_err("many to many");
    assert_eq!(failed.code, Code::FailedPrecondition as i32);
    assert!(failed.message.contains("found duplicate series"), "{failed:?}");
    // What is reloaded meanwhile counts from the next evaluation on.
    server.api.swap_engine(QueryEngine::new(store(&["x 7"]), EngineOptions::default()));
    let (second, _, answer) = next(&mut stream).await.expect("goes on").expect("an evaluation");
    assert!(second > first);
    assert_eq!(answer.expect("one to one").rows(), ["{} 14"]);
    assert!(next(&mut stream).await.expect("in order").is_none(), "both were told");

    let error = watch(&server, "sum(", 1_000, 0).await.expect_err("no query");
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = watch(&server, "x", 10, 0).await.expect_err("too often");
    assert_eq!(error.message(), "step_ms is 10, it must be at least 1000 and at most 86400000");
}

#[tokio::test]
async fn a_watch_takes_a_slot_only_while_it_evaluates() {
    let options = ApiOptions { queries_max: Some(1), ..ApiOptions::default() };
    let server = Server::start_with(two_jobs(), options).await;
    let mut stream = watch(&server, "vector(1)", 86_400_000, 0).await.expect("it begins");
    next(&mut stream).await.expect("no error").expect("the first").2.expect("an answer");
    // The watch goes on, and waits for tomorrow.
    assert_eq!(instant(&server, "hits", 100_000).await.expect("an answer").rows().len(), 2);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_watch() {
    let source = Slow::new(SlowMode::Hangs);
    let (started, ended) = source.watch();
    let server = Server::start(Arc::new(source)).await;
    let stream = watch(&server, "x", 1_000, 0).await.expect("it begins");
    started.await.expect("the source is asked");
    drop(stream);
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the fetch is dropped").expect("it tells so");
}

#[tokio::test]
async fn the_end_of_the_server_ends_a_watch_and_does_not_wait_for_it() {
    let server = Server::start(two_jobs()).await;
    let mut stream = watch(&server, "hits", 86_400_000, 0).await.expect("it begins");
    next(&mut stream).await.expect("no error").expect("the first").2.expect("an answer");
    server.stop.cancel();
    let error = next(&mut stream).await.expect_err("it is over");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    drop((stream, server.channel));
    server.running.await.expect("it ends by itself");
}

#[tokio::test]
async fn there_are_only_so_many_watches_at_a_time() {
    let server = Server::start(two_jobs()).await;
    let mut streams = Vec::new();
    let refused = loop {
        assert!(streams.len() <= 100);
        match watch(&server, "1", 86_400_000, 0).await {
            Ok(stream) => streams.push(stream),
            Err(refused) => break refused,
        }
    };
    assert_eq!((streams.len(), refused.code()), (100, Code::ResourceExhausted));
    assert!(refused.message().starts_with("100 watches run already"), "{refused}");
    drop(streams);
    // The server sees soon that they are gone.
    while watch(&server, "1", 86_400_000, 1).await.is_err() {
        tokio::task::yield_now().await;
    }
    let scalar = instant(&server, "2", TimestampMs(0).0).await.expect("others are answered all the while");
    assert_eq!(scalar.header.scalar, 2.0);
}
