//! Reads protobuf messages field by field, without copies.

use super::DecodeError;

/// What stands in a field.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum FieldValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: FieldValue<'a>,
    /// Where the value ends in the whole body.
    end: u64,
}

impl<'a> Field<'a> {
    /// Something else is expected here.
    pub(super) fn wrong(&self, expected: &str) -> DecodeError {
        let found = match self.value {
            FieldValue::Varint(_) => "a varint",
            FieldValue::Fixed64(_) => "eight bytes",
            FieldValue::Fixed32(_) => "four bytes",
            FieldValue::Bytes(_) => "a length with bytes",
        };
        DecodeError::Unexpected {
            offset: self.end,
            expected: format!("{expected} in field {}", self.number),
            found: found.to_owned(),
        }
    }

    /// The form is right, the content cannot be.
    pub(super) fn invalid(&self, problem: String) -> DecodeError {
        DecodeError::Invalid { offset: self.end, problem }
    }

    /// A number of up to 64 bits.
    pub(super) fn varint(&self) -> Result<u64, DecodeError> {
        match self.value {
            FieldValue::Varint(value) => Ok(value),
            _ => Err(self.wrong("a varint")),
        }
    }

    /// Bytes, and where they begin in the whole body.
    pub(super) fn bytes(&self) -> Result<(&'a [u8], u64), DecodeError> {
        match self.value {
            FieldValue::Bytes(bytes) => Ok((bytes, self.end - bytes.len() as u64)),
            _ => Err(self.wrong("bytes")),
        }
    }

    /// A message.
    pub(super) fn message(&self) -> Result<MessageReader<'a>, DecodeError> {
        self.bytes().map(|(bytes, offset)| MessageReader::new(bytes, offset))
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'a str, DecodeError> {
        let (bytes, offset) = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| {
            let offset = offset + error.valid_up_to() as u64;
            DecodeError::Invalid { offset, problem: "text that is not UTF-8".to_owned() }
        })
    }
}

/// The fields of a message, one after the other.
#[derive(Clone, Debug)]
pub(super) struct MessageReader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Bytes of the whole body before this message.
    base: u64,
}

impl<'a> MessageReader<'a> {
    /// A message that begins `base` bytes into the body.
    pub(super) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, position: 0, base }
    }

    /// Where the next field begins in the whole body.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// The next field, `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.position == self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset();
        let tag = self.read_varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let Some(number) = number else {
            return Err(DecodeError::Invalid { offset: start, problem: "a protobuf field without number".to_owned() });
        };
        let value = match tag & 7 {
            0 => FieldValue::Varint(self.read_varint()?),
            1 => FieldValue::Fixed64(u64::from_le_bytes(self.read_array()?)),
            2 => {
                let length = self.read_varint()?;
                FieldValue::Bytes(self.read_bytes(length)?)
            }
            5 => FieldValue::Fixed32(u32::from_le_bytes(self.read_array()?)),
            other => {
                let problem = format!("a protobuf field of the unknown wire type {other}");
                return Err(DecodeError::Invalid { offset: start, problem });
            }
        };
        Ok(Some(Field { number, value, end: self.offset() }))
    }

    #[inline]
    fn read_varint(&mut self) -> Result<u64, DecodeError> {
        match read_uvarint(&self.bytes[self.position..]) {
            Uvarint::Value(value, length) => {
                self.position += length;
                Ok(value)
            }
            Uvarint::Incomplete => Err(self.cut()),
            Uvarint::TooLong => {
                Err(DecodeError::Invalid { offset: self.offset(), problem: "a varint of more than 64 bits".to_owned() })
            }
        }
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = *self.bytes[self.position..].first_chunk::<N>().ok_or_else(|| self.cut())?;
        self.position += N;
        Ok(array)
    }

    fn read_bytes(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.position..];
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len()).ok_or_else(|| self.cut())?;
        self.position += length;
        Ok(&rest[..length])
    }

    fn cut(&self) -> DecodeError {
        DecodeError::Invalid {
            offset: self.offset(),
            problem: "a protobuf field reaches beyond its message".to_owned(),
        }
    }
}

/// A varint at the start of bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Uvarint {
    /// The number, and its length in bytes.
    Value(u64, usize),
    /// The bytes end in the middle of it.
    Incomplete,
    /// It has more than 64 bits.
    TooLong,
}

/// Reads the varint at the start of bytes.
#[inline]
pub(super) fn read_uvarint(bytes: &[u8]) -> Uvarint {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && *byte > 1 {
            return Uvarint::TooLong;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Uvarint::Value(value, index + 1);
        }
    }
    if bytes.len() < 10 { Uvarint::Incomplete } else { Uvarint::TooLong }
}

/// Undoes the zigzag of `sint32` and `sint64`.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wire_types_are_read_with_their_places() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x19, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x25, 7, 0, 0, 0];
        let mut reader = MessageReader::new(&bytes, 100);
        let mut next = || reader.next().expect("a field");
        assert_eq!(next().map(|field| (field.number, field.varint())), Some((1, Ok(150))));
        assert_eq!(next().map(|field| (field.bytes(), field.text())), Some((Ok((&b"hi"[..], 105)), Ok("hi"))));
        assert_eq!(next().map(|field| field.value), Some(FieldValue::Fixed64(1.0_f64.to_bits())));
        assert_eq!(next().map(|field| field.value), Some(FieldValue::Fixed32(7)));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_damaged_message_is_refused_with_its_place() {
        for (bytes, expected) in [
            (&[0x0a, 0x05, 1, 2][..], "a protobuf field reaches beyond its message at byte 12"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "reaches beyond its message"),
            (&[0x09, 1, 2], "a protobuf field reaches beyond its message at byte 11"),
            (&[0x08, 0x80], "a protobuf field reaches beyond its message at byte 11"),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "more than 64 bits at byte 11"),
            (&[0x00, 0x00], "a protobuf field without number at byte 10"),
            (&[0x0b], "a protobuf field of the unknown wire type 3 at byte 10"),
        ] {
            let error = MessageReader::new(bytes, 10).next().expect_err("damaged").to_string();
            assert!(error.contains(expected), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn a_field_of_another_type_is_told_apart() {
        let field = MessageReader::new(&[0x08, 1], 0).next().expect("a field").expect("not the end");
        let error = field.text().expect_err("a varint").to_string();
        assert_eq!(error, "expected bytes in field 1 at byte 2, found a varint");
        let field = MessageReader::new(&[0x0a, 2, b'a', 0xff], 0).next().expect("a field").expect("not the end");
        assert_eq!(field.text().expect_err("no text").to_string(), "text that is not UTF-8 at byte 3");
        assert_eq!((unzigzag(0), unzigzag(1), unzigzag(u64::MAX)), (0, -1, i64::MIN));
    }
}
