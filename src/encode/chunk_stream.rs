//! The frames of a streamed remote read (`STREAMED_XOR_CHUNKS`).
//!
//! Source: Prometheus v3.14 storage/remote/chunked.go and codec.go, prompb/remote.proto and types.proto.

use super::chunk::EncodedChunk;
use super::protobuf::{write_bytes, write_uvarint, write_varint_field};
use crate::model::LabelsRef;

/// Prometheus' `--storage.remote.read-max-bytes-in-frame`.
pub const FRAME_BYTES: usize = 1 << 20;

/// Appends the frames of one series to `out`: chunks up to about `frame_bytes` a frame, at least one, with the labels in each
/// frame. A series without chunks has no frame.
///
/// `query_index` tells to which query of the request it is an answer. The series of a stream come in the order of their labels.
pub fn write_series_frames(
    labels: LabelsRef<'_>,
    chunks: &[EncodedChunk],
    query_index: u64,
    frame_bytes: usize,
    out: &mut Vec<u8>,
) {
    let mut label_fields = Vec::new();
    for (name, value) in labels.iter() {
        let mut label = Vec::new();
        write_bytes(1, name.as_bytes(), &mut label);
        write_bytes(2, value.as_bytes(), &mut label);
        write_bytes(1, &label, &mut label_fields);
    }
    let mut series = label_fields.clone();
    for (index, chunk) in chunks.iter().enumerate() {
        write_bytes(2, &chunk_message(chunk), &mut series);
        if series.len() >= frame_bytes || index + 1 == chunks.len() {
            let mut message = Vec::with_capacity(series.len() + 16);
            write_bytes(1, &series, &mut message);
            write_varint_field(2, query_index, &mut message);
            write_frame(&message, out);
            series.clone_from(&label_fields);
        }
    }
}

/// Appends one frame: the length of a message, its CRC-32C, and the message.
pub fn write_frame(message: &[u8], out: &mut Vec<u8>) {
    write_uvarint(message.len() as u64, out);
    out.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    out.extend_from_slice(message);
}

fn chunk_message(chunk: &EncodedChunk) -> Vec<u8> {
    let mut message = Vec::with_capacity(chunk.data.len() + 32);
    write_varint_field(1, chunk.min_time_ms as u64, &mut message);
    write_varint_field(2, chunk.max_time_ms as u64, &mut message);
    write_varint_field(3, chunk.encoding as u64, &mut message);
    write_bytes(4, &chunk.data, &mut message);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChunkEncoding, Labels};

    #[test]
    fn a_frame_is_length_checksum_and_message() {
        let mut out = Vec::new();
        write_frame(b"123456789", &mut out);
        // The check value of CRC-32C.
        assert_eq!(out, [&[9, 0xe3, 0x06, 0x92, 0x83][..], b"123456789"].concat());
    }

    #[test]
    fn a_long_series_goes_on_in_the_next_frame_with_its_labels() {
        let labels = Labels::from_pairs([("a", "b")]).encode();
        let chunk = EncodedChunk { encoding: ChunkEncoding::Xor, min_time_ms: 0, max_time_ms: -1, data: vec![1, 2, 3] };
        let frames = |count: usize, frame_bytes: usize| {
            let mut out = Vec::new();
            write_series_frames(labels.as_ref(), &vec![chunk.clone(); count], 0, frame_bytes, &mut out);
            out
        };
        assert!(frames(0, 1).is_empty());
        assert_eq!(frames(3, 1), [frames(1, 1), frames(1, 1), frames(1, 1)].concat());
        let message = [
            &[0x0a, 28, 0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b', 0x12, 18][..],
            &[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0x18, 1, 0x22, 3, 1, 2, 3],
        ]
        .concat();
        assert_eq!(frames(1, 1)[5..], message);
        assert!(frames(3, 1000).len() < frames(3, 1).len());
    }
}
