//! Native histograms of many series as one Arrow column: `List<Struct>`, one list a series, empty for nearly all.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `at` | Int64 | time in ms in a samples table, step in a steps table; ascending in a list |
//! | `start_time` | Int64, null | start timestamp in ms, where it is known |
//! | `counter_reset_hint` | Int8 | 0 unknown, 1 reset, 2 not reset, 3 gauge |
//! | `schema` | Int32 | -4 to 8, or -53 for custom buckets |
//! | `zero_threshold`, `zero_count`, `count`, `sum` | Float64 | |
//! | `positive_spans`, `negative_spans` | List<Int64> | offset (upper 32 bits, signed) and length (lower 32 bits) of each span |
//! | `positive_counts`, `negative_counts` | List<Float64> | |
//! | `custom_bounds` | List<Float64> | |

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Float64Array, Int8Array, Int32Array, Int64Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::{BucketSpan, Buckets, CounterResetHint, NativeHistogram};
use crate::error::Error;

static FLOAT_ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Float64, true)));
static SPAN_ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Int64, true)));

static HISTOGRAM_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let spans = || DataType::List(Arc::clone(&SPAN_ITEM));
    let floats = || DataType::List(Arc::clone(&FLOAT_ITEM));
    Fields::from(vec![
        Field::new("at", DataType::Int64, false),
        Field::new("start_time", DataType::Int64, true),
        Field::new("counter_reset_hint", DataType::Int8, false),
        Field::new("schema", DataType::Int32, false),
        Field::new("zero_threshold", DataType::Float64, false),
        Field::new("zero_count", DataType::Float64, false),
        Field::new("count", DataType::Float64, false),
        Field::new("sum", DataType::Float64, false),
        Field::new("positive_spans", spans(), false),
        Field::new("positive_counts", floats(), false),
        Field::new("negative_spans", spans(), false),
        Field::new("negative_counts", floats(), false),
        Field::new("custom_bounds", floats(), false),
    ])
});
static HISTOGRAM_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new("item", DataType::Struct(HISTOGRAM_FIELDS.clone()), true)));

/// The type of a column of histograms.
pub fn histogram_list_type() -> DataType {
    DataType::List(Arc::clone(&HISTOGRAM_ITEM))
}

/// A histogram at its place in a series.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedHistogram {
    /// Time in ms in a samples table, step in a steps table.
    pub at: i64,
    /// Start timestamp in ms, where it is known.
    pub start_time: Option<i64>,
    /// The histogram.
    pub histogram: Arc<NativeHistogram>,
}

/// A typed view of a column of histograms.
#[derive(Clone, Copy, Debug)]
pub struct HistogramList<'a> {
    list: &'a ListArray,
    items: &'a StructArray,
}

fn wrong(what: &str) -> Error {
    Error::internal(format!("a column of histograms has {what} of an unexpected type"))
}

fn child<A: 'static>(array: &dyn Array) -> Result<&A, Error> {
    array.as_any().downcast_ref::<A>().ok_or_else(|| wrong("a field"))
}

impl<'a> HistogramList<'a> {
    /// Fails on a column of another type.
    pub fn try_new(list: &'a ListArray) -> Result<Self, Error> {
        if list.value_type() != DataType::Struct(HISTOGRAM_FIELDS.clone()) {
            return Err(wrong("items"));
        }
        Ok(Self { list, items: child(list.values().as_ref())? })
    }

    /// Has no series any histogram? Cheap, whatever the number of rows.
    pub fn is_empty(&self) -> bool {
        let offsets = self.list.value_offsets();
        offsets.first() == offsets.last()
    }

    /// How many histograms a row has.
    pub fn row_len(&self, row: usize) -> usize {
        usize::try_from(self.list.value_length(row)).unwrap_or(0)
    }

    /// The histograms of a row, ascending by place.
    pub fn row(&self, row: usize) -> Result<Vec<TimedHistogram>, Error> {
        self.read(row_range(self.list, row))
    }

    /// Some of the histograms of a row, `part` counted from its first. A part that goes beyond the row is cut.
    pub fn row_part(&self, row: usize, part: std::ops::Range<usize>) -> Result<Vec<TimedHistogram>, Error> {
        let whole = row_range(self.list, row);
        let at = |index: usize| whole.start.saturating_add(index).min(whole.end);
        self.read(at(part.start)..at(part.end))
    }

