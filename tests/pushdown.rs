//! Pushdown over parts that evaluate by themselves: what they compute, put together, is what the engine computes of all samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use quiver::error::{Error, ErrorKind};
use quiver::model::{
    DurationMs, EvaluatedBy, EvaluationMode, Labels, MetadataRequest, MetricMetadata, QueryContext, QueryValue, Sample,
    SamplesTableBuilder, SeriesStream, StepGrid, StepsTable, TimestampMs, stale_marker,
};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions, QueryResult};
use quiver::scan::{ScanRequest, SelectorForm, SeriesSource};
use quiver::servergroup::{EvaluateRequest, Evaluated, ExactScope, Judgement};
use quiver::syntax::Features;
use quiver::testing::fuzzing::{Choices, QueryGenerator, Vocabulary};
use quiver::testing::{MemoryStore, TimedSample, parse_labels};

/// What a part does when it is asked to evaluate.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Part {
    /// Evaluates.
    Evaluates,
    /// Is known not to.
    CannotBeAsked,
    /// Turns out not to.
    Refuses,
}

/// A store in parts, each with an engine of its own, as a server has one.
#[derive(Debug)]
struct EvaluatingParts {
    whole: MemoryStore,
    engines: Vec<QueryEngine>,
    parts: Vec<Part>,
}

impl EvaluatingParts {
    fn new(parts: &[Part]) -> Self {
        let names: Vec<String> = (0..parts.len()).map(|part| format!("p{part}")).collect();
        Self {
            whole: MemoryStore::with_parts(names.iter().map(String::as_str)),
            engines: Vec::new(),
            parts: parts.to_vec(),
        }
    }

    fn with(mut self, series: &[(usize, Labels, Vec<TimedSample>)]) -> Self {
        for part in 0..self.parts.len() {
            let own = MemoryStore::new();
            for (_, labels, samples) in series.iter().filter(|(of, ..)| *of == part) {
                own.append_to_part(0, labels, samples.clone()).expect("times ascend");
                self.whole.append_to_part(part, labels, samples.clone()).expect("times ascend");
            }
            self.engines.push(QueryEngine::new(Arc::new(own), EngineOptions::default()));
        }
        self
    }
}

/// An answer as a server's JSON would give it: the steps at which there is a number.
fn answer(value: &QueryValue, grid: StepGrid) -> Option<RecordBatch> {
    let (QueryValue::Vector { batches, .. } | QueryValue::Matrix { batches, .. }) = value else {
        panic!("a vector: {value:?}")
    };
    let mut builder = SamplesTableBuilder::default();
    for batch in batches {
        let table = StepsTable::try_new(batch).expect("a steps table");
        for row in 0..table.row_count() {
            for (step, sample) in table.samples(row).expect("well-formed").into_iter().enumerate() {
                match sample {
                    None => {}
                    Some(Sample::Float(value)) => builder.push_sample(grid.time(step).0, value),
                    Some(Sample::Histogram(_)) => return None,
                }
            }
            builder.finish_series(table.labels(row).as_bytes());
        }
    }
    Some(builder.finish())
}

#[async_trait]
impl SeriesSource for EvaluatingParts {
    fn part_names(&self) -> Vec<String> {
        self.whole.part_names()
    }

    fn selector_form(&self) -> SelectorForm {
        self.whole.selector_form()
    }

    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        self.whole.open(scan, context)
    }

    fn evaluates(&self) -> bool {
        true
    }

    fn judge(&self, request: &EvaluateRequest, _: &QueryContext) -> Vec<Judgement> {
        let judge = |part: &Part| match part {
            // No label tells the parts apart.
            _ if request.may_unite_names() => Judgement::exact("names go"),
            Part::CannotBeAsked => Judgement::exact("cannot be asked"),
            Part::Evaluates | Part::Refuses => Judgement::ask("evaluates"),
        };
        self.parts.iter().map(judge).collect()
    }

    async fn evaluate(&self, part: usize, request: &EvaluateRequest, _: &QueryContext) -> Result<Evaluated, Error> {
        assert_ne!(self.parts[part], Part::CannotBeAsked);
        if self.parts[part] == Part::Refuses {
            return Ok(Evaluated::needs_exact("refuses"));
        }
        let options = QueryOptions { lookback: Some(request.lookback), ..QueryOptions::default() };
        let (mut tables, mut annotations) = (Vec::new(), Vec::new());
        let needs_exact = |reason: String| Ok(Evaluated::NeedsExact { scope: ExactScope::All, reason });
        for expression in &request.expressions {
            let text = expression.to_string();
            let answered = match request.grid.step_count() {
                1 => self.engines[part].instant(&text, request.grid.start(), &options).await,
                _ => self.engines[part].range(&text, request.grid, &options).await,
            };
            let answered = match answered {
                Ok(answered) => answered,
                Err(error) if matches!(error.kind(), ErrorKind::Execution | ErrorKind::TooManySamples) => {
                    return needs_exact(error.to_string());
                }
                Err(error) => panic!("{text}: {error}"),
            };
            let Some(table) = answer(&answered.value, request.grid) else {
                return needs_exact("histograms".to_owned());
            };
            tables.push(vec![table]);
            annotations.extend(answered.annotations.into_iter().map(|mut noted| {
                noted.span = None;
                noted
            }));
        }
        Ok(Evaluated::Answered { tables, annotations, reason: "evaluated".to_owned(), held: Vec::new() })
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        self.whole.label_names(request, context).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.whole.label_values(name, request, context).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.whole.series(request, context).await
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.whole.metric_metadata(metric, context).await
    }
}

