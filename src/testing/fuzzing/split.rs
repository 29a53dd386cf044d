//! Random series, split at random over groups and replicas, and a random query: the gateway must answer what one server with
//! all of them answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::choices::Choices;
use super::parser::ALL_FEATURES;
use super::query_generator::{QueryGenerator, Vocabulary};
use super::random_series::{END_MS, VOCABULARY, random_series};
use crate::error::{Error, ErrorKind};
use crate::model::{
    CounterResetHint, DurationMs, Labels, LabelsBuilder, NativeHistogram, Sample, StepGrid, TimestampMs,
};
use crate::query::{EngineOptions, QueryEngine};
use crate::testing::promqltest::{Answer, Evaluator, TestSeries};
use crate::testing::{
    GroupShape, MemoryStore, PlacedSamples, SequenceValue, TestGateway, TimedSample, Transport, format_labels,
};

/// The label by which groups are told apart, where they are.
const GROUP_LABEL: &str = "sg";

/// Levels of the longest queries.
const LEVELS_MAX: usize = 4;

/// Enough for every query that is over in time.
const SAMPLES_MAX: u64 = 200_000;

/// The names of the series, and the label of the groups.
const SPLIT_VOCABULARY: Vocabulary = Vocabulary {
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
        r#"a{sg="g0"}"#,
        r#"c_total{sg=~"g[12]"}"#,
        r#"{sg!="g0", job="x"}"#,
        r#"{job="x"}"#,
        r#"{__name__!=""}"#,
        r#"nosuch{job="x", n=~"y"}"#,
    ],
    labels: &["job", "instance", "n", "le", "sg", "__name__"],
    ..VOCABULARY
};

/// How exactly two answers must agree.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Tolerance {
    /// To the last bit.
    Exact,
    /// Floats may differ by this part of the larger one: additions were made in another order.
    Relative(f64),
}

/// Data, a split of them, and a query.
#[derive(Debug)]
pub struct SplitCase {
    seed: u64,
    union: Vec<TestSeries>,
    shapes: Vec<GroupShape>,
    stored: Vec<(Labels, Vec<PlacedSamples>)>,
    query: String,
    grid: StepGrid,
    is_instant: bool,
}

impl SplitCase {
    /// The case of a seed. A plain one has only what JSON can carry: no histograms and no stale markers.
    pub fn from_seed(seed: u64, plain: bool) -> Self {
        let mut choices = Choices::from_seed(seed);
        let mut union = random_series(&mut choices);
        if plain {
            for (_, samples) in &mut union {
                samples.retain(|item| matches!(item.sample, Sample::Float(_)) && !item.sample.is_stale_marker());
            }
        }
        union.retain(|(_, samples)| !samples.is_empty());
        let mut split = Split::random(&mut choices);
        let mut stored = Vec::new();
        for (labels, samples) in &mut union {
            let group = choices.below(split.shapes.len());
            let own = labels.clone();
            if split.is_labelled {
                let mut builder = LabelsBuilder::from(&*labels);
                builder.set(GROUP_LABEL, &split.shapes[group].name);
                *labels = builder.finish();
            }
            let placed = split.place(group, samples, &mut choices);
            stored.push((own, placed));
        }
        let start = choices.below(256) as i64 * END_MS / 200 - 60_000;
        let step = [30_000, 15_000, 1_000, 60_000, 7_000, 300_000, 1, 45_500][choices.below(8)];
        let is_instant = choices.chance(30);
        let count = if is_instant { 1 } else { 1 + choices.below(24) };
        let grid = StepGrid::with_count(TimestampMs(start), DurationMs(step), count);
        let levels = choices.below(LEVELS_MAX + 1);
        let query = QueryGenerator::new(&SPLIT_VOCABULARY, &mut choices).query(levels);
        Self { seed, union, shapes: split.shapes, stored, query, grid, is_instant }
    }

    /// What the engines on both sides are told.
    pub fn engine_options() -> EngineOptions {
        EngineOptions {
            timeout: Duration::from_secs(10),
            samples_max: SAMPLES_MAX,
            features: ALL_FEATURES,
            ..EngineOptions::default()
        }
    }

    /// Asks one server with everything, and a gateway in front of the split.
    ///
    /// # Errors
    /// What differs, with everything that is needed to see why.
    pub async fn check(&self, transport: Transport, tolerance: Tolerance) -> Result<(), String> {
        let store = MemoryStore::new();
        for (labels, samples) in &self.union {
            store
                .append_to_part(0, labels, samples.iter().cloned())
                .map_err(|error| self.report(&error.to_string()))?;
        }
        let one = QueryEngine::new(Arc::new(store), Self::engine_options());
        let expected = self.ask(&one).await;
        let gateway = TestGateway::start(&self.shapes, transport, Self::engine_options()).await;
        let gateway = gateway.map_err(|error| self.report(&error.to_string()))?;
        for (labels, placed) in &self.stored {
            gateway.hold(labels, placed.clone()).map_err(|error| self.report(&error.to_string()))?;
        }
        let got = self.ask(gateway.engine()).await;
        let difference = match (&expected, &got) {
            (Err(one), _) | (_, Err(one)) if is_over_budget(one) => None,
            (Ok(expected), Ok(got)) => expected.difference(got, tolerance),
            // Which of several errors comes first is open.
            (Err(expected), Err(got)) if expected.kind() == got.kind() => None,
            (expected, got) => Some(format!("expected {expected:?}\ngot {got:?}")),
        };
        difference.map_or(Ok(()), |difference| Err(self.report(&difference)))
    }

