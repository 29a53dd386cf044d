//! What came out of running test files, for people and for tests.

use std::fmt;

use super::route::Trait;

/// Results of all files, in the order in which they were named.
#[derive(Debug, Default)]
pub struct Report {
    /// One a file.
    pub files: Vec<FileReport>,
}

/// Results of one file.
#[derive(Debug)]
pub struct FileReport {
    /// As it was named.
    pub path: String,
    /// One a case, in the order of the file. A file that cannot be read, and a load that fails, is one failed case.
    pub cases: Vec<CaseReport>,
}

/// The result of one case.
#[derive(Debug)]
pub struct CaseReport {
    /// Line of the command, counted from one.
    pub line: usize,
    /// The command as written.
    pub command: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a case went.
#[derive(Debug)]
pub enum Outcome {
    /// Every check of every evaluation passed.
    Passed,
    /// The first check that did not.
    Failed(Box<Failure>),
    /// It failed, and the list of excuses says why.
    Excused(Box<Failure>),
    /// It passed, and the list of excuses says that it does not.
    NeedlesslyExcused,
    /// It was not run, for this reason.
    Skipped(String),
}

/// The first check of a case that did not pass.
#[derive(Debug, Default)]
pub struct Failure {
    /// Which evaluation it was: the query and its time or range.
    pub evaluation: String,
    /// What is wrong, in one line.
    pub wrong: String,
    /// The expected result as the file writes it.
    pub expected: String,
    /// The result or the error.
    pub got: String,
    /// What is known to be missing that accounts for it.
    pub explanation: Option<Explanation>,
    /// What the series of the query have that is lost on the way to who answers it.
    pub lost: Option<Trait>,
}

/// Known gaps of the engine that account for a failure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Explanation {
    /// The case needs a feature that is off in a default Prometheus and not built here.
    GatedFeature,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GatedFeature => "a gated feature",
        })
    }
}

/// Counts of cases.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All of them.
    pub cases: usize,
    /// Those that passed.
    pub passed: usize,
    /// Those that failed, explained or not.
    pub failed: usize,
    /// Those that were not run.
    pub skipped: usize,
    /// Those that failed on a way that cannot carry their data, as the list says.
    pub excused: usize,
    /// Those that passed against the list; they count as passed too.
    pub needlessly_excused: usize,
    /// Failed for want of a gated feature.
    pub gated_feature: usize,
}

impl Counts {
    /// Failures that nothing known accounts for: defects.
    pub fn unexplained(&self) -> usize {
        self.failed - self.gated_feature
    }

    fn add(&mut self, outcome: &Outcome) {
        self.cases += 1;
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::NeedlesslyExcused => {
                self.passed += 1;
                self.needlessly_excused += 1;
            }
            Outcome::Excused(_) => self.excused += 1,
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::Failed(failure) => {
                self.failed += 1;
                match failure.explanation {
                    Some(Explanation::GatedFeature) => self.gated_feature += 1,
                    None => {}
                }
            }
        }
    }
}

impl FileReport {
    /// Counts of this file.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.cases.iter().for_each(|case| counts.add(&case.outcome));
        counts
    }
}

impl Report {
    /// Counts over all files.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.files.iter().flat_map(|file| &file.cases).for_each(|case| counts.add(&case.outcome));
        counts
    }

    /// Failures that nothing known accounts for.
    pub fn unexplained(&self) -> impl Iterator<Item = (&FileReport, &CaseReport)> {
        let all = self.files.iter().flat_map(|file| file.cases.iter().map(move |case| (file, case)));
        all.filter(|(_, case)| matches!(&case.outcome, Outcome::Failed(failure) if failure.explanation.is_none()))
    }
}

/// Every failure and every needless excuse, a table with a line a file, and `N passed, M failed, K skipped` at the end.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            for case in &file.cases {
                match &case.outcome {
                    Outcome::Failed(failure) => write_failure(f, &file.path, case, failure)?,
                    Outcome::NeedlesslyExcused => {
                        writeln!(f, "PASSED though excused {}:{}: {}\n", file.path, case.line, case.command)?;
                    }
                    Outcome::Passed | Outcome::Excused(_) | Outcome::Skipped(_) => {}
                }
            }
        }
        self.write_table(f)?;
        let counts = self.counts();
        if counts.excused + counts.needlessly_excused > 0 {
            let (excused, needlessly) = (counts.excused, counts.needlessly_excused);
            writeln!(f, "{excused} excused, {needlessly} passed though excused")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped)
    }
}

