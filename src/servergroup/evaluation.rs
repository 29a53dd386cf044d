//! Expressions that servers evaluate: what is asked of a part of the data, and what may come back.

use arrow::record_batch::RecordBatch;

use crate::model::{
    Annotation, DurationMs, EvaluationMode, Held, METRIC_NAME, MatchOp, Matcher, StepGrid, TimestampMs,
};
use crate::syntax::Expr;

/// An expression with one selector in it, to be evaluated by whoever holds a part of its series.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateRequest {
    /// What is asked: one expression, or several that the same server must answer (`avg` is a sum and a count). `@` is a time,
    /// durations are numbers, subqueries have a step: the text means the same everywhere.
    pub expressions: Vec<Expr>,
    /// The matchers of the selector.
    pub matchers: Vec<Matcher>,
    /// The evaluation times.
    pub grid: StepGrid,
    /// How far plain selectors look back.
    pub lookback: DurationMs,
    /// The mode of groups that have none of their own.
    pub mode: EvaluationMode,
    /// The mode that this query asked for, which holds for every group.
    pub asked_mode: Option<EvaluationMode>,
    /// Which samples it reads: `start < t ≤ end`.
    pub reads: (TimestampMs, TimestampMs),
    /// How often each series is evaluated, and over how long a window: what it costs.
    pub windows: EvaluatedWindows,
    /// Is an aggregation its root? If not, every row of the answer is a series of the part.
    pub is_aggregation: bool,
    /// Do series lose their names on the way?
    pub drops_name: bool,
    /// Does the same answer of two replicas prove that it is the answer of both their samples together? So it is of a maximum:
    /// neither has a larger value. So it is not of a count: each may lack another sample.
    pub agreement_proves: bool,
}

impl EvaluateRequest {
    /// Can two series with different names become one? Then parts have to differ in more than names.
    pub fn may_unite_names(&self) -> bool {
        self.drops_name && self.metric_name().is_none()
    }

    /// The metric name that every series has which is read.
    pub fn metric_name(&self) -> Option<&str> {
        let names = |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
        self.matchers.iter().find(names).map(|matcher| matcher.value.as_str()).filter(|name| !name.is_empty())
    }
}

/// What a server has to do for each series.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct EvaluatedWindows {
    /// How many windows; one a step, more in a subquery.
    pub count: usize,
    /// How long each is; zero for a plain selector.
    pub length: DurationMs,
}

/// What is to be done about a part.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ask it to evaluate.
    Ask,
    /// Evaluate here.
    Exact,
    /// Neither: it has nothing of what is read.
    Nothing,
}

/// Whether a part should be asked to evaluate, as far as is known without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is to be done.
    pub verdict: Verdict,
    /// Why, or why not; with figures where they decided.
    pub reason: String,
}

impl Judgement {
    /// Ask it.
    pub fn ask(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ask, reason: reason.into() }
    }

    /// Evaluate here.
    pub fn exact(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Exact, reason: reason.into() }
    }

    /// Leave it out.
    pub fn nothing(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Nothing, reason: reason.into() }
    }
}

/// How much of an expression has to be evaluated here.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ExactScope {
    /// The part that was asked.
    Part,
    /// All parts: what one part says shows that the parts' answers cannot be put together.
    All,
}

/// What became of a request to evaluate.
#[derive(Debug)]
pub enum Evaluated {
    /// The part's answer.
    Answered {
        /// For each expression samples tables whose times are steps of the grid, each label set once, in any order.
        tables: Vec<Vec<RecordBatch>>,
        /// What the servers noted.
        annotations: Vec<Annotation>,
        /// How it came about, for EXPLAIN and statistics.
        reason: String,
        /// Counts the tables as long as they are in memory.
        held: Vec<Held>,
    },
    /// The part cannot say what was asked, or not surely.
    NeedsExact {
        /// How much.
        scope: ExactScope,
        /// Why.
        reason: String,
    },
}

impl Evaluated {
    /// The part has to be evaluated here.
    pub fn needs_exact(reason: impl Into<String>) -> Self {
        Self::NeedsExact { scope: ExactScope::Part, reason: reason.into() }
    }
}
