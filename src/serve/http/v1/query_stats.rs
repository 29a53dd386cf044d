//! `stats` of a query: Prometheus' object, and with `stats=all` a row for each target beside it.

use std::time::Duration;

use serde::Serialize;

use super::evaluation::Timings;
use crate::model::{PartEvaluation, TargetReport};
use crate::query::QueryResult;

/// Prometheus' shape; seconds are floats.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryStats<'a> {
    timings: TimingStats,
    samples: SampleStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<TargetStats<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    part_evaluations: Vec<PartStats>,
}

/// Who evaluated a sub-expression for one part of the data, and why.
#[derive(Serialize)]
struct PartStats {
    expression: String,
    part: String,
    by: String,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimingStats {
    eval_total_time: f64,
    result_sort_time: f64,
    query_preparation_time: f64,
    inner_eval_time: f64,
    exec_queue_time: f64,
    exec_total_time: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SampleStats {
    total_queryable_samples: u64,
    peak_samples: u64,
}

/// Requests to one target that were alike; times are those of the slowest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetStats<'a> {
    group: &'a str,
    target: &'a str,
    call: &'static str,
    leaf: &'static str,
    outcome: &'static str,
    requests: u64,
    time_to_first_byte: Option<f64>,
    duration: f64,
    bytes: u64,
    samples: u64,
    series: u64,
}

impl<'a> QueryStats<'a> {
    /// Of a result, with `targets` if they are wanted.
    pub(super) fn new(result: &QueryResult, timings: Timings, targets: Option<&'a [TargetReport]>) -> Self {
        let Timings { queued, evaluated } = timings;
        Self {
            timings: TimingStats {
                eval_total_time: evaluated.as_secs_f64(),
                result_sort_time: result.timings.sorting.as_secs_f64(),
                query_preparation_time: result.timings.preparation.as_secs_f64(),
                inner_eval_time: result.timings.evaluation.as_secs_f64(),
                exec_queue_time: queued.as_secs_f64(),
                exec_total_time: (queued + evaluated).as_secs_f64(),
            },
            samples: SampleStats { total_queryable_samples: result.samples_loaded, peak_samples: result.peak_samples },
            part_evaluations: match targets {
                Some(_) => result.part_evaluations.iter().map(PartStats::new).collect(),
                None => Vec::new(),
            },
            targets: targets.map(|targets| targets.iter().map(TargetStats::new).collect()),
        }
    }
}

impl PartStats {
    fn new(part: &PartEvaluation) -> Self {
        Self {
            expression: part.expression.clone(),
            part: part.part.clone(),
            by: part.by.to_string(),
            reason: part.reason.clone(),
        }
    }
}

impl<'a> TargetStats<'a> {
    fn new(report: &'a TargetReport) -> Self {
        Self {
            group: &report.group,
            target: &report.target,
            call: report.call,
            leaf: report.leaf,
            outcome: report.outcome,
            requests: report.requests,
            time_to_first_byte: report.time_to_first_byte.map(|time| Duration::as_secs_f64(&time)),
            duration: report.duration.as_secs_f64(),
            bytes: report.bytes,
            samples: report.samples,
            series: report.series,
        }
    }
}
