//! A bucket's servers evaluate an expression: whether they may, how they are asked, and when their answer counts.
//!
//! | a bucket | mode pushdown, auto | mode trust |
//! |---|---|---|
//! | of one server of version 3 | its answer | its answer |
//! | of one server of version 2, or of none that is known | exact | its answer |
//! | of replicas, and their agreement would prove the answer | theirs if they agree, else exact | the first one's |
//! | of other replicas | exact | the first one's |
//!
//! In every mode: no other bucket may hold the same series, the expression must mean the same on stored labels, and no stored
//! label may be hidden by an added one.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use futures::future::try_join_all;
use futures::stream::{FuturesUnordered, StreamExt};

use super::agreement::find_difference;
use super::fanout::ends_the_query;
use super::group::{Bucket, ServerGroup};
use super::rewrite::{Pushed, PushedExpression, PushedLabels};
use super::scan_statistics::ScanStatistics;
use super::{EvaluateRequest, Evaluated, ExactScope, Judgement};
use crate::downstream::Downstream;
use crate::error::{Error, ErrorKind};
use crate::model::{
    Annotation, AnnotationSink, DurationMs, EvaluationMode, Held, Matcher, MetadataRequest, PartAnswers, QueryContext,
    Selector, StepGrid, TimestampMs,
};

/// The oldest version that evaluates as we do: before it, windows held the sample at their left edge.
const VERSION_MIN: (u32, u32) = (3, 0);

/// What a server is asked.
#[derive(Debug)]
struct Question {
    expressions: Vec<String>,
    grid: StepGrid,
    lookback: DurationMs,
    /// Selectors that must select nothing, and when.
    hidden: Option<MetadataRequest>,
    checks_version: bool,
}

/// What became of a question to one server.
#[derive(Debug)]
enum ReplicaAnswer {
    /// For each expression its tables.
    Answered(Vec<Vec<(RecordBatch, Held)>>, Vec<Annotation>),
    /// It answers, but this not, or not so that it counts.
    Refused(ExactScope, String),
}

impl ServerGroup {
    /// The mode of the group in a query.
    pub(super) fn mode_of(&self, request: &EvaluateRequest) -> EvaluationMode {
        request.asked_mode.or(self.mode).unwrap_or(request.mode)
    }

    /// Should this bucket be asked, all that concerns other buckets aside? Asks nobody.
    pub(super) fn judge_bucket(&self, bucket: usize, request: &EvaluateRequest) -> Judgement {
        let mode = self.mode_of(request);
        let Some(own) = self.buckets().get(bucket) else { return Judgement::nothing("it has no targets") };
        if self.snaps_range_queries && !is_on_multiples(request.grid) {
            return Judgement::exact("its servers move range queries to multiples of the step");
        }
        match mode {
            EvaluationMode::Exact => Judgement::exact("mode exact"),
            EvaluationMode::Trust => Judgement::ask("mode trust"),
            EvaluationMode::Pushdown | EvaluationMode::Auto if own.replicas.len() > 1 && !request.agreement_proves => {
                let count = own.replicas.len();
                Judgement::exact(format!("it has {count} replicas, and that they agree on this would prove nothing"))
            }
            EvaluationMode::Pushdown => Judgement::ask("mode pushdown"),
            EvaluationMode::Auto => judge_costs(own, request),
        }
    }

    /// Asks a bucket to evaluate for its own series.
    pub(super) async fn evaluate_bucket(
        &self,
        bucket: usize,
        request: &EvaluateRequest,
        context: &QueryContext,
    ) -> Result<Evaluated, Error> {
        let Some(own) = self.buckets().get(bucket) else { return Ok(Evaluated::needs_exact("it has no targets")) };
        let mode = self.mode_of(request);
        let pushed = match push(own, request)? {
            Ok(pushed) => pushed,
            Err(Some(reason)) => return Ok(Evaluated::needs_exact(reason)),
            Err(None) => return Ok(answered(request.expressions.iter().map(|_| Vec::new()).collect(), Vec::new())),
        };
        let question = Arc::new(question(&pushed, request, mode));
        // What was noted counts only if the answer does.
        let mut asking = context.clone();
        asking.annotations = AnnotationSink::default();
        asking.sources.answers = PartAnswers::default();
        let answers = match mode {
            EvaluationMode::Trust => ask_first(own, &question, &asking).await,
            _ => {
                let asked = self.ask_bucket(own, &asking, |replica, context| {
                    let question = Arc::clone(&question);
                    async move { ask(&*replica, &question, &context).await }
                });
                asked.await
            }
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) if ends_the_query(&error) => return Err(error),
            Err(error) => return Ok(Evaluated::needs_exact(error.to_string())),
        };
        let labels: Vec<PushedLabels> = pushed.into_iter().map(|pushed| pushed.labels).collect();
        let evaluated = unite(answers, &labels, asking.annotations.snapshot())?;
        match &evaluated {
            Evaluated::NeedsExact { reason, .. } => {
                own.statistics_of(request).learn_refusal(&selector_key(&request.matchers), reason);
            }
            Evaluated::Answered { .. } => {
                if !asking.sources.answers.has_failures() {
                    asking.sources.answers.answered();
                }
                context.sources.answers.absorb(&asking.sources.answers);
            }
        }
        Ok(evaluated)
    }
}

