//! `info(v, {…})`: adds the labels of info series to the series that they describe.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::info_series::{Identities, InfoSeries};
use super::unique_series::same_labelset;
use super::{SeriesOperator, Table};
use crate::error::Error;
use crate::model::{
    CompiledMatchers, DurationMs, LabelNames, Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher, QueryContext,
    SelectForm, SelectRequest, Selector, StepGrid, StepsTableBuilder,
};
use crate::scan::{SelectorForm, SeriesColumn, SeriesSource, SeriesTable};

/// Each series gets the data labels of the info series with the same identifying labels, as they are at each step. The info
/// series are asked for once the series are known: only those that can describe one of them. Source: Prometheus v3.14
/// promql/info.go.
#[derive(Debug)]
pub struct Info {
    /// The second argument: metric names of info series and data labels; empty where there is none.
    pub matchers: Vec<Matcher>,
    /// Where the info series are.
    pub source: Arc<dyn SeriesSource>,
    /// Of the query.
    pub context: QueryContext,
    /// As of when the info series are read: a time for each step, or one for all.
    pub reference: StepGrid,
    /// How far back a sample of an info series is seen.
    pub lookback: DurationMs,
    /// Steps a row.
    pub step_count: usize,
}

impl SeriesOperator for Info {
    fn describe(&self) -> String {
        let selector = Selector { matchers: self.info_matchers() };
        format!("info {selector} at {} step={}", self.reference.start(), self.reference.step())
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn late_scan(&self, inputs: &[Table]) -> Result<Option<SeriesTable>, Error> {
        let identities = Identities::of(&inputs[0], &compile(&name_matchers(&self.matchers))?);
        if identities.is_empty() {
            return Ok(None);
        }
        let mut matchers = self.info_matchers();
        matchers.extend(identities.matchers());
        let form = match self.source.selector_form() {
            SelectorForm::Steps => SelectForm::Steps { grid: self.reference, lookback: self.lookback },
            SelectorForm::Samples => {
                SelectForm::Samples { start: self.reference.start() - self.lookback, end: self.reference.last() }
            }
        };
        let (source, request) = (Arc::clone(&self.source), SelectRequest { matchers, form });
        Ok(Some(SeriesTable::new(source, request, SeriesColumn::ValuesAndTimes, self.context.clone())))
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        self.evaluate_late(inputs, None)
    }

    fn evaluate_late(&self, inputs: &[Table], late: Option<&RecordBatch>) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let is_info = compile(&name_matchers(&self.matchers))?;
        let info = match late {
            None => InfoSeries::default(),
            Some(batch) => {
                let identities = Identities::of(table, &is_info);
                InfoSeries::read(batch, &identities, self.reference, self.lookback, &self.wanted_steps(table))?
            }
        };
        let join = Join { table, info: &info, data: DataLabels::new(&self.matchers)?, names: Identities::names() };
        let mut described = Described::new(self.step_count);
        for row in (0..table.row_count()).filter(|row| table.has_cell(*row)) {
            if is_info.match_labels(table.labels(row)) {
                let own = described.series_of(&table.labels(row).to_labels());
                for step in (0..self.step_count).filter(|step| table.is_present(row, *step)) {
                    described.place(own, row, step)?;
                }
            } else {
                self.describe_row(&join, row, &mut described)?;
            }
        }
        Ok(described.into_batch(table))
    }
}

impl Info {
    /// Names and data labels; what an info series must match whatever series it is to describe.
    fn info_matchers(&self) -> Vec<Matcher> {
        let data = self.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME).cloned();
        name_matchers(&self.matchers).into_iter().chain(data).collect()
    }

    /// The step of the info series that belongs to a step of the series.
    fn reference_step(&self, step: usize) -> usize {
        if self.reference.step_count() == 1 { 0 } else { step }
    }

    /// By step of the reference: is there any sample to be described?
    fn wanted_steps(&self, table: &Table) -> Vec<bool> {
        let mut wanted = vec![false; self.reference.step_count()];
        for step in 0..self.step_count {
            let at = self.reference_step(step);
            if let Some(wanted) = wanted.get_mut(at) {
                *wanted = *wanted || table.any_at(step);
            }
        }
        wanted
    }

    fn describe_row(&self, join: &Join<'_>, row: usize, described: &mut Described) -> Result<(), Error> {
        let own = join.table.labels(row).to_labels();
        let identity = Identities::key(join.table.labels(row), &join.names);
        // Info series change seldom: what one step found is asked for again at the next.
        let mut last: Option<(Vec<usize>, Option<usize>)> = None;
        for step in (0..self.step_count).filter(|step| join.table.is_present(row, *step)) {
            let found: Vec<usize> = join.info.at(&identity, self.reference_step(step)).collect();
            let series = match &last {
                Some((before, series)) if *before == found => *series,
                _ => {
                    let labels = join.described_labels(&own, &found)?;
                    let series = labels.map(|labels| described.series_of(&labels));
                    last = Some((found, series));
                    series
                }
            };
            if let Some(series) = series {
                described.place(series, row, step)?;
            }
        }
        Ok(())
    }
}

