//! Runs scripts: loads the data, asks the queries, and asks each of them again in other ways.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt;

use super::super::{SequenceValue, format_labels, format_values};
use super::compare::{check_answer, check_failure, check_value};
use super::custom_buckets::custom_bucket_series;
use super::evaluator::Evaluator;
use super::excuses::Excuses;
use super::explain::explain;
use super::pin::{other_times, pinned_query};
use super::reader::read_script;
use super::report::{CaseReport, Failure, FileReport, Outcome, Report};
use super::rerun::{depends_on_range, surrounding_range};
use super::route::Way;
use super::script::{CommandKind, Eval, EvalTime, Expectation, ExpectedValue, Load, Script};
use super::testbed::{TestData, Testbed};
use super::{AnnotatedAnswer, Answer};
use crate::error::Error;
use crate::model::{DurationMs, Sample, StepGrid, TimestampMs};
use crate::query::EngineOptions;
use crate::syntax::Features;

/// How files are run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Options of the engine under test.
    pub engine: EngineOptions,
    /// Ask each instant query again, pinned by `@` at other times, and as a range query.
    pub reruns: bool,
    /// Run only cases whose command contains this text.
    pub only: Option<String>,
    /// A case that takes longer has failed.
    pub case_timeout: Duration,
    /// How the data are laid out and fetched.
    pub way: Way,
}

/// The options of Prometheus' own runner: gated features on, but for type and unit labels.
impl Default for RunOptions {
    fn default() -> Self {
        let engine = EngineOptions {
            lookback: DurationMs(300_000),
            default_subquery_step: DurationMs(60_000),
            samples_max: 10_000,
            features: Features {
                experimental_functions: true,
                extended_range_selectors: true,
                binop_fill_modifiers: true,
                delayed_name_removal: true,
                type_and_unit_labels: false,
                use_start_timestamps: true,
            },
            ..EngineOptions::default()
        };
        Self { engine, reruns: true, only: None, case_timeout: Duration::from_secs(60), way: Way::default() }
    }
}

/// Runs files against our engine, at the end of the way that the options name. Never fails: a file that cannot be read is a
/// failed case, and so is a way on which no server can be started.
pub async fn run_files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>, options: &RunOptions) -> Report {
    let mut report = Report::default();
    let testbed = Testbed::start(options.way, &options.engine).await.map_err(|error| error.to_string());
    let started = testbed.and_then(|testbed| Ok((testbed, Excuses::of_way(options.way)?)));
    for path in paths {
        report.files.push(match &started {
            Ok((testbed, excuses)) => run_file(path.as_ref(), testbed, excuses, options).await,
            Err(why) => unreadable(path.as_ref().display().to_string(), 0, &format!("{}: {why}", options.way)),
        });
    }
    report
}

async fn run_file(path: &Path, testbed: &Testbed, excuses: &Excuses, options: &RunOptions) -> FileReport {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return unreadable(name, 0, &error.to_string()),
    };
    match read_script(&name, &text) {
        Ok(script) => {
            let mut report = run_script(&script, testbed, testbed, options).await;
            excuse(&mut report, excuses, options);
            report
        }
        Err(error) => unreadable(name, error.line, &error.message),
    }
}

/// Puts the list of excuses to the cases. That a listed case passes is only certain where it was asked in every way.
fn excuse(report: &mut FileReport, excuses: &Excuses, options: &RunOptions) {
    for case in &mut report.cases {
        let Some(excused) = excuses.of_case(&report.path, case.line) else { continue };
        case.outcome = match std::mem::replace(&mut case.outcome, Outcome::Passed) {
            Outcome::Failed(failure) if failure.lost == Some(excused) => Outcome::Excused(failure),
            Outcome::Passed if options.reruns => Outcome::NeedlesslyExcused,
            other => other,
        };
    }
}

fn unreadable(path: String, line: usize, wrong: &str) -> FileReport {
    let failure = Failure { wrong: wrong.to_owned(), ..Failure::default() };
    let command = "the file cannot be read".to_owned();
    FileReport { path, cases: vec![CaseReport { line, command, outcome: Outcome::Failed(Box::new(failure)) }] }
}

