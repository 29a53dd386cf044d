//! What a remote read server refuses, what it gives up, and what it gives back.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use quiver::model::{Labels, ProcessBudget, Sample};
use quiver::query::EngineOptions;
use quiver::serve::http::ApiOptions;
use quiver::testing::fake_prometheus::{FakePrometheus, Fault, FaultBody, RequestKind};
use quiver::testing::{MemoryStore, TimedSample};

use super::client::{CHUNKS, EQ, PROMETHEUS_HEADERS, RE, SAMPLES, ask, matcher, open, query, read, read_request};
use super::gateway::{Gateway, config_of, prometheus, store};

/// Far above what anything takes here, far below a hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// So soon everything behind a client that is gone must be gone, too.
const GONE_WITHIN: Duration = Duration::from_secs(1);

const NUMBERS: [&str; 1] = [r#"up{job="a"} 0+1x400"#];

async fn in_front_of(
    store: &Arc<MemoryStore>,
    limits: EngineOptions,
    options: ApiOptions,
) -> (FakePrometheus, Gateway) {
    let server = prometheus(Arc::clone(store), true, Labels::default()).await;
    let gateway = Gateway::over_groups(&config_of(&[vec![server.target()]], ""), limits, options).await;
    // What the server can do is found out when it is first asked.
    let answer = read(&gateway.address, &[up(0, 0)], &[SAMPLES]).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    (server, gateway)
}

fn up(start: i64, end: i64) -> quiver::downstream::prometheus_proto::Query {
    query(&[matcher(EQ, "__name__", "up")], start, end)
}

/// Samples that no compression makes small.
fn large_store(series: u64, samples: u64) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in 0..series {
        let labels = Labels::from_pairs([("__name__", "up".to_owned()), ("i", format!("{at:04}"))]);
        let samples = (0..samples).map(|time| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(state >> 12 | 0x3ff0_0000_0000_0000);
            TimedSample { time: time as i64 * 10_000, start_time: None, sample: Sample::Float(value) }
        });
        store.append_to_part(0, &labels, samples.collect::<Vec<_>>()).expect("stored");
    }
    Arc::new(store)
}