    /// The histograms of all rows: row `i` has as many as [`row_len`](Self::row_len) says.
    pub fn rows(&self) -> Result<Vec<Vec<TimedHistogram>>, Error> {
        (0..self.list.len()).map(|row| self.row(row)).collect()
    }

    fn read(&self, range: std::ops::Range<usize>) -> Result<Vec<TimedHistogram>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let field = |index: usize| self.items.column(index).as_ref();
        let at = child::<Int64Array>(field(0))?;
        let start_times = child::<Int64Array>(field(1))?;
        let hints = child::<Int8Array>(field(2))?;
        let schemas = child::<Int32Array>(field(3))?;
        let floats = |index: usize| child::<Float64Array>(field(index));
        let (thresholds, zero_counts, counts, sums) = (floats(4)?, floats(5)?, floats(6)?, floats(7)?);
        let custom_bounds = child::<ListArray>(field(12))?;
        let mut histograms: Vec<TimedHistogram> = Vec::with_capacity(range.len());
        for index in range {
            let bounds = float_row(custom_bounds, index)?;
            // Neighbours nearly always have the same bounds: they share them.
            let shared = histograms.last().map(|last| &last.histogram.custom_bounds);
            let custom_bounds = match shared {
                Some(shared) if **shared == *bounds => Arc::clone(shared),
                _ => Arc::from(bounds),
            };
            let histogram = NativeHistogram {
                counter_reset_hint: CounterResetHint::from_code(hints.value(index)).ok_or_else(|| wrong("a hint"))?,
                schema: schemas.value(index),
                zero_threshold: thresholds.value(index),
                zero_count: zero_counts.value(index),
                count: counts.value(index),
                sum: sums.value(index),
                positive: read_buckets(field(8), field(9), index)?,
                negative: read_buckets(field(10), field(11), index)?,
                custom_bounds,
            };
            let start_time = start_times.is_valid(index).then(|| start_times.value(index));
            histograms.push(TimedHistogram { at: at.value(index), start_time, histogram: Arc::new(histogram) });
        }
        Ok(histograms)
    }
}

