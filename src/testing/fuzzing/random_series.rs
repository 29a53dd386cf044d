//! Random series for random queries.

use std::sync::LazyLock;

use super::choices::Choices;
use super::parser::ALL_FEATURES;
use super::query_generator::Vocabulary;
use crate::model::{Labels, Sample, stale_marker};
use crate::testing::{MemoryStore, SequenceValue, TimedSample, parse_labels, parse_values};

/// When the last samples were taken.
pub(super) const END_MS: i64 = SAMPLE_COUNT * INTERVAL_MS;

const SAMPLE_COUNT: i64 = 48;
const INTERVAL_MS: i64 = 15_000;

/// Names of the series, and what can be made of them.
pub(super) const VOCABULARY: Vocabulary = Vocabulary {
    selectors: &[
        "a",
        "b",
        r#"a{job="x"}"#,
        "c_total",
        r#"{__name__=~"a|b"}"#,
        r#"b{job!="x"}"#,
        r#"c_total{instance=~"1|2"}"#,
        "hist",
        "h_bucket",
        r#"hist{job="x"}"#,
        r#"{__name__=~"a|hist"}"#,
        "target_info",
        "nosuch",
        r#"{job="x"}"#,
        r#"{__name__!=""}"#,
        r#"nosuch{job="x", n=~"y"}"#,
    ],
    buckets: &["h_bucket", r#"h_bucket{job="x"}"#, r#"h_bucket{le!="+Inf"}"#, "hist", r#"{job="x"}"#],
    labels: &["job", "instance", "n", "le", "nosuch", "__name__"],
    joins: &[
        ("a", "on (job, instance) group_left (n)", "target_info"),
        ("target_info", "on (instance, job) group_right ()", "b"),
        ("a", "ignoring (n)", "b"),
        ("hist", "on (job, instance)", "a"),
        ("sum by (job) (a)", "", "sum by (job) (c_total)"),
        ("a", "on (job) group_left ()", "max by (job) (b)"),
    ],
    durations: &["1m", "5m", "30s", "15s", "2m", "10m", "1s", "45s", "1h", "1ms", "1d", "100y", "0s"],
    steps: &["", "15s", "30s", "1m", "7s", "1ms", "1h"],
    times: &["start()", "end()", "300", "100.25", "0", "-60", "1e9"],
    features: ALL_FEATURES,
};

/// In the order in which a byte each decides on them.
const SERIES: &[&str] = &[
    r#"a{job="x", instance="1"}"#,
    r#"b{job="x", instance="1"}"#,
    r#"c_total{job="x", instance="1"}"#,
    r#"hist{job="x", instance="1"}"#,
    r#"hist{job="y", instance="1"}"#,
    r#"a{job="x", instance="2"}"#,
    r#"hist{job="x", instance="2"}"#,
    r#"a{job="y", instance="1", n="q"}"#,
    r#"b{job="y", instance="1"}"#,
    r#"target_info{job="x", instance="1", n="i"}"#,
    r#"c_total{job="y", instance="2"}"#,
    r#"h_bucket{job="x", le="1"}"#,
    r#"h_bucket{job="x", le="2.5"}"#,
    r#"h_bucket{job="x", le="+Inf"}"#,
    r#"h_bucket{job="y", le="0.1"}"#,
    r#"h_bucket{job="y", le="+Inf"}"#,
    r#"target_info{job="y", instance="1", n="j"}"#,
    "a",
    r#"b{job="x", instance="1", n="q"}"#,
];

/// Numbers at which arithmetic goes wrong.
const ODD_NUMBERS: &[f64] = &[
    1.0,
    0.0,
    -0.0,
    0.1,
    -3.5,
    1e-300,
    5e-324,
    1e300,
    f64::MAX,
    -f64::MAX,
    9_007_199_254_740_993.0,
    0.333_333_333_333_333_3,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

/// Native histograms, a value a scrape: growing, resting, with other buckets from some time on, by turns with numbers.
const HISTOGRAMS: &[&str] = &[
    "{{schema:0 sum:5 count:4 buckets:[1 2 1]}}+{{schema:0 sum:2 count:2 buckets:[1 0 1]}}x47",
    "{{schema:1 sum:10 count:9 z_bucket:2 z_bucket_w:0.01 buckets:[1 2] n_buckets:[3 1] n_offset:-2 offset:-1}}x47",
    "{{schema:-53 sum:5 count:4 custom_values:[1 2.5] buckets:[1 2 1]}}+{{schema:-53 sum:1 count:1 custom_values:[1 2.5] buckets:[0 1]}}x47",
    "{{schema:-53 sum:5 count:4 custom_values:[1 2.5] buckets:[1 2 1]}}x23 {{schema:-53 sum:2 count:3 custom_values:[1 5] buckets:[1 1 1]}}x23",
    "{{schema:0 sum:5 count:4 buckets:[1 2 1]}}x15 {{schema:3 sum:7 count:6 offset:5 buckets:[1 0 0 2 0 3]}}x15 {{}}x15",
    "{{schema:0 sum:3 count:2 buckets:[1 1] counter_reset_hint:gauge}}+{{schema:0 sum:-1 count:0.5 buckets:[0.5 0] counter_reset_hint:gauge}}x47",
    "1x15 {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x15 3x15",
    "{{schema:0 sum:nan count:1 buckets:[1]}}x23 {{schema:-4 sum:inf count:1e300 offset:2 buckets:[1e300]}}x23",
    "{{schema:0 sum:5 count:4 buckets:[1 2 1]}}x23 {{schema:-53 sum:5 count:4 custom_values:[1 2.5] buckets:[1 2 1]}}x23",
];

static HISTOGRAM_VALUES: LazyLock<Vec<Vec<SequenceValue>>> = LazyLock::new(|| {
    let values = HISTOGRAMS.iter().map(|notation| parse_values(notation).expect("well-formed"));
    values.collect()
});

/// Series with their samples, most of the names; at times that are regular for some and not for others.
pub(super) fn random_series(choices: &mut Choices<'_>) -> Vec<(Labels, Vec<TimedSample>)> {
    let mut all = Vec::new();
    for name in SERIES {
        if choices.chance(25) {
            continue;
        }
        let (labels, _) = parse_labels(name).expect("well-formed");
        let holds_histograms = labels.get("__name__") == Some("hist");
        let mut samples = if holds_histograms { histograms(choices) } else { numbers(choices) };
        if choices.chance(50) {
            // Later by less than the interval: still in order.
            samples.iter_mut().for_each(|sample| sample.time += choices.below(INTERVAL_MS as usize - 10) as i64);
        }
        if choices.chance(20) {
            let length = samples.len();
            samples.truncate(choices.below(length + 1));
        }
        all.push((labels, samples));
    }
    all
}

/// Fills a store, its parts in turn, with as many series as there are choices for.
pub(super) fn fill_store(store: &MemoryStore, part_count: usize, choices: &mut Choices<'_>) {
    for (at, name) in SERIES.iter().enumerate() {
        if choices.is_used_up() {
            return;
        }
        let (labels, _) = parse_labels(name).expect("well-formed");
        let holds_histograms = labels.get("__name__") == Some("hist");
        let samples = if holds_histograms { histograms(choices) } else { numbers(choices) };
        store.append_to_part(at % part_count, &labels, samples).expect("times ascend");
    }
}

/// When scrape `at` of a series was.
fn time(at: i64, period: i64) -> i64 {
    at * INTERVAL_MS + period * 250
}

fn numbers(choices: &mut Choices<'_>) -> Vec<TimedSample> {
    let form = choices.below(7);
    let odd = *choices.pick(&ODD_NUMBERS.iter().collect::<Vec<_>>());
    let period = 2 + choices.below(16) as i64;
    let (first, last) = match form {
        5 => (period, SAMPLE_COUNT),
        6 => (0, SAMPLE_COUNT - period),
        _ => (0, SAMPLE_COUNT),
    };
    let value = |at: i64| match form {
        0 => Some(odd),
        1 => Some((at * period) as f64),
        // A counter that starts again.
        2 => Some(((at % period) * period) as f64),
        3 if at % period == 0 => None,
        3 if at % period == 1 => Some(stale_marker()),
        4 if at % period == 0 => Some(odd),
        _ => Some(1.5 * at as f64 - period as f64),
    };
    let sample = |at| {
        let sample = Sample::Float(value(at)?);
        Some(TimedSample { time: time(at, period), start_time: None, sample })
    };
    (first..last).filter_map(sample).collect()
}

fn histograms(choices: &mut Choices<'_>) -> Vec<TimedSample> {
    let values = &HISTOGRAM_VALUES[choices.below(HISTOGRAM_VALUES.len())];
    let form = choices.below(3);
    let period = 2 + choices.below(16) as i64;
    let sample = |at: i64| {
        let sample = match form {
            1 if at % period == 0 => return None,
            2 if at % period == 0 => Sample::Float(stale_marker()),
            _ => values.get(usize::try_from(at).ok()?)?.sample()?,
        };
        Some(TimedSample { time: time(at, period), start_time: None, sample })
    };
    (0..SAMPLE_COUNT).filter_map(sample).collect()
}

#[test]
fn every_name_is_well_formed_and_stands_once() {
    let labels: std::collections::BTreeSet<_> = SERIES.iter().map(|name| parse_labels(name).expect(name).0).collect();
    assert_eq!(labels.len(), SERIES.len());
    for values in HISTOGRAM_VALUES.iter() {
        assert_eq!(values.len() as i64, SAMPLE_COUNT);
    }
}
