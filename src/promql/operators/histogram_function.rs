//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`: of native histograms, and of classic ones, which are
//! series with an `le` label.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::record_batch::RecordBatch;

use super::bucket_repair::Repair;
use super::top::Parameter;
use super::unique_series::{Duplicates, UniqueSeries};
use super::{SeriesOperator, Table};
use crate::encode::format_general_float;
use crate::error::Error;
use crate::kernels::native_histogram::{NanObservations, histogram_fraction, histogram_quantile};
use crate::kernels::{Bucket, bucket_fraction, bucket_quantile};
use crate::model::{
    Annotation, AnnotationSink, LabelNames, LabelsBuilder, LabelsRef, NativeHistogram, StepGrid, StepsTableBuilder,
};
use crate::promql::functions::labels::{NAME_LABELS, NameRemoval};
use crate::promql::functions::range::invalid_quantile;
use crate::syntax::Span;

/// One quantile argument may be this many different numbers over the steps of a query: each is a label value, and makes series
/// of its own.
const DISTINCT_QUANTILES_MAX: usize = 1_000;

/// Which function.
#[derive(Clone, Debug)]
pub enum HistogramCall {
    /// `histogram_quantile(q, v)`
    Quantile(Parameter),
    /// `histogram_quantiles(v, "label", q, …)`
    Quantiles {
        /// The label that gets the quantile.
        label: String,
        /// The quantiles.
        quantiles: Vec<Parameter>,
    },
    /// `histogram_fraction(lower, upper, v)`
    Fraction(Parameter, Parameter),
}

impl HistogramCall {
    fn scalars(&self) -> Vec<&Parameter> {
        match self {
            Self::Quantile(q) => vec![q],
            Self::Quantiles { quantiles, .. } => quantiles.iter().collect(),
            Self::Fraction(lower, upper) => vec![lower, upper],
        }
    }
}

/// One number per histogram and step.
///
/// Where a native and a classic histogram of the same labels have samples at the same step, neither counts, with a warning.
#[derive(Debug)]
pub struct HistogramFunction {
    /// Which function, with its scalars.
    pub call: HistogramCall,
    /// Where the scalars stand in the query.
    pub scalar_spans: Vec<Span>,
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

/// The bucket series of one classic histogram.
struct Classic {
    /// Its labels without `le`.
    labels: Vec<u8>,
    /// The metric name where notes name it, else empty.
    noted_name: String,
    /// Upper bound and row of each bucket series.
    buckets: Vec<(f64, usize)>,
    /// Steps at which a native histogram has the same labels.
    conflicts: HashSet<usize>,
}

/// A series with native histograms.
struct Native<'a> {
    labels: LabelsRef<'a>,
    noted_name: String,
    /// By step, without those that a classic histogram has too.
    histograms: Vec<(usize, &'a NativeHistogram)>,
}

/// What is read from each histogram.
#[derive(Copy, Clone)]
enum Reading<'a> {
    Quantile(&'a [f64]),
    Fraction(&'a [f64], &'a [f64]),
}

/// A reading that makes a series of each histogram.
struct ResultColumn<'a> {
    reading: Reading<'a>,
    /// Label name and value that its series get.
    label: Option<(&'a str, String)>,
    /// The steps at which that is the label's value; `None` for all.
    steps: Option<Vec<bool>>,
}

impl ResultColumn<'_> {
    fn has_step(&self, step: usize) -> bool {
        self.steps.as_ref().is_none_or(|steps| steps[step])
    }
}

impl SeriesOperator for HistogramFunction {
    fn describe(&self) -> String {
        match &self.call {
            HistogramCall::Quantile(q) => format!("histogram_quantile {}", q.describe()),
            HistogramCall::Quantiles { label, quantiles } => {
                let quantiles: Vec<String> = quantiles.iter().map(Parameter::describe).collect();
                format!("histogram_quantiles {label:?} {}", quantiles.join(" "))
            }
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
        let scalars = self.call.scalars();
        let scalars = scalars.iter().map(|scalar| scalar.values(inputs, step_count)).collect::<Result<Vec<_>, _>>()?;
        if !matches!(self.call, HistogramCall::Fraction(..)) {
            self.note_invalid_quantiles(&scalars);
        }
        let mut classics = self.collect_classic(table);
        let natives = self.collect_native(table, &mut classics);
        let mut builder = StepsTableBuilder::new(step_count);
        let mut repairs: BTreeMap<&str, Repair> = BTreeMap::new();
        for column in self.result_columns(&scalars)? {
            for native in &natives {
                self.write_native(&column, native, &mut builder);
            }
            for classic in &classics {
                self.write_classic(&column, classic, table, &mut builder, &mut repairs);
            }
        }
        for (name, repair) in repairs {
            let text = repair.text(&named_metric(name));
            self.annotations.add(Annotation::promql_info(text, self.vector_span.clone()));
        }
        // Histograms of different names but the same labels meet here.
        let unique = UniqueSeries { step_count, duplicates: self.duplicates };
        unique.evaluate(&[Table::try_new(builder.finish())?])
    }
}

impl HistogramFunction {
    fn note_invalid_quantiles(&self, quantiles: &[Vec<f64>]) {
        for (quantiles, span) in quantiles.iter().zip(&self.scalar_spans) {
            for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                self.annotations.add(invalid_quantile(*q, span.clone()));
            }
        }
    }

