//! Real Prometheus servers: blocks from OpenMetrics text, a free port, an end by process id.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Process;

/// The programs, and what they say they are.
pub struct Programs {
    prometheus: PathBuf,
    promtool: PathBuf,
    /// `prometheus, version 2.42.0 …`
    pub version: String,
}

impl Programs {
    /// From `QUIVER_TEST_PROMETHEUS` and `QUIVER_TEST_PROMTOOL`, or from the path; `None` if there are none.
    pub fn find() -> Option<Self> {
        let named = |variable: &str, name: &str| PathBuf::from(std::env::var_os(variable).unwrap_or(name.into()));
        let prometheus = named("QUIVER_TEST_PROMETHEUS", "prometheus");
        let promtool = named("QUIVER_TEST_PROMTOOL", "promtool");
        let version = version_of(&prometheus)?;
        version_of(&promtool)?;
        Some(Self { prometheus, promtool, version })
    }

    /// 2 of `prometheus, version 2.42.0+ds (branch: …`.
    pub fn major_version(&self) -> u32 {
        let number = self.version.split_once("version ").and_then(|(_, rest)| rest.split('.').next());
        let number = number.and_then(|major| major.trim_start_matches('v').parse().ok());
        number.unwrap_or_else(|| panic!("no version in {:?}", self.version))
    }

    /// Gated features that are on, on both sides.
    pub fn features(&self) -> &'static str {
        if self.major_version() >= 3 { FEATURES_OF_3 } else { "" }
    }
}

/// Gated features of a Prometheus 3 that the gateway has, too.
const FEATURES_OF_3: &str = "promql-experimental-functions,promql-extended-range-selectors,promql-binop-fill-modifiers";

/// The first line that `--version` prints; old versions print it to the error stream.
fn version_of(program: &Path) -> Option<String> {
    match Command::new(program).arg("--version").output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{} cannot be run: {error}", program.display()),
    }
}

/// Between choosing a free port and listening on it another process may take it.
const PORTS_TRIED: usize = 10;

/// A running server with its data. It is killed when this is dropped, also by a panic.
pub struct PrometheusServer {
    _process: Process,
    _folder: tempfile::TempDir,
    address: String,
}

impl PrometheusServer {
    /// A server that holds what the text says, with `external_labels` (as YAML writes them).
    pub fn start(programs: &Programs, open_metrics: &str, external_labels: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        make_blocks(programs, folder.path(), open_metrics);
        let config = format!("global: {{evaluation_interval: 1m, external_labels: {{{external_labels}}}}}\n");
        Self::run(programs, folder, &config)
    }

    /// A server that holds nothing yet and keeps exemplars.
    pub fn start_with_config(programs: &Programs, config: &str) -> Self {
        Self::run(programs, tempfile::tempdir().expect("a temporary folder"), config)
    }

    /// A server without data of its own that reads all samples from the gateway at `host:port`.
    pub fn start_reading(programs: &Programs, gateway: &str) -> Self {
        let read = format!("remote_read: [{{url: \"http://{gateway}/api/v1/read\", read_recent: true}}]\n");
        Self::start_with_config(programs, &format!("global: {{evaluation_interval: 1m}}\n{read}"))
    }

    fn run(programs: &Programs, folder: tempfile::TempDir, config: &str) -> Self {
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("writable");
        for _ in 0..PORTS_TRIED {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            drop(listener);
            let mut command = Command::new(&programs.prometheus);
            command
                .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg("--storage.tsdb.retention.time=10000d")
                .arg(format!("--enable-feature=exemplar-storage,{}", programs.features()))
                .arg(format!("--web.listen-address={address}"));
            match Process::start(&mut command, "Server is ready to receive web requests") {
                Ok(process) => return Self { _process: process, _folder: folder, address },
                Err(said) if said.contains("address already in use") => {}
                Err(said) => panic!("prometheus does not start:\n{said}"),
            }
        }
        panic!("{PORTS_TRIED} free ports were taken before prometheus could listen on them");
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn make_blocks(programs: &Programs, folder: &Path, open_metrics: &str) {
    let text = folder.join("samples.txt");
    std::fs::write(&text, open_metrics).expect("a writable folder");
    let mut promtool = Command::new(&programs.promtool);
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(&text).arg(folder.join("data"));
    let made = promtool.output().expect("promtool starts");
    assert!(made.status.success(), "promtool makes no blocks: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::remove_file(text).expect("written above");
}
