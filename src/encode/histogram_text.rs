//! Native histograms as text, for people and for labels.

use super::number::write_general_float;
use crate::model::{HistogramBucket, NativeHistogram};

/// As Prometheus v3.14 `FloatHistogram.String`, which is also the label that `count_values` makes of a histogram. Empty buckets
/// are left out: `{count:3, sum:2.5, [-0.001,0.001]:1, (1,2]:2}`.
pub fn format_histogram(histogram: &NativeHistogram) -> String {
    let mut out = b"{count:".to_vec();
    write_general_float(histogram.count, &mut out);
    out.extend_from_slice(b", sum:");
    write_general_float(histogram.sum, &mut out);
    let negative = histogram.negative.indexed_rev().map(|(index, count)| histogram.negative_bucket(index, count));
    let positive = histogram.positive.indexed().map(|(index, count)| histogram.positive_bucket(index, count));
    for bucket in negative.chain(histogram.zero_bucket()).chain(positive).filter(|bucket| bucket.count != 0.0) {
        out.extend_from_slice(b", ");
        write_bucket(&bucket, &mut out);
    }
    out.push(b'}');
    String::from_utf8(out).expect("numbers are ASCII")
}

fn write_bucket(bucket: &HistogramBucket, out: &mut Vec<u8>) {
    out.push(if bucket.lower_inclusive { b'[' } else { b'(' });
    write_general_float(bucket.lower, out);
    out.push(b',');
    write_general_float(bucket.upper, out);
    out.push(if bucket.upper_inclusive { b']' } else { b')' });
    out.push(b':');
    write_general_float(bucket.count, out);
}
