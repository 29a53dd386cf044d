//! Calls of one target over connections that die, hang and trickle. Real sockets, scripted answers, no sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quiver::config;
use quiver::downstream::instrument::TargetInstrument;
use quiver::downstream::{Downstream, HttpClient, HttpDownstream, TargetUrl};
use quiver::error::ErrorKind;
use quiver::model::{MetadataRequest, QueryContext};
use quiver::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a connection does with one request.
#[derive(Copy, Clone, Debug)]
enum Deed {
    /// Answers it.
    Answer,
    /// Reads it and closes the connection.
    Close,
    /// Says nothing for ever.
    Hang,
    /// Sends a head and then a byte every few milliseconds, without end.
    Trickle,
}

const BODY: &str = r#"{"status":"success","data":["job"]}"#;

/// A server whose connections do, one after the other, what the script says; beyond the script they answer.
struct Scripted {
    address: String,
    connections: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn server(script: &'static [&'static [Deed]]) -> Scripted {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let deeds = script.get(counted.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or_default();
            tokio::spawn(follow(stream, deeds));
        }
    });
    Scripted { address, connections, server }
}

async fn follow(mut stream: TcpStream, deeds: &'static [Deed]) -> std::io::Result<()> {
    for request in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        match deeds.get(request).copied().unwrap_or(Deed::Answer) {
            Deed::Answer => {
                let answer = format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len());
                stream.write_all(answer.as_bytes()).await?;
            }
            Deed::Close => return Ok(()),
            Deed::Hang => std::future::pending().await,
            Deed::Trickle => {
                stream.write_all(format!("{head}content-length: 1000000\r\n\r\n").as_bytes()).await?;
                let mut ticks = tokio::time::interval(Duration::from_millis(5));
                loop {
                    ticks.tick().await;
                    stream.write_all(b" ").await?;
                }
            }
        }
    }
    Ok(())
}

struct Target {
    server: Scripted,
    downstream: HttpDownstream,
    metrics: Metrics,
}

async fn target(script: &'static [&'static [Deed]], keys: &str) -> Target {
    let server = server(script).await;
    let text = format!(
        "promxy:\n  server_groups:\n  - http_client: {{dial_timeout: 5s}}\n    static_configs: [{{targets: [\"{}\"]}}]\n{keys}",
        server.address
    );
    let config = config::parse(&text, "calls.yml").expect("a good config").config;
    let group = &config.promxy.server_groups[0];
    let client = Arc::new(HttpClient::try_new(group).expect("a good client"));
    let url = TargetUrl::try_new(group.scheme, &server.address, "").expect("a host");
    let metrics = Metrics::default();
    let instrument = TargetInstrument::new(metrics.targets(), 0, "eu", &url);
    Target { server, downstream: HttpDownstream::new(client, url).measured(instrument), metrics }
}

impl Target {
    async fn ask(&self, context: &QueryContext) -> Result<Vec<String>, quiver::error::Error> {
        let everything = MetadataRequest { selectors: vec![], start: None, end: None, limit: None };
        self.downstream.label_names(&everything, context).await
    }

    fn connections(&self) -> usize {
        self.server.connections.load(Ordering::SeqCst)
    }

    fn counter(&self, name: &str) -> f64 {
        let page = self.metrics.render();
        let series = format!(r#"quiver_target_{name}_total{{group="eu",host="{}",leaf="json"}} "#, self.server.address);
        page.lines()
            .find_map(|line| line.strip_prefix(&series)?.parse().ok())
            .unwrap_or_else(|| panic!("{series}: {page}"))
    }
}

#[tokio::test]
async fn a_kept_connection_that_has_died_is_replaced_once() {
    let target = target(&[&[Deed::Answer, Deed::Close], &[Deed::Answer]], "").await;
    let context = QueryContext::default();
    for _ in 0..2 {
        assert_eq!(target.ask(&context).await, Ok(vec!["job".to_owned()]));
    }
    assert_eq!((target.connections(), target.counter("retries")), (2, 1.0));
    let rows = context.targets.snapshot();
    assert_eq!(rows.iter().map(|row| (row.outcome, row.requests)).collect::<Vec<_>>(), [("success", 3)]);
    assert_eq!(rows[0].bytes, 2 * BODY.len() as u64);
}

#[tokio::test]
async fn a_server_that_dies_of_a_request_does_not_get_it_again_and_again() {
    for (script, answered, connections) in [
        // A new connection is not replaced at all …
        (&[&[Deed::Close] as &[Deed], &[Deed::Answer]] as &'static [&'static [Deed]], 0, 1),
        // … nor the one that replaced a kept one.
        (&[&[Deed::Answer, Deed::Close], &[Deed::Close], &[Deed::Answer]], 1, 2),
    ] {
        let target = target(script, "").await;
        for _ in 0..answered {
            target.ask(&QueryContext::default()).await.expect("is answered");
        }
        let error = target.ask(&QueryContext::default()).await.expect_err("the connection is closed");
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Unavailable, "closed the connection without an answer")
        );
        assert_eq!(target.connections(), connections);
    }
}

#[tokio::test]
async fn no_wait_outlives_the_query_or_the_timeout_of_the_group_and_none_is_repeated() {
    let patience = Duration::from_secs(5);
    for (keys, deadline, text) in [
        ("", Some(Duration::from_millis(80)), "no complete answer before the query's deadline"),
        ("    timeout: 80ms\n", None, "no complete answer within 80ms"),
        ("    timeout: 80ms\n", Some(patience), "no complete answer within 80ms"),
    ] {
        for script in [&[&[Deed::Trickle] as &[Deed]] as &'static [&'static [Deed]], &[&[Deed::Hang]]] {
            let target = target(script, keys).await;
            let began = Instant::now();
            let deadline = deadline.and_then(|wait| began.checked_add(wait));
            let error = target.ask(&QueryContext::new(deadline, 1)).await.expect_err("never whole");
            assert_eq!((error.kind(), error.message()), (ErrorKind::Timeout, text), "{script:?}");
            assert!(began.elapsed() < patience, "{script:?} {:?}", began.elapsed());
            assert_eq!((target.connections(), target.counter("retries")), (1, 0.0), "{script:?}");
        }
    }
}

const ANSWERS: [Deed; 25] = [Deed::Answer; 25];
const THEN_HANGS: [Deed; 26] = {
    let mut deeds = [Deed::Answer; 26];
    deeds[25] = Deed::Hang;
    deeds
};

#[tokio::test]
async fn a_lone_target_that_is_late_is_asked_over_another_connection() {
    let target = target(&[&THEN_HANGS], "").await;
    target.downstream.set_alone();
    for _ in ANSWERS {
        target.ask(&QueryContext::default()).await.expect("is answered");
    }
    let deadline = Instant::now().checked_add(Duration::from_secs(20));
    assert_eq!(target.ask(&QueryContext::new(deadline, 1)).await, Ok(vec!["job".to_owned()]));
    assert_eq!((target.connections(), target.counter("hedges")), (2, 1.0));
}

#[tokio::test]
async fn a_probe_asks_whether_anybody_is_there() {
    assert_eq!(target(&[], "").await.downstream.probe().await, Ok(()));
    let gone = target(&[&[Deed::Close]], "").await;
    assert_eq!(gone.downstream.probe().await.map_err(|error| error.kind()), Err(ErrorKind::Unavailable));
}
