//! The process: starts with a config, reloads, ends; says nothing that is secret.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quiver::serve::grpc::proto;
use quiver::serve::grpc::proto::query_service_client::QueryServiceClient;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const SECRET: &str = "hunter2-is-the-password";

fn quiver() -> Command {
    Command::new(env!("CARGO_BIN_EXE_quiver"))
}

fn good_config(group_name: &str) -> String {
    // Nobody listens on port 1: starting must not wait for a downstream.
    config_with(group_name, "127.0.0.1:1")
}

fn config_with(group_name: &str, target: &str) -> String {
    format!(
        "promxy:\n  server_groups:\n    - name: {group_name}\n      static_configs:\n        - targets: ['{target}']\n      \
         http_client:\n        basic_auth: {{username: me, password: {SECRET}}}\n"
    )
}

/// A running server; killed if the test fails.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    http: SocketAddr,
    seen: String,
}

/// Both kinds of API on free ports.
const SEPARATE: [&str; 2] = ["--bind-addr=127.0.0.1:0", "--grpc.bind-addr=127.0.0.1:0"];
const SHARED: [&str; 2] = ["--bind-addr=127.0.0.1:0", "--grpc.bind-addr=shared"];

impl Server {
    fn start(config: &Path, flags: &[&str]) -> Self {
        Self::start_on(SEPARATE, config, flags)
    }

    fn start_on(addresses: [&str; 2], config: &Path, flags: &[&str]) -> Self {
        let mut child = quiver()
            .arg(format!("--config={}", config.display()))
            .args(addresses)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let mut server = Self { child, log, http: SocketAddr::from(([127, 0, 0, 1], 0)), seen: String::new() };
        let line = server.wait_for("serving HTTP");
        let address = line.split("address=").nth(1).expect("an address").trim();
        server.http = address.parse().expect("an address");
        server.wait_for("quiver is ready");
        server
    }

