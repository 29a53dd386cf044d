//! Text of a test file → [`Script`]. The format is Prometheus' own (promql/promqltest/README.md).

use std::sync::LazyLock;

use regex::Regex;
use thiserror::Error;

use super::super::go_string::unquote;
use super::super::{
    NotationError, SequenceValue, SeriesNotation, format_labels, parse_labels, parse_start_offsets, parse_values,
};
use super::script::{
    Command, CommandKind, Eval, EvalTime, Expectation, ExpectedSeries, ExpectedValue, Load, LoadSeries, Script,
    TextPattern,
};
use crate::model::{DurationMs, Labels, StepGrid, TimestampMs};

/// What is wrong with a test file, and where.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{path}:{line}: {message}")]
pub struct ReadError {
    /// The file.
    pub path: String,
    /// Counted from one.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

static LOAD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?i:load)(_with_nhcb)?\s+(\S+)$"));
static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?i:eval)(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$"));
// Greedy up to the last "step", as Prometheus reads it.
static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?i:eval)(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
});
static EXPECT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(msg|regex):(.*))?$"));
static EXPECT_RANGE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$"));
static EXPECT_STRING: LazyLock<Regex> = LazyLock::new(|| pattern(r"^expect\s+string\s+(.+)$"));
static EXPECTED_FAIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^expected_fail_(message|regexp)\s+(.+)$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("patterns of the reader are valid")
}

/// All series of one file never mean more values than this: each line alone may be short and mean a million.
const VALUES_MAX: usize = 10_000_000;

/// Reads the text of a test file. The first mistake ends the reading.
pub fn read_script(path: &str, text: &str) -> Result<Script, ReadError> {
    let mut lines = Lines::new(text);
    let mut commands = Vec::new();
    while let Some((line, text)) = lines.next_command() {
        let kind = read_command(text, &mut lines).map_err(|(at, message)| ReadError {
            path: path.to_owned(),
            line: at,
            message,
        })?;
        commands.push(Command { line, kind });
    }
    Ok(Script { path: path.to_owned(), commands })
}

/// For each sample of a series the distance of its start timestamp.
type StartOffsets = Vec<Option<DurationMs>>;

/// A mistake and its line.
type Mistake = (usize, String);

/// The lines of a file, trimmed; comments are empty lines.
struct Lines<'a> {
    lines: Vec<&'a str>,
    /// The next line, counted from zero; so also the number of the last one read, counted from one.
    next: usize,
    /// How many values the series so far have.
    value_count: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let clean = |line: &'a str| {
            let line = line.trim();
            if line.starts_with('#') { "" } else { line }
        };
        Self { lines: text.split('\n').map(clean).collect(), next: 0, value_count: 0 }
    }

    fn next_command(&mut self) -> Option<(usize, &'a str)> {
        while let Some(line) = self.lines.get(self.next) {
            self.next += 1;
            if !line.is_empty() {
                return Some((self.next, line));
            }
        }
        None
    }

    /// The next line of a block; an empty line ends the block and is left standing.
    fn next_of_block(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.next).filter(|line| !line.is_empty())?;
        self.next += 1;
        Some(line)
    }

    fn count_values(&mut self, values: &[SequenceValue]) -> Result<(), Mistake> {
        self.value_count = self.value_count.saturating_add(values.len());
        match self.value_count {
            ..=VALUES_MAX => Ok(()),
            _ => Err(self.mistake(format!("the series of the file have more than {VALUES_MAX} values"))),
        }
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        (self.next, message.into())
    }
}

fn read_command(text: &str, lines: &mut Lines<'_>) -> Result<CommandKind, Mistake> {
    let word = text.split_whitespace().next().unwrap_or("").to_lowercase();
    if word == "clear" {
        Ok(CommandKind::Clear)
    } else if word.starts_with("load") {
        read_load(text, lines).map(CommandKind::Load)
    } else if word.starts_with("eval") {
        read_eval(text, lines).map(|eval| CommandKind::Eval(Box::new(eval)))
    } else {
        Err(lines.mistake(format!("{word:?} is no command; write load, eval or clear")))
    }
}

