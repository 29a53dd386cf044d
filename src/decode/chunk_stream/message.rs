//! The messages of a stream: `ChunkedReadResponse` with `ChunkedSeries`, their labels and chunks.

use super::super::error::{DecodeError, KNOWN_ENCODING};
use super::super::protobuf::MessageReader;
use crate::model::ChunkEncoding;

/// Takes a `ChunkedSeries` and its place in the body.
type TakeSeries<'a> = &'a mut dyn FnMut(&[u8], u64) -> Result<(), DecodeError>;

/// Hands each `ChunkedSeries` and its place in the body to `take`.
pub(super) fn read_response(message: &[u8], offset: u64, take: TakeSeries<'_>) -> Result<(), DecodeError> {
    let mut fields = MessageReader::new(message, offset);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => {
                let (series, offset) = field.bytes()?;
                take(series, offset)?;
            }
            2 => {
                let query_index = field.varint()?;
                if query_index != 0 {
                    let problem = format!("an answer to query {query_index} of a request with one query");
                    return Err(DecodeError::Invalid { offset: fields.offset(), problem });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A `ChunkedSeries`: its labels were read, its chunks are read where they are needed.
#[derive(Debug)]
pub(super) struct SentSeries<'a> {
    labels: Vec<MessageReader<'a>>,
    fields: MessageReader<'a>,
}

/// A `Chunk`. Its times are not used: they are the sender's word, and the samples say it themselves.
#[derive(Copy, Clone, Debug)]
pub(super) struct SentChunk<'a> {
    /// How it is compressed.
    pub(super) encoding: ChunkEncoding,
    pub(super) data: &'a [u8],
    /// Where the data begins in the body.
    pub(super) data_offset: u64,
}

/// Finds the labels, wherever they stand, and copies their bytes to `sent_labels`: these tell whether the series is the one
/// before.
pub(super) fn read_series<'a>(
    series: &'a [u8],
    offset: u64,
    label_set_bytes_max: usize,
    sent_labels: &mut Vec<u8>,
) -> Result<SentSeries<'a>, DecodeError> {
    let mut fields = MessageReader::new(series, offset);
    let start = fields.clone();
    let mut labels = Vec::with_capacity(16);
    while let Some(field) = fields.next()? {
        if field.number != 1 {
            continue;
        }
        let (bytes, offset) = field.bytes()?;
        if sent_labels.len() + bytes.len() > label_set_bytes_max {
            let problem = format!("a label set of more than {label_set_bytes_max} bytes");
            return Err(DecodeError::Invalid { offset, problem });
        }
        sent_labels.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        sent_labels.extend_from_slice(bytes);
        labels.push(MessageReader::new(bytes, offset));
    }
    Ok(SentSeries { labels, fields: start })
}

impl<'a> SentSeries<'a> {
    /// Names and values, in the order in which they came.
    pub(super) fn labels(&self) -> Result<Vec<(&'a str, &'a str)>, DecodeError> {
        self.labels.iter().map(|label| read_label(label.clone())).collect()
    }

    /// The next chunk, `None` behind the last.
    pub(super) fn next_chunk(&mut self) -> Result<Option<SentChunk<'a>>, DecodeError> {
        while let Some(field) = self.fields.next()? {
            if field.number == 2 {
                return read_chunk(field.message()?).map(Some);
            }
        }
        Ok(None)
    }
}

fn read_chunk(mut fields: MessageReader<'_>) -> Result<SentChunk<'_>, DecodeError> {
    let (mut code, mut data, mut data_offset) = (0, &[][..], fields.offset());
    while let Some(field) = fields.next()? {
        match field.number {
            3 => code = field.varint()?,
            4 => (data, data_offset) = field.bytes()?,
            _ => {}
        }
    }
    let encoding = ChunkEncoding::from_code(code).ok_or_else(|| DecodeError::Unexpected {
        offset: data_offset,
        expected: KNOWN_ENCODING.to_owned(),
        found: format!("encoding {code}"),
    })?;
    Ok(SentChunk { encoding, data, data_offset })
}

/// A `Label`.
pub(in crate::decode) fn read_label<'a>(mut fields: MessageReader<'a>) -> Result<(&'a str, &'a str), DecodeError> {
    let (mut name, mut value) = ("", "");
    while let Some(field) = fields.next()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}