fn row_range(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn float_row(list: &ListArray, row: usize) -> Result<&[f64], Error> {
    Ok(&child::<Float64Array>(list.values().as_ref())?.values()[row_range(list, row)])
}

fn read_buckets(spans: &dyn Array, counts: &dyn Array, row: usize) -> Result<Buckets, Error> {
    let spans = child::<ListArray>(spans)?;
    let packed = &child::<Int64Array>(spans.values().as_ref())?.values()[row_range(spans, row)];
    let counts = float_row(child(counts)?, row)?;
    let spans: Vec<BucketSpan> = packed.iter().map(|packed| unpack_span(*packed)).collect();
    let covered: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if covered != counts.len() as u64 {
        return Err(Error::internal("a histogram's spans do not cover its buckets"));
    }
    Ok(Buckets { spans, counts: counts.to_vec() })
}

fn pack_span(span: BucketSpan) -> i64 {
    (i64::from(span.offset) << 32) | i64::from(span.length)
}

fn unpack_span(packed: i64) -> BucketSpan {
    BucketSpan { offset: (packed >> 32) as i32, length: packed as u32 }
}

/// Builds a column of histograms, row by row.
#[derive(Debug, Default)]
pub struct HistogramListBuilder {
    items: Vec<TimedHistogram>,
    row_ends: Vec<usize>,
}

impl HistogramListBuilder {
    /// Adds a histogram to the row that is being built; places ascend.
    pub fn push(&mut self, item: TimedHistogram) {
        self.items.push(item);
    }

    /// Ends the row.
    pub fn finish_row(&mut self) {
        self.row_ends.push(self.items.len());
    }

    /// Takes the histograms of the row that is being built out again.
    pub fn take_unfinished(&mut self) -> Vec<TimedHistogram> {
        self.items.split_off(self.row_ends.last().copied().unwrap_or(0))
    }

    /// How many histograms were pushed.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Was none pushed?
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The finished column; the builder is empty again.
    pub fn finish(&mut self) -> ListArray {
        let items = std::mem::take(&mut self.items);
        let row_ends = std::mem::take(&mut self.row_ends);
        let offsets = offsets_of(std::iter::once(0).chain(row_ends));
        ListArray::new(Arc::clone(&HISTOGRAM_ITEM), offsets, Arc::new(struct_of(&items)), None)
    }
}

fn offsets_of(ends: impl Iterator<Item = usize>) -> OffsetBuffer<i32> {
    let ends = ends.map(|end| i32::try_from(end).expect("batches are cut long before 2^31 buckets"));
    OffsetBuffer::new(ScalarBuffer::from(ends.collect::<Vec<i32>>()))
}

fn struct_of(items: &[TimedHistogram]) -> StructArray {
    let floats = |value: fn(&NativeHistogram) -> f64| -> ArrayRef {
        Arc::new(items.iter().map(|item| value(&item.histogram)).collect::<Float64Array>())
    };
    let starts: Vec<i64> = items.iter().map(|item| item.start_time.unwrap_or(0)).collect();
    let known: NullBuffer = items.iter().map(|item| item.start_time.is_some()).collect::<Vec<bool>>().into();
    let hints: Int8Array = items.iter().map(|item| item.histogram.counter_reset_hint as i8).collect::<Vec<i8>>().into();
    let schemas: Int32Array = items.iter().map(|item| item.histogram.schema).collect::<Vec<i32>>().into();
    let at: Int64Array = items.iter().map(|item| item.at).collect::<Vec<i64>>().into();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(at),
        Arc::new(Int64Array::new(ScalarBuffer::from(starts), Some(known))),
        Arc::new(hints),
        Arc::new(schemas),
        floats(|histogram| histogram.zero_threshold),
        floats(|histogram| histogram.zero_count),
        floats(|histogram| histogram.count),
        floats(|histogram| histogram.sum),
        span_lists(items, |histogram| &histogram.positive.spans),
        float_lists(items, |histogram| &histogram.positive.counts),
        span_lists(items, |histogram| &histogram.negative.spans),
        float_lists(items, |histogram| &histogram.negative.counts),
        float_lists(items, |histogram| &histogram.custom_bounds),
    ];
    StructArray::try_new_with_length(HISTOGRAM_FIELDS.clone(), columns, None, items.len())
        .expect("columns are of equal length by construction")
}

fn ends(lengths: impl Iterator<Item = usize>) -> OffsetBuffer<i32> {
    offsets_of(std::iter::once(0).chain(lengths.scan(0usize, |end, length| {
        *end += length;
        Some(*end)
    })))
}

fn float_lists(items: &[TimedHistogram], values: fn(&NativeHistogram) -> &[f64]) -> ArrayRef {
    let offsets = ends(items.iter().map(|item| values(&item.histogram).len()));
    let all: Vec<f64> = items.iter().flat_map(|item| values(&item.histogram).iter().copied()).collect();
    Arc::new(ListArray::new(Arc::clone(&FLOAT_ITEM), offsets, Arc::new(Float64Array::from(all)), None))
}

fn span_lists(items: &[TimedHistogram], spans: fn(&NativeHistogram) -> &[BucketSpan]) -> ArrayRef {
    let offsets = ends(items.iter().map(|item| spans(&item.histogram).len()));
    let all: Vec<i64> =
        items.iter().flat_map(|item| spans(&item.histogram).iter().map(|span| pack_span(*span))).collect();
    Arc::new(ListArray::new(Arc::clone(&SPAN_ITEM), offsets, Arc::new(Int64Array::from(all)), None))
}

/// How many samples a histogram counts for in the budget of a query: one for every 16 bytes, as Prometheus counts.
///
/// Source: Prometheus v3.14 promql/value.go `totalHPointSize` and `FloatHistogram.Size`: 8 bytes for the timestamp, 168 for the
/// fixed part, 8 for each span, count and custom bound.
pub fn histogram_size(histogram: &NativeHistogram) -> usize {
    let buckets = |buckets: &Buckets| 8 * (buckets.spans.len() + buckets.counts.len());
    let size = 168 + buckets(&histogram.positive) + buckets(&histogram.negative) + 8 * histogram.custom_bounds.len();
    (size + 8) / 16
}

