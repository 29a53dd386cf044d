//! Is an answer what a case expects? Each check returns what is wrong, in one line.

use std::collections::BTreeSet;

use super::super::{SequenceValue, format_float, format_labels, format_values};
use super::answer::{AnnotatedAnswer, Answer, Point, format_point};
use super::script::{EvalTime, Expectation, ExpectedSeries, ExpectedValue, TextPattern};
use super::tolerance::almost_equal;
use crate::kernels::native_histogram::compact;
use crate::model::{Buckets, Labels, NativeHistogram, Sample, StepGrid};

/// Checks the whole answer of the query as it was written: annotations, then the value.
pub fn check_answer(expect: &Expectation, when: EvalTime, got: &AnnotatedAnswer) -> Result<(), String> {
    check_annotations(expect, &got.warnings, &got.infos)?;
    check_value(expect, when, &got.answer)
}

/// Checks a failure's text against the expectation; `None` where no failure is expected.
pub fn check_failure(expect: &Expectation, error_text: &str) -> Option<Result<(), String>> {
    let wanted = expect.fail.as_ref()?;
    Some(if wanted.is_met_by(error_text) {
        Ok(())
    } else {
        Err(format!("expected a failure with {wanted}, it failed with {error_text:?}"))
    })
}

/// Every expected text is met, and where one is expected of a kind, no other of that kind is there.
pub fn check_annotations(expect: &Expectation, warnings: &[String], infos: &[String]) -> Result<(), String> {
    let kinds =
        [("warning", warnings, &expect.warnings, expect.no_warning), ("info", infos, &expect.infos, expect.no_info)];
    for (word, got, wanted, none_wanted) in kinds {
        if none_wanted && !got.is_empty() {
            return Err(format!("expected no {word}, got {got:?}"));
        }
        if let Some(unmet) = wanted.iter().find(|wanted| !got.iter().any(|text| wanted.is_met_by(text))) {
            return Err(format!("expected {} with {unmet}, got {got:?}", article(word)));
        }
        let is_wanted = |text: &&String| wanted.iter().any(|wanted: &TextPattern| wanted.is_met_by(text));
        if let Some(unwanted) = got.iter().find(|text| !wanted.is_empty() && !is_wanted(text)) {
            return Err(format!("{} that is not expected: {unwanted:?}", article(word)));
        }
    }
    Ok(())
}

fn article(word: &str) -> String {
    if word == "info" { "an info".to_owned() } else { format!("a {word}") }
}

/// Checks the value alone.
pub fn check_value(expect: &Expectation, when: EvalTime, got: &Answer) -> Result<(), String> {
    match (&expect.value, got) {
        (ExpectedValue::Scalar(wanted), Answer::Scalar(value)) if almost_equal(*wanted, *value) => Ok(()),
        (ExpectedValue::Scalar(wanted), Answer::Scalar(value)) => {
            Err(format!("expected {}, got {}", format_float(*wanted), format_float(*value)))
        }
        (ExpectedValue::String(wanted), Answer::String(text)) if wanted == text => Ok(()),
        (ExpectedValue::String(wanted), Answer::String(text)) => Err(format!("expected {wanted:?}, got {text:?}")),
        (ExpectedValue::Series { lines, range_vector: None }, Answer::Vector(series)) => {
            check_vector(lines, expect.ordered, series)
        }
        (ExpectedValue::Series { lines, range_vector }, Answer::Matrix(series)) => {
            let grid = match (range_vector, when) {
                (Some(grid), _) => *grid,
                (None, EvalTime::Range { grid, .. }) => grid,
                (None, EvalTime::Instant(_)) => return Err("expected an instant vector, got a range vector".to_owned()),
            };
            check_matrix(lines, grid, series)
        }
        (wanted, got) => Err(format!("expected {}, got {}", expected_type(wanted), answer_type(got))),
    }
}