impl Bucket {
    /// May any of its series match?
    pub(super) fn is_reached(&self, request: &EvaluateRequest) -> bool {
        // A pattern that cannot be read is the exact plan's to complain about.
        !matches!(self.rewrites.route(&request.matchers), Ok(None))
    }

    /// Can none of its series be a series of another?
    pub(super) fn is_distinct_from(&self, other: &Self) -> bool {
        self.rewrites.is_distinct_from(&other.rewrites)
    }

    /// What is known of scans like the one that an expression would need here.
    fn statistics_of(&self, request: &EvaluateRequest) -> &ScanStatistics {
        let reads_raw_samples = request.windows.length.0 > 0;
        if reads_raw_samples { &self.statistics.samples } else { &self.statistics.steps }
    }
}

/// How selectors are called in statistics.
fn selector_key(matchers: &[Matcher]) -> String {
    Selector { matchers: matchers.to_vec() }.to_string()
}

/// Do servers that move range queries to multiples of their step leave this one alone?
fn is_on_multiples(grid: StepGrid) -> bool {
    grid.step_count() == 1 || grid.start().0.checked_rem_euclid(grid.step().0) == Some(0)
}

fn judge_costs(bucket: &Bucket, request: &EvaluateRequest) -> Judgement {
    let selector = selector_key(&request.matchers);
    let statistics = bucket.statistics_of(request);
    if let Some(reason) = statistics.refusal(&selector) {
        return Judgement::exact(format!("asked in vain not long ago: {reason}"));
    }
    let (after, until) = request.reads;
    let span = Duration::from_millis(u64::try_from((until - after).0).unwrap_or(0));
    let size = (request.grid.step_count(), request.is_aggregation);
    match statistics.costs(&selector, span, request.windows, size) {
        None => Judgement::exact("what it would cost is not known yet"),
        Some(costs) if costs.favours_pushdown() => Judgement::ask(costs.to_string()),
        Some(costs) => Judgement::exact(costs.to_string()),
    }
}

/// The expressions on stored labels. `Err`: no series can match, or why they cannot be asked.
fn push(bucket: &Bucket, request: &EvaluateRequest) -> Result<Result<Vec<Pushed>, Option<String>>, Error> {
    let mut all = Vec::with_capacity(request.expressions.len());
    for expression in &request.expressions {
        match bucket.rewrites.rewrite_expression(expression)? {
            PushedExpression::Pushed(pushed) => all.push(*pushed),
            PushedExpression::Nothing => return Ok(Err(None)),
            PushedExpression::Refused(reason) => return Ok(Err(Some(reason))),
        }
    }
    Ok(Ok(all))
}

fn question(pushed: &[Pushed], request: &EvaluateRequest, mode: EvaluationMode) -> Question {
    let mut selectors: Vec<Vec<Matcher>> = Vec::new();
    for selector in pushed.iter().flat_map(|pushed| &pushed.must_select_nothing) {
        if !selectors.contains(selector) {
            selectors.push(selector.clone());
        }
    }
    let (after, until) = request.reads;
    let (start, end) = (Some(after), Some(until.max(TimestampMs(after.0.saturating_add(1)))));
    let hidden = (!selectors.is_empty()).then_some(MetadataRequest { selectors, start, end, limit: Some(1) });
    Question {
        expressions: pushed.iter().map(|pushed| pushed.expr.to_string()).collect(),
        grid: request.grid,
        lookback: request.lookback,
        hidden,
        checks_version: mode != EvaluationMode::Trust,
    }
}

