//! How much a table holds and weighs.

use arrow::array::{Array, BinaryArray, FixedSizeListArray, ListArray, StructArray};
use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;

use super::series_schema::{COLUMN_LABELS, COLUMN_SAMPLE_TIMES};

/// Bytes that a histogram is longer in Prometheus' count than in our columns.
const HISTOGRAM_EXTRA_BYTES: usize = 80;
/// Prometheus counts a histogram as one sample for every so many bytes.
const SAMPLE_BYTES: usize = 16;

/// Samples and bytes of a table.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct TableSize {
    /// Floats that are there, and histograms, each for as many as its size says.
    pub samples: usize,
    /// Bytes of memory. A slice of a table counts for its own rows.
    pub bytes: usize,
}

impl TableSize {
    /// The size of a samples or steps table, timed or not; of another table only the bytes. Costs a look at each column, and
    /// none at a cell.
    pub fn of(batch: &RecordBatch) -> Self {
        let mut size = Self::default();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let Some(samples) = column.as_any().downcast_ref::<StructArray>() {
                samples.fields().iter().zip(samples.columns()).for_each(|(field, part)| {
                    size.add_part(field.name(), part.as_ref());
                });
            } else if field.name() == COLUMN_LABELS || field.name() == COLUMN_SAMPLE_TIMES {
                size.add_part(field.name(), column.as_ref());
            } else {
                size.bytes = size.bytes.saturating_add(column.get_array_memory_size());
            }
        }
        size
    }

    /// The sum of many.
    pub fn sum(sizes: impl IntoIterator<Item = Self>) -> Self {
        sizes.into_iter().fold(Self::default(), |sum, size| Self {
            samples: sum.samples.saturating_add(size.samples),
            bytes: sum.bytes.saturating_add(size.bytes),
        })
    }

    fn add_part(&mut self, name: &str, part: &dyn Array) {
        if let Some(labels) = part.as_any().downcast_ref::<BinaryArray>() {
            let offsets = labels.value_offsets();
            let length = offsets.last().zip(offsets.first()).map_or(0, |(last, first)| last - first);
            self.bytes += 4 * offsets.len() + allocated(labels.values(), length as usize);
        } else if let Some(cells) = part.as_any().downcast_ref::<FixedSizeListArray>() {
            let values = cells.values();
            if name == "floats" {
                self.samples += values.len() - values.null_count();
            }
            self.bytes += primitive_bytes(values.as_ref(), values.len());
        } else if let Some(list) = part.as_any().downcast_ref::<ListArray>() {
            self.add_list(name, list);
        } else {
            self.bytes += part.get_array_memory_size();
        }
    }

    fn add_list(&mut self, name: &str, list: &ListArray) {
        let offsets = list.value_offsets();
        let items = offsets.last().zip(offsets.first()).map_or(0, |(last, first)| (last - first) as usize);
        let values = list.values();
        let bytes = match name {
            // The list is a nest of columns: the rows' share of all of it.
            "histograms" if items > 0 => nested_bytes(values.as_ref()) / values.len().max(1) * items,
            "histograms" => 0,
            _ => primitive_bytes(values.as_ref(), items),
        };
        self.bytes += bytes + 4 * offsets.len();
        self.samples += match name {
            "floats" => items,
            "histograms" => (bytes + HISTOGRAM_EXTRA_BYTES * items) / SAMPLE_BYTES,
            _ => 0,
        };
    }
}

/// Bytes of so many numbers of eight bytes, and of the bits that say which are there.
fn primitive_bytes(values: &dyn Array, count: usize) -> usize {
    let data = values.to_data();
    let numbers = data.buffers().first().map_or(0, |buffer| allocated(buffer, 8 * count));
    numbers + if data.nulls().is_some() { count.div_ceil(8) } else { 0 }
}

/// Bytes of a nest of columns. All buffers of a table that came in one message share that message's memory: then each stands for
/// what is its own.
fn nested_bytes(values: &dyn Array) -> usize {
    let (allocated, own) = (values.get_array_memory_size(), values.to_data().get_slice_memory_size());
    own.map_or(allocated, |own| if allocated <= own.saturating_mul(2) { allocated } else { own })
}