fn expected_type(expected: &ExpectedValue) -> &'static str {
    match expected {
        ExpectedValue::Scalar(_) => "a scalar",
        ExpectedValue::String(_) => "a string",
        ExpectedValue::Series { range_vector: Some(_), .. } => "a range vector",
        ExpectedValue::Series { .. } => "a vector",
    }
}

fn answer_type(answer: &Answer) -> &'static str {
    match answer {
        Answer::Scalar(_) => "a scalar",
        Answer::String(_) => "a string",
        Answer::Vector(_) => "an instant vector",
        Answer::Matrix(_) => "a matrix",
    }
}

fn check_vector(lines: &[ExpectedSeries], ordered: bool, got: &[(Labels, Sample)]) -> Result<(), String> {
    check_label_sets(lines, got.iter().map(|(labels, _)| labels))?;
    for (position, (labels, sample)) in got.iter().enumerate() {
        let (wanted_position, line) = line_of(lines, labels);
        if ordered && wanted_position != position {
            let (wanted, found) = (wanted_position + 1, position + 1);
            return Err(format!("{}: expected in place {wanted}, found in place {found}", format_labels(labels)));
        }
        match &line.values[..] {
            [wanted] if is_met_by(wanted, sample) => {}
            values => {
                let (wanted, got) = (format_values(values), SequenceValue::from(sample.clone()));
                return Err(format!("{}: expected {wanted}, got {got}", format_labels(labels)));
            }
        }
    }
    Ok(())
}

fn check_matrix(lines: &[ExpectedSeries], grid: StepGrid, got: &[(Labels, Vec<Point>)]) -> Result<(), String> {
    if let Some(pair) = got.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        let [before, after] = [&pair[0].0, &pair[1].0].map(format_labels);
        return Err(format!("the answer is not sorted by labels: {after} follows {before}"));
    }
    check_label_sets(lines, got.iter().map(|(labels, _)| labels))?;
    for (labels, points) in got {
        check_points(&line_of(lines, labels).1.values, grid, points)
            .map_err(|wrong| format!("{}: {wrong}", format_labels(labels)))?;
    }
    Ok(())
}

fn check_points(wanted: &[SequenceValue], grid: StepGrid, got: &[Point]) -> Result<(), String> {
    if wanted.len() > grid.step_count() {
        return Err(format!("expected {} values on {} steps", wanted.len(), grid.step_count()));
    }
    let wanted: Vec<(i64, &SequenceValue)> = grid
        .times()
        .zip(wanted)
        .filter(|(_, value)| **value != SequenceValue::Absent)
        .map(|(time, value)| (time.0, value))
        .collect();
    for (index, (time, value)) in wanted.iter().enumerate() {
        let wanted_text = || format!("{value}@{}", crate::model::TimestampMs(*time));
        let Some((got_time, sample)) = got.get(index) else {
            return Err(format!("expected {}, got no further point", wanted_text()));
        };
        if got_time != time || !is_met_by(value, sample) {
            return Err(format!("expected {}, got {}", wanted_text(), format_point(*got_time, sample)));
        }
    }
    match got.get(wanted.len()) {
        None => Ok(()),
        Some((time, sample)) => Err(format!("expected no further point, got {}", format_point(*time, sample))),
    }
}

fn is_met_by(wanted: &SequenceValue, sample: &Sample) -> bool {
    match (wanted, sample) {
        (SequenceValue::Float(wanted), Sample::Float(value)) => almost_equal(*wanted, *value),
        (SequenceValue::Histogram { histogram: wanted, hint_is_written }, Sample::Histogram(histogram)) => {
            histograms_match(wanted, histogram)
                && (!hint_is_written || wanted.counter_reset_hint == histogram.counter_reset_hint)
        }
        _ => false,
    }
}

