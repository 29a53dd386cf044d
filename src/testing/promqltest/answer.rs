//! A query's answer, taken out of its tables, so that answers of any transport can be compared.

use std::fmt;

use super::super::{SequenceValue, format_float, format_labels};
use crate::error::Error;
use crate::model::{Labels, QueryValue, Sample, SamplesTable, StepsTable};

/// Time (ms) and sample.
pub type Point = (i64, Sample);

/// What a query evaluated to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// A text.
    String(String),
    /// One sample a series, in the order of the answer.
    Vector(Vec<(Labels, Sample)>),
    /// Points a series, in the order of the answer.
    Matrix(Vec<(Labels, Vec<Point>)>),
}

/// A value with its annotations as the API shows them: `PromQL warning: … (line:col)`.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedAnswer {
    /// The value.
    pub answer: Answer,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Infos.
    pub infos: Vec<String>,
}

impl Answer {
    /// Takes the answer out of the engine's tables. Rows without any sample are left out; so the engine may leave them in.
    pub fn from_query_value(value: &QueryValue) -> Result<Self, Error> {
        match value {
            QueryValue::Scalar { value, .. } => Ok(Self::Scalar(*value)),
            QueryValue::String { text, .. } => Ok(Self::String(text.clone())),
            QueryValue::Vector { batches, .. } => {
                let mut series = Vec::new();
                for batch in batches {
                    let table = StepsTable::try_new(batch)?;
                    for row in 0..table.row_count() {
                        let sample = table.samples(row)?.into_iter().next().flatten();
                        series.extend(sample.map(|sample| (table.labels(row).to_labels(), sample)));
                    }
                }
                Ok(Self::Vector(series))
            }
            QueryValue::Matrix { grid, batches } => {
                let mut series = Vec::new();
                for batch in batches {
                    let table = StepsTable::try_new(batch)?;
                    for row in 0..table.row_count() {
                        let cells = grid.times().zip(table.samples(row)?);
                        let points: Vec<_> = cells.filter_map(|(time, cell)| Some((time.0, cell?))).collect();
                        series.push((table.labels(row).to_labels(), points));
                    }
                }
                series.retain(|(_, points)| !points.is_empty());
                Ok(Self::Matrix(series))
            }
            QueryValue::Samples { batches } => {
                let mut series = Vec::new();
                for batch in batches {
                    let table = SamplesTable::try_new(batch)?;
                    for row in 0..table.row_count() {
                        series.push((table.labels(row).to_labels(), raw_points(&table, row)?));
                    }
                }
                series.retain(|(_, points)| !points.is_empty());
                Ok(Self::Matrix(series))
            }
        }
    }

    /// What holds at one time of a range query's answer, as an instant vector.
    pub fn vector_at(&self, time_ms: i64) -> Option<Self> {
        let Self::Matrix(series) = self else { return None };
        let at = |points: &[Point]| points.iter().find(|(time, _)| *time == time_ms).map(|(_, sample)| sample.clone());
        let values = series.iter().filter_map(|(labels, points)| Some((labels.clone(), at(points)?)));
        Some(Self::Vector(values.collect()))
    }
}

/// Floats and histograms of a row of a samples table, by time.
pub fn raw_points(table: &SamplesTable<'_>, row: usize) -> Result<Vec<Point>, Error> {
    let (times, values) = table.series(row);
    let mut points: Vec<Point> = times.iter().zip(values).map(|(time, value)| (*time, Sample::Float(*value))).collect();
    if table.histograms().row_len(row) > 0 {
        let histograms = table.histograms().row(row)?.into_iter();
        points.extend(histograms.map(|item| (item.at, Sample::Histogram(item.histogram))));
        points.sort_by_key(|(time, _)| *time);
    }
    Ok(points)
}

/// More series than this of an answer are only counted.
const SHOWN_MAX: usize = 30;

