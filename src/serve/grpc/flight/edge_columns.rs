//! Columns as other programs like them: times as timestamps, histograms with the time at which they stand.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, StructArray, TimestampMillisecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};

use crate::error::Error;
use crate::model::histogram_list_type;

/// Milliseconds since the epoch, UTC.
pub(super) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Times in ms as a column of [`timestamp_type`]. No copy.
pub(super) fn timestamps(times: ScalarBuffer<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::new(times, nulls).with_timezone("UTC"))
}

/// The item of a list, as Arrow libraries name it.
pub(super) fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, true))
}

/// The fields of a native histogram inside, of which the place and the start time become timestamps here.
static HISTOGRAM_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let DataType::List(inner) = histogram_list_type() else { unreachable!("histograms are a list") };
    let DataType::Struct(fields) = inner.data_type() else { unreachable!("of structs") };
    let edge = fields.iter().map(|field| match field.name().as_str() {
        "at" => Arc::new(Field::new("timestamp", timestamp_type(), false)),
        "start_time" => Arc::new(Field::new("start_time", timestamp_type(), true)),
        _ => Arc::clone(field),
    });
    edge.collect()
});

/// The type of a native histogram.
pub(super) fn histogram_type() -> DataType {
    DataType::Struct(HISTOGRAM_FIELDS.clone())
}

/// The histograms of all rows one after the other, and where each row ends: row `i` has items `offsets[i]..offsets[i + 1]`.
/// `time_of` makes a time (ms) of a place.
pub(super) fn histograms(
    list: &ListArray,
    time_of: impl Fn(i64) -> i64,
) -> Result<(OffsetBuffer<i32>, StructArray), Error> {
    let wrong = || Error::internal("a column of histograms has an unexpected type");
    let offsets = list.value_offsets();
    // A slice of a table has the histograms of the whole.
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    let items = list.values().slice(first as usize, (last - first) as usize);
    let items = items.as_any().downcast_ref::<StructArray>().ok_or_else(wrong)?;
    let mut columns = items.columns().to_vec();
    let places = columns.first().and_then(|at| at.as_any().downcast_ref::<Int64Array>()).ok_or_else(wrong)?;
    let times: ScalarBuffer<i64> = places.values().iter().map(|place| time_of(*place)).collect();
    let starts = columns.get(1).and_then(|start| start.as_any().downcast_ref::<Int64Array>()).ok_or_else(wrong)?;
    let starts = timestamps(starts.values().clone(), starts.nulls().cloned());
    columns[0] = timestamps(times, None);
    columns[1] = starts;
    let offsets: ScalarBuffer<i32> = offsets.iter().map(|offset| offset - first).collect();
    let items = StructArray::try_new_with_length(HISTOGRAM_FIELDS.clone(), columns, None, items.len());
    Ok((OffsetBuffer::new(offsets), items.map_err(|error| Error::internal(error.to_string()))?))
}

/// A list column of the items of [`histograms`].
pub(super) fn histogram_list((offsets, items): (OffsetBuffer<i32>, StructArray)) -> ArrayRef {
    Arc::new(ListArray::new(item(histogram_type()), offsets, Arc::new(items), None))
}