    fn result_columns<'a>(&'a self, scalars: &'a [Vec<f64>]) -> Result<Vec<ResultColumn<'a>>, Error> {
        let single = |reading| vec![ResultColumn { reading, label: None, steps: None }];
        match (&self.call, scalars) {
            (HistogramCall::Quantile(_), [q]) => Ok(single(Reading::Quantile(q))),
            (HistogramCall::Fraction(..), [lower, upper]) => Ok(single(Reading::Fraction(lower, upper))),
            (HistogramCall::Quantiles { label, .. }, _) => {
                let columns = scalars.iter().map(|quantiles| labeled_columns(label, quantiles));
                Ok(columns.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
            _ => Err(Error::internal("a histogram function has another number of scalars")),
        }
    }

    fn noted_name(&self, labels: LabelsRef<'_>) -> String {
        let name = labels.get("__name__").filter(|_| self.name_removal == NameRemoval::AtEnd);
        name.unwrap_or_default().into_owned()
    }

    /// Bucket series by the labels without `le` (the name still counts); a series whose `le` is no number is skipped and noted.
    fn collect_classic(&self, table: &Table) -> Vec<Classic> {
        let without_le = LabelNames::new(["le"]);
        let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut histograms: Vec<Classic> = Vec::new();
        for row in (0..table.row_count()).filter(|row| table.has_number(*row)) {
            let labels = table.labels(row);
            let name = self.noted_name(labels);
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
                histograms.push(Classic {
                    labels: key,
                    noted_name: name,
                    buckets: Vec::new(),
                    conflicts: HashSet::new(),
                });
            }
            histograms[at].buckets.push((upper_bound, row));
        }
        histograms
    }

    /// The series with native histograms; takes away what stands at one step with a classic histogram of the same labels.
    fn collect_native<'a>(&self, table: &'a Table, classics: &mut [Classic]) -> Vec<Native<'a>> {
        if !table.has_histograms() {
            return Vec::new();
        }
        let by_labels: HashMap<Vec<u8>, usize> =
            classics.iter().enumerate().map(|(at, classic)| (classic.labels.clone(), at)).collect();
        let mut natives = Vec::new();
        for row in (0..table.row_count()).filter(|row| !table.histograms(*row).is_empty()) {
            let labels = table.labels(row).without_mark();
            let noted_name = self.noted_name(labels);
            let classic = by_labels.get(labels.as_bytes()).map(|at| &mut classics[*at]);
            let mut histograms: Vec<(usize, &NativeHistogram)> = table
                .histograms(row)
                .iter()
                .filter_map(|item| Some((usize::try_from(item.at).ok()?, item.histogram.as_ref())))
                .collect();
            if let Some(classic) = classic {
                let has_both = |step: usize| classic.buckets.iter().any(|(_, row)| table.cell(*row, step).is_some());
                let (both, alone) = histograms.into_iter().partition(|(step, _)| has_both(*step));
                histograms = alone;
                let both: Vec<(usize, &NativeHistogram)> = both;
                if !both.is_empty() {
                    let metric = named_metric(&noted_name);
                    let text = format!("vector contains a mix of classic and native histograms{metric}");
                    self.annotations.add(Annotation::promql_warning(text, self.vector_span.clone()));
                }
                classic.conflicts.extend(both.into_iter().map(|(step, _)| step));
            }
            natives.push(Native { labels, noted_name, histograms });
        }
        natives
    }

    fn write_native(&self, column: &ResultColumn<'_>, native: &Native<'_>, builder: &mut StepsTableBuilder) {
        let mut histograms = native.histograms.iter().peekable();
        for step in 0..self.grid.step_count() {
            let here = histograms.next_if(|(at, _)| *at == step).filter(|_| column.has_step(step));
            let value = here.map(|(_, histogram)| {
                let (value, note) = match column.reading {
                    Reading::Quantile(quantiles) => histogram_quantile(quantiles[step], histogram),
                    Reading::Fraction(lower, upper) => histogram_fraction(lower[step], upper[step], histogram),
                };
                note.into_iter().for_each(|note| self.note_nan(note, &native.noted_name));
                value
            });
            builder.push_cell(value);
        }
        builder.finish_series(&self.result_labels(native.labels, column));
    }

    fn write_classic<'a>(
        &self,
        column: &ResultColumn<'_>,
        classic: &'a Classic,
        table: &Table,
        builder: &mut StepsTableBuilder,
        repairs: &mut BTreeMap<&'a str, Repair>,
    ) {
        let mut buckets = Vec::new();
        for step in 0..self.grid.step_count() {
            buckets.clear();
            if column.has_step(step) && !classic.conflicts.contains(&step) {
                buckets.extend(classic.buckets.iter().filter_map(|(upper_bound, row)| {
                    table.cell(*row, step).map(|count| Bucket { upper_bound: *upper_bound, count })
                }));
            }
            if buckets.is_empty() {
                builder.push_cell(None);
                continue;
            }
            let value = match column.reading {
                Reading::Quantile(quantiles) => {
                    let quantile = bucket_quantile(quantiles[step], &mut buckets);
                    if quantile.forced_monotonic {
                        let own = Repair::of(&quantile, self.grid.time(step));
                        repairs.entry(&classic.noted_name).and_modify(|all| all.add(&own)).or_insert(own);
                    }
                    quantile.value
                }
                Reading::Fraction(lower, upper) => bucket_fraction(lower[step], upper[step], &mut buckets),
            };
            builder.push_cell(Some(value));
        }
        builder.finish_series(&self.result_labels(LabelsRef::new(&classic.labels), column));
    }

    /// Where names go at once they go before the quantile's label comes, which may itself be the name.
    fn result_labels(&self, labels: LabelsRef<'_>, column: &ResultColumn<'_>) -> Vec<u8> {
        let mut result = Vec::new();
        let Some((name, value)) = &column.label else {
            self.name_removal.write(labels, &mut result);
            return result;
        };
        match self.name_removal {
            NameRemoval::AtOnce => labels.write_dropping(&NAME_LABELS, &mut result),
            NameRemoval::AtEnd => result.extend_from_slice(labels.without_mark().as_bytes()),
        }
        let mut builder = LabelsBuilder::from(&LabelsRef::new(&result).to_labels());
        builder.set(name, value);
        let labeled = builder.finish().encode().into_bytes();
        match self.name_removal {
            NameRemoval::AtOnce => labeled,
            NameRemoval::AtEnd => {
                result.clear();
                LabelsRef::new(&labeled).write_with_name_dropped(&mut result);
                result
            }
        }
    }

    /// Prometheus' source points to the first argument, its published cases to the vector, which is where the NaN are.
    fn note_nan(&self, note: NanObservations, name: &str) {
        let text = match note {
            NanObservations::QuantileIsNan => "input to histogram_quantile has NaN observations, result is NaN",
            NanObservations::QuantileIsSkewed => {
                "input to histogram_quantile has NaN observations, result is skewed higher"
            }
            NanObservations::FractionLeavesOut => {
                "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            }
        };
        let text = format!("{text}{}", named_metric(name));
        self.annotations.add(Annotation::promql_info(text, self.vector_span.clone()));
    }
}

