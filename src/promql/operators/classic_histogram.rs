//! `histogram_quantile` and `histogram_fraction` on classic histograms: series with an `le` label.

use std::collections::{BTreeMap, HashMap};

use arrow::record_batch::RecordBatch;

use super::top::Parameter;
use super::unique_series::{Duplicates, UniqueSeries};
use super::{SeriesOperator, Table};
use crate::error::Error;
use crate::kernels::{Bucket, bucket_fraction, bucket_quantile};
use crate::model::{Annotation, AnnotationSink, LabelNames, LabelsRef, StepGrid, StepsTableBuilder, TimestampMs};
use crate::promql::functions::labels::NameRemoval;
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
    /// The steps.
    pub grid: StepGrid,
    /// When names go. Only where they go at the end do notes on bad buckets name the metric.
    pub name_removal: NameRemoval,
    /// What becomes of histograms of different names but the same labels.
    pub duplicates: Duplicates,
    /// Who is told of bad buckets.
    pub annotations: AnnotationSink,
}

/// The bucket series of one histogram.
struct Histogram {
    /// Result labels: without `le`, and without the name or marked.
    labels: Vec<u8>,
    /// The metric name where notes name it, else empty.
    noted_name: String,
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
        self.grid.step_count()
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let step_count = self.grid.step_count();
        let (first, second) = match &self.call {
            HistogramCall::Quantile(q) => (q.values(inputs, step_count)?, Vec::new()),
            HistogramCall::Fraction(lower, upper) => {
                (lower.values(inputs, step_count)?, upper.values(inputs, step_count)?)
            }
        };
        if matches!(self.call, HistogramCall::Quantile(_)) {
            self.note_invalid_quantiles(&first);
        }
        let histograms = self.collect_histograms(table);
        let mut builder = StepsTableBuilder::new(step_count);
        let mut buckets = Vec::new();
        let mut repairs: BTreeMap<&str, Repair> = BTreeMap::new();
        for histogram in &histograms {
            for step in 0..step_count {
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
                            let time = self.grid.time(step);
                            let own = Repair::of(&quantile, time);
                            repairs.entry(&histogram.noted_name).and_modify(|all| all.add(&own)).or_insert(own);
                        }
                        quantile.value
                    }
                    HistogramCall::Fraction(..) => bucket_fraction(first[step], second[step], &mut buckets),
                };
                builder.push_cell(Some(value));
            }
            builder.finish_series(&histogram.labels);
        }
        repairs.into_iter().for_each(|(name, repair)| self.note_repair(name, &repair));
        // Histograms of different names but the same labels meet here.
        let unique = UniqueSeries { step_count, duplicates: self.duplicates };
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
            let name = labels.get("__name__").filter(|_| self.name_removal == NameRemoval::AtEnd).unwrap_or_default();
            let le = labels.get("le").unwrap_or_default();
            let Some(upper_bound) = parse_bound(&le) else {
                let metric = named_metric(&name);
                let text = format!("bucket label \"le\" is missing or has a malformed value of {le:?}{metric}");
                self.annotations.add(Annotation::promql_warning(text, self.vector_span.clone()));
                continue;
            };
            let mut key = Vec::new();
            labels.write_dropping(&without_le, &mut key);
            let next = histograms.len();
            let at = *index.entry(key.clone()).or_insert(next);
            if at == next {
                let mut result = Vec::new();
                self.name_removal.write(LabelsRef::new(&key), &mut result);
                histograms.push(Histogram { labels: result, noted_name: name.into_owned(), buckets: Vec::new() });
            }
            histograms[at].buckets.push((upper_bound, row));
        }
        histograms
    }

    fn note_repair(&self, name: &str, repair: &Repair) {
        let text = format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            named_metric(name),
            format_go_g(repair.lowest_bound),
            format_go_g(repair.highest_bound),
            format_two_digits(repair.max_diff),
            repair.sample_count,
            format_rfc3339(repair.first),
            format_rfc3339(repair.last),
        );
        self.annotations.add(Annotation::promql_info(text, self.vector_span.clone()));
    }
}

fn named_metric(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" for metric name {name:?}") }
}

/// What was repaired over all steps and histograms that one note is about.
struct Repair {
    lowest_bound: f64,
    highest_bound: f64,
    max_diff: f64,
    sample_count: usize,
    first: TimestampMs,
    last: TimestampMs,
}

impl Repair {
    fn of(quantile: &crate::kernels::BucketQuantile, time: TimestampMs) -> Self {
        Self {
            lowest_bound: quantile.min_bucket,
            highest_bound: quantile.max_bucket,
            max_diff: quantile.max_diff,
            sample_count: 1,
            first: time,
            last: time,
        }
    }

    fn add(&mut self, other: &Self) {
        self.lowest_bound = self.lowest_bound.min(other.lowest_bound);
        self.highest_bound = self.highest_bound.max(other.highest_bound);
        self.max_diff = self.max_diff.max(other.max_diff);
        self.sample_count += other.sample_count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// As Go's `%.2g`: at most two significant digits.
///
/// | value | text |
/// |---|---|
/// | 0.123 | 0.12 |
/// | 10 | 10 |
/// | 123 | 1.2e+02 |
fn format_two_digits(value: f64) -> String {
    let text = format!("{value:.1e}");
    let exponent = text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match exponent {
        Some((digits, exponent @ 2..)) => format!("{}e+{exponent:02}", digits.trim_end_matches(".0")),
        _ => format_go_g(text.parse().unwrap_or(value)),
    }
}

/// Whole seconds, UTC, as Go's `time.RFC3339`.
fn format_rfc3339(time: TimestampMs) -> String {
    match chrono::DateTime::from_timestamp(time.0 / 1_000, 0) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        None => time.to_string(),
    }
}

/// A bound as Go's ParseFloat reads it: also `+Inf`, `inf`, `NaN`, but no surrounding space.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_printed_as_go_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (0.00001234, "1.2e-05"),
            (1.0, "1"),
            (9.96, "10"),
            (10.0, "10"),
            (99.4, "99"),
            (99.6, "1e+02"),
            (123.0, "1.2e+02"),
            (1.24e300, "1.2e+300"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_two_digits(value), text);
        }
    }
}
