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
        for q in &quantiles {
            if !(0.0..=1.0).contains(q) {
                self.annotations.add(invalid_quantile(*q, self.parameter_span.clone()));
            }
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