    async fn ask(&self, engine: &QueryEngine) -> Result<Cells, Error> {
        let answer = match self.is_instant {
            true => Evaluator::instant(engine, &self.query, self.grid.start()).await?,
            false => Evaluator::range(engine, &self.query, self.grid, self.grid.last()).await?,
        };
        let mut notes: Vec<String> = answer.warnings.into_iter().chain(answer.infos).collect();
        notes.sort();
        Ok(Cells { rows: rows_of(answer.answer), notes })
    }

    /// The query, and who holds what of the series that it may be about.
    fn report(&self, difference: &str) -> String {
        let mut text = format!("seed {}: {}\n", self.seed, self.query);
        // Writing to a String does not fail.
        let _ = match self.is_instant {
            true => writeln!(text, "at {} ms", self.grid.start().0),
            false => writeln!(text, "on {:?}", self.grid),
        };
        for shape in &self.shapes {
            let _ = writeln!(text, "{shape:?}");
        }
        for (labels, placed) in &self.stored {
            for PlacedSamples { group, replica, samples } in placed {
                let _ = write!(text, "group {group} replica {replica} {}", format_labels(labels));
                for TimedSample { time, sample, .. } in samples {
                    let _ = write!(text, " {time}:{}", SequenceValue::from(sample.clone()));
                }
                text.push('\n');
            }
        }
        text + difference
    }
}

fn is_over_budget(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TooManySamples | ErrorKind::Timeout)
}

/// An answer as it can be compared.
#[derive(Debug)]
struct Cells {
    /// Labels, and time → sample.
    rows: BTreeMap<String, BTreeMap<i64, Sample>>,
    notes: Vec<String>,
}

fn rows_of(answer: Answer) -> BTreeMap<String, BTreeMap<i64, Sample>> {
    let scalar = |value| BTreeMap::from([("a scalar".to_owned(), BTreeMap::from([(0, Sample::Float(value))]))]);
    match answer {
        Answer::Scalar(value) => scalar(value),
        Answer::String(text) => BTreeMap::from([(text, BTreeMap::new())]),
        Answer::Vector(series) => {
            series.into_iter().map(|(labels, sample)| (format_labels(&labels), BTreeMap::from([(0, sample)]))).collect()
        }
        Answer::Matrix(series) => {
            let row =
                |(labels, points): (Labels, Vec<(i64, Sample)>)| (format_labels(&labels), points.into_iter().collect());
            series.into_iter().map(row).collect()
        }
    }
}

impl Cells {
    fn difference(&self, got: &Self, tolerance: Tolerance) -> Option<String> {
        for labels in self.rows.keys().chain(got.rows.keys()) {
            let (Some(expected), Some(got)) = (self.rows.get(labels), got.rows.get(labels)) else {
                let missing = if got.rows.contains_key(labels) { "is too many" } else { "is missing" };
                return Some(format!("{labels} {missing}"));
            };
            for time in expected.keys().chain(got.keys()) {
                let (expected, got) = (expected.get(time), got.get(time));
                if !is_same(expected, got, tolerance) {
                    let text = |sample: Option<&Sample>| {
                        sample.map_or_else(
                            || "nothing".to_owned(),
                            |sample| SequenceValue::from(sample.clone()).to_string(),
                        )
                    };
                    return Some(format!("{labels} at {time}: expected {}, got {}", text(expected), text(got)));
                }
            }
        }
        (self.notes != got.notes).then(|| format!("expected notes {:?}\ngot {:?}", self.notes, got.notes))
    }
}

fn is_same(expected: Option<&Sample>, got: Option<&Sample>, tolerance: Tolerance) -> bool {
    match (expected, got) {
        (None, None) => true,
        (Some(Sample::Float(expected)), Some(Sample::Float(got))) => match tolerance {
            Tolerance::Exact => expected.to_bits() == got.to_bits() || expected.is_nan() && got.is_nan(),
            Tolerance::Relative(part) => is_close(*expected, *got, part),
        },
        (Some(Sample::Histogram(expected)), Some(Sample::Histogram(got))) => match tolerance {
            Tolerance::Exact => {
                let text = |histogram| SequenceValue::from(Sample::Histogram(without_hint(histogram))).to_string();
                text(expected) == text(got)
            }
            Tolerance::Relative(part) => {
                is_close(expected.sum, got.sum, part) && is_close(expected.count, got.count, part)
            }
        },
        _ => false,
    }
}

