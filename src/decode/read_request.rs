//! The request of a remote read: one snappy block with one `ReadRequest`.
//!
//! Source: Prometheus v3.14 prompb/remote.proto and types.proto, storage/remote/codec.go (`DecodeReadRequest`).

use super::DecodeError;
use super::protobuf::{Field, FieldValue, MessageReader, Uvarint, read_uvarint};
use crate::error::Error;
use crate::model::{MatchOp, Matcher};

/// A block may unpack to so many bytes. Prometheus takes 32 MiB; a query has at most 64 KiB of text.
pub const READ_REQUEST_BYTES_MAX: usize = 4 << 20;
/// Clients put one query into a request, or a few.
const QUERIES_MAX: usize = 1_000;
/// Of one query. People write ten.
const MATCHERS_MAX: usize = 1_000;
/// Forms of answers that a request may list. There are two.
const RESPONSE_TYPES_MAX: usize = 100;

/// What a client asks of a remote read server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadRequest {
    /// Each gets its own answer.
    pub queries: Vec<ReadQuery>,
    /// The numbers of the forms of answers that the client reads, the best first; empty stands for samples.
    pub accepted_response_types: Vec<i32>,
}

/// One selector, at the times of its range.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadQuery {
    /// Milliseconds, inclusive.
    pub start_ms: i64,
    /// Milliseconds, inclusive.
    pub end_ms: i64,
    /// All must match. Prometheus selects nothing where there are none.
    pub matchers: Vec<Matcher>,
    /// What the client means to do with the samples.
    pub hints: Option<ReadHints>,
}

/// What a client means to do with the samples, as far as a Prometheus looks at it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadHints {
    /// Milliseconds, inclusive.
    pub start_ms: i64,
    /// Milliseconds, inclusive.
    pub end_ms: i64,
    /// The function or aggregation around the selector; `series` for the question which series there are.
    pub function: String,
}

/// Reads a request. Everything in it is bounded.
///
/// # Errors
/// `BadData`, with Prometheus' text where it has one.
pub fn decode_read_request(body: &[u8]) -> Result<ReadRequest, Error> {
    let message = unpack(body)?;
    let damaged = |error: DecodeError| Error::bad_data(format!("proto: ReadRequest: {error}"));
    let mut request = ReadRequest::default();
    let mut fields = MessageReader::new(&message, 0);
    while let Some(field) = fields.next().map_err(damaged)? {
        match field.number {
            1 => {
                within(request.queries.len(), QUERIES_MAX, "queries")?;
                request.queries.push(read_query(field.message().map_err(damaged)?)?);
            }
            2 => {
                read_numbers(&field, &mut request.accepted_response_types).map_err(damaged)?;
                within(request.accepted_response_types.len(), RESPONSE_TYPES_MAX + 1, "accepted response types")?;
            }
            _ => {}
        }
    }
    Ok(request)
}

