//! `histogram_quantile` and `histogram_fraction` on classic histograms: series with an `le` label.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;

use super::top::Parameter;
use super::unique_series::{Duplicates, UniqueSeries};
use super::{SeriesOperator, Table};
use crate::error::Error;
use crate::kernels::{Bucket, bucket_fraction, bucket_quantile};
use crate::model::{Annotation, AnnotationSink, LabelNames, LabelsRef, StepsTableBuilder};
use crate::promql::functions::labels::NAME_LABELS;
use crate::promql::functions::range::{format_go_g, invalid_quantile};
use crate::syntax::Span;

/// Which function.
#[derive(Clone, Debug)]
pub enum HistogramCall {
    /// `histogram_quantile(q, v)`
    Quantile(Parameter),
    /// `histogram_fraction(lower, upper, v)`
    Fraction(Parameter, Parameter),
}

/// One number per histogram and step, out of its bucket series.
#[derive(Debug)]
pub struct ClassicHistogram {
    /// Which function, with its scalars.
    pub call: HistogramCall,
    /// Where the first scalar stands in the query.
    pub parameter_span: Span,
    /// Where the vector stands in the query.
    pub vector_span: Span,
    /// Steps a row.
    pub step_count: usize,
    /// Who is told of bad buckets.
    pub annotations: AnnotationSink,
}

/// The bucket series of one histogram.
struct Histogram {
    /// Result labels: without `le` and the name.
    labels: Vec<u8>,
    metric_name: String,
    /// Upper bound and row of each bucket series.
    buckets: Vec<(f64, usize)>,
}

impl SeriesOperator for ClassicHistogram {
    fn describe(&self) -> String {
        match &self.call {
            HistogramCall::Quantile(q) => format!("histogram_quantile {}", q.describe()),
            HistogramCall::Fraction(lower, upper) => {
                format!("histogram_fraction {} {}", lower.describe(), upper.describe())
            }
        }
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let (first, second) = match &self.call {
            HistogramCall::Quantile(q) => (q.values(table, self.step_count)?, Vec::new()),
            HistogramCall::Fraction(lower, upper) => {
                (lower.values(table, self.step_count)?, upper.values(table, self.step_count)?)
            }
        };
        if matches!(self.call, HistogramCall::Quantile(_)) {
            self.note_invalid_quantiles(&first);
        }
        let histograms = self.collect_histograms(table);
        let mut builder = StepsTableBuilder::new(self.step_count);
        let mut buckets = Vec::new();
        for histogram in &histograms {
            let mut repair = Repair::default();
            for step in 0..self.step_count {
                buckets.clear();
                buckets.extend(histogram.buckets.iter().filter_map(|(upper_bound, row)| {
                    table.cell(*row, step).map(|count| Bucket { upper_bound: *upper_bound, count })
                }));
                if buckets.is_empty() {
                    builder.push_cell(None);
                    continue;
                }
                let value = match self.call {
                    HistogramCall::Quantile(_) => {
                        let quantile = bucket_quantile(first[step], &mut buckets);
                        if quantile.forced_monotonic {
                            repair.note(&quantile);
                        }
                        quantile.value
                    }
                    HistogramCall::Fraction(..) => bucket_fraction(first[step], second[step], &mut buckets),
                };
                builder.push_cell(Some(value));
            }
            builder.finish_series(&histogram.labels);
            self.note_repair(histogram, &repair);
        }
        // Histograms of different names but the same labels meet here.
        let unique = UniqueSeries { step_count: self.step_count, duplicates: Duplicates::GlueDisjoint };
        unique.evaluate(&[Table::try_new(builder.finish())?])
    }
}

impl ClassicHistogram {
    fn note_invalid_quantiles(&self, quantiles: &[f64]) {
        for q in quantiles {
            if !(0.0..=1.0).contains(q) {
                self.annotations.add(invalid_quantile(*q, self.parameter_span.clone()));
            }
        }
    }

    /// Bucket series by the labels without `le` (the name still counts); a series whose `le` is no number is skipped and noted.
    fn collect_histograms(&self, table: &Table) -> Vec<Histogram> {
        let without_le = LabelNames::new(["le"]);
        let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut histograms: Vec<Histogram> = Vec::new();
        for row in (0..table.row_count()).filter(|row| table.has_cell(*row)) {
            let labels = table.labels(row);
            let metric_name = labels.get("__name__").unwrap_or_default();
            let le = labels.get("le").unwrap_or_default();
            let Some(upper_bound) = parse_bound(&le) else {
                let text = format!(
                    "bucket label \"le\" is missing or has a malformed value of {le:?} for metric name {metric_name:?}"
                );
                self.annotations.add(Annotation::promql_warning(text, self.vector_span.clone()));
                continue;
            };
            let mut key = Vec::new();
            labels.write_dropping(&without_le, &mut key);
            let next = histograms.len();
            let at = *index.entry(key.clone()).or_insert(next);
            if at == next {
                let mut result = Vec::new();
                LabelsRef::new(&key).write_dropping(&NAME_LABELS, &mut result);
                histograms.push(Histogram {
                    labels: result,
                    metric_name: metric_name.into_owned(),
                    buckets: Vec::new(),
                });
            }
            histograms[at].buckets.push((upper_bound, row));
        }
        histograms
    }

    fn note_repair(&self, histogram: &Histogram, repair: &Repair) {
        let Some(repair) = &repair.0 else { return };
        let text = format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets {} to {}, with a max diff of {}, over {} samples for metric name {:?}",
            format_go_g(repair.lowest_bound),
            format_go_g(repair.highest_bound),
            format_go_g(repair.max_diff),
            repair.sample_count,
            histogram.metric_name,
        );
        self.annotations.add(Annotation::promql_info(text, self.vector_span.clone()));
    }
}

/// What was repaired over all steps of one histogram.
#[derive(Default)]
struct Repair(Option<RepairedBuckets>);

struct RepairedBuckets {
    lowest_bound: f64,
    highest_bound: f64,
    max_diff: f64,
    sample_count: usize,
}

impl Repair {
    fn note(&mut self, quantile: &crate::kernels::BucketQuantile) {
        let own = self.0.get_or_insert(RepairedBuckets {
            lowest_bound: quantile.min_bucket,
            highest_bound: quantile.max_bucket,
            max_diff: quantile.max_diff,
            sample_count: 0,
        });
        own.lowest_bound = own.lowest_bound.min(quantile.min_bucket);
        own.highest_bound = own.highest_bound.max(quantile.max_bucket);
        own.max_diff = own.max_diff.max(quantile.max_diff);
        own.sample_count += 1;
    }
}

/// A bound as Go's ParseFloat reads it: also `+Inf`, `inf`, `NaN`, but no surrounding space.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}
