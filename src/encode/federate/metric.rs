//! What is told of one series.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{CounterResetHint, LabelsRef, METRIC_NAME, NativeHistogram, Sample, StepsTable};

/// What kind of metric a family says it is. Only samples are known, not what they were exposed as: a number is of no kind.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum FamilyType {
    Untyped,
    Histogram,
    GaugeHistogram,
}

/// A series with its newest sample.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub(super) name: Cow<'a, str>,
    labels: LabelsRef<'a>,
    external_labels: &'a [(String, String)],
    pub(super) timestamp_ms: i64,
    pub(super) sample: Sample,
}

impl<'a> Metric<'a> {
    /// The row of a timed steps table of one step.
    pub(super) fn of_row(
        table: &'a RecordBatch,
        row: usize,
        external_labels: &'a [(String, String)],
    ) -> Result<Self, Error> {
        let missing = || Error::internal("a federated series has no name, sample or time");
        let table = StepsTable::try_new(table)?;
        if row >= table.row_count() || table.step_count() != 1 {
            return Err(missing());
        }
        let labels = table.labels(row);
        let sample = match table.cell(row, 0) {
            Some(value) => Sample::Float(value),
            None => table.samples(row)?.pop().flatten().ok_or_else(missing)?,
        };
        Ok(Self {
            name: labels.get(METRIC_NAME).ok_or_else(missing)?,
            labels,
            external_labels,
            timestamp_ms: table.sample_time(row, 0).ok_or_else(missing)?,
            sample,
        })
    }

    /// Its labels but for the name, and what is added behind them.
    pub(super) fn labels(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        let labels = self.labels;
        let own = labels.iter().filter(|(name, _)| name != METRIC_NAME);
        let is_missing = move |(name, _): &&(String, String)| labels.get(name).is_none();
        let added = self.external_labels.iter().filter(is_missing);
        own.chain(added.map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value.as_str()))))
    }

    pub(super) fn family_type(&self) -> FamilyType {
        match &self.sample {
            Sample::Float(_) => FamilyType::Untyped,
            Sample::Histogram(histogram) if histogram.counter_reset_hint == CounterResetHint::Gauge => {
                FamilyType::GaugeHistogram
            }
            Sample::Histogram(_) => FamilyType::Histogram,
        }
    }

    pub(super) fn family(&self) -> (String, FamilyType) {
        (self.name.clone().into_owned(), self.family_type())
    }

    /// Does it go on with a family? A name whose series are numbers and histograms has several families.
    pub(super) fn is_of(&self, family: &(String, FamilyType)) -> bool {
        family.1 == self.family_type() && family.0 == self.name
    }

    /// Is it a native histogram that cannot be written as a classic one?
    pub(super) fn has_exponential_buckets(&self) -> bool {
        self.sample.as_histogram().is_some_and(|histogram| !histogram.uses_custom_buckets())
    }
}

/// The buckets of a classic histogram, of one with custom bounds: upper bounds but the last (+Inf), and how many observations
/// lie at or below each.
pub(super) fn classic_buckets(histogram: &Arc<NativeHistogram>) -> impl Iterator<Item = (f64, f64)> {
    let bounds = Arc::clone(&histogram.custom_bounds);
    let by_index = histogram.positive.indexed();
    let counts: Vec<(usize, f64)> =
        by_index.filter_map(|(index, count)| Some((usize::try_from(index).ok()?, count))).collect();
    let mut counts = counts.into_iter().peekable();
    let mut cumulative = 0.0;
    (0..bounds.len()).map(move |bucket| {
        while let Some((_, count)) = counts.next_if(|(index, _)| *index <= bucket) {
            cumulative += count;
        }
        (bounds[bucket], cumulative)
    })
}
