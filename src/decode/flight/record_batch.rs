//! A record batch message as arrays of a known type. Every length, offset and buffer is checked before an array is made of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, FixedSizeListArray, ListArray, PrimitiveArray, StructArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::{self, FieldNode, MetadataVersion, root_as_message};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::{DecodeError, wrong};

/// Reads one message: `header` is the flatbuffer, `body` the bytes that its buffers lie in.
pub(super) fn read(schema: &SchemaRef, header: &[u8], body: Bytes) -> Result<RecordBatch, DecodeError> {
    let message = root_as_message(header).map_err(|error| wrong(format!("a message is damaged: {error}")))?;
    if message.version() != MetadataVersion::V5 {
        return Err(wrong(format!("a message is of Arrow IPC {:?}, not V5", message.version())));
    }
    let batch = message.header_as_record_batch().ok_or_else(|| wrong("a message is not a record batch"))?;
    if batch.compression().is_some() {
        return Err(wrong("a table is compressed, which was not asked for"));
    }
    let row_count = usize::try_from(batch.length()).map_err(|_| wrong("a table has a negative number of rows"))?;
    let nodes = batch.nodes().map(|nodes| nodes.iter().collect::<Vec<_>>()).unwrap_or_default();
    let buffers = batch.buffers().map(|buffers| buffers.iter().collect::<Vec<_>>()).unwrap_or_default();
    let mut reader = Reader { nodes: nodes.into_iter(), buffers: buffers.into_iter(), body: Buffer::from(body) };
    let columns = schema.fields().iter().map(|field| reader.array(field, row_count, Nulls::AsField));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    if reader.nodes.next().is_some() || reader.buffers.next().is_some() {
        return Err(wrong("a table has more columns than its schema"));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(from_arrow)
}

fn from_arrow(error: ArrowError) -> DecodeError {
    wrong(format!("a table is damaged: {error}"))
}

/// Whether values may be missing.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Nulls {
    /// Where the field says so.
    AsField,
    /// Nowhere: items of ragged lists are there or not in the list.
    Never,
}

struct Reader<'a> {
    nodes: std::vec::IntoIter<&'a FieldNode>,
    buffers: std::vec::IntoIter<&'a ipc::Buffer>,
    body: Buffer,
}