/// A buffer that grew has up to twice the bytes that it needs. A slice stands for its own rows alone.
fn allocated(buffer: &Buffer, length: usize) -> usize {
    if buffer.capacity() <= length.saturating_mul(2) { buffer.capacity() } else { length }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::ipc::reader::StreamReader;
    use arrow::ipc::writer::StreamWriter;

    use super::*;
    use crate::model::{
        BucketSpan, Buckets, Labels, NativeHistogram, SamplesTableBuilder, StepsTableBuilder, histogram_size,
    };

    const LABELS: usize = 10_000;

    fn steps(rows: usize, step_count: usize, timed: bool) -> RecordBatch {
        let mut builder = if timed { StepsTableBuilder::timed(step_count) } else { StepsTableBuilder::new(step_count) };
        for row in 0..rows {
            (0..step_count).for_each(|step| builder.push_timed_cell((step % 4 > 0).then_some((1.0, step as i64))));
            builder.finish_series(Labels::from_pairs([("row", row.to_string())]).encode().as_bytes());
        }
        builder.finish()
    }

    #[test]
    fn cells_that_are_there_are_samples_and_all_cells_are_bytes() {
        for (timed, cell_bytes) in [(false, 8), (true, 16)] {
            let table = steps(1_000, 100, timed);
            let size = TableSize::of(&table);
            assert_eq!(size.samples, 75_000);
            let cells = 100_000 * cell_bytes;
            assert!((cells..2 * cells + LABELS + 60_000).contains(&size.bytes), "{size:?}");
            assert!(size.bytes <= table.get_array_memory_size());
        }
    }

    #[test]
    fn a_slice_counts_for_its_rows() {
        let whole = steps(1_000, 100, true);
        let slices = (0..10).map(|at| TableSize::of(&whole.slice(at * 100, 100)));
        let sum = TableSize::sum(slices);
        assert_eq!(sum.samples, 75_000);
        assert!(sum.bytes <= TableSize::of(&whole).bytes + 10_000, "{sum:?}");

        let mut builder = SamplesTableBuilder::default();
        for row in 0..100 {
            (0..100).for_each(|at| builder.push_sample(at, 1.0));
            builder.finish_series(Labels::from_pairs([("row", row.to_string())]).encode().as_bytes());
        }
        let whole = builder.finish();
        let size = TableSize::of(&whole);
        assert_eq!(size.samples, 10_000);
        assert!((160_000..400_000).contains(&size.bytes), "{size:?}");
        let tenth = TableSize::of(&whole.slice(20, 10));
        assert_eq!(tenth.samples, 1_000);
        assert!((16_000..18_000).contains(&tenth.bytes), "{tenth:?}");
    }

    #[test]
    fn histograms_weigh_about_what_prometheus_says() {
        let buckets = Buckets { spans: vec![BucketSpan { offset: 0, length: 40 }], counts: vec![1.0; 40] };
        let histogram = Arc::new(NativeHistogram { positive: buckets, ..NativeHistogram::default() });
        let mut builder = SamplesTableBuilder::default();
        for row in 0..100 {
            (0..10).for_each(|at| builder.push_histogram(at, None, Arc::clone(&histogram)));
            builder.finish_series(Labels::from_pairs([("row", row.to_string())]).encode().as_bytes());
        }
        let size = TableSize::of(&builder.finish());
        let expected = 1_000 * histogram_size(&histogram);
        assert!((expected * 3 / 4..expected * 3 / 2).contains(&size.samples), "{size:?}, expected about {expected}");
        assert!(size.bytes > 1_000 * 40 * 8);
    }

    #[test]
    fn a_table_that_came_in_one_message_weighs_what_it_weighed_before() {
        let histogram = Arc::new(NativeHistogram { count: 1.0, zero_count: 1.0, ..NativeHistogram::default() });
        let mut builder = SamplesTableBuilder::default();
        (0..500).for_each(|at| builder.push_histogram(at, None, Arc::clone(&histogram)));
        builder.finish_series(Labels::from_pairs([("job", "a")]).encode().as_bytes());
        let table = builder.finish();
        let mut message = StreamWriter::try_new(Vec::new(), table.schema_ref()).expect("a schema");
        message.write(&table).expect("written");
        let message = message.into_inner().expect("written");
        let mut reader = StreamReader::try_new(&message[..], None).expect("a stream");
        let (sent, came) = (TableSize::of(&table), TableSize::of(&reader.next().expect("a table").expect("a table")));
        assert!((sent.samples / 2..=sent.samples).contains(&came.samples), "{sent:?}, {came:?}");
        assert!(came.bytes <= sent.bytes && came.bytes > sent.bytes / 4, "{sent:?}, {came:?}");
    }

    #[test]
    fn an_empty_table_is_next_to_nothing() {
        let size = TableSize::of(&steps(0, 1, false));
        assert_eq!(size.samples, 0);
        assert!(size.bytes < 1_100, "{size:?}");
    }
}