fn read_load(text: &str, lines: &mut Lines<'_>) -> Result<Load, Mistake> {
    let parts =
        LOAD.captures(text).ok_or_else(|| lines.mistake("write load <interval> or load_with_nhcb <interval>"))?;
    let interval = duration(&parts[2]).map_err(|message| lines.mistake(message))?;
    if interval.0 == 0 {
        return Err(lines.mistake("the interval of a load must be longer than 0"));
    }
    let mut load = Load { interval, with_custom_buckets: parts.get(1).is_some(), series: Vec::new() };
    let mut start_offsets: Option<(Labels, StartOffsets)> = None;
    while let Some(line) = lines.next_of_block() {
        if let Some((labels, offsets)) = read_start_offsets(line).map_err(|error| lines.mistake(error.to_string()))? {
            if start_offsets.is_some() {
                return Err(lines.mistake("two lines of start timestamps follow each other"));
            }
            start_offsets = Some((labels, offsets));
            continue;
        }
        let notation = SeriesNotation::parse(line).map_err(|error| lines.mistake(error.to_string()))?;
        lines.count_values(&notation.values)?;
        let start_offsets = start_offsets
            .take()
            .map(|(labels, offsets)| check_start_offsets(&labels, offsets, &notation))
            .transpose()
            .map_err(|message| lines.mistake(message))?;
        load.series.retain(|series| series.notation.labels != notation.labels);
        load.series.push(LoadSeries { notation, start_offsets });
    }
    if start_offsets.is_some() {
        return Err(lines.mistake("no series follows the start timestamps"));
    }
    Ok(load)
}

/// `metric{…}@st <offsets>`; `None` for an ordinary line.
fn read_start_offsets(line: &str) -> Result<Option<(Labels, StartOffsets)>, NotationError> {
    let (labels, length) = parse_labels(line)?;
    let Some(offsets) = line[length..].strip_prefix("@st") else { return Ok(None) };
    let at = line.len() - offsets.len();
    let offsets = parse_start_offsets(offsets)
        .map_err(|error| NotationError { offset: error.offset + at, message: error.message })?;
    Ok(Some((labels, offsets)))
}

fn check_start_offsets(
    labels: &Labels,
    offsets: StartOffsets,
    series: &SeriesNotation,
) -> Result<StartOffsets, String> {
    if *labels != series.labels {
        return Err(format!(
            "start timestamps of {} are followed by {}",
            format_labels(labels),
            format_labels(&series.labels)
        ));
    }
    if offsets.len() != series.values.len() {
        return Err(format!("{} start timestamps for {} values", offsets.len(), series.values.len()));
    }
    Ok(offsets)
}

fn read_eval(text: &str, lines: &mut Lines<'_>) -> Result<Eval, Mistake> {
    let (old_form, when, expr) = read_eval_line(text).map_err(|message| lines.mistake(message))?;
    let mut expect = Expectation::default();
    match old_form.as_deref() {
        Some("fail") => expect.fail = Some(TextPattern::Any),
        Some("warn") => expect.warnings.push(TextPattern::Any),
        Some("info") => expect.infos.push(TextPattern::Any),
        Some("ordered") => expect.ordered = true,
        _ => {}
    }
    let mut series: Vec<ExpectedSeries> = Vec::new();
    while let Some(line) = lines.next_of_block() {
        if let Some(parts) = EXPECTED_FAIL.captures(line).filter(|_| old_form.as_deref() == Some("fail")) {
            let kind = if &parts[1] == "message" { "msg" } else { "regex" };
            expect.fail = Some(text_pattern(Some(kind), &parts[2]).map_err(|message| lines.mistake(message))?);
        } else if line.split_whitespace().next() == Some("expect") {
            read_expect(line, when, &mut expect).map_err(|message| lines.mistake(message))?;
        } else if let Some(value) = scalar(line) {
            expect.value = ExpectedValue::Scalar(value);
            break;
        } else {
            let line = read_expected_series(line, when, &expect).map_err(|message| lines.mistake(message))?;
            lines.count_values(&line.values)?;
            series.retain(|other| other.labels != line.labels);
            series.push(line);
        }
    }
    if let ExpectedValue::Series { lines, .. } = &mut expect.value {
        *lines = series;
    } else if !series.is_empty() {
        return Err(lines.mistake("both series and a scalar or string are expected"));
    }
    check_contradictions(&expect, when).map_err(|message| lines.mistake(message))?;
    Ok(Eval { command: text.to_owned(), expr, when, expect })
}

