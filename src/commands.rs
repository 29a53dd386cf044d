//! Commands other than serving: `check-config` and `test`, which print their result, and `demo`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::config;
use crate::runtime::Runtimes;
use crate::servergroup::ServerGroupSet;
use crate::telemetry::{LogFormat, LogLevel, init_logging};
use crate::testing::demo::{Demo, DemoOptions, clock_now};
use crate::testing::promqltest::{Counts, RunOptions, excuse_lines, run_files};
use crate::testing::run_parser_cases;

/// Everything that can be checked without the network: the file, and that clients can be made from it.
///
/// # Errors
/// Every problem of the file, a line each.
pub(crate) fn check_config(file: &Path) -> Result<(), String> {
    let report = config::check(file).map_err(|error| error.to_string())?;
    let config = config::load_with_warnings(file).map_err(|error| error.to_string())?.config;
    ServerGroupSet::try_new(&config.promxy).map_err(|error| error.to_string())?;
    print(&report.to_string())
}

/// Runs files in Prometheus' test format and prints a report that ends with `N passed, M failed, K skipped`; or, with
/// `print_excuses`, the lines of the list of excused cases that the run makes.
///
/// # Errors
/// When a case has failed that is not excused, or one has passed that is.
pub(crate) fn test_promql(files: Vec<PathBuf>, options: RunOptions, print_excuses: bool) -> Result<(), String> {
    let runtimes = Runtimes::try_new().map_err(|error| format!("cannot start threads: {error}"))?;
    let way = options.way;
    let run = runtimes.cpu().spawn(async move { run_files(files, &options).await });
    let report = runtimes.block_on(run).map_err(|error| error.to_string())?;
    if print_excuses {
        return print(&excuse_lines(&report, way));
    }
    print(&report.to_string())?;
    match report.counts() {
        Counts { failed: 0, needlessly_excused: 0, .. } => Ok(()),
        Counts { failed: 0, needlessly_excused, .. } => {
            Err(format!("cases that passed though excused: {needlessly_excused}"))
        }
        Counts { failed, .. } => Err(format!("cases that failed: {failed}")),
    }
}

/// Runs files of parser cases and prints `N passed, M failed` behind the failures.
///
/// # Errors
/// When a case has failed, or a file is none.
pub(crate) fn test_parser(files: &[PathBuf]) -> Result<(), String> {
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let report = run_parser_cases(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for failure in &report.failures {
            print(failure)?;
        }
        passed += report.passed;
        failed += report.failed;
    }
    print(&format!("{passed} passed, {failed} failed"))?;
    match failed {
        0 => Ok(()),
        failed => Err(format!("cases that failed: {failed}")),
    }
}

/// Runs the demo until a signal ends it.
///
/// # Errors
/// An address that cannot be bound.
pub(crate) fn demo(bind_addr: String, grpc_bind_addr: String) -> Result<(), String> {
    init_logging(LogLevel::Warn, LogFormat::Text);
    let runtimes = Runtimes::try_new().map_err(|error| format!("cannot start threads: {error}"))?;
    let cpu = Some(runtimes.cpu());
    let grpc_bind_addr = (grpc_bind_addr != "none").then_some(grpc_bind_addr);
    runtimes.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| format!("cannot listen for signals: {error}"))?;
        let demo = Demo::start(&DemoOptions { bind_addr, grpc_bind_addr, cpu }, clock_now()).await?;
        print(&demo.banner())?;
        tokio::select! {
            () = demo.run() => Ok(()),
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(|error| format!("cannot listen for signals: {error}")),
        }
    })
}

fn print(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{}", text.trim_end()).map_err(|error| format!("cannot print: {error}"))
}