/// One line a series.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(value) => f.write_str(&format_float(*value)),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Vector(series) => {
                let lines = series.iter().map(|(labels, sample)| {
                    format!("{} {}", format_labels(labels), SequenceValue::from(sample.clone())) //
                });
                write_lines(f, lines, "empty vector")
            }
            Self::Matrix(series) => {
                let points = |points: &[Point]| {
                    let texts: Vec<_> = points.iter().map(|(time, sample)| format_point(*time, sample)).collect();
                    texts.join(" ")
                };
                let lines = series.iter().map(|(labels, own)| format!("{} {}", format_labels(labels), points(own)));
                write_lines(f, lines, "empty matrix")
            }
        }
    }
}

/// `value@seconds`.
pub fn format_point(time_ms: i64, sample: &Sample) -> String {
    format!("{}@{}", SequenceValue::from(sample.clone()), crate::model::TimestampMs(time_ms))
}

fn write_lines(
    f: &mut fmt::Formatter<'_>,
    lines: impl ExactSizeIterator<Item = String>,
    if_empty: &str,
) -> fmt::Result {
    let count = lines.len();
    if count == 0 {
        return f.write_str(if_empty);
    }
    for (index, line) in lines.take(SHOWN_MAX).enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        f.write_str(&line)?;
    }
    if count > SHOWN_MAX {
        write!(f, "\n… and {} more", count - SHOWN_MAX)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{DurationMs, SamplesTableBuilder, StepGrid, StepsTableBuilder, TimestampMs};

    fn labels(value: &str) -> Labels {
        Labels::from_pairs([("a", value)])
    }

    #[test]
    fn tables_become_series_and_rows_without_samples_vanish() {
        let mut steps = StepsTableBuilder::new(2);
        let float = |value| Some(Sample::Float(value));
        let histogram = Some(Sample::Histogram(Arc::default()));
        for (value, cells) in
            [("1", [float(1.0), None]), ("2", [None, None]), ("3", [float(3.0), float(4.0)]), ("4", [None, histogram])]
        {
            cells.into_iter().for_each(|cell| steps.push_sample(cell));
            steps.finish_series(labels(value).encode().as_bytes());
        }
        let grid = StepGrid::with_count(TimestampMs(1000), DurationMs(500), 2);
        let matrix =
            Answer::from_query_value(&QueryValue::Matrix { grid, batches: vec![steps.finish()] }).expect("fits");
        assert_eq!(matrix.to_string(), "{a=\"1\"} 1@1\n{a=\"3\"} 3@1 4@1.500\n{a=\"4\"} {{}}@1.500");
        let middle = matrix.vector_at(1500).map(|vector| vector.to_string());
        assert_eq!(middle.as_deref(), Some("{a=\"3\"} 4\n{a=\"4\"} {{}}"));

        let mut samples = SamplesTableBuilder::default();
        samples.push_sample(1, 2.0);
        samples.push_sample(3, 3.0);
        samples.push_histogram(2, None, Arc::default());
        samples.finish_series(labels("1").encode().as_bytes());
        samples.finish_series(labels("2").encode().as_bytes());
        let raw = Answer::from_query_value(&QueryValue::Samples { batches: vec![samples.finish()] }).expect("fits");
        assert_eq!(raw.to_string(), "{a=\"1\"} 2@0.001 {{}}@0.002 3@0.003");
    }

    #[test]
    fn a_table_of_another_shape_is_an_error() {
        let batches = vec![SamplesTableBuilder::default().finish()];
        assert!(Answer::from_query_value(&QueryValue::Vector { time: TimestampMs(0), batches }).is_err());
    }

    #[test]
    fn long_answers_are_cut_when_shown() {
        let many = (0..40).map(|at| (labels(&at.to_string()), Sample::Float(0.0))).collect();
        assert!(Answer::Vector(many).to_string().ends_with("\n… and 10 more"));
        assert_eq!(Answer::Vector(Vec::new()).to_string(), "empty vector");
    }
}