/// The old suffix (`fail` of `eval_fail`), the time and the expression.
fn read_eval_line(text: &str) -> Result<(Option<String>, EvalTime, String), String> {
    if let Some(parts) = RANGE.captures(text) {
        let grid = grid(&parts[2], &parts[3], &parts[4])?;
        let end = TimestampMs(duration(&parts[3])?.0);
        let old_form = parts.get(1).map(|word| word.as_str().to_owned());
        return Ok((old_form, EvalTime::Range { grid, end }, parts[5].to_owned()));
    }
    let Some(parts) = INSTANT.captures(text) else {
        return Err(
            "write eval instant at <time> <expr>, or eval range from <time> to <time> step <step> <expr>".to_owned()
        );
    };
    let time = parts.get(2).map_or(Ok(DurationMs(0)), |at| duration(at.as_str()))?;
    let old_form = parts.get(1).map(|word| word.as_str().to_owned());
    Ok((old_form, EvalTime::Instant(TimestampMs(time.0)), parts[3].to_owned()))
}

fn read_expect(line: &str, when: EvalTime, expect: &mut Expectation) -> Result<(), String> {
    if let Some(parts) = EXPECT_RANGE.captures(line) {
        let EvalTime::Instant(_) = when else {
            return Err("only an instant query can expect a range vector".to_owned());
        };
        let range_vector = Some(grid(&parts[1], &parts[2], &parts[3])?);
        expect.value = ExpectedValue::Series { lines: Vec::new(), range_vector };
        return Ok(());
    }
    if let Some(parts) = EXPECT_STRING.captures(line) {
        let (bytes, length) = unquote(&parts[1])?;
        if length != parts[1].len() {
            return Err("something follows the expected string".to_owned());
        }
        let text = String::from_utf8(bytes).map_err(|_| "the expected string is not valid UTF-8".to_owned())?;
        expect.value = ExpectedValue::String(text);
        return Ok(());
    }
    let parts = EXPECT.captures(line).ok_or_else(|| {
        "write expect ordered, fail, warn, info, no_warn, no_info, string or range vector; a metric of that name is expect{}"
            .to_owned()
    })?;
    let wanted = text_pattern(parts.get(2).map(|kind| kind.as_str()), parts.get(3).map_or("", |text| text.as_str()))?;
    match &parts[1] {
        "ordered" => expect.ordered = true,
        "no_warn" => expect.no_warning = true,
        "no_info" => expect.no_info = true,
        "warn" => expect.warnings.push(wanted),
        "info" => expect.infos.push(wanted),
        _ if expect.fail.is_some() => return Err("a case can expect only one failure".to_owned()),
        _ => expect.fail = Some(wanted),
    }
    Ok(())
}

fn text_pattern(kind: Option<&str>, text: &str) -> Result<TextPattern, String> {
    let text = text.trim();
    match kind {
        None => Ok(TextPattern::Any),
        Some("msg") => Ok(TextPattern::Exact(text.to_owned())),
        Some(_) => Regex::new(text).map(TextPattern::Regex).map_err(|error| format!("bad regular expression: {error}")),
    }
}