/// The matchers on names by which info series are found: a name that is only excluded leaves all that are named like info
/// metrics.
fn name_matchers(matchers: &[Matcher]) -> Vec<Matcher> {
    let mut names: Vec<Matcher> = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME).cloned().collect();
    if names.is_empty() {
        return vec![Matcher::equal(METRIC_NAME, "target_info")];
    }
    if !names.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)) {
        names.insert(0, Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info"));
    }
    names
}

fn compile(matchers: &[Matcher]) -> Result<CompiledMatchers, Error> {
    CompiledMatchers::compile(matchers).map_err(|error| Error::internal(format!("a matcher was not checked: {error}")))
}

/// The data labels that are asked for; all of them where none is named.
struct DataLabels {
    matchers: Vec<Matcher>,
    /// Must one of them be set? Then a series that no info series describes goes.
    is_required: bool,
}

impl DataLabels {
    fn new(matchers: &[Matcher]) -> Result<Self, Error> {
        let matchers: Vec<Matcher> = matchers.iter().filter(|matcher| matcher.name != METRIC_NAME).cloned().collect();
        let is_required = compile(&matchers)?.iter().any(|matcher| !matcher.matches(""));
        Ok(Self { matchers, is_required })
    }

    fn contain(&self, name: &str) -> bool {
        name != METRIC_NAME && (self.matchers.is_empty() || self.matchers.iter().any(|matcher| matcher.name == name))
    }
}

struct Join<'a> {
    table: &'a Table,
    info: &'a InfoSeries,
    data: DataLabels,
    names: LabelNames,
}

impl Join<'_> {
    /// The labels of a series with those of its info series; its own are never replaced. `None` where it goes. Two info
    /// metrics that disagree on a label are an error.
    fn described_labels(&self, own: &Labels, found: &[usize]) -> Result<Option<Labels>, Error> {
        if found.is_empty() {
            return Ok((!self.data.is_required).then(|| own.clone()));
        }
        let mut added: HashMap<&str, &str> = HashMap::new();
        for series in found {
            for (name, value) in self.info.labels(*series).iter().filter(|(name, _)| self.data.contain(name)) {
                if own.get(name).is_none() && added.insert(name, value).is_some_and(|other| other != value) {
                    return Err(Error::execution(format!("conflicting label: {name}")));
                }
            }
        }
        let mut builder = LabelsBuilder::from(own);
        added.into_iter().for_each(|(name, value)| {
            builder.set(name, value);
        });
        Ok(Some(builder.finish()))
    }
}

/// No row has a sample here.
const NO_ROW: usize = usize::MAX;

/// The series that come out: of each its labels, and whose sample it has at each step.
struct Described {
    step_count: usize,
    by_labels: HashMap<Vec<u8>, usize>,
    series: Vec<(Vec<u8>, Vec<usize>)>,
}

impl Described {
    fn new(step_count: usize) -> Self {
        Self { step_count, by_labels: HashMap::new(), series: Vec::new() }
    }

    /// The series of these labels. As in Prometheus, a name that was to go at the end of the query stays.
    fn series_of(&mut self, labels: &Labels) -> usize {
        let labels = labels.encode();
        *self.by_labels.entry(labels.as_bytes().to_vec()).or_insert_with(|| {
            self.series.push((labels.into_bytes(), vec![NO_ROW; self.step_count]));
            self.series.len() - 1
        })
    }

    fn place(&mut self, series: usize, row: usize, step: usize) -> Result<(), Error> {
        let place = &mut self.series[series].1[step];
        if *place != NO_ROW {
            return Err(same_labelset());
        }
        *place = row;
        Ok(())
    }

    fn into_batch(self, table: &Table) -> RecordBatch {
        let mut builder = StepsTableBuilder::new(self.step_count);
        for (labels, rows) in &self.series {
            for (step, row) in rows.iter().enumerate() {
                builder.push_sample(if *row == NO_ROW { None } else { table.sample(*row, step) });
            }
            builder.finish_series(labels);
        }
        builder.finish()
    }
}
