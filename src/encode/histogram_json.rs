//! Native histograms as Prometheus' API prints them.
//!
//! | member | holds |
//! |---|---|
//! | `count`, `sum` | numbers as text, like values of samples |
//! | `buckets` | the buckets that count something, ascending: which bounds belong to the bucket (0 the upper, 1 the lower, 2 none, 3 both), lower bound, upper bound, count; left out where there are none |
//!
//! Source: Prometheus v3.14 util/jsonutil/marshal.go MarshalHistogram.

use super::number::write_api_float;
use crate::model::NativeHistogram;

/// A histogram as an object.
pub(super) fn write_histogram(histogram: &NativeHistogram, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"count\":");
    write_quoted(histogram.count, out);
    out.extend_from_slice(b",\"sum\":");
    write_quoted(histogram.sum, out);
    let mut is_first = true;
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        let head: &[u8] = if std::mem::replace(&mut is_first, false) { b",\"buckets\":[[" } else { b",[" };
        out.extend_from_slice(head);
        out.push(b'0' + bucket.boundary_rule());
        for number in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            write_quoted(number, out);
        }
        out.push(b']');
    }
    out.extend_from_slice(if is_first { b"}" } else { b"]}" });
}

fn write_quoted(number: f64, out: &mut Vec<u8>) {
    out.push(b'"');
    write_api_float(number, out);
    out.push(b'"');
}