    /// The next line of the log that contains `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).expect("a readable log");
            assert!(read > 0, "the log ended before {text:?}:\n{}", self.seen);
            self.seen.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.ask_over(false, method, path).await
    }

    /// Over HTTP/1.1, or over HTTP/2 without an upgrade.
    async fn ask_over(&self, http2: bool, method: &str, path: &str) -> (u16, String) {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http::<Full<Bytes>>();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.http))
            .body(Full::default())
            .expect("a request");
        let response = client.request(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// To the port of the HTTP API, where gRPC is served on it, too.
    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.http)).expect("a URI").connect().await.expect("it listens")
    }

    /// Waits for the end; exit code, log and access log.
    fn end(mut self) -> (Option<i32>, String, String) {
        self.log.read_to_string(&mut self.seen).expect("a readable log");
        let mut access_log = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut access_log).expect("a readable access log");
        let status = self.child.wait().expect("it was started");
        (status.code(), std::mem::take(&mut self.seen), access_log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn it_starts_reloads_and_ends_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("quiver.yml");
    std::fs::write(&config, good_config("first")).expect("written");
    let mut server =
        Server::start(&config, &["--web.enable-lifecycle", "--http.shutdown-delay=0s", "--http.shutdown-timeout=5s"]);

    assert_eq!(server.ask("GET", "/-/ready").await.0, 200);
    let (status, body) = server.ask("GET", "/api/v1/query?query=up&password=x").await;
    assert_eq!(status, 422, "nobody listens behind it: {body}");
    let (_, shown) = server.ask("GET", "/api/v1/status/config").await;
    assert!(shown.contains("name: first"), "{shown}");

    std::fs::write(&config, good_config("second")).expect("written");
    server.signal("HUP");
    server.wait_for("the new config is in use");
    assert!(server.ask("GET", "/api/v1/status/config").await.1.contains("name: second"));

    std::fs::write(&config, "promxy: {server_groups: [{tiemout: 5s}]}").expect("written");
    let (status, why) = server.ask("POST", "/-/reload").await;
    assert_eq!(status, 500);
    assert!(why.starts_with("failed to reload config: ") && why.contains("tiemout"), "{why}");
    let (_, shown_after) = server.ask("GET", "/api/v1/status/config").await;
    assert!(shown_after.contains("name: second"), "the one before stays in use: {shown_after}");
    let (_, metrics) = server.ask("GET", "/metrics").await;
    assert!(metrics.lines().any(|line| line == "prometheus_config_last_reload_successful 0"), "{metrics}");

    server.signal("TERM");
    let (code, log, access_log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(access_log.contains("\"GET /api/v1/query HTTP/1.1 422 "), "{access_log}");
    assert!(access_log.contains("query=up&password=<secret>"), "{access_log}");
    for said in [&body, &shown, &shown_after, &why, &metrics, &log, &access_log] {
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("quiver.yml");
    std::fs::write(&config, good_config("first")).expect("written");
    let mut server = Server::start(&config, &["--http.shutdown-delay=1h", "--access-log-destination=none"]);
    server.signal("TERM");
    server.wait_for("not ready any more");
    let (status, body) = server.ask("GET", "/-/ready").await;
    assert_eq!((status, body.as_str()), (503, "Quiver is Stopping.\n"));
    server.signal("INT");
    let (code, log, access_log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ended at once by a second signal"), "{log}");
    assert_eq!(access_log, "");
}

#[tokio::test]
async fn one_port_serves_both_apis() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("quiver.yml");
    std::fs::write(&config, good_config("first")).expect("written");
    let flags = ["--http.shutdown-delay=0s", "--http.shutdown-timeout=1h"];
    let mut server = Server::start_on(SHARED, &config, &flags);
    for http2 in [false, true] {
        let (status, body) = server.ask_over(http2, "GET", "/api/v1/query?query=1%2B1").await;
        assert_eq!((status, body.contains(r#""2"]"#)), (200, true), "{body}");
        assert_eq!(server.ask_over(http2, "GET", "/-/ready").await.0, 200);
    }

    let channel = server.channel().await;
    let mut queries = QueryServiceClient::new(channel.clone());
    let request = proto::QueryRequest { query: "1 + 1".to_owned(), ..Default::default() };
    let mut answer = queries.query(request).await.expect("an answer").into_inner();
    let Some(proto::query_response::Part::Header(header)) =
        answer.message().await.expect("a message").expect("one").part
    else {
        panic!("the header comes first");
    };
    assert_eq!(header.scalar, 2.0);
    assert!(answer.message().await.expect("a message").is_some());
    assert!(answer.message().await.expect("the end").is_none());
    let error = queries.query(proto::QueryRequest { query: "sum(".to_owned(), ..Default::default() }).await;
    assert_eq!(error.expect_err("not PromQL").code(), Code::InvalidArgument);

    // A client that watches the health does not hold up the end. It may miss what was said last.
    let mut watched =
        HealthClient::new(channel).watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
    let mut health = async || watched.message().await.map(|message| message.expect("no end without a word").status());
    assert_eq!(health().await.expect("a status"), ServingStatus::Serving);
    server.signal("TERM");
    let end = match health().await {
        Ok(status) => {
            assert_eq!(status, ServingStatus::NotServing);
            health().await
        }
        ended => ended,
    };
    assert_eq!(end.expect_err("the end").code(), Code::Unavailable);
    server.wait_for("ended");
    let (code, log, access_log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    for line in [
        "\"GET /api/v1/query HTTP/1.1 200 ",
        "\"GET /api/v1/query HTTP/2.0 200 ",
        "\"POST /quiver.v1.QueryService/Query HTTP/2.0 200 ",
        " grpc=OK\n",
        " grpc=InvalidArgument\n",
        " grpc=Unavailable\n",
    ] {
        assert!(access_log.contains(line), "{line} is not in {access_log}");
    }
}

#[tokio::test]
async fn a_query_that_does_not_end_is_cut_off_in_the_end() {
    let downstream = support::Server::start(|_| support::Reply::Hang).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("quiver.yml");
    std::fs::write(&config, config_with("first", &downstream.address())).expect("written");
    let server = Server::start_on(SHARED, &config, &["--http.shutdown-delay=0s", "--http.shutdown-timeout=100ms"]);
    let mut queries = QueryServiceClient::new(server.channel().await);
    let asking = tokio::spawn(async move {
        queries.query(proto::QueryRequest { query: "up".to_owned(), ..Default::default() }).await.map(|_| ())
    });
    let is_asked = async {
        while downstream.all_asked().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    is_asked.await;
    server.signal("TERM");
    let (code, log, access_log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ended before all requests were done"), "{log}");
    asking.await.expect("it ends").expect_err("it was cut off");
    downstream.hung_up.notified().await;
    assert!(access_log.contains(" grpc=Canceled\n"), "{access_log}");
}

#[test]
fn what_cannot_run_exits_with_1_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = folder.path().join("good.yml");
    let bad = folder.path().join("bad.yml");
    std::fs::write(&good, good_config("first")).expect("written");
    std::fs::write(&bad, format!("{}      nosuch: 1\n", good_config("first"))).expect("written");
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    for (args, code, text) in [
        (vec!["check-config", &good], 0, "is a valid Quiver config file"),
        (vec!["check-config", &bad], 1, "nosuch"),
        (vec!["--check-config", "--config", &good], 0, "is a valid Quiver config file"),
        (vec!["--check-config", "--config", &bad], 1, "nosuch"),
        (vec!["--config", &bad], 1, "nosuch"),
        (vec!["--config", "/no/such/file"], 1, "/no/such/file"),
        (vec!["--config", &good, "--bind-addr=nowhere"], 1, "--bind-addr=nowhere: cannot listen"),
        (vec!["--config", &good, "--grpc.bind-addr=:x"], 1, "--grpc.bind-addr=:x: cannot listen"),
        (vec!["--storage.path=/tmp"], 1, "--storage.path is not built yet"),
        (vec!["test", "parser", "/no/such/file"], 1, "/no/such/file"),
        (vec!["--version"], 0, env!("CARGO_PKG_VERSION")),
        (vec!["--help"], 0, "Exit codes:"),
    ] {
        let output = quiver().args(&args).output().expect("the binary");
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
        assert!(!said.contains(SECRET), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn the_demo_answers_what_it_offers() {
    let mut child = quiver()
        .args(["demo", "--bind-addr=127.0.0.1:0", "--grpc.bind-addr=127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut banner = String::new();
    let mut printed = BufReader::new(child.stdout.take().expect("piped"));
    while !banner.contains("Ctrl-C ends it") {
        assert!(printed.read_line(&mut banner).expect("readable") > 0, "the banner ended: {banner}");
    }
    let address = banner.split("http://").nth(1).expect("a URL").split(['/', '\n', ' ']).next().expect("an address");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    let server = Server { child, log, http: address.parse().expect("an address"), seen: String::new() };
    let (status, page) = server.ask("GET", "/").await;
    assert_eq!(status, 200);
    let links: Vec<String> = page
        .split("href=\"")
        .skip(1)
        .filter_map(|link| link.split('"').next())
        .filter(|link| link.starts_with("/api/v1/query"))
        .map(|link| link.replace("&amp;", "&"))
        .collect();
    assert!(links.len() >= 5, "{page}");
    for link in links {
        let (status, body) = server.ask("GET", &link).await;
        assert_eq!(status, 200, "{link}: {body}");
        assert!(!body.contains("\"result\":[]"), "{link}: {body}");
    }
}
