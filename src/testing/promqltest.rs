//! Prometheus' own test format: its files are read, run against an engine, and compared.

mod answer;
mod compare;
mod custom_buckets;
mod evaluator;
mod excuses;
mod explain;
mod pin;
mod reader;
mod report;
mod rerun;
mod route;
mod runner;
mod script;
mod testbed;
mod tolerance;

pub use answer::{AnnotatedAnswer, Answer, Point, format_point, raw_points};
pub use compare::{check_annotations, check_answer, check_failure, check_value, histograms_match};
pub use custom_buckets::custom_bucket_series;
pub use evaluator::Evaluator;
pub use excuses::{Excuses, excuse_lines};
pub use reader::{ReadError, read_script};
pub use report::{CaseReport, Counts, Explanation, Failure, FileReport, Outcome, Report};
pub use route::{Route, Trait, Way};
pub use runner::{RunOptions, run_files, run_script};
pub use script::{
    Command, CommandKind, Eval, EvalTime, Expectation, ExpectedSeries, ExpectedValue, Load, LoadSeries, Script,
    TextPattern,
};
pub use testbed::{TestData, TestSeries, Testbed};
pub use tolerance::almost_equal;
