//! What comes behind an answer: what was noted, what it cost, who evaluated what.

use std::time::Duration;

use super::proto;
use crate::model::{EvaluatedBy, PartEvaluation, TargetReport};
use crate::query::QueryResult;
use crate::serve::http::{Notes, Timings};

/// Longer texts are cut: an expression may have 64 KiB, and stands there once for each part of the data.
const TEXT_BYTES_MAX: usize = 1_024;

/// The trailer of a result, but for the number of its series, which is known when they are written.
pub(super) fn trailer(
    query: &str,
    result: &QueryResult,
    timings: Timings,
    has_target_stats: bool,
) -> proto::QueryTrailer {
    let (targets, part_evaluations) = if has_target_stats {
        (
            result.targets.iter().map(target_stats).collect(),
            result.part_evaluations.iter().map(part_evaluation).collect(),
        )
    } else {
        (Vec::new(), Vec::new())
    };
    let stats = proto::QueryStats {
        samples_loaded: result.samples_loaded,
        series_returned: 0,
        queued_seconds: timings.queued.as_secs_f64(),
        evaluated_seconds: timings.evaluated.as_secs_f64(),
        peak_samples: result.peak_samples,
        peak_bytes: result.peak_bytes,
        preparation_seconds: result.timings.preparation.as_secs_f64(),
        fetching_seconds: result.timings.evaluation.as_secs_f64(),
        sorting_seconds: result.timings.sorting.as_secs_f64(),
    };
    let notes = Notes::new(&result.annotations, query);
    proto::QueryTrailer { notes: Some(notes.into()), stats: Some(stats), targets, part_evaluations }
}

fn target_stats(report: &TargetReport) -> proto::TargetStats {
    proto::TargetStats {
        group: report.group.to_string(),
        target: report.target.to_string(),
        call: report.call.to_owned(),
        leaf: report.leaf.to_owned(),
        outcome: report.outcome.to_owned(),
        requests: report.requests,
        first_byte_seconds: report.time_to_first_byte.as_ref().map(Duration::as_secs_f64),
        seconds: report.duration.as_secs_f64(),
        bytes: report.bytes,
        samples: report.samples,
        series: report.series,
    }
}

fn part_evaluation(part: &PartEvaluation) -> proto::PartEvaluation {
    let by = match part.by {
        EvaluatedBy::Servers => proto::EvaluatedBy::Servers,
        EvaluatedBy::Quiver => proto::EvaluatedBy::Quiver,
    };
    proto::PartEvaluation {
        expression: cut(&part.expression),
        part: cut(&part.part),
        by: by.into(),
        reason: cut(&part.reason),
    }
}

/// A text of a bounded length.
pub(super) fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    if end < text.len() { format!("{} …", &text[..end]) } else { text.to_owned() }
}
