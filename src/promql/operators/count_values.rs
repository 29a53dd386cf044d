//! `count_values("label", v)`.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;

use super::{SeriesOperator, Table};
use crate::encode::{format_histogram, format_plain_float};
use crate::error::Error;
use crate::model::{LabelsBuilder, LabelsRef, Sample, StepsTableBuilder};
use crate::promql::functions::labels::LabelSelection;

/// How often each value occurs in each group at each step; the value becomes a label, unless `without` names that label.
#[derive(Debug)]
pub struct CountValues {
    /// The label that gets the value; it replaces one of that name.
    pub label: String,
    /// The labels that make a group.
    pub grouping: LabelSelection,
    /// Steps a row.
    pub step_count: usize,
}

impl SeriesOperator for CountValues {
    fn describe(&self) -> String {
        format!("count_values {:?} {}", self.label, self.grouping.describe())
    }

    fn step_count(&self) -> usize {
        self.step_count
    }

    fn evaluate(&self, inputs: &[Table]) -> Result<RecordBatch, Error> {
        let table = &inputs[0];
        let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut series: Vec<(Vec<u8>, Vec<Option<f64>>)> = Vec::new();
        let shows_value =
            !matches!(&self.grouping, LabelSelection::Drop(names) if names.iter().any(|name| name == self.label));
        let mut key = Vec::new();
        for row in 0..table.row_count() {
            key.clear();
            self.grouping.write(table.labels(row), &mut key);
            let group = LabelsRef::new(&key).to_labels();
            let mut last: Option<(u64, usize)> = None;
            for step in 0..self.step_count {
                let Some(sample) = table.sample(row, step) else { continue };
                // A histogram is not compared with the one before it: its text would have to be made for that.
                let bits = sample.as_float().map(f64::to_bits);
                let at = match last {
                    Some((last_bits, at)) if bits == Some(last_bits) => at,
                    _ => {
                        let mut builder = LabelsBuilder::from(&group);
                        if shows_value {
                            builder.set(&self.label, &format_sample(&sample));
                        }
                        let labels = builder.finish().encode().into_bytes();
                        let at = *index.entry(labels.clone()).or_insert(series.len());
                        if at == series.len() {
                            series.push((labels, vec![None; self.step_count]));
                        }
                        last = bits.map(|bits| (bits, at));
                        at
                    }
                };
                *series[at].1[step].get_or_insert(0.0) += 1.0;
            }
        }
        let mut builder = StepsTableBuilder::new(self.step_count);
        for (labels, cells) in &series {
            cells.iter().for_each(|cell| builder.push_cell(*cell));
            builder.finish_series(labels);
        }
        Ok(builder.finish())
    }
}

fn format_sample(sample: &Sample) -> String {
    match sample {
        Sample::Float(value) => format_plain_float(*value),
        Sample::Histogram(histogram) => format_histogram(histogram),
    }
}

#[test]
fn of_two_shortest_texts_the_even_one_names_the_series() {
    for (value, expected) in [
        (234_748_903_337_820.13, "234748903337820.12"),
        (823_076_435_096_645.3, "823076435096645.2"),
        (1e21, "1000000000000000000000"),
        (-0.0, "-0"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        assert_eq!(format_sample(&Sample::Float(value)), expected);
    }
}