/// A column for each number that a quantile argument is.
fn labeled_columns<'a>(label: &'a str, quantiles: &'a [f64]) -> Result<Vec<ResultColumn<'a>>, Error> {
    let mut columns: Vec<ResultColumn<'a>> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    for (step, q) in quantiles.iter().enumerate() {
        let text = format_open_metrics_float(*q);
        let at = *index.entry(text.clone()).or_insert(columns.len());
        if at == columns.len() {
            if at == DISTINCT_QUANTILES_MAX {
                let text = format!("histogram_quantiles: a quantile takes more than {DISTINCT_QUANTILES_MAX} values");
                return Err(Error::execution(text));
            }
            let steps = Some(vec![false; quantiles.len()]);
            columns.push(ResultColumn { reading: Reading::Quantile(quantiles), label: Some((label, text)), steps });
        }
        if let Some(steps) = &mut columns[at].steps {
            steps[step] = true;
        }
    }
    Ok(columns)
}

fn named_metric(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" for metric name {name:?}") }
}

/// As OpenMetrics writes the value of a `quantile` label: `0.5`, `1.0`, `1e-07`.
fn format_open_metrics_float(value: f64) -> String {
    if value == 0.0 {
        return "0.0".to_owned();
    }
    let text = format_general_float(value);
    let is_whole = value.is_finite() && !text.contains(['e', '.']);
    if is_whole { text + ".0" } else { text }
}

/// A bound as Go's ParseFloat reads it: also `+Inf`, `inf`, `NaN`, but no surrounding space.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_labels_are_openmetrics_floats() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.5, "0.5"),
            (0.999, "0.999"),
            (25.0, "25.0"),
            (1e-7, "1e-07"),
            (2e6, "2e+06"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(format_open_metrics_float(value), text);
        }
    }

    #[test]
    fn a_quantile_that_changes_makes_a_column_of_each_number() {
        let columns = labeled_columns("q", &[0.5, 0.9, 0.5]).expect("two");
        let shown: Vec<_> =
            columns.iter().map(|column| (column.label.clone().expect("one").1, column.steps.clone())).collect();
        assert_eq!(
            shown,
            [("0.5".to_owned(), Some(vec![true, false, true])), ("0.9".to_owned(), Some(vec![false, true, false]))]
        );
        let many: Vec<f64> = (0..=DISTINCT_QUANTILES_MAX).map(|at| at as f64).collect();
        assert!(labeled_columns("q", &many).is_err());
    }
}
