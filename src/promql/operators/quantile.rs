//! `quantile(q, v)` across series.

use arrow::record_batch::RecordBatch;

use super::top::Parameter;
use super::{Grouping, SeriesOperator, Table};
use crate::error::Error;
use crate::kernels::quantile;
use crate::model::{AnnotationSink, StepsTableBuilder};
use crate::promql::functions::histogram_folds::histogram_ignored;
use crate::promql::functions::labels::LabelSelection;
use crate::promql::functions::range::invalid_quantile;
use crate::syntax::Span;

/// The q-quantile of each group at each step. Holistic: needs all values of a group at once.
#[derive(Debug)]
pub struct GroupQuantile {
    /// q, constant or one a step.
    pub parameter: Parameter,
    /// Where q stands in the query.
    pub parameter_span: Span,
    /// The labels that make a group.
    pub grouping: LabelSelection,
    /// Steps a row.
    pub step_count: usize,
    /// Where the vector stands in the query.
    pub vector_span: Span,
    /// Who is told of a q outside of 0..1, and of histograms.
    pub annotations: AnnotationSink,
}

impl SeriesOperator for GroupQuantile {
    fn describe(&self) -> String {
        format!("quantile {} {}", self.parameter.describe(), self.grouping.describe())
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let quantiles = self.parameter.values(inputs, self.step_count)?;
        for q in told_of(&quantiles) {
            self.annotations.add(invalid_quantile(q, self.parameter_span.clone()));
        }
        if table.has_histograms() {
            self.annotations.add(histogram_ignored("quantile", self.vector_span.clone()));
        }
        let grouping = Grouping::by(table, &self.grouping);
        let mut builder = StepsTableBuilder::new(self.step_count);
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for (key, rows) in grouping.keys.iter().zip(&grouping.rows) {
            for (step, q) in quantiles.iter().enumerate() {
                values.clear();
                values.extend(rows.iter().filter_map(|row| table.cell(*row, step)));
                builder.push_cell((!values.is_empty()).then(|| quantile(*q, &mut values)));
            }
            labels.clear();
            table.labels(rows[0]).write_mark(&mut labels);
            labels.extend_from_slice(key);
            builder.finish_series(&labels);
        }
        Ok(builder.finish())
    }
}

/// Of all q outside of 0..1 those that are told of: NaN, the greatest and the least.
///
/// | q, step by step | told |
/// |---|---|
/// | 0.5 2 3 | 3 |
/// | -1 2 -3 | 2 -3 |
/// | NaN 2 -1 | NaN: nothing compares with it |
/// | NaN 2 +Inf | NaN +Inf: but for infinities, which come first |
///
/// Source: Prometheus v3.14 promql/value.go `newFParams`, engine.go `rangeEvalAgg`; Go's `math.Max` and `math.Min`.
fn told_of(quantiles: &[f64]) -> impl Iterator<Item = f64> {
    let is_nan = quantiles.iter().any(|q| q.is_nan());
    let extreme = |infinity: f64, fold: fn(f64, f64) -> f64| {
        let found = quantiles.iter().copied().fold(-infinity, fold);
        (!is_nan || found == infinity).then_some(found)
    };
    let nan = is_nan.then_some(f64::NAN);
    let greatest = extreme(f64::INFINITY, f64::max).filter(|q| *q > 1.0);
    let least = extreme(f64::NEG_INFINITY, f64::min).filter(|q| *q < 0.0);
    [nan, greatest, least].into_iter().flatten()
}

#[test]
fn of_many_bad_quantiles_the_outermost_are_told() {
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    for (quantiles, expected) in [
        (&[0.5, 1.0, 0.0][..], &[][..]),
        (&[0.5, 2.0, 3.0], &[3.0]),
        (&[-1.0, 2.0, -3.0], &[2.0, -3.0]),
        (&[NAN, 2.0, -1.0], &[NAN]),
        (&[2.0, NAN, INF, -1.0], &[NAN, INF]),
        (&[-INF, INF], &[INF, -INF]),
        (&[-INF, NAN], &[NAN, -INF]),
    ] {
        let told: Vec<String> = told_of(quantiles).map(|q| q.to_string()).collect();
        let expected: Vec<String> = expected.iter().map(|q| q.to_string()).collect();
        assert_eq!(told, expected, "{quantiles:?}");
    }
}
