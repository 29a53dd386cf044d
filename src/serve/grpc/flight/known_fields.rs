//! Finds fields of a protobuf message that this version does not know.
//!
//! Protobuf passes over them in silence. For a question that is wrong: a newer client that says "only the group eu" and is not
//! understood would get an answer to another question.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::serve::grpc::proto;

/// What of a compiled description is needed here; the numbers are those of google/protobuf/descriptor.proto.
#[derive(Clone, PartialEq, Message)]
struct DescriptorSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<FileDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct FileDescriptor {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<MessageDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct MessageDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<FieldDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "3")]
    number: u32,
    /// `.package.Message`; empty for a scalar.
    #[prost(string, tag = "6")]
    type_name: String,
}

/// Fields by number, by `.package.Message`.
static MESSAGES: LazyLock<HashMap<String, HashMap<u32, FieldDescriptor>>> = LazyLock::new(|| {
    let set = DescriptorSet::decode(proto::FILE_DESCRIPTORS).expect("the descriptors were compiled into this binary");
    let messages = set.files.into_iter().flat_map(|file| {
        let package = file.package;
        file.messages.into_iter().map(move |message| (format!(".{package}.{}", message.name), message.fields))
    });
    messages.map(|(name, fields)| (name, fields.into_iter().map(|field| (field.number, field)).collect())).collect()
});

/// The first field that message `name` (`.quiver.v1.X`) or a message in it does not have, such as `options.17`. Bytes that are no
/// such message have none: decode them first.
pub(super) fn unknown_field(name: &str, mut bytes: &[u8]) -> Option<String> {
    let fields = MESSAGES.get(name)?;
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).ok()?;
        let Some(field) = fields.get(&number) else { return Some(number.to_string()) };
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (value, rest) = bytes.split_at_checked(length)?;
        if let Some(inner) = unknown_field(&field.type_name, value) {
            return Some(format!("{}.{inner}", field.name));
        }
        bytes = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::encoding::{encode_key, encode_varint};

    #[test]
    fn what_this_version_does_not_know_is_named() {
        let range = proto::TimeRange { start_ms: 1, end_ms: 2, step_ms: 3 };
        let known = proto::QueryRangeRequest { query: "up".to_owned(), range: Some(range), options: None };
        assert_eq!(unknown_field(".quiver.v1.QueryRangeRequest", &known.encode_to_vec()), None);

        let mut inner = range.encode_to_vec();
        encode_key(99, WireType::Varint, &mut inner);
        encode_varint(1, &mut inner);
        let mut outer = Vec::new();
        encode_key(2, WireType::LengthDelimited, &mut outer);
        encode_varint(inner.len() as u64, &mut outer);
        outer.extend_from_slice(&inner);
        assert_eq!(unknown_field(".quiver.v1.QueryRangeRequest", &outer), Some("range.99".to_owned()));
        assert_eq!(unknown_field(".quiver.v1.QueryRequest", &[0x7a, 0]), Some("15".to_owned()));
    }

    #[test]
    fn bytes_that_are_no_message_do_no_harm() {
        for bytes in [&[0xff; 12][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x12, 5, 1], &[0x0b; 400], &[8]] {
            unknown_field(".quiver.v1.QueryRangeRequest", bytes);
        }
    }
}