fn read_expected_series(line: &str, when: EvalTime, expect: &Expectation) -> Result<ExpectedSeries, String> {
    let SeriesNotation { labels, values } = SeriesNotation::parse(line).map_err(|error| error.to_string())?;
    let many = match (when, &expect.value) {
        (EvalTime::Range { .. }, _) | (_, ExpectedValue::Series { range_vector: Some(_), .. }) => true,
        (EvalTime::Instant(_), _) => false,
    };
    let fits = if many { !values.is_empty() } else { values.len() == 1 && values[0] != SequenceValue::Absent };
    if !fits {
        let wanted = if many { "at least one value" } else { "exactly one value for an instant query" };
        return Err(format!("expected {wanted}, found {}", values.len()));
    }
    Ok(ExpectedSeries { labels, values })
}

fn check_contradictions(expect: &Expectation, when: EvalTime) -> Result<(), String> {
    if expect.no_warning && !expect.warnings.is_empty() {
        return Err("both warn and no_warn are expected".to_owned());
    }
    if expect.no_info && !expect.infos.is_empty() {
        return Err("both info and no_info are expected".to_owned());
    }
    if expect.ordered && matches!(when, EvalTime::Range { .. }) {
        return Err("the result of a range query has no order of its own".to_owned());
    }
    Ok(())
}

fn grid(from: &str, to: &str, step: &str) -> Result<StepGrid, String> {
    let (from, to, step) = (duration(from)?, duration(to)?, duration(step)?);
    StepGrid::try_new(TimestampMs(from.0), TimestampMs(to.0), step)
        .ok_or_else(|| format!("no steps of {step} lead from {from} to {to}"))
}

fn duration(text: &str) -> Result<DurationMs, String> {
    DurationMs::parse(text).map_err(|error| error.to_string())
}