impl Reader<'_> {
    /// The next array; it must have so many values, where that is known.
    fn array(&mut self, field: &Field, length: usize, nulls: Nulls) -> Result<ArrayRef, DecodeError> {
        let node = self.nodes.next().ok_or_else(|| wrong("a table has fewer columns than its schema"))?;
        let bad = |problem: &str| wrong(format!("column {:?} of a table {problem}", field.name()));
        if usize::try_from(node.length()) != Ok(length) {
            return Err(bad(&format!("has {} values, not {length}", node.length())));
        }
        let may_be_null = nulls == Nulls::AsField && field.is_nullable();
        let validity = self.buffer(&bad)?;
        let validity = match node.null_count() {
            0 => None,
            _ if !may_be_null => return Err(bad("has values that are missing")),
            _ if validity.len() < length.div_ceil(8) => return Err(bad("does not say which of its values are there")),
            _ => Some(NullBuffer::new(BooleanBuffer::new(validity, 0, length))),
        };
        Ok(match field.data_type() {
            DataType::Int8 => self.numbers::<arrow::datatypes::Int8Type>(length, validity, &bad)?,
            DataType::Int32 => self.numbers::<arrow::datatypes::Int32Type>(length, validity, &bad)?,
            DataType::Int64 => self.numbers::<arrow::datatypes::Int64Type>(length, validity, &bad)?,
            DataType::Float64 => self.numbers::<arrow::datatypes::Float64Type>(length, validity, &bad)?,
            DataType::Binary => {
                let offsets = self.offsets(length, &bad)?;
                let bytes = self.buffer(&bad)?;
                if last(&offsets) > bytes.len() {
                    return Err(bad("has texts outside of it"));
                }
                Arc::new(BinaryArray::try_new(offsets, bytes, validity).map_err(from_arrow)?)
            }
            DataType::List(item) => {
                let offsets = self.offsets(length, &bad)?;
                let items = self.array(item, last(&offsets), Nulls::Never)?;
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, validity).map_err(from_arrow)?)
            }
            DataType::FixedSizeList(item, item_count) => {
                let cells = usize::try_from(*item_count).ok().and_then(|count| count.checked_mul(length));
                let items = self.array(item, cells.ok_or_else(|| bad("is too long"))?, Nulls::AsField)?;
                let list =
                    FixedSizeListArray::try_new_with_length(Arc::clone(item), *item_count, items, validity, length);
                Arc::new(list.map_err(from_arrow)?)
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|field| self.array(field, length, Nulls::AsField));
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                let array = StructArray::try_new_with_length(fields.clone(), columns, validity, length);
                Arc::new(array.map_err(from_arrow)?)
            }
            _ => return Err(bad("is of a type that is not read here")),
        })
    }

    fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        length: usize,
        validity: Option<NullBuffer>,
        bad: &dyn Fn(&str) -> DecodeError,
    ) -> Result<ArrayRef, DecodeError> {
        let values = self.scalars::<T>(length, bad)?;
        Ok(Arc::new(PrimitiveArray::<T>::try_new(values, validity).map_err(from_arrow)?))
    }

    /// So many numbers, which may be followed by padding.
    fn scalars<T: ArrowPrimitiveType>(
        &mut self,
        length: usize,
        bad: &dyn Fn(&str) -> DecodeError,
    ) -> Result<ScalarBuffer<T::Native>, DecodeError> {
        let buffer = self.buffer(bad)?;
        let bytes = length.checked_mul(size_of::<T::Native>()).filter(|bytes| *bytes <= buffer.len());
        let buffer = buffer.slice_with_length(0, bytes.ok_or_else(|| bad("is shorter than it says"))?);
        let is_aligned = buffer.as_ptr().align_offset(align_of::<T::Native>()) == 0;
        // Where a number stands in a message is a matter of chance.
        let buffer = if is_aligned { buffer } else { Buffer::from_slice_ref(buffer.as_slice()) };
        Ok(ScalarBuffer::new(buffer, 0, length))
    }

    /// Offsets of so many rows: they begin with 0 and never go back.
    fn offsets(&mut self, length: usize, bad: &dyn Fn(&str) -> DecodeError) -> Result<OffsetBuffer<i32>, DecodeError> {
        if length == 0 {
            // An empty array may leave out its one offset.
            self.buffer(bad)?;
            return Ok(OffsetBuffer::new_empty());
        }
        let offset_count = length.checked_add(1).ok_or_else(|| bad("is too long"))?;
        let offsets = self.scalars::<arrow::datatypes::Int32Type>(offset_count, bad)?;
        if offsets[0] != 0 || offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(bad("has rows that go back"));
        }
        Ok(OffsetBuffer::new(offsets))
    }

    /// The next buffer, which must lie inside of the body.
    fn buffer(&mut self, bad: &dyn Fn(&str) -> DecodeError) -> Result<Buffer, DecodeError> {
        let place = self.buffers.next().ok_or_else(|| bad("lacks a buffer"))?;
        let range = usize::try_from(place.offset()).ok().zip(usize::try_from(place.length()).ok());
        let range = range.filter(|(from, length)| from.checked_add(*length).is_some_and(|to| to <= self.body.len()));
        let (from, length) = range.ok_or_else(|| bad("lies outside of its message"))?;
        Ok(self.body.slice_with_length(from, length))
    }
}

fn last(offsets: &OffsetBuffer<i32>) -> usize {
    offsets.last().and_then(|last| usize::try_from(*last).ok()).unwrap_or(0)
}