fn in_mode(mode: EvaluationMode) -> QueryOptions {
    QueryOptions { mode: Some(mode), ..QueryOptions::default() }
}

async fn evaluate(
    engine: &QueryEngine,
    query: &str,
    grid: StepGrid,
    mode: EvaluationMode,
) -> Result<QueryResult, Error> {
    match grid.step_count() {
        1 => engine.instant(query, grid.start(), &in_mode(mode)).await,
        _ => engine.range(query, grid, &in_mode(mode)).await,
    }
}

fn cells(value: &QueryValue) -> BTreeMap<String, Vec<Option<f64>>> {
    let mut rows = BTreeMap::new();
    match value {
        QueryValue::Scalar { value, .. } => {
            rows.insert("scalar".to_owned(), vec![Some(*value)]);
        }
        QueryValue::Vector { batches, .. } | QueryValue::Matrix { batches, .. } => {
            for batch in batches {
                let table = StepsTable::try_new(batch).expect("a steps table");
                for row in 0..table.row_count() {
                    rows.insert(table.labels(row).to_string(), table.row(row).collect());
                }
            }
        }
        QueryValue::String { .. } | QueryValue::Samples { .. } => {}
    }
    rows
}

fn is_close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a == b
                || (a.is_nan() && b.is_nan())
                || ((a - b).abs().is_finite() && (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

const VOCABULARY: Vocabulary = Vocabulary {
    selectors: &["a", "b_total", r#"a{job="x"}"#, r#"{__name__=~"a|b_total"}"#, r#"a{instance!="1"}"#, "nosuch"],
    buckets: &["h_bucket"],
    labels: &["job", "instance", "nosuch", "__name__"],
    joins: &[("a", "on (job, instance)", "b_total"), ("sum by (job) (a)", "", "sum by (job) (b_total)")],
    durations: &["1m", "5m", "30s", "15s", "2m", "45s", "10m"],
    steps: &["", "15s", "30s", "1m", "7s"],
    times: &["start()", "end()", "300", "100.25"],
    features: Features {
        experimental_functions: false,
        extended_range_selectors: false,
        binop_fill_modifiers: false,
        delayed_name_removal: false,
        type_and_unit_labels: false,
        use_start_timestamps: false,
    },
};

/// Around a random expression: what is most often pushed.
const ROOTS: &[&str] = &[
    "E",
    "sum by (job) (E)",
    "avg(E)",
    "count without (instance) (E)",
    "topk(2, E)",
    "bottomk by (job) (1, E)",
    "count_values by (job) (\"v\", E)",
    "max(E) > 2",
    "group by (instance) (E)",
    "min without (job) (E) * -1",
    "avg by (job) (rate(b_total[2m]))",
    "sum(max_over_time((E)[5m:30s]))",
    "topk(1, clamp_min(rate(b_total[1m:15s]), 1))",
    "sum by (job) (a * (60*60) - 1) / avg(a offset 1m)",
];

/// Numbers whose sums say something: no difference of giants.
fn samples(choices: &mut Choices<'_>) -> Vec<TimedSample> {
    let (form, period, phase) = (choices.below(5), 2 + choices.below(9) as i64, choices.below(15_000) as i64);
    let distinct = choices.below(1_000) as f64 / 7.0;
    let value = |at: i64| match form {
        0 => Some(distinct + at as f64),
        1 => Some((at % period) as f64),
        2 if at % period == 0 => None,
        3 if at % period == 1 => Some(stale_marker()),
        4 if at % (3 * period) == 5 => Some(f64::NAN),
        _ => Some(distinct * ((at * 7919 % 13) as f64 - 3.5)),
    };
    (0..48)
        .filter_map(|at| {
            let sample = Sample::Float(value(at)?);
            Some(TimedSample { time: at * 15_000 + phase, start_time: None, sample })
        })
        .collect()
}

struct Case {
    query: String,
    grid: StepGrid,
    parts: Vec<Part>,
    series: Vec<(usize, Labels, Vec<TimedSample>)>,
}

impl Case {
    fn of_seed(seed: u64) -> Self {
        let mut choices = Choices::from_seed(seed);
        let parts: Vec<Part> = (0..1 + choices.below(4))
            .map(|_| match choices.below(6) {
                0 => Part::CannotBeAsked,
                1 => Part::Refuses,
                _ => Part::Evaluates,
            })
            .collect();
        let mut series = Vec::new();
        for name in ["a", "b_total"] {
            for job in ["x", "y"] {
                for instance in 0..4 {
                    if choices.chance(70) {
                        let text = format!("{name}{{job=\"{job}\", instance=\"{instance}\"}}");
                        let (labels, _) = parse_labels(&text).expect("well-formed");
                        series.push((choices.below(parts.len()), labels, samples(&mut choices)));
                    }
                }
            }
        }
        let step = [30_000, 15_000, 1_000, 60_000, 7_000][choices.below(5)];
        let count = if choices.chance(30) { 1 } else { 1 + choices.below(24) };
        let start = TimestampMs(choices.below(700_000) as i64);
        let root = choices.pick(ROOTS);
        let levels = choices.below(3);
        let inner = QueryGenerator::new(&VOCABULARY, &mut choices).query(levels);
        let query = root.replace('E', &inner);
        Self { query, grid: StepGrid::with_count(start, DurationMs(step), count), parts, series }
    }
}

#[tokio::test]
async fn what_parts_compute_is_what_all_samples_give() {
    let (mut pushed, mut partly, mut exact) = (0, 0, 0);
    let first = std::env::var("PUSHDOWN_SEED").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("PUSHDOWN_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    for seed in first.map_or(0..count, |first: u64| first..first + 1) {
        let case = Case::of_seed(seed);
        let union = MemoryStore::new();
        for (_, labels, samples) in &case.series {
            union.append_to_part(0, labels, samples.clone()).expect("times ascend");
        }
        let union = QueryEngine::new(Arc::new(union), EngineOptions::default());
        let split = EvaluatingParts::new(&case.parts).with(&case.series);
        let split = QueryEngine::new(Arc::new(split), EngineOptions::default());
        let expected = evaluate(&union, &case.query, case.grid, EvaluationMode::Exact).await;
        let got = evaluate(&split, &case.query, case.grid, EvaluationMode::Pushdown).await;
        let about = || format!("seed {seed}: {} on {:?} over {:?}", case.query, case.grid, case.parts);
        let (expected, got) = match (expected, got) {
            (Ok(expected), Ok(got)) => (expected, got),
            (Err(expected), Err(got)) if expected.kind() == got.kind() => continue,
            (expected, got) => panic!("{}: {got:?}, not {expected:?}", about()),
        };
        let (expected_rows, rows) = (cells(&expected.value), cells(&got.value));
        let is_same = expected_rows.len() == rows.len()
            && expected_rows.iter().all(|(labels, cells)| {
                rows.get(labels).is_some_and(|got| got.iter().zip(cells).all(|(a, b)| is_close(*a, *b)))
            });
        assert!(is_same, "{}: {rows:?}, not {expected_rows:?}\n{:#?}", about(), got.part_evaluations);
        let texts = |result: &QueryResult| -> Vec<String> {
            let mut texts: Vec<String> = result.annotations.iter().map(|noted| noted.text.clone()).collect();
            texts.sort();
            texts
        };
        assert_eq!(texts(&got), texts(&expected), "{}", about());
        let by_servers = got.part_evaluations.iter().filter(|part| part.by == EvaluatedBy::Servers).count();
        match by_servers {
            0 => exact += 1,
            all if all == got.part_evaluations.len() => pushed += 1,
            _ => partly += 1,
        }
    }
    if first.is_none() {
        assert!(pushed > 30 && partly > 15 && exact > 30, "{pushed} pushed, {partly} partly, {exact} exact");
    }
}