/// Runs one script. Its data go into `data`, which are emptied first; `evaluator` must answer from them.
pub async fn run_script(
    script: &Script,
    data: &dyn TestData,
    evaluator: &dyn Evaluator,
    options: &RunOptions,
) -> FileReport {
    data.clear();
    let mut cases = Vec::new();
    for command in &script.commands {
        match &command.kind {
            CommandKind::Clear => data.clear(),
            CommandKind::Load(load) => {
                if let Err(error) = apply_load(load, data) {
                    let failure = Failure { wrong: error.to_string(), ..Failure::default() };
                    let outcome = Outcome::Failed(Box::new(failure));
                    cases.push(CaseReport { line: command.line, command: format!("load {}", load.interval), outcome });
                }
            }
            CommandKind::Eval(eval) => {
                let outcome = match run_case(eval, evaluator, options).await {
                    Outcome::Failed(failure) => {
                        Outcome::Failed(Box::new(Failure { lost: data.lost_of(&eval.expr), ..*failure }))
                    }
                    other => other,
                };
                cases.push(CaseReport { line: command.line, command: eval.command.clone(), outcome });
            }
        }
    }
    FileReport { path: script.path.clone(), cases }
}

fn apply_load(load: &Load, data: &dyn TestData) -> Result<(), Error> {
    let mut all = Vec::with_capacity(load.series.len());
    for series in &load.series {
        let offsets = series.start_offsets.as_deref().unwrap_or_default();
        let samples = series.notation.started_samples(TimestampMs(0), load.interval, offsets);
        all.push((series.notation.labels.clone(), samples));
    }
    if load.with_custom_buckets {
        all.extend(custom_bucket_series(load)?);
    }
    data.load(all)
}

