//! Histograms cut down to what `histogram_count`, `histogram_sum` and `histogram_avg` look at.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::{struct_argument, with_histograms};
use crate::error::Error;
use crate::kernels::{RangeWindows, histogram_stats, without_buckets};
use crate::model::{HistogramList, HistogramListBuilder, SamplesColumn, TimedHistogram, ValuesColumn};

/// `histogram_stats(samples)`: raw histograms without their buckets, each with a hint of what the buckets said of resets.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct HistogramStats {
    /// The windows in which the samples will be read, with their left edges.
    pub reads: RangeWindows,
}

impl RowFunction for HistogramStats {
    fn name(&self) -> String {
        "histogram_stats".to_owned()
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        same_type(argument_types)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let column = struct_argument(arguments, 0, row_count)?;
        let histograms = SamplesColumn::try_new(&column)?.histograms();
        let stats = map_rows(histograms, column.len(), |row| histogram_stats(&row, &self.reads))?;
        replaced(&column, stats)
    }
}

/// `without_buckets(values)`: the histograms of step cells without their buckets.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WithoutBuckets;

impl RowFunction for WithoutBuckets {
    fn name(&self) -> String {
        "without_buckets".to_owned()
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error> {
        same_type(argument_types)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        let column = struct_argument(arguments, 0, row_count)?;
        let histograms = ValuesColumn::try_new(&column)?.histograms();
        let cut =
            |timed: TimedHistogram| TimedHistogram { histogram: Arc::new(without_buckets(&timed.histogram)), ..timed };
        let stats = map_rows(histograms, column.len(), |row| row.into_iter().map(cut).collect())?;
        replaced(&column, stats)
    }
}

fn same_type(argument_types: &[DataType]) -> Result<DataType, Error> {
    argument_types.first().cloned().ok_or_else(|| Error::internal("a function of histograms lacks its column"))
}

/// `None` where there is no histogram and so nothing to do.
fn map_rows(
    histograms: HistogramList<'_>,
    row_count: usize,
    change: impl Fn(Vec<TimedHistogram>) -> Vec<TimedHistogram>,
) -> Result<Option<HistogramListBuilder>, Error> {
    if histograms.is_empty() {
        return Ok(None);
    }
    let mut builder = HistogramListBuilder::default();
    for row in 0..row_count {
        change(histograms.row(row)?).into_iter().for_each(|timed| builder.push(timed));
        builder.finish_row();
    }
    Ok(Some(builder))
}

fn replaced(column: &StructArray, stats: Option<HistogramListBuilder>) -> Result<ArrayRef, Error> {
    match stats {
        None => Ok(Arc::new(column.clone())),
        Some(mut builder) => Ok(Arc::new(with_histograms(column, builder.finish())?)),
    }
}