/// A line that is nothing but a number; integers may be hexadecimal, octal or binary as in Go.
fn scalar(line: &str) -> Option<f64> {
    let (negative, digits) = match line.strip_prefix(['+', '-']) {
        Some(digits) => (line.starts_with('-'), digits),
        None => (false, line),
    };
    let radix = |prefix: &str| digits.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let whole = match digits.get(2..) {
        Some(rest) if radix("0x") => Some(i64::from_str_radix(rest, 16).ok()?),
        Some(rest) if radix("0b") => Some(i64::from_str_radix(rest, 2).ok()?),
        Some(rest) if radix("0o") => Some(i64::from_str_radix(rest, 8).ok()?),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(if negative { -(whole as f64) } else { whole as f64 });
    }
    match parse_values(line).ok()?[..] {
        [SequenceValue::Float(value)] if line != "stale" && !line.contains('x') => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Script {
        read_script("a.test", text).expect("a valid script")
    }

    fn only_eval(text: &str) -> Eval {
        match read(text).commands.pop().map(|command| command.kind) {
            Some(CommandKind::Eval(eval)) => *eval,
            other => panic!("no eval command but {other:?}"),
        }
    }

    #[test]
    fn commands_know_their_lines_and_comments_end_a_block() {
        let script =
            read("\n# data\nload 5m\n  up 1 2\n  # half-way\n\nclear\nLOAD_with_nhcb 1m\n\tx_bucket{le=\"1\"} 1\n");
        let found: Vec<(usize, String)> = script
            .commands
            .iter()
            .map(|command| match &command.kind {
                CommandKind::Load(load) => {
                    (command.line, format!("load {} {} {}", load.interval, load.with_custom_buckets, load.series.len()))
                }
                CommandKind::Clear => (command.line, "clear".to_owned()),
                CommandKind::Eval(eval) => (command.line, eval.command.clone()),
            })
            .collect();
        assert_eq!(
            found,
            [(3, "load 5m false 1".to_owned()), (7, "clear".to_owned()), (8, "load 1m true 1".to_owned())]
        );
    }

    #[test]
    fn a_second_line_of_a_series_replaces_the_first() {
        let script = read("load 5m\n up 1 2\n up{} 3\n");
        let CommandKind::Load(load) = &script.commands[0].kind else { panic!("no load") };
        assert_eq!(load.series.len(), 1);
        assert_eq!(load.series[0].notation.to_string(), "up 3");
    }

    #[test]
    fn start_timestamps_belong_to_the_next_line() {
        let script = read("load 1m\n a{b=\"c\"}@st _ -30s\n a{b=\"c\"} 1 2\n a 1\n");
        let CommandKind::Load(load) = &script.commands[0].kind else { panic!("no load") };
        assert_eq!(load.series[0].start_offsets, Some(vec![None, Some(DurationMs(-30_000))]));
        assert_eq!(load.series[1].start_offsets, None);
    }

    #[test]
    fn times_and_expressions_are_told_apart() {
        let grid = |start, end, step| {
            let grid = StepGrid::try_new(TimestampMs(start), TimestampMs(end), DurationMs(step)).expect("valid");
            EvalTime::Range { grid, end: TimestampMs(end) }
        };
        for (line, when, expr) in [
            ("eval instant at 5m rate(x[5m]) > 1", EvalTime::Instant(TimestampMs(300_000)), "rate(x[5m]) > 1"),
            ("eval instant at 59s500ms {a=\"at 5m\"}", EvalTime::Instant(TimestampMs(59_500)), "{a=\"at 5m\"}"),
            ("eval range from 0 to 10m step 1m30s x offset 5m", grid(0, 600_000, 90_000), "x offset 5m"),
            ("eval_warn range from 1m to 2m step 1m x", grid(60_000, 120_000, 60_000), "x"),
        ] {
            let eval = only_eval(line);
            assert_eq!((eval.when, eval.expr.as_str()), (when, expr), "{line}");
        }
    }

    #[test]
    fn every_form_of_expectation_is_read() {
        let eval = only_eval(
            "eval instant at 0 x\n expect ordered\n expect warn msg: PromQL warning: a (1:2)\n expect info regex:b+\n \
             expect info\n {a=\"b\"} 1\n y NaN\n",
        );
        assert!(eval.expect.ordered && eval.expect.fail.is_none() && !eval.expect.no_warning);
        assert!(eval.expect.warnings[0].is_met_by("PromQL warning: a (1:2)"));
        assert!(!eval.expect.warnings[0].is_met_by("PromQL warning: a (1:2) and more"));
        assert!(eval.expect.infos[0].is_met_by("abbc") && !eval.expect.infos[0].is_met_by("c"));
        assert!(eval.expect.infos[1].is_met_by(""));
        assert!(matches!(&eval.expect.value, ExpectedValue::Series { lines, .. } if lines.len() == 2));

        for (body, expected) in [
            (" 0x1f\n", "Scalar(31.0)"),
            (" -0.5\n", "Scalar(-0.5)"),
            (" +Inf\n", "Scalar(inf)"),
            (" expect string \"a\\tb\"\n", "String(\"a\\tb\")"),
            (" expect string `a`\n", "String(\"a\")"),
            ("", "Series { lines: [], range_vector: None }"),
            (
                " expect range vector from 10s to 1m step 10s\n x 1 2\n",
                "Series { lines: [ExpectedSeries { labels: Labels([(\"__name__\", \"x\")]), values: [Float(1.0), Float(2.0)] }], \
                 range_vector: Some(StepGrid { start: TimestampMs(10000), step: DurationMs(10000), step_count: 6 }) }",
            ),
        ] {
            let eval = only_eval(&format!("eval instant at 0 x\n{body}"));
            assert_eq!(format!("{:?}", eval.expect.value), expected);
        }
    }

    #[test]
    fn the_old_forms_still_mean_what_they_meant() {
        assert!(only_eval("eval_ordered instant at 0 x").expect.ordered);
        assert_eq!(only_eval("eval_warn instant at 0 x").expect.warnings.len(), 1);
        assert_eq!(only_eval("eval_info instant at 0 x").expect.infos.len(), 1);
        let fail = |text| only_eval(text).expect.fail.expect("a failure is expected");
        assert!(fail("eval_fail instant at 0 x").is_met_by("anything"));
        assert!(fail("eval_fail instant at 0 x\n expected_fail_message too bad").is_met_by("too bad"));
        assert!(!fail("eval_fail instant at 0 x\n expected_fail_regexp ^b").is_met_by("too bad"));
    }

    #[test]
    fn a_scalar_ends_its_block() {
        let script = read("eval instant at 0 1\n 1\nclear\n");
        assert_eq!(script.commands.len(), 2);
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (text, message) in [
            ("\nlad 5m", "a.test:2: \"lad\" is no command; write load, eval or clear"),
            ("load", "a.test:1: write load <interval> or load_with_nhcb <interval>"),
            ("load_nhcb 5m", "a.test:1: write load <interval> or load_with_nhcb <interval>"),
            ("load 5", "a.test:1: not a valid duration string: \"5\""),
            ("load 0s", "a.test:1: the interval of a load must be longer than 0"),
            ("load 5m\n up 1\n up oops", "a.test:3: column 4: expected a number, \"_\", \"stale\" or a histogram"),
            ("load 5m\n up@st 1m\n up 1 2", "a.test:3: 1 start timestamps for 2 values"),
            ("load 5m\n up@st 1m\n down 1", "a.test:3: start timestamps of up are followed by down"),
            ("load 5m\n up@st 1m\n up@st 1m\n up 1", "a.test:3: two lines of start timestamps follow each other"),
            ("load 5m\n up@st 1m\n", "a.test:2: no series follows the start timestamps"),
            ("load 5m\n up@st 1q\n up 1", "a.test:2: column 7: unknown unit \"q\" in duration \"1q\""),
            (
                "eval 5m x",
                "a.test:1: write eval instant at <time> <expr>, or eval range from <time> to <time> step <step> <expr>",
            ),
            ("eval instant at -5m x", "a.test:1: not a valid duration string: \"-5m\""),
            ("eval range from 5m to 1m step 1m x", "a.test:1: no steps of 1m lead from 5m to 1m"),
            ("eval range from 0 to 1m step 0s x", "a.test:1: no steps of 0s lead from 0s to 1m"),
            ("eval instant at 0 x\n x 1 2", "a.test:2: expected exactly one value for an instant query, found 2"),
            ("eval instant at 0 x\n x _", "a.test:2: expected exactly one value for an instant query, found 1"),
            ("eval instant at 0 x\n x", "a.test:2: expected exactly one value for an instant query, found 0"),
            ("eval instant at 0 x\n expect fail\n expect fail", "a.test:3: a case can expect only one failure"),
            ("eval instant at 0 x\n expect warn\n expect no_warn", "a.test:3: both warn and no_warn are expected"),
            (
                "eval range from 0 to 1m step 1m x\n expect ordered",
                "a.test:2: the result of a range query has no order of its own",
            ),
            ("eval instant at 0 x\n x 1\n 5", "a.test:3: both series and a scalar or string are expected"),
            ("eval instant at 0 x\n expect string \"a\" b", "a.test:2: something follows the expected string"),
            (
                "eval instant at 0 x\n expect 1",
                "a.test:2: write expect ordered, fail, warn, info, no_warn, no_info, string or range vector; a metric of that name is expect{}",
            ),
        ] {
            assert_eq!(
                read_script("a.test", text).map(|_| ()).map_err(|error| error.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn many_short_lines_cannot_fill_the_memory() {
        let text = format!("load 1m\n{}", "  x _x1000000\n".repeat(11));
        let error = read_script("many.test", &text).expect_err("eleven million values");
        assert_eq!(error.to_string(), "many.test:12: the series of the file have more than 10000000 values");
    }

    #[test]
    fn prometheus_own_files_are_read_whole() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/promqltest");
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        let mut eval_count = 0;
        for entry in entries.flatten() {
            let text = std::fs::read_to_string(entry.path()).expect("readable");
            let script =
                read_script(&entry.file_name().to_string_lossy(), &text).unwrap_or_else(|error| panic!("{error}"));
            let evals = script.commands.iter().filter(|command| matches!(command.kind, CommandKind::Eval(_))).count();
            let lines = text.lines().filter(|line| line.trim_start().starts_with("eval")).count();
            assert_eq!(evals, lines, "{}", script.path);
            eval_count += evals;
        }
        assert_eq!(eval_count, 1562, "the README of the folder counts so many");
    }
}
