//! Runs a table of expressions, some valid and some not, through the parser: `quiver test parser FILE.jsonl`.

use std::io::{self, BufRead};
use std::path::Path;

use serde::Deserialize;

use crate::syntax::{Features, ParseError, parse_collecting_errors};

/// One line of the table.
#[derive(Deserialize)]
struct ParserCase {
    /// The expression.
    expr: String,
    /// Does Prometheus 3.14 accept it with all feature flags on?
    valid: bool,
    /// Texts that its errors contain, where it is not valid.
    #[serde(default)]
    errors: Vec<String>,
}

/// How the cases of a file went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseReport {
    /// Cases that went as expected.
    pub passed: usize,
    /// Cases that did not; as many as `failures`.
    pub failed: usize,
    /// `file:line: what was expected and what happened`, a case each.
    pub failures: Vec<String>,
}

/// Parses every expression of a file in JSON lines (`expr`, `valid`, `errors`, `source`) with all features on.
///
/// An invalid one passes where the parser refuses it and every text of `errors` is in one of its errors; `%f` there stands for
/// any text. Fails with the file's own faults: it cannot be read, or a line is no such object.
pub fn run_parser_cases(path: &Path) -> io::Result<CaseReport> {
    let mut report = CaseReport::default();
    for (index, line) in io::BufReader::new(std::fs::File::open(path)?).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("{}:{}", path.display(), index + 1);
        let case: ParserCase = serde_json::from_str(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{place}: {error}")))?;
        match problem(&case) {
            None => report.passed += 1,
            Some(problem) => {
                report.failed += 1;
                report.failures.push(format!("{place}: {}: {problem}", excerpt(&case.expr)));
            }
        }
    }
    Ok(report)
}

/// All gated features on, as the table has them.
fn all_features() -> Features {
    Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        ..Features::default()
    }
}

fn problem(case: &ParserCase) -> Option<String> {
    match parse_collecting_errors(&case.expr, &all_features()) {
        Ok(_) if case.valid => None,
        Ok(_) => Some("accepted, but Prometheus refuses it".to_owned()),
        Err(errors) if case.valid => Some(format!("refused: {}", texts(&errors, &case.expr))),
        Err(errors) => {
            let missing = case.errors.iter().find(|text| !errors.iter().any(|error| contains(&error.message, text)))?;
            Some(format!("refused with {}, which lacks {missing:?}", texts(&errors, &case.expr)))
        }
    }
}

/// Is `text` in `message`? Its `%f` stands for anything.
fn contains(message: &str, text: &str) -> bool {
    let mut rest = message;
    text.split("%f").all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

fn texts(errors: &[ParseError], query: &str) -> String {
    errors.iter().map(|error| format!("{:?}", error.render(query))).collect::<Vec<_>>().join(", ")
}

/// The start of an expression, quoted: some are whole books.
fn excerpt(expr: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    match expr.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?}…", &expr[..end]),
        None => format!("{expr:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &str) -> io::Result<CaseReport> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), lines)?;
        run_parser_cases(file.path())
    }

    #[test]
    fn every_line_is_a_case_and_every_failure_has_its_place() {
        let report = run(concat!(
            r#"{"source":"x","expr":"rate(a[5m])","valid":true,"errors":[]}"#,
            "\n\n",
            r#"{"expr":"rate(a)","valid":true}"#,
            "\n",
            r#"{"expr":"a @ NaN","valid":false,"errors":["out of bounds for @ modifier: %f"]}"#,
            "\n",
            r#"{"expr":"a[","valid":false,"errors":["something else"]}"#,
            "\n",
            r#"{"expr":"1","valid":false}"#,
            "\n",
        ))
        .expect("a good file");
        assert_eq!((report.passed, report.failed), (2, 3));
        let places: Vec<&str> = report.failures.iter().filter_map(|text| text.split(':').nth(1)).collect();
        assert_eq!(places, ["3", "5", "6"]);
        assert!(report.failures[1].contains("unexpected end of input in duration expression"), "{report:?}");
        assert!(run("{}").is_err_and(|error| error.to_string().contains(":1: missing field")));
    }

    #[test]
    fn prometheus_own_table_passes_where_it_is_at_hand() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/parser/expressions.jsonl");
        if !path.exists() {
            return; // the project's own table is in syntax
        }
        let report = run_parser_cases(&path).expect("a good file");
        // The table has this pattern as valid; Go, and so every Prometheus, refuses it: the range a-- runs backwards.
        let mistaken = |failure: &&String| failure.contains(r#""foo{a=~\"[a--z]\"}""#);
        let failures: Vec<&String> = report.failures.iter().filter(|failure| !mistaken(failure)).collect();
        assert_eq!(failures, Vec::<&String>::new());
        assert!(report.passed > 0);
    }
}
