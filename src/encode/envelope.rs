//! The envelope around every answer of the API: `{"status":…,"data":…,"errorType":…,"error":…,"warnings":…,"infos":…}`,
//! keys in this order, absent where empty.

use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

use super::number::write_api_float;
use super::text::{Dialect, write_text};
use crate::error::Error;

/// Opens a successful answer; its data comes next.
pub(super) const SUCCESS_HEAD: &[u8] = br#"{"status":"success","data":"#;

/// Closes an answer behind its data.
pub(super) fn write_tail(warnings: &[String], infos: &[String], out: &mut Vec<u8>) {
    for (key, texts) in [(&b",\"warnings\":"[..], warnings), (b",\"infos\":", infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(key);
            write_array(texts, out, |text, out| write_text(text, Dialect::Iterator, out));
        }
    }
    out.push(b'}');
}

/// `[a,b,…]`.
pub(super) fn write_array<T>(items: &[T], out: &mut Vec<u8>, mut write_item: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(item, out);
    }
    out.push(b']');
}

/// A whole successful answer around data that `write_data` writes.
pub(super) fn success_response(warnings: &[String], infos: &[String], write_data: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = SUCCESS_HEAD.to_vec();
    write_data(&mut out);
    write_tail(warnings, infos, &mut out);
    Bytes::from(out)
}

/// The body of a failed request: `api_type` as [`crate::error::ErrorKind::api_type`] gives it, and the whole text. Warnings and infos
/// that were gathered before the failure may go with it; Prometheus sends none.
pub fn error_response(api_type: &str, message: &str, warnings: &[String], infos: &[String]) -> Bytes {
    let mut out = br#"{"status":"error","errorType":"#.to_vec();
    write_text(api_type, Dialect::Iterator, &mut out);
    out.extend_from_slice(br#","error":"#);
    write_text(message, Dialect::Iterator, &mut out);
    write_tail(warnings, infos, &mut out);
    Bytes::from(out)
}

/// A successful answer around anything that serde can write (`/status/…`, `/parse_query`), printed as Go prints it: `<`, `>`
/// and `&` escaped, `1` for the float 1. Fails where the data has no JSON form.
pub fn encode_data<T: Serialize + ?Sized>(data: &T, warnings: &[String], infos: &[String]) -> Result<Bytes, Error> {
    let mut out = SUCCESS_HEAD.to_vec();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    data.serialize(&mut serializer).map_err(|error| Error::internal(format!("cannot print the answer: {error}")))?;
    write_tail(warnings, infos, &mut out);
    Ok(Bytes::from(out))
}

/// serde_json's compact form with Go's spelling of strings and floats.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut text = Vec::new();
        write_api_float(value, &mut text);
        // Sample values keep two digits in an exponent, bare numbers do not: 1e-07, but 1e-7.
        if let [front @ .., b'e', b'-', b'0', last] = &text[..] {
            text = [front, b"e-", &[*last]].concat();
        }
        writer.write_all(&text)
    }

    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut quoted = Vec::with_capacity(fragment.len() + 2);
        write_text(fragment, Dialect::Iterator, &mut quoted);
        writer.write_all(&quoted[1..quoted.len() - 1])
    }

    fn write_char_escape<W: io::Write + ?Sized>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let byte = match escape {
            CharEscape::Quote => b'"',
            CharEscape::ReverseSolidus => b'\\',
            CharEscape::Solidus => b'/',
            CharEscape::Backspace => 0x08,
            CharEscape::FormFeed => 0x0c,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(byte) => byte,
        };
        let character = [byte];
        self.write_string_fragment(writer, std::str::from_utf8(&character).map_err(io::Error::other)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_have_a_class_and_a_text() {
        assert_eq!(
            error_response("bad_data", "1:3: parse error: unexpected \"<\"", &[], &[]),
            r#"{"status":"error","errorType":"bad_data","error":"1:3: parse error: unexpected \"\u003c\""}"#
        );
        assert_eq!(
            error_response("execution", "boom", &["w".to_owned()], &["i".to_owned()]),
            r#"{"status":"error","errorType":"execution","error":"boom","warnings":["w"],"infos":["i"]}"#
        );
    }

    #[test]
    fn data_of_any_shape_is_printed_as_go_prints_it() {
        let data = json!({"a": "x<\u{8}\u{1}\n\"\\é", "b": [1, 1.0, 1.5, 1e-7, 1e21, null, true], "c": {}});
        assert_eq!(
            encode_data(&data, &["w".to_owned()], &[]),
            Ok(Bytes::from_static(
                r#"{"status":"success","data":{"a":"x\u003c\u0008\u0001\n\"\\é","b":[1,1,1.5,1e-7,1e+21,null,true],"c":{}},"warnings":["w"]}"#
                    .as_bytes()
            ))
        );
    }
}
