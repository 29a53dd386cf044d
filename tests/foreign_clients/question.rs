//! What is asked, from `questions.txt`.

use std::fmt;

use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z, in ms.
pub const START_MS: i64 = 1_767_225_600_000;

/// A query and its times.
pub struct Question {
    pub query: String,
    pub times: Times,
}

/// All in ms.
#[derive(Copy, Clone)]
pub enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

impl Question {
    /// Call behind `/api/v1/` and its parameters.
    pub fn of_api(&self) -> (&'static str, Vec<(&'static str, String)>) {
        let query = ("query", self.query.clone());
        match self.times {
            Times::Instant(time) => ("query", vec![query, ("time", seconds(time))]),
            Times::Range { start, end, step } => {
                let times = [("start", start), ("end", end), ("step", step)];
                ("query_range", [query].into_iter().chain(times.map(|(name, time)| (name, seconds(time)))).collect())
            }
        }
    }

    /// For the scripts.
    pub fn as_json(&self) -> Value {
        match self.times {
            Times::Instant(time) => json!({"query": self.query, "time_ms": time}),
            Times::Range { start, end, step } => {
                json!({"query": self.query, "start_ms": start, "end_ms": end, "step_ms": step})
            }
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from_start = |time: i64| (time - START_MS) / 1_000;
        match self.times {
            Times::Instant(time) => write!(formatter, "{} at {}", self.query, from_start(time)),
            Times::Range { start, end, step } => {
                write!(
                    formatter,
                    "{} from {} to {} by {}",
                    self.query,
                    from_start(start),
                    from_start(end),
                    step / 1_000
                )
            }
        }
    }
}

/// `1.5` of 1500.
pub fn seconds(time_ms: i64) -> String {
    (time_ms as f64 / 1_000.0).to_string()
}

/// All of them.
pub fn questions() -> Vec<Question> {
    let lines = include_str!("questions.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(read).collect()
}

fn read(line: &str) -> Question {
    let (times, query) = line.split_once(" | ").unwrap_or_else(|| panic!("no query in {line:?}"));
    let mut words = times.split(' ');
    let kind = words.next();
    let numbers: Vec<i64> = words.map(|word| word.parse::<i64>().expect("seconds") * 1_000).collect();
    let times = match (kind, &numbers[..]) {
        (Some("instant"), [time]) => Times::Instant(START_MS + time),
        (Some("range"), [start, end, step]) => {
            Times::Range { start: START_MS + start, end: START_MS + end, step: *step }
        }
        _ => panic!("no times in {line:?}"),
    };
    Question { query: query.to_owned(), times }
}
