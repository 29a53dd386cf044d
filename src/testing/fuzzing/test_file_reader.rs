//! Any text: the reader of test files refuses it at a line of it, or what it read can be written and read again.

use crate::testing::promqltest::{CommandKind, ExpectedValue, ReadError, Script, read_script};
use crate::testing::{SeriesNotation, format_labels, parse_labels};

/// Reads the input as a test file, and each of its lines as a series.
pub fn test_file_reader(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match read_script("fuzz.test", text) {
        Ok(script) => check_script(&script),
        Err(error) => check_error(&error, text),
    }
    for line in text.lines() {
        match SeriesNotation::parse(line) {
            Ok(series) => check_series(&series),
            Err(error) => assert!(error.offset <= line.len(), "{error} is not in {line}"),
        }
    }
}

fn check_error(error: &ReadError, text: &str) {
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&error.line), "{error}: the text has {lines} lines");
    assert!(!error.message.is_empty());
}

fn check_script(script: &Script) {
    assert!(script.commands.is_sorted_by(|a, b| a.line < b.line), "each command has a line of its own");
    for command in &script.commands {
        match &command.kind {
            CommandKind::Clear => {}
            CommandKind::Load(load) => {
                for series in &load.series {
                    check_series(&series.notation);
                    if let Some(offsets) = &series.start_offsets {
                        assert_eq!(offsets.len(), series.notation.values.len(), "a start time for each value");
                    }
                }
            }
            CommandKind::Eval(eval) => {
                if let ExpectedValue::Series { lines, .. } = &eval.expect.value {
                    lines.iter().for_each(|series| check_labels(&format_labels(&series.labels)));
                }
            }
        }
    }
}

/// Longer ones are not printed: that would only be slow.
const PRINTED_VALUES_MAX: usize = 10_000;

fn check_series(series: &SeriesNotation) {
    if series.values.len() > PRINTED_VALUES_MAX {
        return;
    }
    let printed = series.to_string();
    let again = SeriesNotation::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(again.labels, series.labels, "{printed}");
    assert!(again.values == series.values, "{printed} is read as {again}");
}

fn check_labels(printed: &str) {
    let (labels, length) = parse_labels(printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!((format_labels(&labels).as_str(), length), (printed, printed.len()));
}