#[cfg(test)]
mod tests {
    use super::super::CUSTOM_BUCKETS_SCHEMA;
    use super::*;

    fn buckets(first: i32, counts: &[f64]) -> Buckets {
        let spans = vec![BucketSpan { offset: first, length: counts.len() as u32 }];
        Buckets { spans, counts: counts.to_vec() }
    }

    fn exponential() -> NativeHistogram {
        NativeHistogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: 3,
            zero_threshold: 1e-6,
            zero_count: 2.5,
            count: 10.5,
            sum: f64::NEG_INFINITY,
            positive: buckets(-7, &[1.0, 2.0, 0.5]),
            negative: buckets(i32::MIN, &[4.5]),
            custom_bounds: Arc::from([]),
        }
    }

    fn custom() -> NativeHistogram {
        NativeHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            positive: buckets(0, &[1.0, 2.0]),
            custom_bounds: Arc::from([0.5, 1.0]),
            ..NativeHistogram::default()
        }
    }

    #[test]
    fn histograms_come_back_as_they_went_in_row_by_row() {
        let timed = |at: i64, start_time, histogram: NativeHistogram| TimedHistogram {
            at,
            start_time,
            histogram: Arc::new(histogram),
        };
        let rows = vec![
            vec![],
            vec![timed(-5, None, exponential()), timed(9, Some(-1), custom()), timed(10, None, custom())],
            vec![timed(0, Some(0), NativeHistogram::default())],
            vec![],
        ];
        let mut builder = HistogramListBuilder::default();
        for row in &rows {
            row.iter().cloned().for_each(|item| builder.push(item));
            builder.finish_row();
        }
        assert_eq!(builder.len(), 4);
        let list = builder.finish();
        let view = HistogramList::try_new(&list).expect("its own column");
        assert!(!view.is_empty());
        assert_eq!((0..4).map(|row| view.row_len(row)).collect::<Vec<_>>(), [0, 3, 1, 0]);
        assert_eq!(view.rows().expect("readable"), rows);
        for (part, expected) in [(0..2, &rows[1][..2]), (2..9, &rows[1][2..]), (3..9, &[][..]), (1..1, &[][..])] {
            assert_eq!(view.row_part(1, part).expect("readable"), expected);
        }
        let row = view.row(1).expect("readable");
        assert!(Arc::ptr_eq(&row[1].histogram.custom_bounds, &row[2].histogram.custom_bounds));

        let slice = list.slice(2, 2);
        let view = HistogramList::try_new(&slice).expect("its own column");
        assert_eq!(view.rows().expect("readable"), rows[2..]);
        assert!(HistogramList::try_new(&list.slice(3, 1)).expect("its own column").is_empty());
    }

    #[test]
    fn a_column_without_histograms_is_one_offset_a_row() {
        let mut builder = HistogramListBuilder::default();
        for _ in 0..1_000 {
            builder.finish_row();
        }
        let list = builder.finish();
        assert!(HistogramList::try_new(&list).expect("its own column").is_empty());
        assert!(list.get_buffer_memory_size() < 6_000, "{}", list.get_buffer_memory_size());
    }

    #[test]
    fn a_column_of_another_type_and_broken_spans_are_errors() {
        let floats = ListArray::new(
            Arc::clone(&FLOAT_ITEM),
            offsets_of([0, 0].into_iter()),
            Arc::new(Float64Array::from(vec![0.0; 0])),
            None,
        );
        assert!(HistogramList::try_new(&floats).is_err());
        let mut broken = exponential();
        broken.positive.spans[0].length = 7;
        let mut builder = HistogramListBuilder::default();
        builder.push(TimedHistogram { at: 0, start_time: None, histogram: Arc::new(broken) });
        builder.finish_row();
        let list = builder.finish();
        assert!(HistogramList::try_new(&list).expect("its own column").row(0).is_err());
    }

    #[test]
    fn a_histogram_weighs_what_prometheus_says_it_weighs() {
        assert_eq!(histogram_size(&NativeHistogram::default()), (168 + 8) / 16);
        assert_eq!(histogram_size(&custom()), (168 + 8 + 3 * 8 + 2 * 8) / 16);
    }
}
