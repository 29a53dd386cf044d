//! A random query over random series: no panic, nothing without end, and the same answer by every way that must give it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::choices::Choices;
use super::query_generator::QueryGenerator;
use super::random_series::{END_MS, VOCABULARY, fill_store};
use crate::error::{Error, ErrorKind};
use crate::model::{DurationMs, QueryValue, Sample, StepGrid, StepsTable, TimestampMs};
use crate::query::{EngineOptions, QueryEngine, QueryOptions, Rules};
use crate::scan::SelectorForm;
use crate::testing::{MemoryStore, SequenceValue};

/// So many bytes decide on the grid and the series, the others on the query: a change of one does not make another of both.
const DATA_BYTES: usize = 64;

/// Levels of the longest queries.
const LEVELS_MAX: usize = 5;

/// More samples than the series have, and few enough that a query that holds them all is no matter.
const SAMPLES_MAX: u64 = 20_000;

/// What is asked, of what.
struct Case {
    data: Vec<u8>,
    grid: StepGrid,
    query: String,
}

impl Case {
    fn decode(input: &[u8]) -> Self {
        let (data, query) = input.split_at(input.len().min(DATA_BYTES));
        let mut choices = Choices::from_bytes(data);
        let start = choices.below(256) as i64 * END_MS / 200 - 60_000;
        let step = [30_000, 15_000, 1_000, 60_000, 7_000, 300_000, 1, 45_500][choices.below(8)];
        let count = 1 + choices.below(24);
        let grid = StepGrid::with_count(TimestampMs(start), DurationMs(step), count);
        let mut choices = Choices::from_bytes(query);
        let levels = choices.below(LEVELS_MAX + 1);
        let query = QueryGenerator::new(&VOCABULARY, &mut choices).query(levels);
        Self { data: data.to_vec(), grid, query }
    }

    fn engine(&self, parts: &[&str], form: SelectorForm, rules: Rules) -> QueryEngine {
        let store = MemoryStore::with_parts(parts.iter().copied()).answering(form);
        let mut choices = Choices::from_bytes(self.data.get(3..).unwrap_or_default());
        fill_store(&store, parts.len(), &mut choices);
        let options = EngineOptions {
            timeout: Duration::from_secs(5),
            samples_max: SAMPLES_MAX,
            features: VOCABULARY.features,
            rules,
            ..EngineOptions::default()
        };
        QueryEngine::new(Arc::new(store), options)
    }
}

/// Decodes the input into series, a grid and a query, and evaluates it.
///
/// | evaluated | must be |
/// |---|---|
/// | on the grid | an answer, or an error that is not ours |
/// | without the rules that rewrite plans | the same answer, with the same notes |
/// | over two server groups that share the series | the same |
/// | over a source that answers selectors step by step | the same |
/// | at two of the steps alone, but for queries that may differ there | that step of the answer |
pub fn engine(input: &[u8]) {
    let case = Case::decode(input);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("no threads to start");
    runtime.block_on(check(&case));
}

/// The query that an input means, and its grid: what to look at first in a finding.
pub fn describe_engine_input(input: &[u8]) -> String {
    let case = Case::decode(input);
    format!("{} on {:?}", case.query, case.grid)
}

async fn check(case: &Case) {
    let one = case.engine(&["one"], SelectorForm::Samples, Rules::All);
    let answer = evaluate(&one, case).await;
    if let Err(error) = &answer {
        assert_ne!(error.kind(), ErrorKind::Internal, "{error}: {}", case.query);
    }
    let others = [
        ("without rules", case.engine(&["one"], SelectorForm::Samples, Rules::None)),
        ("over two groups", case.engine(&["one", "two"], SelectorForm::Samples, Rules::All)),
        ("over steps", case.engine(&["one"], SelectorForm::Steps, Rules::All)),
    ];
    for (name, engine) in &others {
        let other = evaluate(engine, case).await;
        // Samples and steps are counted each in its own way, and only a rule brings histograms past the two-phase aggregates.
        if is_over_budget(&answer) || is_over_budget(&other) || needs_a_rule(&other) {
            continue;
        }
        assert_eq!(other, answer, "{name}: {} on {:?}", case.query, case.grid);
    }
    if let Ok(answer) = answer
        && is_same_alone(&case.query)
    {
        for step in [0, case.grid.step_count() - 1] {
            check_step(&one, case, &answer, step).await;
        }
    }
}

