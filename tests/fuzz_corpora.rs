//! Every input that fuzzing has left behind: what it found once, it would find again here.

use std::path::{Path, PathBuf};

use quiver::testing::fuzzing::TARGETS;

/// As a server's worker threads have it.
const STACK_BYTES: usize = 2 << 20;

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = Path::new("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_target_holds_over_its_corpus() {
    for (name, body) in TARGETS {
        let paths = inputs(name);
        assert!(!paths.is_empty(), "{name} has no corpus");
        for path in paths {
            let input = std::fs::read(&path).expect("a readable file");
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || body(&input));
            assert!(thread.expect("a thread starts").join().is_ok(), "{} breaks a promise", path.display());
        }
    }
}
