//! One row a sample, as data frames like it.
//!
//! The series is the text `up{job="a"}` behind a dictionary: four bytes a row. A map a row would be hundreds, and neither pandas
//! nor JDBC reads maps behind dictionaries; who wants to group by labels asks for them as columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array, ListArray,
    StringArray, StructArray, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::Int32Type;

use super::edge_columns::{histograms, timestamps};
use super::per_series::time_of_step;
use super::tables::{field, histograms_field, items};
use crate::error::Error;
use crate::model::{LabelsRef, Matcher, Selector, StepGrid};

/// What is wanted beside series, time and value.
#[derive(Copy, Clone, Debug)]
pub(super) struct PerSample<'a> {
    pub(super) label_columns: &'a [String],
    pub(super) histograms: bool,
}

/// Steps of a grid, or raw samples where there is none: `series`, the labels, `timestamp`, `value`, and `histogram` if wanted.
///
/// # Errors
/// `Execution` where there is a histogram and no column for it.
pub(super) fn per_sample(
    labels: &BinaryArray,
    column: &StructArray,
    grid: Option<StepGrid>,
    wanted: PerSample<'_>,
) -> Result<Vec<ArrayRef>, Error> {
    let mut rows = SampleRows::default();
    let list = histograms_field(column)?;
    let histograms = match grid {
        Some(grid) => {
            let step_times: Vec<i64> = grid.times().map(|time| time.0).collect();
            let found = histograms(list, |step| time_of_step(&step_times, step))?;
            let floats = field::<FixedSizeListArray>(column, "floats")?;
            rows.add_steps(floats, &step_times, &HistogramTimes::try_new(&found.1, &found.0)?)?;
            found.1
        }
        None => {
            let found = histograms(list, |time| time)?;
            let times = field::<ListArray>(column, "timestamps")?;
            let floats = field::<ListArray>(column, "floats")?;
            rows.add_samples(times, floats, &HistogramTimes::try_new(&found.1, &found.0)?)?;
            found.1
        }
    };
    if !histograms.is_empty() && !wanted.histograms {
        return Err(Error::execution(
            "there are native histograms in the answer, which a table of one row a sample has only if it is asked for them: write \"histograms\": true, or ask for one row a series",
        ));
    }
    rows.into_columns(labels, &histograms, wanted)
}

/// When the histograms of each row are.
struct HistogramTimes<'a> {
    times: &'a [i64],
    offsets: &'a [i32],
}

impl<'a> HistogramTimes<'a> {
    fn try_new(items: &'a StructArray, offsets: &'a [i32]) -> Result<Self, Error> {
        let times = field::<arrow::array::TimestampMillisecondArray>(items, "timestamp")?;
        Ok(Self { times: times.values(), offsets })
    }

    /// The place and the time of each histogram of a row.
    fn row(&self, row: usize) -> impl Iterator<Item = (u32, i64)> + use<'a> {
        let (from, to) = (self.offsets[row] as usize, self.offsets[row + 1] as usize);
        self.times[from..to].iter().enumerate().map(move |(index, time)| ((from + index) as u32, *time))
    }
}

/// Samples of all series one after the other.
#[derive(Default)]
struct SampleRows {
    series: Vec<i32>,
    times: Vec<i64>,
    values: Vec<f64>,
    /// The places of histograms, in the order of their rows.
    histograms: Vec<(usize, u32)>,
}

impl SampleRows {
    fn add_steps(
        &mut self,
        floats: &FixedSizeListArray,
        step_times: &[i64],
        histograms: &HistogramTimes<'_>,
    ) -> Result<(), Error> {
        let cells = items::<Float64Array>(floats.values().as_ref())?;
        let steps = step_times.len();
        if cells.len() != floats.len() * steps {
            return Err(Error::internal("the cells of a steps table do not fit its grid"));
        }
        for row in 0..floats.len() {
            let begin = self.values.len();
            let row_cells = &cells.values()[row * steps..(row + 1) * steps];
            match cells.nulls() {
                None => {
                    self.times.extend_from_slice(step_times);
                    self.values.extend_from_slice(row_cells);
                }
                Some(nulls) => {
                    for (from, to) in nulls.slice(row * steps, steps).valid_slices() {
                        self.times.extend_from_slice(&step_times[from..to]);
                        self.values.extend_from_slice(&row_cells[from..to]);
                    }
                }
            }
            self.finish_series(row, begin, histograms);
        }
        Ok(())
    }

