//! The answer of `/api/v1/query_exemplars`.

use bytes::Bytes;

use super::envelope::{success_response, write_array};
use super::labels_json::write_pairs;
use super::number::{write_api_float, write_timestamp};
use crate::model::{Exemplar, SeriesExemplars};

/// Exemplars by series, in the order given; keys as Prometheus v3.14 model/exemplar has them.
pub fn encode_exemplars(series: &[SeriesExemplars], warnings: &[String], infos: &[String]) -> Bytes {
    success_response(warnings, infos, |out| write_array(series, out, write_series))
}

fn write_series(series: &SeriesExemplars, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    write_pairs(series.series.iter(), out);
    out.extend_from_slice(b",\"exemplars\":");
    write_array(&series.exemplars, out, write_exemplar);
    out.push(b'}');
}

fn write_exemplar(exemplar: &Exemplar, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"labels\":");
    write_pairs(exemplar.labels.iter(), out);
    out.extend_from_slice(b",\"value\":\"");
    write_api_float(exemplar.value, out);
    out.extend_from_slice(b"\",\"timestamp\":");
    write_timestamp(exemplar.timestamp.0, out);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, TimestampMs};

    #[test]
    fn exemplars_are_printed_as_prometheus_prints_them() {
        let exemplar = |value: f64, ms: i64| Exemplar {
            labels: Labels::from_pairs([("trace_id", "a<b>&\"\\\u{8}\n\u{2028}")]),
            value,
            timestamp: TimestampMs(ms),
        };
        let series = Labels::from_pairs([("__name__", "m"), ("job", "x<y")]);
        let bare = Exemplar { labels: Labels::default(), value: f64::NAN, timestamp: TimestampMs(-5) };
        let series = [
            SeriesExemplars { series, exemplars: vec![exemplar(1e21, 1_600_096_945_479), exemplar(0.5, 2_000)] },
            SeriesExemplars { series: Labels::default(), exemplars: vec![bare] },
        ];
        let labels = "{\"trace_id\":\"a<b>&\\\"\\\\\\u0008\\n\u{2028}\"}";
        let expected = format!(
            "{{\"status\":\"success\",\"data\":[{{\"seriesLabels\":{{\"__name__\":\"m\",\"job\":\"x<y\"}},\"exemplars\":[\
             {{\"labels\":{labels},\"value\":\"1e+21\",\"timestamp\":1600096945.479}},\
             {{\"labels\":{labels},\"value\":\"0.5\",\"timestamp\":2}}]}},\
             {{\"seriesLabels\":{{}},\"exemplars\":[{{\"labels\":{{}},\"value\":\"NaN\",\"timestamp\":-0.005}}]}}],\
             \"warnings\":[\"w\"]}}"
        );
        assert_eq!(encode_exemplars(&series, &["w".to_owned()], &[]), expected);
        assert_eq!(encode_exemplars(&[], &[], &[]), r#"{"status":"success","data":[]}"#);
    }
}