async fn run_case(eval: &Eval, evaluator: &dyn Evaluator, options: &RunOptions) -> Outcome {
    if let Some(only) = options.only.as_ref().filter(|only| !eval.command.contains(*only)) {
        return Outcome::Skipped(format!("does not contain {only:?}"));
    }
    let case = Case { eval, evaluator, options };
    let checks = AssertUnwindSafe(case.run()).catch_unwind();
    let failure = match tokio::time::timeout(options.case_timeout, checks).await {
        Ok(Ok(Ok(()))) => return Outcome::Passed,
        Ok(Ok(Err(failure))) => *failure,
        Ok(Err(panic)) => Failure { wrong: format!("panicked: {}", panic_text(&*panic)), ..Failure::default() },
        Err(_) => {
            let seconds = options.case_timeout.as_secs_f64();
            Failure { wrong: format!("took longer than {seconds} s"), ..Failure::default() }
        }
    };
    let explanation = explain(&failure);
    Outcome::Failed(Box::new(Failure { expected: expected_text(&eval.expect), explanation, ..failure }))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// The expectation as the file writes it.
fn expected_text(expect: &Expectation) -> String {
    if let Some(wanted) = &expect.fail {
        return format!("a failure with {wanted}");
    }
    match &expect.value {
        ExpectedValue::Scalar(value) => SequenceValue::Float(*value).to_string(),
        ExpectedValue::String(text) => format!("{text:?}"),
        ExpectedValue::Series { lines, .. } if lines.is_empty() => "nothing".to_owned(),
        ExpectedValue::Series { lines, .. } => {
            let line = |line: &super::ExpectedSeries| {
                format!("{} {}", format_labels(&line.labels), format_values(&line.values)) //
            };
            lines.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

/// One case under way.
struct Case<'a> {
    eval: &'a Eval,
    evaluator: &'a dyn Evaluator,
    options: &'a RunOptions,
}

/// The result of a check; failures are large and rare.
type Check = Result<(), Box<Failure>>;

impl Case<'_> {
    async fn run(&self) -> Check {
        match self.eval.when {
            EvalTime::Range { grid, end } => {
                let name = range_name(&self.eval.expr, grid);
                let result = self.evaluator.range(&self.eval.expr, grid, end).await;
                self.check_result(&name, result).map(|_| ())
            }
            EvalTime::Instant(time) => self.run_instant(time).await,
        }
    }

    async fn run_instant(&self, time: TimestampMs) -> Check {
        self.check_at(&self.eval.expr, time).await?;
        if !self.options.reruns {
            return Ok(());
        }
        if let Some(pinned) = pinned_query(&self.eval.expr, time, &self.options.engine.features) {
            for other in other_times(time) {
                self.check_at(&pinned, other).await?;
            }
        }
        Ok(())
    }

    /// The query at one time, and again as the middle of a range.
    async fn check_at(&self, query: &str, time: TimestampMs) -> Check {
        let name = format!("{query} at {time} s");
        let result = self.evaluator.instant(query, time).await;
        let Some(answer) = self.check_result(&name, result)? else { return Ok(()) };
        let comparable = matches!(answer, Answer::Scalar(_) | Answer::Vector(_));
        if !self.options.reruns || !comparable || self.eval.expect.ordered || depends_on_range(query) {
            return Ok(());
        }
        let grid = surrounding_range(time);
        let name = format!("{}, its middle step", range_name(query, grid));
        let got = match self.evaluator.range(query, grid, grid.last()).await {
            Ok(got) => got.answer,
            Err(error) => return Err(failed(&name, format!("failed as a range query: {error}"), &error.to_string())),
        };
        let middle = got.vector_at(time.0).unwrap_or(Answer::Vector(Vec::new()));
        let middle = match (&answer, middle) {
            (Answer::Scalar(_), Answer::Vector(one)) => match &one[..] {
                [(_, Sample::Float(value))] => Answer::Scalar(*value),
                _ => Answer::Vector(one),
            },
            (_, middle) => middle,
        };
        check_value(&self.eval.expect, self.eval.when, &middle)
            .map_err(|wrong| failed(&name, wrong, &middle.to_string()))
    }

    /// Checks an answer or a failure. `None`: it failed, as it should.
    fn check_result(&self, name: &str, result: Result<AnnotatedAnswer, Error>) -> Result<Option<Answer>, Box<Failure>> {
        let expect = &self.eval.expect;
        match result {
            Ok(got) if expect.fail.is_some() => {
                Err(failed(name, "expected a failure, got a result".to_owned(), &got.answer.to_string()))
            }
            Ok(got) => match check_answer(expect, self.eval.when, &got) {
                Ok(()) => Ok(Some(got.answer)),
                Err(wrong) => Err(failed(name, wrong, &got.answer.to_string())),
            },
            Err(error) => {
                let text = error.message();
                match check_failure(expect, text) {
                    // What is not built yet fails too, but not as the case expects.
                    Some(Ok(())) if !text.contains(super::explain::NOT_SUPPORTED) => Ok(None),
                    Some(Err(wrong)) => Err(failed(name, wrong, text)),
                    _ => Err(failed(name, format!("failed: {text}"), text)),
                }
            }
        }
    }
}

fn failed(evaluation: &str, wrong: String, got: &str) -> Box<Failure> {
    Box::new(Failure { evaluation: evaluation.to_owned(), wrong, got: got.to_owned(), ..Failure::default() })
}

fn range_name(query: &str, grid: StepGrid) -> String {
    format!("{query} from {} to {} s by {}", grid.start(), grid.last(), grid.step())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::model::Labels;

    /// Knows a handful of queries; everything else is answered with an empty vector or matrix.
    struct FakeEvaluator;

    #[async_trait]
    impl Evaluator for FakeEvaluator {
        async fn instant(&self, query: &str, time: TimestampMs) -> Result<AnnotatedAnswer, Error> {
            let one = |value: f64| Answer::Vector(vec![(Labels::default(), Sample::Float(value))]);
            let answer = match query {
                "one" | "one @ 60.000" | "one_in_ranges_two" | "one_when_not_pinned" => one(1.0),
                "one_when_not_pinned @ 60.000" if time.0 > 60_000 => one(3.0),
                "one_when_not_pinned @ 60.000" => one(1.0),
                "time()" => Answer::Scalar(time.as_float_seconds()),
                "bad" | "bad @ 60.000" => return Err(Error::execution("too bad")),
                "gated" => return Err(Error::execution("this is not supported yet")),
                "panic" => panic!("no {query}!"),
                "hang" => std::future::pending().await,
                _ => Answer::Vector(Vec::new()),
            };
            let warnings = if query == "one" { vec!["PromQL warning: w (1:1)".to_owned()] } else { Vec::new() };
            Ok(AnnotatedAnswer { answer, warnings, infos: Vec::new() })
        }

        async fn range(&self, query: &str, grid: StepGrid, _end: TimestampMs) -> Result<AnnotatedAnswer, Error> {
            let points = |value: fn(TimestampMs) -> f64| {
                let points = grid.times().map(|time| (time.0, Sample::Float(value(time)))).collect();
                Answer::Matrix(vec![(Labels::default(), points)])
            };
            let answer = match query {
                "one" | "one @ 60.000" | "one_when_not_pinned" | "one_when_not_pinned @ 60.000" => points(|_| 1.0),
                "one_in_ranges_two" => points(|_| 2.0),
                "time()" => points(TimestampMs::as_float_seconds),
                _ => Answer::Matrix(Vec::new()),
            };
            Ok(AnnotatedAnswer { answer, warnings: Vec::new(), infos: Vec::new() })
        }
    }

    async fn run(text: &str, options: &RunOptions) -> FileReport {
        let script = read_script("a.test", text).expect("valid");
        run_script(&script, &crate::testing::MemoryStore::new(), &FakeEvaluator, options).await
    }

    async fn check(text: &str, outcome: &str) {
        let options = RunOptions { case_timeout: Duration::from_millis(100), ..RunOptions::default() };
        let mut report = run(text, &options).await;
        let got = match report.cases.pop().map(|case| case.outcome) {
            Some(Outcome::Passed) => "passed".to_owned(),
            Some(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Some(Outcome::NeedlesslyExcused) => "passed though excused".to_owned(),
            Some(Outcome::Failed(failure) | Outcome::Excused(failure)) => match failure.explanation {
                Some(explanation) => format!("{} [{explanation}]", failure.wrong),
                None => failure.wrong,
            },
            None => "no case".to_owned(),
        };
        assert_eq!(got, outcome, "{text}");
    }

    #[tokio::test]
    async fn a_case_passes_or_says_what_is_wrong() {
        for (text, outcome) in [
            ("eval instant at 1m one\n {} 1\n", "passed"),
            ("eval instant at 1m one\n {} 2\n", "{}: expected 2, got 1"),
            (
                "eval instant at 1m one\n expect no_warn\n {} 1\n",
                "expected no warning, got [\"PromQL warning: w (1:1)\"]",
            ),
            ("eval range from 0 to 1m step 1m one\n {} 1 1\n", "passed"),
            ("eval range from 0 to 1m step 1m one\n {} 1\n", "{}: expected no further point, got 1@60"),
            ("eval instant at 1m time()\n 60\n", "passed"),
            ("eval instant at 1m one_in_ranges_two\n {} 1\n", "{}: expected 1, got 2"),
            ("eval instant at 1m one_when_not_pinned\n {} 1\n", "{}: expected 1, got 3"),
            ("eval instant at 1m bad\n expect fail\n", "passed"),
            ("eval instant at 1m bad\n expect fail msg: too bad\n", "passed"),
            (
                "eval instant at 1m bad\n expect fail msg: bad\n",
                "expected a failure with the text \"bad\", it failed with \"too bad\"",
            ),
            ("eval instant at 1m bad\n", "failed: too bad"),
            ("eval instant at 1m one\n expect fail\n", "expected a failure, got a result"),
            ("eval instant at 1m gated\n", "failed: this is not supported yet [a gated feature]"),
            ("eval instant at 1m gated\n expect fail\n", "failed: this is not supported yet [a gated feature]"),
            ("eval instant at 1m none\n {} {{count:1}}\n", "{} {{count:1}} is expected and absent"),
            ("eval instant at 1m panic\n", "panicked: no panic!"),
            ("eval instant at 1m hang\n", "took longer than 0.1 s"),
            ("load 1m\n up 1\n\nload 1m\n up 2\n", "{__name__=\"up\"}: duplicate sample for timestamp 0"),
        ] {
            check(text, outcome).await;
        }
    }

    #[tokio::test]
    async fn reruns_can_be_left_out_and_cases_chosen() {
        let options = RunOptions { reruns: false, only: Some("two".to_owned()), ..RunOptions::default() };
        let text = "eval instant at 1m one_in_ranges_two\n {} 1\n\neval instant at 1m one\n {} 5\n";
        let counts = run(text, &options).await.counts();
        assert_eq!((counts.passed, counts.failed, counts.skipped), (1, 0, 1));
    }

    #[tokio::test]
    async fn files_that_cannot_be_read_are_failed_cases() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bad.test");
        std::fs::write(&path, "clear\noops\n").expect("written");
        let report = run_files([path, folder.path().join("none.test")], &RunOptions::default()).await;
        assert_eq!(report.counts().failed, 2);
        assert!(
            report.to_string().contains("bad.test:2: the file cannot be read\n    \"oops\" is no command"),
            "{report}"
        );
        assert!(report.to_string().ends_with("\n0 passed, 2 failed, 0 skipped"));
    }
}
