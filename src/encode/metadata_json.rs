//! The answer of `/api/v1/metadata`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::envelope::{success_response, write_array};
use super::text::{Dialect, write_text};
use crate::model::MetricMetadata;

/// Type, unit and help by metric name, keys in the order of Prometheus v3.14 model/metadata.
pub fn encode_metric_metadata(
    metadata: &BTreeMap<String, Vec<MetricMetadata>>,
    warnings: &[String],
    infos: &[String],
) -> Bytes {
    success_response(warnings, infos, |out| {
        out.push(b'{');
        for (index, (metric_name, entries)) in metadata.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_text(metric_name, Dialect::Iterator, out);
            out.push(b':');
            write_array(entries, out, write_entry);
        }
        out.push(b'}');
    })
}

fn write_entry(entry: &MetricMetadata, out: &mut Vec<u8>) {
    for (key, text) in
        [(&b"{\"type\":"[..], &entry.metric_type), (b",\"unit\":", &entry.unit), (b",\"help\":", &entry.help)]
    {
        out.extend_from_slice(key);
        write_text(text, Dialect::Iterator, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_an_object_of_lists() {
        let entry = |help: &str| MetricMetadata {
            metric_type: "gauge".to_owned(),
            help: help.to_owned(),
            unit: "seconds".to_owned(),
        };
        let metadata = BTreeMap::from([("up".to_owned(), vec![entry("a>b"), entry("")]), ("down".to_owned(), vec![])]);
        assert_eq!(
            encode_metric_metadata(&metadata, &[], &[]),
            r#"{"status":"success","data":{"down":[],"up":[{"type":"gauge","unit":"seconds","help":"a\u003eb"},{"type":"gauge","unit":"seconds","help":""}]}}"#
        );
        assert_eq!(encode_metric_metadata(&BTreeMap::new(), &[], &[]), r#"{"status":"success","data":{}}"#);
    }
}