    fn add_samples(
        &mut self,
        times: &ListArray,
        floats: &ListArray,
        histograms: &HistogramTimes<'_>,
    ) -> Result<(), Error> {
        let milliseconds = items::<Int64Array>(times.values().as_ref())?;
        let numbers = items::<Float64Array>(floats.values().as_ref())?;
        if times.value_offsets() != floats.value_offsets() {
            return Err(Error::internal("timestamps and floats of a samples column differ in length"));
        }
        for (row, ends) in times.value_offsets().windows(2).enumerate() {
            let begin = self.values.len();
            let range = ends[0] as usize..ends[1] as usize;
            self.times.extend_from_slice(&milliseconds.values()[range.clone()]);
            self.values.extend_from_slice(&numbers.values()[range]);
            self.finish_series(row, begin, histograms);
        }
        Ok(())
    }

    /// The numbers of a series are there from `begin` on; its histograms come between them.
    fn finish_series(&mut self, row: usize, begin: usize, histograms: &HistogramTimes<'_>) {
        let mut found = histograms.row(row).peekable();
        if found.peek().is_some() {
            let times = self.times.split_off(begin);
            let values = self.values.split_off(begin);
            let mut numbers = times.into_iter().zip(values).peekable();
            loop {
                let histogram_is_next = match (numbers.peek(), found.peek()) {
                    (None, None) => break,
                    (Some(_), None) => false,
                    (None, Some(_)) => true,
                    (Some((time, _)), Some((_, histogram_time))) => histogram_time < time,
                };
                if histogram_is_next {
                    let Some((place, time)) = found.next() else { break };
                    self.histograms.push((self.values.len(), place));
                    self.times.push(time);
                    self.values.push(0.0);
                } else if let Some((time, value)) = numbers.next() {
                    self.times.push(time);
                    self.values.push(value);
                }
            }
        }
        self.series.resize(self.values.len(), row as i32);
    }

    fn into_columns(
        self,
        labels: &BinaryArray,
        histograms: &StructArray,
        wanted: PerSample<'_>,
    ) -> Result<Vec<ArrayRef>, Error> {
        let count = self.values.len();
        let label_sets: Vec<LabelsRef<'_>> =
            labels.iter().map(|bytes| LabelsRef::new(bytes.unwrap_or_default())).collect();
        let series_text = |labels: &LabelsRef<'_>| {
            let matchers = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
            Some(Selector { matchers }.to_string())
        };
        let mut columns = vec![word_column(&self.series, label_sets.iter().map(series_text))?];
        for name in wanted.label_columns {
            let words = label_sets.iter().map(|labels| labels.get(name).map(|value| value.into_owned()));
            columns.push(word_column(&self.series, words)?);
        }
        columns.push(timestamps(self.times.into(), None));
        let mut is_number = vec![true; count];
        self.histograms.iter().for_each(|(row, _)| is_number[*row] = false);
        let nulls = (!self.histograms.is_empty()).then(|| NullBuffer::from(is_number));
        columns.push(Arc::new(Float64Array::new(self.values.into(), nulls)));
        if wanted.histograms {
            let mut places: Vec<Option<u32>> = vec![None; count];
            self.histograms.iter().for_each(|(row, place)| places[*row] = Some(*place));
            let places = UInt32Array::from(places);
            columns.push(take(histograms, &places, None).map_err(|error| Error::internal(error.to_string()))?);
        }
        Ok(columns)
    }
}

/// For each row the word of its series, behind a dictionary that has no word twice: pandas refuses those.
fn word_column(series: &[i32], words: impl Iterator<Item = Option<String>>) -> Result<ArrayRef, Error> {
    let mut known: HashMap<String, i32> = HashMap::new();
    let mut dictionary = Vec::new();
    let mut keys: Vec<Option<i32>> = Vec::new();
    for word in words {
        keys.push(word.map(|word| {
            *known.entry(word).or_insert_with_key(|word| {
                dictionary.push(word.clone());
                dictionary.len() as i32 - 1
            })
        }));
    }
    let dictionary = Arc::new(StringArray::from(dictionary));
    // A key for each row.
    let is_identity = keys.iter().enumerate().all(|(index, key)| *key == Some(index as i32));
    let keys = if is_identity {
        Int32Array::from(series.to_vec())
    } else {
        series.iter().map(|row| keys.get(*row as usize).copied().flatten()).collect()
    };
    let column = DictionaryArray::<Int32Type>::try_new(keys, dictionary);
    Ok(Arc::new(column.map_err(|error| Error::internal(error.to_string()))?))
}
