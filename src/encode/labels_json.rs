//! Label sets, and the answers of `/api/v1/labels`, `label/…/values` and `series`.

use bytes::Bytes;

use super::envelope::{success_response, write_array};
use super::text::{Dialect, write_text};
use crate::model::{Labels, LabelsRef};

/// A list of strings: label names, or the values of a label.
pub fn encode_strings(strings: &[String], warnings: &[String], infos: &[String]) -> Bytes {
    success_response(warnings, infos, |out| {
        write_array(strings, out, |text, out| write_text(text, Dialect::Iterator, out));
    })
}

/// A list of label sets.
pub fn encode_series(series: &[Labels], warnings: &[String], infos: &[String]) -> Bytes {
    success_response(warnings, infos, |out| {
        write_array(series, out, |labels, out| write_pairs(labels.iter(), out));
    })
}

/// A label set as an object.
pub(super) fn write_labels(labels: LabelsRef<'_>, out: &mut Vec<u8>) {
    write_pairs(labels.iter(), out);
}

pub(super) fn write_pairs(pairs: impl Iterator<Item = (impl AsRef<str>, impl AsRef<str>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(name.as_ref(), Dialect::Stream, out);
        out.push(b':');
        write_text(value.as_ref(), Dialect::Stream, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_printed_in_the_order_given() {
        assert_eq!(encode_strings(&[], &[], &[]), r#"{"status":"success","data":[]}"#);
        assert_eq!(
            encode_strings(&["b".to_owned(), "a<".to_owned()], &["w".to_owned()], &["i".to_owned()]),
            r#"{"status":"success","data":["b","a\u003c"],"warnings":["w"],"infos":["i"]}"#
        );
    }

    #[test]
    fn label_sets_are_objects_in_name_order() {
        let series = [Labels::from_pairs([("job", "a&\u{8}"), ("__name__", "up")]), Labels::default()];
        assert_eq!(
            encode_series(&series, &[], &[]),
            r#"{"status":"success","data":[{"__name__":"up","job":"a&\u0008"},{}]}"#
        );
        let mut out = Vec::new();
        write_labels(series[0].encode().as_ref(), &mut out);
        assert_eq!(out, br#"{"__name__":"up","job":"a&\u0008"}"#);
    }
}