/// What the block says of its size is not believed before memory is taken.
fn unpack(body: &[u8]) -> Result<Vec<u8>, Error> {
    let corrupt = |_: snap::Error| Error::bad_data("snappy: corrupt input");
    let length = snap::raw::decompress_len(body).map_err(corrupt)?;
    if length > READ_REQUEST_BYTES_MAX {
        let text = format!("snappy: decoded length {length} exceeds limit {READ_REQUEST_BYTES_MAX}");
        return Err(Error::bad_data(text));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(corrupt)
}

/// Is there room for one more?
fn within(count: usize, most: usize, what: &str) -> Result<(), Error> {
    if count < most { Ok(()) } else { Err(Error::bad_data(format!("the remote read has more than {most} {what}"))) }
}

fn read_query(mut fields: MessageReader<'_>) -> Result<ReadQuery, Error> {
    let damaged = |error: DecodeError| Error::bad_data(format!("proto: Query: {error}"));
    let mut query = ReadQuery::default();
    while let Some(field) = fields.next().map_err(damaged)? {
        match field.number {
            1 => query.start_ms = field.varint().map_err(damaged)? as i64,
            2 => query.end_ms = field.varint().map_err(damaged)? as i64,
            3 => {
                within(query.matchers.len(), MATCHERS_MAX, "matchers in a query")?;
                query.matchers.push(read_matcher(field.message().map_err(damaged)?)?);
            }
            4 => query.hints = Some(read_hints(field.message().map_err(damaged)?).map_err(damaged)?),
            _ => {}
        }
    }
    Ok(query)
}

fn read_matcher(mut fields: MessageReader<'_>) -> Result<Matcher, Error> {
    let damaged = |error: DecodeError| Error::bad_data(format!("proto: LabelMatcher: {error}"));
    let (mut kind, mut name, mut value) = (0, "", "");
    while let Some(field) = fields.next().map_err(damaged)? {
        match field.number {
            1 => kind = field.varint().map_err(damaged)?,
            2 => name = field.text().map_err(damaged)?,
            3 => value = field.text().map_err(damaged)?,
            _ => {}
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(Error::bad_data("invalid matcher type")),
    };
    Ok(Matcher::new(name, op, value))
}

fn read_hints(mut fields: MessageReader<'_>) -> Result<ReadHints, DecodeError> {
    let mut hints = ReadHints::default();
    while let Some(field) = fields.next()? {
        match field.number {
            2 => hints.function = field.text()?.to_owned(),
            3 => hints.start_ms = field.varint()? as i64,
            4 => hints.end_ms = field.varint()? as i64,
            _ => {}
        }
    }
    Ok(hints)
}

/// One number, or several packed into one field: senders may write both.
fn read_numbers(field: &Field<'_>, out: &mut Vec<i32>) -> Result<(), DecodeError> {
    if let FieldValue::Varint(number) = field.value {
        out.push(number as i32);
        return Ok(());
    }
    let (mut bytes, _) = field.bytes()?;
    while !bytes.is_empty() && out.len() <= RESPONSE_TYPES_MAX {
        let Uvarint::Value(number, length) = read_uvarint(bytes) else {
            return Err(field.invalid("a list of numbers that breaks off".to_owned()));
        };
        out.push(number as i32);
        bytes = &bytes[length..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::downstream::prometheus_proto as proto;

    fn packed(message: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(message).expect("short")
    }

    fn sent(request: &proto::ReadRequest) -> Vec<u8> {
        packed(&request.encode_to_vec())
    }

    fn error(body: &[u8]) -> String {
        decode_read_request(body).expect_err("no request").message().to_owned()
    }

    #[test]
    fn a_request_says_what_when_and_how() {
        let matcher = |kind, name: &str, value: &str| proto::LabelMatcher {
            r#type: kind,
            name: name.into(),
            value: value.into(),
        };
        let hints = proto::ReadHints {
            step_ms: 5,
            func: "rate".into(),
            start_ms: -7,
            end_ms: 9,
            grouping: vec!["job".into()],
            by: true,
            range_ms: 3,
        };
        let matchers =
            vec![matcher(0, "__name__", "up"), matcher(1, "a", ""), matcher(2, "b", "x.*"), matcher(3, "ü", "ä")];
        let full =
            proto::Query { start_timestamp_ms: i64::MIN, end_timestamp_ms: i64::MAX, matchers, hints: Some(hints) };
        let request = proto::ReadRequest {
            queries: vec![full, proto::Query::default()],
            accepted_response_types: vec![1, 0, 7, -1],
        };
        let expected = ReadQuery {
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            matchers: vec![
                Matcher::equal("__name__", "up"),
                Matcher::new("a", MatchOp::NotEqual, ""),
                Matcher::new("b", MatchOp::Regex, "x.*"),
                Matcher::new("ü", MatchOp::NotRegex, "ä"),
            ],
            hints: Some(ReadHints { start_ms: -7, end_ms: 9, function: "rate".to_owned() }),
        };
        let read = decode_read_request(&sent(&request)).expect("a request");
        assert_eq!(read.queries, [expected, ReadQuery::default()]);
        assert_eq!(read.accepted_response_types, [1, 0, 7, -1]);
        // As senders write it that do not pack.
        let read = decode_read_request(&packed(&[0x10, 1, 0x10, 0])).expect("a request");
        assert_eq!(read.accepted_response_types, [1, 0]);
        assert_eq!(decode_read_request(&packed(b"")), Ok(ReadRequest::default()));
    }

    #[test]
    fn what_is_no_request_is_told_in_prometheus_words_where_it_has_any() {
        let with_kind = |kind| {
            let matchers = vec![proto::LabelMatcher { r#type: kind, ..proto::LabelMatcher::default() }];
            let queries = vec![proto::Query { matchers, ..proto::Query::default() }];
            sent(&proto::ReadRequest { queries, ..proto::ReadRequest::default() })
        };
        for (body, expected) in [
            (b"".to_vec(), "snappy: corrupt input"),
            (b"hello".to_vec(), "snappy: corrupt input"),
            (b"\xff\xff\xff\xff\x0f".to_vec(), "snappy: decoded length 4294967295 exceeds limit 4194304"),
            (packed(b"\x0a\x05"), "proto: ReadRequest: a protobuf field reaches beyond its message at byte 2"),
            (packed(b"\x0a\x02\x08"), "proto: ReadRequest: a protobuf field reaches beyond its message at byte 2"),
            (
                packed(b"\x0a\x02\x0a\x00"),
                "proto: Query: expected a varint in field 1 at byte 4, found a length with bytes",
            ),
            (packed(b"\x0a\x05\x1a\x03\x12\x01\xff"), "proto: LabelMatcher: text that is not UTF-8 at byte 6"),
            (packed(b"\x12\x01\xff"), "proto: ReadRequest: a list of numbers that breaks off at byte 3"),
            (with_kind(4), "invalid matcher type"),
            (with_kind(-1), "invalid matcher type"),
        ] {
            assert_eq!(error(&body), expected, "{body:?}");
        }
    }

    #[test]
    fn lists_have_bounds() {
        let queries = |count| {
            sent(&proto::ReadRequest { queries: vec![proto::Query::default(); count], ..proto::ReadRequest::default() })
        };
        assert!(decode_read_request(&queries(QUERIES_MAX)).is_ok());
        assert_eq!(error(&queries(QUERIES_MAX + 1)), "the remote read has more than 1000 queries");
        let matchers = |count| {
            let query =
                proto::Query { matchers: vec![proto::LabelMatcher::default(); count], ..proto::Query::default() };
            sent(&proto::ReadRequest { queries: vec![query], ..proto::ReadRequest::default() })
        };
        assert!(decode_read_request(&matchers(MATCHERS_MAX)).is_ok());
        assert_eq!(error(&matchers(MATCHERS_MAX + 1)), "the remote read has more than 1000 matchers in a query");
        let types = |count| {
            sent(&proto::ReadRequest { accepted_response_types: vec![1; count], ..proto::ReadRequest::default() })
        };
        assert!(decode_read_request(&types(RESPONSE_TYPES_MAX)).is_ok());
        assert!(error(&types(RESPONSE_TYPES_MAX + 1)).contains("accepted response types"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode_read_request(&bytes));
            drop(decode_read_request(&packed(&bytes)));
        }
    }
}
