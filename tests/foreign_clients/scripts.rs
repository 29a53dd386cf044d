//! Python clients: a script of `clients/` for each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::answer::Answer;
use super::question::{Question, START_MS};
use super::stage::Gateway;

/// A script that answers questions.
pub struct Script {
    pub client: &'static str,
    file: &'static str,
}

impl Script {
    pub const ALL: [Self; 4] = [
        Self { client: "prometheus-api-client", file: "api_client.py" },
        Self { client: "pyarrow.flight", file: "flight_client.py" },
        Self { client: "adbc-driver-flightsql", file: "adbc_client.py" },
        Self { client: "grpcio through reflection", file: "grpc_reflection_client.py" },
    ];

    /// Its answers; a last one says why, where it ended before it had answered everything.
    pub fn ask(&self, python: &Path, gateway: &Gateway, questions: &[Question]) -> Vec<Answer> {
        let asked: Vec<Value> = questions.iter().map(Question::as_json).collect();
        let spec = json!({"http": gateway.http, "grpc": gateway.grpc, "questions": asked});
        let output = run(python, self.file, &spec);
        let mut answers: Vec<Answer> = String::from_utf8_lossy(&output.stdout).lines().map(Answer::of_line).collect();
        if !output.status.success() {
            answers.push(Answer::failed(String::from_utf8_lossy(&output.stderr)));
        }
        answers
    }
}

fn run(python: &Path, file: &str, spec: &Value) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign_clients/clients").join(file);
    let mut child = Command::new(python)
        // -B: nothing is written into the checkout.
        .arg("-B")
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
    let mut stdin = child.stdin.take().expect("piped");
    // Where it ends before it has read everything, its output says why.
    let _ = stdin.write_all(spec.to_string().as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it was started")
}

/// What prometheus-api-client asks for besides queries.
pub fn differences_of_lists(python: &Path, gateway: &Gateway) -> String {
    let spec = json!({"http": gateway.http, "start_ms": START_MS, "end_ms": START_MS + 3_600_000});
    let output = run(python, "api_client_lists.py", &spec);
    let lists: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let metrics = [
        "http_requests_total",
        "odd_number",
        "request_duration_seconds_bucket",
        "request_duration_seconds_count",
        "request_duration_seconds_sum",
        "temperature_celsius",
        "up",
    ];
    let place = |dc: &str, place: &str| json!({"__name__": "temperature_celsius", "dc": dc, "place": place});
    let places = ["Zürich", "a \"b\"\\ c", "東京"];
    let series: Vec<Value> = ["ost", "süd"].iter().flat_map(|dc| places.map(|name| place(dc, name))).collect();
    let up = json!({"__name__": "up", "dc": "süd", "instance": "i1", "job": "api"});
    let mut told = String::new();
    for (name, expected) in [
        ("is_up", json!(true)),
        ("metrics", json!(metrics)),
        ("label_names", json!(["__name__", "code", "dc", "instance", "job", "le", "number", "place"])),
        ("places", json!(places)),
        ("series", json!(series)),
        ("current", json!([{"metric": up, "value": [(START_MS + 3_600_000) / 1_000, "0"]}])),
    ] {
        if lists[name] != expected {
            writeln!(told, "prometheus-api-client: {name}: {} and not {expected}", lists[name]).expect("a String");
        }
    }
    // It asks for `up[3600s]`, raw samples without the one at the start: neither replica of this group has them all.
    let samples = lists["range"][0]["values"].as_array().map_or(0, Vec::len);
    if samples != 240 {
        writeln!(told, "prometheus-api-client: range: {samples} samples and not 240").expect("a String");
    }
    told
}
