//! A test file as a tree.

use std::fmt;

use regex::Regex;

use super::super::{SequenceValue, SeriesNotation};
use crate::model::{DurationMs, Labels, StepGrid, TimestampMs};

/// One `.test` file.
#[derive(Debug)]
pub struct Script {
    /// As the file was named by whoever ran it.
    pub path: String,
    /// In the order of the file.
    pub commands: Vec<Command>,
}

/// One command and the line that it begins on.
#[derive(Debug)]
pub struct Command {
    /// Counted from one.
    pub line: usize,
    /// What it does.
    pub kind: CommandKind,
}

/// The three commands of the format.
#[derive(Debug)]
pub enum CommandKind {
    /// Forget all data.
    Clear,
    /// Add data.
    Load(Load),
    /// Evaluate and compare: one case.
    Eval(Box<Eval>),
}

/// `load 5m` with its series.
#[derive(Debug)]
pub struct Load {
    /// Time between two values of a line.
    pub interval: DurationMs,
    /// `load_with_nhcb`: classic histograms are stored as native ones with custom buckets too.
    pub with_custom_buckets: bool,
    /// Each label set once.
    pub series: Vec<LoadSeries>,
}

/// One series of a load.
#[derive(Debug)]
pub struct LoadSeries {
    /// Labels and values.
    pub notation: SeriesNotation,
    /// Start timestamps of an `@st` line: distance from each sample's own time.
    pub start_offsets: Option<Vec<Option<DurationMs>>>,
}

/// `eval …` with what is expected of it.
#[derive(Debug)]
pub struct Eval {
    /// The command as written.
    pub command: String,
    /// The expression.
    pub expr: String,
    /// When it is evaluated.
    pub when: EvalTime,
    /// What must come out.
    pub expect: Expectation,
}

/// When a case is evaluated.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum EvalTime {
    /// `instant at …`
    Instant(TimestampMs),
    /// `range from … to … step …`
    Range {
        /// The steps.
        grid: StepGrid,
        /// The end as written, which need not be a step.
        end: TimestampMs,
    },
}

/// What a case must yield.
#[derive(Debug, Default)]
pub struct Expectation {
    /// The result stands in the order of the lines.
    pub ordered: bool,
    /// The evaluation fails, with this text.
    pub fail: Option<TextPattern>,
    /// Every one is met by a warning, and every warning meets one; empty: warnings are not looked at.
    pub warnings: Vec<TextPattern>,
    /// The same for infos.
    pub infos: Vec<TextPattern>,
    /// There is no warning.
    pub no_warning: bool,
    /// There is no info.
    pub no_info: bool,
    /// The value.
    pub value: ExpectedValue,
}

/// The value that a case must yield.
#[derive(Debug)]
pub enum ExpectedValue {
    /// A vector or matrix; no lines: an empty one.
    Series {
        /// Each label set once, in the order of the lines.
        lines: Vec<ExpectedSeries>,
        /// `expect range vector`: an instant query with a matrix for its result, and the times of its points.
        range_vector: Option<StepGrid>,
    },
    /// A scalar.
    Scalar(f64),
    /// A string.
    String(String),
}

impl Default for ExpectedValue {
    fn default() -> Self {
        Self::Series { lines: Vec::new(), range_vector: None }
    }
}

/// One expected series.
#[derive(Debug, Clone)]
pub struct ExpectedSeries {
    /// Its labels.
    pub labels: Labels,
    /// One value for an instant query, else one a step.
    pub values: Vec<SequenceValue>,
}

/// What a text must be.
#[derive(Debug, Clone)]
pub enum TextPattern {
    /// Any text.
    Any,
    /// Exactly this one.
    Exact(String),
    /// A match of this anywhere in it.
    Regex(Regex),
}

impl TextPattern {
    /// Is it met by this text?
    pub fn is_met_by(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == text,
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any text"),
            Self::Exact(wanted) => write!(f, "the text {wanted:?}"),
            Self::Regex(pattern) => write!(f, "a text with a match of {:?}", pattern.as_str()),
        }
    }
}