/// Is the query's answer at a step the same as at that time alone?
///
/// Not where it asks for its grid. Nor where one operator sees the order that another has made: at one time `topk` and `sort`
/// give their series in the order of values, and `topk` takes the first of equals. So it is in Prometheus.
fn is_same_alone(query: &str) -> bool {
    let words = |words: &[&str]| words.iter().map(|word| query.matches(word).count()).sum::<usize>();
    let (grid, order) =
        (["start()", "end()", "step()", "range()"], ["topk", "bottomk", "limitk", "limit_ratio", "sort"]);
    words(&grid) == 0 && words(&order) < 2
}

async fn check_step(engine: &QueryEngine, case: &Case, answer: &Answer, step: usize) {
    let time = case.grid.time(step);
    let at_once = engine.instant(&case.query, time, &QueryOptions::default()).await;
    let got = at_once.map(|result| cells_of(&result.value)).unwrap_or_else(|error| panic!("{error}: {}", case.query));
    let cell = |(labels, cells): (&String, &Vec<String>)| {
        (cells[step] != ABSENT).then(|| (labels.clone(), vec![cells[step].clone()]))
    };
    let expected: BTreeMap<_, _> = answer.rows.iter().filter_map(cell).collect();
    assert_eq!(got, expected, "{} at {time} and on {:?}", case.query, case.grid);
}

/// How a cell without a sample is written.
const ABSENT: &str = "_";

/// What an evaluation gave, in a form that says exactly when two are the same.
#[derive(Debug, PartialEq)]
struct Answer {
    /// A text for each cell of each series.
    rows: BTreeMap<String, Vec<String>>,
    /// Warnings and infos, sorted.
    notes: Vec<String>,
}

async fn evaluate(engine: &QueryEngine, case: &Case) -> Result<Answer, Error> {
    let result = engine.range(&case.query, case.grid, &QueryOptions::default()).await?;
    let mut notes: Vec<String> = result.annotations.iter().map(|note| note.render(&case.query)).collect();
    notes.sort();
    Ok(Answer { rows: cells_of(&result.value), notes })
}

fn is_over_budget(answer: &Result<Answer, Error>) -> bool {
    answer.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::TooManySamples | ErrorKind::Timeout))
}

fn needs_a_rule(answer: &Result<Answer, Error>) -> bool {
    answer.as_ref().is_err_and(|error| error.message() == "partial aggregates of native histograms are never written")
}

fn cell_text(cell: Option<&Sample>) -> String {
    cell.map_or_else(|| ABSENT.to_owned(), |sample| SequenceValue::from(sample.clone()).to_string())
}

fn cells_of(value: &QueryValue) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    match value {
        QueryValue::Scalar { value, .. } => {
            rows.insert("{}".to_owned(), vec![SequenceValue::Float(*value).to_string()]);
        }
        QueryValue::Vector { batches, .. } | QueryValue::Matrix { batches, .. } => {
            for batch in batches {
                let table = StepsTable::try_new(batch).expect("a steps table");
                for row in 0..table.row_count() {
                    let samples = table.samples(row).expect("well-formed histograms");
                    let cells = samples.iter().map(|cell| cell_text(cell.as_ref())).collect();
                    let twice = rows.insert(table.labels(row).to_string(), cells);
                    assert_eq!(twice, None, "{} stands twice in the answer", table.labels(row));
                }
            }
        }
        QueryValue::String { .. } | QueryValue::Samples { .. } => {}
    }
    rows
}