/// Are two histograms the same within the suite's tolerance? Schema, bounds, zero threshold and where the buckets lie must
/// agree, empty buckets aside; numbers need only be near. Hints are not looked at. (promqltest/test.go
/// compareNativeHistogram of Prometheus.)
pub fn histograms_match(wanted: &NativeHistogram, got: &NativeHistogram) -> bool {
    let [wanted, got] = [wanted, got].map(|histogram| {
        let mut histogram = histogram.clone();
        compact(&mut histogram);
        histogram
    });
    let same_buckets = |wanted: &Buckets, got: &Buckets| {
        wanted.counts.len() == got.counts.len()
            && wanted.indexed().zip(got.indexed()).all(|(wanted, got)| {
                wanted.0 == got.0 && almost_equal(wanted.1, got.1) //
            })
    };
    wanted.schema == got.schema
        && almost_equal(wanted.count, got.count)
        && almost_equal(wanted.sum, got.sum)
        && (!wanted.uses_custom_buckets() || wanted.custom_bounds == got.custom_bounds)
        && wanted.zero_threshold == got.zero_threshold
        && almost_equal(wanted.zero_count, got.zero_count)
        && same_buckets(&wanted.negative, &got.negative)
        && same_buckets(&wanted.positive, &got.positive)
}

/// Exactly the expected label sets, each once.
fn check_label_sets<'a>(lines: &[ExpectedSeries], got: impl Iterator<Item = &'a Labels>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for labels in got {
        if !lines.iter().any(|line| line.labels == *labels) {
            return Err(format!("{} is not expected", format_labels(labels)));
        }
        if !seen.insert(labels) {
            return Err(format!("{} stands twice in the answer", format_labels(labels)));
        }
    }
    match lines.iter().find(|line| !seen.contains(&line.labels)) {
        None => Ok(()),
        Some(line) => {
            Err(format!("{} {} is expected and absent", format_labels(&line.labels), format_values(&line.values)))
        }
    }
}