/// Asks one server everything at once.
async fn ask(server: &dyn Downstream, question: &Question, context: &QueryContext) -> Result<ReplicaAnswer, Error> {
    if question.checks_version {
        let refused = |text: String| Ok(ReplicaAnswer::Refused(ExactScope::Part, text));
        match server.promql_version(context).await {
            Some(version) if version >= VERSION_MIN => {}
            Some((major, minor)) => return refused(format!("a server is of version {major}.{minor}, not of 3")),
            None => return refused("a server does not say that it is a Prometheus 3".to_owned()),
        }
    }
    let mut noting = context.clone();
    noting.annotations = AnnotationSink::default();
    let tables = try_join_all(question.expressions.iter().map(|expression| {
        server.evaluate(expression, question.grid, question.lookback, &noting) //
    }));
    let hidden = async {
        match &question.hidden {
            Some(request) => {
                // That there are more than the one that is asked for concerns nobody.
                let mut unheard = context.clone();
                unheard.annotations = AnnotationSink::default();
                server.series(request, &unheard).await
            }
            None => Ok(Vec::new()),
        }
    };
    match futures::future::try_join(tables, hidden).await {
        Ok((tables, hidden)) if hidden.is_empty() => {
            Ok(ReplicaAnswer::Answered(tables, noting.annotations.snapshot())) //
        }
        Ok((_, hidden)) => {
            let text = format!("an added label hides a stored one, as in {}", hidden[0]);
            Ok(ReplicaAnswer::Refused(ExactScope::Part, text))
        }
        // What a server says of the samples of a part may hold for all of them.
        Err(error) if matches!(error.kind(), ErrorKind::BadData | ErrorKind::Execution) => {
            Ok(ReplicaAnswer::Refused(ExactScope::All, format!("a server refuses: {error}")))
        }
        Err(error) => Err(error),
    }
}

/// The first whole answer; if there is none, the first refusal, else the first error.
async fn ask_first(bucket: &Bucket, question: &Question, context: &QueryContext) -> Result<Vec<ReplicaAnswer>, Error> {
    let asked = bucket.replicas.iter().map(|replica| ask(&**replica.downstream(), question, context));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let (mut refused, mut failed) = (None, None);
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(answered @ ReplicaAnswer::Answered(..)) => return Ok(vec![answered]),
            Ok(refusal) => refused = refused.or(Some(refusal)),
            Err(error) if ends_the_query(&error) => return Err(error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match (refused, failed) {
        (Some(refusal), _) => Ok(vec![refusal]),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(Vec::new()),
    }
}

fn answered(tables: Vec<Vec<(RecordBatch, Held)>>, annotations: Vec<Annotation>) -> Evaluated {
    let (mut held, mut plain) = (Vec::new(), Vec::with_capacity(tables.len()));
    for of_expression in tables {
        let (tables, guards): (Vec<_>, Vec<_>) = of_expression.into_iter().unzip();
        plain.push(tables);
        held.extend(guards);
    }
    Evaluated::Answered { tables: plain, annotations, reason: "evaluated by its servers".to_owned(), held }
}

/// One answer of all: they must agree.
fn unite(
    answers: Vec<ReplicaAnswer>,
    labels: &[PushedLabels],
    mut annotations: Vec<Annotation>,
) -> Result<Evaluated, Error> {
    let mut agreed: Option<Vec<Vec<(RecordBatch, Held)>>> = None;
    for answer in answers {
        let (tables, noted) = match answer {
            ReplicaAnswer::Answered(tables, noted) => (tables, noted),
            ReplicaAnswer::Refused(scope, reason) => return Ok(Evaluated::NeedsExact { scope, reason }),
        };
        annotations.extend(noted);
        let Some(first) = &agreed else {
            agreed = Some(tables);
            continue;
        };
        for (one, other) in first.iter().zip(&tables) {
            let plain = |tables: &[(RecordBatch, Held)]| -> Vec<RecordBatch> {
                tables.iter().map(|(table, _)| table.clone()).collect()
            };
            if let Some(difference) = find_difference(&plain(one), &plain(other))? {
                return Ok(Evaluated::needs_exact(format!("its replicas answer differently: {difference}")));
            }
        }
    }
    let Some(agreed) = agreed else { return Ok(answered(labels.iter().map(|_| Vec::new()).collect(), annotations)) };
    let relabelled = agreed.into_iter().zip(labels).map(|(tables, labels)| {
        tables.into_iter().map(|(table, held)| Ok((labels.rewrite_table(table)?, held))).collect()
    });
    Ok(answered(relabelled.collect::<Result<_, Error>>()?, annotations))
}
