//! One selector over the HTTP API: raw samples, or what the server sees at each step, with the times of those samples.
//!
//! | wanted | asked |
//! |---|---|
//! | raw samples | `query` of `selector[…]` at the end |
//! | steps | `query` or `query_range` of `selector` |
//! | their sample times, one metric name | `timestamp(selector)` on the same grid |
//! | their sample times, any metric names | `selector[…]`: `timestamp()` drops names, and series would collide |
//!
//! The server's own step evaluation knows of stale markers, which its JSON cannot carry: it decides where a series is present.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use super::http::{Guards, HttpDownstream, selector_text};
use super::response_error::unavailable;
use super::snapped_grid::{behind_multiples, later, looking_ahead};
use super::{SampleTimes, Selected, SelectedForm};
use crate::decode::DecodedResult;
use crate::error::Error;
use crate::merge::{Samples, SparseStepsBuilder, TableForm, sort_replica, sparse_steps_at_step_times};
use crate::model::{
    DurationMs, Held, LabelsBuilder, LabelsRef, MatchOp, Matcher, QueryContext, SamplesTable, SamplesTableBuilder,
    SelectForm, SelectRequest, StepGrid, TimestampMs, held_tables,
};

/// Prometheus refuses grids of more steps. Longer ones are asked in pieces.
const STEPS_PER_REQUEST: usize = 11_000;
/// So many pieces of one grid are asked at a time.
const PIECES_AT_A_TIME: usize = 4;
/// The lookback of a server that was not told another.
const DEFAULT_LOOKBACK: DurationMs = DurationMs(300_000);

pub(super) async fn select(
    server: &HttpDownstream,
    request: &SelectRequest,
    sample_times: SampleTimes,
    context: &QueryContext,
) -> Result<Selected, Error> {
    let selector = selector_text(&request.matchers);
    let guards = Guards::default();
    let (form, table_form, tables) = match request.form {
        SelectForm::Samples { start, end } => {
            let tables = select_samples(server, &selector, start, end, context, &guards).await?;
            (SelectedForm::Samples, TableForm::Samples, tables)
        }
        SelectForm::Steps { grid, lookback } => {
            let steps = Steps { server, selector, grid, lookback, context, guards: &guards };
            let tables = match (sample_times, fixed_metric_name(&request.matchers)) {
                (SampleTimes::StepTimes, _) => steps.at_step_times().await?,
                (SampleTimes::Needed, Some(name)) => steps.with_timestamp_function(name).await?,
                (SampleTimes::Needed, None) => steps.with_raw_samples().await?,
            };
            (SelectedForm::SparseSteps, TableForm::SparseSteps { grid }, tables)
        }
    };
    let sorted = sort_replica(table_form, tables)?;
    // What was decoded is gone or among the sorted tables.
    drop(guards);
    let counted = sorted.into_iter().map(|table| context.hold_table(&table).map(|held| (table, held)));
    Ok(Selected { form, tables: held_tables(counted.collect::<Result<Vec<_>, Error>>()?).boxed() })
}

/// An expression of an instant vector at every step: samples tables whose times are steps, in any order, a series in any number
/// of rows.
pub(super) async fn evaluate(
    server: &HttpDownstream,
    expression: &str,
    (grid, lookback): (StepGrid, DurationMs),
    context: &QueryContext,
) -> Result<Vec<(RecordBatch, Held)>, Error> {
    let guards = Guards::default();
    let selector = String::new();
    let steps = Steps { server, selector, grid, lookback, context, guards: &guards };
    if steps.asked_earlier().0 != 0 {
        return Err(Error::execution("it moves range queries to multiples of their step"));
    }
    // Servers may have been told another lookback than the usual one.
    let tables = steps.evaluate_looking_back(expression, Some(lookback.to_string())).await?;
    drop(guards);
    tables.into_iter().map(|table| context.hold_table(&table).map(|held| (table, held))).collect()
}

/// The metric name that every series of the selector has.
fn fixed_metric_name(matchers: &[Matcher]) -> Option<&str> {
    let equal =
        |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && !matcher.value.is_empty();
    matchers.iter().find(equal).map(|matcher| matcher.value.as_str())
}

const METRIC_NAME: &str = "__name__";

async fn select_samples(
    server: &HttpDownstream,
    selector: &str,
    start: TimestampMs,
    end: TimestampMs,
    context: &QueryContext,
    guards: &Guards,
) -> Result<Vec<RecordBatch>, Error> {
    let range = end - start;
    if range.0 <= 0 {
        return Ok(Vec::new());
    }
    let expression = format!("{selector}[{}ms]", range.0);
    match server.query_instant(&expression, end, None, context, guards).await? {
        DecodedResult::Matrix(tables) => tables.into_iter().map(|table| within(table, start, end)).collect(),
        other => Err(another_result(&other, "matrix")),
    }
}

