//! A server as a process of its own, that ends with the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A server that has said nothing for so long will not come up.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A running process. It is killed when this is dropped, also by a panic.
pub struct Process {
    child: Child,
    /// What it logged until it was ready.
    pub log: String,
}

impl Process {
    /// Returns when a line of the log says that the server is ready. If it ends before, its whole log is the error.
    pub fn start(command: &mut Command, ready: &'static str) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stderr = child.stderr.take().expect("piped");
        let mut process = Self { child, log: String::new() };
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || follow_log(stderr, ready, &sender));
        process.log = told.recv_timeout(START_PATIENCE).unwrap_or_else(|_| Err("no word of it".to_owned()))?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells what was logged until the server was ready, or until it ended; then reads on, so that it never waits for its log.
fn follow_log(stderr: ChildStderr, ready: &str, sender: &mpsc::Sender<Result<String, String>>) {
    let mut log = String::new();
    let mut is_ready = false;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if !is_ready {
            log.push_str(&line);
            log.push('\n');
            if line.contains(ready) {
                is_ready = true;
                // Nobody listens any more once the patience is over.
                let _ = sender.send(Ok(std::mem::take(&mut log)));
            }
        }
    }
    let _ = sender.send(Err(log));
}
