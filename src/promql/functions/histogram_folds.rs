//! What an aggregation does with native histograms: beside its folds over numbers, one state for each cell that met a
//! histogram. Empty, and without cost, where there are none.

use std::collections::BTreeMap;

use super::aggregate::FoldKind;
use crate::kernels::native_histogram::{HistogramMean, HistogramSum, compact};
use crate::model::{Annotation, AnnotationSink, LabelsRef, METRIC_NAME, NativeHistogram};
use crate::syntax::Span;

/// What an aggregation makes of a histogram.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum HistogramRole {
    /// `sum`, `avg`: histograms add up to a histogram.
    Combined,
    /// `count`, `group`: a histogram is a sample like any other.
    Counted,
    /// `min`, `max`, `stddev`, `stdvar`: left out, and said so.
    Ignored,
}

impl FoldKind {
    /// What it makes of a histogram.
    pub fn histogram_role(self) -> HistogramRole {
        match self {
            Self::Sum | Self::Avg => HistogramRole::Combined,
            Self::Count | Self::Group => HistogramRole::Counted,
            Self::Min | Self::Max | Self::Stddev | Self::Stdvar => HistogramRole::Ignored,
        }
    }
}

/// Who is told of histograms that do not fit, and where in the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FoldNotes {
    /// Where the aggregated vector stands.
    pub span: Span,
    /// Who is told.
    pub annotations: AnnotationSink,
}

impl FoldNotes {
    /// Says that an aggregation leaves histograms out.
    pub fn histogram_ignored(&self, aggregation: &str) {
        self.annotations.add(histogram_ignored(aggregation, self.span.clone()));
    }

    fn warn(&self, text: &str) {
        self.annotations.add(Annotation::promql_warning(text, self.span.clone()));
    }
}

/// The info of aggregations that know numbers only.
pub fn histogram_ignored(aggregation: &str, span: Span) -> Annotation {
    Annotation::promql_info(format!("ignored histogram in {aggregation} aggregation"), span)
}

/// The running sum or mean of a cell.
#[derive(Clone, Debug)]
enum Combined {
    Sum(Box<HistogramSum>),
    Mean(Box<HistogramMean>),
}

/// A cell that met a histogram.
#[derive(Clone, Debug, Default)]
struct HistogramCell {
    /// `None` where a number came first: the result will be nothing anyway.
    combined: Option<Combined>,
    /// Exponential and custom buckets met: nothing that comes later counts.
    incompatible: bool,
}

/// The histograms of an aggregation, by cell: group · steps + step.
#[derive(Debug, Default)]
pub struct HistogramFolds(BTreeMap<usize, HistogramCell>);

impl HistogramFolds {
    /// Has no cell met a histogram?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does a cell take no more samples?
    pub fn is_closed(&self, cell: usize) -> bool {
        self.0.get(&cell).is_some_and(|own| own.incompatible)
    }

    /// Takes a histogram into `sum` or `avg`. `has_number`: has the cell met a number before?
    pub fn add(
        &mut self,
        kind: FoldKind,
        cell: usize,
        has_number: bool,
        (labels, histogram): (LabelsRef<'_>, &NativeHistogram),
        notes: &FoldNotes,
    ) {
        let Some(own) = self.0.get_mut(&cell) else {
            let combined = (!has_number).then(|| match kind {
                FoldKind::Avg => Combined::Mean(Box::new(HistogramMean::new(histogram))),
                _ => Combined::Sum(Box::new(HistogramSum::new(histogram))),
            });
            self.0.insert(cell, HistogramCell { combined, incompatible: false });
            return;
        };
        if own.incompatible {
            return;
        }
        let added = match &mut own.combined {
            Some(Combined::Sum(sum)) => sum.add(histogram),
            Some(Combined::Mean(mean)) => mean.add(histogram),
            None => Ok(()),
        };
        if added.is_err() {
            own.incompatible = true;
            let name = labels.get(METRIC_NAME).unwrap_or_default();
            notes.warn(&format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"
            ));
        }
    }

    /// The cells of the first `count` cells; the others move to the front.
    pub fn take(&mut self, count: usize) -> Self {
        let rest = self.0.split_off(&count);
        let taken = std::mem::take(&mut self.0);
        self.0 = rest.into_iter().map(|(cell, own)| (cell - count, own)).collect();
        Self(taken)
    }

    /// What a cell comes to. `None`: it met no histogram, its number counts. `Some(None)`: there is no result.
    pub fn finish(&mut self, cell: usize, has_number: bool, notes: &FoldNotes) -> Option<Option<NativeHistogram>> {
        let own = self.0.remove(&cell)?;
        let (reconciled, collision) = match &own.combined {
            Some(Combined::Sum(sum)) => (sum.bounds_reconciled(), sum.counter_reset_collision()),
            Some(Combined::Mean(mean)) => (mean.bounds_reconciled(), mean.counter_reset_collision()),
            None => (false, false),
        };
        if reconciled {
            let text = "mismatched custom buckets were reconciled during aggregation";
            notes.annotations.add(Annotation::promql_info(text, notes.span.clone()));
        }
        if has_number {
            notes.warn("encountered a mix of histograms and floats for aggregation");
            return Some(None);
        }
        if own.incompatible {
            return Some(None);
        }
        if collision {
            notes.warn("conflicting counter resets during histogram aggregation");
        }
        let mut histogram = match own.combined? {
            Combined::Sum(sum) => sum.finish(),
            Combined::Mean(mean) => mean.finish(),
        };
        compact(&mut histogram);
        Some(Some(histogram))
    }

    /// Bytes held, about.
    pub fn size(&self) -> usize {
        // A state is a histogram with a compensation for each number.
        self.0.len() * 1_024
    }
}