fn write_failure(f: &mut fmt::Formatter<'_>, path: &str, case: &CaseReport, failure: &Failure) -> fmt::Result {
    writeln!(f, "FAILED {path}:{}: {}", case.line, case.command)?;
    writeln!(f, "    {}", failure.wrong)?;
    if failure.evaluation != case.command && !failure.evaluation.is_empty() {
        writeln!(f, "    in: {}", failure.evaluation)?;
    }
    write_indented(f, "expected", &failure.expected)?;
    write_indented(f, "got", &failure.got)?;
    if let Some(lost) = failure.lost {
        writeln!(f, "    lost on the way: {lost}")?;
    }
    if let Some(explanation) = failure.explanation {
        writeln!(f, "    explained by: {explanation}")?;
    }
    writeln!(f)
}

fn write_indented(f: &mut fmt::Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    if text.is_empty() {
        return Ok(());
    }
    writeln!(f, "    {title}:")?;
    text.lines().try_for_each(|line| writeln!(f, "        {line}"))
}

impl Report {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.files.iter().map(|file| file.path.chars().count()).max().unwrap_or(0).max("file".len());
        let titles = ["cases", "passed", "failed", "skipped", "excused", "gated", "unexplained"];
        writeln!(f, "{:width$}  {}", "file", titles.join("  "))?;
        let total = FileTotal { name: "total", counts: self.counts() };
        let files = self.files.iter().map(|file| FileTotal { name: &file.path, counts: file.counts() });
        for FileTotal { name, counts } in files.chain([total]) {
            write!(f, "{name:width$}")?;
            let numbers = [
                counts.cases,
                counts.passed,
                counts.failed,
                counts.skipped,
                counts.excused,
                counts.gated_feature,
                counts.unexplained(),
            ];
            for (title, number) in titles.iter().zip(numbers) {
                write!(f, "  {number:>column$}", column = title.len())?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }
}

/// One line of the table.
struct FileTotal<'a> {
    name: &'a str,
    counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_ends_with_the_counts() {
        let case = |line, outcome| CaseReport { line, command: "eval instant at 0 x".to_owned(), outcome };
        let failure = Failure {
            evaluation: "eval instant at 5m x @ 0".to_owned(),
            wrong: "x: expected 1, got 2".to_owned(),
            expected: "x 1".to_owned(),
            got: "x 2".to_owned(),
            explanation: None,
            lost: None,
        };
        let explained = Failure { explanation: Some(Explanation::GatedFeature), ..Failure::default() };
        let report = Report {
            files: vec![FileReport {
                path: "a.test".to_owned(),
                cases: vec![
                    case(1, Outcome::Passed),
                    case(3, Outcome::Failed(Box::new(failure))),
                    case(5, Outcome::Failed(Box::new(explained))),
                    case(7, Outcome::Skipped("not asked for".to_owned())),
                    case(9, Outcome::Excused(Box::default())),
                    case(11, Outcome::NeedlesslyExcused),
                ],
            }],
        };
        expect_test::expect![[r#"
            FAILED a.test:3: eval instant at 0 x
                x: expected 1, got 2
                in: eval instant at 5m x @ 0
                expected:
                    x 1
                got:
                    x 2

            FAILED a.test:5: eval instant at 0 x
                
                explained by: a gated feature

            PASSED though excused a.test:11: eval instant at 0 x

            file    cases  passed  failed  skipped  excused  gated  unexplained
            a.test      6       2       2        1        1      1            1
            total       6       2       2        1        1      1            1

            1 excused, 1 passed though excused
            2 passed, 2 failed, 1 skipped"#]]
        .assert_eq(&report.to_string());
        assert_eq!(report.unexplained().map(|(_, case)| case.line).collect::<Vec<_>>(), [3]);
    }
}
