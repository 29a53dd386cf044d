//! When the expressions are asked for, and what is asked about series and labels.
//!
//! The queries look where no sample is: Prometheus 2 and 3 differ on a sample at the left edge of a range.

use super::api::Question;
use super::compare::Order;
use super::data::{PHASES_MS, SCRAPE_INTERVAL_MS, START_MS};
use super::expressions::{Case, cases, cases_of_extended_ranges, cases_of_prometheus_3};

/// A question to both sides.
pub struct Asked {
    pub name: String,
    pub question: Question,
    pub order: Order,
    /// May Prometheus answer now so, now otherwise?
    pub may_be_left_open: bool,
}

/// Start (ms from the start of the data), step (ms), steps.
struct Grid(i64, i64, i64);

const MINUTE: i64 = 60_000;
/// The queries look a quarter of a second behind round times, where no sample is.
const OFF_SCRAPES_MS: i64 = 250;

const GRIDS: [Grid; 5] = [
    // Over a hole of the first group, with each sample at two or three steps.
    Grid(20 * MINUTE + 3_000, 7_000, 100),
    // From one hole of the second group into the other, over midnight, the month's end and the border of two blocks.
    Grid(112 * MINUTE + 2_000, 15_000, 80),
    Grid(50 * MINUTE + 11_000, 60_000, 90),
    // From before the data to behind them.
    Grid(-10 * MINUTE + 7_000, 300_000, 48),
    Grid(69 * MINUTE, 2_500, 60),
];

/// In the holes, on both sides of midnight, in the first minutes, behind the end, and far from all of it.
const INSTANTS_MS: [i64; 8] = [
    25 * MINUTE + 31_000,
    114 * MINUTE + 10_000,
    120 * MINUTE + 4_000,
    165 * MINUTE,
    4 * MINUTE + 40_000,
    213 * MINUTE + 20_000,
    68 * MINUTE + 5_000,
    132 * MINUTE + 59_000,
];

/// Every case at an instant and on a grid, in turn.
pub fn questions() -> Vec<Asked> {
    let mut asked = Vec::new();
    for (at, case) in cases().into_iter().enumerate() {
        asked.push(instant(&case, INSTANTS_MS[at % INSTANTS_MS.len()] + OFF_SCRAPES_MS));
        if !case.instant_only {
            let Grid(start, step, count) = GRIDS[at % GRIDS.len()];
            asked.push(range(&case, &Grid(start + OFF_SCRAPES_MS, step, count)));
        }
    }
    asked
}

/// What only a Prometheus 3 answers as we do: the same cases where they see samples on the very edges of ranges, and
/// cases of its own.
pub fn questions_to_prometheus_3() -> Vec<Asked> {
    at_times(cases_of_prometheus_3().into_iter().chain(cases()), &[on_scrapes])
}

/// What is behind flags.
pub fn questions_behind_flags() -> Vec<Asked> {
    at_times(cases_of_extended_ranges().into_iter(), &[on_scrapes, |time| time + OFF_SCRAPES_MS])
}

fn on_scrapes(time: i64) -> i64 {
    time - time.rem_euclid(SCRAPE_INTERVAL_MS) + PHASES_MS[0]
}

/// Each case at an instant and on a grid, once for each way of moving the times.
fn at_times(cases: impl Iterator<Item = Case>, moves: &[fn(i64) -> i64]) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (at, case) in cases.enumerate() {
        for moved in moves {
            asked.push(instant(&case, moved(INSTANTS_MS[at % INSTANTS_MS.len()])));
            if !case.instant_only {
                let Grid(start, step, count) = GRIDS[at % GRIDS.len()];
                asked.push(range(&case, &Grid(moved(start), step, count)));
            }
        }
    }
    asked
}

/// A time of the API, from milliseconds since the start of the data.
pub fn seconds(offset_ms: i64) -> String {
    let time = START_MS + offset_ms;
    format!("{}.{:03}", time / 1_000, time % 1_000)
}

fn instant(case: &Case, offset_ms: i64) -> Asked {
    let time = seconds(offset_ms);
    let parameters = vec![("query", case.query.clone()), ("time", time.clone())];
    let question = Question { path: "query".to_owned(), parameters, posted: false };
    Asked { name: format!("{} at {time}", case.query), question, order: case.order, may_be_left_open: false }
}

fn range(case: &Case, Grid(start, step, count): &Grid) -> Asked {
    let (start, end) = (seconds(*start), seconds(start + step * (count - 1)));
    let step = format!("{}.{:03}", step / 1_000, step % 1_000);
    let name = format!("{} from {start} to {end} step {step}", case.query);
    let parameters = vec![("query", case.query.clone()), ("start", start), ("end", end), ("step", step)];
    Asked {
        name,
        question: Question { path: "query_range".to_owned(), parameters, posted: true },
        order: Order::Free,
        may_be_left_open: false,
    }
}

/// Questions about series and labels.
pub fn metadata_questions() -> Vec<Asked> {
    let selectors: [&[&str]; 10] = [
        &["up"],
        &[r#"{job="api"}"#],
        &[r#"{__name__=~"late.*|early.*", dc="b"}"#, "only_in_b"],
        &[r#"{dc="a"}"#],
        &[r#"up{dc!="a"}"#, r#"quoted{text=~".*\\\\.*"}"#],
        &[r#"{dc="c"}"#],
        &["nosuch"],
        &[r#"{text!=""}"#],
        &[r#"{__name__=~".+", instance="b-1:9100", dc=~"[ab]"}"#],
        &["up{"],
    ];
    // From before the data to behind them, the last hour, and the first.
    let ranges = [None, Some((-60, 600)), Some((160, 209)), Some((2, 60))];
    let names = ["__name__", "job", "instance", "dc", "text", "le", "version", "nosuch"];
    let mut asked = vec![ask("series", &[], None, false)];
    for (at, matchers) in selectors.iter().enumerate() {
        for (range_at, range) in ranges.into_iter().enumerate() {
            let posted = (at + range_at) % 2 == 0;
            asked.push(ask("series", matchers, range, posted));
            asked.push(ask("labels", matchers, range, posted));
            let name = names[(at + range_at) % names.len()];
            asked.push(ask(&format!("label/{name}/values"), matchers, range, false));
        }
    }
    for name in names {
        asked.extend(ranges.map(|range| ask(&format!("label/{name}/values"), &[], range, false)));
    }
    asked.extend(ranges.map(|range| ask("labels", &[], range, true)));
    asked
}

/// Lists that are cut short, which Prometheus 2 cannot.
pub fn limited_questions() -> Vec<Asked> {
    let mut asked = Vec::new();
    for (path, limit) in [("labels", 2), ("labels", 1_000), ("label/instance/values", 1), ("label/dc/values", 1)] {
        let mut limited = ask(path, &[r#"{job!=""}"#], None, false);
        limited.question.parameters.push(("limit", limit.to_string()));
        limited.name.push_str(&format!(" limit {limit}"));
        asked.push(limited);
    }
    asked
}

/// Start and end in minutes from the start of the data.
fn ask(path: &str, matchers: &[&str], range: Option<(i64, i64)>, posted: bool) -> Asked {
    let mut parameters: Vec<_> = matchers.iter().map(|matcher| ("match[]", (*matcher).to_owned())).collect();
    if let Some((start, end)) = range {
        parameters.extend([("start", seconds(start * MINUTE)), ("end", seconds(end * MINUTE))]);
    }
    let name = format!("{path} {matchers:?} {range:?}");
    Asked {
        name,
        question: Question { path: path.to_owned(), parameters, posted },
        order: Order::Free,
        may_be_left_open: false,
    }
}