/// The line of a label set and its position; `check_label_sets` made sure that there is one.
fn line_of<'a>(lines: &'a [ExpectedSeries], labels: &Labels) -> (usize, &'a ExpectedSeries) {
    let found = lines.iter().enumerate().find(|(_, line)| line.labels == *labels);
    found.expect("label sets were checked before")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::promqltest::{CommandKind, read_script};
    use crate::testing::{SeriesNotation, parse_labels};

    fn expected(text: &str) -> (Expectation, EvalTime) {
        let mut script = read_script("a.test", text).expect("valid");
        match script.commands.pop().map(|command| command.kind) {
            Some(CommandKind::Eval(eval)) => (eval.expect, eval.when),
            other => panic!("no eval but {other:?}"),
        }
    }

    fn vector(lines: &[&str]) -> Answer {
        let series = lines.iter().map(|line| SeriesNotation::parse(line).expect("valid"));
        Answer::Vector(series.map(|series| (series.labels.clone(), series.values[0].sample().expect("one"))).collect())
    }

    /// Lines on a grid from 0 by 1 m.
    fn matrix(lines: &[&str]) -> Answer {
        let points = |line: &&str| {
            let series = SeriesNotation::parse(line).expect("valid");
            let samples = series.samples(crate::model::TimestampMs(0), crate::model::DurationMs(60_000));
            (series.labels, samples.into_iter().map(|sample| (sample.time, sample.sample)).collect())
        };
        Answer::Matrix(lines.iter().map(points).collect())
    }

    fn check(text: &str, got: &Answer, outcome: &str) {
        let (expect, when) = expected(text);
        let result = check_value(&expect, when, got).err().unwrap_or_else(|| "same".to_owned());
        assert_eq!(result, outcome, "{text}");
    }

    #[test]
    fn vectors_are_compared_as_sets_of_series() {
        let body = "eval instant at 0 x\n {a=\"1\"} 1\n {a=\"2\"} 2\n";
        check(body, &vector(&["{a=\"2\"} 2", "{a=\"1\"} 1.0000001"]), "same");
        check(body, &vector(&["{a=\"1\"} 1"]), "{a=\"2\"} 2 is expected and absent");
        check(body, &vector(&["{a=\"1\"} 1", "{a=\"3\"} 1"]), "{a=\"3\"} is not expected");
        check(body, &vector(&["{a=\"1\"} 1", "{a=\"2\"} 2", "{a=\"2\"} 2"]), "{a=\"2\"} stands twice in the answer");
        check(body, &vector(&["{a=\"1\"} 1", "{a=\"2\"} stale"]), "{a=\"2\"}: expected 2, got stale");
        check("eval instant at 0 x\n {} {{count:1}}\n", &vector(&["{} 1"]), "{}: expected {{count:1}}, got 1");
        check("eval instant at 0 x\n", &vector(&[]), "same");
        check("eval instant at 0 x\n", &vector(&["{} NaN"]), "{} is not expected");
        check("eval instant at 0 x\n", &matrix(&[]), "expected an instant vector, got a range vector");
    }

    #[test]
    fn order_counts_only_where_it_is_asked_for() {
        let lines = "{a=\"1\"} 1\n {a=\"2\"} 2\n";
        let turned = vector(&["{a=\"2\"} 2", "{a=\"1\"} 1"]);
        check(&format!("eval instant at 0 x\n {lines}"), &turned, "same");
        check(
            &format!("eval instant at 0 x\n expect ordered\n {lines}"),
            &turned,
            "{a=\"2\"}: expected in place 2, found in place 1",
        );
    }

    #[test]
    fn matrices_are_compared_point_by_point() {
        let body = "eval range from 0 to 3m step 1m x\n x 1 _ 3\n";
        check(body, &matrix(&["x 1 _ 3"]), "same");
        check(body, &matrix(&["x 1 2 3"]), "x: expected 3@120, got 2@60");
        check(body, &matrix(&["x 1 _ 3 4"]), "x: expected no further point, got 4@180");
        check(body, &matrix(&["x 1"]), "x: expected 3@120, got no further point");
        check(body, &matrix(&["x 1 _ NaN"]), "x: expected 3@120, got NaN@120");
        check(body, &matrix(&["y 1", "x 1 _ 3"]), "the answer is not sorted by labels: x follows y");
        check("eval range from 0 to 1m step 1m x\n x 1 2 3\n", &matrix(&["x 1 2"]), "x: expected 3 values on 2 steps");
        check("eval range from 0 to 1m step 1m x\n", &matrix(&[]), "same");
        check(
            "eval instant at 5m x\n expect range vector from 1m to 2m step 1m\n x 5 6\n",
            &matrix(&["x _ 5 6"]),
            "same",
        );
    }

    #[test]
    fn histograms_are_compared_bucket_by_bucket_and_by_their_hint_only_where_it_is_written() {
        let same = "{{schema:1 count:3 sum:2 z_bucket:1 z_bucket_w:0.1 buckets:[1 0 2]}}";
        for (wanted, got, is_same) in [
            (same, same, true),
            (same, "{{schema:1 count:3.0000001 sum:2 z_bucket:1 z_bucket_w:0.1 buckets:[1 0 2.0000001 0]}}", true),
            (same, "{{schema:1 count:3 sum:2 z_bucket:1 z_bucket_w:0.1000000001 buckets:[1 0 2]}}", false),
            (same, "{{schema:1 count:3 sum:2 z_bucket:1 z_bucket_w:0.1 offset:1 buckets:[1 0 2]}}", false),
            (same, "{{schema:1 count:3 sum:2 z_bucket:1 z_bucket_w:0.1 n_buckets:[1 0 2]}}", false),
            (same, "{{schema:2 count:3 sum:2 z_bucket:1 z_bucket_w:0.1 buckets:[1 0 2]}}", false),
            (same, "3", false),
            ("3", same, false),
            ("{{schema:-53 custom_values:[1] buckets:[1]}}", "{{schema:-53 custom_values:[2] buckets:[1]}}", false),
            ("{{offset:7 buckets:[0 0]}}", "{{}}", true),
            ("{{}}", "{{counter_reset_hint:gauge}}", true),
            ("{{counter_reset_hint:gauge}}", "{{counter_reset_hint:gauge}}", true),
            ("{{counter_reset_hint:unknown}}", "{{counter_reset_hint:gauge}}", false),
            ("{{counter_reset_hint:not_reset}}", "{{}}", false),
        ] {
            let (expect, when) = expected(&format!("eval instant at 0 x\n x {wanted}\n"));
            let got = vector(&[&format!("x {got}")]);
            assert_eq!(check_value(&expect, when, &got).is_ok(), is_same, "{wanted} {got}");
        }
        let body = "eval range from 0 to 3m step 1m x\n x 1 {{count:1}} 3\n";
        check(body, &matrix(&["x 1 {{count:1}} 3"]), "same");
        check(body, &matrix(&["x 1 {{count:2}} 3"]), "x: expected {{count:1}}@60, got {{count:2}}@60");
        check(body, &matrix(&["x 1 2 3"]), "x: expected {{count:1}}@60, got 2@60");
    }

    #[test]
    fn types_must_agree() {
        check("eval instant at 0 1\n 1\n", &Answer::Scalar(1.0), "same");
        check("eval instant at 0 1\n NaN\n", &Answer::Scalar(1.0), "expected NaN, got 1");
        check("eval instant at 0 1\n 1\n", &vector(&["{} 1"]), "expected a scalar, got an instant vector");
        check("eval instant at 0 1\n {} 1\n", &Answer::Scalar(1.0), "expected a vector, got a scalar");
        check("eval instant at 0 1\n expect string \"a\"\n", &Answer::String("a".to_owned()), "same");
        check(
            "eval instant at 0 1\n expect string \"a\"\n",
            &Answer::String("b".to_owned()),
            "expected \"a\", got \"b\"",
        );
    }

    #[test]
    fn annotations_are_checked_when_asked_for() {
        let check = |body: &str, warnings: &[&str], infos: &[&str], outcome: &str| {
            let (expect, _) = expected(&format!("eval instant at 0 x\n{body}"));
            let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
            let result = check_annotations(&expect, &owned(warnings), &owned(infos));
            assert_eq!(result.err().unwrap_or_else(|| "same".to_owned()), outcome, "{body}");
        };
        check("", &["w"], &["i"], "same");
        check("expect no_warn", &["w"], &[], "expected no warning, got [\"w\"]");
        check("expect no_info", &["w"], &["i"], "expected no info, got [\"i\"]");
        check("expect warn", &["w", "v"], &[], "same");
        check("expect warn", &[], &["w"], "expected a warning with any text, got []");
        check("expect warn msg: w", &["w"], &["i"], "same");
        check("expect warn msg: w", &["w", "v"], &[], "a warning that is not expected: \"v\"");
        check("expect warn msg: w\nexpect warn regex: ^v", &["vv", "w"], &[], "same");
        check(
            "expect info regex: ^i$",
            &[],
            &["j"],
            "expected an info with a text with a match of \"^i$\", got [\"j\"]",
        );
    }

    #[test]
    fn a_failure_is_met_by_its_text() {
        let (expect, _) = expected("eval instant at 0 x\n expect fail msg: too bad\n");
        assert_eq!(check_failure(&expect, "too bad"), Some(Ok(())));
        assert!(matches!(check_failure(&expect, "too bad!"), Some(Err(_))));
        assert_eq!(check_failure(&expected("eval instant at 0 x\n").0, "too bad"), None);
    }

    #[test]
    fn expected_labels_may_stand_in_any_order() {
        let labels = |text: &str| parse_labels(text).expect("valid").0;
        assert_eq!(labels("x{b=\"2\", a=\"1\"}"), labels("{a=\"1\", b=\"2\", __name__=\"x\"}"));
    }
}
