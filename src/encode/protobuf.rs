//! Writes protobuf messages field by field.

/// A number; as in proto3, zero is not written.
pub(super) fn write_varint_field(field: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        write_uvarint(field << 3, out);
        write_uvarint(value, out);
    }
}

/// A whole number with a sign (`sint32`, `sint64`); zero is not written.
pub(super) fn write_signed_field(field: u64, value: i64, out: &mut Vec<u8>) {
    write_varint_field(field, ((value << 1) ^ (value >> 63)) as u64, out);
}

/// A float. Only zero itself is not written: a negative zero is another number, though Prometheus' own writer loses its sign.
pub(super) fn write_double_field(field: u64, value: f64, out: &mut Vec<u8>) {
    if value.to_bits() != 0 {
        write_present_double_field(field, value, out);
    }
}

/// A float of a field that says by its presence which of several it is.
pub(super) fn write_present_double_field(field: u64, value: f64, out: &mut Vec<u8>) {
    write_uvarint(field << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A list of floats in one field; an empty one is not written.
pub(super) fn write_packed_doubles(field: u64, values: &[f64], out: &mut Vec<u8>) {
    if !values.is_empty() {
        write_uvarint(field << 3 | 2, out);
        write_uvarint(8 * values.len() as u64, out);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

/// Bytes, a text or a message, with their length.
pub(super) fn write_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_uvarint(field << 3 | 2, out);
    write_uvarint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A number of seven bits a byte, the lowest first.
pub(super) fn write_uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