/// That a histogram continues the one before it is known to who holds both; `unknown` says nothing else. Any other hint stays.
fn without_hint(histogram: &Arc<NativeHistogram>) -> Arc<NativeHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::NotReset => {
            let counter_reset_hint = CounterResetHint::Unknown;
            Arc::new(NativeHistogram { counter_reset_hint, ..(**histogram).clone() })
        }
        CounterResetHint::Unknown | CounterResetHint::Reset | CounterResetHint::Gauge => Arc::clone(histogram),
    }
}

fn is_close(expected: f64, got: f64, part: f64) -> bool {
    expected == got
        || expected.is_nan() && got.is_nan()
        || (expected - got).abs() <= part * expected.abs().max(got.abs())
}

/// How series go to groups, and samples to replicas.
#[derive(Debug)]
struct Split {
    shapes: Vec<GroupShape>,
    /// Every group adds its name as a label, which the union has too.
    is_labelled: bool,
    /// A series may be in several groups: the older samples in one, the newer in another, or in runs by turns.
    across_groups: Across,
}

#[derive(Copy, Clone, PartialEq, Debug)]
enum Across {
    /// A series is in one group.
    Series,
    /// The older part of every series is in one group, the newer in another, with some samples in both.
    Time,
    /// Each run of samples is in one or more groups.
    Runs,
}

/// Samples at least so far apart are not one scrape, by the windows that are configured here.
const ANTI_AFFINITY: [DurationMs; 2] = [DurationMs(0), DurationMs(1)];

impl Split {
    fn random(choices: &mut Choices<'_>) -> Self {
        let group_count = 1 + choices.below(3);
        let across_groups = [Across::Series, Across::Series, Across::Time, Across::Runs][choices.below(4)];
        let across_groups = if group_count == 1 { Across::Series } else { across_groups };
        let is_labelled = across_groups == Across::Series && choices.chance(40);
        let disjoint = across_groups == Across::Series && !is_labelled && choices.chance(40);
        let shape = |at: usize, choices: &mut Choices<'_>| {
            let name = format!("g{at}");
            let labels = if is_labelled { Labels::from_pairs([(GROUP_LABEL, &*name)]) } else { Labels::default() };
            let anti_affinity = ANTI_AFFINITY[choices.below(2)];
            GroupShape { disjoint, labels, anti_affinity, ..GroupShape::new(name, 1 + choices.below(3)) }
        };
        Self { shapes: (0..group_count).map(|at| shape(at, choices)).collect(), is_labelled, across_groups }
    }

    /// Each sample goes to at least one replica.
    fn place(&mut self, group: usize, samples: &[TimedSample], choices: &mut Choices<'_>) -> Vec<PlacedSamples> {
        let mut placed = Vec::new();
        for (group, samples) in self.groups_of(group, samples, choices) {
            let replica_count = self.shapes[group].replica_count;
            let everybody = (1_usize << replica_count) - 1;
            // Whole replicas are the rule.
            let whole = choices.chance(30);
            let holders =
                runs(samples.len(), choices, |choices| if whole { everybody } else { 1 + choices.below(everybody) });
            for replica in 0..replica_count {
                let held = samples.iter().zip(&holders).filter(|(_, holders)| *holders >> replica & 1 == 1);
                let held: Vec<_> = held.map(|(sample, _)| sample.clone()).collect();
                if !held.is_empty() {
                    placed.push(PlacedSamples { group, replica, samples: held });
                }
            }
        }
        placed
    }

    fn groups_of(
        &self,
        group: usize,
        samples: &[TimedSample],
        choices: &mut Choices<'_>,
    ) -> Vec<(usize, Vec<TimedSample>)> {
        let group_count = self.shapes.len();
        match self.across_groups {
            Across::Series => vec![(group, samples.to_vec())],
            Across::Time => {
                let cut = choices.below(samples.len() + 1);
                let (from, to) = (cut.saturating_sub(choices.below(3)), (cut + choices.below(3)).min(samples.len()));
                vec![(group, samples[..to].to_vec()), ((group + 1) % group_count, samples[from..].to_vec())]
            }
            Across::Runs => {
                let everybody = (1_usize << group_count) - 1;
                let holders = runs(samples.len(), choices, |choices| 1 + choices.below(everybody));
                let of_group = |group: usize| {
                    let held = samples.iter().zip(&holders).filter(|(_, holders)| *holders >> group & 1 == 1);
                    (group, held.map(|(sample, _)| sample.clone()).collect())
                };
                (0..group_count).map(of_group).collect()
            }
        }
    }
}

/// One value for each of `count` samples; runs of up to eight have the same.
fn runs(count: usize, choices: &mut Choices<'_>, mut next: impl FnMut(&mut Choices<'_>) -> usize) -> Vec<usize> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let (value, length) = (next(choices), 1 + choices.below(8));
        values.extend(std::iter::repeat_n(value, length.min(count - values.len())));
    }
    values
}
