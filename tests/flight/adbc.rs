//! Flight SQL, asked by ADBC's driver, which is written in Go: a process of its own.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::server::{Server, store};
use super::support::python::clients_python;

#[tokio::test]
async fn adbc_finds_everything_where_it_looks() {
    let Some(python) = clients_python() else { return };
    let lines = [
        r#"hits{job="api",zone="é"} 0+10x6"#,
        r#"hits{job="web"} 5x2 _x1 7x3"#,
        r#"native {{schema:0 sum:4 count:3 buckets:[1 2]}}x6"#,
    ];
    let server = Server::start(store(&lines)).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flight/clients/adbc.py");
    let address = server.origin.authority().expect("an address").to_string();
    let asking = move || Command::new(python).arg("-B").arg(script).arg(address).output();
    let output = tokio::task::spawn_blocking(asking).await.expect("no panic").expect("it runs");
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));

    let row = |series: &str, zone: &str, second: u32, value: &str| {
        let job = if zone == "None" { "web" } else { "api" };
        json!([series, "hits", job, zone, format!("1970-01-01 00:00:{second:02}+00:00"), value])
    };
    let (api, web) = (r#"hits{job="api",zone="é"}"#, r#"hits{job="web"}"#);
    let expected = json!({
        "login of nobody": "7.0",
        "login of password": "7.0",
        "login of token": "7.0",
        "vendor": "Quiver",
        "version": env!("CARGO_PKG_VERSION"),
        "table types": ["TABLE"],
        "catalogs": [["quiver"]],
        "schemas": [["quiver", "metrics"]],
        "tables": [["quiver", "metrics", "hits"], ["quiver", "metrics", "native"]],
        "tables like h%": [["quiver", "metrics", "hits"]],
        "columns": [["quiver", "metrics", "hits", "series", "__name__", "job", "zone", "timestamp", "value"]],
        "table schema": [
            "series: dictionary<values=string, indices=int32, ordered=0>",
            "__name__: dictionary<values=string, indices=int32, ordered=0>",
            "job: dictionary<values=string, indices=int32, ordered=0>",
            "zone: dictionary<values=string, indices=int32, ordered=0>",
            "timestamp: timestamp[ms, tz=UTC]",
            "value: double",
        ],
        "columns of range": ["series", "__name__", "job", "zone", "timestamp", "value"],
        "range": [
            row(api, "é", 0, "0.0"), row(api, "é", 10, "10.0"), row(api, "é", 20, "20.0"),
            row(web, "None", 0, "5.0"), row(web, "None", 10, "5.0"), row(web, "None", 20, "5.0"),
        ],
        "sum": [
            [r#"{job="api"}"#, "api", "1970-01-01 00:00:20+00:00", "20.0"],
            [r#"{job="web"}"#, "web", "1970-01-01 00:00:20+00:00", "5.0"],
        ],
        "nothing": [],
        "now": ["42.0"],
        "text": ["é"],
        "plan": true,
        "cost": true,
        "schema before": ["series", "timestamp", "value"],
        "prepared": ["25.0", "25.0"],
    });
    for (name, expected) in expected.as_object().expect("an object") {
        assert_eq!(&told[name], expected, "{name}");
    }
    for (name, why) in [
        ("no such table", "NOT_FOUND"),
        ("mistake", "1:29: parse error: unclosed left parenthesis"),
        ("bad time", "1:14: found \"later, 1) hits\", expected end as seconds since 1970"),
        ("parameters", "statements have no parameters: write the values into the text"),
        ("histograms", "native histograms"),
        ("update", "Quiver is read-only"),
        ("ingest", "Quiver is read-only"),
    ] {
        let text = told[name].as_str().unwrap_or_else(|| panic!("{name}: {}", told[name]));
        assert!(text.contains(why), "{name}: {text}");
    }
    let text_of = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{name}: {}", told[name]));
    if cfg!(feature = "sql") {
        assert_eq!(told["sql"], json!([["api", "20.0"], ["web", "5.0"]]));
        assert!(text_of("files").contains("say from when: WHERE timestamp >"), "{}", text_of("files"));
    } else {
        for name in ["sql", "files"] {
            assert!(text_of(name).contains("SELECT is SQL, which this Quiver was built without"), "{}", text_of(name));
        }
    }
}