/// Drops what lies outside of `start < t ≤ end`: up to version 2, servers take the left edge in.
fn within(table: RecordBatch, start: TimestampMs, end: TimestampMs) -> Result<RecordBatch, Error> {
    let view = SamplesTable::try_new(&table)?;
    let is_inside = |row: usize| {
        let (times, _) = view.series(row);
        times.first().is_none_or(|first| *first > start.0) && times.last().is_none_or(|last| *last <= end.0)
    };
    if (0..view.row_count()).all(is_inside) {
        return Ok(table);
    }
    let mut builder = SamplesTableBuilder::default();
    for row in 0..view.row_count() {
        let (times, values) = view.series(row);
        let from = times.partition_point(|time| *time <= start.0);
        let to = times.partition_point(|time| *time <= end.0);
        if from < to {
            builder.extend_samples(&times[from..to], &values[from..to]);
            builder.finish_series(view.labels(row).as_bytes());
        }
    }
    Ok(builder.finish())
}

fn another_result(result: &DecodedResult, wanted: &str) -> Error {
    let found = match result {
        DecodedResult::None => "nothing",
        DecodedResult::Scalar { .. } => "a scalar",
        DecodedResult::String { .. } => "a string",
        DecodedResult::Vector(_) => "a vector",
        DecodedResult::Matrix(_) => "a matrix",
    };
    unavailable(format!("bad answer: {found} where a {wanted} was asked for"))
}

/// One selector on one grid.
struct Steps<'a> {
    server: &'a HttpDownstream,
    selector: String,
    grid: StepGrid,
    lookback: DurationMs,
    context: &'a QueryContext,
    guards: &'a Guards,
}

impl Steps<'_> {
    /// How much earlier than the steps the server is asked.
    fn asked_earlier(&self) -> DurationMs {
        if self.server.snaps_range_queries() { behind_multiples(self.grid) } else { DurationMs(0) }
    }

    fn asked_selector(&self) -> String {
        looking_ahead(&self.selector, self.asked_earlier())
    }

    async fn at_step_times(&self) -> Result<Vec<RecordBatch>, Error> {
        self.evaluate(&self.asked_selector()).await?.iter().map(sparse_steps_at_step_times).collect()
    }

    async fn with_timestamp_function(&self, name: &str) -> Result<Vec<RecordBatch>, Error> {
        let selector = self.asked_selector();
        let timestamps = format!("timestamp({selector})");
        let (values, times) = tokio::try_join!(self.evaluate(&selector), self.evaluate(&timestamps))?;
        let mut known = SampleTimeIndex::default();
        for table in &times {
            let view = SamplesTable::try_new(table)?;
            for row in 0..view.row_count() {
                known.add(with_metric_name(view.labels(row), name), view.series(row));
            }
        }
        // Each step of `timestamp()` belongs to the same step of the values.
        self.join(&values, &known, |step, (steps, seconds)| {
            let at = steps.binary_search(&step).ok()?;
            TimestampMs::from_float_seconds(seconds[at]).map(|time| time.0)
        })
    }

    async fn with_raw_samples(&self) -> Result<Vec<RecordBatch>, Error> {
        let (start, end) = (self.grid.start() - self.lookback, self.grid.last());
        let raw = select_samples(self.server, &self.selector, start, end, self.context, self.guards);
        let selector = self.asked_selector();
        let (values, raw) = tokio::try_join!(self.evaluate(&selector), raw)?;
        let mut known = SampleTimeIndex::default();
        for table in &raw {
            let view = SamplesTable::try_new(table)?;
            for row in 0..view.row_count() {
                known.add(view.labels(row).as_bytes().to_vec(), view.series(row));
            }
        }
        // The newest sample at or before the step is the one that the server saw.
        self.join(&values, &known, |step, (times, _)| {
            let behind = times.partition_point(|time| *time <= step);
            behind.checked_sub(1).map(|at| times[at]).filter(|time| *time > step.saturating_sub(self.lookback.0))
        })
    }

    /// The values with the times that `time_at` finds. Where it finds none, the step's own time stands in: the sample is
    /// not newer than that. A sample that is too old for the lookback goes: up to version 2, servers take the left edge in.
    fn join(
        &self,
        values: &[RecordBatch],
        known: &SampleTimeIndex<'_>,
        time_at: impl Fn(i64, Samples<'_>) -> Option<i64>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let mut tables = Vec::with_capacity(values.len());
        for table in values {
            let view = SamplesTable::try_new(table)?;
            let mut builder = SparseStepsBuilder::default();
            for row in 0..view.row_count() {
                let labels = view.labels(row).as_bytes();
                let pieces = known.pieces(labels);
                let (steps, cells) = view.series(row);
                let mut has_step = false;
                for (step, value) in steps.iter().zip(cells) {
                    let time =
                        pieces.iter().find_map(|piece| time_at(*step, *piece)).map_or(*step, |time| time.min(*step));
                    if time > step.saturating_sub(self.lookback.0) {
                        builder.push_step(*step, *value, time);
                        has_step = true;
                    }
                }
                if has_step {
                    builder.finish_series(labels);
                }
            }
            tables.push(builder.finish());
        }
        Ok(tables)
    }

    /// An expression at every step, in as many requests as the server's limit on steps wants.
    async fn evaluate(&self, expression: &str) -> Result<Vec<RecordBatch>, Error> {
        let lookback_delta = (self.lookback != DEFAULT_LOOKBACK).then(|| self.lookback.to_string());
        self.evaluate_looking_back(expression, lookback_delta).await
    }

    async fn evaluate_looking_back(
        &self,
        expression: &str,
        lookback_delta: Option<String>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let evaluate_piece = |piece: StepGrid| {
            let lookback_delta = lookback_delta.clone();
            async move {
                if piece.step_count() == 1 {
                    let answer =
                        self.server.query_instant(expression, piece.start(), lookback_delta, self.context, self.guards);
                    return match answer.await? {
                        DecodedResult::Vector(tables) => Ok(tables),
                        other => Err(another_result(&other, "vector")),
                    };
                }
                match self.server.query_range(expression, piece, lookback_delta, self.context, self.guards).await? {
                    DecodedResult::Matrix(tables) => Ok(tables),
                    other => Err(another_result(&other, "matrix")),
                }
            }
        };
        let earlier = self.asked_earlier();
        let asked = pieces(self.grid.shifted_back(earlier));
        let pieces = futures::stream::iter(asked).map(evaluate_piece).buffered(PIECES_AT_A_TIME);
        let tables = pieces.try_collect::<Vec<_>>().await?;
        tables.into_iter().flatten().map(|table| later(table, earlier)).collect()
    }
}