/// Waits until what is behind a request is gone; gives up after [`GONE_WITHIN`].
async fn assert_gone(server: &FakePrometheus, memory: &ProcessBudget) {
    let gone = async {
        while server.in_flight() > 0 || memory.bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(GONE_WITHIN, gone).await.is_err() {
        panic!("{} requests and {} bytes are left", server.in_flight(), memory.bytes());
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_prometheus_words() {
    let gateway = Gateway::over_store(store(&NUMBERS), Labels::default(), ApiOptions::default()).await;
    let of = |matchers: &[_]| read_request(&[query(matchers, 0, 1)], &[CHUNKS, SAMPLES]);
    for (body, expected) in [
        (Vec::new(), "snappy: corrupt input\n"),
        (b"hello".to_vec(), "snappy: corrupt input\n"),
        (b"\xff\xff\xff\xff\x0f".to_vec(), "snappy: decoded length 4294967295 exceeds limit 4194304\n"),
        (vec![0; (4 << 20) + 1], "the body is larger than 4194304 bytes\n"),
        (of(&[matcher(4, "a", "b")]), "invalid matcher type\n"),
        (of(&[matcher(RE, "a", "[a")]), "error parsing regexp: missing closing ]: `[a`\n"),
        (
            read_request(&[], &[2, -1]),
            "server does not support any of the requested response types: [2 -1]; supported: map[SAMPLES:{} \
             STREAMED_XOR_CHUNKS:{}]\n",
        ),
    ] {
        let answer = ask(&gateway.address, "/api/v1/read", &PROMETHEUS_HEADERS, Some(body)).await;
        assert_eq!((answer.status, answer.text()), (400, expected));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(ask(&gateway.address, "/api/v1/read", &[], None).await.status, 405);
    let path = "/api/v1/read?partial_response=maybe";
    let answer = ask(&gateway.address, path, &PROMETHEUS_HEADERS, Some(read_request(&[], &[]))).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test]
async fn one_message_has_so_many_samples_and_a_stream_as_many_as_there_are() {
    let options = ApiOptions { read_samples_max: Some(100), ..ApiOptions::default() };
    let gateway = Gateway::over_store(store(&NUMBERS), Labels::default(), options).await;
    let refused = read(&gateway.address, &[up(0, 1_000_000)], &[SAMPLES]).await;
    assert_eq!((refused.status, refused.text()), (400, "exceeded sample limit (100)\n"));
    assert_eq!(read(&gateway.address, &[up(0, 990_000)], &[SAMPLES]).await.sample_rows().len(), 1);
    assert_eq!(read(&gateway.address, &[up(0, 1_000_000)], &[CHUNKS]).await.chunk_rows()[&0].len(), 1);
}

#[tokio::test]
async fn the_memory_of_a_query_holds_for_reads_and_is_given_back() {
    let limits = EngineOptions { samples_max: 300, ..EngineOptions::default() };
    let (server, gateway) = in_front_of(&store(&NUMBERS), limits, ApiOptions::default()).await;
    for accepted in [CHUNKS, SAMPLES] {
        let answer = read(&gateway.address, &[up(0, 4_000_000)], &[accepted]).await;
        let text = "query processing would load too many samples into memory in query execution\n";
        assert_eq!((answer.status, answer.text()), (500, text));
        assert_eq!(read(&gateway.address, &[up(0, 100_000)], &[accepted]).await.status, 200);
        assert_gone(&server, &gateway.memory).await;
    }
}

#[tokio::test]
async fn a_stream_needs_the_memory_of_what_is_on_its_way_and_a_message_that_of_all_of_it() {
    // 26 MB of samples.
    let limits = EngineOptions { query_bytes_max: 20 << 20, ..EngineOptions::default() };
    let (server, gateway) = in_front_of(&large_store(160, 10_000), limits, ApiOptions::default()).await;
    let answer = read(&gateway.address, &[up(0, i64::MAX)], &[CHUNKS]).await;
    assert_eq!(answer.chunk_rows()[&0].len(), 160);
    let answer = read(&gateway.address, &[up(0, i64::MAX)], &[SAMPLES]).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("more memory than allowed"), "{}", answer.text());
    assert_gone(&server, &gateway.memory).await;
}

#[tokio::test]
async fn a_server_that_fails_is_a_status_before_the_first_byte_and_a_cut_behind_it() {
    let limits = EngineOptions::default();
    let (server, gateway) = in_front_of(&large_store(60, 10_000), limits, ApiOptions::default()).await;
    server.set_fault(RequestKind::RemoteRead, Fault::Status { code: 500, body: FaultBody::Html });
    let answer = read(&gateway.address, &[up(0, 4_000_000)], &[CHUNKS]).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains(&server.target()) && answer.text().contains("answered 500"), "{}", answer.text());

    server.set_fault(RequestKind::RemoteRead, Fault::CutBody { after_bytes: 3_000_000 });
    let body = read_request(&[up(0, i64::MAX)], &[CHUNKS]);
    let response = open(&gateway.address, "/api/v1/read", &PROMETHEUS_HEADERS, Some(body.clone())).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err(), "the client must not take this for the end");
    // Nothing of one message has been sent yet.
    let answer = read(&gateway.address, &[up(0, i64::MAX)], &[SAMPLES]).await;
    assert_eq!(answer.status, 500, "{:?}", answer.headers);

    server.clear_faults();
    assert_eq!(read(&gateway.address, &[up(0, i64::MAX)], &[CHUNKS]).await.chunk_rows()[&0].len(), 60);
    assert_gone(&server, &gateway.memory).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_nobody_waiting_and_leaves_nothing_behind() {
    let options = ApiOptions { reads_max: Some(1), queries_max: Some(1), ..ApiOptions::default() };
    let (server, gateway) = in_front_of(&large_store(160, 10_000), EngineOptions::default(), options).await;
    let body = read_request(&[up(0, i64::MAX)], &[CHUNKS]);
    let mut slow = Vec::new();
    for _ in 0..2 {
        // The head and the first piece are there; the rest is more than sockets hold.
        slow.push(open(&gateway.address, "/api/v1/read", &PROMETHEUS_HEADERS, Some(body.clone())).await);
    }
    let others = async {
        for accepted in [CHUNKS, SAMPLES] {
            assert_eq!(read(&gateway.address, &[up(0, 100_000)], &[accepted]).await.status, 200);
        }
        ask(&gateway.address, "/api/v1/query?query=count(up)&time=100", &[], None).await
    };
    let answer = tokio::time::timeout(PATIENCE, others).await.expect("nobody waits for the slow ones");
    assert!(answer.text().contains(r#""160""#), "{}", answer.text());
    assert!(gateway.memory.bytes() > 0, "the slow ones are still there");
    drop(slow);
    assert_gone(&server, &gateway.memory).await;

    // In the middle of an answer whose server has more to say.
    let piece_bytes = 1 << 20;
    server.set_fault(RequestKind::RemoteRead, Fault::Trickle { piece_bytes, every: Duration::from_millis(30) });
    let response = open(&gateway.address, "/api/v1/read", &PROMETHEUS_HEADERS, Some(body)).await;
    assert!(server.in_flight() > 0 && gateway.memory.bytes() > 0, "there is more to come");
    drop(response);
    assert_gone(&server, &gateway.memory).await;
}

#[tokio::test]
async fn a_client_that_goes_before_the_answer_leaves_nothing_behind() {
    let options = ApiOptions { reads_max: Some(1), ..ApiOptions::default() };
    let (server, gateway) = in_front_of(&store(&NUMBERS), EngineOptions::default(), options).await;
    server.set_fault(RequestKind::RemoteRead, Fault::Hang);
    for accepted in [CHUNKS, SAMPLES] {
        let asking = read_request(&[up(0, 100_000)], &[accepted]);
        let asking = open(&gateway.address, "/api/v1/read", &PROMETHEUS_HEADERS, Some(asking));
        let is_asked = async {
            while server.in_flight() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = asking => panic!("a server that hangs has not answered"),
            asked = tokio::time::timeout(PATIENCE, is_asked) => asked.expect("the server is asked"),
        }
        assert_gone(&server, &gateway.memory).await;
    }
    server.clear_faults();
    // Its turn is free again.
    assert_eq!(read(&gateway.address, &[up(0, 100_000)], &[CHUNKS]).await.status, 200);
}
