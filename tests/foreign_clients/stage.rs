//! Two groups of two servers, and gateways in front of them: our own binary, with separate ports and with a shared one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quiver::model::{DurationMs, TimestampMs};
use quiver::testing::MemoryStore;
use quiver::testing::fake_prometheus::{FakeOptions, FakePrometheus, RemoteReadOptions};

use super::answer::Answer;
use super::question::{Question, START_MS};

const SCRAPE_INTERVAL: DurationMs = DurationMs(15_000);

/// The data centres, which are the groups; labels are not always ASCII.
const GROUPS: [&str; 2] = ["ost", "süd"];

/// The gateways and their servers; all end when this is dropped.
pub struct Stage {
    /// With a port for each API.
    pub separate: Gateway,
    /// With one port for both.
    pub shared: Gateway,
    _servers: Vec<FakePrometheus>,
    _folder: tempfile::TempDir,
}

/// A running gateway.
pub struct Gateway {
    process: Child,
    /// `host:port` of the HTTP API.
    pub http: String,
    /// The same of gRPC.
    pub grpc: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    fn start(config: &Path, grpc_address: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_quiver"))
            .arg(format!("--config={}", config.display()))
            .arg(format!("--grpc.bind-addr={grpc_address}"))
            .args(["--bind-addr=127.0.0.1:0", "--access-log-destination=none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut gateway = Self { process, http: String::new(), grpc: String::new() };
        let mut seen = String::new();
        while !seen.contains("quiver is ready") {
            let before = seen.len();
            assert!(log.read_line(&mut seen).expect("a readable log") > 0, "the gateway ended:\n{seen}");
            let line = &seen[before..];
            let Some(address) = line.split("address=").nth(1).map(str::trim) else { continue };
            if line.contains("HTTP") {
                gateway.http = address.to_owned();
            }
            if line.contains("gRPC") {
                gateway.grpc = address.to_owned();
            }
        }
        // It must never wait for somebody to read its log.
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        gateway
    }
}

impl Stage {
    pub async fn set() -> Self {
        let mut servers = Vec::new();
        let mut config = "promxy:\n  server_groups:\n".to_owned();
        for (group, name) in GROUPS.iter().enumerate() {
            let mut targets = Vec::new();
            for replica in 0..2 {
                let options = FakeOptions { remote_read: Some(RemoteReadOptions::default()), ..FakeOptions::default() };
                let server = FakePrometheus::start_with(store(group, replica), options).await.expect("a free port");
                targets.push(server.target());
                servers.push(server);
            }
            let targets = targets.join(", ");
            config += &format!("    - static_configs: [{{targets: [{targets}]}}]\n      labels: {{dc: {name}}}\n");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("quiver.yml");
        std::fs::write(&file, config).expect("written");
        let separate = Gateway::start(&file, "127.0.0.1:0");
        let shared = Gateway::start(&file, "shared");
        assert!(separate.http != separate.grpc && shared.http == shared.grpc);
        Self { separate, shared, _servers: servers, _folder: folder }
    }

    /// Asks over HTTP.
    pub async fn ask(&self, question: &Question) -> Answer {
        let (call, parameters) = question.of_api();
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = http::Request::post(format!("http://{}/api/v1/{call}", self.separate.http))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .expect("a request");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.expect("an answer");
        Answer::of_body(&response.into_body().collect().await.expect("a whole body").to_bytes())
    }
}

/// What a replica of a group holds.
fn store(group: usize, replica: usize) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let load = |line: String| store.load(&[&line], TimestampMs(START_MS), SCRAPE_INTERVAL).expect("good notation");
    // Each replica was away for some minutes; what it lacks the other has. A gap of both is one of the answer, too.
    let up = [["1x99 _x40 1x340", "1x299 _x20 1x160"], ["1x59 _x30 0x390", "1x59 _x30 0x390"]];
    load(format!(r#"up{{job="api",instance="i{group}"}} {}"#, up[group][replica]));
    for (instance, job) in ["api", "web", "api"].iter().enumerate() {
        for (code, growth) in [("200", 7), ("404", 2), ("500", 1)] {
            let growth = growth * (instance + 1) + group;
            load(format!(
                r#"http_requests_total{{job="{job}",instance="i{instance}",code="{code}"}} 1000+{growth}x190 0+{growth}.5x289"#
            ));
        }
    }
    let buckets = ["0.005", "0.05", "0.5", "5", "+Inf"];
    for (at, le) in buckets.iter().enumerate() {
        let growth = (at + 1) * (at + 1) + group;
        load(format!(r#"request_duration_seconds_bucket{{job="api",le="{le}"}} {at}+{growth}x480"#));
    }
    load(format!(r#"request_duration_seconds_count{{job="api"}} 4+{}x480"#, 25 + group));
    load(format!(r#"request_duration_seconds_sum{{job="api"}} 0.1+0.{}37x480"#, group + 3));
    for (place, from, by) in [("Zürich", "20.1", "-0.03"), ("東京", "-3.7", "+0.07"), ("a \"b\"\\ c", "1e-7", "+1e-9")]
    {
        let place = place.replace('\\', "\\\\").replace('"', "\\\"");
        load(format!(r#"temperature_celsius{{place="{place}"}} {from}{by}x160 _x25 {from}{by}x294"#));
    }
    let odd = [
        "NaN 1 NaN 2x100",
        "Inf -Inf 1x100",
        "-0 0 -0 1e300x50",
        "0.1+0.1x480",
        "123456789012345680+1x480",
        "5e-324x300",
    ];
    for (at, values) in odd.iter().enumerate() {
        load(format!(r#"odd_number{{number="{at}"}} {values}"#));
    }
    Arc::new(store)
}