/// The grid cut into grids that a server accepts.
fn pieces(grid: StepGrid) -> impl Iterator<Item = StepGrid> {
    (0..grid.step_count()).step_by(STEPS_PER_REQUEST).map(move |first| {
        let step_count = (grid.step_count() - first).min(STEPS_PER_REQUEST);
        StepGrid::with_count(grid.time(first), grid.step(), step_count)
    })
}

fn with_metric_name(labels: LabelsRef<'_>, name: &str) -> Vec<u8> {
    let mut named = LabelsBuilder::from(&labels.to_labels());
    named.set(METRIC_NAME, name);
    named.finish().encode().into_bytes()
}

/// Where the sample times of a series are found: times and values of each of its rows.
#[derive(Default)]
struct SampleTimeIndex<'a>(HashMap<Vec<u8>, Vec<Samples<'a>>>);

impl<'a> SampleTimeIndex<'a> {
    fn add(&mut self, labels: Vec<u8>, row: Samples<'a>) {
        self.0.entry(labels).or_default().push(row);
    }

    fn pieces(&self, labels: &[u8]) -> &[Samples<'a>] {
        self.0.get(labels).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_grids_are_cut_without_losing_a_step() {
        let grid = StepGrid::with_count(TimestampMs(5), DurationMs(10), 2 * STEPS_PER_REQUEST + 1);
        let cut: Vec<StepGrid> = pieces(grid).collect();
        assert_eq!(cut.iter().map(StepGrid::step_count).collect::<Vec<_>>(), [STEPS_PER_REQUEST, STEPS_PER_REQUEST, 1]);
        assert!(cut.iter().flat_map(StepGrid::times).eq(grid.times()));
        assert_eq!(pieces(StepGrid::instant(TimestampMs(7))).collect::<Vec<_>>().len(), 1);
    }

    #[test]
    fn only_an_equality_fixes_the_metric_name() {
        let name = |op, value: &str| Matcher::new(METRIC_NAME, op, value);
        assert_eq!(fixed_metric_name(&[Matcher::equal("a", "b"), name(MatchOp::Equal, "up")]), Some("up"));
        for matchers in [vec![], vec![name(MatchOp::Regex, "up")], vec![name(MatchOp::Equal, "")]] {
            assert_eq!(fixed_metric_name(&matchers), None);
        }
    }

    #[test]
    fn samples_outside_of_the_range_are_dropped() {
        let mut builder = SamplesTableBuilder::default();
        builder.extend_samples(&[10, 20, 30], &[1.0, 2.0, 3.0]);
        builder.finish_series(b"a\0x\0");
        builder.extend_samples(&[10], &[1.0]);
        builder.finish_series(b"b\0x\0");
        let table = within(builder.finish(), TimestampMs(10), TimestampMs(25)).expect("a samples table");
        let view = SamplesTable::try_new(&table).expect("a samples table");
        assert_eq!(view.row_count(), 1);
        assert_eq!(view.series(0), (&[20][..], &[2.0][..]));
    }
}
