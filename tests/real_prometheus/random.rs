//! Random queries at random times, each with a seed of its own that is told with a difference.

use quiver::syntax::Features;
use quiver::testing::fuzzing::{Choices, QueryGenerator, Vocabulary};

use super::api::Question;
use super::compare::Order;
use super::data::{PHASES_MS, SCRAPE_INTERVAL_MS};
use super::questions::{Asked, seconds};

/// So many are asked of a Prometheus 3.14 at every run; `QUIVER_RANDOM_QUERIES` asks for more.
const QUERIES: u64 = 400;

/// Levels of the longest queries.
const LEVELS_MAX: usize = 4;

const VOCABULARY: Vocabulary = Vocabulary {
    selectors: &[
        "up",
        "temperature_celsius",
        r#"http_requests_total{job="api"}"#,
        "cpu_seconds_total",
        r#"cpu_seconds_total{mode!="idle", instance=~".-[01]:.*"}"#,
        "queue_length",
        "memory_bytes",
        "memory_limit_bytes",
        "slow_gauge",
        "odd_value",
        r#"odd_value{kind=~"sometimes.*|zero"}"#,
        "late_gauge",
        "early_gauge",
        "blinking_gauge",
        "pod_seconds",
        r#"up{dc="a"}"#,
        r#"only_in_b"#,
        "build_info",
        "node_meta",
        r#"{__name__=~"memory_.*|queue_length", dc="b"}"#,
        r#"quoted{text!~"(?s).*\n.*"}"#,
        "nosuch",
        r#"nosuch{job="x", dc="a"}"#,
        r#"request_duration_seconds_bucket{path="/"}"#,
        "request_duration_seconds_sum",
    ],
    buckets: &[
        "request_duration_seconds_bucket",
        r#"request_duration_seconds_bucket{path="/", instance="a-0:9100"}"#,
        r#"request_duration_seconds_bucket{le!="0.5"}"#,
        r#"request_duration_seconds_bucket{le!="+Inf"}"#,
    ],
    labels: &["job", "instance", "dc", "mode", "code", "path", "sensor", "kind", "nosuch", "version", "__name__", "le"],
    joins: &[
        ("temperature_celsius", "on (instance, job) group_left (rack, zone)", "node_meta"),
        ("node_meta", "on (instance) group_right (version)", "temperature_celsius"),
        ("memory_bytes", "ignoring (kind) group_left ()", "memory_limit_bytes"),
        ("memory_limit_bytes", "ignoring (kind) group_right ()", "memory_bytes"),
        (r#"memory_bytes{kind="used"}"#, "ignoring (kind)", r#"memory_bytes{kind="free"}"#),
        (r#"queue_length{queue="mail"}"#, "on (instance)", r#"blinking_gauge"#),
        ("late_gauge", "", "early_gauge"),
        ("only_in_b", "on (instance)", "up"),
        ("up", "on (job) group_left ()", "sum by (job) (queue_length)"),
        ("build_info", "on (instance, dc) group_left (rack)", "node_meta"),
    ],
    durations: &[
        "5m",
        "1m",
        "2m30s",
        "90s",
        "30s",
        "15s",
        "10m",
        "17m",
        "1h",
        "45",
        "1s",
        "4m3s250ms",
        "2h",
        "1d",
        "0.5",
    ],
    steps: &["", "30s", "1m", "15s", "40s", "2m", "7s500ms"],
    times: &["start()", "end()", "1774998000.25", "1774998001.125", "1775001000", "0", "1774994400"],
    features: Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        delayed_name_removal: false,
        type_and_unit_labels: false,
        use_start_timestamps: false,
    },
};

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text:?}: {error}")))
}

/// As many questions as `QUIVER_RANDOM_QUERIES` says, from the seed `QUIVER_RANDOM_SEED` on.
pub fn random_questions() -> Vec<Asked> {
    let count = from_environment("QUIVER_RANDOM_QUERIES").unwrap_or(QUERIES);
    let first = from_environment("QUIVER_RANDOM_SEED").unwrap_or(0);
    (first..first.saturating_add(count)).map(random_question).collect()
}

fn random_question(seed: u64) -> Asked {
    let mut choices = Choices::from_seed(seed);
    let on_grid = choices.chance(50);
    let mut start = -300_000 + choices.below(13_500) as i64 * 1_000;
    if choices.chance(50) {
        // On the very samples of one of the instances.
        start += PHASES_MS[choices.below(PHASES_MS.len())] - start.rem_euclid(SCRAPE_INTERVAL_MS);
    }
    let step = [15_000, 60_000, 7_000, 300_000, 2_500, 45_000][choices.below(6)];
    let count = 2 + choices.below(40) as i64;
    let levels = 1 + choices.below(LEVELS_MAX);
    let mut generator = QueryGenerator::new(&VOCABULARY, &mut choices);
    let query = if !on_grid && seed.is_multiple_of(16) { generator.matrix(levels) } else { generator.query(levels) };
    let mut parameters = vec![("query", query.clone())];
    let (path, when) = if on_grid {
        let end = start + step * (count - 1);
        parameters.extend([("start", seconds(start)), ("end", seconds(end))]);
        parameters.push(("step", format!("{}.{:03}", step / 1_000, step % 1_000)));
        ("query_range", format!("from {} to {} step {step}ms", seconds(start), seconds(end)))
    } else {
        parameters.push(("time", seconds(start)));
        ("query", format!("at {}", seconds(start)))
    };
    Asked {
        name: format!("seed {seed}: {query} {when}"),
        question: Question { path: path.to_owned(), parameters, posted: true },
        order: Order::Free,
        may_be_left_open: true,
    }
}
