//! For any data, and any split of them over groups and replicas, the gateway answers what one server with all of them answers.
//!
//! `QUIVER_SPLITS` says how many cases are tried, `QUIVER_SPLITS_SEED` which is the first: a failing case names its seed.

use quiver::runtime::Runtimes;
use quiver::testing::Transport;
use quiver::testing::fuzzing::{SplitCase, Tolerance};

/// Cases of every run.
const CASES: u64 = 300;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text:?}: {error}")))
}

fn check(transport: Transport, plain: bool, share: u64) {
    let count = from_environment("QUIVER_SPLITS").unwrap_or(CASES) / share;
    let first = from_environment("QUIVER_SPLITS_SEED").unwrap_or(0);
    println!("{count} cases over {transport:?}, seeds from {first} on");
    let runtimes = Runtimes::try_new().expect("threads can be started");
    let mut failures = Vec::new();
    for seed in first..first.saturating_add(count) {
        let case = SplitCase::from_seed(seed, plain);
        let checked = runtimes.cpu().spawn(async move { case.check(transport, Tolerance::Exact).await });
        match runtimes.block_on(checked) {
            Ok(Ok(())) => {}
            Ok(Err(difference)) => failures.push(difference),
            Err(panicked) => failures.push(format!("seed {seed}: {panicked}")),
        }
        assert!(failures.len() < 10, "ten of them:\n\n{}", failures.join("\n\n"));
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Most cases need no sockets: the servers are stores that answer as remote read does.
#[test]
fn servers_in_memory_answer_as_one_does() {
    check(Transport::InProcess, false, 1);
}

#[test]
fn servers_with_remote_read_answer_as_one_does() {
    check(Transport::RemoteRead, false, 10);
}

/// What JSON cannot carry is left out of the data.
#[test]
fn servers_that_speak_json_answer_as_one_does() {
    check(Transport::Json, true, 10);
}
