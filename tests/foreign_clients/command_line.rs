//! Clients of the command line: curl and Prometheus' promtool.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::answer::Answer;
use super::question::{Question, START_MS, Times, seconds};
use super::stage::Gateway;

/// Ways to ask with curl, and what is added to its arguments.
pub const CURL_WAYS: [(&str, &[&str]); 3] = [
    ("curl", &["--get"]),
    ("curl, posting, compressed", &["--compressed"]),
    ("curl over HTTP/2", &["--http2-prior-knowledge", "--get"]),
];

/// `None` where there is no curl.
pub fn ask_curl(gateway: &Gateway, way: &[&str], questions: &[Question]) -> Option<Vec<Answer>> {
    let ask = |question: &Question| {
        let (call, parameters) = question.of_api();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60"]).args(way);
        for (name, value) in parameters {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        curl.arg(format!("http://{}/api/v1/{call}", gateway.http));
        Some(match output_of(&mut curl)? {
            Ok(body) => Answer::of_body(&body),
            Err(why) => Answer::failed(why),
        })
    };
    questions.iter().map(ask).collect()
}

/// `None` where there is no promtool.
pub fn ask_promtool(gateway: &Gateway, questions: &[Question]) -> Option<Vec<Answer>> {
    let ask = |question: &Question| {
        let mut promtool = promtool();
        promtool.args(["query", if matches!(question.times, Times::Instant(_)) { "instant" } else { "range" }]);
        promtool.args(["--format", "json"]);
        match question.times {
            Times::Instant(time) => promtool.arg(format!("--time={}", seconds(time))),
            Times::Range { start, end, step } => promtool
                .arg(format!("--start={}", seconds(start)))
                .arg(format!("--end={}", seconds(end)))
                .arg(format!("--step={}s", seconds(step))),
        };
        // A query that begins with a minus is no flag.
        promtool.arg("--").arg(format!("http://{}", gateway.http)).arg(&question.query);
        Some(match output_of(&mut promtool)? {
            Ok(printed) => match serde_json::from_slice::<Value>(&printed) {
                Ok(result) => Answer::of_result(&result),
                Err(error) => Answer::failed(format!("{error} in {:?}", String::from_utf8_lossy(&printed))),
            },
            Err(why) => Answer::failed(why),
        })
    };
    questions.iter().map(ask).collect()
}

/// What promtool lists: label values, and series as Go prints them.
pub fn differences_of_lists(gateway: &Gateway) -> String {
    let url = format!("http://{}", gateway.http);
    let hour = [format!("--start={}", seconds(START_MS)), format!("--end={}", seconds(START_MS + 3_600_000))];
    let lines = |command: &str, arguments: &[&str]| {
        let mut promtool = promtool();
        promtool.args(["query", command]).args(&hour).args(arguments);
        output_of(&mut promtool).map(|printed| match printed {
            Ok(printed) => String::from_utf8_lossy(&printed).lines().map(str::to_owned).collect::<Vec<_>>(),
            Err(why) => vec![why],
        })
    };
    let Some(values) = lines("labels", &[&url, "place"]) else {
        return String::new();
    };
    let mut told = String::new();
    if values != ["Zürich", "a \"b\"\\ c", "東京"] {
        writeln!(told, "promtool: labels: {values:?}").expect("a String takes everything");
    }
    let mut series = lines("series", &["--match=up", "--match=request_duration_seconds_sum", &url]).unwrap_or_default();
    series.sort();
    let expected = [
        r#"{__name__="request_duration_seconds_sum", dc="ost", job="api"}"#,
        r#"{__name__="request_duration_seconds_sum", dc="süd", job="api"}"#,
        r#"{__name__="up", dc="ost", instance="i0", job="api"}"#,
        r#"{__name__="up", dc="süd", instance="i1", job="api"}"#,
    ];
    if series != expected {
        writeln!(told, "promtool: series: {series:#?}").expect("a String takes everything");
    }
    told
}

fn promtool() -> Command {
    Command::new(std::env::var_os("QUIVER_TEST_PROMTOOL").map_or_else(|| PathBuf::from("promtool"), PathBuf::from))
}

/// What it printed, or why it failed; `None` where there is no such program, which must not be where all clients are required.
fn output_of(command: &mut Command) -> Option<Result<Vec<u8>, String>> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_required = std::env::var("QUIVER_TEST_REQUIRE_CLIENTS").as_deref() == Ok("1");
            assert!(!is_required, "{:?} is not installed", command.get_program());
            return None;
        }
        Err(error) => panic!("{command:?} does not start: {error}"),
    };
    Some(match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    })
}
